//! What people do in a run: with rollouts, at routers, and in the configuration.

use std::collections::BTreeMap;

use serin::core::found::{Decided, Decision};
use serin::core::policy::Mode;
use serin::core::rollout::{Command, CommandKind, Phase, Rollout};
use serin::core::spec::TargetSpec;
use serin::core::split::Role;
use serin::ports::{Commit, Commits, InboxEntry, StoreError};

use crate::drive::{SOURCES, revision_for_people};
use crate::invariants::{self, Back, MARK};
use crate::run::{Run, declared_first};
use crate::scenario::{Happening, Respec, Revision};
use crate::testkit::builders::{command, created, rollout};
use crate::world::default_weights;

impl Run {
    fn name(&self, place: usize) -> &'static str {
        self.scenario.targets[place].name
    }

    pub async fn happen(&mut self, place: usize, happening: Happening) {
        let name = self.name(place);
        self.world.lock().tell(format!("{happening:?} {name}"));
        match happening {
            Happening::Start { supersede } => self.ask_for_rollout(place, supersede).await,
            Happening::Command { kind, revision, again } => {
                let key = self.command(name, kind.clone(), revision).await;
                if let Some(key) = key.filter(|_| again) {
                    self.command_with_key(name, kind, revision, &key).await;
                }
            }
            Happening::LoweredByHand(divisor) => {
                self.by_hand(name, |weight| weight.checked_div(divisor).unwrap_or(0));
            }
            Happening::RaisedByHand(by) => self.by_hand(name, |weight| (weight + by).min(10_000)),
            Happening::SecondProcess => {
                if let Some(mut first) = self.process.take() {
                    first.retire();
                    self.old = Some((first, self.file.clone()));
                    self.down_until = self.now();
                }
            }
            Happening::ProxyRestarts => self.restart_proxy(name),
            Happening::PoolRestarts(which) => {
                let mut world = self.world.lock();
                let spec = &world.services[name].spec;
                let pool = if which == 0 { &spec.stable } else { &spec.canary };
                let backend = pool.backend.clone();
                world.restart_pool(name, &backend);
            }
            Happening::Declare => {
                self.file.entry(name.to_owned()).or_insert_with(|| declared_first(name));
            }
            Happening::Remove => drop(self.file.remove(name)),
            Happening::Respec(how) => self.respec(name, how),
        }
    }

    fn respec(&mut self, name: &str, how: Respec) {
        self.count += 1;
        let mark = format!("mark-{}", self.count);
        let Some(spec) = self.file.get_mut(name) else { return };
        match how {
            Respec::Environment => spec.environment = Some(mark),
            Respec::Endpoints => spec.canary.endpoints = vec![format!("http://{mark}/metrics")],
            Respec::Mark => drop(spec.labels.insert(MARK.to_owned(), mark)),
            Respec::Source => {
                let other = SOURCES.iter().find(|source| **source != spec.provider);
                spec.provider = other.copied().unwrap_or_default().to_owned();
            }
        }
    }

    /// How a target is declared for who asks for a rollout: by the process that runs, else by the file.
    fn declared(&self, name: &str) -> Option<TargetSpec> {
        match &self.process {
            Some(process) => process.declared(name),
            None => self.file.get(name).cloned(),
        }
    }

    async fn ask_for_rollout(&mut self, place: usize, supersede: bool) {
        let name = self.name(place);
        let Some(spec) = self.declared(name) else { return };
        let Ok(target) = self.store.target(name).await else {
            // Nobody has loaded the targets yet: the API would not be ready.
            return;
        };
        self.count += 1;
        let policy = self.scenario.targets[place].policy.clone();
        let mut asked = rollout(&format!("r{:02}", self.count), name, policy);
        asked.plan_mut().version = format!("v{}", self.count + 1);
        asked.plan_mut().created_at = self.world.lock().wall();
        asked.plan_mut().spec = Some(spec.clone());
        asked.phase_since = asked.created_at;
        let first = created(&asked);
        let result = self.store.create_rollout(asked, first, None, supersede).await;
        let is_free = target.active.is_none();
        let mut world = self.world.lock();
        match result {
            Ok(rollout) => {
                world.tell(format!("{} of {name} is {}", rollout.id, rollout.phase.name()));
                if !is_free && rollout.phase != Phase::Scheduled {
                    invariants::violated(&mut world, "invariant 6: a taken target was taken again");
                }
                drop(world);
                if let Some(process) = &mut self.process {
                    process.begun(name, &spec);
                }
            }
            Err(StoreError::Occupied { active, .. }) if !is_free => {
                world.tell(format!("refused: {active} has {name}"));
            }
            Err(error) => {
                invariants::violated(&mut world, format!("a rollout could not be created: {error}"));
            }
        }
    }

    /// The rollout that has a target.
    pub fn active(&self, name: &str) -> Option<Rollout> {
        self.store.inspect(|data| {
            let id = data.targets.get(name)?.active.as_ref()?;
            data.rollouts.get(id).map(|data| data.rollout.clone())
        })
    }

    /// A command for whatever has the target. Gives its key.
    pub async fn command(&mut self, name: &str, kind: CommandKind, revision: Revision) -> Option<String> {
        self.count += 1;
        let key = format!("c{}", self.count);
        self.command_with_key(name, kind, revision, &key).await.then_some(key)
    }

    async fn command_with_key(
        &mut self,
        name: &str,
        kind: CommandKind,
        revision: Revision,
        key: &str,
    ) -> bool {
        let Some(active) = self.active(name) else { return false };
        let is_back = kind == CommandKind::Rollback && revision == Revision::None;
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
            let is_known = process.has(name, &active.id);
            let entry = InboxEntry { rollout: active.id.clone(), at, command: command.clone(), result: None };
            process.command(entry);
            if is_back && is_known && can_go_back(&active) {
                let mut world = self.world.lock();
                let since = world.now;
                world.ledger.target(name).back = Some(Back { since, rollout: active.id.clone() });
            }
        }
        self.store.enqueue(&active.id, command, at).await.is_ok()
    }

    /// Somebody changes the canary's weight at the router, if what Serin wants is in force there.
    fn by_hand(&mut self, name: &str, change: impl Fn(u16) -> u16) {
        let target = self.store.inspect(|data| data.targets.get(name).cloned());
        let Some(target) = target.filter(|target| target.is_seen()) else { return };
        let mut world = self.world.lock();
        let wanted = invariants::wanted_weights(&world, &target, &target.wanted);
        let Some(service) = world.services.get_mut(name) else { return };
        let Some(canary) = service.spec.pool(Role::Canary, target.swapped).cloned() else { return };
        let Some(stable) = service.spec.pool(Role::Stable, target.swapped).cloned() else { return };
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
            world.tell(format!("somebody sets the canary of {name} from {from} to {to}"));
            world.ledger.target(name).lowered_unheard = to < from;
        }
    }

    fn restart_proxy(&mut self, name: &str) {
        let mut world = self.world.lock();
        let Some(service) = world.services.get_mut(name) else { return };
        let configured = default_weights(&service.spec);
        if let Some(proxy) = service.proxies.values_mut().next() {
            proxy.in_force = configured;
            proxy.generation = 0;
            proxy.pending = None;
            proxy.tampered = true;
            proxy.connected = false;
        }
        world.settle_proxies();
    }

    /// A person decides about a split that the store knows nothing of.
    pub async fn decide_found(&mut self, name: &str) {
        let found = self.store.inspect(|data| data.targets.get(name).cloned());
        let Some(mut target) = found.filter(|target| target.found.is_some()) else { return };
        if let Some(found) = &mut target.found {
            found.decided = Some(Decided { decision: Decision::Zero, by: "erin".to_owned() });
        }
        self.world.lock().tell(format!("what was found at the router of {name} is to be set to 0%"));
        // A conflict is decided again with the next word.
        let _ = self.store.commit(&Commit { target: Some(target), ..Commit::default() }).await;
        if let Some(process) = &mut self.process {
            process.news_of(name);
        }
    }
}

/// Whether a person's rollback means anything to it.
fn can_go_back(rollout: &Rollout) -> bool {
    let is_on_its_way = !rollout.phase.is_terminal()
        && !matches!(rollout.phase, Phase::Scheduled | Phase::RollingBack { .. } | Phase::Verifying { .. });
    is_on_its_way && rollout.policy.mode == Mode::Act
}
