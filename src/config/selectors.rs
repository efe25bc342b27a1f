//! Series of metrics: their names, and matchers of their labels.

use super::decode::{Field, all, shorten};
use super::templates::{is_label_name, is_metric_name};
use crate::core::source::{MatchOp, Matcher, Selector};

/// `http_requests_total`, or `{metric: http_requests_total, match: ...}`.
pub(super) fn selector(field: &Field<'_>) -> Option<Selector> {
    if field.is_scalar() {
        return Some(Selector { metric: metric_name(field)?, matchers: Vec::new() });
    }
    let fields = field.fields("a metric's name, or a mapping with `metric` and `match`")?;
    let metric = fields.need("metric", "the name of a counter").and_then(|f| metric_name(&f));
    let matchers = fields.or("match", Vec::new(), |f| matchers(&f));
    fields.close();
    Some(Selector { metric: metric?, matchers: matchers? })
}

pub(super) fn metric_name(field: &Field<'_>) -> Option<String> {
    let name = field.raw("the name of a metric")?;
    if !is_metric_name(name) {
        field.problem(
            format!("`{}` is not a metric's name", shorten(name)),
            "letters, digits, `_` and `:` only, without braces; labels go under `match`",
        );
        return None;
    }
    Some(name.to_owned())
}

/// `{label: value}`, or `[{label: code, op: "=~", value: "5.."}]`.
pub(super) fn matchers(field: &Field<'_>) -> Option<Vec<Matcher>> {
    if !field.is_list() {
        let entries = field.entries("a mapping of labels to values, or a list of {label, op, value}")?;
        return all(entries.into_iter().map(|(label, value)| {
            let good = check_label(&value, label);
            let value = matched_value(&value);
            Some(Matcher { label: good.then(|| label.to_owned())?, op: MatchOp::Equal, value: value? })
        }));
    }
    all(field.list(50, "a list of {label, op, value}")?.iter().map(|item| {
        let fields = item.fields("a mapping with `label`, `op` and `value`")?;
        let label = fields.need("label", "the name of a label").and_then(|f| {
            let label = f.raw("the name of a label")?;
            check_label(&f, label).then(|| label.to_owned())
        });
        let ops = [
            ("=", MatchOp::Equal),
            ("!=", MatchOp::NotEqual),
            ("=~", MatchOp::Matches),
            ("!~", MatchOp::NotMatches),
        ];
        let op = fields.or("op", MatchOp::Equal, |f| f.one_of(&ops));
        let value = fields.need("value", "the label's value, in quotes").and_then(|f| matched_value(&f));
        fields.close();
        Some(Matcher { label: label?, op: op?, value: value? })
    }))
}

/// True if `label` can be matched; else the problem is told.
pub(super) fn check_label(field: &Field<'_>, label: &str) -> bool {
    let good = is_label_name(label);
    if !good {
        field.problem(
            format!("`{}` is not a label's name", shorten(label)),
            "letters, digits and `_`, no digit first and not `__` at the beginning",
        );
    }
    good
}

/// A label's value; it may be empty, which matches series without the label.
pub(super) fn matched_value(field: &Field<'_>) -> Option<String> {
    let value = field.raw("a text, in quotes")?;
    if value.chars().count() > 1000 || value.chars().any(char::is_control) {
        field.problem("the value is too long or has control characters", "at most 1000 printable characters");
        return None;
    }
    Some(value.to_owned())
}

pub(super) fn selectors(field: &Field<'_>) -> Option<Vec<Selector>> {
    let items = field.list(20, "a list of counters such as `- metric: jobs_total`")?;
    if items.is_empty() {
        field.problem("the list is empty", "at least one counter");
        return None;
    }
    all(items.iter().map(selector))
}
