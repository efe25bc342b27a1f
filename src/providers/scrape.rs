//! Reads the metrics pages of the arms' instances directly.

use std::sync::Arc;
use std::time::Duration;

use super::ProviderBuildError;
use crate::ports::MetricsProvider;

/// How metrics pages are read.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// For each page, connection and body included.
    pub deadline: Duration,
    /// Larger pages are refused, in bytes.
    pub max_bytes: usize,
}

impl ScrapeConfig {
    /// Builds the provider.
    ///
    /// # Errors
    /// If the client cannot be built.
    pub fn build(&self) -> Result<Arc<dyn MetricsProvider>, ProviderBuildError> {
        Err(ProviderBuildError("not built yet".into()))
    }
}
