//! From an event to a stored state: what is decided is stored before anything follows from it, but for a
//! canary that goes down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::actor::{Actor, Arrived};
use super::commands::Pending;
use super::message::{Active, Answer, Decision, Job, JobKind, Now};
use crate::core::ids::RolloutId;
use crate::core::judge::JudgeState;
use crate::core::metric::MetricCursor;
use crate::core::rollout::{
    Action, Event, EventKind, Gap, Illegal, Outcome, Phase, Rollout, State, transition,
};
use crate::core::split::Weight;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::ports::{Commit, GateRequest, StoreError};
use crate::telemetry;

/// A commit that is under way.
pub(super) struct Flight {
    begun: Duration,
    then: Then,
    /// Commands that it answers.
    commands: Vec<(String, Result<(), String>)>,
    /// Decisions in it, for the own metrics.
    decisions: Vec<(EventKind, Timestamp)>,
}

/// What is true when the commit is stored.
pub(super) enum Then {
    /// The next state of the target with its rollout.
    State(Box<Next>),
    /// A target without a rollout, and whether it was looked at for the first time by this process.
    Target { target: Box<Target>, is_first: bool },
    /// A rollout that does not have the target; of the target only its incident.
    Other { rollout: Box<Rollout>, target: Option<Box<Target>> },
    /// Only that a command is refused.
    Refusal,
    /// What was in force already.
    Owed,
}

/// The next state, and what is done when it is stored or is not.
pub(super) struct Next {
    pub state: State,
    cursors: BTreeMap<String, MetricCursor>,
    /// It lowers the canary, so that it is in force whatever the store says.
    lowers: Option<Box<Commit>>,
    /// The look that it comes from.
    ticked: Option<Duration>,
    /// The gate that may be asked now that it is stored that its program begins.
    ask: Option<Box<GateRequest>>,
    /// What has to come again if it is not stored.
    again: Option<Again>,
}

/// What must not be lost with a commit that fails.
#[derive(Clone)]
pub(super) enum Again {
    Command(Box<Pending>),
    Gate { gate: String, answer: crate::core::gate::GateAnswer },
}

/// A way back that is in force, and that the store has not taken yet.
pub(super) struct Owed {
    commit: Box<Commit>,
    /// The command that it comes from, if the inbox may not have it.
    again: Option<Again>,
    /// The rollback that it is, to be decided again in another state.
    back: Option<(RolloutId, Event)>,
}

/// What comes with an event into its commit.
#[derive(Default)]
pub(super) struct With {
    pub cursors: BTreeMap<String, MetricCursor>,
    /// The command's key.
    pub command: Option<String>,
    pub ticked: Option<Duration>,
    pub ask: Option<Box<GateRequest>>,
    pub again: Option<Again>,
}

impl Actor {
    /// Puts an event of the active rollout through the transition.
    pub(super) fn put(&mut self, event: Event, now: Now, out: &mut Decision) {
        self.put_with(event, With::default(), now, out);
    }

    /// The same, with what comes with it.
    pub(super) fn put_with(&mut self, event: Event, with: With, now: Now, out: &mut Decision) {
        let Some(active) = &self.active else { return };
        let state = State {
            rollout: active.rollout.clone(),
            target: self.target.clone(),
            judge: active.judge.clone(),
        };
        self.put_state(state, event, with, now, out);
    }

    pub(super) fn put_state(&mut self, state: State, event: Event, with: With, now: Now, out: &mut Decision) {
        let is_quiet = matches!(event, Event::Observed { .. } | Event::Gate { .. });
        let outcome = match transition(state.clone(), event, now.wall) {
            Ok(outcome) => outcome,
            Err(illegal) => return self.refuse(with, &illegal, now, out),
        };
        if is_quiet && outcome.actions.is_empty() && alike(&state, &outcome.state) {
            return self.keep(outcome.state, BTreeMap::new(), now);
        }
        self.decide(&state, outcome, with, now, out);
    }

