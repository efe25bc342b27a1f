//! The checks of gates, a mapping each, and what they share with hooks: URLs, secrets, programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::decode::{Field, Fields, all, shorten, suggest};
use super::readers::http_url;
use super::{selectors, window};
use crate::core::gate::{
    AlertsCheck, ApprovalRule, Check, CommandCheck, HealthCheck, WebhookCheck, WebhookForm,
};
use crate::core::limit::{Breach, GuardrailLimit};
use crate::outbound::guard;
use crate::secrets::SecretSource;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// What may stand in `{…}`.
const PLACEHOLDERS: [&str; 5] = ["version", "stable_version", "target", "rollout", "weight"];

const KINDS: &str = "exactly one of approval, webhook, command, health, alerts, window, metric, slo";

/// The one check of a gate.
pub(super) fn check(fields: &Fields<'_>) -> Option<Check> {
    type Read = fn(&Field<'_>) -> Option<Check>;
    let kinds: [(&'static str, Read); 8] = [
        ("approval", approval),
        ("webhook", |f| webhook(f).map(Check::Webhook)),
        ("command", |f| command(f).map(Check::Command)),
        ("health", health),
        ("alerts", alerts),
        ("window", window::check),
        ("metric", metric_check),
        ("slo", slo),
    ];
    let given: Vec<_> =
        kinds.into_iter().filter_map(|(name, read)| Some((name, fields.get(name)?, read))).collect();
    // All of them are read, so that every problem is told.
    let mut read: Vec<Option<Check>> = given.iter().map(|(_, field, read)| read(field)).collect();
    match &given[..] {
        [_] => read.pop()?,
        [] => {
            fields.field.problem("the gate does not say what it asks", KINDS);
            None
        }
        [(first, ..), (second, field, _), ..] => {
            field.problem(format!("there is `{first}` and `{second}`"), format!("{KINDS}; a gate each"));
            None
        }
    }
}

/// `{from: [{team: release-lead, count: 1}], by_starter: false}`.
fn approval(field: &Field<'_>) -> Option<Check> {
    let fields = field.fields("a mapping such as `{from: [{team: release-lead, count: 1}]}`")?;
    let rules = fields.or("from", vec![ApprovalRule { team: None, count: 1 }], |f| {
        let items = f.list(20, "a list such as `- {team: release-lead, count: 1}`")?;
        if items.is_empty() {
            f.problem("nobody is asked", "at least one item such as `{count: 1}`");
            return None;
        }
        all(items.iter().map(rule))
    });
    let by_starter = fields.or("by_starter", false, |f| f.boolean());
    fields.close();
    Some(Check::Approval { rules: rules?, by_starter: by_starter? })
}

fn rule(field: &Field<'_>) -> Option<ApprovalRule> {
    let fields = field.fields("a mapping with `team` and `count`")?;
    let team = fields.maybe("team", |f| f.line(200));
    let count = fields.or("count", 1, |f| f.integer(1..=20));
    fields.close();
    Some(ApprovalRule { team: team?, count: u32::try_from(count?).ok()? })
}

fn webhook(field: &Field<'_>) -> Option<WebhookCheck> {
    let fields = field.fields("a mapping with `url` and more")?;
    let to = receiver(&fields);
    let forms = [("serin", WebhookForm::Serin), ("flagger", WebhookForm::Flagger)];
    let form = fields.or("form", WebhookForm::Serin, |f| f.one_of(&forms));
    let metadata = fields.or("metadata", BTreeMap::new(), |f| texts(&f, 50));
    let poll = fields.or("poll", 10 * SECOND, |f| f.duration(SECOND..=HOUR));
    let most_faults = fields.or("most_faults", 10, |f| f.integer(1..=1000));
    fields.close();
    let to = to?;
    Some(WebhookCheck {
        url: to.url,
        allow_private: to.allow_private,
        form: form?,
        metadata: metadata?,
        headers: to.headers,
        secret: to.secret,
        timeout: to.timeout,
        poll: poll?,
        most_faults: u32::try_from(most_faults?).ok()?,
    })
}

/// Who is called, and how.
pub(super) struct Receiver {
    pub(super) url: String,
    pub(super) allow_private: bool,
    pub(super) headers: BTreeMap<String, SecretSource>,
    pub(super) secret: Option<SecretSource>,
    pub(super) timeout: Duration,
}

/// `url`, `allow_private`, `headers`, `secret`, `timeout`.
pub(super) fn receiver(fields: &Fields<'_>) -> Option<Receiver> {
    let allow_private = fields.or("allow_private", false, |f| f.boolean());
    let url = fields.need("url", "the receiver's URL").and_then(|f| url(&f, allow_private));
    let headers = fields.or("headers", BTreeMap::new(), |f| headers(&f));
    let secret = fields.maybe("secret", |f| secret(&f));
    let timeout = fields.or("timeout", 10 * SECOND, |f| f.duration(SECOND / 10..=5 * MINUTE));
    Some(Receiver {
        url: url?,
        allow_private: allow_private?,
        headers: headers?,
        secret: secret?,
        timeout: timeout?,
    })
}

/// A URL whose host, where it is written as an address, may be called.
fn url(field: &Field<'_>, allow_private: Option<bool>) -> Option<String> {
    let text = http_url(field, true)?;
    let refusal = url::Url::parse(&text).ok().and_then(|url| guard::refusal_of_url(&url, allow_private?));
    if let Some(refusal) = refusal {
        field.problem(refusal, "the address of the receiver that is meant");
        return None;
    }
    Some(text)
}

const SECRET: &str = "`{env: NAME}` for an environment variable, or `{file: /PATH}`";

/// `{env: NAME}` or `{file: /PATH}`. A secret that stands here is refused and not repeated.
fn secret(field: &Field<'_>) -> Option<SecretSource> {
    if field.is_scalar() {
        field.problem("a secret must not stand in the policy itself", SECRET);
        return None;
    }
    let fields = field.fields(SECRET)?;
    let (env, file) = (fields.get("env"), fields.get("file"));
    fields.close();
    match (env, file) {
        (Some(field), None) => variable(&field).map(SecretSource::Env),
        (None, Some(field)) => absolute(&field).map(SecretSource::File),
        _ => {
            field.problem("it must say where the secret is", SECRET);
            None
        }
    }
}

fn variable(field: &Field<'_>) -> Option<String> {
    let name = field.raw("the name of an environment variable")?;
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || name.len() > 200 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        field.problem("this is not the name of an environment variable", "a name such as SMOKE_TOKEN");
        return None;
    }
    Some(name.to_owned())
}

/// A path that says the same wherever the daemon was started.
fn absolute(field: &Field<'_>) -> Option<PathBuf> {
    let path = field.line(4000)?;
    if !Path::new(&path).is_absolute() {
        field.problem(format!("`{}` does not begin with /", shorten(&path)), "a whole path");
        return None;
    }
    Some(path.into())
}

fn headers(field: &Field<'_>) -> Option<BTreeMap<String, SecretSource>> {
    let entries = field.entries("a mapping of header names to `{env: NAME}` or `{file: /PATH}`")?;
    if entries.len() > 20 {
        field.problem(format!("there are {} headers", entries.len()), "at most 20");
        return None;
    }
    let read = entries.into_iter().map(|(name, value)| {
        let good = crate::outbound::headers::name(name).is_ok();
        if !good {
            let message = format!("`{}` is not the name of a header", shorten(name));
            value.problem(message, "a name such as X-Token");
        }
        let value = secret(&value);
        good.then(|| name.to_owned()).zip(value)
    });
    all(read).map(|headers| headers.into_iter().collect())
}

/// Free words: names and one line of text each.
fn texts(field: &Field<'_>, most: usize) -> Option<BTreeMap<String, String>> {
    let entries = field.entries("a mapping of names to texts")?;
    if entries.len() > most {
        field.problem(format!("there are {} entries", entries.len()), format!("at most {most}"));
        return None;
    }
    let read = entries.into_iter().map(|(name, value)| Some((name.to_owned(), value.text(4000)?)));
    all(read).map(|texts| texts.into_iter().collect())
}

/// `{run: [/usr/local/bin/smoke, "{version}"], timeout: 5m, environment: [TOKEN], directory: /srv}`.
pub(super) fn command(field: &Field<'_>) -> Option<CommandCheck> {
    let fields = field.fields("a mapping such as `{run: [/usr/local/bin/smoke, \"{version}\"]}`")?;
    let command = fields.need("run", "a list: the program and its arguments; no shell").and_then(|f| {
        let items = f.list(100, "a list: the program and its arguments; no shell")?;
        if items.is_empty() {
            f.problem("there is no program", "the program and its arguments");
            return None;
        }
        all(items.iter().map(|item| {
            let text = item.text(10_000)?;
            placeholders(item, &text).then_some(text)
        }))
    });
    let directory = fields.maybe("directory", |f| absolute(&f));
    let environment = fields.or("environment", Vec::new(), |f| {
        let items = f.list(50, "a list of names of environment variables")?;
        all(items.iter().map(variable))
    });
    let timeout = fields.or("timeout", 5 * MINUTE, |f| f.duration(SECOND..=6 * HOUR));
    fields.close();
    Some(CommandCheck {
        command: command?,
        directory: directory?,
        environment: environment?,
        timeout: timeout?,
    })
}

/// True if all `{word}` are known ones; a word that is none is more often a slip than meant.
fn placeholders(field: &Field<'_>, text: &str) -> bool {
    let mut good = true;
    for part in text.split('{').skip(1) {
        let Some((word, _)) = part.split_once('}') else { continue };
        let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if is_word && !PLACEHOLDERS.contains(&word) {
            field.problem(format!("`{{{}}}` is not known here", shorten(word)), suggest(word, &PLACEHOLDERS));
            good = false;
        }
    }
    good
}

fn health(field: &Field<'_>) -> Option<Check> {
    let fields = field.fields("a mapping with `url`, and `status` or `json` if there are any")?;
    let allow_private = fields.or("allow_private", false, |f| f.boolean());
    let url = fields.need("url", "the page's URL").and_then(|f| {
        let text = url(&f, allow_private)?;
        placeholders(&f, &text).then_some(text)
    });
    let status = fields.or("status", 200, |f| f.integer(100..=599));
    let json = fields.or("json", BTreeMap::new(), |f| {
        let entries =
            f.entries("a mapping of JSON pointers to texts, such as `{/version: \"{version}\"}`")?;
        let read = entries.into_iter().map(|(pointer, value)| {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let message = format!("`{}` is not a JSON pointer", shorten(pointer));
                value.problem(message, format!("`/{}`", shorten(&pointer.replace('.', "/"))));
                return None;
            }
            let text = value.text(1000)?;
            placeholders(&value, &text).then(|| (pointer.to_owned(), text))
        });
        all(read).map(|json| json.into_iter().collect())
    });
    let headers = fields.or("headers", BTreeMap::new(), |f| headers(&f));
    let timeout = fields.or("timeout", 5 * SECOND, |f| f.duration(SECOND / 10..=MINUTE));
    fields.close();
    Some(Check::Health(HealthCheck {
        url: url?,
        allow_private: allow_private?,
        status: u16::try_from(status?).ok()?,
        json: json?,
        headers: headers?,
        timeout: timeout?,
    }))
}

