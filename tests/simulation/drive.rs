//! The only file that knows the engine: one process over the store and the world that outlive it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serin::core::rollout::Rollout;
use serin::core::routing::Routing;
use serin::core::spec::TargetSpec;
use serin::engine::{
    Engine, Fleet, Handle, Inbound, Job, Message, News, Now, Options, Outbox, Outcome, Parts, Ticket,
    World as EngineWorld,
};
use serin::messages::Words;
use serin::ports::{Clock, InboxEntry, MetricsProvider, NoGatekeeper, Notifier, Store, TrafficRouter};

use crate::dice::Dice;
use crate::fakes::{FakeNotifier, FakeWorkload};
use crate::invariants;
use crate::life::{Life, VirtualClock};
use crate::provider::FakeProvider;
use crate::router::{FakeRouter, RouterKind};
use crate::store::WatchedStore;
use crate::testkit::fakes::MemoryStore;
use crate::world::Shared;

/// The channels that get every notice.
pub const CHANNELS: [&str; 2] = ["log", "hook"];

/// A process that runs: the fleet and the world of production. What it asks of the world is carried out here
/// in an order, and with delays and losses, of the seed's choosing.
pub struct Process {
    fleet: Fleet,
    engine: Arc<EngineWorld>,
    outbox: Arc<Outbox>,
    news: News,
    handle: Handle,
    world: Shared,
    errands: Vec<Errand>,
    dice: Dice,
    /// Results are late, lost and doubled while the world is hostile.
    is_rough: bool,
    pub life: Life,
}

/// A job on its way, or its result on the way back.
struct Errand {
    /// Not before this true time, in milliseconds.
    at: i64,
    target: String,
    ticket: Ticket,
    what: What,
}

enum What {
    Perform(Box<Job>),
    Deliver(Box<Outcome>),
}

/// So many pieces of work at one moment are a loop that eats a processor.
const MOST_AT_ONCE: usize = 2_000;

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
        is_rough: bool,
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
        let dice = Dice::new(world.lock().dice.next());
        let handle = engine.handle().clone();
        let (fleet, outbox, news) = (engine.fleet, engine.outbox, engine.news);
        let (world, engine) = (world.clone(), engine.world);
        let errands = Vec::new();
        Some(Process { fleet, engine, outbox, news, handle, world, errands, dice, is_rough, life })
    }

    /// All work that is due.
    pub async fn work(&mut self) -> Worked {
        match self.try_work().await {
            Some(()) => Worked::Done,
            None => Worked::Died,
        }
    }

    async fn try_work(&mut self) -> Option<()> {
        self.hear().await?;
        let mut last = Vec::new();
        for round in 0..MOST_AT_ONCE {
            let now = self.now();
            for name in self.fleet.due_targets(now) {
                self.tell(Inbound::To(name, Message::Due));
            }
            let Some(errand) = self.next_errand() else {
                for _ in 0..5 {
                    if !self.life.run(self.outbox.dispatch()).await?.ok()? {
                        break;
                    }
                }
                return Some(());
            };
            if round + 10 > MOST_AT_ONCE {
                last.push(match &errand.what {
                    What::Perform(job) => format!("{job:?}").chars().take(2600).collect::<String>(),
                    What::Deliver(outcome) => format!("{outcome:?}").chars().take(300).collect(),
                });
            }
            self.run_errand(errand).await?;
        }
        let what = format!("Serin spins: it asks for more and more at one moment: {last:?}");
        invariants::violated(&mut self.world.lock(), what);
        // What it asks for is not to be had any more.
        self.errands.clear();
        None
    }

    /// A command from memory, as the API hands it over.
    pub fn command(&mut self, entry: InboxEntry) {
        self.tell(Inbound::Command(Box::new(entry)));
    }

    /// The store has something new of a target.
    pub fn has_news(&mut self, target: &str) {
        self.tell(Inbound::To(target.to_owned(), Message::News));
    }

    /// What the store has for the targets, as production hears of it; a store that fails is asked again.
    async fn hear(&mut self) -> Option<()> {
        let store = self.handle.store().clone();
        let names = self.life.run(self.news.next(store.as_ref(), Duration::ZERO)).await?.unwrap_or_default();
        for name in names {
            self.tell(Inbound::To(name, Message::News));
        }
        Some(())
    }

    fn now(&self) -> Now {
        let clock = VirtualClock { world: self.world.clone() };
        Now { wall: clock.wall(), monotonic: clock.monotonic() }
    }

    fn is_hostile(&self) -> bool {
        self.is_rough && self.world.lock().hostile
    }

    fn true_time(&self) -> i64 {
        self.world.lock().now
    }

    fn tell(&mut self, inbound: Inbound) {
        let now = self.now();
        for (target, decision) in self.fleet.take(inbound, now) {
            let cancelled = |e: &Errand| e.target == target && decision.cancel.contains(&e.ticket);
            self.errands.retain(|errand| !cancelled(errand));
            for (ticket, job) in decision.jobs {
                let at = self.true_time() + self.delay();
                self.errands.push(Errand {
                    at,
                    target: target.clone(),
                    ticket,
                    what: What::Perform(Box::new(job)),
                });
            }
        }
    }

    /// Most things take no time; some are late.
    fn delay(&mut self) -> i64 {
        if self.world.lock().hostile && self.dice.chance(0.05) {
            self.dice.between(1, 4_000) as i64
        } else {
            0
        }
    }

    /// One of those that are ready, whichever.
    fn next_errand(&mut self) -> Option<Errand> {
        let now = self.world.lock().now;
        let ready: Vec<usize> = (0..self.errands.len()).filter(|&i| self.errands[i].at <= now).collect();
        if ready.is_empty() {
            return None;
        }
        let place = self.dice.between(0, ready.len() as u64 - 1) as usize;
        Some(self.errands.remove(ready[place]))
    }

    async fn run_errand(&mut self, errand: Errand) -> Option<()> {
        let Errand { target, ticket, what, .. } = errand;
        let job = match what {
            What::Deliver(outcome) => {
                self.tell(Inbound::To(target, Message::Result(ticket, *outcome)));
                return Some(());
            }
            What::Perform(job) => *job,
        };
        let is_hostile = self.is_hostile();
        let again = matches!(job, Job::Load { .. } | Job::Observe { .. } | Job::Look(_)).then(|| job.clone());
        let outcome = self.life.run(self.engine.perform(&target, job)).await?.ok()?;
        if is_hostile && self.dice.chance(0.01) {
            self.world.lock().tell(format!("the result of {ticket:?} is lost"));
            return Some(());
        }
        let delay = self.delay();
        if let Some(again) = again.filter(|_| is_hostile && self.dice.chance(0.02)) {
            let outcome = self.life.run(self.engine.perform(&target, again)).await?.ok()?;
            let at = self.true_time() + delay + self.delay();
            let what = What::Deliver(Box::new(outcome));
            self.errands.push(Errand { at, target: target.clone(), ticket: ticket.clone(), what });
        }
        if delay == 0 {
            self.tell(Inbound::To(target, Message::Result(ticket, outcome)));
        } else {
            let at = self.true_time() + delay;
            self.errands.push(Errand { at, target, ticket, what: What::Deliver(Box::new(outcome)) });
        }
        Some(())
    }

    /// When there is work again, by the monotonic clock.
    pub fn next_due(&self) -> Option<Duration> {
        let offset = self.world.lock().monotonic_offset;
        let errand = self.errands.iter().map(|errand| errand.at).min();
        let errand = errand.map(|at| offset + Duration::from_millis(at.unsigned_abs()));
        self.fleet.due().into_iter().chain(errand).min()
    }
}
