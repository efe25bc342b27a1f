//! JSON by POST, with the notice's key as `Idempotency-Key`: the notice as it is, or in the envelope of
//! CloudEvents 1.0; signed, if there is a secret.
//!
//! The header `Serin-Signature: t=SECONDS,v1=HEX` has the time of sending and the HMAC-SHA256 of
//! `SECONDS.BODY` under the secret. Receivers compute it over the bytes they got, compare in constant
//! time, and refuse what is older than some minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::Http;
use super::{Address, NotifierBuildError, secret};
use crate::core::notice::Notice;
use crate::core::time::Timestamp;
use crate::messages::Words;
use crate::outbound::{headers, sign};
use crate::ports::{Clock, Notifier, NotifyError};
use crate::secrets::SecretSource;

/// Where a webhook goes.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookConfig {
    /// The receiver.
    pub url: Address,
    /// What the body is.
    pub form: WebhookForm,
    /// Signs the body.
    pub secret: Option<SecretSource>,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
}

/// The form of a webhook's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookForm {
    /// The notice alone.
    Plain,
    /// In the structured envelope of CloudEvents 1.0.
    Cloudevents,
}

impl WebhookConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If a secret cannot be read or a header is not one.
    pub fn build(
        &self,
        words: &Arc<Words>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let (headers, mut secrets) = read_headers(&self.headers)?;
        let url = self.url.read()?;
        let key = self.secret.as_ref().map(|source| secret("secret", source)).transpose()?;
        secrets.extend(key.iter().cloned());
        if matches!(self.url, Address::Secret(_)) {
            secrets.push(url.clone());
        }
        let http = Http::new(self.deadline, headers, secrets)?;
        Ok(Arc::new(Webhook { http, url, form: self.form, key, words: words.clone(), clock }))
    }
}

/// Headers whose values are secrets, and the values.
pub(super) fn read_headers(
    sources: &BTreeMap<String, SecretSource>,
) -> Result<(HeaderMap, Vec<SecretString>), NotifierBuildError> {
    let mut all = HeaderMap::new();
    let mut secrets = Vec::new();
    for (name, source) in sources {
        let value = secret(&format!("header {name}"), source)?;
        let line = headers::secret(name, "", &value).map_err(NotifierBuildError)?;
        all.insert(headers::name(name).map_err(NotifierBuildError)?, line);
        secrets.push(value);
    }
    Ok((all, secrets))
}

struct Webhook {
    http: Http,
    url: SecretString,
    form: WebhookForm,
    key: Option<SecretString>,
    words: Arc<Words>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Notifier for Webhook {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let (kind, body) = match self.form {
            WebhookForm::Plain => ("application/json", serde_json::to_vec(notice)),
            WebhookForm::Cloudevents => {
                ("application/cloudevents+json", serde_json::to_vec(&self.envelope(notice)))
            }
        };
        let body = body.map_err(|error| NotifyError::never(format!("the notice is no JSON: {error}")))?;
        let mut request = self
            .http
            .post(self.url.expose_secret())
            .header("Idempotency-Key", &notice.key)
            .header(CONTENT_TYPE, kind);
        if let Some(key) = &self.key {
            request = request.header("Serin-Signature", signature(key, self.clock.wall(), &body)?);
        }
        self.http.deliver(request.body(body)).await?;
        Ok(())
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

impl Webhook {
    fn envelope(&self, notice: &Notice) -> Value {
        let message = self.words.message(notice);
        let links = self.words.links(notice);
        json!({
            "specversion": "1.0",
            "id": notice.key,
            "source": "/serin",
            "type": format!("serin.notice.{}", notice.kind.name()),
            "subject": if notice.target.is_empty() { "serin" } else { &notice.target },
            "time": notice.at.to_string(),
            "datacontenttype": "application/json",
            "data": {
                "notice": notice,
                "title": message.title,
                "text": message.text,
                "links": {"rollout": links.rollout, "report": links.report, "runbook": links.runbook},
            },
        })
    }
}

/// `t=SECONDS,v1=HEX`.
fn signature(key: &SecretString, now: Timestamp, body: &[u8]) -> Result<String, NotifyError> {
    let seconds = now.0.div_euclid(1000);
    let signed =
        sign::signature(key, &[format!("{seconds}.").as_bytes(), body]).map_err(NotifyError::never)?;
    Ok(format!("t={seconds},v1={signed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_over_time_and_body() {
        let key = SecretString::from("key".to_owned());
        // Computed by `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`.
        let expected = "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature(&key, Timestamp(1_700_000_000_999), b"{}").unwrap(), expected);
    }
}