    /// Sends what was decided to the store; a canary that goes down goes down beside it.
    fn decide(&mut self, before: &State, mut outcome: Outcome, with: With, now: Now, out: &mut Decision) {
        self.steering.above(&before.target, &mut outcome.state.target);
        let mut commit = self.commit_of(before, &mut outcome, &with, now);
        self.bring_in(&mut commit);
        let lowers = outcome.state.target.wanted.canary < before.target.wanted.canary;
        let next = Next {
            state: outcome.state,
            cursors: with.cursors,
            lowers: lowers.then(|| Box::new(commit.clone())),
            ticked: with.ticked,
            ask: with.ask,
            again: with.again,
        };
        if next.state.target.generation != before.target.generation && self.steering.is_raising {
            // It is not wanted any more, and may not come after what is wanted now.
            self.cut_off(&JobKind::Apply, out);
            self.steering.is_raising = false;
        }
        if lowers {
            // What somebody else has lowered, and is adopted, is in force already.
            if !next.state.target.is_seen() {
                self.lower(&next.state.target, now, out);
            }
            out.answers.extend(commit.commands.iter().map(|(key, _)| (key.clone(), Answer::InForce)));
        }
        self.commit(commit, Then::State(Box::new(next)), now, out);
    }

    /// Commands from memory that the inbox may not have come into it with what became of them.
    fn bring_in(&self, commit: &mut Commit) {
        let keys = commit.commands.iter().map(|(key, _)| key);
        commit.asked = keys.filter_map(|key| self.unasked.get(key).cloned()).collect();
    }

    /// Sends a commit on its way.
    pub(super) fn commit(&mut self, mut commit: Commit, then: Then, now: Now, out: &mut Decision) {
        if commit.asked.is_empty() {
            self.bring_in(&mut commit);
        }
        self.flight = Some(Flight {
            begun: now.monotonic,
            then,
            commands: commit.commands.clone(),
            decisions: commit.events.iter().map(|event| (event.kind, event.at)).collect(),
        });
        self.send(JobKind::Commit, Job::Commit(Box::new(commit)), now, out);
    }

    /// What became of the commit that was under way.
    pub(super) fn stored(&mut self, result: Result<(), StoreError>, now: Now, out: &mut Decision) {
        let Some(flight) = self.flight.take() else { return };
        telemetry::store_answered(now.monotonic.saturating_sub(flight.begun).as_secs_f64());
        match result {
            Ok(()) => {
                out.storing = Some(true);
                self.retry_at = now.monotonic;
                self.is_stored(flight, now, out);
                self.tell_unstored(now);
            }
            Err(StoreError::Conflict(what)) if !matches!(flight.then, Then::Owed) => {
                telemetry::store_fault("conflict");
                tracing::warn!(%what, "somebody else has committed; loading again");
                self.is_outdated = true;
                self.not_stored(flight.then, false);
            }
            // A conflict: the answer to the first try was lost, or somebody else owns the target.
            Err(StoreError::Conflict(_)) => {
                out.storing = Some(true);
                self.is_outdated = true;
                match self.owed.take() {
                    Some(Owed { again: Some(Again::Command(pending)), .. }) => {
                        self.commands.push_front(*pending)
                    }
                    Some(Owed { back: Some((rollout, event)), .. }) => {
                        self.arrived.push_front(Arrived::Happened(rollout, Box::new(event)));
                    }
                    _ => {}
                }
            }
            Err(error) => {
                self.store_failed(&error, now, out);
                self.not_stored(flight.then, true);
                self.in_doubt = self.owed.is_none();
            }
        }
        out.shows = true;
    }

    fn is_stored(&mut self, flight: Flight, now: Now, out: &mut Decision) {
        for (key, result) in flight.commands {
            self.remember(&key, &result);
            self.unasked.remove(&key);
            out.answers.push((key, Answer::Stored(result)));
        }
        match flight.then {
            Then::State(next) => {
                let mut next = *next;
                next.state.target.revision += 1;
                next.state.rollout.revision += 1;
                out.changed.push(next.state.rollout.id.clone());
                self.measure(&flight.decisions, &next.state, now);
                if let Some(ticked) = next.ticked {
                    self.looks.last_tick = Some(ticked);
                    let seconds = now.monotonic.saturating_sub(ticked).as_secs_f64();
                    telemetry::tick(&self.target.name, &next.state.rollout.policy.name, seconds);
                }
                self.keep(next.state, next.cursors, now);
                if let Some(request) = next.ask {
                    let kind = JobKind::Gate(request.gate.name.clone());
                    self.send(kind, Job::Ask(request), now, out);
                }
            }
            Then::Target { target, is_first } => {
                self.target = Target { revision: target.revision + 1, ..*target };
                self.steering.looked |= is_first;
            }
            Then::Other { mut rollout, target } => {
                rollout.revision += 1;
                out.changed.push(rollout.id.clone());
                if let Some(target) = target {
                    self.target = Target { revision: target.revision + 1, ..*target };
                }
                self.knows(*rollout);
            }
            Then::Refusal => {}
            Then::Owed => {
                self.owed = None;
                self.is_outdated = true;
                out.changed.extend(self.active.as_ref().map(|active| active.rollout.id.clone()));
            }
        }
    }

