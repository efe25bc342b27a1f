//! Text in the forms of channels. What comes from outside must not become markup.

pub use crate::core::words::html;

/// Text as Markdown: characters that mean something there are escaped, and HTML is none.
pub fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

/// Plain text as HTML: an empty line begins a paragraph, and web addresses are links.
pub(super) fn paragraphs(text: &str) -> String {
    let mut out = String::new();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let lines: Vec<String> = block.lines().map(linked).collect();
        out.push_str(&format!("<p>{}</p>\n", lines.join("<br>\n")));
    }
    out
}

fn linked(line: &str) -> String {
    let word = |word: &str| {
        let is_link = word.starts_with("https://") || word.starts_with("http://");
        let safe = html(word);
        if is_link { format!("<a href=\"{safe}\">{safe}</a>") } else { safe }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
