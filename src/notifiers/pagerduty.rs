//! PagerDuty by its Events API v2: incidents by their key, and change events of what a rollout does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::Http;
use super::{NotifierBuildError, secret, text};
use crate::core::incident::{IncidentChange, IncidentStep};
use crate::core::limit::Severity;
use crate::core::notice::{Notice, NoticeKind};
use crate::messages::Words;
use crate::ports::{Notifier, NotifyError};
use crate::secrets::SecretSource;

/// The service's longest `dedup_key` and `summary`, in characters.
const MOST_KEY: usize = 255;
const MOST_SUMMARY: usize = 1024;
/// The service's largest event, in bytes.
const MOST_BODY: usize = 512_000;
/// Figures of a notice that are sent, and the longest text in the details.
const MOST_FIGURES: usize = 50;
const MOST_TEXT: usize = 10_000;

/// Which PagerDuty service is told.
#[derive(Clone, Debug, PartialEq)]
pub struct PagerdutyConfig {
    /// The base URL; `https://events.pagerduty.com` unless configured.
    pub url: String,
    /// The integration's key.
    pub routing_key: SecretSource,
    /// What `source` says.
    pub source: String,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
}

impl PagerdutyConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If the routing key cannot be read.
    pub fn build(&self, words: &Arc<Words>) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let routing_key = secret("routing_key", &self.routing_key)?;
        let http = Http::new(self.deadline, HeaderMap::new(), vec![routing_key.clone()])?;
        Ok(Arc::new(Pagerduty {
            http,
            base: self.url.trim_end_matches('/').to_owned(),
            routing_key,
            source: self.source.clone(),
            words: words.clone(),
        }))
    }
}

struct Pagerduty {
    http: Http,
    base: String,
    routing_key: SecretString,
    source: String,
    words: Arc<Words>,
}

#[async_trait]
impl Notifier for Pagerduty {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        match &notice.incident {
            // What the release does beside it comes as another notice, by another queue.
            Some(incident) => self.send(notice, "/v2/enqueue", self.event(notice, incident)).await,
            None if is_change(notice.kind) => {
                self.send(notice, "/v2/change/enqueue", self.change(notice)).await
            }
            None => Ok(()),
        }
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

/// What is told without being an incident.
fn is_change(kind: NoticeKind) -> bool {
    matches!(
        kind,
        NoticeKind::Started | NoticeKind::Promoted | NoticeKind::RolledBack | NoticeKind::Succeeded
    )
}

impl Pagerduty {
    async fn send(&self, notice: &Notice, path: &str, mut body: Value) -> Result<(), NotifyError> {
        if body.to_string().len() > MOST_BODY {
            // The summary says it; the details are a help.
            body["payload"]["custom_details"] = json!({ "sentence": text::cut(&notice.sentence, 1000) });
        }
        let answer = self.http.deliver(self.http.post(&format!("{}{path}", self.base)).json(&body)).await?;
        match answer.status.as_u16() {
            202 => Ok(()),
            other => Err(NotifyError::again(format!("the receiver answered with status {other}, not 202"))),
        }
    }

    fn event(&self, notice: &Notice, change: &IncidentChange) -> Value {
        let mut event = json!({
            "routing_key": self.routing_key.expose_secret(),
            "dedup_key": text::key_within(&change.key, MOST_KEY),
        });
        match change.step {
            IncidentStep::Acknowledge => event["event_action"] = json!("acknowledge"),
            IncidentStep::Resolve => event["event_action"] = json!("resolve"),
            IncidentStep::Trigger => {
                event["event_action"] = json!("trigger");
                let mut payload = self.payload(notice);
                payload["severity"] = json!(severity(notice.severity));
                payload["component"] = json!(text::cut(&notice.target, 200));
                if let Some(environment) = &notice.environment {
                    payload["group"] = json!(environment);
                }
                if let Some(reason) = text::reason(notice) {
                    payload["class"] = json!(reason);
                }
                event["payload"] = payload;
                event["links"] = self.links(notice);
                event["client"] = json!("Serin");
                if let Some(url) = self.words.links(notice).rollout {
                    event["client_url"] = json!(url);
                }
            }
        }
        event
    }

    fn change(&self, notice: &Notice) -> Value {
        json!({
            "routing_key": self.routing_key.expose_secret(),
            "payload": self.payload(notice),
            "links": self.links(notice),
        })
    }

    /// What both forms have.
    fn payload(&self, notice: &Notice) -> Value {
        let message = self.words.message(notice);
        let summary = text::line(&format!("{} — {}", message.title, notice.sentence), MOST_SUMMARY);
        let figures: Vec<Value> = notice
            .figures
            .iter()
            .take(MOST_FIGURES)
            .map(|figure| {
                json!({
                    "metric": text::cut(&figure.metric, 200),
                    "verdict": text::cut(&figure.verdict, 200),
                    "canary": figure.canary.as_deref().map(|value| text::cut(value, 200)),
                    "baseline": figure.baseline.as_deref().map(|value| text::cut(value, 200)),
                    "ratio": figure.ratio,
                })
            })
            .collect();
        json!({
            "summary": summary,
            "source": self.source,
            "timestamp": notice.at.to_string(),
            "custom_details": {
                "message": text::cut(&message.text, MOST_TEXT),
                "sentence": text::cut(&notice.sentence, MOST_TEXT),
                "kind": notice.kind.name(),
                "rollout": notice.rollout,
                "target": notice.target,
                "version": notice.version,
                "stable_version": notice.stable_version,
                "policy": notice.policy,
                "started_by": notice.started_by,
                "reason": text::reason(notice),
                "progress": text::progress(notice),
                "figures": figures,
                "notice": notice.key,
            },
        })
    }

    fn links(&self, notice: &Notice) -> Value {
        let links = self.words.links(notice);
        let entries = [
            (links.rollout, "Rollout"),
            (links.report, "Report"),
            (links.chart, "Charts"),
            (links.runbook, "Runbook"),
        ];
        entries
            .into_iter()
            .filter_map(|(href, text)| href.map(|href| json!({"href": href, "text": text})))
            .collect()
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    }
}
