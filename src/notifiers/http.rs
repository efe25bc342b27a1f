//! The HTTP client of all channels: a deadline for each attempt, bounded answers, and details without secrets.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::Value;

use super::{NotifierBuildError, text};
use crate::outbound::answer::{Fault, head, retry_after};
use crate::outbound::client::Builder;
use crate::outbound::redact::Secrets;
use crate::ports::NotifyError;

/// Of an answer's body, so much is read.
const MOST_BODY: usize = 64 * 1024;
/// Of what came back, so many characters are kept.
const MOST_DETAIL: usize = 300;

/// A client that keeps its secrets out of what it tells.
pub(super) struct Http {
    client: Client,
    deadline: Duration,
    secrets: Secrets,
}

/// What came back.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    pub after: Option<Duration>,
}

impl Http {
    /// A client with a deadline and headers for each call; `secrets` never stand in an error.
    pub fn new(
        deadline: Duration,
        headers: HeaderMap,
        secrets: Vec<SecretString>,
    ) -> Result<Http, NotifierBuildError> {
        let client = Builder::new(deadline).headers(headers).build();
        let client = client.map_err(|error| NotifierBuildError(error.to_string()))?;
        Ok(Http { client, deadline, secrets: Secrets::new(&secrets) })
    }

    /// How long one call may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// A request with a JSON body.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }

    /// A request of another method.
    pub fn request(&self, method: reqwest::Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends, and reads the answer as far as it is bounded.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, NotifyError> {
        let lost = |fault: Fault| NotifyError::again(self.clean(&fault.to_string()));
        let answer = request.send().await.map_err(|error| lost(error.into()))?;
        let (status, after) = (answer.status(), retry_after(answer.headers()));
        let body = head(answer, MOST_BODY).await.map_err(lost)?;
        Ok(Answer { status, body, after })
    }

    /// What a status outside of 2xx means: 408, 425, 429 and 5xx pass, everything else does not.
    pub fn check(&self, answer: &Answer) -> Result<(), NotifyError> {
        let status = answer.status;
        if status.is_success() {
            return Ok(());
        }
        let retry = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let detail = match self.told(answer) {
            told if told.is_empty() => format!("the receiver answered with status {status}"),
            told => format!("the receiver answered with status {status}: {told}"),
        };
        Err(NotifyError { retry, detail, after: answer.after })
    }

    /// Sends; everything but 2xx is an error.
    pub async fn deliver(&self, request: RequestBuilder) -> Result<Answer, NotifyError> {
        let answer = self.send(request).await?;
        self.check(&answer)?;
        Ok(answer)
    }

    /// The answer's JSON; anything else comes from something between, and is tried again.
    pub fn json(&self, answer: &Answer) -> Result<Value, NotifyError> {
        serde_json::from_slice(&answer.body).map_err(|_| {
            let told = self.told(answer);
            let detail = format!("the receiver answered with status {} and no JSON: {told}", answer.status);
            NotifyError { retry: true, detail, after: answer.after }
        })
    }

    /// The head of what was answered. The secrets go first: half of one is one too.
    fn told(&self, answer: &Answer) -> String {
        text::line(&self.clean(&String::from_utf8_lossy(&answer.body)), MOST_DETAIL)
    }

    /// The text without the secrets.
    pub fn clean(&self, text: &str) -> String {
        clean(text, &self.secrets)
    }
}

/// The text without the secrets, in one line of at most some hundred characters.
pub(super) fn clean(told: &str, secrets: &Secrets) -> String {
    text::line(&secrets.redact(told), 2 * MOST_DETAIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(secret: &str) -> Http {
        let secrets = vec![SecretString::from(secret.to_owned())];
        Http::new(Duration::from_secs(1), HeaderMap::new(), secrets).unwrap()
    }

    #[test]
    fn secrets_are_taken_out_before_the_answer_is_cut() {
        let body = format!("{} abcd-secret", "x".repeat(MOST_DETAIL - 8)).into();
        let answer = Answer { status: StatusCode::BAD_REQUEST, body, after: None };
        let error = http("abcd-secret").check(&answer).unwrap_err();
        assert!(error.detail.ends_with("x ***"), "{}", error.detail);
    }
}
