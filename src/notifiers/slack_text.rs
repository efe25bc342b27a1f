//! A notice as Slack's text and blocks, within the service's limits.

use serde_json::{Value, json};

use super::text;
use crate::core::limit::Severity;
use crate::core::notice::Notice;
use crate::messages::Words;

/// The service's limits, in characters.
const MOST_HEADER: usize = 150;
const MOST_SECTION: usize = 3000;
const MOST_CONTEXT: usize = 2000;
/// Of the fallback text, so much is recommended.
const MOST_TEXT: usize = 4000;
const MOST_FIGURES: usize = 20;

/// The text that notifications show.
pub(super) fn fallback(notice: &Notice, words: &Words) -> String {
    let message = words.message(notice);
    escape(&format!("{}: {}", message.title, message.text), MOST_TEXT)
}

/// Title, text, figures, links.
pub(super) fn blocks(notice: &Notice, words: &Words) -> Value {
    let message = words.message(notice);
    let mut blocks = vec![json!({"type": "header", "text": {
        "type": "plain_text", "text": text::line(&message.title, MOST_HEADER), "emoji": false,
    }})];
    blocks.extend(section(&escape(&message.text, MOST_SECTION)));
    let figures: Vec<String> = text::figures(notice, MOST_FIGURES);
    blocks.extend(section(&escape(&figures.join("\n"), MOST_SECTION)));
    let links = words.links(notice);
    let links = [(links.rollout, "Rollout"), (links.report, "Report"), (links.runbook, "Runbook")];
    let links: Vec<String> = links
        .into_iter()
        .filter_map(|(url, name)| url.map(|url| format!("<{}|{name}>", link(&url))))
        .filter(|link| link.len() < 900)
        .collect();
    blocks.extend(section(&links.join("  ·  ")));
    let mut context = format!("{} · {} · {}", severity(notice.severity), notice.kind.name(), notice.at);
    if let Some(progress) = text::progress(notice) {
        context.push_str(&format!(" · {progress}"));
    }
    blocks.push(json!({"type": "context", "elements": [
        {"type": "mrkdwn", "text": escape(&context, MOST_CONTEXT)},
    ]}));
    Value::Array(blocks)
}

/// Whether a text is shown whole.
pub(super) fn fits_section(text: &str) -> bool {
    !escape(text, MOST_SECTION).ends_with('…')
}

fn section(text: &str) -> Option<Value> {
    let text = text.trim();
    (!text.is_empty()).then(|| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}))
}

fn severity(severity: Severity) -> String {
    format!("severity {}", text::severity(severity))
}

/// A URL within `<…|…>`.
fn link(url: &str) -> String {
    url.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E").replace('|', "%7C")
}

/// `&`, `<` and `>` as the service wants them, at most `most` characters: a text can neither make links
/// nor call a whole channel.
pub(super) fn escape(text: &str, most: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    for letter in text.chars() {
        let mut alone = [0; 4];
        let piece = match letter {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            other => other.encode_utf8(&mut alone),
        };
        length += piece.chars().count();
        if length > most.saturating_sub(1) {
            escaped.push('…');
            break;
        }
        escaped.push_str(piece);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_within_their_length() {
        assert_eq!(escape("a<!channel> & b", 100), "a&lt;!channel&gt; &amp; b");
        let long = escape(&"<".repeat(2000), 3000);
        assert!(long.chars().count() <= 3000 && long.ends_with("&lt;…"), "{}", long.len());
        assert_eq!(link("https://a/?b=c&d=<|>"), "https://a/?b=c&amp;d=%3C%7C%3E");
    }
}
