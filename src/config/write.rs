//! Writes a tree as YAML, for people who want to see what a policy has become.

use super::yaml::{Kind, Node};

/// The tree as YAML, with an end of line.
pub(super) fn write(node: &Node) -> String {
    let mut text = String::new();
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => block(&mut text, node, 0, false),
        Kind::List(items) if !items.is_empty() => block(&mut text, node, 0, false),
        _ => {
            text.push_str(&scalar(node));
            text.push('\n');
        }
    }
    text
}

/// A mapping or list, indented; `is_inline` if its first line stands behind a dash already.
fn block(text: &mut String, node: &Node, depth: usize, is_inline: bool) {
    let indent = "  ".repeat(depth);
    let mut first = is_inline;
    let mut begin = |text: &mut String| {
        if !std::mem::take(&mut first) {
            text.push_str(&indent);
        }
    };
    match &node.kind {
        Kind::Map(entries) => {
            for entry in entries {
                begin(text);
                text.push_str(&key(&entry.key));
                text.push(':');
                if is_block(&entry.value) {
                    text.push('\n');
                    block(text, &entry.value, depth + 1, false);
                } else {
                    text.push_str(&format!(" {}\n", scalar(&entry.value)));
                }
            }
        }
        Kind::List(items) => {
            for item in items {
                begin(text);
                text.push_str("- ");
                if is_block(item) {
                    block(text, item, depth + 1, true);
                } else {
                    text.push_str(&format!("{}\n", scalar(item)));
                }
            }
        }
        Kind::Null | Kind::Scalar { .. } => {}
    }
}

fn is_block(node: &Node) -> bool {
    match &node.kind {
        Kind::Map(entries) => !entries.is_empty(),
        Kind::List(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "~".to_owned(),
        Kind::Map(_) => "{}".to_owned(),
        Kind::List(_) => "[]".to_owned(),
        // What stood without quotes is right without quotes, unless it went over several lines.
        Kind::Scalar { text, plain: true } if !text.contains('\n') => text.clone(),
        Kind::Scalar { text, .. } => quoted(text),
    }
}

fn key(text: &str) -> String {
    let is_plain =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    // A key that looks like a number or a word of YAML's own is still a key here.
    if is_plain && !text.starts_with('-') { text.to_owned() } else { quoted(text) }
}

/// JSON strings are YAML strings.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
