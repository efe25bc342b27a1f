//! What all channels do with texts: cut to lengths, figures in words.

use sha2::{Digest, Sha256};

use crate::core::limit::Severity;
use crate::core::notice::{Figure, Notice};
use crate::outbound::sign::hexadecimal;

/// The head of a text, at most `most` characters, with a mark where something is cut off.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut head: String = text.chars().take(most.saturating_sub(1)).collect();
    head.push('…');
    head
}

/// One line, at most `most` characters.
pub(super) fn line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    cut(&words.join(" "), most)
}

/// A key within `most` characters: itself, or its hash where it is longer.
pub(super) fn key_within(key: &str, most: usize) -> String {
    if key.chars().count() <= most {
        key.to_owned()
    } else {
        format!("serin/{}", hexadecimal(&Sha256::digest(key)))
    }
}

/// A figure as a line: `errors: worse, canary 2.7%, baseline 0.4%, ratio 6.9 (3.1 to 15)`.
pub(super) fn figure(figure: &Figure) -> String {
    let mut text = format!("{}: {}", cut(&figure.metric, 100), cut(&figure.verdict, 60));
    if let Some(canary) = &figure.canary {
        text.push_str(&format!(", canary {}", cut(canary, 60)));
    }
    if let Some(baseline) = &figure.baseline {
        text.push_str(&format!(", baseline {}", cut(baseline, 60)));
    }
    if let Some([low, estimate, high]) = figure.ratio {
        text.push_str(&format!(", ratio {estimate:.2} ({low:.2} to {high:.2})"));
    }
    text
}

/// At most so many figures of a notice, as lines.
pub(super) fn figures(notice: &Notice, most: usize) -> Vec<String> {
    notice.figures.iter().take(most).map(figure).collect()
}

/// The step and the weight, where there is a step: `step 2 of 4, canary at 25%`.
pub(super) fn progress(notice: &Notice) -> Option<String> {
    let (step, of) = notice.step?;
    Some(format!("step {step} of {of}, canary at {}%", f64::from(notice.weight.0) / 100.0))
}

/// The severity's stable name.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// The stable code of the reason.
pub(super) fn reason(notice: &Notice) -> Option<String> {
    let code = serde_json::to_value(notice.reason?).ok()?;
    code.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(line(" one\n\ttwo\u{7}three ", 50), "one two three");
    }

    #[test]
    fn long_keys_are_hashed_and_stay_different() {
        let (a, b) = ("a".repeat(300), format!("{}b", "a".repeat(299)));
        assert_eq!(key_within("shop/r1/7", 255), "shop/r1/7");
        assert!(key_within(&a, 255).len() <= 255);
        assert_ne!(key_within(&a, 255), key_within(&b, 255));
        assert_eq!(key_within(&a, 255), key_within(&a, 255));
    }
}
