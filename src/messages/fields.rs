//! What templates see of a notice.

use std::time::Duration;

use serde::Serialize;

use super::Links;
use crate::core::incident::{IncidentChange, IncidentStep};
use crate::core::limit::Severity;
use crate::core::notice::{Figure, Notice, NoticeKind};
use crate::core::reason::ReasonCode;
use crate::core::split::Weight;
use crate::core::time::Timestamp;
use crate::core::words;

/// The fields of templates, with those inside them.
pub const FIELDS: &[(&str, &[&str])] = &[
    ("at", &[]),
    ("begins_at", &[]),
    ("begins_in", &[]),
    ("environment", &[]),
    ("figures", &["metric", "verdict", "canary", "baseline", "low", "times", "high"]),
    ("incident", &["key", "step", "opened_at"]),
    ("key", &[]),
    ("kind", &[]),
    ("links", &["rollout", "report", "chart", "runbook"]),
    ("policy", &[]),
    ("reason", &[]),
    ("rollout", &[]),
    ("sentence", &[]),
    ("severity", &[]),
    ("stable_version", &[]),
    ("started_by", &[]),
    ("step", &[]),
    ("steps", &[]),
    ("target", &[]),
    ("version", &[]),
    ("weight", &[]),
];

#[derive(Serialize)]
pub(super) struct Fields<'a> {
    at: String,
    begins_at: Option<String>,
    begins_in: Option<String>,
    environment: Option<&'a str>,
    figures: Vec<FigureFields<'a>>,
    incident: Option<IncidentFields<'a>>,
    key: &'a str,
    kind: &'static str,
    links: LinkFields,
    policy: &'a str,
    reason: Option<ReasonCode>,
    rollout: &'a str,
    sentence: &'a str,
    severity: Severity,
    stable_version: Option<&'a str>,
    started_by: &'a str,
    step: Option<usize>,
    steps: Option<usize>,
    target: &'a str,
    version: &'a str,
    weight: String,
}

#[derive(Serialize)]
struct FigureFields<'a> {
    metric: &'a str,
    verdict: &'a str,
    canary: Option<&'a str>,
    baseline: Option<&'a str>,
    low: Option<String>,
    times: Option<String>,
    high: Option<String>,
}

#[derive(Serialize)]
struct IncidentFields<'a> {
    key: &'a str,
    step: IncidentStep,
    opened_at: String,
}

#[derive(Serialize)]
struct LinkFields {
    rollout: Option<String>,
    report: Option<String>,
    chart: Option<String>,
    runbook: Option<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(notice: &'a Notice, links: Links) -> Fields<'a> {
        let Links { rollout, report, chart, runbook } = links;
        Fields {
            at: notice.at.to_string(),
            begins_at: notice.begins_at.map(|at| at.to_string()),
            begins_in: notice.begins_at.map(|at| in_words(at.since(notice.at))),
            environment: notice.environment.as_deref(),
            figures: notice.figures.iter().map(figure).collect(),
            incident: notice.incident.as_ref().map(|incident| IncidentFields {
                key: &incident.key,
                step: incident.step,
                opened_at: incident.opened_at.to_string(),
            }),
            key: &notice.key,
            kind: notice.kind.name(),
            links: LinkFields { rollout, report, chart, runbook },
            policy: &notice.policy,
            reason: notice.reason,
            rollout: &notice.rollout,
            sentence: &notice.sentence,
            severity: notice.severity,
            stable_version: notice.stable_version.as_deref(),
            started_by: &notice.started_by,
            step: notice.step.map(|(step, _)| step),
            steps: notice.step.map(|(_, steps)| steps),
            target: &notice.target,
            version: &notice.version,
            weight: notice.weight.to_string(),
        }
    }
}

fn figure(figure: &Figure) -> FigureFields<'_> {
    let end = |place: usize| figure.ratio.map(|ratio| format!("{:.2}", ratio[place]));
    FigureFields {
        metric: &figure.metric,
        verdict: &figure.verdict,
        canary: figure.canary.as_deref(),
        baseline: figure.baseline.as_deref(),
        low: end(0),
        times: end(1),
        high: end(2),
    }
}

/// `24 h`, `1 h 30 min`, `15 min`, `40 s`.
fn in_words(duration: Duration) -> String {
    // Whole minutes above one: an announcement that comes a second late is still "15 min".
    let seconds = duration.as_secs();
    if seconds < 60 {
        return format!("{seconds} s");
    }
    words::duration(Duration::from_secs((seconds + 30) / 60 * 60))
}

/// A notice that has everything, for trying templates and channels.
pub fn sample(kind: NoticeKind) -> Notice {
    let at = Timestamp(1_767_225_600_000);
    let figure = Figure {
        metric: "errors".to_owned(),
        verdict: "worse".to_owned(),
        canary: Some("2.7%".to_owned()),
        baseline: Some("0.4%".to_owned()),
        ratio: Some([5.1, 6.6, 8.4]),
    };
    let sentence = "errors: 2.7% of the canary's requests failed, 0.4% of the baseline's".to_owned();
    Notice {
        rollout: "01890a5d-0000-7000-8000-000000000000".to_owned(),
        target: "checkout".to_owned(),
        version: "1.4.0".to_owned(),
        policy: "standard".to_owned(),
        stable_version: Some("1.3.2".to_owned()),
        started_by: "release-bot".to_owned(),
        step: Some((2, 3)),
        weight: Weight(2_500),
        reason: Some(ReasonCode::Harm),
        figures: vec![figure],
        incident: Some(IncidentChange {
            key: "checkout/01890a5d/7".to_owned(),
            step: IncidentStep::Trigger,
            opened_at: at,
            told: Vec::new(),
        }),
        begins_at: Some(at.plus(Duration::from_secs(900))),
        environment: Some("production".to_owned()),
        runbook: Some("https://runbooks.example.com/checkout".to_owned()),
        ..Notice::new("sample/1".to_owned(), kind, Severity::High, at, sentence)
    }
}
