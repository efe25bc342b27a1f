//! Reports as a page to print: one file, no scripts, nothing loaded.

use std::fmt::Write;

use super::evidence_rows;
use super::markdown::moment;
use crate::contract::{AssessmentView, EventView, ReportView};
pub(in crate::api) use crate::core::words::html as safe;
use crate::core::words::seconds;

/// The look of the pages that the daemon writes itself.
pub(in crate::api) const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#1a1a1a;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{border:1px solid #ccc;padding:.3rem .5rem;\
text-align:left;vertical-align:top}th{background:#f2f2f2}code,pre{font-family:ui-monospace,monospace;\
font-size:.85rem}pre{background:#f6f6f6;padding:.75rem;white-space:pre-wrap}td{overflow-wrap:anywhere}\
@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}";

/// A table; the cells are HTML.
pub(in crate::api) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut html = "<table><thead><tr>".to_owned();
    for cell in head {
        let _ = write!(html, "<th scope=\"col\">{}</th>", safe(cell));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>\n");
    html
}

/// A whole page; `body` is HTML.
pub(in crate::api) fn page(title: &str, body: &str) -> String {
    let title = safe(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
}

fn line(event: &EventView) -> Vec<String> {
    vec![moment(&event.at), safe(&event.sentence), event.by.as_deref().map(safe).unwrap_or_default()]
}

/// The whole report.
pub(super) fn report(view: &ReportView) -> String {
    let rollout = &view.rollout;
    let title = format!("{} {}: {}", rollout.target, rollout.version, view.verdict);
    let mut body = format!("<h1>{}</h1>\n<p>{}</p>\n<ul>", safe(&title), safe(&view.sentence));
    let mut facts = vec![
        ("Rollout", safe(&rollout.id)),
        ("Policy", safe(&format!("{} ({})", rollout.policy.name, rollout.policy.version))),
        ("Asked for by", safe(&format!("{}, {} UTC", rollout.created_by, moment(&rollout.created_at)))),
    ];
    if let Some(ended) = &rollout.ended_at {
        facts.push(("Ended", format!("{} UTC", moment(ended))));
    }
    facts.push(("Lasted", seconds(view.duration_seconds)));
    for (name, fact) in facts {
        let _ = write!(body, "<li>{name}: {fact}</li>");
    }
    body.push_str("</ul>\n<h2>Steps</h2>\n");
    let steps = view.steps.iter().map(|step| {
        vec![
            step.index.to_string(),
            format!("{}%", step.weight_percent),
            moment(&step.from),
            seconds(step.seconds),
            safe(&step.outcome),
            step.sentence.as_deref().map(safe).unwrap_or_default(),
        ]
    });
    body.push_str(&table(&["Step", "Weight", "Entered (UTC)", "Lasted", "Outcome", "Why"], steps));
    let compared = rollout.last_compared.as_ref().map(|compared| &compared.assessment);
    if let Some(assessment) = compared.or(rollout.assessment.as_ref()) {
        body.push_str("<h2>Evidence at the last comparison</h2>\n");
        body.push_str(&evidence(assessment));
    }
    for (title, events) in [("Decisions", &view.decisions), ("Log", &view.log)] {
        let _ = writeln!(body, "<h2>{title}</h2>");
        body.push_str(&table(&["Time (UTC)", "What", "Who"], events.iter().map(line)));
    }
    if let Some(draft) = &view.post_mortem {
        let _ = writeln!(body, "<h2>Draft of a post-mortem (Markdown)</h2>\n<pre>{}</pre>", safe(draft));
    }
    page(&title, &body)
}

fn evidence(assessment: &AssessmentView) -> String {
    let head = ["Metric", "Verdict", "Canary", "Baseline", "Ratio", "Odds of harm", "Odds of no harm"];
    table(&head, evidence_rows(assessment, safe))
}
