//! Commands: from memory at once, and from the inbox of the store.

use super::actor::Actor;
use super::message::{Answer, Decision, JobKind, Now};
use super::store::{Again, Then, With, fresh_judge, same_target};
use crate::core::ids::RolloutId;
use crate::core::rollout::{CommandKind, Event, Rollout, State, transition};
use crate::core::split::{Split, Weight};
use crate::core::target::Target;
use crate::ports::{Commit, InboxEntry};
use std::time::Duration;

/// Keys that are remembered, so that the inbox's copy of a command is not carried out again.
const REMEMBERED: usize = 64;
/// Rollouts that begin later are looked at again after this, also if the wall clock jumps.
const LOOK_AT_WAITING: Duration = Duration::from_secs(10);

/// A command that waits for its turn.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub entry: InboxEntry,
    /// The inbox has it.
    pub is_stored: bool,
}

impl Actor {
    /// A command from memory. It is taken before everything that waits; while a commit is under way, what it
    /// lowers is lowered all the same.
    pub(super) fn hand_over(&mut self, entry: InboxEntry, now: Now, out: &mut Decision) {
        let key = entry.command.key.clone();
        if let Some((_, result)) = self.taken.iter().find(|(known, _)| *known == key) {
            out.answers.push((key, Answer::Stored(result.clone())));
            return;
        }
        let is_on_its_way = self.flight.as_ref().is_some_and(|flight| flight.answers(&key));
        if is_on_its_way || self.commands.iter().any(|pending| pending.entry.command.key == key) {
            return;
        }
        match &entry.command.kind {
            CommandKind::Pause if self.is_for_active(&entry.rollout) => {
                if self.steering.is_raising {
                    self.cut_off(&JobKind::Apply, out);
                }
                // From here on nothing rises: `drive` asks for pauses that wait.
                out.answers.push((key, Answer::InForce));
            }
            kind if kind.may_lower() && self.must_hurry(&entry) => {
                let ahead = self.ahead_target().clone();
                let down = Target { wanted: Split::STABLE, ..ahead };
                self.lower_now(down, now, out);
                out.answers.push((key, Answer::InForce));
            }
            // An alert that may pause: until it has been decided, nothing rises.
            kind if kind.may_hold() && self.is_for_active(&entry.rollout) && self.steering.is_raising => {
                self.cut_off(&JobKind::Apply, out);
            }
            _ => {}
        }
        self.commands.push_front(Pending { entry, is_stored: false });
    }

    fn is_for_active(&self, rollout: &RolloutId) -> bool {
        self.active.as_ref().is_some_and(|active| active.rollout.id == *rollout)
    }

    /// Whether a rollback would be carried out, and cannot be put through the transition at once.
    fn must_hurry(&self, entry: &InboxEntry) -> bool {
        let waits = self.flight.is_some() || self.is_outdated || self.in_doubt;
        let Some(active) = self.active.as_ref().filter(|active| active.rollout.id == entry.rollout) else {
            return false;
        };
        if !waits || self.owed.is_some() {
            return false;
        }
        let state = match &self.flight {
            Some(flight) => flight.next_state().cloned(),
            None => None,
        };
        let state = state.unwrap_or_else(|| State {
            rollout: active.rollout.clone(),
            target: self.target.clone(),
            judge: active.judge.clone(),
        });
        let exposed = state.target.wanted.canary.max(self.target.wanted.canary) > Weight::ZERO;
        let now = now_of(&state);
        let outcome = transition(state, Event::Command(entry.command.clone()), now);
        exposed && outcome.is_ok_and(|outcome| outcome.state.target.wanted.canary == Weight::ZERO)
    }

    /// The target as it is when the commit under way is stored.
    fn ahead_target(&self) -> &Target {
        self.flight
            .as_ref()
            .and_then(|flight| flight.next_state())
            .map_or(&self.target, |state| &state.target)
    }

    /// Whether a pause, or an alert that may pause, waits for its turn.
    pub(super) fn has_pause_waiting(&self) -> bool {
        self.commands.iter().any(|pending| pending.entry.command.kind.may_hold())
    }

    pub(super) fn has_rollback_waiting(&self) -> bool {
        self.commands.iter().any(|pending| pending.entry.command.kind == CommandKind::Rollback)
    }

    /// What became of a command that came from memory; the inbox's copy is answered with the same.
    pub(super) fn remember(&mut self, key: &str, result: &Result<(), String>) {
        if self.taken.len() == REMEMBERED {
            self.taken.pop_front();
        }
        self.taken.push_back((key.to_owned(), result.clone()));
    }

    /// The inbox as the store holds it: what waits here and is not there any more is done.
    pub(super) fn take_inbox(&mut self, inbox: Vec<InboxEntry>, done: &[(String, Result<(), String>)]) {
        for (key, result) in done {
            self.commands.retain(|pending| pending.entry.command.key != *key);
            self.remember(key, result);
        }
        let has = |key: &str| inbox.iter().any(|entry| entry.command.key == key);
        self.commands.retain(|pending| !pending.is_stored || has(&pending.entry.command.key));
        for entry in inbox {
            let key = &entry.command.key;
            match self.commands.iter_mut().find(|pending| pending.entry.command.key == *key) {
                Some(pending) => pending.is_stored = true,
                None => self.commands.push_back(Pending { entry, is_stored: true }),
            }
        }
    }

    /// Takes the next command. False if there is none.
    pub(super) fn next_command(&mut self, may_store: bool, now: Now, out: &mut Decision) -> bool {
        if !may_store {
            return false;
        }
        self.next_of(|_| true, now, out)
    }

