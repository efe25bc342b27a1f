//! Opsgenie: an alert for each incident, with the incident's key as its alias.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};

use super::http::Http;
use super::{NotifierBuildError, secret, text};
use crate::core::incident::IncidentStep;
use crate::core::limit::Severity;
use crate::core::notice::Notice;
use crate::messages::Words;
use crate::outbound::headers;
use crate::ports::{Notifier, NotifyError};
use crate::secrets::SecretSource;

/// The service's limits, in characters.
const MOST_ALIAS: usize = 512;
const MOST_MESSAGE: usize = 130;
const MOST_DESCRIPTION: usize = 15_000;
const MOST_NOTE: usize = 25_000;
/// All details together have 8,000.
const MOST_DETAIL: usize = 300;
const MOST_FIGURES: usize = 10;
const MOST_TAG: usize = 50;

/// Which Opsgenie account is told.
#[derive(Clone, Debug, PartialEq)]
pub struct OpsgenieConfig {
    /// The base URL: `https://api.opsgenie.com`, or `https://api.eu.opsgenie.com` for `region: eu`.
    pub url: String,
    /// The integration's key.
    pub api_key: SecretSource,
    /// Further tags of every alert.
    pub tags: Vec<String>,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
}

impl OpsgenieConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If the key cannot be read.
    pub fn build(&self, words: &Arc<Words>) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let key = secret("api_key", &self.api_key)?;
        let header = headers::secret("api_key", "GenieKey ", &key).map_err(NotifierBuildError)?;
        let http = Http::new(self.deadline, HeaderMap::from_iter([(AUTHORIZATION, header)]), vec![key])?;
        let base = url::Url::parse(&self.url).map_err(|error| NotifierBuildError(format!("url: {error}")))?;
        Ok(Arc::new(Opsgenie { http, base, tags: self.tags.clone(), words: words.clone() }))
    }
}

struct Opsgenie {
    http: Http,
    base: url::Url,
    tags: Vec<String>,
    words: Arc<Words>,
}

#[async_trait]
impl Notifier for Opsgenie {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let Some(change) = &notice.incident else { return Ok(()) };
        let alias = text::key_within(&change.key, MOST_ALIAS);
        let note = json!({ "source": "Serin", "note": text::cut(&notice.sentence, MOST_NOTE) });
        let (url, body) = match change.step {
            IncidentStep::Trigger => (self.url(&[]), self.alert(notice, &alias)),
            IncidentStep::Acknowledge => (self.url(&[&alias, "acknowledge"]), note),
            IncidentStep::Resolve => (self.url(&[&alias, "close"]), note),
        };
        let answer = self.http.deliver(self.http.post(url.as_str()).json(&body)).await?;
        let told = self.http.json(&answer)?;
        match told["requestId"].is_string() {
            true => Ok(()),
            false => Err(NotifyError::again("the receiver's answer names no request")),
        }
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

impl Opsgenie {
    fn url(&self, rest: &[&str]) -> url::Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v2", "alerts"]).extend(rest);
        }
        if !rest.is_empty() {
            url.set_query(Some("identifierType=alias"));
        }
        url
    }

    fn alert(&self, notice: &Notice, alias: &str) -> Value {
        let message = self.words.message(notice);
        let links = self.words.links(notice);
        let mut details = serde_json::Map::new();
        let mut detail = |name: String, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                details.insert(name, json!(text::cut(&value, MOST_DETAIL)));
            }
        };
        detail("rollout".to_owned(), Some(notice.rollout.clone()));
        detail("version".to_owned(), Some(notice.version.clone()));
        detail("stable_version".to_owned(), notice.stable_version.clone());
        detail("policy".to_owned(), Some(notice.policy.clone()));
        detail("environment".to_owned(), notice.environment.clone());
        detail("reason".to_owned(), text::reason(notice));
        detail("progress".to_owned(), text::progress(notice));
        detail("page".to_owned(), links.rollout);
        detail("report".to_owned(), links.report);
        detail("runbook".to_owned(), links.runbook);
        for figure in notice.figures.iter().take(MOST_FIGURES) {
            detail(text::cut(&figure.metric, 100), Some(text::figure(figure)));
        }
        let tags = ["serin", notice.kind.name()].into_iter().map(str::to_owned);
        let tags = tags.chain(self.tags.iter().cloned()).map(|tag| text::cut(&tag, MOST_TAG));
        json!({
            "message": text::line(&message.title, MOST_MESSAGE),
            "alias": alias,
            "description": text::cut(&message.text, MOST_DESCRIPTION),
            "tags": tags.take(20).collect::<Vec<_>>(),
            "details": details,
            "entity": text::cut(&notice.target, 512),
            "source": "Serin",
            "priority": priority(notice.severity),
        })
    }
}

fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "P1",
        Severity::High => "P2",
        Severity::Medium => "P3",
        Severity::Low => "P5",
    }
}
