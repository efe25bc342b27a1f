//! The only file that knows the engine: one process over the store and the world that outlive it.

mod errands;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::AbortHandle;
use futures::stream::{FuturesUnordered, StreamExt};
use serin::core::ids::RolloutId;
use serin::core::rollout::Rollout;
use serin::core::routing::Routing;
use serin::core::spec::TargetSpec;
use serin::engine::{
    Declaration, Declared, Engine, Fleet, Handle, Inbound, Item, Message, News, Now, Options, Outbox, Parts,
    Received, Source, Ticket, World as EngineWorld,
};
use serin::messages::Words;
use serin::ports::{Clock, InboxEntry, MetricsProvider, NoGatekeeper, Notifier, Store, TrafficRouter};

use self::errands::{Brought, Errand, What, describe};
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
/// The sources that targets may name.
pub const SOURCES: [&str; 2] = ["provider", "spare"];
/// So many pieces of work at one moment are a loop that eats a processor.
const MOST_AT_ONCE: usize = 8_000;
/// Notices are delivered in at most so many rounds at one moment.
const ROUNDS: u32 = 5;
/// What is declared is compared with what is there so often, in milliseconds.
const LOOK_AT_DECLARED: i64 = 1_000;

/// A process that runs: the fleet and the world of production. What it asks of the world is begun, and what that
/// brings is told, in an order and with delays and losses of the seed's choosing. Calls that hang go on hanging
/// beside all others.
pub struct Process {
    fleet: Fleet,
    engine: Arc<EngineWorld>,
    outbox: Arc<Outbox>,
    handle: Handle,
    commands: Received,
    /// What is asked of the store next; away while it is being asked.
    news: Option<News>,
    world: Shared,
    errands: Vec<Errand>,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Brought>>>>,
    /// Jobs that are under way, and how each is cut off.
    jobs: Vec<(String, Ticket, AbortHandle)>,
    /// How each target that is being read is given up.
    beginnings: Vec<AbortHandle>,
    /// It begins with nothing new.
    is_retired: bool,
    /// Notices are being delivered.
    is_telling: bool,
    /// The configuration is being taken in.
    is_declaring: bool,
    /// The configuration that the process has taken in last.
    declared: BTreeMap<String, TargetSpec>,
    next_look: i64,
    dice: Dice,
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

/// Everything that the configuration declares.
fn whole(targets: &BTreeMap<String, TargetSpec>) -> Declared {
    let good = |spec: &TargetSpec| Declaration::Good {
        item: Item::Target(Arc::new(spec.clone())),
        origin: "serin.yaml".to_owned(),
    };
    Declared::Whole(targets.values().map(good).collect())
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
            providers: SOURCES.map(|name| (name.to_owned(), provider.clone())).into(),
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
        let handle = parts.handle.clone();
        let loaded = async {
            handle.release_kept().await?;
            Engine::load(parts).await
        };
        let engine = life.run(loaded).await?.ok()?;
        let mut world_now = world.lock();
        let dice = Dice::new(world_now.dice.next());
        let next_look = world_now.now;
        drop(world_now);
        Some(Process {
            fleet: engine.fleet,
            engine: engine.world,
            outbox: engine.outbox,
            commands: handle.handed_over()?,
            news: Some(engine.news),
            handle,
            world: world.clone(),
            errands: Vec::new(),
            under_way: FuturesUnordered::new(),
            jobs: Vec::new(),
            beginnings: Vec::new(),
            is_retired: false,
            is_telling: false,
            is_declaring: false,
            declared: targets.clone(),
            next_look,
            dice,
            life,
        })
    }

    /// Whether a rollout has its target in this process.
    pub fn has(&self, target: &str, rollout: &RolloutId) -> bool {
        let active = self.fleet.actor(target).and_then(|actor| actor.active());
        active.is_some_and(|active| active.id == *rollout)
    }

    /// How a target is declared in this process now.
    pub fn declared(&self, target: &str) -> Option<TargetSpec> {
        self.handle.targets().get(target).map(|spec| TargetSpec::clone(spec))
    }

    /// All work that is due, with the configuration as it stands in its file.
    pub async fn work(&mut self, file: &BTreeMap<String, TargetSpec>) -> Worked {
        match self.try_work(file).await {
            Some(()) => Worked::Done,
            None => Worked::Died,
        }
    }

    async fn try_work(&mut self, file: &BTreeMap<String, TargetSpec>) -> Option<()> {
        self.look_at_declared(file);
        self.hear();
        let mut told = 0;
        let mut last = Vec::new();
        for round in 0..MOST_AT_ONCE {
            let now = self.now();
            for name in self.fleet.due_targets(now) {
                self.tell(Inbound::To(name, Message::Due));
            }
            while let Ok(inbound) =
                self.commands.urgent.try_recv().or_else(|_| self.commands.other.try_recv())
            {
                self.tell(inbound);
            }
            if let Some(brought) = self.brought().await? {
                if let Brought::Told(Ok(any)) = brought {
                    told = if any { told + 1 } else { ROUNDS };
                }
                self.take(brought)?;
            } else if let Some(errand) = self.next_errand() {
                if round + 10 > MOST_AT_ONCE {
                    last.push(describe(&errand.what));
                }
                self.begin(errand.what);
            } else if !self.is_telling && told < ROUNDS {
                self.begin_telling();
            } else {
                return Some(());
            }
        }
        let what = format!("Serin spins: it asks for more and more at one moment: {last:?}");
        invariants::violated(&mut self.world.lock(), what);
        // What it asks for is not to be had any more.
        self.errands.clear();
        None
    }

