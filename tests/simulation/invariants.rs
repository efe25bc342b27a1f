//! What must hold whatever happens: the invariants of ARCHITECTURE.md, checked at every commit, at every
//! word to a router or a receiver, and at the end of a run. Commits are checked in `commits`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serin::core::arms::ArmSelector;
use serin::core::ids::RolloutId;
use serin::core::judge::JudgeState;
use serin::core::notice::Notice;
use serin::core::pools::ObservedSplit;
use serin::core::rollout::Rollout;
use serin::core::routing::PAGE;
use serin::core::spec::TargetSpec;
use serin::core::split::{Role, Split};
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{InboxEntry, Route};

pub use crate::commits::committed;
use crate::testkit::fakes::MemoryStore;
use crate::world::{World, default_weights, weights};

/// What a commit is about to change.
#[derive(Debug, Default)]
pub struct Before {
    pub target: Option<Target>,
    pub rollout: Option<Rollout>,
    /// The inbox entries of the commit's commands.
    pub commands: Vec<InboxEntry>,
    /// The targets that the commit's commands are for.
    pub commanded: Vec<String>,
    /// The target of the rollout that has the target by the commit.
    pub active_of: Option<String>,
    /// The target's rollouts that are not at an end, with their phases.
    pub open: Vec<(RolloutId, &'static str)>,
}

/// What the checks remember.
#[derive(Default)]
pub struct Ledger {
    /// What was found wrong.
    pub violations: Vec<String>,
    /// The store's last answer to Serin was that it cannot be used.
    pub store_known_broken: bool,
    pub targets: BTreeMap<String, TargetLedger>,
    pub rollouts: BTreeMap<RolloutId, RolloutLedger>,
    /// Every notice that was committed, by channel, in order.
    pub outbox: BTreeMap<String, Vec<Notice>>,
    /// How many of a channel's notices were delivered at least once.
    pub delivered: BTreeMap<String, usize>,
    /// Deliveries, by channel and key.
    pub deliveries: BTreeMap<(String, String), u64>,
    /// Commands that were taken.
    pub taken: BTreeSet<String>,
}

#[derive(Default)]
pub struct TargetLedger {
    /// The mark of the declaration that the target's rollout began with, while one has it.
    pub began: Option<String>,
    /// A person has taken the canary back, and it is not at 0 yet.
    pub back: Option<Back>,
    /// When a look was last stored, or need not have been.
    pub looked: i64,
    /// By generation, in the pools' names.
    pub committed: BTreeMap<u64, BTreeMap<String, u16>>,
    /// The newest generation that a router was given and the store has.
    pub handed: u64,
    /// Since when a way back is in force that the store does not have yet.
    pub ahead_since: Option<i64>,
    /// The canary was lowered by hand, and Serin has not heard of it yet.
    pub lowered_unheard: bool,
    /// Serin has heard that the canary is as low as this, and no person has spoken since.
    pub lowered: Option<u16>,
    /// When it heard of that.
    pub lowered_at: i64,
}

/// A way back that a person has ordered, in memory.
#[derive(Clone, Debug)]
pub struct Back {
    pub since: i64,
    pub rollout: RolloutId,
}

pub struct RolloutLedger {
    /// The observations of the commits, judged again.
    pub judge: JudgeState,
    /// The end of the last consumed window, by metric; and of the last one with counts, by arm.
    pub windows: BTreeMap<String, (Timestamp, [Option<Timestamp>; 2])>,
    /// Used windows of the step, or windows with counts of the bake.
    pub analysed: Duration,
    /// When the step or the bake began, in true milliseconds.
    pub since: i64,
    /// The step that a recorded decision, or a person, has opened.
    pub opened: usize,
}

impl Ledger {
    pub fn target(&mut self, name: &str) -> &mut TargetLedger {
        self.targets.entry(name.to_owned()).or_default()
    }
}

/// Notes a violation.
pub fn violated(world: &mut World, what: impl Into<String>) {
    let what = what.into();
    world.tell(format!("VIOLATED: {what}"));
    world.ledger.violations.push(what);
}

/// A target's wanted split in the pools' own names.
pub fn wanted_weights(world: &World, target: &Target, split: &Split) -> BTreeMap<String, u16> {
    let Some(service) = world.services.get(&target.name) else { return BTreeMap::new() };
    let role = |role: Role| Some((role, service.spec.pool(role, target.swapped)?.clone()));
    let pools = [Role::Stable, Role::Canary, Role::Baseline].into_iter().filter_map(role).collect();
    weights(&pools, split)
}

/// The label of a target's series that says which declaration they are looked for by.
pub const MARK: &str = "mark";

/// Serin asks the source for an arm: as the rollout that has the target began.
pub fn asked_of_source(world: &mut World, arm: &ArmSelector) {
    let name = arm.labels.get("service").cloned().unwrap_or_default();
    let mark = arm.labels.get(MARK).cloned().unwrap_or_default();
    let began = world.ledger.target(&name).began.clone();
    if began.as_ref().is_some_and(|began| *began != mark) {
        violated(world, format!("{name} is judged by the labels of {mark:?}, and began with {began:?}"));
    }
}

/// Serin decides to give a router a split: without a store nothing rises.
pub fn asked_of_router(world: &mut World, route: &Route) {
    if world.ledger.store_known_broken && raises(world, route) {
        let what = format!("{} as generation {} to {}", route.split, route.generation, route.target);
        violated(world, format!("invariant 14: {what} raises the canary without a working store"));
    }
}

/// Whether a split is more for the canary than any proxy gives it now. A proxy that is cut off stays behind:
/// giving the others again what they have raises nothing.
fn raises(world: &World, route: &Route) -> bool {
    let canary = &route.pools[&Role::Canary].backend;
    let weight = weights(&route.pools, &route.split).get(canary).copied().unwrap_or(0);
    let service = world.services.get(&route.target);
    let there = service.and_then(|service| service.proxies.values().map(|proxy| proxy.weight(canary)).max());
    weight > there.unwrap_or(0)
}

/// Serin gives a router a split: it must be what is stored, never older than before; without a store
/// nothing rises; and what a person has lowered stays there.
pub fn handed_to_router(world: &mut World, route: &Route, how: &str) {
    let name = route.target.as_str();
    let given = weights(&route.pools, &route.split);
    let canary = route.pools[&Role::Canary].backend.clone();
    let Some(service) = world.services.get(name) else {
        return violated(world, format!("{how}: the target {name} is unknown"));
    };
    let spec = service.spec.clone();
    // Loading tells a router that keeps its weights by itself, and moves nothing there.
    let is_first = how == "load";
    let moves = how == "apply" || !service.external;
    let is_raise = raises(world, route);
    let is_replaced = world.is_replaced;
    let world_is_rough = world.rough;
    let broken = world.ledger.store_known_broken && is_first;
    let now = world.now;
    let ledger = world.ledger.target(name);
    ledger.committed.entry(1).or_insert_with(|| default_weights(&spec));
    let newest = ledger.committed.last_key_value().map_or(0, |(generation, _)| *generation);
    let (handed, lowered) = (ledger.handed, ledger.lowered);
    // What was on its way to the router when it was heard is no answer to it; it is driven again and again.
    let is_fresh = world_is_rough && now < ledger.lowered_at + 10_000;
    let stored = ledger.committed.get(&route.generation) == Some(&given);
    let weight = given.get(&canary).copied().unwrap_or(0);
    let what = format!("{how} of {} as generation {} to {name}", route.split, route.generation);
    if !stored && how == "apply" {
        ledger.ahead_since.get_or_insert(now);
    }
    if stored {
        ledger.handed = handed.max(route.generation);
        ledger.lowered_unheard = false;
    }
    // A way back runs ahead of its commit (invariant 2), and of a store that is broken (invariant 14).
    let lowers = !is_raise;
    let is_ahead = route.generation == newest + 1 || (weight == 0 && route.generation > newest);
    // A process that has been replaced, and cannot know it yet, may still go back.
    let is_ahead = is_ahead || (is_replaced && weight == 0);
    if !stored && (!lowers || !is_ahead) {
        violated(world, format!("invariant 4: {what}, which was never stored"));
    }
    if !stored && is_first {
        violated(world, format!("invariant 4: {what}, which is not what is stored"));
    }
    if stored && route.generation < handed && !(is_replaced && weight == 0) {
        violated(world, format!("weights are state: {what}, after generation {handed}"));
    }
    if moves && broken && !lowers {
        violated(world, format!("invariant 14: {what} raises the canary without a working store"));
    }
    // What was adopted while the store was away is lost if the process dies before it is back: the next
    // one knows only what is stored.
    if moves && !is_first && !is_fresh && lowered.is_some_and(|lowered| weight > lowered) {
        violated(world, format!("invariant 13: {what} raises what a person had lowered"));
    }
    world.tell(what);
}

/// A router has told Serin what is in force.
pub fn reported_by_router(world: &mut World, route: &Route, observed: &ObservedSplit) {
    let Some(split) = observed.split else { return };
    let now = world.now;
    let canary = &route.pools[&Role::Canary].backend;
    let ledger = world.ledger.target(&route.target);
    let wanted = ledger.committed.last_key_value().and_then(|(_, weights)| weights.get(canary));
    if ledger.lowered_unheard && wanted.is_some_and(|wanted| split.canary.0 < *wanted) {
        ledger.lowered_unheard = false;
        ledger.lowered = Some(split.canary.0);
        ledger.lowered_at = now;
    }
}

/// A receiver gets a notice: one that was stored, in the order of its channel.
pub fn delivered(world: &mut World, channel: &str, notice: &Notice) {
    // What is about incidents has a queue of its own.
    let queue = match &notice.incident {
        Some(_) => format!("{channel}{PAGE}"),
        None => channel.to_owned(),
    };
    let channel = queue.as_str();
    let key = (channel.to_owned(), notice.key.clone());
    *world.ledger.deliveries.entry(key).or_default() += 1;
    let stored = world.ledger.outbox.get(channel).map(Vec::as_slice).unwrap_or_default();
    let Some(place) = stored.iter().position(|known| known == notice) else {
        return violated(world, format!("outbox: {} was delivered and never stored", notice.key));
    };
    let next = world.ledger.delivered.entry(channel.to_owned()).or_default();
    match place.cmp(next) {
        std::cmp::Ordering::Less => {}
        std::cmp::Ordering::Equal => *next += 1,
        std::cmp::Ordering::Greater => {
            let expected = stored[*next].key.clone();
            violated(world, format!("outbox: {} was delivered before {expected}", notice.key));
        }
    }
}

/// After all faults have ended, and enough time has passed: everything is at rest where it should be.
pub fn at_end(world: &mut World, store: &MemoryStore, file: &BTreeMap<String, TargetSpec>) {
    let data = store.data();
    for (name, target) in &data.targets {
        if let Some(active) = &target.active {
            let phase = data.rollouts.get(active).map_or("unknown", |data| data.rollout.phase.name());
            let holds = data.rollouts.get(active).map(|data| data.rollout.holds.clone()).unwrap_or_default();
            violated(
                world,
                format!("{name} is still taken by {active}, which is {phase}, held by {holds:?}"),
            );
        }
        let wanted = wanted_weights(world, target, &target.wanted);
        if target.wanted != Split::STABLE {
            violated(world, format!("invariant 8: {name} rests at {}", target.wanted));
        }
        // Before the first rollout that moves traffic, a target is not Serin's, nor when it is not declared any more.
        let is_ours = target.generation > 1 && file.contains_key(name);
        let Some(service) = world.services.get(name).filter(|_| is_ours) else { continue };
        let wrong: Vec<String> = service
            .proxies
            .iter()
            .filter(|(_, proxy)| proxy.in_force != wanted)
            .map(|(id, proxy)| format!("{id} has {:?} instead of {wanted:?}", proxy.in_force))
            .collect();
        for wrong in wrong {
            violated(world, format!("invariant 8: {wrong}"));
        }
    }
    for (id, rollout) in &data.rollouts {
        if !rollout.rollout.phase.is_terminal() {
            violated(world, format!("{id} never came to an end: {}", rollout.rollout.phase.name()));
        }
        let numbers: Vec<u64> = rollout.events.keys().copied().collect();
        if numbers != (1..=rollout.rollout.event_seq).collect::<Vec<_>>() {
            violated(world, format!("the log of {id} has gaps: {numbers:?}"));
        }
        let ticks: Vec<u64> = rollout.observations.keys().copied().collect();
        if ticks != (1..=rollout.rollout.tick_seq).collect::<Vec<_>>() {
            violated(world, format!("the observations of {id} have gaps: {ticks:?}"));
        }
    }
    let is_open = |entry: &&InboxEntry| {
        let rollout = data.rollouts.get(&entry.rollout);
        // Nobody is there for what comes after its target has gone.
        let is_gone = rollout.is_some_and(|data| !file.contains_key(&data.rollout.target));
        entry.result.is_none() && !is_gone
    };
    for entry in data.inbox.values().filter(is_open) {
        let kind = entry.command.kind.name();
        violated(world, format!("{kind} ({}) for {} was never answered", entry.command.key, entry.rollout));
    }
    let outbox = std::mem::take(&mut world.ledger.outbox);
    for (channel, notices) in &outbox {
        let done = world.ledger.delivered.get(channel).copied().unwrap_or(0);
        for notice in &notices[done..] {
            violated(world, format!("outbox: {channel} never got {}", notice.key));
        }
        let keys: BTreeSet<&str> = notices.iter().map(|notice| notice.key.as_str()).collect();
        if keys.len() < notices.len() {
            violated(world, format!("outbox: {channel} has two notices of one key"));
        }
    }
    world.ledger.outbox = outbox;
}