    /// The state stays as it was, but for a canary that goes down: that is owed to the store.
    fn not_stored(&mut self, then: Then, is_away: bool) {
        let Then::State(next) = then else { return };
        let next = *next;
        if let Some(commit) = next.lowers.filter(|_| is_away) {
            let back = match &next.state.rollout.phase {
                Phase::RollingBack { reason, ending } => {
                    let event = Event::StillOwed { reason: reason.clone(), ending: ending.clone() };
                    Some((next.state.rollout.id.clone(), event))
                }
                _ => None,
            };
            self.keep_state(next.state, next.cursors);
            self.owed = Some(Owed { commit, again: next.again, back });
            return;
        }
        match next.again {
            // What the inbox has comes again from there, if it is not done: the answer may be what was lost.
            Some(Again::Command(pending)) if pending.is_stored => self.has_news = true,
            Some(Again::Command(pending)) => self.commands.push_front(*pending),
            Some(Again::Gate { gate, answer }) => self.arrived.push_front(Arrived::Gate { gate, answer }),
            None => {}
        }
    }

    /// Tries again to store a way back.
    pub(super) fn save_owed(&mut self, now: Now, out: &mut Decision) {
        if let Some(owed) = &self.owed {
            let commit = (*owed.commit).clone();
            self.commit(commit, Then::Owed, now, out);
        }
    }

    /// The store takes something again. For how long it has not is told, where that was long.
    fn tell_unstored(&mut self, now: Now) {
        let Some((since, active)) = self.unstored_since.take().zip(self.active.as_ref()) else { return };
        if !active.rollout.was_left_alone(since, now.wall) {
            return;
        }
        let gap = Event::Away { since, gap: Gap::Unstored };
        self.arrived.push_back(Arrived::Happened(active.rollout.id.clone(), Box::new(gap)));
    }

    /// The store has failed: it is left alone for a moment.
    pub(super) fn store_failed(&mut self, error: &StoreError, now: Now, out: &mut Decision) {
        self.unstored_since.get_or_insert(now.wall);
        self.retry_at = now.monotonic + self.options.confirm_interval;
        out.storing = Some(false);
        store_failed(&self.target.name, error);
    }

    /// Writes down that a command was refused; other events that mean nothing are dropped.
    fn refuse(&mut self, with: With, illegal: &Illegal, now: Now, out: &mut Decision) {
        match with.command {
            Some(key) => self.refuse_command(key, illegal.to_string(), now, out),
            None => tracing::debug!(target_name = %self.target.name, %illegal, "an event means nothing now"),
        }
    }

    pub(super) fn refuse_command(&mut self, key: String, why: String, now: Now, out: &mut Decision) {
        let commit = Commit { commands: vec![(key, Err(why))], ..Commit::default() };
        self.commit(commit, Then::Refusal, now, out);
    }

    fn commit_of(&self, before: &State, outcome: &mut Outcome, with: &With, now: Now) -> Commit {
        let mut commit = Commit {
            cursors: with.cursors.clone(),
            commands: with.command.iter().map(|key| (key.clone(), Ok(()))).collect(),
            ..Commit::default()
        };
        self.collect_actions(&mut commit, outcome, now);
        let state = &outcome.state;
        commit.target = Some(Target { revision: before.target.revision, ..state.target.clone() });
        commit.rollout = Some(state.rollout.clone());
        commit
    }

