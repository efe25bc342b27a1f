//! From an event to a stored state.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::slot::{Active, Slot};
use crate::core::metric::MetricCursor;
use crate::core::rollout::{
    Action, Command, Event, EventKind, Illegal, Notice, Outcome, RolloutId, State, transition,
};
use crate::core::target::{Target, Weight};
use crate::ports::{Commit, Died, InboxEntry, RolloutFilter, StoreError};
use crate::telemetry;

/// A way back that is carried out though the store has not taken it.
pub(super) struct Unsaved {
    commit: Commit,
}

impl Engine {
    /// Puts one event through the transition and stores what comes out. True if it was stored.
    pub(super) async fn take(
        &self,
        slot: &mut Slot,
        event: Event,
        cursors: BTreeMap<String, MetricCursor>,
        command: Option<&str>,
    ) -> Result<bool, Died> {
        let Some(active) = &slot.active else { return Ok(false) };
        let state = State {
            rollout: active.rollout.clone(),
            target: slot.target.clone(),
            judge: active.judge.clone(),
        };
        let quiet = matches!(event, Event::Observed { .. } | Event::Gate { .. });
        let outcome = match transition(&state, event, self.clock().wall()) {
            Ok(outcome) => outcome,
            Err(illegal) => return self.refuse(slot, command, &illegal).await,
        };
        if quiet && outcome.actions.is_empty() && alike(&state, &outcome.state) {
            keep(slot, outcome.state, BTreeMap::new());
            return Ok(true);
        }
        let mut outcome = outcome;
        let mut commit = self.commit_of(&state, &mut outcome, cursors);
        commit.commands.extend(command.map(|key| (key.to_owned(), Ok(()))));
        let lowers = outcome.state.target.wanted.canary < state.target.wanted.canary;
        self.store_outcome(slot, commit, outcome, lowers).await
    }

    async fn store_outcome(
        &self,
        slot: &mut Slot,
        commit: Commit,
        mut outcome: Outcome,
        lowers: bool,
    ) -> Result<bool, Died> {
        self.pass("before_commit")?;
        let begun = self.clock().monotonic();
        let stored = self.store().commit(&commit).await;
        telemetry::store_answered(self.clock().monotonic().saturating_sub(begun).as_secs_f64());
        match stored {
            Ok(()) => {
                self.parts.handle.set_storing(true);
                outcome.state.target.revision += 1;
                outcome.state.rollout.revision += 1;
                self.parts.handle.changed(&outcome.state.rollout.id);
                self.measure(slot, &commit, &outcome.state);
                keep(slot, outcome.state, commit.cursors.clone());
                self.pass(name_of(&commit))?;
                Ok(true)
            }
            Err(StoreError::Conflict(what)) => {
                telemetry::store_fault("conflict");
                tracing::warn!(%what, "somebody else has committed; loading again");
                slot.outdated = true;
                Ok(false)
            }
            Err(error) => {
                self.store_failed(&slot.target.name, &error);
                if lowers {
                    keep(slot, outcome.state, commit.cursors.clone());
                    slot.unsaved = Some(Unsaved { commit });
                }
                Ok(false)
            }
        }
    }

    /// Tries again to store a way back. True if nothing is unsaved any more.
    pub(super) async fn save_unsaved(&self, slot: &mut Slot) -> Result<bool, Died> {
        let Some(unsaved) = &slot.unsaved else { return Ok(true) };
        let result = self.store().commit(&unsaved.commit).await;
        match result {
            Ok(()) | Err(StoreError::Conflict(_)) => {
                // A conflict: the answer to the first try was lost, or somebody else owns the target.
                self.parts.handle.set_storing(true);
                if let Some(rollout) = &unsaved.commit.rollout {
                    self.parts.handle.changed(&rollout.id);
                }
                slot.unsaved = None;
                slot.outdated = true;
                Ok(self.reload(slot).await)
            }
            Err(_) => Ok(false),
        }
    }

