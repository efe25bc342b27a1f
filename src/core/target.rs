//! The target: what is steered. It outlives rollouts, holds the wanted split with its generation, and
//! knows what the data plane was last seen to do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::carried::Carried;
use super::found::Found;
use super::ids::RolloutId;
use super::incident::{Incident, IncidentStep};
use super::judge::MetricHistory;
use super::notice::Notice;
use super::pools::{FrontState, NodeRecord, ObservedSplit};
use super::source::MetricSource;
use super::spec::SplitBy;
use super::split::{Role, Split, Weight};
use super::time::Timestamp;

/// The stored state of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Unique name.
    pub name: String,
    /// Counts the commits; a commit is conditional on it.
    pub revision: u64,
    /// Who owns it; a commit is conditional on it.
    pub epoch: u64,
    /// What the router shall do.
    pub wanted: Split,
    /// Counts the changes of `wanted`; routers never go back to an older one.
    pub generation: u64,
    /// What the data plane was last seen to do.
    pub seen: Option<SeenSplit>,
    /// Whether the last look at the router showed the wanted split: what was seen once may have changed.
    #[serde(default)]
    pub certain: bool,
    /// Whether somebody has raised the canary, and the wanted split was not seen again since: what is measured
    /// meanwhile is of another split.
    #[serde(default)]
    pub raised: bool,
    /// Whether stable and canary have changed pools (an odd number of promotions).
    pub swapped: bool,
    /// What runs as stable, as far as Serin knows.
    pub stable_version: Option<String>,
    /// The rollout that has the target.
    pub active: Option<RolloutId>,
    /// The rollout whose canary was the last to get traffic.
    pub last_exposed: Option<RolloutId>,
    /// Whether there is a pool for a fresh copy of stable.
    pub has_baseline: bool,
    /// The canary must be seen without requests for so long before a way back is over. Set by the
    /// engine's options, like `has_baseline` by the configuration.
    #[serde(default)]
    pub drain: Duration,
    /// What its router shares out by the weights. Set by the configuration, like `has_baseline`.
    #[serde(default)]
    pub split_by: SplitBy,
    /// The proxies that were ever there and are not forgotten yet.
    pub nodes: BTreeMap<String, NodeRecord>,
    /// The past of its metrics as it was last measured, by their names; for rollouts that cannot ask for
    /// it themselves.
    #[serde(default)]
    pub history: BTreeMap<String, KeptHistory>,
    /// The incident that is open: one at a time, whatever happens to the target.
    #[serde(default)]
    pub incident: Option<Incident>,
    /// What a process found at the router and the store knows nothing of; a person decides.
    #[serde(default)]
    pub found: Option<Found>,
    /// What each server of stable has carried at most.
    #[serde(default)]
    pub carried: Carried,
}

/// A metric's past, with what it was measured for: a metric of that name in another policy may count
/// something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptHistory {
    /// The counters.
    pub source: MetricSource,
    /// The tolerance, which the bounds of a latency depend on.
    pub tolerance: f64,
    /// What was measured.
    pub history: MetricHistory,
}

/// A split that the data plane was seen to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSplit {
    /// The weights.
    pub split: Split,
    /// The generation that was wanted then.
    pub generation: u64,
    /// When it was first seen.
    pub at: Timestamp,
}

/// Whose word is asked for when it is asked whether a split is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    /// Those that can be reached. On the way up one that is cut off merely lags.
    Reachable,
    /// Also those that are cut off and not forgotten yet: on the way back they may still send traffic to
    /// a bad version.
    All,
}

/// What an observation says about the wanted split.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// In force everywhere that can be reached.
    AsWanted {
        /// It was not in force when last seen.
        newly: bool,
    },
    /// Still on the way, or unknown: apply it again.
    Pending,
    /// Somebody gave the canary less: adopted.
    Lowered {
        /// What was found.
        found: Split,
    },
    /// Somebody gave the canary more: set right.
    Raised {
        /// What was found.
        found: Split,
    },
}

impl Target {
    /// A target that no rollout has touched: everything to stable.
    pub fn new(name: impl Into<String>) -> Target {
        Target {
            name: name.into(),
            revision: 0,
            epoch: 0,
            wanted: Split::STABLE,
            generation: 1,
            seen: None,
            certain: false,
            raised: false,
            swapped: false,
            stable_version: None,
            active: None,
            last_exposed: None,
            has_baseline: false,
            drain: Duration::ZERO,
            split_by: SplitBy::Requests,
            nodes: BTreeMap::new(),
            history: BTreeMap::new(),
            incident: None,
            found: None,
            carried: Carried::default(),
        }
    }

