//! The split: looked at, and driven to what is wanted until that is seen everywhere.

use std::time::Duration;

use super::actor::{Actor, Arrived};
use super::message::{ApplyError, Decision, Job, JobKind, Now};
use super::store::{Then, same_target, store_failed};
use crate::core::idle::{Idle, idle};
use crate::core::policy::Mode;
use crate::core::pools::ObservedSplit;
use crate::core::rollout::{Event, Hold};
use crate::core::split::Weight;
use crate::core::target::{Finding, Target};
use crate::ports::{Commit, RouterError, StoreError};
use crate::telemetry;

/// What is known of the way to the router.
pub(super) struct Steering {
    /// When the next look at the split is due.
    next_observe: Duration,
    /// The last look at the split, by this process.
    last_observe: Option<Duration>,
    /// When the split may be applied again.
    next_drive: Duration,
    /// The newest generation that was applied, or looked at after it was applied.
    last_drive: Option<u64>,
    /// The generation that the look at the split is about.
    observing: u64,
    /// The newest generation that a router was given.
    pub driven: u64,
    /// What is being applied is more than what is in force.
    pub is_raising: bool,
    /// A way back that a person has ordered while something else was being stored, until a router has taken it.
    hurried: Option<Box<Target>>,
    /// The router was last found to give the canary more than is wanted.
    was_raised: bool,
    /// This process has heard from the router.
    pub looked: bool,
    /// The router says that something has changed since it was asked.
    has_changed: bool,
    /// What the router was last asked it has answered.
    answered: bool,
    /// Somebody else may have decided what was found: the store is read before it is set right.
    pub must_read: bool,
    /// It is being read since then.
    pub is_reading: bool,
    /// When the generation that is not seen yet was wanted.
    pub wanted_at: Option<Duration>,
    /// When the target was last worked on.
    pub last_work: Duration,
}

impl Steering {
    pub fn new(now: Duration) -> Steering {
        Steering {
            next_observe: now,
            last_observe: None,
            next_drive: now,
            last_drive: None,
            observing: 0,
            driven: 0,
            is_raising: false,
            hurried: None,
            was_raised: false,
            looked: false,
            has_changed: false,
            answered: false,
            must_read: false,
            is_reading: false,
            wanted_at: None,
            last_work: now,
        }
    }

    /// Whether what is being read was asked for too early.
    pub fn must_read_again(&self) -> bool {
        self.must_read && !self.is_reading
    }

    /// The split is looked at as soon as possible.
    pub fn look_now(&mut self, now: Duration) {
        self.next_observe = now;
    }

    /// The router says that something has changed: also a target that is not steered is looked at.
    pub fn changed(&mut self, now: Duration) {
        self.has_changed = true;
        self.look_now(now);
    }

    /// A new split has a generation above everything that a router was ever given: a way back may have run
    /// ahead of the store.
    pub fn above(&self, before: &Target, after: &mut Target) {
        if after.generation == before.generation || after.generation > self.driven {
            return;
        }
        let raised = self.driven + 1;
        if let Some(seen) = after.seen.as_mut().filter(|seen| seen.generation == after.generation) {
            seen.generation = raised;
        }
        after.generation = raised;
    }
}

impl Actor {
    pub(super) fn due_router(&self) -> Duration {
        let observe =
            if self.is_asked(&JobKind::Observe) { Duration::MAX } else { self.steering.next_observe };
        let wants_drive = self.hurried().is_some() || (self.wants_drive() && !self.waits_for_look());
        let drive = if wants_drive && !self.is_asked(&JobKind::Apply) {
            self.steering.next_drive
        } else {
            Duration::MAX
        };
        observe.min(drive)
    }

    // ---------------------------------------------------------------------------------------- looking

    /// A look at the metrics begins with a look at the split.
    pub(super) fn observe_for_look(&mut self, now: Now, out: &mut Decision) {
        if !self.is_asked(&JobKind::Observe) {
            self.steering.next_observe = now.monotonic;
            self.ask_router(now, out);
        }
    }

    /// Looks at the split, if that is due.
    pub(super) fn ask_router(&mut self, now: Now, out: &mut Decision) {
        self.steering.last_work = now.monotonic;
        if self.is_asked(&JobKind::Observe) {
            if self.steering.observing == self.target.generation {
                return;
            }
            // It is about a split that is not wanted any more.
            self.cut_off(&JobKind::Observe, out);
            self.steering.next_observe = now.monotonic;
        }
        if now.monotonic < self.steering.next_observe {
            return;
        }
        let is_of_interest = !self.steering.looked || self.steering.has_changed;
        if !self.steers() && !is_of_interest && self.target.found.is_none() {
            self.steering.next_observe = now.monotonic + self.options.reconcile_interval;
            self.looks.observed();
            return;
        }
        // Not `in_force`: a router that does not answer is not asked more often for it.
        let is_settled = self.target.is_seen() && self.target.unconfirmed_nodes().is_empty();
        let pause = if is_settled { self.options.reconcile_interval } else { self.options.confirm_interval };
        self.steering.next_observe = now.monotonic + pause;
        if let Some(active) = &self.active {
            let latest = now.monotonic + active.rollout.policy.analysis.interval;
            self.steering.next_observe = self.steering.next_observe.min(latest);
        }
        self.steering.observing = self.target.generation;
        self.steering.has_changed = false;
        let (router, route) = (self.spec.router.clone(), Box::new(self.route()));
        self.send(JobKind::Observe, Job::Observe { router, route }, now, out);
    }

