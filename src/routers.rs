//! Things that split traffic: one file or folder a router.

pub mod envoy;
pub mod haproxy;
pub mod in_process;
mod trail;

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::core::split::Split;
use crate::ports::{Clock, TrafficRouter, Workload};

/// The configuration of a router; its variant names the kind.
#[derive(Clone, Debug, PartialEq)]
pub enum RouterConfig {
    /// Envoy proxies that read their weights from Serin by RTDS.
    Envoy(envoy::EnvoyConfig),
    /// HAProxy over its runtime socket.
    Haproxy(haproxy::HaproxyConfig),
}

/// Why a router could not be built.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct RouterBuildError(pub String);

impl RouterConfig {
    /// Builds the router; one that serves proxies binds its address and answers nobody before `load`.
    ///
    /// # Errors
    /// [`RouterBuildError`] if an address cannot be bound, or is not one.
    pub async fn build(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn TrafficRouter>, RouterBuildError> {
        match self {
            RouterConfig::Envoy(config) => config.build(clock).await,
            RouterConfig::Haproxy(config) => config.build(),
        }
    }
}

/// Pools that somebody else deploys: always ready, and after a promotion stable and canary change places.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaticPools;

#[async_trait]
impl Workload for StaticPools {
    async fn prepare(&self, _target: &str, _split: Split) -> Result<bool, String> {
        Ok(true)
    }

    async fn finalize(&self, _target: &str) -> Result<bool, String> {
        Ok(true)
    }
}
