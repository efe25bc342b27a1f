//! Channels to people and programs: one file a channel.

pub mod alertmanager;
pub mod email;
pub mod grafana;
mod http;
pub mod log;
mod mail_text;
pub mod opsgenie;
pub mod pagerduty;
pub mod slack;
mod slack_text;
pub mod statuspage;
pub mod teams;
mod text;
pub mod webhook;

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::core::incident::{IncidentChange, IncidentStep};
use crate::core::limit::Severity;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::time::Timestamp;
use crate::messages::Words;
use crate::ports::{ChannelMemory, Clock, Notifier};
use crate::secrets::SecretSource;

/// The configuration of a channel; its variant names the kind.
#[derive(Clone, Debug, PartialEq)]
pub enum NotifierConfig {
    /// A structured line in Serin's log.
    Log,
    /// A JSON body by POST.
    Webhook(webhook::WebhookConfig),
    /// Incidents and change events of PagerDuty.
    Pagerduty(pagerduty::PagerdutyConfig),
    /// Messages in Slack.
    Slack(slack::SlackConfig),
    /// Cards in Microsoft Teams.
    Teams(teams::TeamsConfig),
    /// Mail.
    Email(email::EmailConfig),
    /// Alerts of Alertmanager.
    Alertmanager(alertmanager::AlertmanagerConfig),
    /// Alerts of Opsgenie.
    Opsgenie(opsgenie::OpsgenieConfig),
    /// Annotations of Grafana.
    Grafana(grafana::GrafanaConfig),
    /// A body of the operator's own making.
    Statuspage(statuspage::StatuspageConfig),
}

/// What channels are built with.
#[derive(Clone)]
pub struct Surroundings {
    /// Makes texts.
    pub words: Arc<Words>,
    /// What is kept over restarts.
    pub memory: Arc<dyn ChannelMemory>,
    /// Says when a message is sent.
    pub clock: Arc<dyn Clock>,
}

/// Why a channel could not be built.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct NotifierBuildError(pub String);

impl NotifierConfig {
    /// Builds the channel of that name; no call goes out.
    ///
    /// # Errors
    /// [`NotifierBuildError`] if a secret cannot be read.
    pub fn build(
        &self,
        channel: &str,
        around: &Surroundings,
    ) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let words = &around.words;
        let kept = Kept { channel: channel.to_owned(), memory: around.memory.clone() };
        match self {
            NotifierConfig::Log => Ok(Arc::new(log::LogNotifier)),
            NotifierConfig::Webhook(config) => config.build(words, around.clock.clone()),
            NotifierConfig::Pagerduty(config) => config.build(words),
            NotifierConfig::Slack(config) => config.build(words, kept),
            NotifierConfig::Teams(config) => config.build(words),
            NotifierConfig::Email(config) => config.build(words, kept, around.clock.clone()),
            NotifierConfig::Alertmanager(config) => config.build(words, kept),
            NotifierConfig::Opsgenie(config) => config.build(words),
            NotifierConfig::Grafana(config) => config.build(words, kept),
            NotifierConfig::Statuspage(config) => config.build(words),
        }
    }

    /// Host and port that messages go to; `None` for channels that need no connection.
    ///
    /// # Errors
    /// [`NotifierBuildError`] if an address is a secret that cannot be read.
    pub fn endpoint(&self) -> Result<Option<(String, u16)>, NotifierBuildError> {
        let url = match self {
            NotifierConfig::Log => return Ok(None),
            NotifierConfig::Email(config) => return Ok(Some((config.host.clone(), config.port))),
            NotifierConfig::Webhook(config) => config.url.read()?,
            NotifierConfig::Statuspage(config) => config.url.read()?,
            NotifierConfig::Teams(config) => secret_url("webhook", &config.webhook)?,
            NotifierConfig::Slack(config) => match &config.way {
                slack::SlackWay::Webhook(source) => secret_url("webhook", source)?,
                slack::SlackWay::Api { url, .. } => SecretString::from(url.clone()),
            },
            NotifierConfig::Pagerduty(config) => SecretString::from(config.url.clone()),
            NotifierConfig::Alertmanager(config) => SecretString::from(config.url.clone()),
            NotifierConfig::Opsgenie(config) => SecretString::from(config.url.clone()),
            NotifierConfig::Grafana(config) => SecretString::from(config.url.clone()),
        };
        let url = url::Url::parse(url.expose_secret()).ok();
        let found = url.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
        found.map(Some).ok_or_else(|| NotifierBuildError("the address is not a URL with a host".to_owned()))
    }

    /// What to send to see whether the channel works, in order. Channels that tell incidents only get one
    /// that ends at once.
    pub fn test_notices(&self, channel: &str, at: Timestamp) -> Vec<Notice> {
        let key = format!("serin-test/{channel}/{}", at.0);
        let notice = |number: u32, kind: NoticeKind, sentence: &str| Notice {
            target: "serin-test".to_owned(),
            version: "test".to_owned(),
            ..Notice::new(format!("{key}/{number}"), kind, Severity::Low, at, sentence.to_owned())
        };
        let first = notice(1, NoticeKind::Alert, "TEST: this message only shows that the channel works.");
        let incident =
            |step| Some(IncidentChange { key: key.clone(), step, opened_at: at, told: Vec::new() });
        match self {
            NotifierConfig::Pagerduty(_) | NotifierConfig::Alertmanager(_) | NotifierConfig::Opsgenie(_) => {
                let last = notice(2, NoticeKind::Resolved, "TEST: the test is over.");
                vec![
                    Notice { incident: incident(IncidentStep::Trigger), ..first },
                    Notice { incident: incident(IncidentStep::Resolve), ..last },
                ]
            }
            _ => vec![first],
        }
    }
}

