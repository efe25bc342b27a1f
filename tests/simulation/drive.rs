//! The only file that knows the engine: one process over the store and the world that outlive it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serin::core::rollout::Rollout;
use serin::core::routing::Routing;
use serin::core::target::TargetSpec;
use serin::engine::{Engine, Handle, Options, Parts};
use serin::messages::Words;
use serin::ports::{Clock, MetricsProvider, NoGatekeeper, Notifier, Store, TrafficRouter};

use crate::fakes::{FakeNotifier, FakeWorkload};
use crate::life::{Life, VirtualClock};
use crate::provider::FakeProvider;
use crate::router::{FakeRouter, RouterKind};
use crate::store::WatchedStore;
use crate::testkit::fakes::MemoryStore;
use crate::world::Shared;

/// The channels that get every notice.
pub const CHANNELS: [&str; 2] = ["log", "hook"];

/// A process that runs.
pub struct Process {
    engine: Engine,
    pub life: Life,
}

/// What became of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    Done,
    /// The process is dead and has to be dropped.
    Died,
}

/// What people see as a rollout's revision.
pub fn revision_for_people(rollout: &Rollout) -> u64 {
    rollout.event_seq
}

impl Process {
    /// Starts a process; `None` if it died on the way, or the store could not be used.
    pub async fn start(
        world: &Shared,
        store: &MemoryStore,
        kind: RouterKind,
        targets: &BTreeMap<String, TargetSpec>,
        life: Life,
    ) -> Option<Process> {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock { world: world.clone() });
        let watched: Arc<dyn Store> =
            Arc::new(WatchedStore { world: world.clone(), life: life.clone(), inner: store.clone() });
        let provider: Arc<dyn MetricsProvider> =
            Arc::new(FakeProvider { world: world.clone(), life: life.clone() });
        let router: Arc<dyn TrafficRouter> =
            Arc::new(FakeRouter { world: world.clone(), life: life.clone(), kind });
        let notifier = |channel: &str| -> (String, Arc<dyn Notifier>) {
            let (world, life) = (world.clone(), life.clone());
            (channel.to_owned(), Arc::new(FakeNotifier { world, life, channel: channel.to_owned() }))
        };
        let parts = Parts {
            handle: Handle::new(watched, clock, BTreeMap::new(), targets.clone()),
            providers: BTreeMap::from([("provider".to_owned(), provider)]),
            routers: BTreeMap::from([("router".to_owned(), router)]),
            workload: Arc::new(FakeWorkload { world: world.clone(), life: life.clone() }),
            notifiers: CHANNELS.map(notifier).into(),
            routing: Routing::everything(CHANNELS.map(str::to_owned)),
            words: Words::default(),
            gatekeeper: Arc::new(NoGatekeeper),
            failpoints: Arc::new(life.clone()),
            options: Options {
                confirm_interval: Duration::from_secs(1),
                drain: Duration::from_secs(10),
                snapshot_every: 7,
                ..Options::default()
            },
        };
        let engine = life.run(Engine::load(parts)).await?.ok()?;
        Some(Process { engine, life })
    }

    /// All work that is due.
    pub async fn work(&self) -> Worked {
        let work = async {
            self.engine.run_due().await?;
            for _ in 0..5 {
                if !self.engine.dispatch_outbox().await? {
                    break;
                }
            }
            Ok::<_, serin::ports::Died>(())
        };
        match self.life.run(work).await {
            Some(Ok(())) => Worked::Done,
            Some(Err(_)) | None => Worked::Died,
        }
    }

    /// When there is work again, by the monotonic clock.
    pub async fn next_due(&self) -> Option<Duration> {
        self.engine.next_due().await
    }
}
