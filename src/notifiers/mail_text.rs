//! A notice as a mail's plain text and HTML.

use std::collections::BTreeMap;

use super::text;
use crate::core::notice::Notice;
use crate::messages::Words;

const MOST_TEXT: usize = 100_000;
const MOST_FIGURES: usize = 50;

/// Characters that mean something in HTML, also within attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn links(notice: &Notice, words: &Words) -> Vec<(&'static str, String)> {
    let links = words.links(notice);
    let links = [("Rollout", links.rollout), ("Report", links.report), ("Runbook", links.runbook)];
    links.into_iter().filter_map(|(name, url)| url.map(|url| (name, url))).collect()
}

fn footer(notice: &Notice) -> String {
    let mut footer =
        format!("severity {}, {}, {}", text::severity(notice.severity), notice.kind.name(), notice.at);
    if let Some(progress) = text::progress(notice) {
        footer.push_str(&format!(", {progress}"));
    }
    footer
}

/// Who does not get these mails.
fn not_delivered(refused: &BTreeMap<String, String>) -> Vec<String> {
    let line = |(address, detail): (&String, &String)| {
        text::line(&format!("The mail server refuses {address}, who gets none of these mails: {detail}"), 500)
    };
    refused.iter().take(10).map(line).collect()
}

/// The plain text.
pub(super) fn plain(notice: &Notice, words: &Words, refused: &BTreeMap<String, String>) -> String {
    let message = words.message(notice);
    let mut told = format!("{}\n\n{}\n", message.title, text::cut(&message.text, MOST_TEXT));
    let figures = text::figures(notice, MOST_FIGURES);
    if !figures.is_empty() {
        told.push_str(&format!("\n{}\n", figures.join("\n")));
    }
    for (name, url) in links(notice, words) {
        told.push_str(&format!("\n{name}: {url}"));
    }
    for line in not_delivered(refused) {
        told.push_str(&format!("\n{line}"));
    }
    told.push_str(&format!("\n\n{}\n", footer(notice)));
    told
}

/// The HTML, with everything escaped. Links that are no `http` or `https` URLs are left out.
pub(super) fn html(notice: &Notice, words: &Words, refused: &BTreeMap<String, String>) -> String {
    let message = words.message(notice);
    let mut told = String::from("<!DOCTYPE html><html><head><meta charset=\"utf-8\"></head><body>");
    told.push_str(&format!("<h2>{}</h2>", escape(&message.title)));
    for line in text::cut(&message.text, MOST_TEXT).lines().filter(|line| !line.trim().is_empty()) {
        told.push_str(&format!("<p>{}</p>", escape(line)));
    }
    let figures = text::figures(notice, MOST_FIGURES);
    if !figures.is_empty() {
        let items: String = figures.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
        told.push_str(&format!("<ul>{items}</ul>"));
    }
    let anchors: Vec<String> = links(notice, words)
        .into_iter()
        .filter(|(_, url)| url.starts_with("https://") || url.starts_with("http://"))
        .map(|(name, url)| format!("<a href=\"{}\">{name}</a>", escape(&url)))
        .collect();
    if !anchors.is_empty() {
        told.push_str(&format!("<p>{}</p>", anchors.join(" &middot; ")));
    }
    for line in not_delivered(refused) {
        told.push_str(&format!("<p>{}</p>", escape(&line)));
    }
    told.push_str(&format!("<p><small>{}</small></p></body></html>", escape(&footer(notice))));
    told
}
