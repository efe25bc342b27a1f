//! A JSON body by POST, with the notice's key as `Idempotency-Key`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::NotifierBuildError;
use crate::core::rollout::Notice;
use crate::messages::Words;
use crate::ports::{Notifier, NotifyError};
use crate::secrets::SecretSource;

/// Where a webhook goes.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookConfig {
    /// The receiver.
    pub url: String,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
}

impl WebhookConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If a secret cannot be read or a header is not one.
    pub fn build(&self, _words: &Arc<Words>) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let mut headers = HeaderMap::new();
        for (name, source) in &self.headers {
            let error = |detail: String| NotifierBuildError(format!("webhook header {name}: {detail}"));
            let secret = source.read().map_err(|e| error(e.to_string()))?;
            let header = HeaderName::try_from(name).map_err(|e| error(e.to_string()))?;
            let mut value =
                HeaderValue::from_str(secret.expose_secret()).map_err(|e| error(e.to_string()))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let client = reqwest::Client::builder()
            .timeout(self.deadline)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| NotifierBuildError(format!("webhook: {e}")))?;
        Ok(Arc::new(Webhook { client, url: self.url.clone() }))
    }
}

struct Webhook {
    client: reqwest::Client,
    url: String,
}

#[async_trait]
impl Notifier for Webhook {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let answer = self
            .client
            .post(&self.url)
            .header("Idempotency-Key", &notice.key)
            .json(notice)
            .send()
            .await
            .map_err(|e| NotifyError::again(e.without_url().to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry = status.is_server_error() || status.as_u16() == 429 || status.as_u16() == 408;
        Err(NotifyError { retry, detail: format!("the receiver answered with status {status}"), after: None })
    }
}