    pub(super) fn collect_actions(&self, commit: &mut Commit, outcome: &mut Outcome, now: Now) {
        let environment = self.spec.environment.as_deref();
        for action in &outcome.actions {
            let State { rollout, target, judge } = &mut outcome.state;
            match action {
                Action::Observe(tick) => {
                    let assessment = rollout.last.clone().unwrap_or_default();
                    if tick.seq % self.options.snapshot_every == 0 {
                        commit.snapshot = Some((tick.seq, judge.clone()));
                    }
                    commit.observation = Some((tick.clone(), assessment));
                }
                Action::Record(record) => commit.events.push(record.clone()),
                Action::Notify(notice) => {
                    commit.outbox.extend(self.telling.of_rollout(
                        environment,
                        rollout,
                        target,
                        notice,
                        now.wall,
                    ));
                }
            }
        }
    }

    /// The state is what was decided; an ended rollout leaves the target.
    fn keep(&mut self, state: State, new: BTreeMap<String, MetricCursor>, now: Now) {
        let was = self.active.as_ref().map(|active| active.rollout.id.clone());
        self.keep_state(state, new);
        let is = self.active.as_ref().map(|active| active.rollout.id.clone());
        if was != is && is.is_some() {
            self.begin_looks(now.monotonic);
        }
    }

    fn keep_state(&mut self, state: State, new: BTreeMap<String, MetricCursor>) {
        self.target = state.target;
        if state.rollout.phase.is_terminal() {
            self.active = None;
            self.has_news = true;
            return;
        }
        self.waiting.retain(|waiting| waiting.id != state.rollout.id);
        let known = self.active.take().filter(|active| active.rollout.id == state.rollout.id);
        let mut cursors = known.map(|active| active.cursors).unwrap_or_default();
        cursors.extend(new);
        self.active = Some(Active { rollout: state.rollout, judge: state.judge, cursors });
    }

    /// Own metrics of what was stored.
    fn measure(&mut self, decisions: &[(EventKind, Timestamp)], state: &State, now: Now) {
        let (service, policy) = (&state.target.name, &state.rollout.policy.name);
        for (kind, at) in decisions {
            if let Some(decision) = decision(*kind) {
                telemetry::decision(service, policy, decision, at.seconds());
            }
        }
        if state.target.generation != self.target.generation && self.steering.wanted_at.is_none() {
            self.steering.wanted_at = Some(now.monotonic);
        }
        if state.target.is_seen()
            && let Some(wanted_at) = self.steering.wanted_at.take()
        {
            let seconds = now.monotonic.saturating_sub(wanted_at).as_secs_f64();
            telemetry::split_confirmed(service, seconds);
            if state.target.wanted.canary == Weight::ZERO {
                telemetry::rollback_confirmed(service, seconds);
            }
        }
    }
}

impl Flight {
    /// Whether it carries a command out, or refuses it.
    pub(super) fn answers(&self, key: &str) -> bool {
        self.commands.iter().any(|(known, _)| known == key)
    }

    /// The state of the active rollout when it is stored.
    pub(super) fn next_state(&self) -> Option<&State> {
        match &self.then {
            Then::State(next) => Some(&next.state),
            _ => None,
        }
    }
}

/// The judge of a rollout that has not begun.
pub(super) fn fresh_judge(rollout: &Rollout) -> Arc<JudgeState> {
    Arc::new(JudgeState::of_method(rollout.method, &rollout.policy, rollout.history.as_ref()))
}

/// Own metrics and the log of a store that did not do what it was asked.
pub(in crate::engine) fn store_failed(target: &str, error: &StoreError) {
    telemetry::store_fault(match error {
        StoreError::Corrupt(_) => "corrupt",
        StoreError::Conflict(_) => "conflict",
        _ => "unavailable",
    });
    tracing::error!(target_name = %target, %error, "the store did not do what it was asked");
}

fn decision(kind: EventKind) -> Option<&'static str> {
    Some(match kind {
        EventKind::Advanced => "advance",
        EventKind::Promoted => "promote",
        EventKind::RollbackStarted => "roll_back",
        EventKind::HoldAdded => "hold",
        EventKind::Started => "start",
        EventKind::Succeeded => "succeed",
        EventKind::Cancelled => "cancel",
        EventKind::Failed => "fail",
        _ => return None,
    })
}

/// True if nothing worth a commit has changed: measured times of looking at the router do not count.
fn alike(before: &State, after: &State) -> bool {
    let mut rollout = after.rollout.clone();
    rollout.timers.unseen = before.rollout.timers.unseen;
    rollout == before.rollout && same_target(&before.target, &after.target)
}

pub(super) fn same_target(before: &Target, after: &Target) -> bool {
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
