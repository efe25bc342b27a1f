//! What must hold of every target after each piece of work, whatever hangs for the others.

use serin::core::split::Role;

use crate::faults::FaultKind;
use crate::invariants::violated;
use crate::testkit::fakes::MemoryStore;
use crate::world::World;

/// A way back that a person has ordered in memory is in force after this, in milliseconds, once the target's own
/// router does what it is told. Calls and results that are late by chance are in it.
const BACK_WITHIN: i64 = 30_000;
/// Beside three intervals, a look is stored after this at the latest, in milliseconds, once the target's own source
/// and router answer, and the store does.
const LOOK_WITHIN: i64 = 100_000;

/// Looks at every target.
pub fn targets(world: &mut World, store: &MemoryStore) {
    let names: Vec<String> = world.services.keys().cloned().collect();
    for name in names {
        back(world, store, &name);
        looks(world, store, &name);
    }
}

/// A person's rollback is in force in time.
fn back(world: &mut World, store: &MemoryStore, name: &str) {
    let Some(back) = world.ledger.target(name).back.clone() else { return };
    let target = store.inspect(|data| data.targets.get(name).cloned());
    let Some(target) = target.filter(|target| target.active.as_ref() == Some(&back.rollout)) else {
        world.ledger.target(name).back = None;
        return;
    };
    let Some(service) = world.services.get(name) else { return };
    let Some(canary) = service.spec.pool(Role::Canary, target.swapped) else { return };
    let reachable = service.proxies.values().filter(|proxy| proxy.connected && !proxy.tampered);
    let weight = reachable.map(|proxy| proxy.weight(&canary.backend)).max().unwrap_or(0);
    if weight == 0 {
        world.ledger.target(name).back = None;
        return;
    }
    let since = back.since.max(world.last_fault(name, FaultKind::is_of_router));
    if world.hostile && world.now - since > BACK_WITHIN {
        world.ledger.target(name).back = None;
        let ordered = (world.now - back.since) as f64 / 1000.0;
        let what = format!("invariant 2: {name} was to go back {ordered} s ago, and the canary has {weight}");
        violated(world, what);
    }
}

/// The looks of a rollout go on.
fn looks(world: &mut World, store: &MemoryStore, name: &str) {
    let interval = store.inspect(|data| {
        let active = data.targets.get(name)?.active.as_ref()?;
        Some(data.rollouts.get(active)?.rollout.policy.analysis.interval)
    });
    let own = |kind: FaultKind| kind.is_of_source() || kind.is_of_router() || kind.is_of_store();
    let fault = world.last_fault(name, own);
    let started = world.starts.last().copied().unwrap_or_default();
    let now = world.now;
    let ledger = world.ledger.target(name);
    let Some(interval) = interval else {
        ledger.looked = now;
        return;
    };
    let since = ledger.looked.max(fault).max(started);
    if now - since > LOOK_WITHIN + 3 * interval.as_millis() as i64 {
        ledger.looked = now;
        let what = format!("the looks of {name} have stopped {} s ago", (now - since) / 1000);
        violated(world, what);
    }
}
