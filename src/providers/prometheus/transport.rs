//! The calls: authentication, TLS, deadlines and bounds.

use bytes::Bytes;
use prometheus_http_query::{Client, Error};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;

use super::super::{ProviderBuildError, no_data};
use super::{PrometheusConfig, decode};
use crate::core::metric::NoData;
use crate::core::time::Timestamp;
use crate::outbound::answer::{Fault, whole};
use crate::outbound::client::Builder;
use crate::outbound::{headers, redact};
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
            ProviderBuildError(format!("the Prometheus at {}: {what}: {why}", redact::url(&config.url)))
        };
        let url = url::Url::parse(&config.url).map_err(|error| failed("its URL cannot be read", &error))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(failed("its URL must begin with http:// or https://", &url.scheme()));
        }
        let mut builder = Builder::new(config.deadline)
            .headers(read_headers(config).map_err(|why| failed("its headers", &why))?);
        if let Some(path) = &config.ca_file {
            builder = builder.authorities_of(path).map_err(|why| failed("ca_file", &why))?;
        }
        if let Some(path) = &config.client_certificate_file {
            builder = builder.identity_of(path).map_err(|why| failed("client_certificate_file", &why))?;
        }
        let client = builder.build().map_err(|why| failed("its client", &why))?;
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
            Error::Client(client) => match client.inner() {
                Some(inner) => no_data(Fault::from(inner)),
                None => NoData::Unreachable(error.to_string()),
            },
            other => NoData::Unreachable(other.to_string()),
        })?;
        let status = response.status();
        if status.is_success() {
            return whole(response, MAX_BYTES).await.map_err(no_data);
        }
        let body = whole(response, MAX_ERROR_BYTES).await.unwrap_or_default();
        Err(decode::refusal(status.as_u16(), &body))
    }
}

fn read_headers(config: &PrometheusConfig) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
    let read = |source: &SecretSource| source.read().map_err(|error| error.to_string());
    if let Some(source) = &config.bearer_token {
        all.insert(AUTHORIZATION, headers::secret("bearer_token", "Bearer ", &read(source)?)?);
    }
    if let Some((user, source)) = &config.basic_auth {
        let pair = format!("{user}:{}", read(source)?.expose_secret());
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
        all.insert(AUTHORIZATION, headers::secret("basic_auth", "Basic ", &encoded.into())?);
    }
    for (name, source) in &config.headers {
        all.insert(headers::name(name)?, headers::secret(name, "", &read(source)?)?);
    }
    Ok(all)
}
