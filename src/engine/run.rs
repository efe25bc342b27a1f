//! The running loop: one task a target, one that looks for news in the store, one for the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::core::rollout::PhaseName;
use crate::ports::Died;
use crate::telemetry;

/// How often the store is asked for what other processes have put there.
const REFRESH: Duration = Duration::from_secs(1);
/// How often ended rollouts are pruned.
const PRUNE: Duration = Duration::from_secs(600);

impl Engine {
    /// Works until `shutdown`; then the work at hand is finished and nothing new is begun. The way of
    /// traffic stays as it is: it is stored, and the next process goes on.
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), Died> {
        self.announce();
        // Before anything moves: a freeze that was ordered before a restart holds from the first step on.
        self.parts.handle.load_freezes().await;
        let bound = Arc::new(Semaphore::new(self.parts.options.concurrency));
        let mut tasks = JoinSet::new();
        let mut pokes = BTreeMap::new();
        for name in self.slots.keys() {
            let poke = Arc::new(Notify::new());
            pokes.insert(name.clone(), poke.clone());
            let (engine, name) = (self.clone(), name.clone());
            tasks.spawn(engine.run_target(name, poke, bound.clone(), shutdown.clone()));
        }
        tasks.spawn(self.clone().run_refresh(pokes, shutdown.clone()));
        tasks.spawn(self.outbox.clone().run(shutdown.clone()));
        tasks.spawn(self.clone().run_prune(shutdown.clone()));
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(died)) => {
                    shutdown.cancel();
                    result = Err(died);
                }
                Err(error) => {
                    // A panic in one target's task must not stop the others unseen.
                    tracing::error!(%error, "a task of the engine has ended unexpectedly");
                    shutdown.cancel();
                }
            }
        }
        result
    }

    async fn run_target(
        self: Arc<Self>,
        name: String,
        poke: Arc<Notify>,
        bound: Arc<Semaphore>,
        shutdown: CancellationToken,
    ) -> Result<(), Died> {
        let Some(slot) = self.slots.get(&name).cloned() else { return Ok(()) };
        let router = {
            let mut slot = slot.lock().await;
            self.show(&mut slot);
            self.parts.routers.get(&slot.spec.router).cloned()
        };
        loop {
            let due = slot.lock().await.next_due();
            let changed = async {
                match &router {
                    Some(router) => router.changed(&name).await,
                    None => std::future::pending().await,
                }
            };
            let mut look = false;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = poke.notified() => {}
                () = changed => look = true,
                () = self.clock().sleep_until(due) => {}
            }
            let Ok(_permit) = bound.acquire().await else { return Ok(()) };
            let mut slot = slot.lock().await;
            if look {
                slot.next_observe = self.clock().monotonic();
            }
            self.step(&mut slot).await?;
            self.show(&mut slot);
        }
    }

    async fn run_refresh(
        self: Arc<Self>,
        pokes: BTreeMap<String, Arc<Notify>>,
        shutdown: CancellationToken,
    ) -> Result<(), Died> {
        loop {
            let next = self.clock().monotonic() + REFRESH;
            let woken = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = self.parts.handle.woken() => true,
                () = self.clock().sleep_until(next) => false,
            };
            self.measure_phases().await;
            for name in self.announce_scheduled().await? {
                if let Some(poke) = pokes.get(&name) {
                    poke.notify_one();
                }
            }
            self.parts.handle.load_freezes().await;
            // A slot at work is passed over by `refresh`: it is poked, and asks by itself.
            for name in self.refresh(woken).await {
                if let Some(poke) = pokes.get(&name) {
                    poke.notify_one();
                }
            }
        }
    }

    async fn measure_phases(&self) {
        let mut phases = Vec::new();
        for slot in self.slots.values() {
            let Ok(slot) = slot.try_lock() else { continue };
            phases.extend(slot.active.as_ref().map(|active| PhaseName::from(&active.rollout.phase)));
        }
        telemetry::rollouts_active(&PhaseName::count(phases));
    }

    async fn run_prune(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), Died> {
        loop {
            let next = self.clock().monotonic() + PRUNE;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = self.clock().sleep_until(next) => {}
            }
            let now = self.clock().wall();
            match self.store().prune(self.parts.options.retention, now, 100).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "ended rollouts were pruned"),
                Err(error) => tracing::warn!(%error, "nothing could be pruned"),
            }
        }
    }
}
