//! Small texts: placeholders, and what is shown of what came back.

use crate::core::split::Weight;
use crate::ports::GateRequest;

/// What may stand in place of `{name}`.
pub(super) fn placeholders(request: &GateRequest) -> [(&'static str, String); 5] {
    [
        ("version", request.version.clone()),
        ("stable_version", request.stable_version.clone().unwrap_or_default()),
        ("target", request.target.clone()),
        ("rollout", request.rollout.0.clone()),
        ("weight", weight(request.weight)),
    ]
}

/// A weight in percent, without a sign: `5`, `0.5`.
pub(super) fn weight(weight: Weight) -> String {
    format!("{}", f64::from(weight.0) / 100.0)
}

/// `text` with every `{name}` replaced. What is put in is not looked at again.
pub(super) fn fill(text: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = values
            .iter()
            .find(|(name, _)| rest[1..].strip_prefix(*name).is_some_and(|after| after.starts_with('}')));
        match known {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// The head of something that came from outside, in one line.
pub(super) fn head(text: &str) -> String {
    const MOST: usize = 300;
    let mut head: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        head.push('…');
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let values = [("version", "{target}".to_owned()), ("target", "shop".to_owned())];
        assert_eq!(
            fill("--v={version} {target}/{other} {{version} {", &values),
            "--v={target} shop/{other} {{target} {"
        );
    }

    #[test]
    fn what_came_back_is_one_short_line() {
        assert_eq!(head("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert!(head(&"x".repeat(1000)).chars().count() == 301);
    }
}
