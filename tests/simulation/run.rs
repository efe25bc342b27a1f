//! One run: a scenario, played through to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::found::{Decided, Decision};
use serin::core::ids::RolloutId;
use serin::core::rollout::{Command, CommandKind, Hold, Phase, Rollout};
use serin::core::spec::TargetSpec;
use serin::core::split::Role;
use serin::core::time::Timestamp;
use serin::ports::{Commit, Commits, InboxEntry, Outbox, StoreError};

use crate::dice::Dice;
use crate::drive::{Process, Worked, revision_for_people};
use crate::invariants;
use crate::life::Life;
use crate::router::RouterKind;
use crate::scenario::{Happening, Revision, Scenario, patience};
use crate::testkit::builders::{command, created, rollout, target_spec};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::fakes::data::Data;
use crate::world::{Service, Shared, World, default_weights};

/// The target's name.
pub const TARGET: &str = "shop";

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
    /// The true share of the second pool, which is the first canary: at each piece of work.
    pub exposure: Vec<(i64, f64)>,
}

impl Report {
    /// The rollouts at the end, oldest first.
    pub fn rollouts(&self) -> Vec<&Rollout> {
        self.data.rollouts.values().map(|data| &data.rollout).collect()
    }
}

struct Run {
    scenario: Scenario,
    world: Shared,
    store: MemoryStore,
    targets: BTreeMap<String, TargetSpec>,
    dice: Dice,
    process: Option<Process>,
    /// A process that does not know that another one has taken over.
    old: Option<Process>,
    /// No process starts before this true time.
    down_until: i64,
    started: u64,
    commands: u64,
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
    invariants::at_end(&mut world, &run.store);
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

impl Run {
    fn new(scenario: Scenario) -> Run {
        let mut dice = Dice::new(scenario.seed ^ 0x5EED);
        let spec = target_spec(TARGET);
        let mut world = World::new(dice.next());
        let external = scenario.router == RouterKind::External;
        let mut service =
            Service::new(spec.clone(), scenario.rate, scenario.proxies, external, scenario.scrapes);
        let behaviours = [(&spec.stable, scenario.stable), (&spec.canary, scenario.canary)];
        for (pool, behaviour) in behaviours {
            if let Some(truth) = service.pools.get_mut(&pool.backend) {
                truth.behaviour = behaviour;
            }
        }
        world.ledger.target(TARGET).committed.insert(1, default_weights(&spec));
        world.services.insert(TARGET.to_owned(), service);
        world.faults.clone_from(&scenario.faults);
        Run {
            world: Shared::new(world),
            store: MemoryStore::new(),
            targets: BTreeMap::from([(TARGET.to_owned(), spec)]),
            dice,
            process: None,
            old: None,
            down_until: 0,
            started: 0,
            commands: 0,
            in_the_past: 0,
            deaths: Vec::new(),
            passed: BTreeMap::new(),
            steps: 0,
            exposure: Vec::new(),
            scenario,
        }
    }

    fn now(&self) -> i64 {
        self.world.lock().now
    }

    /// Things go wrong and people interfere.
    async fn hostile(&mut self) {
        let mut happenings = std::mem::take(&mut self.scenario.happenings).into_iter().peekable();
        while self.now() < self.scenario.hostile_until {
            let next = happenings.peek().map_or(i64::MAX, |(at, _)| *at);
            self.advance(next.min(self.scenario.hostile_until)).await;
            while let Some((_, happening)) = happenings.next_if(|(at, _)| *at <= self.now()) {
                self.happen(happening).await;
            }
            self.work().await;
        }
        for (_, happening) in happenings {
            self.happen(happening).await;
        }
    }

    /// All faults have ended: everything must come to rest, in the end by a person's word.
    async fn peace(&mut self) {
        {
            let mut world = self.world.lock();
            world.hostile = false;
            world.wall_offset = 0;
            world.tell("all faults have ended");
        }
        if let Some(old) = self.old.take() {
            self.ended(&old.life);
        }
        if let Some(process) = &self.process {
            process.life.spare();
        }
        let begun = self.now();
        let patience = patience(&self.scenario.policy).as_millis() as i64;
        let mut words = 0;
        let mut rests = 0;
        while rests < 5 && self.now() < begun + patience * 8 {
            self.advance(i64::MAX).await;
            self.work().await;
            rests = if self.at_rest() { rests + 1 } else { 0 };
            if self.now() > begun + patience * (words + 1) {
                words += 1;
                self.last_word(words).await;
            }
        }
    }

