//! Envoy: Serin serves the weights by RTDS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::RouterBuildError;
use crate::ports::TrafficRouter;

/// How Envoy proxies reach Serin.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvoyConfig {
    /// Where the RTDS server listens.
    pub listen: SocketAddr,
    /// The name of the runtime layer in the proxies' bootstrap.
    pub layer: String,
    /// A proxy whose stream has been closed for longer is taken for gone.
    pub forget_after: Duration,
}

impl EnvoyConfig {
    /// Binds the server.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn build(&self) -> Result<Arc<dyn TrafficRouter>, RouterBuildError> {
        Err(RouterBuildError("not built yet".into()))
    }
}
