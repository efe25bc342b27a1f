//! What a router is asked.

use std::collections::BTreeMap;

use async_trait::async_trait;
use thiserror::Error;

use crate::core::pools::{NodeRecord, ObservedSplit};
use crate::core::spec::Pool;
use crate::core::split::{Role, Split};

/// A target as a router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The target's name.
    pub target: String,
    /// Where the router finds it.
    pub route: String,
    /// The pools by the role that they play now.
    pub pools: BTreeMap<Role, Pool>,
    /// What it shall do.
    pub split: Split,
    /// Never goes back.
    pub generation: u64,
    /// Proxies that were there, for routers that count them.
    pub nodes: BTreeMap<String, NodeRecord>,
}

/// Why a router did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RouterError {
    /// It could not be reached.
    #[error("the router cannot be reached: {0}")]
    Unreachable(String),
    /// No answer within the deadline.
    #[error("the router did not answer in time")]
    Timeout,
    /// It refused.
    #[error("the router refused: {0}")]
    Refused(String),
    /// Its answer could not be read.
    #[error("the router's answer could not be read: {0}")]
    Malformed(String),
}

/// Something that splits traffic. `apply` is idempotent and cheap: it is called again and again.
#[async_trait]
pub trait TrafficRouter: Send + Sync {
    /// Called once with all targets before anything else; a router that serves proxies answers them only
    /// after it.
    async fn load(&self, routes: &[Route]) -> Result<(), RouterError>;
    /// Drives the route towards its split. Older generations than the last one are ignored.
    async fn apply(&self, route: &Route) -> Result<(), RouterError>;
    /// What is in force. `split` equals the route's split if the router has rounded to its granularity.
    async fn observe(&self, route: &Route) -> Result<ObservedSplit, RouterError>;
    /// The store is lost (`false`) or back (`true`); a router that serves proxies closes its streams.
    async fn authority(&self, held: bool);
    /// Resolves when something about the target may have changed (an ACK came); never, for routers that
    /// do not hear of it.
    async fn changed(&self, _target: &str) {
        std::future::pending::<()>().await;
    }
}
