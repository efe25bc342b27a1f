//! The names of series and instances in a cursor.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The labels that together name the process that was scraped.
const INSTANCE_LABELS: [&str; 3] = ["cluster", "instance", "job"];

/// Which series this is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesId {
    /// The key in the cursor: instance, name and remaining labels, unique and readable.
    pub key: String,
    /// Metric name.
    pub name: String,
    /// The process that it was scraped from; `None` for series that are not scraped from one, such as
    /// those of recording rules. Those never count from zero.
    pub instance: Option<String>,
}

impl SeriesId {
    /// A series of a database of many instances, told apart by the labels `instance`, `job` and (where
    /// one database holds several clusters) `cluster`.
    pub fn of_labels(name: &str, labels: &BTreeMap<String, String>) -> SeriesId {
        let instance = SeriesId::instance_of(labels);
        let rest = |label: &&String| instance.is_none() || !INSTANCE_LABELS.contains(&label.as_str());
        let rest: BTreeMap<&str, &str> = labels
            .iter()
            .filter(|(label, _)| rest(label))
            .map(|(label, value)| (label.as_str(), value.as_str()))
            .collect();
        SeriesId::new(name, &rest, instance)
    }

    /// A series of the metrics page at `url`.
    pub fn of_page(name: &str, labels: &BTreeMap<String, String>, url: &str) -> SeriesId {
        let labels = labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        SeriesId::new(name, &labels, Some(SeriesId::page(url)))
    }

    /// The instance of series with these labels.
    pub fn instance_of(labels: &BTreeMap<String, String>) -> Option<String> {
        labels.get("instance")?;
        let named = INSTANCE_LABELS.iter().filter_map(|label| Some((*label, labels.get(*label)?.as_str())));
        Some(labels_text(named))
    }

    /// The instance behind the metrics page at `url`.
    pub fn page(url: &str) -> String {
        labels_text([("url", url)].into_iter())
    }

    fn new(name: &str, labels: &BTreeMap<&str, &str>, instance: Option<String>) -> SeriesId {
        let labels = labels_text(labels.iter().map(|(label, value)| (*label, *value)));
        let key = format!("{}{name}{labels}", prefix(instance.as_deref()));
        SeriesId { key, name: name.to_owned(), instance }
    }
}

/// How the keys of an instance's series begin. Label values are quoted, so no instance's prefix is the
/// beginning of another's.
pub fn prefix(instance: Option<&str>) -> String {
    format!("{} ", instance.unwrap_or("{}"))
}

/// Labels as PromQL and the text format write them: `{a="b",c="d"}`, values escaped.
pub fn labels_text<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (label, value) in labels {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(label);
        text.push('=');
        push_quoted(&mut text, value);
    }
    text.push('}');
    text
}

/// A string literal of PromQL that stands for exactly `value`.
pub fn quote(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    push_quoted(&mut text, value);
    text
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