fn alerts(field: &Field<'_>) -> Option<Check> {
    let fields = field.fields("a mapping such as `{match: {service: \"{target}\"}, quiet_for: 10m}`")?;
    let alertmanager = fields.maybe("alertmanager", |f| {
        let url = http_url(&f, false)?;
        if url.trim_end_matches('/').ends_with("/api/v2") {
            f.problem("the URL ends in /api/v2, which is added by Serin", "the part before it");
            return None;
        }
        Some(url)
    });
    // Without labels every alert of the whole Prometheus would hold the release.
    let matchers = fields
        .need("match", "labels of the alerts, such as `{service: \"{target}\"}`")
        .and_then(|f| selectors::matchers(&f));
    let quiet_for = fields.or("quiet_for", Duration::ZERO, |f| {
        if fields.get("alertmanager").is_some() {
            f.problem("an Alertmanager keeps no past, so `quiet_for` has no effect", "one of the two");
        }
        f.duration(Duration::ZERO..=DAY)
    });
    fields.close();
    let alerts = AlertsCheck { alertmanager: alertmanager?, matchers: matchers?, quiet_for: quiet_for? };
    Some(Check::Alerts(alerts))
}

fn metric_check(field: &Field<'_>) -> Option<Check> {
    let fields = field.fields("a mapping with `query`, `above` or `below`, and `for`")?;
    let query = fields.need("query", "PromQL that gives one number").and_then(|f| query(&f));
    let limit = match (fields.get("above"), fields.get("below")) {
        (Some(f), None) => f.number(-1e15..=1e15).map(|limit| (limit, Breach::Above)),
        (None, Some(f)) => f.number(-1e15..=1e15).map(|limit| (limit, Breach::Below)),
        (Some(_), Some(f)) => {
            f.problem("there is an `above` and a `below`", "one of the two; two gates for both");
            None
        }
        (None, None) => {
            field.problem(
                "the gate has no limit",
                "`above: 80` or `below: 0.95`: the side that is not wanted",
            );
            None
        }
    };
    let held_for = fields.or("for", Duration::ZERO, |f| f.duration(Duration::ZERO..=DAY));
    fields.close();
    let (limit, breach) = limit?;
    Some(Check::Metric { query: query?, limit: GuardrailLimit::Absolute(limit), breach, held_for: held_for? })
}

fn query(field: &Field<'_>) -> Option<String> {
    field.text(4000)
}

fn slo(field: &Field<'_>) -> Option<Check> {
    let fields = field.fields("a mapping with `objective`, `bad_share` and `budget_left`")?;
    let bad_share = fields
        .need("bad_share", "PromQL that gives the share of bad requests over the objective's time")
        .and_then(|f| query(&f));
    let objective = fields
        .need("objective", "the share of requests that must be good, such as 99.9%")
        .and_then(|f| f.ratio(0.01..=0.999_999));
    let budget_left = fields.or("budget_left", 0.0, |f| f.ratio(0.0..=0.99));
    fields.close();
    Some(Check::Slo { bad_share: bad_share?, objective: objective?, budget_left: budget_left? })
}
