//! What a router knows of the servers behind the roles, and of the requests that it could send to none of
//! them. It is evidence of the router itself: no metric is needed for it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::split::{Role, Split};
use super::time::Timestamp;

/// What is remembered of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The newest generation that it accepted.
    pub generation: u64,
    /// When its stream was last open.
    pub last_seen: Timestamp,
    /// Whether its stream is open.
    pub connected: bool,
    /// Why it refused the newest generation, if it did.
    pub refused: Option<String>,
}

/// What a router says about the data plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObservedSplit {
    /// The weights that are in force in every reachable proxy; `None` while they differ or are unknown.
    pub split: Option<Split>,
    /// The proxies, where the router knows them.
    pub nodes: BTreeMap<String, NodeRecord>,
    /// The servers of each role, where the router knows them; empty if it tells nothing of them now.
    #[serde(default)]
    pub pools: BTreeMap<Role, PoolState>,
    /// What became of the requests, where the router counts them.
    #[serde(default)]
    pub front: Option<FrontState>,
    /// What the router keeps in force of a release that the store knows nothing of, until the target is applied.
    #[serde(default)]
    pub unstored: Option<Unstored>,
}

/// A split that proxies have from an earlier process, newer than what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unstored {
    /// The weights.
    pub split: Split,
    /// Its generation, as the earlier process counted.
    pub generation: u64,
}

/// The servers of a role as the router knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolState {
    /// All that are configured or discovered.
    pub servers: u32,
    /// Those that would take requests at any weight.
    pub up: u32,
    /// Those of `up` that get less than their share for now, as they have just come up (`slowstart`).
    pub warming: u32,
    /// Those that take no new requests, as somebody drains them.
    pub draining: u32,
    /// Those in maintenance.
    pub maintenance: u32,
    /// The router ignores health, as too few servers are healthy (Envoy's panic mode).
    pub panic: bool,
    /// The router does not know the pool at all: the name of what is missing.
    pub missing: Option<String>,
    /// Requests that were sent to it within the time of the front's figures, where they are counted.
    pub requests: Option<u64>,
}

/// What a router did with the requests for a target in the last while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FrontState {
    /// The time that the figures cover.
    pub over: Duration,
    /// All requests that came for the target.
    pub requests: u64,
    /// Those that the router answered with an error of its own, as it had nowhere to send them.
    pub unanswerable: u64,
    /// Why it had nowhere, in the router's own terms: `no server of the backend shop was up (503, SC)`.
    pub how: String,
}

impl FrontState {
    /// So many requests in its time are so many in a minute; `None` if it covers no time.
    pub fn per_minute(&self, requests: u64) -> Option<u64> {
        let seconds = self.over.as_secs_f64();
        (seconds > 0.0).then(|| (requests as f64 * 60.0 / seconds).round() as u64)
    }
}

impl PoolState {
    /// Servers that are neither up, nor drained, nor in maintenance.
    pub fn down(&self) -> u32 {
        self.servers.saturating_sub(self.up + self.draining + self.maintenance)
    }

    /// What of it makes its share of the traffic differ from its weight; empty if nothing does.
    fn oddities(&self, role: &str) -> Vec<String> {
        let of = |count: u32, what: &str| {
            let verb = if count == 1 { "is" } else { "are" };
            (count > 0).then(|| format!("{count} of {} {role} servers {verb} {what}", self.servers))
        };
        let missing = self.missing.as_ref().map(|what| format!("the router does not know {what} ({role})"));
        let panic =
            self.panic.then(|| format!("the router ignores the health of the {role} servers (panic)"));
        [
            missing,
            of(self.down(), "down"),
            of(self.draining, "draining"),
            of(self.maintenance, "in maintenance"),
            of(self.warming, "warming up (slow start)"),
            panic,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl ObservedSplit {
    /// Why the requests of the roles may differ from their weights, as far as the router knows: a sentence
    /// such as `2 of 4 canary servers are down`; `None` if it knows no such reason. Roles without weight do
    /// not matter.
    pub fn explains(&self) -> Option<String> {
        let weighs = |role: Role| self.split.is_none_or(|split| split.weight(role).0 > 0);
        let pools = self.pools.iter().filter(|(role, _)| weighs(**role));
        let told: Vec<String> = pools.flat_map(|(role, pool)| pool.oddities(role.name())).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// A split without anything else.
    pub fn of(split: Option<Split>) -> ObservedSplit {
        ObservedSplit { split, ..ObservedSplit::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::split::Weight;

    fn observed(canary: u16, stable: PoolState, of_canary: PoolState) -> ObservedSplit {
        let pools = BTreeMap::from([(Role::Stable, stable), (Role::Canary, of_canary)]);
        ObservedSplit { pools, ..ObservedSplit::of(Some(Split::canary(Weight(canary), false))) }
    }

    fn pool(servers: u32, up: u32) -> PoolState {
        PoolState { servers, up, ..PoolState::default() }
    }

    #[test]
    fn a_share_is_explained_by_the_servers_that_have_weight() {
        assert_eq!(ObservedSplit::of(Some(Split::STABLE)).explains(), None);
        assert_eq!(observed(500, pool(4, 4), pool(2, 2)).explains(), None);
        assert_eq!(
            observed(500, pool(4, 4), pool(2, 1)).explains().unwrap(),
            "1 of 2 canary servers is down"
        );
        assert_eq!(observed(0, pool(4, 4), pool(2, 1)).explains(), None, "no weight, no share");
        let odd = PoolState { draining: 2, maintenance: 1, warming: 1, panic: true, ..pool(9, 4) };
        let canary = PoolState { missing: Some("the cluster shop-bb".into()), ..pool(0, 0) };
        assert_eq!(
            observed(500, odd, canary).explains().unwrap(),
            "2 of 9 stable servers are down, 2 of 9 stable servers are draining, 1 of 9 stable servers is in \
             maintenance, 1 of 9 stable servers is warming up (slow start), the router ignores the health of \
             the stable servers (panic), the router does not know the cluster shop-bb (canary)"
        );
    }
}
