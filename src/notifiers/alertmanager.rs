//! Alertmanager by its API v2: an alert for each incident, which ends when the incident does.
//!
//! Alertmanager forgets an alert at its `endsAt`. Serin sends an alert once, not again and again, so an
//! open one is given an end far away (`resolve_after`, a week unless configured); the incident's end sets
//! the true one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::http::Http;
use super::webhook::read_headers;
use super::{Kept, NotifierBuildError, text};
use crate::core::incident::IncidentStep;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::reason::ReasonCode;
use crate::messages::Words;
use crate::ports::{Notifier, NotifyError};
use crate::secrets::SecretSource;

const MOST_LABEL: usize = 200;
const MOST_ANNOTATION: usize = 4000;

/// Which Alertmanager is told.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertmanagerConfig {
    /// The base URL, such as `http://127.0.0.1:9093`.
    pub url: String,
    /// Further labels of every alert.
    pub labels: BTreeMap<String, String>,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
    /// An incident whose end is never told ends by itself after so long.
    pub resolve_after: Duration,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
}

impl AlertmanagerConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If a secret cannot be read.
    pub(super) fn build(
        &self,
        words: &Arc<Words>,
        kept: Kept,
    ) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let (mut headers, secrets) = read_headers(&self.headers)?;
        headers
            .insert(reqwest::header::ACCEPT, reqwest::header::HeaderValue::from_static("application/json"));
        let http = Http::new(self.deadline, headers, secrets)?;
        let url = format!("{}/api/v2/alerts", self.url.trim_end_matches('/'));
        Ok(Arc::new(Alertmanager { http, url, config: self.clone(), words: words.clone(), kept }))
    }
}

struct Alertmanager {
    http: Http,
    url: String,
    config: AlertmanagerConfig,
    words: Arc<Words>,
    kept: Kept,
}

#[async_trait]
impl Notifier for Alertmanager {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let Some(change) = &notice.incident else { return Ok(()) };
        // The labels are the alert's identity: they stay as they were when it was opened.
        let key = format!("labels/{}", text::key_within(&change.key, 255));
        let known = self.kept.recall(&key).await?;
        let known = known.and_then(|text| serde_json::from_str::<BTreeMap<String, String>>(&text).ok());
        let labels = match known {
            Some(labels) => labels,
            None => {
                let labels = self.labels(notice, &change.key);
                self.kept.remember(&key, &json!(labels).to_string(), notice.at).await;
                labels
            }
        };
        let ends_at = match change.step {
            IncidentStep::Resolve => notice.at.max(change.opened_at.plus(Duration::from_millis(1))),
            IncidentStep::Trigger | IncidentStep::Acknowledge => notice.at.plus(self.config.resolve_after),
        };
        let links = self.words.links(notice);
        let mut alert = json!({
            "labels": labels,
            "annotations": self.annotations(notice),
            "startsAt": change.opened_at.to_string(),
            "endsAt": ends_at.to_string(),
        });
        if let Some(url) = links.rollout {
            alert["generatorURL"] = json!(url);
        }
        self.http.deliver(self.http.post(&self.url).json(&json!([alert]))).await?;
        Ok(())
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

impl Alertmanager {
    fn labels(&self, notice: &Notice, incident: &str) -> BTreeMap<String, String> {
        let mut labels = self.config.labels.clone();
        let mut label = |name: &str, value: &str| {
            if !value.is_empty() {
                labels.insert(name.to_owned(), text::line(value, MOST_LABEL));
            }
        };
        label("alertname", name(notice));
        label("service", &notice.target);
        label("severity", text::severity(notice.severity));
        label("environment", notice.environment.as_deref().unwrap_or_default());
        label("incident", &text::key_within(incident, MOST_LABEL));
        labels
    }

    fn annotations(&self, notice: &Notice) -> Value {
        let message = self.words.message(notice);
        let links = self.words.links(notice);
        let entries = [
            ("summary", Some(message.title)),
            ("description", Some(message.text)),
            ("version", Some(notice.version.clone())),
            ("rollout", Some(notice.rollout.clone())),
            ("kind", Some(notice.kind.name().to_owned())),
            ("reason", text::reason(notice)),
            ("figures", Some(text::figures(notice, 20).join("\n"))),
            ("page", links.rollout),
            ("report", links.report),
            ("runbook_url", links.runbook),
        ];
        let filled = entries.into_iter().filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some((name.to_owned(), json!(text::cut(&value, MOST_ANNOTATION))))
        });
        Value::Object(filled.collect())
    }
}

/// What the alert is called, by what opened it.
fn name(notice: &Notice) -> &'static str {
    match (notice.kind, notice.reason) {
        (NoticeKind::Unconfirmed | NoticeKind::Failed, _) => "SerinStuckSplit",
        (NoticeKind::RollbackStarted | NoticeKind::RolledBack, _) => "SerinRollback",
        (NoticeKind::NotVerified, _) => "SerinNotVerified",
        (_, Some(ReasonCode::Blind | ReasonCode::Silent)) => "SerinBlind",
        _ => "SerinIncident",
    }
}
