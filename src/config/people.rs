//! What a policy says of the beginning, of the way back, and of what people are told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{Field, all, suggest};
use super::readers::http_url;
use crate::core::notice::NoticeKind;
use crate::core::policy::{Preflight, Verify};
use crate::core::words;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// `{healthy_baseline: true, enough_traffic: false, within: 30m}`.
pub(super) fn preflight(field: &Field<'_>) -> Option<Preflight> {
    let usual = Preflight::default();
    let fields = field.fields("a mapping with `healthy_baseline`, `enough_traffic` and `within`")?;
    let healthy_baseline = fields.or("healthy_baseline", usual.healthy_baseline, |f| f.boolean());
    let enough_traffic = fields.or("enough_traffic", usual.enough_traffic, |f| f.boolean());
    let within = fields.or("within", usual.within, |f| f.duration(10 * SECOND..=7 * DAY));
    fields.close();
    Some(Preflight { healthy_baseline: healthy_baseline?, enough_traffic: enough_traffic?, within: within? })
}

/// `{within: 15m, hold_for: 2m, at_most_times: 1.5}`.
pub(super) fn verify(field: &Field<'_>) -> Option<Verify> {
    let fields = field.fields("a mapping with `within`, `hold_for` and `at_most_times`")?;
    let within = fields.or("within", 15 * MINUTE, |f| f.duration(10 * SECOND..=DAY));
    let hold_for = fields.or("hold_for", 2 * MINUTE, |f| f.duration(Duration::ZERO..=DAY));
    let at_most_times = fields.or("at_most_times", 1.5, |f| f.number(1.0..=100.0));
    if let (Some(within), Some(hold_for)) = (within, hold_for)
        && hold_for >= within
    {
        let at = fields.get("hold_for").unwrap_or_else(|| field.clone());
        let show = words::show_duration;
        at.problem(
            format!("{} leaves no time within {}", show(hold_for), show(within)),
            "a `hold_for` that is less than `within`",
        );
        return None;
    }
    fields.close();
    Some(Verify { within: within?, hold_for: hold_for?, at_most_times: at_most_times? })
}

/// `[24h, 1h, 15m]`, the longest first however they are written.
pub(super) fn announce(field: &Field<'_>) -> Option<Vec<Duration>> {
    let items = field.list(10, "a list of times before the beginning, such as `[24h, 1h, 15m]`")?;
    let mut times = all(items.iter().map(|item| item.duration(MINUTE..=30 * DAY)))?;
    times.sort_unstable_by(|a, b| b.cmp(a));
    times.dedup();
    Some(times)
}

/// Texts by the name of the notice's kind.
pub(super) fn messages(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let entries = field.entries("a mapping of kinds of notices to templates")?;
    let read = entries.into_iter().map(|(kind, value)| {
        let known = NoticeKind::ALL.iter().find(|known| known.name() == kind);
        if known.is_none() {
            let names: Vec<&str> = NoticeKind::ALL.iter().map(|kind| kind.name()).collect();
            value.problem(
                format!("there is no notice `{}`", super::decode::shorten(kind)),
                suggest(kind, &names),
            );
        }
        let text = value.text(20_000)?;
        let known = *known?;
        value.told(check_message(known, &text))?;
        Some((kind.to_owned(), text))
    });
    all(read).map(|messages| messages.into_iter().collect())
}

/// Renders a policy's own text of a notice.
fn check_message(kind: NoticeKind, template: &str) -> Result<(), (String, String)> {
    crate::messages::check(kind.name(), template).map_err(|problem| (problem.message, problem.expected))
}

/// A link for people.
pub(super) fn runbook(field: &Field<'_>) -> Option<String> {
    http_url(field, true)
}