/// A URL that may stand in the configuration, or that is itself a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// As it is written.
    Plain(String),
    /// Where it is.
    Secret(SecretSource),
}

impl Address {
    /// The URL.
    ///
    /// # Errors
    /// If the secret cannot be read, or is no `http` or `https` URL.
    fn read(&self) -> Result<SecretString, NotifierBuildError> {
        match self {
            Address::Plain(url) => Ok(SecretString::from(url.clone())),
            Address::Secret(source) => secret_url("url", source),
        }
    }
}

/// Reads a secret that must not be empty.
fn secret(what: &str, source: &SecretSource) -> Result<SecretString, NotifierBuildError> {
    let secret = source.read().map_err(|error| NotifierBuildError(format!("{what}: {error}")))?;
    if secret.expose_secret().trim().is_empty() {
        return Err(NotifierBuildError(format!("{what}: the secret is empty")));
    }
    Ok(secret)
}

/// Reads a secret that is an `http` or `https` URL.
fn secret_url(what: &str, source: &SecretSource) -> Result<SecretString, NotifierBuildError> {
    let secret = secret(what, source)?;
    let good = url::Url::parse(secret.expose_secret())
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match good {
        true => Ok(secret),
        false => Err(NotifierBuildError(format!("{what}: the secret is not an http or https URL"))),
    }
}

/// The memory of one channel.
#[derive(Clone)]
struct Kept {
    channel: String,
    memory: Arc<dyn ChannelMemory>,
}

impl Kept {
    async fn recall(&self, key: &str) -> Result<Option<String>, crate::ports::NotifyError> {
        let kept = self.memory.recall(&self.channel, key).await;
        kept.map_err(|error| crate::ports::NotifyError::again(error.to_string()))
    }

    /// A failure is told in the log only: what was sent is sent.
    async fn remember(&self, key: &str, value: &str, at: Timestamp) {
        if let Err(error) = self.memory.remember(&self.channel, key, value, at).await {
            tracing::warn!(channel = %self.channel, %key, %error, "a channel's memory could not be written");
        }
    }
}