    /// Stores a target that no rollout has. True if it is as it is stored.
    pub(super) async fn take_target(
        &self,
        slot: &mut Slot,
        target: Target,
        notices: Vec<Notice>,
    ) -> Result<bool, Died> {
        if same_target(&slot.target, &target) {
            slot.target = target;
            return Ok(true);
        }
        let mut commit = Commit { target: Some(target.clone()), ..Commit::default() };
        commit.outbox = notices.iter().flat_map(|notice| self.outbox.channels_of(notice)).collect();
        self.pass("before_commit")?;
        match self.store().commit(&commit).await {
            Ok(()) => {
                slot.target = Target { revision: target.revision + 1, ..target };
                self.pass("other_committed")?;
                return Ok(true);
            }
            Err(StoreError::Conflict(_)) => slot.outdated = true,
            Err(error) => self.store_failed(&slot.target.name, &error),
        }
        Ok(false)
    }

    pub(super) fn store_failed(&self, target: &str, error: &StoreError) {
        self.parts.handle.set_storing(false);
        telemetry::store_fault(match error {
            StoreError::Corrupt(_) => "corrupt",
            StoreError::Conflict(_) => "conflict",
            _ => "unavailable",
        });
        tracing::error!(target_name = %target, %error, "the store did not do what it was asked");
    }

    /// Own metrics of what was committed.
    fn measure(&self, slot: &mut Slot, commit: &Commit, state: &State) {
        let (service, policy) = (&state.target.name, &state.rollout.policy.name);
        for event in &commit.events {
            let decision = match event.kind {
                EventKind::Advanced => "advance",
                EventKind::Promoted => "promote",
                EventKind::RollbackStarted => "roll_back",
                EventKind::HoldAdded => "hold",
                EventKind::Started => "start",
                EventKind::Succeeded => "succeed",
                EventKind::Cancelled => "cancel",
                EventKind::Failed => "fail",
                _ => continue,
            };
            telemetry::decision(service, policy, decision, event.at.seconds());
        }
        let now = self.clock().monotonic();
        if state.target.generation != slot.target.generation {
            slot.wanted_at = Some(now);
        }
        if state.target.is_seen()
            && let Some(wanted_at) = slot.wanted_at.take()
        {
            let seconds = now.saturating_sub(wanted_at).as_secs_f64();
            telemetry::split_confirmed(service, seconds);
            if state.target.wanted.canary == Weight::ZERO {
                telemetry::rollback_confirmed(service, seconds);
            }
        }
    }

    fn commit_of(
        &self,
        before: &State,
        outcome: &mut Outcome,
        cursors: BTreeMap<String, MetricCursor>,
    ) -> Commit {
        let mut commit = Commit { cursors, ..Commit::default() };
        for action in &outcome.actions {
            if let Action::Notify(notice) = action {
                let (rollout, target) = (&outcome.state.rollout, &mut outcome.state.target);
                commit.outbox.extend(self.outbox.told(rollout, target, notice));
            }
        }
        let state = &outcome.state;
        commit.target = Some(Target { revision: before.target.revision, ..state.target.clone() });
        commit.rollout = Some(state.rollout.clone());
        for action in &outcome.actions {
            match action {
                Action::Observe(tick) => {
                    let assessment = state.rollout.last.clone().unwrap_or_default();
                    if tick.seq % self.parts.options.snapshot_every == 0 {
                        commit.snapshot = Some((tick.seq, state.judge.clone()));
                    }
                    commit.observation = Some((tick.clone(), assessment));
                }
                Action::Record(record) => commit.events.push(record.clone()),
                Action::Notify(_) => {}
            }
        }
        commit
    }

    /// Writes down that a command was refused; other events that mean nothing are dropped.
    async fn refuse(&self, slot: &mut Slot, command: Option<&str>, illegal: &Illegal) -> Result<bool, Died> {
        let Some(key) = command else {
            tracing::debug!(target_name = %slot.target.name, %illegal, "an event means nothing now");
            return Ok(false);
        };
        let commit =
            Commit { commands: vec![(key.to_owned(), Err(illegal.to_string()))], ..Commit::default() };
        if let Err(error) = self.store().commit(&commit).await {
            tracing::warn!(%error, "a refused command could not be written down");
            slot.asked = true;
        }
        Ok(false)
    }

