//! Grafana: an annotation for each notice; what ends a rollout or an incident is a region from its start.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};

use super::http::Http;
use super::{Kept, NotifierBuildError, secret, text};
use crate::core::incident::IncidentStep;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::time::Timestamp;
use crate::messages::Words;
use crate::outbound::headers;
use crate::ports::{Digest, Notifier, NotifyError};
use crate::secrets::SecretSource;

const MOST_TEXT: usize = 4000;
const MOST_TAG: usize = 100;

/// Which Grafana is told.
#[derive(Clone, Debug, PartialEq)]
pub struct GrafanaConfig {
    /// The base URL, such as `http://127.0.0.1:3000`.
    pub url: String,
    /// A service account's token.
    pub token: SecretSource,
    /// Further tags of every annotation.
    pub tags: Vec<String>,
    /// The dashboard; without it the annotations are of the whole organization.
    pub dashboard: Option<String>,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
}

impl GrafanaConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If the token cannot be read.
    pub(super) fn build(
        &self,
        words: &Arc<Words>,
        kept: Kept,
    ) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let token = secret("token", &self.token)?;
        let header = headers::secret("token", "Bearer ", &token).map_err(NotifierBuildError)?;
        let http = Http::new(self.deadline, HeaderMap::from_iter([(AUTHORIZATION, header)]), vec![token])?;
        let url = format!("{}/api/annotations", self.url.trim_end_matches('/'));
        Ok(Arc::new(Grafana { http, url, config: self.clone(), words: words.clone(), kept }))
    }
}

struct Grafana {
    http: Http,
    url: String,
    config: GrafanaConfig,
    words: Arc<Words>,
    kept: Kept,
}

#[async_trait]
impl Notifier for Grafana {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let key = format!("started/{}", notice.rollout);
        if notice.kind == NoticeKind::Started {
            self.kept.remember(&key, &notice.at.0.to_string(), notice.at).await;
        }
        let start = match &notice.incident {
            Some(change) if change.step == IncidentStep::Resolve => Some(change.opened_at),
            _ if ends(notice.kind) => {
                let kept = self.kept.recall(&key).await?;
                kept.and_then(|text| text.parse().ok()).map(Timestamp)
            }
            _ => None,
        };
        let answer =
            self.http.deliver(self.http.post(&self.url).json(&self.annotation(notice, start))).await?;
        let told = self.http.json(&answer)?;
        match told["id"].is_number() {
            true => Ok(()),
            false => Err(NotifyError::again("the receiver's answer names no annotation")),
        }
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.deliver(&digest.notice_within(|text| {
            // The title is the text's first line, and comes before it.
            let title = text.lines().next().unwrap_or_default();
            super::mail_text::escape(&format!("{title}\n{text}")).chars().count() <= MOST_TEXT
        }))
        .await
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

/// What ends a rollout.
fn ends(kind: NoticeKind) -> bool {
    matches!(
        kind,
        NoticeKind::RolledBack | NoticeKind::Succeeded | NoticeKind::Cancelled | NoticeKind::Failed
    )
}

impl Grafana {
    fn annotation(&self, notice: &Notice, start: Option<Timestamp>) -> Value {
        let message = self.words.message(notice);
        let mut told = format!("{}\n{}", message.title, message.text);
        if let Some(url) = self.words.links(notice).rollout {
            told.push_str(&format!("\n{url}"));
        }
        let mut tags = vec!["serin".to_owned(), notice.kind.name().to_owned()];
        let named = [("service", notice.target.as_str()), ("version", notice.version.as_str())];
        let named = named.into_iter().chain(notice.environment.as_deref().map(|e| ("environment", e)));
        tags.extend(
            named.filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}:{value}")),
        );
        tags.extend(self.config.tags.iter().cloned());
        let tags: Vec<String> = tags.iter().map(|tag| text::line(tag, MOST_TAG)).collect();
        let mut body = json!({
            "time": start.unwrap_or(notice.at).0,
            "tags": tags,
            // Grafana shows the text as HTML.
            "text": text::cut(&super::mail_text::escape(&told), MOST_TEXT),
        });
        if start.is_some() {
            body["timeEnd"] = json!(notice.at.0);
        }
        if let Some(dashboard) = &self.config.dashboard {
            body["dashboardUID"] = json!(dashboard);
        }
        body
    }
}
