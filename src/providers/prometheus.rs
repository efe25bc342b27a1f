//! Anything that speaks the Prometheus HTTP API.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ProviderBuildError;
use crate::ports::MetricsProvider;
use crate::secrets::SecretSource;

/// How a Prometheus is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusConfig {
    /// Base URL, without `/api/v1`.
    pub url: String,
    /// For each call, connection and body included.
    pub deadline: Duration,
    /// `Authorization: Bearer`.
    pub bearer_token: Option<SecretSource>,
    /// User and password.
    pub basic_auth: Option<(String, SecretSource)>,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
    /// PEM file of authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with certificate and key of the client.
    pub client_certificate_file: Option<PathBuf>,
    /// Answers with more series are refused.
    pub max_series: usize,
    /// Labels that are pinned, to count one of several replicas.
    pub pin: BTreeMap<String, String>,
}

impl PrometheusConfig {
    /// Builds the provider.
    ///
    /// # Errors
    /// If a secret or certificate cannot be read.
    pub fn build(&self) -> Result<Arc<dyn MetricsProvider>, ProviderBuildError> {
        Err(ProviderBuildError("not built yet".into()))
    }
}
