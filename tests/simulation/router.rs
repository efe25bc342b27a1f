//! Routers over the true world. `External` keeps its weights by itself, as HAProxy does: people can change
//! them. `Serving` is a part of Serin's process that proxies read their weights from, as Envoys do.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serin::core::pools::{NodeRecord, ObservedSplit};
use serin::core::spec::Pool;
use serin::core::split::{Role, Split, Weight};
use serin::ports::{Route, RouterError, TrafficRouter};

use crate::faults::FaultKind;
use crate::invariants;
use crate::life::Life;
use crate::world::{Proxy, Service, Shared, World, weights};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterKind {
    External,
    Serving,
}

pub struct FakeRouter {
    pub world: Shared,
    pub life: Life,
    pub kind: RouterKind,
}

#[async_trait]
impl TrafficRouter for FakeRouter {
    async fn load(&self, routes: &[Route]) -> Result<(), RouterError> {
        self.life.step("router.load").await;
        self.world.take_time().await;
        let mut world = self.world.lock();
        let mut held = std::mem::take(&mut world.served);
        let how = if held.is_empty() { "load" } else { "hand over" };
        for route in routes {
            let is_newer = |(generation, _): &(u64, _)| *generation > route.generation;
            let kept = held.remove(&route.target).filter(is_newer);
            let served = kept.unwrap_or_else(|| {
                invariants::handed_to_router(&mut world, route, how);
                (route.generation, weights(&route.pools, &route.split))
            });
            world.served.insert(route.target.clone(), served);
        }
        if self.kind == RouterKind::Serving {
            world.serving = true;
            world.settle_proxies();
        }
        Ok(())
    }

    async fn apply(&self, route: &Route) -> Result<(), RouterError> {
        self.life.step("router.apply before").await;
        invariants::asked_of_router(&mut self.world.lock(), route);
        let target = route.target.as_str();
        self.world.take_time().await;
        self.world.sit_out(FaultKind::RouterSilent, target, None).await;
        let result = {
            let mut world = self.world.lock();
            match refusal(&world, target) {
                Some(error) => Err(error),
                None => {
                    self.take(&mut world, route);
                    Ok(())
                }
            }
        };
        self.world.take_time().await;
        self.world.sit_out(FaultKind::RouterHangs, target, None).await;
        self.life.step("router.apply after").await;
        result
    }

    async fn observe(&self, route: &Route) -> Result<ObservedSplit, RouterError> {
        self.life.step("router.observe").await;
        self.world.take_time().await;
        for kind in [FaultKind::RouterSilent, FaultKind::RouterHangs] {
            self.world.sit_out(kind, &route.target, None).await;
        }
        let mut world = self.world.lock();
        if let Some(error) =
            refusal(&world, &route.target).filter(|error| !matches!(error, RouterError::Refused(_)))
        {
            return Err(error);
        }
        let now = world.now;
        let Some(service) = world.services.get_mut(&route.target) else {
            return Err(RouterError::Refused(format!("{} is not known", route.target)));
        };
        let mut changed = false;
        for proxy in service.proxies.values_mut() {
            changed |= look(proxy);
        }
        if changed {
            service.changes.push(now);
        }
        let observed = match self.kind {
            RouterKind::External => {
                let proxy = service.proxies.values().next();
                let split = proxy.and_then(|proxy| split_of(proxy, &route.pools));
                ObservedSplit::of(split)
            }
            RouterKind::Serving => served_split(service, route),
        };
        if observed.split != Some(route.split) {
            let found = observed.split.map_or("nothing certain".to_owned(), |split| split.to_string());
            world.tell(format!("seen of {}: {found}", route.target));
        }
        invariants::reported_by_router(&mut world, route, &observed);
        Ok(observed)
    }

    async fn authority(&self, held: bool) {
        let mut world = self.world.lock();
        if self.kind == RouterKind::Serving {
            world.serving = held;
            world.settle_proxies();
        }
    }
}

