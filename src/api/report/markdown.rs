//! Reports in Markdown.

use std::fmt::Write;

use super::evidence_rows;
use crate::contract::{AssessmentView, EventView, ReportView};
use crate::core::rollout::EventKind;
use crate::core::words::seconds;

/// Text from outside that shows as it is: no markup, no HTML, no line breaks.
pub(super) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '!' | '~' => {
                safe.push('\\');
                safe.push(c);
            }
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// `2026-03-01 10:00:04`
pub(super) fn moment(at: &str) -> String {
    at.get(..19).unwrap_or(at).replace('T', " ")
}

fn row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn table(text: &mut String, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    row(text, &head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    row(text, &vec!["---".to_owned(); head.len()]);
    for cells in rows {
        row(text, &cells);
    }
}

fn line(event: &EventView) -> Vec<String> {
    let by = event.by.as_deref().map(plain).unwrap_or_default();
    vec![moment(&event.at), plain(&event.sentence), by]
}

/// The whole report.
pub(super) fn report(view: &ReportView) -> String {
    let rollout = &view.rollout;
    let mut text = format!("# {} {}: {}\n\n", plain(&rollout.target), plain(&rollout.version), view.verdict);
    let _ = writeln!(text, "{}\n", plain(&view.sentence));
    let mut facts = vec![
        ("Rollout", plain(&rollout.id)),
        ("Policy", format!("{} ({})", plain(&rollout.policy.name), rollout.policy.version)),
        ("Asked for by", format!("{}, {} UTC", plain(&rollout.created_by), moment(&rollout.created_at))),
    ];
    if let Some(ended) = &rollout.ended_at {
        facts.push(("Ended", format!("{} UTC", moment(ended))));
    }
    facts.push(("Lasted", seconds(view.duration_seconds)));
    for (name, fact) in facts {
        let _ = writeln!(text, "- {name}: {fact}");
    }
    text.push_str("\n## Steps\n\n");
    table(
        &mut text,
        &["step", "weight", "entered (UTC)", "lasted", "outcome", "why"],
        view.steps.iter().map(|step| {
            vec![
                step.index.to_string(),
                format!("{}%", step.weight_percent),
                moment(&step.from),
                seconds(step.seconds),
                step.outcome.clone(),
                step.sentence.as_deref().map(plain).unwrap_or_default(),
            ]
        }),
    );
    let compared = rollout.last_compared.as_ref().map(|compared| &compared.assessment);
    if let Some(assessment) = compared.or(rollout.assessment.as_ref()) {
        text.push_str("\n## Evidence at the last comparison\n\n");
        evidence(&mut text, assessment);
    }
    text.push_str("\n## Decisions\n\n");
    table(&mut text, &["time (UTC)", "what", "who"], view.decisions.iter().map(line));
    text.push_str("\n## Log\n\n");
    table(&mut text, &["time (UTC)", "what", "who"], view.log.iter().map(line));
    if let Some(draft) = &view.post_mortem {
        let _ = write!(text, "\n{draft}");
    }
    text
}

fn evidence(text: &mut String, assessment: &AssessmentView) {
    let (harm, no_harm) = ("harm (odds of bound)", "no harm (odds of bound)");
    let head = ["metric", "verdict", "canary", "baseline", "ratio", harm, no_harm];
    table(text, &head, evidence_rows(assessment, plain));
}

/// A word of the API as people write it.
pub(super) fn word(word: &impl serde::Serialize) -> String {
    let word = serde_json::to_value(word).unwrap_or_default();
    word.as_str().unwrap_or_default().replace('_', " ")
}

/// What is known of a rollback, and headings for what people know.
pub(super) fn post_mortem(view: &ReportView) -> String {
    let rollout = &view.rollout;
    let at = |kind: EventKind| view.log.iter().find(|event| event.kind == kind);
    let mut text = format!(
        "# Post-mortem (draft): {} {} was {}\n\n",
        plain(&rollout.target),
        plain(&rollout.version),
        view.verdict
    );
    text.push_str("## Summary\n\n");
    let why = rollout.reason.as_ref().map(|reason| plain(&reason.sentence)).unwrap_or_default();
    let _ = writeln!(
        text,
        "Rollout {} of {} on {}, asked for by {} at {} UTC, was {} after {}. {why}\n",
        plain(&rollout.id),
        plain(&rollout.version),
        plain(&rollout.target),
        plain(&rollout.created_by),
        moment(&rollout.created_at),
        view.verdict,
        seconds(view.duration_seconds)
    );
    text.push_str("## Impact\n\n");
    impact(&mut text, view);
    text.push_str("\n## Timeline (UTC)\n\n");
    table(&mut text, &["time", "what", "who"], view.log.iter().map(line));
    text.push_str("\n## Durations\n\n");
    let first = view.steps.first().map(|step| step.from.as_str());
    let decided = at(EventKind::RollbackStarted).map(|event| event.at.as_str());
    let over = at(EventKind::RolledBack).map(|event| event.at.as_str());
    for (name, from, to) in [
        ("from the canary's first traffic to the decision to roll back", first, decided),
        ("from the decision until the canary was seen without requests", decided, over),
    ] {
        if let Some(between) = between(from, to) {
            let _ = writeln!(text, "- {name}: {}", seconds(between));
        }
    }
    text.push_str(
        "\n## Cause\n\nTo fill in: what in the release led to this?\n\n## What went well\n\nTo fill in.\n\n\
         ## What went badly\n\nTo fill in.\n\n## What will be done\n\n| what | who | until when |\n\
         | --- | --- | --- |\n|  |  |  |\n",
    );
    text
}

fn impact(text: &mut String, view: &ReportView) {
    let highest = view.steps.iter().map(|step| step.weight_percent).fold(0.0, f64::max);
    let _ = writeln!(text, "- the canary had at most {highest}% of the traffic");
    let Some(compared) = &view.rollout.last_compared else { return };
    for metric in &compared.assessment.metrics {
        let Some(share) = metric.canary.share_percent else { continue };
        let bad = (share / 100.0 * metric.canary.requests as f64).round();
        let baseline = metric.baseline.share_percent.unwrap_or(0.0);
        let _ = writeln!(
            text,
            "- {}: in the last step about {bad} of the canary's {} requests ({share:.3}%, the running version \
             {baseline:.3}%): {}",
            plain(&metric.name),
            metric.canary.requests,
            plain(&metric.bad_means)
        );
    }
}

fn between(from: Option<&str>, to: Option<&str>) -> Option<f64> {
    let read = |at: Option<&str>| at?.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond());
    Some((read(to)? - read(from)?) as f64 / 1000.0).filter(|seconds| *seconds >= 0.0)
}