    /// Keeps where a notice about the open incident goes, before both are stored: whoever hears that it was opened
    /// hears of its end.
    pub fn incident_goes_to<'a>(&mut self, notice: &Notice, channels: impl Iterator<Item = &'a str>) {
        let Some(change) = notice.incident.as_ref().filter(|change| change.step == IncidentStep::Trigger)
        else {
            return;
        };
        if let Some(incident) = self.incident.as_mut().filter(|incident| incident.key == change.key) {
            incident.told.extend(channels.map(str::to_owned));
        }
    }

    /// Wants another split; the generation goes on by one if it differs.
    pub fn want(&mut self, split: Split) {
        if self.wanted != split {
            self.wanted = split;
            self.generation += 1;
        }
        if split.canary > Weight::ZERO {
            self.last_exposed.clone_from(&self.active);
        }
    }

    /// The canary's version has become the stable one: the roles change places and the physical weights
    /// stay as they are, so that the new split is in force already.
    pub fn promote(&mut self, version: String, now: Timestamp) {
        self.stable_version = Some(version);
        self.turn(now);
    }

    /// Stable and canary change places; the physical weights stay as they are.
    pub(super) fn turn(&mut self, now: Timestamp) {
        self.swapped = !self.swapped;
        self.wanted = Split::STABLE;
        self.generation += 1;
        self.seen = Some(SeenSplit { split: self.wanted, generation: self.generation, at: now });
    }

    /// Wants a split that is there already.
    pub(super) fn take_as_seen(&mut self, split: Split, now: Timestamp) {
        self.want(split);
        self.certain = true;
        self.seen = Some(SeenSplit { split, generation: self.generation, at: now });
    }

    /// Remembers what the servers of stable carry, where the router counts it.
    pub(super) fn carry(&mut self, observed: &ObservedSplit, now: Timestamp) {
        let Some(pool) = observed.pools.get(&Role::Stable) else { return };
        let of = |front: &FrontState| front.per_minute(pool.requests?);
        if let Some(per_minute) = observed.front.as_ref().and_then(of) {
            self.carried.take(now, per_minute, pool.up);
        }
    }

    /// True if the wanted split is what the data plane does, as far as is known now: it was seen, the last
    /// look at the router showed it, and none of `proxies` is known to follow an older one. What is
    /// decided about a split is decided by this.
    pub fn in_force(&self, proxies: Proxies) -> bool {
        let followed = match proxies {
            Proxies::Reachable => true,
            Proxies::All => self.unconfirmed_nodes().is_empty(),
        };
        self.is_seen() && self.certain && followed
    }

    /// True if the wanted split was seen in force once. It may have changed since, or the router may not
    /// answer: this says since when windows count and what has to be driven, and decides nothing
    /// ([`Target::in_force`] does).
    pub fn is_seen(&self) -> bool {
        self.seen.is_some_and(|seen| seen.generation == self.generation)
    }

    /// Proxies that were there, are cut off, and may still follow an older split.
    pub fn unconfirmed_nodes(&self) -> Vec<&str> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.generation < self.generation)
            .map(|(id, _)| id.as_str())
            .collect()
    }

    /// Takes in what the router says (invariant 13): lower than wanted is adopted, unless the wanted
    /// split was never in force and the old one still is; higher is to be set right.
    pub fn observe(&mut self, observed: &ObservedSplit, now: Timestamp) -> Finding {
        self.nodes.clone_from(&observed.nodes);
        self.certain = false;
        let Some(found) = observed.split else { return Finding::Pending };
        if found == self.wanted {
            self.certain = true;
            let newly = !self.is_seen();
            if std::mem::take(&mut self.raised)
                && let Some(seen) = &mut self.seen
            {
                seen.at = now;
            }
            if newly {
                self.seen = Some(SeenSplit { split: found, generation: self.generation, at: now });
            }
            return Finding::AsWanted { newly };
        }
        let was = self.seen.map(|seen| seen.split);
        if !self.is_seen() && was.is_none_or(|was| was.canary <= found.canary) {
            // On the way: nobody has gone below both the old and the wanted split. A canary above
            // both is set right by applying the wanted split, as is done for anything pending.
            return if found.canary > self.wanted.canary.max(was.unwrap_or(Split::STABLE).canary) {
                Finding::Raised { found }
            } else {
                Finding::Pending
            };
        }
        if found.canary < self.wanted.canary {
            self.take_as_seen(found, now);
            return Finding::Lowered { found };
        }
        if found.canary == self.wanted.canary {
            return Finding::Pending;
        }
        // What was measured meanwhile straddles two splits.
        self.raised = true;
        if let Some(seen) = &mut self.seen {
            seen.at = now;
        }
        Finding::Raised { found }
    }
}
