//! A split inside this process, for the demo and for tests: whoever sends traffic asks it where to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::core::pools::ObservedSplit;
use crate::core::split::{Role, Split};
use crate::ports::{Route, RouterError, TrafficRouter};

/// Splits traffic by the number that the sender gives with each request. Share it by `Arc`.
#[derive(Default)]
pub struct InProcessRouter {
    targets: Mutex<BTreeMap<String, Held>>,
    changed: Mutex<BTreeMap<String, Arc<Notify>>>,
}

/// What is in force for a target.
struct Held {
    route: Route,
    in_force: Split,
}

impl InProcessRouter {
    /// A router without targets.
    pub fn new() -> Arc<InProcessRouter> {
        Arc::new(InProcessRouter::default())
    }

    /// The role that gets a request. `random` is uniform over all of `u64`; the same number gives the
    /// same role as long as the split is the same. A target that is not known has only `stable`.
    pub fn pick(&self, target: &str, random: u64) -> Role {
        self.targets().get(target).map_or(Role::Stable, |held| role(held.in_force, random))
    }

    /// The backend's name of the pool that gets a request; `None` if the target is not known or the
    /// role has no pool.
    pub fn pick_backend(&self, target: &str, random: u64) -> Option<String> {
        let targets = self.targets();
        let held = targets.get(target)?;
        held.route.pools.get(&role(held.in_force, random)).map(|pool| pool.backend.clone())
    }

    /// Changes the split behind Serin's back, as a person would; false if the target is not known.
    pub fn set_by_hand(&self, target: &str, split: Split) -> bool {
        match self.targets().get_mut(target) {
            Some(held) => held.in_force = split,
            None => return false,
        }
        self.notify(target);
        true
    }

    fn put(&self, route: &Route) {
        let mut targets = self.targets();
        let held = targets.get(&route.target);
        if held.is_some_and(|held| held.route.generation > route.generation) {
            return;
        }
        let changed = held.is_none_or(|held| held.in_force != route.split);
        targets.insert(route.target.clone(), Held { route: route.clone(), in_force: route.split });
        drop(targets);
        if changed {
            self.notify(&route.target);
        }
    }

    fn notify(&self, target: &str) {
        // One permit is kept, so that a change between two waits is not lost.
        self.waker(target).notify_one();
    }

    fn waker(&self, target: &str) -> Arc<Notify> {
        let mut wakers = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(wakers.entry(target.to_owned()).or_default())
    }

    /// Nothing panics while it holds the lock, and if it did the data would still be whole.
    fn targets(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn role(split: Split, random: u64) -> Role {
    // The high half of the product: uniform over 0..10,000 without the bias of a remainder.
    let at = ((u128::from(random) * 10_000) >> 64) as u32;
    let canary = u32::from(split.canary.0);
    if at < canary {
        Role::Canary
    } else if at < canary + u32::from(split.baseline.0) {
        Role::Baseline
    } else {
        Role::Stable
    }
}

#[async_trait]
impl TrafficRouter for InProcessRouter {
    async fn load(&self, routes: &[Route]) -> Result<(), RouterError> {
        routes.iter().for_each(|route| self.put(route));
        Ok(())
    }

    async fn apply(&self, route: &Route) -> Result<(), RouterError> {
        self.put(route);
        Ok(())
    }

    async fn observe(&self, route: &Route) -> Result<ObservedSplit, RouterError> {
        let split = self.targets().get(&route.target).map(|held| held.in_force);
        Ok(ObservedSplit::of(split))
    }

    async fn authority(&self, _held: bool) {}

    async fn changed(&self, target: &str) {
        self.waker(target).notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::split::Weight;

    #[test]
    fn every_random_number_has_a_role_and_the_shares_are_exact() {
        let split = Split { stable: Weight(9_400), canary: Weight(500), baseline: Weight(100) };
        let step = u64::MAX / 10_000 + 1;
        let mut counts = BTreeMap::new();
        for at in 0..10_000u64 {
            *counts.entry(role(split, (at * step).saturating_add(step / 2))).or_insert(0) += 1;
        }
        let wanted = [(Role::Stable, 9_400), (Role::Canary, 500), (Role::Baseline, 100)];
        assert_eq!(counts, BTreeMap::from(wanted));
        assert_eq!(role(Split::STABLE, 0), Role::Stable);
        assert_eq!(role(Split::canary(Weight::FULL, false), u64::MAX), Role::Canary);
    }
}
