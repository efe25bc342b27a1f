//! The configuration of channels: field `type` names the kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lettre::message::Mailbox;

use super::decode::{Field, Fields, all, shorten};
use super::readers::{SECRET, deadline, file_path, headers, http_url, labels, secret};
use crate::core::notice::NoticeKind;
use crate::notifiers::alertmanager::AlertmanagerConfig;
use crate::notifiers::email::{EmailConfig, MailTls};
use crate::notifiers::grafana::GrafanaConfig;
use crate::notifiers::opsgenie::OpsgenieConfig;
use crate::notifiers::pagerduty::PagerdutyConfig;
use crate::notifiers::slack::{SlackConfig, SlackWay};
use crate::notifiers::statuspage::{self, StatuspageConfig};
use crate::notifiers::teams::TeamsConfig;
use crate::notifiers::webhook::{WebhookConfig, WebhookForm};
use crate::notifiers::{Address, NotifierConfig};
use crate::secrets::SecretSource;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// A channel's kind with its reader.
type Reader = fn(&Fields<'_>, &Path) -> Option<NotifierConfig>;

/// Reads a channel.
pub(super) fn notifier(field: &Field<'_>, base: &Path) -> Option<NotifierConfig> {
    let kinds: [(&str, Reader); 10] = [
        ("log", |_, _| Some(NotifierConfig::Log)),
        ("webhook", webhook),
        ("pagerduty", pagerduty),
        ("slack", slack),
        ("teams", teams),
        ("email", email),
        ("alertmanager", alertmanager),
        ("opsgenie", opsgenie),
        ("grafana", grafana),
        ("statuspage", statuspage),
    ];
    let names = kinds.map(|(name, _)| name).join(", ");
    let fields = field.fields("a mapping with a `type`, such as `type: log`")?;
    let read = fields.need("type", &format!("one of {names}")).and_then(|f| f.one_of(&kinds))?;
    let notifier = read(&fields, base);
    fields.close();
    notifier
}

fn patience(fields: &Fields<'_>) -> Option<Duration> {
    deadline(fields, 10 * SECOND)
}

/// A base URL, without the path that the channel adds.
fn base_url(fields: &Fields<'_>, usual: &str) -> Option<String> {
    fields.or("url", usual.to_owned(), |f| receiver(&f, false))
}

fn need_secret(fields: &Fields<'_>, name: &'static str, base: &Path) -> Option<SecretSource> {
    fields.need(name, SECRET).and_then(|f| secret(&f, base))
}

/// A URL, or where the URL is, if it is a secret itself.
fn address(fields: &Fields<'_>, base: &Path) -> Option<Address> {
    let field = fields.need("url", "the receiver's URL, or `{env: NAME}` where it is a secret")?;
    match field.is_scalar() {
        true => receiver(&field, true).map(Address::Plain),
        false => secret(&field, base).map(Address::Secret),
    }
}

fn tags(fields: &Fields<'_>) -> Option<Vec<String>> {
    fields.or("tags", Vec::new(), |f| all(f.list(15, "a list of tags")?.iter().map(|tag| tag.line(50))))
}

fn webhook(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let url = address(fields, base);
    let forms = [("plain", WebhookForm::Plain), ("cloudevents", WebhookForm::Cloudevents)];
    let form = fields.or("form", WebhookForm::Plain, |f| f.one_of(&forms));
    let key = fields.maybe("secret", |f| secret(&f, base));
    let headers = fields.or("headers", BTreeMap::new(), |f| headers(&f, base));
    let deadline = patience(fields);
    Some(NotifierConfig::Webhook(WebhookConfig {
        url: url?,
        form: form?,
        secret: key?,
        deadline: deadline?,
        headers: headers?,
    }))
}

fn pagerduty(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let url = base_url(fields, "https://events.pagerduty.com");
    let routing_key = need_secret(fields, "routing_key", base);
    let source = fields.or("source", "serin".to_owned(), |f| f.line(200));
    let deadline = patience(fields);
    Some(NotifierConfig::Pagerduty(PagerdutyConfig {
        url: url?,
        routing_key: routing_key?,
        source: source?,
        deadline: deadline?,
    }))
}

fn slack(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let deadline = patience(fields);
    let webhook = fields.maybe("webhook", |f| secret(&f, base));
    let token = fields.maybe("token", |f| secret(&f, base));
    let channel = fields.maybe("channel", |f| f.line(80));
    let url = base_url(fields, "https://slack.com/api");
    let way = match (webhook?, token?, channel?) {
        (Some(webhook), None, None) => SlackWay::Webhook(webhook),
        (None, Some(token), Some(channel)) => SlackWay::Api { url: url?, token, channel },
        _ => {
            fields.field.problem(
                "it must say one way into Slack",
                "`webhook: {env: NAME}`, or `token: {env: NAME}` with `channel: NAME`",
            );
            return None;
        }
    };
    Some(NotifierConfig::Slack(SlackConfig { way, deadline: deadline? }))
}

fn teams(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let webhook = need_secret(fields, "webhook", base);
    let deadline = patience(fields);
    Some(NotifierConfig::Teams(TeamsConfig { webhook: webhook?, deadline: deadline? }))
}

fn email(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let host = fields.need("host", "the SMTP server's name").and_then(|f| f.line(255));
    let choices = [("starttls", MailTls::Starttls), ("implicit", MailTls::Implicit), ("none", MailTls::None)];
    let tls = fields.or("tls", MailTls::Starttls, |f| f.one_of(&choices));
    let usual = match tls {
        Some(MailTls::Implicit) => 465,
        Some(MailTls::None) => 25,
        _ => 587,
    };
    let port = fields.or("port", usual, |f| f.integer(1..=65_535));
    let ca_file = fields.maybe("ca_file", |f| file_path(&f, base));
    let user = fields.maybe("user", |f| f.line(320));
    let password = fields.maybe("password", |f| secret(&f, base));
    let from = fields.need("from", MAILBOX).and_then(|f| mailbox(&f));
    let to = fields.need("to", "a list of addresses").and_then(|f| {
        let items = f.list(50, "a list of addresses, such as `[releases@example.com]`")?;
        if items.is_empty() {
            f.problem("there is no receiver", "at least one address");
            return None;
        }
        all(items.iter().map(mailbox))
    });
    let deadline = patience(fields);
    let login = match (user?, password?) {
        (None, None) => None,
        (Some(user), Some(password)) => Some((user, password)),
        _ => {
            fields.field.problem("`user` and `password` belong together", "both, or none of them");
            return None;
        }
    };
    let (host, tls) = (host?, tls?);
    if tls == MailTls::None && !is_this_machine(&host) {
        fields.field.problem(
            format!("`tls: none` to {} would send mail, and the password, in plain text", shorten(&host)),
            "`tls: starttls` or `tls: implicit`; `none` only to 127.0.0.1, ::1 or localhost",
        );
        return None;
    }
    Some(NotifierConfig::Email(EmailConfig {
        host,
        port: u16::try_from(port?).ok()?,
        tls,
        ca_file: ca_file?,
        login,
        from: from?,
        to: to?,
        deadline: deadline?,
    }))
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

const MAILBOX: &str = "an address such as `serin@example.com` or `Serin <serin@example.com>`";

fn mailbox(field: &Field<'_>) -> Option<Mailbox> {
    let text = field.line(400)?;
    let told =
        text.parse().map_err(|_| (format!("`{}` is not a mail address", shorten(&text)), MAILBOX.to_owned()));
    field.told(told)
}

fn alertmanager(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    const URL: &str = "the base URL, such as http://127.0.0.1:9093";
    let url = fields.need("url", URL).and_then(|f| {
        let url = receiver(&f, false)?;
        if url.contains("/api/v") {
            f.problem("the URL has the API's path, which is added by Serin", "the part before it");
            return None;
        }
        Some(url)
    });
    let labels = fields.or("labels", BTreeMap::new(), |f| labels(&f));
    let headers = fields.or("headers", BTreeMap::new(), |f| headers(&f, base));
    let resolve_after = fields.or("resolve_after", 7 * DAY, |f| f.duration(60 * SECOND..=365 * DAY));
    let deadline = patience(fields);
    Some(NotifierConfig::Alertmanager(AlertmanagerConfig {
        url: url?,
        labels: labels?,
        headers: headers?,
        resolve_after: resolve_after?,
        deadline: deadline?,
    }))
}

fn opsgenie(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let regions = [("us", "https://api.opsgenie.com"), ("eu", "https://api.eu.opsgenie.com")];
    let region = fields.or("region", regions[0].1, |f| f.one_of(&regions));
    if fields.get("region").is_some()
        && let Some(field) = fields.get("url")
    {
        field.problem("there is a `region` and a `url`", "one of the two");
    }
    let url = base_url(fields, region.unwrap_or_default());
    let api_key = need_secret(fields, "api_key", base);
    let tags = tags(fields);
    let deadline = patience(fields);
    region?;
    Some(NotifierConfig::Opsgenie(OpsgenieConfig {
        url: url?,
        api_key: api_key?,
        tags: tags?,
        deadline: deadline?,
    }))
}

fn grafana(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let url =
        fields.need("url", "the base URL, such as http://127.0.0.1:3000").and_then(|f| receiver(&f, false));
    let token = need_secret(fields, "token", base);
    let tags = tags(fields);
    let dashboard = fields.maybe("dashboard", |f| f.name());
    let deadline = patience(fields);
    Some(NotifierConfig::Grafana(GrafanaConfig {
        url: url?,
        token: token?,
        tags: tags?,
        dashboard: dashboard?,
        deadline: deadline?,
    }))
}

fn statuspage(fields: &Fields<'_>, base: &Path) -> Option<NotifierConfig> {
    let url = address(fields, base);
    let methods = [("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];
    let method = fields.or("method", "POST", |f| f.one_of(&methods));
    let body = fields.need("body", "a template of JSON such as `{\"message\": {{ title }}}`").and_then(|f| {
        let body = f.text(20_000)?;
        f.told(statuspage::check(&body).map(|()| body).map_err(|what| {
            (what, "a template that gives JSON, of the fields in docs/notifiers.md".to_owned())
        }))
    });
    let kinds = fields.or("kinds", Vec::new(), |f| {
        let known: Vec<_> = NoticeKind::ALL.iter().map(|kind| (kind.name(), *kind)).collect();
        all(f.list(known.len(), "a list of kinds")?.iter().map(|kind| kind.one_of(&known)))
    });
    let headers = fields.or("headers", BTreeMap::new(), |f| headers(&f, base));
    let deadline = patience(fields);
    Some(NotifierConfig::Statuspage(StatuspageConfig {
        url: url?,
        method: method?.to_owned(),
        body: body?,
        kinds: kinds?,
        headers: headers?,
        deadline: deadline?,
    }))
}

/// A URL that is no metadata service of a cloud: what is sent there, and what comes back, is nobody's to read.
/// Private addresses are the operator's own.
fn receiver(field: &Field<'_>, may_have_query: bool) -> Option<String> {
    let text = http_url(field, may_have_query)?;
    let refusal =
        url::Url::parse(&text).ok().and_then(|url| crate::outbound::guard::refusal_of_url(&url, true));
    if let Some(refusal) = refusal {
        field.problem(refusal, "the address of the receiver that is meant");
        return None;
    }
    Some(text)
}
