//! The loop: collect → transition → commit → perform. The only place that waits.
//!
//! Every target has a slot, worked on by one task at a time. What a slot holds is what the store holds,
//! with one exception: a way back that could not be stored is carried out all the same and stored when
//! the store is back (invariant 14).

mod catalogue;
mod collect;
mod commit;
mod gates;
mod handle;
mod keeping;
mod outbox;
mod reload;
mod run;
mod show;
mod slot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

pub use catalogue::{Catalogue, Changes, Declaration, Declared, Fault, Item, Kept, Name, Owner, Source};
pub use handle::{Handle, StartError, StartRequest};
pub use outbox::{BATCH, DEADLINE, DIGEST_NOTICES, Outbox, backoff};
pub use reload::{Configuration, Instances, LastReload, ReloadError, ReloadRequest, Reloaded, RestartNeeded};

use crate::core::routing::Routing;
use crate::core::target::TargetSpec;
use crate::messages::Words;
use crate::ports::{
    Clock, Died, Failpoints, Gatekeeper, MetricsProvider, Notifier, Retention, Store, StoreError,
    TrafficRouter, Workload,
};
use slot::Slot;

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
    /// At most so many targets are worked on at once.
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
            snapshot_every: 20,
            retention: Retention {
                observations: Duration::from_secs(30 * 24 * 3600),
                rollouts: Duration::from_secs(365 * 24 * 3600),
            },
        }
    }
}

/// The engine.
pub struct Engine {
    parts: Parts,
    slots: BTreeMap<String, Arc<Mutex<Slot>>>,
    outbox: Arc<Outbox>,
}

impl Engine {
    /// Takes ownership of all configured targets, loads what is stored, and hands the stored splits to
    /// the routers.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be used; nothing was handed to a router then.
    pub async fn load(parts: Parts) -> Result<Engine, StoreError> {
        let handle = parts.handle.clone();
        let names: Vec<String> = handle.targets().keys().cloned().collect();
        let targets = handle.store().own_targets(&names).await?;
        let outbox = Arc::new(Outbox::new(&parts));
        let mut engine = Engine { parts, slots: BTreeMap::new(), outbox };
        for mut target in targets {
            let Some(spec) = handle.targets().get(&target.name).cloned() else { continue };
            target.has_baseline = spec.baseline.is_some();
            target.drain = engine.parts.options.drain;
            if target.stable_version.is_none() {
                target.stable_version.clone_from(&spec.stable_version);
            }
            let name = target.name.clone();
            let active = engine.load_active(&target).await?;
            let slot = Slot::new(TargetSpec::clone(&spec), target, active, handle.clock().monotonic());
            engine.slots.insert(name, Arc::new(Mutex::new(slot)));
        }
        engine.hand_over().await;
        handle.set_loaded();
        Ok(engine)
    }

    /// Every router gets the stored splits of its targets before anything else.
    async fn hand_over(&self) {
        for (name, router) in &self.parts.routers {
            let mut routes = Vec::new();
            for slot in self.slots.values() {
                let slot = slot.lock().await;
                if slot.spec.router == *name {
                    routes.push(slot.route());
                }
            }
            if let Err(error) = router.load(&routes).await {
                tracing::error!(router = %name, %error, "the router did not take the stored splits");
            }
        }
    }

    /// Works on every target that is due, one after the other, and on what was asked for. The loop of
    /// [`Engine::run`] does the same side by side; tests call this.
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so: the engine must be dropped.
    pub async fn run_due(&self) -> Result<(), Died> {
        self.refresh(true).await;
        self.announce_scheduled().await?;
        for slot in self.slots.values() {
            self.step(&mut *slot.lock().await).await?;
        }
        Ok(())
    }

    /// Delivers what is due ([`Outbox::dispatch`]).
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so.
    pub async fn dispatch_outbox(&self) -> Result<bool, Died> {
        self.outbox.dispatch().await
    }

    /// When the next target is due, by the monotonic clock.
    pub async fn next_due(&self) -> Option<Duration> {
        let mut next = None;
        for slot in self.slots.values() {
            let due = slot.lock().await.next_due();
            next = Some(next.map_or(due, |next: Duration| next.min(due)));
        }
        next
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.parts.handle.store()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.parts.handle.clock()
    }

    fn pass(&self, name: &'static str) -> Result<(), Died> {
        self.parts.failpoints.pass(name)
    }
}
