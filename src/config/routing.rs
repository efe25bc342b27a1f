//! Who is told what: `routing`, `templates` and `public_url` of the daemon's configuration.

use std::collections::BTreeMap;

use super::decode::{Field, Fields, all, shorten, suggest};
use crate::core::access::{LONGEST_PATTERN, MOST_PATTERNS, Scope};
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::routing::{DailyTime, Destination, QuietHours, Routing, Rule, Zone};
use crate::messages::{self, KindTemplates};

const MOST_RULES: usize = 200;
const RULES: &str = "a list of rules such as `- {severity: [critical], to: [pager]}`, or a mapping with \
                     `rules`, `by_severity` and `quiet_hours`";
const TO: &str = "a list of channels, such as [pager, releases]";

const SEVERITIES: [(&str, Severity); 8] = [
    ("critical", Severity::Critical),
    ("high", Severity::High),
    ("medium", Severity::Medium),
    ("low", Severity::Low),
    ("p0", Severity::Critical),
    ("p1", Severity::High),
    ("p2", Severity::Medium),
    ("p3", Severity::Low),
];
const DAYS: [(&str, u8); 7] =
    [("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6), ("sun", 7)];

/// Reads `routing`; `channels` are the names under `notifiers`.
pub(super) fn routing(field: &Field<'_>, channels: &[String]) -> Option<Routing> {
    let mut routing = Routing::everything(channels.iter().cloned());
    if field.is_list() {
        routing.rules = Some(rules(field, channels)?);
        return Some(routing);
    }
    let fields = field.fields(RULES)?;
    let listed = fields.maybe("rules", |f| rules(&f, channels));
    let by_severity = fields.maybe("by_severity", |f| by_severity(&f, channels));
    let quiet = fields.or("quiet_hours", Vec::new(), |f| quiet_hours(&f, channels));
    fields.close();
    routing.rules = match (listed?, by_severity?) {
        (None, None) => None,
        (listed, short) => Some(listed.into_iter().chain(short).flatten().collect()),
    };
    routing.quiet = quiet?;
    Some(routing)
}

fn rules(field: &Field<'_>, channels: &[String]) -> Option<Vec<Rule>> {
    let items = field.list(MOST_RULES, "a list of rules such as `- {severity: [critical], to: [pager]}`")?;
    all(items.iter().map(|item| rule(item, channels)))
}

fn rule(field: &Field<'_>, channels: &[String]) -> Option<Rule> {
    let fields = field.fields("a rule such as `{severity: [critical], to: [pager]}`")?;
    let severities = fields.maybe("severity", |f| several(&f, |f| severity(&f)));
    let kinds = fields.maybe("kinds", |f| several(&f, |f| kind(&f)));
    let services = fields.or("services", Scope::all(), |f| services(&f));
    let environments = fields.maybe("environments", |f| several(&f, |f| f.line(100)));
    let to = fields.need("to", TO).and_then(|f| destinations(&f, channels));
    let goes_on = fields.or("continue", false, |f| f.boolean());
    fields.close();
    Some(Rule {
        severities: severities?,
        kinds: kinds?,
        services: services?,
        environments: environments?,
        to: to?,
        goes_on: goes_on?,
    })
}

/// `{critical: [pager, releases], low: {digest: mail, at: "09:00"}}`.
fn by_severity(field: &Field<'_>, channels: &[String]) -> Option<Vec<Rule>> {
    let mut seen: Vec<Severity> = Vec::new();
    let entries = field.entries("a mapping of severities to channels, such as `{critical: [pager]}`")?;
    let read = entries.into_iter().map(|(name, to)| {
        let known = SEVERITIES.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        let Some((_, severity)) = known else {
            let words = SEVERITIES.map(|(word, _)| word);
            to.problem(format!("`{}` is not a severity", shorten(name)), suggest(name, &words));
            return None;
        };
        if seen.contains(severity) {
            to.problem(format!("`{}` says twice where a severity goes", shorten(name)), "one entry for each");
            return None;
        }
        seen.push(*severity);
        Some(Rule {
            severities: Some(vec![*severity]),
            kinds: None,
            services: Scope::all(),
            environments: None,
            to: destinations(&to, channels)?,
            goes_on: false,
        })
    });
    all(read.collect::<Vec<_>>())
}

/// One value, or a list of some.
fn several<T>(field: &Field<'_>, read: impl Fn(Field<'_>) -> Option<T>) -> Option<Vec<T>> {
    if field.is_scalar() {
        return Some(vec![read(field.clone())?]);
    }
    let items = field.list(200, "a list")?;
    if items.is_empty() {
        field.problem("the list is empty, so nothing would match", "at least one, or no such field");
        return None;
    }
    all(items.into_iter().map(read))
}

fn severity(field: &Field<'_>) -> Option<Severity> {
    let text = field.raw("a severity such as critical or p0")?;
    let found = SEVERITIES.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    if found.is_none() {
        let words = SEVERITIES.map(|(word, _)| word);
        field.problem(format!("`{}` is not a severity", shorten(text)), suggest(text, &words));
    }
    found.map(|(_, severity)| *severity)
}

fn kind(field: &Field<'_>) -> Option<NoticeKind> {
    let known: Vec<_> = NoticeKind::ALL.iter().map(|kind| (kind.name(), *kind)).collect();
    field.one_of(&known)
}

fn services(field: &Field<'_>) -> Option<Scope> {
    let items = field.list(MOST_PATTERNS, "a list of targets' names or patterns")?;
    let patterns = all(items.iter().map(|item| item.line(LONGEST_PATTERN)))?;
    Scope::new(&patterns)
        .map_err(|error| field.problem(error.to_string(), "such as ['checkout*', 'search']"))
        .ok()
}

fn destinations(field: &Field<'_>, channels: &[String]) -> Option<Vec<Destination>> {
    if field.is_list() {
        let items = field.list(100, TO)?;
        return all(items.iter().map(|item| destination(item, channels)));
    }
    Some(vec![destination(field, channels)?])
}

/// A channel's name, or `{digest: mail, at: "09:00", time_zone: Europe/Berlin}`.
fn destination(field: &Field<'_>, channels: &[String]) -> Option<Destination> {
    if field.is_scalar() {
        return Some(Destination { channel: channel(field, channels)?, digest: None });
    }
    let fields =
        field.fields("a channel's name, or `{digest: CHANNEL, at: \"09:00\", time_zone: Europe/Berlin}`")?;
    let name = fields.need("digest", "the channel's name").and_then(|f| channel(&f, channels));
    let at = fields.or("at", 9 * 60, |f| time(&f, 24 * 60 - 1));
    let zone = zone(&fields);
    fields.close();
    Some(Destination { channel: name?, digest: Some(DailyTime { at: at?, zone: zone? }) })
}

fn channel(field: &Field<'_>, channels: &[String]) -> Option<String> {
    let name = field.raw("a channel's name")?;
    if channels.iter().any(|known| known == name) {
        return Some(name.to_owned());
    }
    field.problem(
        format!("there is no channel `{}` under `notifiers`", shorten(name)),
        suggest(name, channels),
    );
    None
}

fn zone(fields: &Fields<'_>) -> Option<Zone> {
    let Some(field) = fields.get("time_zone") else { return Zone::named("UTC") };
    let name = field.raw("a time zone such as Europe/Berlin")?;
    let zone = Zone::named(name);
    if zone.is_none() {
        field.problem(
            format!("`{}` is not a time zone", shorten(name)),
            "a name of the IANA list, such as Europe/Berlin or UTC",
        );
    }
    zone
}

/// `09:00` in minutes after midnight.
fn time(field: &Field<'_>, most: u16) -> Option<u16> {
    const EXPECTED: &str = "a time of the day such as \"09:00\"";
    let text = field.raw(EXPECTED)?;
    let two = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u16>().ok())?
    };
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let minutes = two(minutes).filter(|minutes| *minutes < 60)?;
        Some(two(hours)? * 60 + minutes).filter(|time| *time <= most)
    });
    if parsed.is_none() {
        field.problem(format!("`{}` is not a time of the day", shorten(text)), EXPECTED);
    }
    parsed
}

