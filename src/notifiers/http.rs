//! The HTTP client of all channels: no redirects, a deadline for each attempt, bounded answers, and
//! details without secrets.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{NotifierBuildError, text};
use crate::ports::NotifyError;

/// Of an answer's body, so much is read.
const MOST_BODY: usize = 64 * 1024;
/// A receiver may ask for so much patience.
const MOST_PATIENCE: Duration = Duration::from_secs(3600);
/// Of what came back, so many characters are kept.
const MOST_DETAIL: usize = 300;
/// A piece of a secret URL is taken out wherever it stands, if it has so many bytes.
const LEAST_PIECE: usize = 8;

/// A client that keeps its secrets out of what it tells.
pub(super) struct Http {
    client: Client,
    deadline: Duration,
    secrets: Vec<SecretString>,
}

/// What came back.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    pub after: Option<Duration>,
}

impl Http {
    /// A client with a deadline and headers for each call; `secrets` never stand in an error.
    pub fn new(
        deadline: Duration,
        headers: HeaderMap,
        secrets: Vec<SecretString>,
    ) -> Result<Http, NotifierBuildError> {
        let client = Client::builder()
            .timeout(deadline)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| NotifierBuildError(format!("the HTTP client: {error}")))?;
        Ok(Http { client, deadline, secrets: with_parts(&secrets) })
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
        let lost = |error: reqwest::Error| {
            let what =
                if error.is_timeout() { "no answer in time".to_owned() } else { chain(&error.without_url()) };
            NotifyError::again(self.clean(&what))
        };
        let mut answer = request.send().await.map_err(lost)?;
        let (status, after) = (answer.status(), retry_after(answer.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            body.extend_from_slice(&chunk);
            if body.len() >= MOST_BODY {
                body.truncate(MOST_BODY);
                break;
            }
        }
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

/// The text without the secrets, at most some hundred characters.
pub(super) fn clean(told: &str, secrets: &[SecretString]) -> String {
    let mut clean = told.to_owned();
    for secret in secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| secret.len() >= 4) {
        clean = clean.replace(secret, "***");
    }
    text::line(&clean, 2 * MOST_DETAIL)
}

/// The secrets with their parts that are secrets too, the longest first: none hides in the rest of another.
fn with_parts(secrets: &[SecretString]) -> Vec<SecretString> {
    let mut all: Vec<String> = Vec::new();
    for secret in secrets.iter().map(ExposeSecret::expose_secret) {
        all.push(secret.to_owned());
        all.extend(parts(secret));
    }
    all.sort_by_key(|part| std::cmp::Reverse(part.len()));
    all.into_iter().map(SecretString::from).collect()
}

/// Of a URL what follows the host, and its long pieces; of `Bearer abc` what follows the scheme.
fn parts(secret: &str) -> Vec<String> {
    let url = url::Url::parse(secret).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url else {
        let value = secret.trim().split_once(char::is_whitespace).map(|(_, value)| value.trim().to_owned());
        return value.into_iter().collect();
    };
    let path = url.path().to_owned();
    let whole = url.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let pieces = whole.split(['/', '?', '&', '=']).filter(|piece| piece.len() >= LEAST_PIECE);
    let mut parts: Vec<String> = pieces.map(str::to_owned).collect();
    parts.extend([whole, path]);
    parts
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Seconds, or a date that is measured against the answer's own `Date`; at most an hour.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let header =
        |name| headers.get(name).and_then(|value: &reqwest::header::HeaderValue| value.to_str().ok());
    let value = header(RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MOST_PATIENCE));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second());
    let wait = date(value)?.saturating_sub(date(header(DATE)?)?);
    Some(Duration::from_secs(u64::try_from(wait).unwrap_or(0)).min(MOST_PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        entries.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let seconds =
            |entries: &[(&'static str, &str)]| retry_after(&headers(entries)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[("retry-after", "30")]), Some(30));
        assert_eq!(seconds(&[("retry-after", "99999999")]), Some(3600));
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        let later = ("retry-after", "Sat, 21 Nov 2026 12:00:30 GMT");
        assert_eq!(seconds(&[later]), None);
        assert_eq!(seconds(&[later, ("date", "Sat, 21 Nov 2026 12:00:00 GMT")]), Some(30));
        assert_eq!(seconds(&[later, ("date", "Sat, 21 Nov 2026 12:01:00 GMT")]), Some(0));
    }

    #[test]
    fn secrets_are_taken_out() {
        let secrets = [SecretString::from("abcd-secret".to_owned())];
        assert_eq!(clean("key abcd-secret is unknown", &secrets), "key *** is unknown");
    }

    fn http(secret: &str) -> Http {
        let secrets = vec![SecretString::from(secret.to_owned())];
        Http::new(Duration::from_secs(1), HeaderMap::new(), secrets).unwrap()
    }

    #[test]
    fn parts_of_secrets_are_taken_out() {
        let url = http("https://hooks.example.com/in/T0123456/B0123456?sig=abcdefgh");
        for (told, clean) in [
            ("no https://hooks.example.com/in/T0123456/B0123456?sig=abcdefgh", "no ***"),
            ("no POST /in/T0123456/B0123456?sig=abcdefgh here", "no POST *** here"),
            ("no /in/T0123456/B0123456 here", "no *** here"),
            ("B0123456 is revoked, in a word", "*** is revoked, in a word"),
            ("abcdefgh does not sign", "*** does not sign"),
        ] {
            assert_eq!(url.clean(told), clean);
        }
        assert_eq!(http("https://hooks.example.com/").clean("GET / and /"), "GET / and /");
        assert_eq!(http("Bearer abc-def").clean("abc-def is unknown"), "*** is unknown");
    }

    #[test]
    fn secrets_are_taken_out_before_the_answer_is_cut() {
        let body = format!("{} abcd-secret", "x".repeat(MOST_DETAIL - 8)).into_bytes();
        let answer = Answer { status: StatusCode::BAD_REQUEST, body, after: None };
        let error = http("abcd-secret").check(&answer).unwrap_err();
        assert!(error.detail.ends_with("x ***"), "{}", error.detail);
    }
}