    /// Takes the commands of the target's rollouts, oldest first.
    pub(super) async fn take_commands(&self, slot: &mut Slot) -> Result<(), Died> {
        let Ok(scheduled) = self.store().scheduled(&slot.target.name).await else {
            slot.asked = true;
            return Ok(());
        };
        let mut ids = scheduled;
        // A command that came in just before the end is refused, not left without an answer.
        let ended = RolloutFilter {
            target: Some(slot.target.name.clone()),
            active: Some(false),
            limit: 3,
            ..RolloutFilter::default()
        };
        ids.extend(self.store().rollouts(&ended).await.unwrap_or_default().into_iter().map(|r| r.id));
        ids.extend(slot.active.as_ref().map(|active| active.rollout.id.clone()));
        if ids.is_empty() {
            return Ok(());
        }
        let Ok(pending) = self.store().pending(&ids).await else {
            slot.asked = true;
            return Ok(());
        };
        for entry in pending {
            let InboxEntry { rollout, command, .. } = entry;
            let active = slot.active.as_ref().map(|active| &active.rollout.id);
            if active == Some(&rollout) {
                let key = command.key.clone();
                let stored = self.take(slot, Event::Command(command), BTreeMap::new(), Some(&key)).await?;
                // What was not stored is asked for again.
                slot.asked |= !stored && slot.outdated;
            } else {
                self.command_scheduled(slot, &rollout, command).await?;
            }
            if slot.unsaved.is_some() || slot.outdated {
                slot.asked = true;
                break;
            }
        }
        Ok(())
    }

    /// A command for a rollout that waits for the target, or has ended.
    async fn command_scheduled(&self, slot: &mut Slot, id: &RolloutId, command: Command) -> Result<(), Died> {
        let key = command.key.clone();
        self.scheduled_event(slot, id, Event::Command(command), Some(key)).await
    }

    /// Something that happens to a rollout that waits for the target, or has ended.
    pub(super) async fn scheduled_event(
        &self,
        slot: &mut Slot,
        id: &RolloutId,
        event: Event,
        command: Option<String>,
    ) -> Result<(), Died> {
        let Ok(stored) = self.store().load(id).await else { return Ok(()) };
        let judge = crate::core::judge::JudgeState::new(&stored.rollout.policy);
        let state = State { rollout: stored.rollout, target: slot.target.clone(), judge };
        let commit = match (transition(&state, event, self.clock().wall()), command) {
            (Err(illegal), Some(key)) => {
                Commit { commands: vec![(key, Err(illegal.to_string()))], ..Commit::default() }
            }
            (Err(_), None) => return Ok(()),
            (Ok(mut outcome), command) => {
                let mut commit = self.commit_of(&state, &mut outcome, BTreeMap::new());
                // Of the target nothing is theirs but the incident that they have left.
                let incident = outcome.state.target.incident;
                let changed = incident != state.target.incident;
                commit.target = changed.then(|| Target { incident, ..slot.target.clone() });
                commit.commands.extend(command.map(|key| (key, Ok(()))));
                commit
            }
        };
        match self.store().commit(&commit).await {
            Ok(()) => {
                self.parts.handle.changed(id);
                if let Some(target) = commit.target {
                    slot.target = Target { revision: target.revision + 1, ..target };
                }
            }
            Err(error) => {
                slot.outdated |= commit.target.is_some() && matches!(error, StoreError::Conflict(_));
                tracing::warn!(%error, "a command could not be carried out yet");
                slot.asked = true;
            }
        }
        self.pass("other_committed")
    }

    /// A free target takes the oldest rollout that waits for it.
    pub(super) async fn begin_scheduled(&self, slot: &mut Slot) -> Result<(), Died> {
        if slot.target.active.is_some() || slot.outdated || slot.unsaved.is_some() {
            return Ok(());
        }
        let Ok(scheduled) = self.store().scheduled(&slot.target.name).await else {
            slot.asked = true;
            return Ok(());
        };
        let now = self.clock().wall();
        let mut due = None;
        for id in &scheduled {
            let Ok(rollout) = self.store().rollout(id).await else { continue };
            if rollout.not_before.is_none_or(|not_before| now >= not_before) {
                due = Some(id);
                break;
            }
        }
        let Some(id) = due else { return Ok(()) };
        let Ok(stored) = self.store().load(id).await else { return Ok(()) };
        let judge = crate::core::judge::JudgeState::new(&stored.rollout.policy);
        slot.active = Some(Active { rollout: stored.rollout, judge, cursors: stored.cursors });
        let begun = self.take(slot, Event::Begin, BTreeMap::new(), None).await?;
        if begun {
            slot.plan_tick(self.clock().monotonic());
            slot.last_tick = None;
        } else {
            slot.active = None;
            slot.asked = true;
        }
        Ok(())
    }

