//! What is told: a notice with its figures, from the state that it is about.

use super::{Phase, State};
use crate::core::judge::{Assessment, MetricAssessment, Verdict};
use crate::core::limit::Severity;
use crate::core::notice::{Figure, Notice, NoticeKind};
use crate::core::policy::Metric;
use crate::core::source::MetricSource;
use crate::core::time::Timestamp;
use crate::core::words::{latency, percent, significant};

/// A notice about the event that was recorded last.
pub(super) fn notice(
    state: &State,
    kind: NoticeKind,
    severity: Severity,
    sentence: String,
    now: Timestamp,
) -> Notice {
    let rollout = &state.rollout;
    let steps = rollout.policy.steps.len();
    let step = match rollout.phase {
        Phase::Finalizing | Phase::Baking | Phase::Succeeded => Some((steps, steps)),
        _ => rollout.phase.step().map(|step| (step + 1, steps)),
    };
    let compared = rollout.last.as_ref().filter(|last| has_requests(last));
    let assessment = compared.or(rollout.last_compared.as_ref().map(|compared| &compared.assessment));
    Notice {
        rollout: rollout.id.0.clone(),
        target: rollout.target.clone(),
        version: rollout.version.clone(),
        policy: rollout.policy.name.clone(),
        stable_version: state.target.stable_version.clone(),
        started_by: rollout.created_by.clone(),
        step,
        weight: state.target.wanted.canary,
        reason: rollout.phase.reason().map(|reason| reason.code),
        figures: assessment.map(|a| figures(&rollout.policy.metrics, a)).unwrap_or_default(),
        begins_at: rollout.not_before,
        runbook: rollout.policy.runbook.clone(),
        ..Notice::new(format!("{}/{}", rollout.id, rollout.event_seq), kind, severity, now, sentence)
    }
}

fn has_requests(assessment: &Assessment) -> bool {
    assessment.metrics.iter().any(|metric| metric.canary_requests > 0)
}

fn figures(metrics: &[Metric], assessment: &Assessment) -> Vec<Figure> {
    let known = |name: &str| metrics.iter().find(|metric| metric.name == name);
    assessment.metrics.iter().filter_map(|found| Some(figure(known(&found.name)?, found))).collect()
}

fn figure(metric: &Metric, found: &MetricAssessment) -> Figure {
    let verdict = match found.verdict {
        Verdict::Worse => "worse",
        Verdict::NotWorse => "not_worse",
        Verdict::Undecided => "undecided",
        Verdict::NoData => "no_data",
    };
    let show = |share: Option<f64>, value: Option<f64>| match &metric.source {
        MetricSource::Proportion { .. } => share.map(percent),
        MetricSource::Latency { .. } => share.map(|share| match found.bound_seconds {
            Some(bound) => format!("{} above {}", percent(share), latency(bound)),
            None => percent(share),
        }),
        MetricSource::Rate { .. } => share.map(significant),
        MetricSource::Mean { .. } | MetricSource::Saturation { .. } => value.map(significant),
    };
    Figure {
        metric: found.name.clone(),
        verdict: verdict.to_owned(),
        canary: show(found.canary_share, found.canary_value),
        baseline: show(found.baseline_share, found.baseline_value),
        ratio: found.ratio,
    }
}
