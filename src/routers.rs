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
    pub async fn build(&self, clock: Arc<dyn Clock>) -> Result<BuiltRouter, RouterBuildError> {
        Ok(match self {
            RouterConfig::Envoy(config) => BuiltRouter::Envoy(envoy::EnvoyRouter::bind(config, clock).await?),
            RouterConfig::Haproxy(config) => BuiltRouter::Haproxy(haproxy::HaproxyRouter::new(config)?),
        })
    }
}

/// A router that runs, by its kind: what of its configuration changes can be taken meanwhile.
#[derive(Clone)]
pub enum BuiltRouter {
    /// Serves Envoy proxies.
    Envoy(Arc<envoy::EnvoyRouter>),
    /// Drives an HAProxy.
    Haproxy(Arc<haproxy::HaproxyRouter>),
}

/// A change of a router's configuration that is ready and not in force yet.
pub struct Renewal(Box<dyn FnOnce() + Send>);

impl Renewal {
    /// Puts it in force. Calls that are under way end as they began.
    pub fn take(self) {
        (self.0)();
    }
}

impl BuiltRouter {
    /// For the engine.
    pub fn router(&self) -> Arc<dyn TrafficRouter> {
        match self {
            BuiltRouter::Envoy(router) => Arc::clone(router) as _,
            BuiltRouter::Haproxy(router) => Arc::clone(router) as _,
        }
    }

    /// Makes ready what another configuration of the same kind says, but for where proxies connect to. What the
    /// router knows of its targets stays.
    ///
    /// # Errors
    /// [`RouterBuildError`] if an address is not one, or the kind is another.
    pub fn renew(&self, config: &RouterConfig) -> Result<Renewal, RouterBuildError> {
        let take: Box<dyn FnOnce() + Send> = match (self, config) {
            (BuiltRouter::Envoy(router), RouterConfig::Envoy(config)) => Box::new(router.renew(config)?),
            (BuiltRouter::Haproxy(router), RouterConfig::Haproxy(config)) => Box::new(router.renew(config)?),
            _ => return Err(RouterBuildError("a router of another type has to be built anew".to_owned())),
        };
        Ok(Renewal(take))
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