    /// Loads a slot from the store. False if the store cannot be read.
    pub(super) async fn reload(&self, slot: &mut Slot) -> bool {
        let loaded = async {
            let target = self.store().target(&slot.target.name).await?;
            let active = self.load_active(&target).await?;
            Ok::<_, StoreError>((target, active))
        };
        match loaded.await {
            Ok((target, active)) => {
                if target.epoch != slot.target.epoch {
                    tracing::error!(target_name = %target.name, "another process owns the target now");
                    if let Some(router) = self.parts.routers.get(&slot.spec.router) {
                        router.authority(false).await;
                    }
                }
                let same = active.as_ref().map(|active| &active.rollout.id)
                    == slot.active.as_ref().map(|active| &active.rollout.id);
                if !same {
                    slot.last_tick = None;
                }
                let epoch = slot.target.epoch;
                slot.target = Target {
                    epoch,
                    has_baseline: slot.target.has_baseline,
                    drain: slot.target.drain,
                    stable_version: target.stable_version.or(slot.target.stable_version.take()),
                    ..target
                };
                slot.active = active;
                if slot.target.found.is_some() {
                    // Somebody may have decided.
                    slot.next_observe = Duration::ZERO;
                }
                slot.outdated = false;
                slot.asked = true;
                true
            }
            Err(error) => {
                self.store_failed(&slot.target.name, &error);
                false
            }
        }
    }

    /// Finds out what others have stored: new rollouts, commands, or another owner. Gives the targets
    /// that have work. With `woken`, all are taken to have some.
    pub(super) async fn refresh(&self, woken: bool) -> Vec<String> {
        let targets = match self.store().targets().await {
            Ok(targets) => targets,
            Err(error) => {
                self.store_failed("all", &error);
                return Vec::new();
            }
        };
        if !self.parts.handle.is_ready() && self.store().ping().await.is_ok() {
            self.parts.handle.set_storing(true);
        }
        let active: Vec<_> = targets.iter().filter_map(|target| target.active.clone()).collect();
        let pending = self.store().pending(&active).await.unwrap_or_default();
        let mut work = Vec::new();
        for target in targets {
            let Some(slot) = self.slots.get(&target.name) else { continue };
            // A slot that is at work is looked at the next time.
            let Ok(mut slot) = slot.try_lock() else { continue };
            let commanded = pending.iter().any(|entry| Some(&entry.rollout) == target.active.as_ref());
            if slot.unsaved.is_none() && target.revision != slot.target.revision {
                slot.outdated = true;
            }
            slot.asked |= woken || commanded;
            if slot.outdated || slot.asked {
                work.push(target.name);
            }
        }
        work
    }
}

/// Puts a state into the slot; an ended rollout leaves it.
fn keep(slot: &mut Slot, state: State, new: BTreeMap<String, MetricCursor>) {
    slot.target = state.target;
    let Some(active) = &mut slot.active else { return };
    if state.rollout.phase.is_terminal() {
        slot.active = None;
        slot.asked = true;
        return;
    }
    active.rollout = state.rollout;
    active.judge = state.judge;
    active.cursors.extend(new);
}

/// True if nothing worth a commit has changed: measured times of looking at the router do not count.
fn alike(before: &State, after: &State) -> bool {
    let mut rollout = after.rollout.clone();
    rollout.timers.unseen = before.rollout.timers.unseen;
    rollout == before.rollout && same_target(&before.target, &after.target)
}

fn same_target(before: &Target, after: &Target) -> bool {
    let mut after = after.clone();
    for (id, node) in &mut after.nodes {
        if let Some(known) = before.nodes.get(id)
            && node.connected
        {
            node.last_seen = known.last_seen;
        }
    }
    after == *before
}

/// The failpoint after a commit, by what it decided.
fn name_of(commit: &Commit) -> &'static str {
    let has = |kind| commit.events.iter().any(|event| event.kind == kind);
    let terminal = commit.rollout.as_ref().is_some_and(|r| r.phase.is_terminal());
    if has(EventKind::RollbackStarted) {
        "rollback_committed"
    } else if terminal {
        "end_committed"
    } else if has(EventKind::StepEntered) {
        "step_committed"
    } else if commit.observation.is_some() {
        "tick_committed"
    } else {
        "other_committed"
    }
}
