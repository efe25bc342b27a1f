//! The engine as it runs: a rollback waits for no source, no store and no other target.

mod at_once;
mod paused;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serin::clock::SystemClock;
use serin::core::ids::RolloutId;
use serin::core::metric::ValueObservation;
use serin::core::rollout::{CommandKind, Hold, Phase, Rollout, Stage};
use serin::core::routing::Routing;
use serin::core::split::{Role, Split};
use serin::core::target::SeenSplit;
use serin::engine::{Adapters, Engine, Handle, Options, Parts};
use serin::messages::Words;
use serin::ports::{
    Clock, Commits, CountsAnswer, CountsRequest, MetricsProvider, NoFailpoints, NoGatekeeper, Notifier,
    TrafficRouter, ValueRequest,
};
use serin::routers::StaticPools;
use serin::routers::in_process::InProcessRouter;
use tokio_util::sync::CancellationToken;

use crate::testkit::builders::{command, percent, policy, rollout, target, target_spec};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::wait::until;

/// Generous: what is shown is that it does not wait for what never comes.
const SOON: Duration = Duration::from_secs(20);

/// Accepts every question and never answers.
#[derive(Default)]
struct Hanging {
    asked: AtomicU64,
}

#[async_trait]
impl MetricsProvider for Hanging {
    async fn counts(&self, _requests: &[CountsRequest]) -> Vec<CountsAnswer> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn values(&self, _requests: &[ValueRequest]) -> Vec<ValueObservation> {
        std::future::pending().await
    }
}

struct House {
    handle: Handle,
    router: Arc<InProcessRouter>,
    store: MemoryStore,
    source: Arc<Hanging>,
    stop: CancellationToken,
}

fn name(number: usize) -> String {
    format!("shop-{number:03}")
}

fn id(number: usize) -> RolloutId {
    RolloutId(format!("r{number:03}"))
}

/// So many targets on a source that hangs, each with a canary at 50%.
async fn house(targets: usize) -> House {
    house_with(targets, |_| {}, BTreeMap::new()).await
}

/// The same with something changed in the rollouts, and channels.
async fn house_with(
    targets: usize,
    change: impl Fn(&mut Rollout),
    notifiers: BTreeMap<String, Arc<dyn Notifier>>,
) -> House {
    let (store, clock) = (MemoryStore::new(), Arc::new(SystemClock::new()));
    let now = clock.wall();
    let mut specs = BTreeMap::new();
    store.change(|data| {
        for number in 0..targets {
            let mut at = target(&name(number));
            let mut rollout =
                rollout(&id(number).0, &name(number), policy().interval(Duration::from_secs(1)).build());
            rollout.plan_mut().created_at = now;
            rollout.phase = Phase::Progressing { step: 0, stage: Stage::Analysing { since: now } };
            change(&mut rollout);
            at.active = Some(rollout.id.clone());
            at.want(Split::canary(percent(50.0), false));
            at.seen = Some(SeenSplit { split: at.wanted, generation: at.generation, at: now });
            data.put(rollout);
            data.targets.insert(at.name.clone(), at);
            specs.insert(name(number), target_spec(&name(number)));
        }
    });
    let (router, source) = (InProcessRouter::new(), Arc::new(Hanging::default()));
    let handle = Handle::new(Arc::new(store.clone()), clock, BTreeMap::new(), specs);
    let parts = Parts {
        handle: handle.clone(),
        providers: BTreeMap::from([("provider".to_owned(), source.clone() as _)]),
        routers: BTreeMap::from([("router".to_owned(), router.clone() as Arc<dyn TrafficRouter>)]),
        workload: Arc::new(StaticPools),
        routing: Routing::everything(notifiers.keys().cloned()),
        notifiers,
        words: Words::default(),
        gatekeeper: Arc::new(NoGatekeeper),
        failpoints: Arc::new(NoFailpoints),
        options: Options { concurrency: 16, ..Options::default() },
    };
    let engine = Engine::load(parts).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(engine.run(stop.clone()));
    let house = House { handle, router, store, source, stop };
    for number in 0..targets {
        assert!(house.has_canary(number), "{number} begins with a canary");
    }
    let hangs = async || (house.source.asked.load(Ordering::SeqCst) > 0).then_some(());
    until("a source that hangs", SOON, hangs).await;
    house
}

impl House {
    fn has_canary(&self, number: usize) -> bool {
        (0..100).any(|part| self.router.pick(&name(number), u64::MAX / 100 * part) == Role::Canary)
    }

