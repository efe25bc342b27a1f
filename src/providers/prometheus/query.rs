//! PromQL text. This is the only place where it is made; every label value goes through [`quote`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use crate::core::counter::quote;
use crate::core::metric::NoData;
use crate::core::source::{MatchOp, Matcher, Selector};

/// `a="b",c="d"`: the labels of an arm and the pinned ones, without braces.
///
/// # Errors
/// [`NoData::Refused`] if a label's name is not one.
pub fn arm_matchers(
    arm: &BTreeMap<String, String>,
    pin: &BTreeMap<String, String>,
) -> Result<String, NoData> {
    let equal = arm.iter().chain(pin).map(|(label, value)| (label.as_str(), MatchOp::Equal, value.as_str()));
    matchers(equal)
}

/// The raw samples of `selector` in the arm over the last `range`.
///
/// # Errors
/// [`NoData::Refused`] if a label's name is not one.
pub fn raw_samples(
    selector: &Selector,
    arm: &BTreeMap<String, String>,
    pin: &BTreeMap<String, String>,
    range: Duration,
) -> Result<String, NoData> {
    let own =
        selector.matchers.iter().map(|Matcher { label, op, value }| (label.as_str(), *op, value.as_str()));
    let name = ("__name__", MatchOp::Equal, selector.metric.as_str());
    let equal = arm.iter().chain(pin).map(|(label, value)| (label.as_str(), MatchOp::Equal, value.as_str()));
    let matchers = matchers(std::iter::once(name).chain(own).chain(equal))?;
    Ok(format!("{{{matchers}}}[{}ms]", range.as_millis().max(1)))
}

/// The raw samples of the gauge `metric` whose labels have one of these values each.
///
/// # Errors
/// [`NoData::Refused`] if a label's name is not one.
pub fn gauge_where(
    metric: &str,
    labels: &BTreeMap<String, BTreeSet<String>>,
    pin: &BTreeMap<String, String>,
    range: Duration,
) -> Result<String, NoData> {
    raw_samples(
        &Selector { metric: metric.to_owned(), matchers: any_of(labels) },
        &BTreeMap::new(),
        pin,
        range,
    )
}

/// The values now of the gauge `metric` whose labels have one of these values each.
///
/// # Errors
/// [`NoData::Refused`] if a label's name is not one.
pub fn gauge_now(
    metric: &str,
    labels: &BTreeMap<String, BTreeSet<String>>,
    pin: &BTreeMap<String, String>,
) -> Result<String, NoData> {
    let own = any_of(labels);
    let own = own.iter().map(|Matcher { label, op, value }| (label.as_str(), *op, value.as_str()));
    let name = ("__name__", MatchOp::Equal, metric);
    let pinned = pin.iter().map(|(label, value)| (label.as_str(), MatchOp::Equal, value.as_str()));
    Ok(format!("{{{}}}", matchers(std::iter::once(name).chain(own).chain(pinned))?))
}

/// A matcher for each label.
fn any_of(labels: &BTreeMap<String, BTreeSet<String>>) -> Vec<Matcher> {
    let any_of = |(label, values): (&String, &BTreeSet<String>)| {
        let (op, value) = match values.first() {
            Some(only) if values.len() == 1 => (MatchOp::Equal, only.clone()),
            _ => (
                MatchOp::Matches,
                values.iter().map(|value| regex::escape(value)).collect::<Vec<_>>().join("|"),
            ),
        };
        Matcher { label: label.clone(), op, value }
    };
    labels.iter().map(any_of).collect()
}

/// A guardrail's query with `$arm` replaced by the arm's matchers. A longer name that begins with
/// `$arm` is left alone.
///
/// # Errors
/// [`NoData::Refused`] if a label's name is not one.
pub fn of_arm(
    query: &str,
    arm: &BTreeMap<String, String>,
    pin: &BTreeMap<String, String>,
) -> Result<String, NoData> {
    let matchers = arm_matchers(arm, pin)?;
    let mut text = String::with_capacity(query.len() + matchers.len());
    let mut rest = query;
    while let Some(at) = rest.find("$arm") {
        let (before, after) = (&rest[..at], &rest[at + "$arm".len()..]);
        text.push_str(before);
        let is_longer_name = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        text.push_str(if is_longer_name { "$arm" } else { &matchers });
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn matchers<'a>(parts: impl Iterator<Item = (&'a str, MatchOp, &'a str)>) -> Result<String, NoData> {
    let mut text = String::new();
    for (label, op, value) in parts {
        if !is_label_name(label) {
            return Err(NoData::Refused(format!(
                "{label:?} is not a label name; those have letters, digits and underscores"
            )));
        }
        let op = match op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Matches => "=~",
            MatchOp::NotMatches => "!~",
        };
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(label);
        text.push_str(op);
        text.push_str(&quote(value));
    }
    Ok(text)
}

fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
