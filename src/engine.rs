//! Targets as actors, and the one loop that carries out what they ask. The only place that waits.
//!
//! An [`Actor`] takes messages and says what is to be stored and done; the [`Fleet`] has all of them. Both are
//! synchronous, and the same in production ([`Engine::run`]) and in the simulation. What a target holds is
//! what the store holds, with one exception: a way back is in force beside its commit, and stored when the
//! store is back (invariant 14).

mod catalogue;
mod collector;
mod committer;
mod connections;
mod deadline;
mod fleet;
mod freezes;
mod handle;
mod jobs;
mod keeping;
mod loading;
mod mailbox;
mod news;
mod outbox;
mod pools;
mod reload;
mod run;
mod show;
mod standing;
mod target;
mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use catalogue::{Catalogue, Changes, Declaration, Declared, Item, Kept, Name, Owner, Source};
pub use connections::{Adapters, Connections};
pub use fleet::{Fleet, Followed, HandOver, Inbound};
pub use freezes::Freezes;
pub use handle::{Handle, StartError, StartRequest};
pub use jobs::World;
pub use mailbox::Received;
pub use news::News;
pub use outbox::{BATCH, DEADLINE, DIGEST_NOTICES, Outbox, backoff};
pub use reload::{Configuration, Instances, LastReload, ReloadError, ReloadRequest, Reloaded, RestartNeeded};
pub use standing::Standing;
pub use target::{
    Active, Actor, Answer, ApplyError, Decision, Job, JobKind, Loaded, LookRequest, Looked, Message, Now,
    Outcome, Ticket,
};
pub use telling::Telling;

use crate::core::routing::Routing;
use crate::messages::Words;
use crate::ports::{
    Failpoints, Gatekeeper, MetricsProvider, Notifier, Retention, StoreError, TrafficRouter, Workload,
};
use committer::Committer;
use connections::Limits;
use pools::GatePools;

/// Places where the process may die, in the order in which a decision passes them.
pub const FAILPOINTS: &[&str] = &[
    "before_commit",
    "tick_committed",
    "step_committed",
    "rollback_committed",
    "end_committed",
    "other_committed",
    "gate_begun",
    "before_apply",
    "applied",
    "before_deliver",
    "delivered",
];

/// Everything that an engine works with.
pub struct Parts {
    /// The store, the clock, the policies and the targets.
    pub handle: Handle,
    /// By the name that targets use.
    pub providers: BTreeMap<String, Arc<dyn MetricsProvider>>,
    /// By the name that targets use.
    pub routers: BTreeMap<String, Arc<dyn TrafficRouter>>,
    /// What runs behind the roles.
    pub workload: Arc<dyn Workload>,
    /// Channels by name.
    pub notifiers: BTreeMap<String, Arc<dyn Notifier>>,
    /// Which channels get what; those that are not among `notifiers` are passed over.
    pub routing: Routing,
    /// Makes the texts that policies have written.
    pub words: Words,
    /// Asks gates and runs hooks.
    pub gatekeeper: Arc<dyn Gatekeeper>,
    /// Where the process may die.
    pub failpoints: Arc<dyn Failpoints>,
    /// Times and bounds.
    pub options: Options,
}

/// Times and bounds of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// At most so many calls are made at once to a source or a router.
    pub concurrency: usize,
    /// For each call to a provider, a router, a workload or a notifier.
    pub call_deadline: Duration,
    /// How often the split of a target is looked at while nothing is on its way.
    pub reconcile_interval: Duration,
    /// How often while something is.
    pub confirm_interval: Duration,
    /// The canary must be seen without requests for so long before a way back is over.
    pub drain: Duration,
    /// A snapshot of the evidence after so many ticks.
    pub snapshot_every: u64,
    /// What is kept of ended rollouts.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            concurrency: 64,
            call_deadline: Duration::from_secs(10),
            reconcile_interval: Duration::from_secs(10),
            confirm_interval: Duration::from_millis(250),
            drain: Duration::from_secs(30),
            snapshot_every: 400,
            retention: Retention {
                observations: Duration::from_secs(30 * 24 * 3600),
                rollouts: Duration::from_secs(365 * 24 * 3600),
            },
        }
    }
}

/// The engine: all targets of this process, and what they are worked on with.
pub struct Engine {
    /// The targets.
    pub fleet: Fleet,
    /// What their jobs are carried out with.
    pub world: Arc<World>,
    /// Delivers notices to channels and runs hooks.
    pub outbox: Arc<Outbox>,
    /// What the store has for the targets.
    pub news: News,
    handle: Handle,
}

impl Engine {
    /// Takes ownership of all configured targets, loads what is stored, and hands the stored splits to
    /// the routers.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be used; nothing was handed to a router then.
    pub async fn load(parts: Parts) -> Result<Engine, StoreError> {
        let handle = parts.handle.clone();
        handle.set_limits(Limits::of(&parts.options));
        handle.connect(Adapters::of(&parts));
        let outbox = Arc::new(Outbox::new(&parts));
        let store = handle.store().clone();
        let specs = handle.targets();
        let names: Vec<String> = specs.keys().cloned().collect();
        let mut news = News::default();
        // What is there is loaded; what comes from here on is new.
        news.next(store.as_ref(), Duration::ZERO).await?;
        let now = Now { wall: handle.clock().wall(), monotonic: handle.clock().monotonic() };
        let mut fleet = Fleet::new(outbox.telling(), handle.freezes(), parts.options);
        for target in store.own_targets(&names).await? {
            let Some(spec) = specs.get(&target.name).cloned() else { continue };
            let loaded = loading::load(store.as_ref(), &target.name, None, &[]).await?;
            fleet.add(spec, loaded, now);
        }
        let world = World {
            committer: Committer::new(store.clone()),
            store,
            clock: handle.clock().clone(),
            connections: handle.connections(),
            workload: parts.workload,
            gatekeeper: parts.gatekeeper,
            failpoints: parts.failpoints,
            options: parts.options,
            gates: GatePools::default(),
        };
        world.hand_over_all(&mut fleet).await;
        handle.set_loaded();
        Ok(Engine { fleet, world: Arc::new(world), outbox, news, handle })
    }

    /// What API, CLI and demo may ask of it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