/// One, or a list of some.
fn quiet_hours(field: &Field<'_>, channels: &[String]) -> Option<Vec<QuietHours>> {
    if field.is_list() {
        let items = field.list(50, "a list of quiet hours")?;
        return all(items.iter().map(|item| quiet(item, channels)));
    }
    Some(vec![quiet(field, channels)?])
}

fn quiet(field: &Field<'_>, channels: &[String]) -> Option<QuietHours> {
    let fields = field.fields("a mapping with `channels`, `from`, `until`, `days` and `time_zone`")?;
    let of = fields.need("channels", TO).and_then(|f| several(&f, |f| channel(&f, channels)));
    let from = fields.need("from", "when they begin, such as \"22:00\"").and_then(|f| time(&f, 24 * 60 - 1));
    let until = fields.need("until", "when they end, such as \"07:00\"").and_then(|f| time(&f, 24 * 60));
    let days = fields.or("days", (1..=7).collect(), |f| several(&f, |f| f.one_of(&DAYS)));
    let zone = zone(&fields);
    fields.close();
    let (from, until) = (from?, until?);
    if from == until {
        field.problem(
            "they begin when they end",
            "`from` and `until` that differ; \"00:00\" and \"24:00\" for a day",
        );
        return None;
    }
    Some(QuietHours { channels: of?, days: days?, from, until, zone: zone? })
}

