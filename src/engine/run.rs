//! The running loop: one loop for all targets, a task for each job, one that hears of what is new in the store,
//! one for the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::connections::Connections;
use super::fleet::{Fleet, Inbound};
use super::jobs::World;
use super::news;
use super::show::Shown;
use super::target::{Decision, Job, JobKind, Loaded, Message, Now, Ticket};
use crate::core::rollout::PhaseName;
use crate::core::spec::TargetSpec;
use crate::engine::Handle;
use crate::ports::{Died, StoreError, TrafficRouter};
use crate::telemetry;

/// How often what is declared is compared with what is there, and the phases are counted.
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
        tasks.spawn(news::listen(self.news, self.handle.clone(), shutdown.clone()));
        tasks.spawn(prune(self.handle.clone(), self.world.options.retention, shutdown.clone()));
        tasks.spawn(self.outbox.run(shutdown.clone()));
        let runner = Runner {
            shown: Shown::new(&self.fleet, &self.handle.connected()),
            fleet: self.fleet,
            world: self.world,
            handle: self.handle,
            results,
            jobs: JoinSet::new(),
            running: BTreeMap::new(),
            hearing: BTreeMap::new(),
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
}

/// What a task has brought.
enum Brought {
    /// To a target.
    Message(String, Message),
    /// A target that is declared and was not here yet; what it needs of the store, or why there is nothing.
    Target(Arc<TargetSpec>, Result<Box<Loaded>, StoreError>),
}

struct Runner {
    fleet: Fleet,
    world: Arc<World>,
    handle: Handle,
    shown: Shown,
    results: mpsc::UnboundedSender<Brought>,
    jobs: JoinSet<Result<(), Died>>,
    /// Jobs that are out, by target and ticket.
    running: BTreeMap<(String, Ticket), AbortHandle>,
    /// Those that hear of changes at the router, by target.
    hearing: BTreeMap<String, AbortHandle>,
    /// When the phases were last counted.
    measured: Duration,
}

