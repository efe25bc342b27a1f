//! Texts of hooks: templates over the notice, with bounds.

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Value, json};

use crate::core::incident::{IncidentChange, IncidentStep};
use crate::core::limit::Severity;
use crate::core::notice::{Figure, Notice, NoticeKind};
use crate::core::reason::ReasonCode;
use crate::core::split::Weight;
use crate::core::time::Timestamp;

/// Longer texts are refused, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// So many instructions a text may take.
const FUEL: u64 = 100_000;

/// The fields of the notice, `weight_percent`, and `time` as text.
fn context(notice: &Notice) -> Value {
    let mut fields = serde_json::to_value(notice).unwrap_or_default();
    fields["weight_percent"] = json!(f64::from(notice.weight.0) / 100.0);
    fields["time"] = json!(notice.at.to_string());
    fields
}

/// The text of a template for a notice.
///
/// # Errors
/// What is wrong with the template, with its line.
pub(super) fn render(template: &str, notice: &Notice) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    let text =
        environment.render_str(template, minijinja::value::Serde(context(notice))).map_err(|error| {
            let line =
                error.line().map_or_else(String::new, |line| format!(" (line {line} of the template)"));
            match (error.kind(), error.detail()) {
                (ErrorKind::OutOfFuel, _) => format!("the template does not end{line}"),
                (kind, Some(detail)) => format!("{kind}: {detail}{line}"),
                (kind, None) => format!("{kind}{line}"),
            }
        })?;
    if text.len() > MAX_BYTES {
        return Err(format!("the text has {} bytes, more than 64 KiB", text.len()));
    }
    Ok(text)
}

/// Tries a template on a notice that has everything, and on one that has only what every notice has.
///
/// # Errors
/// What is wrong with it.
pub fn check_template(template: &str) -> Result<(), String> {
    let bare = Notice::new(
        "r/1".into(),
        NoticeKind::Started,
        Severity::Low,
        Timestamp::default(),
        "It began.".into(),
    );
    let whole = Notice {
        rollout: "r".into(),
        target: "shop".into(),
        version: "1.4.3".into(),
        policy: "standard".into(),
        stable_version: Some("1.4.2".into()),
        started_by: "somebody".into(),
        step: Some((1, 3)),
        weight: Weight(500),
        reason: Some(ReasonCode::Guardrail),
        figures: vec![Figure {
            metric: "errors".into(),
            verdict: "worse".into(),
            canary: Some("2.7%".into()),
            baseline: Some("0.9%".into()),
            ratio: Some([2.0, 3.0, 4.0]),
        }],
        incident: Some(IncidentChange {
            key: "shop/r/1".into(),
            step: IncidentStep::Trigger,
            opened_at: Timestamp::default(),
            told: Vec::new(),
        }),
        begins_at: Some(Timestamp::default()),
        environment: Some("production".into()),
        message: Some("It began.".into()),
        ..bare.clone()
    };
    render(template, &whole)?;
    render(template, &bare).map(|_| ()).map_err(|why| format!("{why}, with a notice that has no such value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_tried_out() {
        let good = r#"{"text": {{ sentence | tojson }}, "w": {{ weight_percent }}{% if step %}, "s": {{ step[0] }}{% endif %}}"#;
        check_template(good).unwrap();
        for (template, says) in [
            ("{{ nothing }}", "undefined"),
            ("{{ target", "syntax"),
            ("a\n{{ incident.kye }}", "line 2"),
            ("{{ incident.key }}", "has no such value"),
            ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", "does not end"),
            ("{{ 'x' * 70000 }}", "64 KiB"),
            ("{% include 'other' %}", ""),
        ] {
            let why = check_template(template).expect_err(template);
            assert!(why.contains(says), "{template}: {why}");
        }
    }
}
