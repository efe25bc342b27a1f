//! The running loop: one loop for all targets, a task for each job, one that looks for news in the store, one
//! for the outbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::fleet::{Fleet, Inbound};
use super::jobs::World;
use super::show::Shown;
use super::target::{Decision, Job, JobKind, Message, Now, Ticket};
use crate::engine::Handle;
use crate::ports::{Died, TrafficRouter};
use crate::telemetry;

/// How often the store is asked for what other processes have put there.
const REFRESH: Duration = Duration::from_secs(1);
/// How often ended rollouts are pruned.
const PRUNE: Duration = Duration::from_secs(600);

impl Engine {
    /// Works until `shutdown`; then what is being stored is stored, and nothing new is begun. The way of
    /// traffic stays as it is: it is stored, and the next process goes on.
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Died> {
        // Before anything moves: a freeze that was ordered before a restart holds from the first step on.
        self.handle.load_freezes().await;
        let (results, inbox) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for (name, router) in self.routers_of_targets() {
            tasks.spawn(hear(name, router, results.clone(), shutdown.clone()));
        }
        tasks.spawn(refresh(self.handle.clone(), shutdown.clone()));
        tasks.spawn(prune(self.handle.clone(), self.world.options.retention, shutdown.clone()));
        tasks.spawn(self.outbox.run(shutdown.clone()));
        let runner = Runner {
            shown: Shown::new(&self.fleet, &self.world, &self.channels),
            fleet: self.fleet,
            world: self.world,
            handle: self.handle,
            results,
            jobs: JoinSet::new(),
            running: BTreeMap::new(),
            measured: Duration::ZERO,
        };
        tasks.spawn(runner.run(inbox, shutdown.clone()));
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(died)) => {
                    shutdown.cancel();
                    result = Err(died);
                }
                Err(error) => {
                    // A panic in one task must not stop the others unseen.
                    tracing::error!(%error, "a task of the engine has ended unexpectedly");
                    shutdown.cancel();
                }
            }
        }
        result
    }

    fn routers_of_targets(&self) -> Vec<(String, Arc<dyn TrafficRouter>)> {
        let router = |name: &String| self.world.routers.get(name).cloned();
        let of =
            |actor: &super::target::Actor| Some((actor.name().to_owned(), router(&actor.spec().router)?));
        self.fleet.actors().filter_map(of).collect()
    }
}

/// What a job has brought, or what came to a target otherwise; `None` for the bookkeeping alone.
type Brought = (String, Message);

struct Runner {
    fleet: Fleet,
    world: Arc<World>,
    handle: Handle,
    shown: Shown,
    results: mpsc::UnboundedSender<Brought>,
    jobs: JoinSet<Result<(), Died>>,
    /// Jobs that are out, by target and ticket.
    running: BTreeMap<(String, Ticket), AbortHandle>,
    /// When the phases were last counted.
    measured: Duration,
}