    /// What the router says. One that cannot be asked says nothing of the split.
    pub(super) fn observed(&mut self, observed: Result<ObservedSplit, RouterError>, now: Now) {
        self.steering.answered = observed.is_ok();
        let split = observed.unwrap_or_else(|error| {
            tracing::warn!(target_name = %self.target.name, %error, "the split cannot be observed");
            ObservedSplit { nodes: self.target.nodes.clone(), ..ObservedSplit::of(None) }
        });
        let last = self.steering.last_observe.replace(now.monotonic);
        let elapsed = last.map_or(Duration::ZERO, |last| now.monotonic.saturating_sub(last));
        self.arrived.push_back(Arrived::Observed { split, elapsed });
    }

    /// Takes in what the router says.
    pub(super) fn take_observed(
        &mut self,
        split: ObservedSplit,
        elapsed: Duration,
        now: Now,
        out: &mut Decision,
    ) {
        let wanted = self.target.wanted;
        let found = split.split;
        if let Some(unstored) = split.unstored {
            // What is decided about it is newer in every proxy.
            self.steering.driven = self.steering.driven.max(unstored.generation);
        }
        let is_raised = found.is_some_and(|f| f != wanted && f.canary >= wanted.canary);
        if is_raised && !self.steering.was_raised {
            self.steering.must_read = true;
            self.has_news = true;
        }
        self.steering.was_raised = is_raised;
        if self.active.is_some() {
            self.steering.looked |= self.steering.answered;
            self.put(Event::Observed { split, elapsed }, now, out);
        } else {
            self.reconcile_idle(&split, now, out);
        }
        self.looks.observed();
    }

    /// While nothing can be stored or decided, what the router says is kept in mind alone.
    pub(super) fn keep_watch(&mut self, now: Now) {
        let arrived = std::mem::take(&mut self.arrived);
        for arrived in arrived {
            match arrived {
                Arrived::Observed { split, .. } => {
                    let wanted = self.target.wanted;
                    let is_raised = split.split.is_some_and(|f| f != wanted && f.canary >= wanted.canary);
                    if is_raised && !self.steering.was_raised && self.owed.is_none() {
                        // Whoever has stored something newer may have raised it.
                        self.steering.must_read = true;
                        self.has_news = true;
                    }
                    self.steering.was_raised = is_raised;
                    self.target.observe(&split, now.wall);
                    self.looks.observed();
                }
                // Looks come again; their cursors stay where they are.
                Arrived::Tick { .. } | Arrived::History(_) => {}
                other => self.arrived.push_back(other),
            }
        }
    }

    /// What becomes of a target without a rollout is the core's to say.
    fn reconcile_idle(&mut self, observed: &ObservedSplit, now: Now, out: &mut Decision) {
        let is_first = self.steering.answered && !self.steering.looked;
        let Idle { mut target, finding, notices } = idle(&self.target, observed, is_first, now.wall);
        if let Some(Finding::Lowered { found } | Finding::Raised { found }) = &finding {
            tracing::warn!(target_name = %target.name, %found, wanted = %self.target.wanted,
                "the split of an idle target was changed by somebody");
        }
        if same_target(&self.target, &target) {
            self.target = target;
            self.steering.looked |= is_first;
            return;
        }
        self.steering.above(&self.target, &mut target);
        let environment = self.spec.environment.as_deref();
        let mut outbox = Vec::new();
        for notice in &notices {
            outbox.extend(self.telling.of_target(environment, &mut target, notice, now.wall));
        }
        let commit = Commit { target: Some(target.clone()), outbox, ..Commit::default() };
        self.commit(commit, Then::Target { target: Box::new(target), is_first }, now, out);
    }

    // ---------------------------------------------------------------------------------------- driving

    /// Whether the router has to be driven. A proxy that is cut off matters on the way back; on the way up it
    /// merely lags. Not `in_force`: what was seen once is driven again when something else is found, not while
    /// nothing is.
    fn wants_drive(&self) -> bool {
        let target = &self.target;
        let lags = target.wanted.canary == Weight::ZERO && !target.unconfirmed_nodes().is_empty();
        self.may_drive()
            && !self.in_doubt
            && !self.steering.must_read
            && !self.is_barred()
            && (!target.is_seen() || lags || self.steering.was_raised)
    }

