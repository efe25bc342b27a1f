//! Sources of metrics: one file a backend.

mod look;
mod pair;
pub mod prometheus;
pub mod scrape;

use std::sync::Arc;

use thiserror::Error;

use crate::core::metric::NoData;
use crate::outbound::answer::Fault;
use crate::ports::MetricsProvider;

/// The configuration of a provider; its variant names the backend.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there are a few of them in a process, made once")]
pub enum ProviderConfig {
    /// Anything that speaks the Prometheus HTTP API.
    Prometheus(prometheus::PrometheusConfig),
    /// The metrics pages of the arms' instances.
    Scrape(scrape::ScrapeConfig),
}

/// Why a provider could not be built.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ProviderBuildError(pub String);

impl ProviderConfig {
    /// Builds the provider; no call goes out.
    ///
    /// # Errors
    /// [`ProviderBuildError`] if a secret or certificate cannot be read.
    pub fn build(&self) -> Result<Arc<dyn MetricsProvider>, ProviderBuildError> {
        match self {
            ProviderConfig::Prometheus(config) => config.build(),
            ProviderConfig::Scrape(config) => config.build(),
        }
    }
}

/// Why a call gave no data.
fn no_data(fault: Fault) -> NoData {
    match fault {
        Fault::Timeout => NoData::Timeout,
        Fault::TooLarge(_) => NoData::TooLarge(fault.to_string()),
        Fault::Refused(why) | Fault::Lost(why) => NoData::Unreachable(why),
    }
}
