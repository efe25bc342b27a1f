//! One run: a scenario, played through to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::rollout::Rollout;
use serin::core::spec::TargetSpec;
use serin::core::time::Timestamp;
use serin::ports::Outbox;

use crate::dice::Dice;
use crate::drive::{Process, Worked};
use crate::invariants::{self, MARK};
use crate::life::Life;
use crate::router::RouterKind;
use crate::scenario::{Scenario, TargetPlan};
use crate::testkit::builders::target_spec;
use crate::testkit::fakes::MemoryStore;
use crate::testkit::fakes::data::Data;
use crate::watch;
use crate::world::{Service, Shared, World, default_weights};

/// Work that is due at once, so often in a row, is a loop that eats a processor.
const MOST_IN_THE_PAST: u32 = 10;

/// What a run was like.
pub struct Report {
    pub violations: Vec<String>,
    pub story: Vec<String>,
    /// Everything that is stored at the end.
    pub data: Data,
    /// Where processes died.
    pub deaths: Vec<String>,
    /// How often each failpoint was passed.
    pub passed: BTreeMap<&'static str, u64>,
    /// Pieces of work that processes did.
    pub steps: u64,
    /// The true share of the first target's second pool, which is the first canary: at each piece of work.
    pub exposure: Vec<(i64, f64)>,
}

impl Report {
    /// The rollouts at the end, oldest first.
    pub fn rollouts(&self) -> Vec<&Rollout> {
        self.data.rollouts.values().map(|data| &data.rollout).collect()
    }
}

pub struct Run {
    pub scenario: Scenario,
    pub world: Shared,
    pub store: MemoryStore,
    /// What the configuration declares now.
    pub file: BTreeMap<String, TargetSpec>,
    pub dice: Dice,
    pub process: Option<Process>,
    /// A process that does not know that another one has taken over, with the configuration as it was then.
    pub old: Option<(Process, BTreeMap<String, TargetSpec>)>,
    /// No process starts before this true time.
    pub down_until: i64,
    /// Rollouts, commands and declarations so far.
    pub count: u64,
    /// How often in a row the next work was due before the last was done.
    in_the_past: u32,
    deaths: Vec<String>,
    passed: BTreeMap<&'static str, u64>,
    steps: u64,
    exposure: Vec<(i64, f64)>,
}

/// Plays a scenario.
pub async fn run(scenario: Scenario) -> Report {
    let mut run = Run::new(scenario);
    run.hostile().await;
    run.peace().await;
    run.drain().await;
    run.stop();
    let mut world = run.world.lock();
    invariants::at_end(&mut world, &run.store, &run.file);
    Report {
        violations: std::mem::take(&mut world.ledger.violations),
        story: std::mem::take(&mut world.story),
        data: run.store.data(),
        deaths: run.deaths,
        passed: run.passed,
        steps: run.steps,
        exposure: run.exposure,
    }
}

/// A target as it is declared first.
pub fn declared_first(name: &str) -> TargetSpec {
    let mut spec = target_spec(name);
    spec.labels.insert(MARK.to_owned(), "first".to_owned());
    spec
}

fn service(plan: &TargetPlan, is_external: bool) -> Service {
    let spec = declared_first(plan.name);
    let mut service = Service::new(spec.clone(), plan.rate, plan.proxies, is_external, plan.scrapes);
    for (pool, behaviour) in [(&spec.stable, plan.stable), (&spec.canary, plan.canary)] {
        if let Some(truth) = service.pools.get_mut(&pool.backend) {
            truth.behaviour = behaviour;
        }
    }
    service
}

impl Run {
    fn new(scenario: Scenario) -> Run {
        let mut dice = Dice::new(scenario.seed ^ 0x5EED);
        let mut world = World::new(dice.next());
        for plan in &scenario.targets {
            let service = service(plan, scenario.router == RouterKind::External);
            world.ledger.target(plan.name).committed.insert(1, default_weights(&service.spec));
            world.services.insert(plan.name.to_owned(), service);
        }
        // Where nothing else goes wrong, no result does.
        world.rough = !scenario.faults.is_empty();
        world.faults.clone_from(&scenario.faults);
        let declared = scenario.targets.iter().filter(|plan| plan.is_declared);
        Run {
            world: Shared::new(world),
            store: MemoryStore::new(),
            file: declared.map(|plan| (plan.name.to_owned(), declared_first(plan.name))).collect(),
            dice,
            process: None,
            old: None,
            down_until: 0,
            count: 0,
            in_the_past: 0,
            deaths: Vec::new(),
            passed: BTreeMap::new(),
            steps: 0,
            exposure: Vec::new(),
            scenario,
        }
    }

    pub fn now(&self) -> i64 {
        self.world.lock().now
    }

    /// Things go wrong and people interfere.
    async fn hostile(&mut self) {
        let mut happenings = std::mem::take(&mut self.scenario.happenings).into_iter().peekable();
        while self.now() < self.scenario.hostile_until {
            let next = happenings.peek().map_or(i64::MAX, |(at, ..)| *at);
            self.advance(next.min(self.scenario.hostile_until)).await;
            while let Some((_, place, happening)) = happenings.next_if(|(at, ..)| *at <= self.now()) {
                self.happen(place, happening).await;
            }
            self.work().await;
        }
        for (_, place, happening) in happenings {
            self.happen(place, happening).await;
        }
    }

