//! How a target is reached: what is declared of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray, VariantNames};

use super::split::Role;

/// How a target is reached: from the configuration, not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    /// Unique name of the service on its router.
    pub name: String,
    /// The configured router that steers it.
    pub router: String,
    /// The configured provider that measures it.
    pub provider: String,
    /// Where the router finds it: Envoy: the prefix of the runtime keys; HAProxy: the backend's name;
    /// in-process: free.
    pub route: String,
    /// Labels that all series of the target have.
    pub labels: BTreeMap<String, String>,
    /// The pool that plays `stable` until the first promotion.
    pub stable: Pool,
    /// The pool that plays `canary` until the first promotion.
    pub canary: Pool,
    /// A third pool for a fresh copy of stable.
    pub baseline: Option<Pool>,
    /// What runs as stable before Serin's first promotion.
    pub stable_version: Option<String>,
    /// Where it runs, for routing what is told: `production`, `staging`.
    #[serde(default)]
    pub environment: Option<String>,
    /// What the router shares out by the weights.
    #[serde(default, skip_serializing_if = "SplitBy::is_usual")]
    pub split_by: SplitBy,
}

/// What a router shares out by the weights. Only of requests is the share that an arm gets in a while its weight.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SplitBy {
    /// Each request by itself.
    #[default]
    Requests,
    /// New sessions: a client stays with the version that it got first (cookies, hashes).
    Sessions,
    /// Connections (TCP, or requests that stay on the connection they came by).
    Connections,
    /// Replicas: the router treats them alike, and how many each version has stands for its weight.
    Replicas,
}

impl SplitBy {
    /// Whether that need not be written.
    pub fn is_usual(&self) -> bool {
        *self == SplitBy::Requests
    }

    /// Why the canary's share of the requests says nothing of its weight; `None` if it does.
    pub fn why_no_share(self) -> Option<&'static str> {
        match self {
            SplitBy::Requests => None,
            SplitBy::Sessions => Some("clients stay with the version that they got first"),
            SplitBy::Connections => Some("connections are split, not requests"),
            SplitBy::Replicas => Some("the numbers of replicas stand for the weights"),
        }
    }
}

/// A group of instances that run one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name at the router: Envoy: the cluster; HAProxy: the servers, separated by commas.
    pub backend: String,
    /// Labels that tell its series from the others'. `{version}` in a value stands for the version
    /// that the pool runs.
    pub labels: BTreeMap<String, String>,
    /// URLs of the metrics pages, for the `scrape` provider.
    pub endpoints: Vec<String>,
}

impl TargetSpec {
    /// The pool that plays `role`. After each promotion stable and canary have changed places.
    pub fn pool(&self, role: Role, swapped: bool) -> Option<&Pool> {
        match (role, swapped) {
            (Role::Stable, false) | (Role::Canary, true) => Some(&self.stable),
            (Role::Canary, false) | (Role::Stable, true) => Some(&self.canary),
            (Role::Baseline, _) => self.baseline.as_ref(),
        }
    }

    /// The role that is measured as the baseline.
    pub fn baseline_role(&self) -> Role {
        if self.baseline.is_some() { Role::Baseline } else { Role::Stable }
    }
}
