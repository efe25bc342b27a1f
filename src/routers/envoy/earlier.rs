//! What proxies have from an earlier process. A store that was lost, or that comes from an older backup, knows nothing
//! of it: such weights stay in force, and are part of the layer for all, until the target is applied, which means that
//! somebody has decided. Plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::version::{self, Held, Weights};
use crate::core::pools::Unstored;
use crate::ports::Route;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// What the proxies have that have accepted nothing of this process yet, by stream.
    held: BTreeMap<u64, Held>,
    /// The version that was read last: most proxies have the same.
    last: Option<(String, Held)>,
    /// The stored generation of each target when this process began with it.
    stored: BTreeMap<String, u64>,
    /// Targets that were applied: what the store says is meant.
    decided: BTreeSet<String>,
    /// What is kept in force, by target.
    kept: BTreeMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    weights: Arc<Weights>,
    generation: u64,
    /// Whether the engine knows of it.
    is_told: bool,
}

impl Earlier {
    /// A stream was opened by a proxy that repeats `version`. Gives the targets of which something is kept that was
    /// not before.
    pub(super) fn opened(
        &mut self,
        stream: u64,
        version: &str,
        routes: &BTreeMap<String, Route>,
    ) -> Vec<String> {
        if let Some((_, held)) = self.last.as_ref().filter(|(last, _)| last == version) {
            self.held.insert(stream, held.clone());
            return Vec::new();
        }
        let held = Held::read(version);
        let new = match &held {
            Held::Weights(weights) => self.learn(weights, routes),
            Held::Nothing | Held::Unknown(_) => Vec::new(),
        };
        self.last = Some((version.to_owned(), held.clone()));
        self.held.insert(stream, held);
        new
    }

    /// The proxy has accepted something of this process, or has gone.
    pub(super) fn over(&mut self, stream: u64) {
        self.held.remove(&stream);
    }

    /// The stored splits of all targets have come. Gives the targets of which something is kept that was not before.
    pub(super) fn loaded(&mut self, routes: &BTreeMap<String, Route>) -> Vec<String> {
        self.stored.retain(|target, _| routes.contains_key(target));
        self.decided.retain(|target| routes.contains_key(target));
        self.kept.retain(|target, _| routes.contains_key(target));
        for (target, route) in routes {
            self.stored.entry(target.clone()).or_insert(route.generation);
        }
        self.last = None;
        let mut all: Vec<Arc<Weights>> = Vec::new();
        for held in self.held.values() {
            if let Held::Weights(weights) = held
                && !all.contains(weights)
            {
                all.push(Arc::clone(weights));
            }
        }
        all.iter().flat_map(|weights| self.learn(weights, routes)).collect()
    }

    /// The newest counts: it is what was decided last.
    fn learn(&mut self, weights: &Arc<Weights>, routes: &BTreeMap<String, Route>) -> Vec<String> {
        let mut new = Vec::new();
        for (target, route) in routes {
            let Some(stored) = self.stored.get(target).filter(|_| !self.decided.contains(target)) else {
                continue;
            };
            let newest = self.kept.get(target).map_or(*stored, |kept| kept.generation);
            let Some(found) = weights.of(route).filter(|found| found.generation > newest) else { continue };
            let is_kept = self.kept.contains_key(target);
            if is_kept || found.split != route.split {
                let kept =
                    Kept { weights: Arc::clone(weights), generation: found.generation, is_told: false };
                self.kept.insert(target.clone(), kept);
                new.push(target.clone());
            }
        }
        new
    }

    /// What is kept in force of a target instead of the stored split.
    pub(super) fn kept(&self, route: &Route) -> Option<Unstored> {
        self.kept.get(&route.target)?.weights.of(route)
    }

    /// The same, told to the engine; `None` if the engine has decided already.
    pub(super) fn tell(&mut self, route: &Route) -> Option<Unstored> {
        if self.is_decided_by(route) {
            return None;
        }
        let kept = self.kept.get_mut(&route.target)?;
        let unstored = kept.weights.of(route)?;
        kept.is_told = true;
        Some(unstored)
    }

    /// Whether applying this ends what is kept: the target was given a new split, or what is kept is known.
    pub(super) fn ends_with(&self, route: &Route) -> bool {
        self.is_decided_by(route) || self.kept.get(&route.target).is_some_and(|kept| kept.is_told)
    }

    fn is_decided_by(&self, route: &Route) -> bool {
        self.stored.get(&route.target).is_some_and(|stored| route.generation > *stored)
    }

    /// What the store says of the target is meant.
    pub(super) fn decide(&mut self, target: &str) {
        self.decided.insert(target.to_owned());
        self.kept.remove(target);
    }

    /// The version that cannot be read of a proxy that must not be answered: the store has decided nothing yet, so it
    /// may be lost, and what the proxy has is not the layer `version`.
    pub(super) fn unknown(&self, stream: u64, version: &str) -> Option<&str> {
        let Some(Held::Unknown(name)) = self.held.get(&stream) else { return None };
        let is_fresh = self.decided.is_empty() && self.stored.values().all(|generation| *generation <= 1);
        (is_fresh && name != version::name_of(version)).then_some(name)
    }
}

#[cfg(test)]
#[path = "earlier_tests.rs"]
mod tests;