    /// No rollout is on its way, and the split has been looked at again for some time.
    fn at_rest(&self) -> bool {
        self.process.is_some()
            && self.store.inspect(|data| {
                data.rollouts.values().all(|data| data.rollout.phase.is_terminal())
                    && data.targets.values().all(|t| t.active.is_none() && (t.is_seen() || t.generation == 1))
                    && data.targets.values().all(|target| target.found.is_none())
                    && data.inbox.values().all(|entry| entry.result.is_some())
            })
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
    async fn advance(&mut self, until: i64) {
        let due = self.process.as_ref().and_then(Process::next_due);
        let interval = self.scenario.policy.analysis.interval.as_millis() as i64;
        let mut world = self.world.lock();
        let now = world.now;
        let due = due.map(|due| due.saturating_sub(world.monotonic_offset).as_millis() as i64);
        let next = match due {
            Some(due) => due.max(now + 1),
            None => self.down_until.max(now + 1),
        };
        world.advance(next.min(now + interval).min(until.max(now + 1)));
    }

    /// Starts a process if there is none, and lets it do what is due.
    async fn work(&mut self) {
        if self.process.is_none() {
            self.start().await;
        }
        if let Some(mut old) = self.old.take() {
            match old.work().await {
                Worked::Done => self.old = Some(old),
                Worked::Died => self.ended(&old.life),
            }
        }
        let Some(process) = &mut self.process else { return };
        self.steps += 1;
        if process.work().await == Worked::Died {
            return self.stop();
        }
        let due = process.next_due();
        let mut world = self.world.lock();
        let share = world.services[TARGET].share(&self.targets[TARGET].canary.backend);
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
        }
        // Where nothing else goes wrong, no result does.
        let is_rough = !self.scenario.faults.is_empty();
        let started = Process::start(
            &self.world,
            &self.store,
            self.scenario.router,
            &self.targets,
            life.clone(),
            is_rough,
        )
        .await;
        match started {
            Some(process) => self.process = Some(process),
            None => self.ended(&life),
        }
    }

