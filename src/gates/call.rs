//! One call over HTTP: to an allowed address, with no redirect followed, within its time, its answer
//! bounded.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::net;
use crate::core::gate::SecretName;
use crate::secrets::SecretSource;

/// Of an answer at most so much is read.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// A call.
pub(super) struct Call<'a> {
    pub method: Method,
    pub url: &'a str,
    pub allow_private: bool,
    /// Headers whose values are secrets.
    pub secrets: &'a BTreeMap<String, SecretName>,
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
    /// What `Retry-After` asks for, in seconds.
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// Makes the call.
///
/// # Errors
/// A sentence that says why there is no answer.
pub(super) async fn call(call: Call<'_>) -> Result<Answer, String> {
    let timeout = call.timeout;
    match tokio::time::timeout(timeout, made(call)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("there was no whole answer within {timeout:?}")),
    }
}

async fn made(call: Call<'_>) -> Result<Answer, String> {
    let url = Url::parse(call.url).map_err(|error| format!("the URL cannot be read: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL begins with neither http:// nor https://".to_owned());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("the header {name} cannot be written"))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    for (name, source) in call.secrets {
        headers.insert(header_name(name)?, header_value(name, &secret(source).await?)?);
    }
    let addresses = net::addresses(&url, call.allow_private).await?;
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(call.timeout)
        .pool_max_idle_per_host(0);
    if let Some(name) = url.domain() {
        builder = builder.resolve_to_addrs(name, &addresses);
    }
    let client = builder.build().map_err(|error| format!("the call cannot be made: {error}"))?;
    let sent = client.request(call.method, url).headers(headers).body(call.body).send().await;
    let answer = sent.map_err(|error| reason(&error))?;
    let status = answer.status().as_u16();
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let is_json = header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    let retry_after =
        header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    Ok(Answer { status, is_json, retry_after, body: body(answer, call.max_bytes).await? })
}

async fn body(mut answer: Response, most: usize) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + chunk.len() > most {
            return Err(format!("the answer has more than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Why a call failed. The URL is left out: its query may hold a secret.
fn reason(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "there was no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the call failed"
    };
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| kind.to_owned(), |cause| format!("{kind}: {cause}"))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(name).map_err(|_| format!("{name:?} is not the name of a header"))
}

/// Says which value is wrong, never what it is.
fn header_value(name: &str, secret: &SecretString) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(secret.expose_secret())
        .map_err(|_| format!("the secret for {name} has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a secret now.
///
/// # Errors
/// A sentence with its name, never its value.
pub(super) async fn secret(name: &SecretName) -> Result<SecretString, String> {
    let source = match name {
        SecretName::Env(name) => SecretSource::Env(name.clone()),
        SecretName::File(path) => SecretSource::File(path.clone()),
    };
    // A file on a slow disk must not hold up others.
    let read = tokio::task::spawn_blocking(move || source.read().map_err(|error| error.to_string()));
    read.await.unwrap_or_else(|error| Err(format!("a secret cannot be read: {error}")))
}
