//! One call over HTTP: to an allowed address, within its time, its answer bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use crate::outbound::answer::{Fault, retry_after, whole};
use crate::outbound::guard::Guarded;
use crate::outbound::headers;
use crate::secrets::SecretSource;

/// Of an answer at most so much is read.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// A call.
pub(super) struct Call<'a> {
    pub method: Method,
    pub url: &'a str,
    pub allow_private: bool,
    /// Headers whose values are secrets.
    pub secrets: &'a BTreeMap<String, SecretSource>,
    /// Other headers.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// For all of it.
    pub timeout: Duration,
    pub max_bytes: usize,
}

/// What came back.
pub(super) struct Answer {
    pub status: u16,
    /// Whether the answer says that it is JSON.
    pub is_json: bool,
    /// What `Retry-After` asks for.
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// Makes the call.
///
/// # Errors
/// A sentence that says why there is no answer.
pub(super) async fn call(guarded: &Guarded, call: Call<'_>) -> Result<Answer, String> {
    let timeout = call.timeout;
    match tokio::time::timeout(timeout, made(guarded, call)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("there was no whole answer within {timeout:?}")),
    }
}

async fn made(guarded: &Guarded, call: Call<'_>) -> Result<Answer, String> {
    let url = Url::parse(call.url).map_err(|error| format!("the URL cannot be read: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL begins with neither http:// nor https://".to_owned());
    }
    let mut sent = HeaderMap::new();
    for (name, value) in &call.headers {
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("the header {name} cannot be written"))?;
        sent.insert(HeaderName::from_static(name), value);
    }
    for (name, source) in call.secrets {
        sent.insert(headers::name(name)?, headers::secret(name, "", &secret(source).await?)?);
    }
    let told = |fault: Fault| fault.to_string();
    let client = guarded.client(&url, call.allow_private).await.map_err(told)?;
    let request = client.request(call.method, url).timeout(call.timeout).headers(sent).body(call.body);
    let answer = request.send().await.map_err(|error| told(Fault::from(&error)))?;
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    let retry_after = retry_after(answer.headers());
    Ok(Answer { status, is_json, retry_after, body: whole(answer, call.max_bytes).await.map_err(told)? })
}

/// Reads a secret now.
///
/// # Errors
/// A sentence with its name, never its value.
pub(super) async fn secret(source: &SecretSource) -> Result<SecretString, String> {
    let source = source.clone();
    // A file on a slow disk must not hold up others.
    let read = tokio::task::spawn_blocking(move || source.read().map_err(|error| error.to_string()));
    read.await.unwrap_or_else(|error| Err(format!("a secret cannot be read: {error}")))
}