fn refusal(world: &World, target: &str) -> Option<RouterError> {
    world.fault(target, |kind| match kind {
        FaultKind::RouterUnreachable => Some(RouterError::Unreachable("connection refused".to_owned())),
        FaultKind::RouterRefuses => Some(RouterError::Refused("not now".to_owned())),
        _ => None,
    })
}

impl FakeRouter {
    /// Takes what it is told, unless it knows of something newer.
    fn take(&self, world: &mut World, route: &Route) {
        invariants::handed_to_router(world, route, "apply");
        let wanted = weights(&route.pools, &route.split);
        let delay = world.fault(&route.target, |kind| match kind {
            FaultKind::RouterDelays(looks) => Some(looks),
            _ => None,
        });
        if world.served.get(&route.target).is_some_and(|(generation, _)| *generation > route.generation) {
            return;
        }
        world.served.insert(route.target.clone(), (route.generation, wanted.clone()));
        let (now, generation) = (world.now, route.generation);
        let broken = world.ledger.store_known_broken;
        let Some(service) = world.services.get_mut(&route.target) else { return };
        let before = service.share(&route.pools[&Role::Canary].backend);
        let tampered = service.proxies.values().any(|proxy| proxy.tampered);
        for proxy in service.proxies.values_mut().filter(|proxy| proxy.connected) {
            match delay {
                _ if proxy.in_force == wanted => proxy.come_into_force(generation, wanted.clone()),
                Some(looks) => {
                    let again = proxy.pending.as_ref().is_some_and(|(_, known, _)| *known == generation);
                    if !again {
                        proxy.pending = Some((looks, generation, wanted.clone()));
                    }
                }
                None => proxy.come_into_force(generation, wanted.clone()),
            }
        }
        // What is set right without a store cannot be remembered: that window is let pass.
        if service.share(&route.pools[&Role::Canary].backend) != before && !(tampered && broken) {
            service.changes.push(now);
        }
    }
}

/// One more look at a proxy that is slow. True if its split has come into force now.
fn look(proxy: &mut Proxy) -> bool {
    match proxy.pending.take() {
        Some((0, generation, weights)) => {
            proxy.come_into_force(generation, weights);
            true
        }
        Some((looks, generation, weights)) => {
            proxy.pending = Some((looks - 1, generation, weights));
            false
        }
        None => false,
    }
}

/// A proxy's weights in the words of the target's roles.
fn split_of(proxy: &Proxy, pools: &BTreeMap<Role, Pool>) -> Option<Split> {
    let weight =
        |role: Role| pools.get(&role).map_or(Weight::ZERO, |pool| Weight(proxy.weight(&pool.backend)));
    let split = Split {
        stable: weight(Role::Stable),
        canary: weight(Role::Canary),
        baseline: weight(Role::Baseline),
    };
    (split.stable.0 + split.canary.0 + split.baseline.0 == 10_000).then_some(split)
}

/// What all connected proxies agree upon; those that were there once are remembered.
fn served_split(service: &Service, route: &Route) -> ObservedSplit {
    let mut nodes = route.nodes.clone();
    let mut splits = Vec::new();
    for (id, proxy) in &service.proxies {
        if proxy.connected {
            splits.push(split_of(proxy, &route.pools));
        }
        if let Some(node) = nodes.get_mut(id).filter(|_| !proxy.connected) {
            node.connected = false;
        } else if proxy.connected {
            nodes.insert(
                id.clone(),
                NodeRecord {
                    generation: proxy.generation,
                    last_seen: proxy.last_seen,
                    connected: true,
                    refused: proxy.refused.clone(),
                },
            );
        }
    }
    let agreed = splits.first().copied().flatten().filter(|first| splits.iter().all(|s| *s == Some(*first)));
    ObservedSplit { nodes, ..ObservedSplit::of(agreed) }
}