/// `{rolled_back: "…", step: {all: "…", pager: "…"}}`: texts by kind, and by channel where it matters.
pub(super) fn templates(
    field: &Field<'_>,
    channels: &[String],
) -> Option<BTreeMap<NoticeKind, KindTemplates>> {
    let entries = field.entries("a mapping of kinds of messages to templates")?;
    let read = entries.into_iter().map(|(name, value)| {
        let kind = NoticeKind::ALL.iter().copied().find(|kind| kind.name() == name);
        let Some(kind) = kind else {
            let kinds: Vec<&str> = NoticeKind::ALL.iter().map(|kind| kind.name()).collect();
            value.problem(format!("there is no kind of message `{}`", shorten(name)), suggest(name, &kinds));
            return None;
        };
        if value.is_scalar() {
            let all = Some(template(&value, kind)?);
            return Some((kind, KindTemplates { all, channels: BTreeMap::new() }));
        }
        let mut templates = KindTemplates::default();
        let mut good = true;
        for (channel, field) in value.entries("a template, or a mapping of channels to templates")? {
            let text = template(&field, kind);
            good &= text.is_some();
            match text {
                Some(text) if channel == "all" => templates.all = Some(text),
                Some(text) if channels.iter().any(|known| known == channel) => {
                    templates.channels.insert(channel.to_owned(), text);
                }
                _ if channel != "all" && !channels.iter().any(|known| known == channel) => {
                    let message = format!("there is no channel `{}` under `notifiers`", shorten(channel));
                    field.problem(message, format!("`all`, or {}", suggest(channel, channels)));
                    good = false;
                }
                _ => {}
            }
        }
        good.then_some((kind, templates))
    });
    let read = all(read.collect::<Vec<_>>())?;
    Some(read.into_iter().collect())
}

fn template(field: &Field<'_>, kind: NoticeKind) -> Option<String> {
    let text = field.text(messages::MOST_TEMPLATE)?;
    let checked = messages::check(kind.name(), &text).map_err(|problem| (problem.message, problem.expected));
    field.told(checked)?;
    Some(text)
}

/// Where people reach the daemon's page, without a slash at the end.
pub(super) fn public_url(field: &Field<'_>) -> Option<String> {
    super::readers::http_url(field, false).map(|url| url.trim_end_matches('/').to_owned())
}