impl Runner {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Brought>,
        shutdown: CancellationToken,
    ) -> Result<(), Died> {
        let Some(mut mail) = self.handle.mailbox().receiver() else { return Ok(()) };
        let mut freezes = self.handle.watch_freezes();
        let names: Vec<String> = self.fleet.actors().map(|actor| actor.name().to_owned()).collect();
        for name in names {
            self.listen(&name);
            self.fleet.actor(&name).into_iter().for_each(|actor| self.handle.standings().set(actor));
            self.tell(name, Message::Due);
        }
        let mut catalogue = self.handle.catalogue();
        let mut connections = self.handle.connections();
        let mut connected = connections.borrow_and_update().clone();
        self.fleet.set_telling(&connected.telling);
        self.follow();
        loop {
            let due = self.fleet.due().unwrap_or(Duration::MAX).min(self.measured + REFRESH);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(inbound) = mail.urgent.recv() => self.inbound(inbound),
                Some(inbound) = mail.other.recv() => self.inbound(inbound),
                Some(brought) = inbox.recv() => match brought {
                    Brought::Message(target, message) => self.tell(target, message),
                    Brought::Target(spec, loaded) => self.add(spec, loaded),
                },
                Ok(()) = connections.changed() => {
                    let now = connections.borrow_and_update().clone();
                    self.reconnect(&connected, &now);
                    connected = now;
                }
                Ok(()) = catalogue.changed() => {
                    catalogue.mark_unchanged();
                    self.follow();
                }
                Some(ended) = self.jobs.join_next(), if !self.jobs.is_empty() => of_job(ended)?,
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
            self.follow();
            self.measured = now.monotonic;
            let active = self.fleet.actors().filter_map(|actor| actor.active());
            let phases = active.map(|rollout| PhaseName::from(&rollout.phase)).collect::<Vec<_>>();
            telemetry::rollouts_active(&PhaseName::count(phases));
        }
    }

    /// Goes on with what is declared now.
    fn follow(&mut self) {
        let followed = self.fleet.follow(&self.handle.targets());
        followed.begin.into_iter().for_each(|spec| self.load(spec));
        followed.rerouted.into_iter().for_each(|router| self.hand_over(router));
        for name in followed.changed {
            self.listen(&name);
            self.tell(name, Message::Due);
        }
        for name in followed.gone {
            tracing::info!(target_name = name, "the target is not declared any more");
            self.handle.standings().forget(&name);
            if let Some(hearing) = self.hearing.remove(&name) {
                hearing.abort();
            }
            self.running.retain(|(target, ticket), job| {
                // Others' commits may be in the same transaction.
                if *target == name && ticket.kind != JobKind::Commit {
                    job.abort();
                }
                *target != name
            });
        }
    }

    /// Takes ownership of a target that was not here yet.
    fn load(&mut self, spec: Arc<TargetSpec>) {
        let (world, results) = (self.world.clone(), self.results.clone());
        self.jobs.spawn(async move {
            let loaded = world.own(&spec.name).await;
            let _ = results.send(Brought::Target(spec, loaded.map(Box::new)));
            Ok(())
        });
    }

    fn add(&mut self, spec: Arc<TargetSpec>, loaded: Result<Box<Loaded>, StoreError>) {
        let (name, router) = (spec.name.clone(), spec.router.clone());
        if let Err(error) = self.fleet.loaded(spec, loaded, self.now()) {
            // It is tried again with the next look at what is declared.
            return super::target::store_failed(&name, &error);
        }
        telemetry::begin_target(&name);
        self.hand_over(router);
        self.listen(&name);
        self.fleet.actor(&name).into_iter().for_each(|actor| self.handle.standings().set(actor));
        // What came after it was read was told to nobody.
        self.tell(name, Message::News);
    }

    /// A router gets the stored splits of all its targets.
    fn hand_over(&mut self, router: String) {
        let (world, splits) = (self.world.clone(), self.fleet.hand_over(&router));
        self.jobs.spawn(async move {
            world.hand_over(&splits).await;
            Ok(())
        });
    }

    /// Goes on with what is connected now. A target whose router was connected anew looks at it at once.
    fn reconnect(&mut self, before: &Connections, now: &Connections) {
        self.shown.connected(now);
        self.fleet.set_telling(&now.telling);
        for router in now.fresh_routers(before) {
            let on_it = self.fleet.actors().filter(|actor| actor.spec().router == router);
            let on_it: Vec<String> = on_it.map(|actor| actor.name().to_owned()).collect();
            // Without targets it waits for the first one: a router must not take for all what is none.
            if on_it.is_empty() {
                continue;
            }
            self.hand_over(router);
            for name in on_it {
                self.listen(&name);
                self.tell(name, Message::Changed);
            }
        }
    }

    /// Hears of changes at a target's router.
    fn listen(&mut self, name: &str) {
        let Some(actor) = self.fleet.actor(name) else { return };
        let Some(router) = self.world.router(&actor.spec().router) else { return };
        let router = router.adapter;
        let task = self.jobs.spawn(hear(name.to_owned(), router, self.results.clone()));
        if let Some(earlier) = self.hearing.insert(name.to_owned(), task) {
            earlier.abort();
        }
    }

    /// Begins what is asked, ends what is not wanted any more, and tells who waits for it.
    fn carry_out(&mut self, target: &str, decision: Decision) {
        match self.fleet.actor(target) {
            Some(_) if decision.is_lost => self.handle.standings().forget(target),
            Some(actor) if decision.shows => self.handle.standings().set(actor),
            _ => {}
        }
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
            && let Some(router) = self.world.router(&actor.spec().router)
        {
            self.jobs.spawn(async move {
                router.adapter.authority(false).await;
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
            let _ = results.send(Brought::Message(name, Message::Result(ticket, outcome)));
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
        self.hearing.values().for_each(AbortHandle::abort);
        for ((_, ticket), job) in &self.running {
            if ticket.kind != JobKind::Commit {
                job.abort();
            }
        }
        while let Some(ended) = self.jobs.join_next().await {
            of_job(ended)?;
        }
        Ok(())
    }
}

/// How a job has ended. One that was cut off is nothing; one that panicked brings nothing, and is given up by its
/// target in time.
fn of_job(ended: Result<Result<(), Died>, JoinError>) -> Result<(), Died> {
    ended.unwrap_or_else(|error| {
        if error.is_panic() {
            tracing::error!(%error, "a job has ended unexpectedly");
        }
        Ok(())
    })
}

/// Hears of changes at a target's router, until it is aborted.
async fn hear(
    name: String,
    router: Arc<dyn TrafficRouter>,
    results: mpsc::UnboundedSender<Brought>,
) -> Result<(), Died> {
    loop {
        router.changed(&name).await;
        if results.send(Brought::Message(name.clone(), Message::Changed)).is_err() {
            return Ok(());
        }
        // What changes many times in a row is looked at once.
        tokio::task::yield_now().await;
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
