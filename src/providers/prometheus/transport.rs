//! The calls: authentication, TLS, deadlines and bounds.

use std::path::Path;

use bytes::Bytes;
use prometheus_http_query::{Client, Error};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Identity, redirect};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::super::{ProviderBuildError, http};
use super::{PrometheusConfig, decode};
use crate::core::metric::NoData;
use crate::core::time::Timestamp;
use crate::secrets::SecretSource;

/// So many calls are under way at once.
const CONCURRENCY: usize = 16;
/// Larger bodies are refused. A million samples are about 30 MB.
const MAX_BYTES: usize = 64 << 20;
/// Of an error's body so much is read.
const MAX_ERROR_BYTES: usize = 64 << 10;

pub(super) struct Transport {
    client: Client,
    permits: Semaphore,
}

impl Transport {
    pub fn new(config: &PrometheusConfig) -> Result<Transport, ProviderBuildError> {
        let failed = |what: &str, why: &dyn std::fmt::Display| {
            ProviderBuildError(format!("the Prometheus at {}: {what}: {why}", without_password(&config.url)))
        };
        let url = url::Url::parse(&config.url).map_err(|error| failed("its URL cannot be read", &error))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(failed("its URL must begin with http:// or https://", &url.scheme()));
        }
        let mut builder = reqwest::Client::builder()
            .timeout(config.deadline)
            .connect_timeout(config.deadline)
            // A redirect could take the token to another host.
            .redirect(redirect::Policy::none())
            .default_headers(headers(config).map_err(|why| failed("its headers", &why))?);
        if let Some(path) = &config.ca_file {
            let pem = read(path).map_err(|why| failed("ca_file", &why))?;
            let authorities =
                Certificate::from_pem_bundle(&pem).map_err(|why| failed("ca_file is not PEM", &why))?;
            if authorities.is_empty() {
                return Err(failed("ca_file", &format!("{} holds no certificate", path.display())));
            }
            builder = builder.tls_certs_merge(authorities);
        }
        if let Some(path) = &config.client_certificate_file {
            let pem = read(path).map_err(|why| failed("client_certificate_file", &why))?;
            let identity = Identity::from_pem(&pem).map_err(|why| {
                failed("client_certificate_file must hold a certificate and its key in PEM", &why)
            })?;
            builder = builder.identity(identity);
        }
        let client = builder.build().map_err(|why| failed("the client cannot be built", &why))?;
        let client = Client::from(client, config.url.trim_end_matches('/'))
            .map_err(|why| failed("its URL cannot be read", &why))?;
        Ok(Transport { client, permits: Semaphore::new(CONCURRENCY) })
    }

    /// The body of the answer to an instant query.
    ///
    /// # Errors
    /// The reason why there is none.
    pub async fn query(&self, promql: &str, at: Timestamp) -> Result<Bytes, NoData> {
        let _permit = self.permits.acquire().await.map_err(|why| NoData::Unreachable(why.to_string()))?;
        // VictoriaMetrics would otherwise answer as of half a minute ago, from its cache.
        let query =
            self.client.query(promql).query("time", format!("{:.3}", at.seconds())).query("nocache", "1");
        let response = query.post_raw().await.map_err(|error| match &error {
            Error::Client(client) => {
                client.inner().map_or_else(|| NoData::Unreachable(error.to_string()), http::reason)
            }
            other => NoData::Unreachable(other.to_string()),
        })?;
        let status = response.status();
        if status.is_success() {
            return http::body(response, MAX_BYTES).await;
        }
        let body = http::body(response, MAX_ERROR_BYTES).await.unwrap_or_default();
        Err(decode::refusal(status.as_u16(), &body))
    }
}

fn headers(config: &PrometheusConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let read = |source: &SecretSource| source.read().map_err(|error| error.to_string());
    if let Some(source) = &config.bearer_token {
        headers.insert(AUTHORIZATION, secret_value("bearer_token", "Bearer ", &read(source)?)?);
    }
    if let Some((user, source)) = &config.basic_auth {
        let pair = format!("{user}:{}", read(source)?.expose_secret());
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
        headers.insert(AUTHORIZATION, secret_value("basic_auth", "Basic ", &encoded.into())?);
    }
    for (name, source) in &config.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("{name:?} is not the name of a header"))?;
        headers.insert(header, secret_value(name, "", &read(source)?)?);
    }
    Ok(headers)
}

/// Says which value is wrong, never what it is.
fn secret_value(name: &str, prefix: &str, secret: &SecretString) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{}", secret.expose_secret()))
        .map_err(|_| format!("{name} has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) if url.password().is_some() => {
            // It has a password, so setting one cannot fail.
            let _ = url.set_password(Some("…"));
            url.to_string()
        }
        Ok(url) => url.to_string(),
        Err(_) => "(unreadable URL)".to_owned(),
    }
}