    /// Takes a rollback before everything else: it needs no store, waits for no freeze, and is in force at once.
    pub(super) fn next_rollback(&mut self, may_store: bool, now: Now, out: &mut Decision) -> bool {
        let lowers = self.target.wanted.canary > Weight::ZERO;
        if !may_store && !lowers {
            return false;
        }
        self.next_of(|pending| pending.entry.command.kind.may_lower(), now, out)
    }

    fn next_of(&mut self, wanted: impl Fn(&Pending) -> bool, now: Now, out: &mut Decision) -> bool {
        let Some(place) = self.commands.iter().position(wanted) else { return false };
        let Some(pending) = self.commands.remove(place) else { return false };
        if !pending.is_stored {
            self.unasked.insert(pending.entry.command.key.clone(), pending.entry.clone());
        }
        let key = pending.entry.command.key.clone();
        if let Some((_, result)) = self.taken.iter().find(|(known, _)| *known == key).cloned() {
            // It was taken from memory, and the inbox got it later.
            let commit = Commit { commands: vec![(key, result)], ..Commit::default() };
            self.commit(commit, Then::Refusal, now, out);
            return true;
        }
        let rollout = pending.entry.rollout.clone();
        let event = Event::Command(pending.entry.command.clone());
        if self.is_for_active(&rollout) {
            let again = Some(Again::Command(Box::new(pending)));
            let with = With { command: Some(key), again, ..With::default() };
            self.put_with(event, with, now, out);
        } else {
            self.put_other(&rollout, event, Some(key), now, out);
        }
        true
    }

    /// Something that happens to a rollout of this target, whoever has it.
    pub(super) fn take_happened(&mut self, rollout: &RolloutId, event: Event, now: Now, out: &mut Decision) {
        if self.is_for_active(rollout) {
            self.put(event, now, out);
        } else {
            self.put_other(rollout, event, None, now, out);
        }
    }

    /// Something that happens to a rollout that waits for the target, or has ended. Of the target nothing is
    /// theirs but the incident that they have left.
    fn put_other(&mut self, id: &RolloutId, event: Event, key: Option<String>, now: Now, out: &mut Decision) {
        let known = self.waiting.iter().chain(&self.ended).find(|rollout| rollout.id == *id);
        let Some(rollout) = known.cloned() else {
            if let Some(key) = key {
                let why = format!("rollout {id} ended long ago, and nothing can be done to it any more");
                self.refuse_command(key, why, now, out);
            }
            return;
        };
        let judge = fresh_judge(&rollout);
        let state = State { rollout, target: self.target.clone(), judge };
        match (transition(state.clone(), event, now.wall), key) {
            (Err(illegal), Some(key)) => self.refuse_command(key, illegal.to_string(), now, out),
            (Err(_), None) => {}
            (Ok(mut outcome), key) => {
                let mut commit = Commit {
                    commands: key.map(|key| (key, Ok(()))).into_iter().collect(),
                    ..Commit::default()
                };
                self.collect_actions(&mut commit, &mut outcome, now);
                let target =
                    Target { incident: outcome.state.target.incident.clone(), ..self.target.clone() };
                let target = (!same_target(&self.target, &target)).then_some(target);
                commit.target.clone_from(&target);
                commit.rollout = Some(outcome.state.rollout.clone());
                let rollout = Box::new(outcome.state.rollout);
                self.commit(commit, Then::Other { rollout, target: target.map(Box::new) }, now, out);
            }
        }
    }

    /// A free target takes the oldest rollout that waits for it and may begin; others are announced. False if
    /// there is nothing to do.
    pub(super) fn next_waiting(&mut self, now: Now, out: &mut Decision) -> bool {
        let is_due = |rollout: &&Rollout| rollout.not_before.is_none_or(|not_before| now.wall >= not_before);
        if self.target.active.is_none()
            && self.active.is_none()
            && let Some(rollout) = self.waiting.iter().find(is_due).cloned()
        {
            let judge = fresh_judge(&rollout);
            let state = State { rollout, target: self.target.clone(), judge };
            self.put_state(state, Event::Begin, With::default(), now, out);
            return self.flight.is_some();
        }
        let Some((id, lead)) = self.waiting.iter().find_map(|rollout| announcement(rollout, now)) else {
            return false;
        };
        self.put_other(&id, Event::Announce(lead), None, now, out);
        self.flight.is_some()
    }

    /// When a rollout that waits may have to be announced, or to begin.
    pub(super) fn due_waiting(&self) -> Duration {
        if self.waiting.iter().any(|rollout| rollout.not_before.is_some()) {
            self.steering.last_work + LOOK_AT_WAITING.min(self.options.reconcile_interval)
        } else {
            Duration::MAX
        }
    }
}

/// The time before the beginning that is to be announced now.
fn announcement(rollout: &Rollout, now: Now) -> Option<(RolloutId, Duration)> {
    let begins_at = rollout.not_before.filter(|begins_at| now.wall < *begins_at)?;
    let leads = rollout.policy.announce.iter().filter(|lead| begins_at.minus(**lead) <= now.wall);
    let lead = leads.min().copied().filter(|lead| !rollout.announced.contains(lead))?;
    Some((rollout.id.clone(), lead))
}

/// Only whether a command would be taken is asked: no record of it is kept.
fn now_of(state: &State) -> crate::core::time::Timestamp {
    state.rollout.phase_since
}