    /// Whether the router may be told anything: a target that no rollout has is looked at first, and what the
    /// store knows nothing of waits for a person.
    fn may_drive(&self) -> bool {
        let is_known = self.steering.looked && self.target.found.is_none();
        self.steers() && (self.active.is_some() || is_known)
    }

    /// Whether what is wanted is more than what is in force, and may not be had now.
    fn is_barred(&self) -> bool {
        let target = &self.target;
        if target.wanted.canary == Weight::ZERO {
            return false;
        }
        // Somebody has stored something newer: that is driven, once it is loaded.
        if self.is_outdated || self.has_rollback_waiting() {
            return true;
        }
        let is_paused = self.active.as_ref().is_some_and(|a| a.rollout.holds.contains(&Hold::User));
        self.raises() && (is_paused || self.has_pause_waiting())
    }

    /// Nothing rises while the split is looked at: somebody may have lowered it.
    fn waits_for_look(&self) -> bool {
        self.raises() && self.is_asked(&JobKind::Observe)
    }

    fn raises(&self) -> bool {
        let in_force = self.target.seen.map_or(Weight::ZERO, |seen| seen.split.canary);
        self.target.wanted.canary > in_force
    }

    /// The way back that waits to be decided about, and that no router has taken yet.
    fn hurried(&self) -> Option<&Target> {
        self.steering.hurried.as_deref().filter(|_| self.has_rollback_waiting())
    }

    /// When a way back is tried again while something is being stored.
    pub(super) fn due_hurried(&self) -> Duration {
        let waits = self.hurried().is_some() && !self.is_asked(&JobKind::Apply);
        if waits { self.steering.next_drive } else { Duration::MAX }
    }

    /// Tries a way back again that waits for what is being stored.
    pub(super) fn drive_hurried(&mut self, now: Now, out: &mut Decision) {
        if !self.has_rollback_waiting() {
            self.steering.hurried = None;
        }
        if let Some(target) = self.hurried().cloned()
            && !self.is_asked(&JobKind::Apply)
            && now.monotonic >= self.steering.next_drive
        {
            self.apply(&target, false, now, out);
        }
    }

    /// Drives the router to the wanted split.
    pub(super) fn drive(&mut self, now: Now, out: &mut Decision) {
        if !self.wants_drive() || self.waits_for_look() {
            return;
        }
        let is_new = self.target.generation > self.steering.driven;
        if !is_new && (self.is_asked(&JobKind::Apply) || now.monotonic < self.steering.next_drive) {
            return;
        }
        let target = self.target.clone();
        self.apply(&target, self.raises(), now, out);
    }

    /// What was decided lowers the canary: it is applied beside its commit.
    pub(super) fn lower(&mut self, target: &Target, now: Now, out: &mut Decision) {
        if self.active.as_ref().is_none_or(|active| active.rollout.policy.mode == Mode::Act) {
            self.steering.wanted_at = Some(now.monotonic);
            self.apply(target, false, now, out);
        }
    }

    /// The canary goes down before anything is decided: a person has said so, and a commit is under way.
    pub(super) fn lower_now(&mut self, mut target: Target, now: Now, out: &mut Decision) {
        target.generation = target.generation.max(self.steering.driven) + 1;
        self.steering.hurried = Some(Box::new(target.clone()));
        self.lower(&target, now, out);
    }

    fn apply(&mut self, target: &Target, raises: bool, now: Now, out: &mut Decision) {
        self.steering.driven = self.steering.driven.max(target.generation);
        self.steering.is_raising = raises;
        let (router, route) = (self.spec.router.clone(), Box::new(self.route_of(target)));
        self.send(JobKind::Apply, Job::Apply { router, route, raises }, now, out);
    }

    /// Whether the router took the split. It is looked at at once the first time: many routers can show it.
    pub(super) fn applied(&mut self, result: Result<(), ApplyError>, now: Now, out: &mut Decision) {
        let soon = now.monotonic + self.options.confirm_interval;
        self.steering.is_raising = false;
        self.steering.next_drive = soon;
        match result {
            Ok(()) => self.steering.hurried = None,
            Err(ApplyError::Router(error)) => {
                telemetry::split_apply_fault(&self.target.name);
                tracing::warn!(target_name = %self.target.name, split = %self.target.wanted, %error,
                    "the split cannot be applied; it is tried again");
            }
            Err(ApplyError::Store(StoreError::Conflict(what))) => {
                tracing::warn!(%what, "somebody else has stored a newer split; loading it");
                self.is_outdated = true;
                return;
            }
            Err(ApplyError::Store(error)) => {
                // What was stored before the store went away does not rise now.
                out.storing = Some(false);
                return store_failed(&self.target.name, &error);
            }
        }
        let is_first = self.steering.last_drive != Some(self.steering.driven);
        self.steering.last_drive = Some(self.steering.driven);
        let next = if is_first { now.monotonic } else { soon };
        self.steering.next_observe = self.steering.next_observe.min(next);
    }
}