    /// What a call has brought by now, if one has. `None` if the process has died in one.
    async fn brought(&mut self) -> Option<Option<Brought>> {
        for _ in 0..2 {
            if self.under_way.is_empty() {
                return Some(None);
            }
            let brought = futures::poll!(self.under_way.next());
            if self.life.died_at().is_some() {
                return None;
            }
            if let std::task::Poll::Ready(brought) = brought {
                return Some(brought);
            }
            // What it has left to other tasks is done by them.
            tokio::task::yield_now().await;
            if self.life.died_at().is_some() {
                return None;
            }
        }
        Some(None)
    }

    /// A command from memory, as the API hands it over.
    pub fn command(&mut self, entry: InboxEntry) {
        self.tell(Inbound::Command(Box::new(entry)));
    }

    /// Another process has been started: whoever has done that has ended what this one was about to begin with.
    pub fn retire(&mut self) {
        self.is_retired = true;
        self.errands.retain(|errand| !matches!(errand.what, What::Own(_)));
        self.beginnings.drain(..).for_each(|beginning| beginning.abort());
    }

    /// The API has stored something of a target.
    pub fn news_of(&mut self, target: &str) {
        self.tell(Inbound::To(target.to_owned(), Message::News));
    }

    /// The configuration is read again if it has changed, what waits for rollouts that have ended is taken, and
    /// targets that could not be read are begun with again: as production does it by its clock.
    fn look_at_declared(&mut self, file: &BTreeMap<String, TargetSpec>) {
        let now = self.true_time();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_AT_DECLARED;
        self.follow();
        let has_changed = self.declared != *file;
        let is_kept = !self.handle.declared().kept().is_empty();
        if self.is_declaring || (!has_changed && !is_kept) {
            return;
        }
        self.is_declaring = true;
        let (handle, file) = (self.handle.clone(), file.clone());
        self.under_way.push(Box::pin(async move {
            let _declaring = handle.configuration().declaring().await;
            let taken = match has_changed {
                true => handle.declare_kept(Source::File, whole(&file)).await,
                false => handle.release_kept().await,
            };
            Brought::Declared(taken.is_ok().then_some(file))
        }));
    }

    /// A rollout has begun: if its target was declared otherwise meanwhile, it keeps what it began with.
    pub fn begun(&mut self, target: &str, spec: &TargetSpec) {
        if self.declared(target).as_ref() != Some(spec) {
            self.next_look = self.true_time();
        }
    }

    fn follow(&mut self) {
        let followed = self.fleet.follow(&self.handle.targets());
        for spec in followed.begin.into_iter().filter(|_| !self.is_retired).collect::<Vec<_>>() {
            self.send(What::Own(spec));
        }
        for name in followed.changed {
            self.tell(Inbound::To(name, Message::Due));
        }
        for name in followed.gone {
            self.world.lock().tell(format!("{name} is gone"));
            // What it has asked for is not wanted any more.
            self.errands.retain(|errand| errand.what.job().is_none_or(|(target, _)| target != name));
            self.jobs.iter().filter(|(target, ..)| *target == name).for_each(|(.., job)| job.abort());
        }
    }

    /// What the store has for the targets, as production hears of it; a store that fails is asked again.
    fn hear(&mut self) {
        let Some(mut news) = self.news.take() else { return };
        let store = self.handle.store().clone();
        self.under_way.push(Box::pin(async move {
            let names = news.next(store.as_ref(), Duration::ZERO).await.unwrap_or_default();
            Brought::News(news, names)
        }));
    }

    /// Delivers what is due.
    fn begin_telling(&mut self) {
        self.is_telling = true;
        let outbox = self.outbox.clone();
        self.under_way.push(Box::pin(async move { Brought::Told(outbox.dispatch().await) }));
    }

    fn now(&self) -> Now {
        let clock = VirtualClock { world: self.world.clone() };
        Now { wall: clock.wall(), monotonic: clock.monotonic() }
    }

    fn is_rough(&self) -> bool {
        let world = self.world.lock();
        world.rough && world.hostile
    }

    fn true_time(&self) -> i64 {
        self.world.lock().now
    }

    fn tell(&mut self, inbound: Inbound) {
        let now = self.now();
        for (target, decision) in self.fleet.take(inbound, now) {
            for ticket in &decision.cancel {
                self.cancel(&target, ticket);
            }
            for (ticket, job) in decision.jobs {
                self.send(What::Perform(target.clone(), ticket, Box::new(job)));
            }
        }
    }

    /// When there is work again, by the monotonic clock.
    pub fn next_due(&self) -> Option<Duration> {
        let offset = self.world.lock().monotonic_offset;
        let by_clock = |at: i64| offset + Duration::from_millis(at.unsigned_abs());
        let errand = self.errands.iter().map(|errand| by_clock(errand.at)).min();
        let look = self.is_behind().then(|| by_clock(self.next_look));
        self.fleet.due().into_iter().chain(errand).chain(look).min()
    }

    /// Whether something that is declared is not in force yet.
    pub fn is_behind(&self) -> bool {
        let declared = self.handle.declared();
        let mut there = self.fleet.actors().map(|actor| actor.name());
        !declared.kept().is_empty()
            || declared.targets().keys().any(|name| self.fleet.actor(name).is_none())
            || there.any(|name| !declared.targets().contains_key(name))
    }
}