    /// How long a command takes until the canary gets no request any more.
    async fn roll_back(&self, number: usize) -> Duration {
        let (handle, begun) = (self.handle.clone(), tokio::time::Instant::now());
        let entry = command(&format!("back-{number}"), CommandKind::Rollback);
        tokio::spawn(async move { handle.command(&id(number), entry).await });
        let gone = async || (!self.has_canary(number)).then_some(());
        until("the canary to get nothing", SOON, gone).await;
        begun.elapsed()
    }
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: {} rollbacks, p50 {:?}, p99 {:?}, max {:?}", times.len(), at(0.5), at(0.99), at(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_waits_for_no_source_and_no_other_target() {
    for targets in [1, 300] {
        let house = house(targets).await;
        let mut times = Vec::new();
        for number in 0..targets {
            times.push(house.roll_back(number).await);
        }
        told(&format!("{targets} targets on a source that hangs"), times);
        let stored = async || {
            let done = house.store.inspect(|data| {
                let rollouts = data.rollouts.values();
                rollouts.filter(|data| !matches!(data.rollout.phase, Phase::Progressing { .. })).count()
            });
            (done == targets).then_some(())
        };
        until("every rollback to be stored", SOON, stored).await;
        house.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_waits_for_no_store_and_is_stored_when_it_is_back() {
    let house = house(20).await;
    house.store.set_stuck(true);
    let mut times = Vec::new();
    for number in 0..20 {
        times.push(house.roll_back(number).await);
    }
    told("20 targets, and a store that hangs", times);
    let phase = |number: usize| house.store.inspect(|data| data.rollouts[&id(number)].rollout.phase.clone());
    assert!(
        (0..20).all(|number| matches!(phase(number), Phase::Progressing { .. })),
        "nothing is stored yet"
    );
    house.store.set_stuck(false);
    let stored = async || {
        let is_back = |number| !matches!(phase(number), Phase::Progressing { .. });
        (0..20).all(is_back).then_some(())
    };
    until("every rollback to be stored", Duration::from_secs(120), stored).await;
    house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_taken_while_a_source_hangs() {
    let house = house(2).await;
    house.handle.command(&id(0), command("stay", CommandKind::Pause)).await.unwrap();
    let held = async || {
        let holds = house.store.inspect(|data| data.rollouts[&id(0)].rollout.holds.clone());
        holds.contains(&Hold::User).then_some(())
    };
    until("the pause", SOON, held).await;
    let answer = house.store.command("stay").await.unwrap();
    assert_eq!(answer.result, Some(Ok(())));
    assert!(house.has_canary(0), "a pause changes no weight");
    house.stop.cancel();
}

/// Calls for many targets that a source gets at a time.
const SHARED: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_at_an_old_address_is_not_waited_for() {
    let house = house(20).await;
    let full = async || (house.source.asked.load(Ordering::SeqCst) >= SHARED).then_some(());
    until("all places of the source to be taken", SOON, full).await;
    let before = house.source.asked.load(Ordering::SeqCst);
    let corrected = Arc::new(Hanging::default());
    house.handle.connect(Adapters {
        providers: BTreeMap::from([("provider".to_owned(), corrected.clone() as _)]),
        routers: BTreeMap::from([("router".to_owned(), house.router.clone() as _)]),
        ..Adapters::default()
    });
    // The deadline of what hangs is 20 s: those that come sooner have not waited for it.
    let begun = tokio::time::Instant::now();
    let asked = async || (corrected.asked.load(Ordering::SeqCst) >= SHARED).then_some(());
    until("the corrected source to be asked", SOON, asked).await;
    println!("all places of the corrected source are taken after {:?}", begun.elapsed());
    assert_eq!(house.source.asked.load(Ordering::SeqCst), before, "the old one is asked no more");
    // Those that hang there now hold up nobody who is taken to another router's place.
    house.roll_back(19).await;
    house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_connected_later_gets_the_splits_of_its_targets() {
    let house = house(3).await;
    let other = InProcessRouter::new();
    let connect = |routers: BTreeMap<String, Arc<dyn TrafficRouter>>| {
        let providers = BTreeMap::from([("provider".to_owned(), house.source.clone() as _)]);
        house.handle.connect(Adapters { providers, routers, ..Adapters::default() });
    };
    // Another one under the same name: every target is set up there.
    connect(BTreeMap::from([("router".to_owned(), other.clone() as _)]));
    for number in 0..3 {
        let there = async || {
            let any = (0..100).any(|part| other.pick(&name(number), u64::MAX / 100 * part) == Role::Canary);
            any.then_some(())
        };
        until("the canary at the new router", SOON, there).await;
    }
    house.stop.cancel();
}