    /// Waits until the last notice is out: receivers that failed are tried again after minutes.
    async fn drain(&mut self) {
        self.world.lock().quiet = true;
        for _ in 0..200 {
            let now = Timestamp(self.now());
            if self.store.outbox_counts(now).await.is_ok_and(|counts| counts.pending == 0) {
                return;
            }
            let now = self.now();
            self.world.lock().advance(now + 30_000);
            self.work().await;
        }
    }

    /// Moves time on to the next thing that is due, at most to `until`.
    pub async fn advance(&mut self, until: i64) {
        let due = self.process.as_ref().and_then(Process::next_due);
        let intervals = self.scenario.targets.iter().map(|plan| plan.policy.analysis.interval.as_millis());
        let interval = intervals.min().unwrap_or_default() as i64;
        let mut world = self.world.lock();
        let now = world.now;
        let due = due.map(|due| due.saturating_sub(world.monotonic_offset).as_millis() as i64);
        let next = match due {
            Some(due) => due.max(now + 1),
            None => self.down_until.max(now + 1),
        };
        let next = world.sleepers.next().map_or(next, |sleeper| next.min(sleeper.max(now + 1)));
        world.advance(next.min(now + interval).min(until.max(now + 1)));
    }

    /// Starts a process if there is none, and lets it do what is due.
    pub async fn work(&mut self) {
        if self.process.is_none() {
            self.start().await;
        }
        self.world.lock().is_replaced = self.old.is_some();
        if let Some((mut old, file)) = self.old.take() {
            match old.work(&file).await {
                Worked::Done => self.old = Some((old, file)),
                Worked::Died => self.ended(&old.life),
            }
        }
        let Some(process) = &mut self.process else { return };
        self.steps += 1;
        if process.work(&self.file).await == Worked::Died {
            return self.stop();
        }
        let due = process.next_due();
        let mut world = self.world.lock();
        watch::targets(&mut world, &self.store);
        let first = &world.services[self.scenario.targets[0].name];
        let share = first.share(&first.spec.canary.backend);
        self.exposure.push((world.now, share));
        let now = world.monotonic_offset + Duration::from_millis(world.now.unsigned_abs());
        self.in_the_past = if due.is_some_and(|due| due < now) { self.in_the_past + 1 } else { 0 };
        if self.in_the_past == MOST_IN_THE_PAST {
            invariants::violated(&mut world, format!("Serin spins: it is done, and was due at {due:?}"));
        }
    }

    async fn start(&mut self) {
        if self.now() < self.down_until {
            return;
        }
        let dies = self.world.lock().hostile && self.dice.chance(self.scenario.deadly);
        let life = match (dies, self.dice.chance(0.5)) {
            (false, _) => Life::new(None, None),
            (true, true) => Life::new(Some(self.dice.between(0, 250)), None),
            (true, false) => Life::new(None, Some(self.dice.between(0, 40))),
        };
        {
            let mut world = self.world.lock();
            // Every process has its own monotonic clock; the world has room for one of them.
            if self.old.is_none() {
                world.monotonic_offset = Duration::from_millis(self.dice.between(0, 1_000_000_000));
            }
            world.served.clear();
            world.serving = false;
            world.settle_proxies();
            let now = world.now;
            world.starts.push(now);
            world.tell("a process starts");
            // Nothing is done while it starts, however long a call takes.
            world.rough = false;
        }
        let begun = Process::start(&self.world, &self.store, self.scenario.router, &self.file, life.clone());
        let started = self.not_held_up(begun).await;
        self.world.lock().rough = !self.scenario.faults.is_empty();
        match started {
            Some(process) => self.process = Some(process),
            None => self.ended(&life),
        }
    }

    /// What a process does before it runs; `None` if it hangs in it, and is ended by whoever has started it.
    async fn not_held_up(&self, start: impl Future<Output = Option<Process>>) -> Option<Process> {
        let mut start = std::pin::pin!(start);
        for _ in 0..10 {
            if let std::task::Poll::Ready(process) = futures::poll!(&mut start) {
                return process;
            }
            tokio::task::yield_now().await;
        }
        None
    }

    /// The process is gone; its streams break.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            self.ended(&process.life);
        }
    }

    pub fn ended(&mut self, life: &Life) {
        for (name, count) in life.passed() {
            *self.passed.entry(name).or_default() += count;
        }
        let mut world = self.world.lock();
        match life.died_at() {
            Some(place) => {
                world.tell(format!("the process dies at {place}"));
                self.deaths.push(place);
            }
            None => world.tell("the process ends"),
        }
        // A way back that was in force and not stored is lost with its process: the next one knows nothing of it.
        let ahead: Vec<(String, i64)> = world
            .ledger
            .targets
            .iter_mut()
            .filter_map(|(name, ledger)| {
                ledger.back = None;
                Some((name.clone(), ledger.ahead_since.take()?))
            })
            .collect();
        for (name, since) in ahead {
            if let Some(service) = world.services.get_mut(&name) {
                service.changes.retain(|change| *change < since);
            }
        }
        world.served.clear();
        world.serving = false;
        world.ledger.store_known_broken = false;
        world.settle_proxies();
        self.down_until = world.now + self.dice.between(0, 3000) as i64;
    }
}