impl Runner {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Brought>,
        shutdown: CancellationToken,
    ) -> Result<(), Died> {
        let Some(mut commands) = self.handle.mailbox().receiver() else { return Ok(()) };
        let mut freezes = self.handle.watch_freezes();
        let names: Vec<String> = self.fleet.actors().map(|actor| actor.name().to_owned()).collect();
        for name in names {
            self.tell(name, Message::Due);
        }
        loop {
            let due = self.fleet.due().unwrap_or(Duration::MAX).min(self.measured + REFRESH);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(inbound) = commands.recv() => self.inbound(inbound),
                Some((target, message)) = inbox.recv() => self.tell(target, message),
                Some(ended) = self.jobs.join_next(), if !self.jobs.is_empty() => ended.unwrap_or(Ok(()))?,
                Ok(()) = freezes.changed() => {
                    let now = freezes.borrow_and_update().clone();
                    for name in self.fleet.set_freezes(&now) {
                        self.tell(name, Message::Due);
                    }
                }
                () = self.world.clock.sleep_until(due) => self.on_time(),
            }
        }
        self.finish().await
    }

    fn now(&self) -> Now {
        Now { wall: self.world.clock.wall(), monotonic: self.world.clock.monotonic() }
    }

    fn tell(&mut self, target: String, message: Message) {
        self.inbound(Inbound::To(target, message));
    }

    fn inbound(&mut self, inbound: Inbound) {
        let now = self.now();
        for (target, decision) in self.fleet.take(inbound, now) {
            self.carry_out(&target, decision);
        }
    }

    fn on_time(&mut self) {
        let now = self.now();
        for name in self.fleet.due_targets(now) {
            self.tell(name, Message::Due);
        }
        if now.monotonic >= self.measured + REFRESH {
            self.measured = now.monotonic;
            let mut phases = BTreeMap::new();
            for rollout in self.fleet.actors().filter_map(|actor| actor.active()) {
                *phases.entry(rollout.phase.name()).or_insert(0) += 1;
            }
            telemetry::rollouts_active(&phases);
        }
    }

    /// Begins what is asked, ends what is not wanted any more, and tells who waits for it.
    fn carry_out(&mut self, target: &str, decision: Decision) {
        for ticket in decision.cancel {
            if let Some(job) = self.running.remove(&(target.to_owned(), ticket)) {
                job.abort();
            }
        }
        for (ticket, job) in decision.jobs {
            self.begin(target, ticket, job);
        }
        for (key, answer) in decision.answers {
            self.handle.mailbox().answer(&key, answer);
        }
        if let Some(storing) = decision.storing {
            self.handle.set_storing(storing);
        }
        decision.changed.iter().for_each(|rollout| self.handle.changed(rollout));
        let Some(actor) = self.fleet.actor(target) else { return };
        if decision.is_lost
            && let Some(router) = self.world.routers.get(&actor.spec().router).cloned()
        {
            self.jobs.spawn(async move {
                router.authority(false).await;
                Ok(())
            });
        }
        if decision.shows {
            self.shown.show(actor, self.now());
        }
    }

    fn begin(&mut self, target: &str, ticket: Ticket, job: Job) {
        let (world, results, name) = (self.world.clone(), self.results.clone(), target.to_owned());
        let id = (target.to_owned(), ticket.clone());
        let task = self.jobs.spawn(async move {
            let outcome = world.perform(&name, job).await?;
            // The loop has ended: nobody wants it any more.
            let _ = results.send((name, Message::Result(ticket, outcome)));
            Ok(())
        });
        // One job of a kind at a time: what is left of an earlier one has ended, or was cut off.
        let (target, ticket) = &id;
        let earlier: Vec<_> = self
            .running
            .range((target.clone(), Ticket { kind: ticket.kind.clone(), number: 0 })..id.clone())
            .map(|(id, _)| id.clone())
            .filter(|(_, earlier)| earlier.kind == ticket.kind)
            .collect();
        earlier.iter().for_each(|earlier| drop(self.running.remove(earlier)));
        self.running.insert(id, task);
    }

    /// What is being stored is stored; everything else is cut off.
    async fn finish(mut self) -> Result<(), Died> {
        for ((_, ticket), job) in &self.running {
            if ticket.kind != JobKind::Commit {
                job.abort();
            }
        }
        while let Some(ended) = self.jobs.join_next().await {
            ended.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

/// Hears of changes at a target's router.
async fn hear(
    name: String,
    router: Arc<dyn TrafficRouter>,
    results: mpsc::UnboundedSender<Brought>,
    shutdown: CancellationToken,
) -> Result<(), Died> {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = router.changed(&name) => {}
        }
        if results.send((name.clone(), Message::Changed)).is_err() {
            return Ok(());
        }
        // What changes many times in a row is looked at once.
        tokio::task::yield_now().await;
    }
}

/// Finds out what other processes have stored: new rollouts, commands, freezes, or another owner.
async fn refresh(handle: Handle, shutdown: CancellationToken) -> Result<(), Died> {
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let next = handle.clock().monotonic() + REFRESH;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = handle.clock().sleep_until(next) => {}
        }
        handle.load_freezes().await;
        let targets = match handle.store().targets().await {
            Ok(targets) => targets,
            Err(error) => {
                handle.set_storing(false);
                super::target::store_failed("all", &error);
                continue;
            }
        };
        if !handle.is_ready() && handle.store().ping().await.is_ok() {
            handle.set_storing(true);
        }
        let active: Vec<_> = targets.iter().filter_map(|target| target.active.clone()).collect();
        let pending = handle.store().pending(&active).await.unwrap_or_default();
        let commanded: BTreeSet<_> = pending.into_iter().map(|entry| entry.rollout).collect();
        for target in targets {
            let is_commanded = target.active.as_ref().is_some_and(|active| commanded.contains(active));
            let was = revisions.insert(target.name.clone(), target.revision);
            if is_commanded || was != Some(target.revision) {
                handle.mailbox().send(Inbound::To(target.name, Message::News));
            }
        }
    }
}

async fn prune(
    handle: Handle,
    retention: crate::ports::Retention,
    shutdown: CancellationToken,
) -> Result<(), Died> {
    loop {
        let next = handle.clock().monotonic() + PRUNE;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = handle.clock().sleep_until(next) => {}
        }
        match handle.store().prune(retention, handle.clock().wall(), 100).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "ended rollouts were pruned"),
            Err(error) => tracing::warn!(%error, "nothing could be pruned"),
        }
    }
}
