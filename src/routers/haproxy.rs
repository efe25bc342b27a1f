//! HAProxy over its runtime socket.

use std::sync::Arc;
use std::time::Duration;

use super::RouterBuildError;
use crate::ports::TrafficRouter;

/// How an HAProxy is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct HaproxyConfig {
    /// `/path/to/socket`, or `tcp:HOST:PORT`.
    pub socket: String,
    /// For each command.
    pub deadline: Duration,
    /// What happens to kept sessions at weight 0: `drain` (they stay until they end) or `shutdown`.
    pub sessions: KeptSessions,
}

/// What happens to sessions that stick to a server whose weight becomes 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptSessions {
    /// They go on until they end by themselves.
    Drain,
    /// They are closed.
    Shutdown,
}

impl HaproxyConfig {
    /// Builds the router.
    ///
    /// # Errors
    /// If the socket's address is not one.
    pub fn build(&self) -> Result<Arc<dyn TrafficRouter>, RouterBuildError> {
        Err(RouterBuildError("not built yet".into()))
    }
}