    /// The process is gone; its streams break.
    fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            self.ended(&process.life);
        }
    }

    fn ended(&mut self, life: &Life) {
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
            .filter_map(|(name, ledger)| Some((name.clone(), ledger.ahead_since.take()?)))
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

    async fn happen(&mut self, happening: Happening) {
        self.world.lock().tell(format!("{happening:?}"));
        match happening {
            Happening::Start { supersede } => self.ask_for_rollout(supersede).await,
            Happening::Command { kind, revision, again } => {
                let key = self.command(kind.clone(), revision).await;
                if let Some(key) = key.filter(|_| again) {
                    self.command_with_key(kind, revision, &key).await;
                }
            }
            Happening::LoweredByHand(divisor) => {
                self.by_hand(|weight| weight.checked_div(divisor).unwrap_or(0))
            }
            Happening::RaisedByHand(by) => self.by_hand(|weight| (weight + by).min(10_000)),
            Happening::SecondProcess => {
                if let Some(first) = self.process.take() {
                    self.old = Some(first);
                    self.down_until = self.now();
                }
            }
            Happening::ProxyRestarts => self.restart_proxy(),
            Happening::PoolRestarts(which) => {
                let spec = &self.targets[TARGET];
                let pool = if which == 0 { &spec.stable } else { &spec.canary };
                self.world.lock().restart_pool(TARGET, &pool.backend);
            }
        }
    }

    async fn ask_for_rollout(&mut self, supersede: bool) {
        if self.store.target(TARGET).await.is_err() {
            // Nobody has loaded the targets yet: the API would not be ready.
            return;
        }
        self.started += 1;
        let mut asked = rollout(&format!("r{}", self.started), TARGET, self.scenario.policy.clone());
        asked.plan_mut().version = format!("v{}", self.started + 1);
        asked.plan_mut().created_at = self.world.lock().wall();
        asked.phase_since = asked.created_at;
        let free = self.store.inspect(|data| data.targets[TARGET].active.is_none());
        let first = created(&asked);
        let result = self.store.create_rollout(asked, first, None, supersede).await;
        let mut world = self.world.lock();
        match result {
            Ok(rollout) => {
                world.tell(format!("{} is {}", rollout.id, rollout.phase.name()));
                if !free && rollout.phase != Phase::Scheduled {
                    invariants::violated(&mut world, "invariant 6: a taken target was taken again");
                }
            }
            Err(StoreError::Occupied { active, .. }) if !free => {
                world.tell(format!("refused: {active} has the target"));
            }
            Err(error) => {
                invariants::violated(&mut world, format!("a rollout could not be created: {error}"));
            }
        }
    }

    /// A command for whatever has the target. Gives its key.
    async fn command(&mut self, kind: CommandKind, revision: Revision) -> Option<String> {
        self.commands += 1;
        let key = format!("c{}", self.commands);
        self.command_with_key(kind, revision, &key).await.then_some(key)
    }

    async fn command_with_key(&mut self, kind: CommandKind, revision: Revision, key: &str) -> bool {
        let active: Option<Rollout> = self.store.inspect(|data| {
            let id = data.targets.get(TARGET)?.active.as_ref()?;
            data.rollouts.get(id).map(|data| data.rollout.clone())
        });
        let Some(active) = active else { return false };
        let mut command: Command = command(key, kind);
        let current = revision_for_people(&active);
        command.expected_revision = match revision {
            Revision::None => None,
            Revision::Current => Some(current),
            Revision::Stale => Some(current.saturating_sub(1)),
        };
        let at = self.world.lock().wall();
        if self.dice.chance(0.5)
            && let Some(process) = &mut self.process
        {
            // The API hands it over in memory, and puts it into the inbox at the same time.
            let entry = InboxEntry { rollout: active.id.clone(), at, command: command.clone(), result: None };
            process.command(entry);
        }
        self.store.enqueue(&active.id, command, at).await.is_ok()
    }

    /// Somebody changes the canary's weight at the router, if what Serin wants is in force there.
    fn by_hand(&mut self, change: impl Fn(u16) -> u16) {
        let target = self.store.inspect(|data| data.targets.get(TARGET).cloned());
        let Some(target) = target.filter(|target| target.is_seen()) else { return };
        let mut world = self.world.lock();
        let wanted = invariants::wanted_weights(&world, &target, &target.wanted);
        let Some(canary) = self.targets[TARGET].pool(Role::Canary, target.swapped) else { return };
        let Some(stable) = self.targets[TARGET].pool(Role::Stable, target.swapped) else { return };
        let Some(service) = world.services.get_mut(TARGET) else { return };
        let mut change_of = None;
        for proxy in service.proxies.values_mut().filter(|p| p.in_force == wanted && p.pending.is_none()) {
            let weight = proxy.weight(&canary.backend);
            let changed = change(weight);
            if changed != weight {
                proxy.in_force = BTreeMap::from([
                    (canary.backend.clone(), changed),
                    (stable.backend.clone(), 10_000 - changed),
                ]);
                proxy.tampered = true;
                change_of = Some((weight, changed));
            }
        }
        if let Some((from, to)) = change_of {
            world.tell(format!("somebody sets the canary from {from} to {to}"));
            world.ledger.target(TARGET).lowered_unheard = to < from;
        }
    }

    fn restart_proxy(&mut self) {
        let mut world = self.world.lock();
        let configured = default_weights(&self.targets[TARGET]);
        let proxy = world.services.get_mut(TARGET).and_then(|service| service.proxies.values_mut().next());
        if let Some(proxy) = proxy {
            proxy.in_force = configured;
            proxy.generation = 0;
            proxy.pending = None;
            proxy.tampered = true;
            proxy.connected = false;
        }
        world.settle_proxies();
    }

    /// A person decides about a split that the store knows nothing of.
    async fn decide_found(&mut self) {
        let found = self.store.inspect(|data| data.targets.get(TARGET).cloned());
        let Some(mut target) = found.filter(|target| target.found.is_some()) else { return };
        if let Some(found) = &mut target.found {
            found.decided = Some(Decided { decision: Decision::Zero, by: "erin".to_owned() });
        }
        self.world.lock().tell("what was found at the router is to be set to 0%");
        // A conflict is decided again with the next word.
        let decided = self.store.commit(&Commit { target: Some(target), ..Commit::default() }).await;
        if let (Ok(()), Some(process)) = (decided, &mut self.process) {
            // The API that has stored it says so.
            process.has_news(TARGET);
        }
    }

    /// A person decides what the evidence has not.
    async fn last_word(&mut self, times: i64) {
        self.decide_found().await;
        let held: Option<(RolloutId, Vec<Hold>)> = self.store.inspect(|data| {
            let id = data.targets.get(TARGET)?.active.as_ref()?;
            data.rollouts.get(id).map(|d| (d.rollout.id.clone(), d.rollout.holds.iter().copied().collect()))
        });
        let Some((id, holds)) = held else { return };
        let kind = match times {
            1 if !holds.is_empty() => CommandKind::Resume,
            1..=3 => self.scenario.last_word.clone(),
            _ => CommandKind::Rollback,
        };
        self.world.lock().tell(format!("the last word on {id}, held by {holds:?}: {}", kind.name()));
        self.command(kind, Revision::None).await;
    }
}
