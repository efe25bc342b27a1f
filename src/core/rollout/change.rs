//! A state on its way to the next one, and the moves that events share.

use std::collections::BTreeSet;

use super::door::Passage;
use super::{
    Action, Compared, Ending, EventKind, EventRecord, Held, Hold, Outcome, Phase, Stage, State, Timers, data,
    stable, told,
};
use crate::core::incident::{Incident, IncidentCause, IncidentChange, IncidentStep};
use crate::core::judge::Assessment;
use crate::core::limit::Severity;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::policy::Mode;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::{Split, Weight};
use crate::core::time::Timestamp;
pub(super) use crate::core::words::duration as time;

/// A state on its way to the next one.
pub(super) struct Change {
    pub state: State,
    pub now: Timestamp,
    actions: Vec<Action>,
}

impl Change {
    pub fn new(state: State, now: Timestamp) -> Change {
        Change { state, now, actions: Vec::new() }
    }

    pub fn finish(mut self) -> Outcome {
        let rollout = &mut self.state.rollout;
        rollout.held.retain(|held| rollout.holds.contains(&held.hold));
        Outcome { state: self.state, actions: self.actions }
    }

    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Appends to the log.
    pub fn record(&mut self, kind: EventKind, by: Option<&str>, sentence: String) {
        let rollout = &mut self.state.rollout;
        rollout.event_seq += 1;
        let record =
            EventRecord { seq: rollout.event_seq, at: self.now, kind, by: by.map(str::to_owned), sentence };
        self.actions.push(Action::Record(record));
    }

    /// Tells about the event that was recorded last; its number makes the key.
    pub fn notify(&mut self, kind: NoticeKind, severity: Severity, sentence: String) {
        self.notify_of(kind, severity, sentence, None);
    }

    /// Tells about the event that was recorded last, and what it does to the incident.
    pub fn notify_of(
        &mut self,
        kind: NoticeKind,
        severity: Severity,
        sentence: String,
        incident: Option<IncidentChange>,
    ) {
        let notice = told::notice(&self.state, kind, severity, sentence, self.now);
        self.actions.push(Action::Notify(Notice { incident, ..notice }));
    }

    /// Records an alert, and pages: opens the target's incident, or adds to the one that is open.
    pub fn page(&mut self, kind: NoticeKind, severity: Severity, sentence: String, cause: IncidentCause) {
        self.record(EventKind::Alert, None, sentence.clone());
        self.page_recorded(kind, severity, sentence, cause);
    }

    /// Pages about the event that was recorded last.
    pub fn page_recorded(
        &mut self,
        kind: NoticeKind,
        severity: Severity,
        sentence: String,
        cause: IncidentCause,
    ) {
        let (rollout, now) = (&self.state.rollout, self.now);
        let new = || Incident {
            key: format!("{}/{}/{}", rollout.target, rollout.id, rollout.event_seq),
            opened_at: now,
            rollout: rollout.id.clone(),
            causes: BTreeSet::new(),
            acknowledged_by: None,
            told: BTreeSet::new(),
        };
        let incident = self.state.target.incident.get_or_insert_with(new);
        incident.causes.insert(cause);
        let change = incident.change(IncidentStep::Trigger);
        self.notify_of(kind, severity, sentence, Some(change));
    }

    /// A person has taken the incident over.
    pub fn acknowledge(&mut self, by: &str) -> bool {
        let Some(incident) = self.state.target.incident.as_mut().filter(|i| i.acknowledged_by.is_none())
        else {
            return false;
        };
        incident.acknowledged_by = Some(by.to_owned());
        let change = incident.change(IncidentStep::Acknowledge);
        let sentence = format!("{by} has taken it over.");
        self.record(EventKind::Command, Some(by), format!("The incident: {sentence}"));
        self.notify_of(NoticeKind::Acknowledged, Severity::Low, sentence, Some(change));
        true
    }

    /// Whether the target's incident is open and about this, too.
    pub fn is_about(&self, cause: IncidentCause) -> bool {
        self.state.target.incident.as_ref().is_some_and(|incident| incident.causes.contains(&cause))
    }

    /// The cause is gone: the incident is over, if it is about nothing else.
    pub fn calm(&mut self, cause: IncidentCause, why: &str) {
        let Some(incident) = self.state.target.incident.as_mut() else { return };
        if incident.causes.remove(&cause) && incident.causes.is_empty() {
            let sentence = format!("Over: {why}");
            self.record(EventKind::Alert, None, sentence.clone());
            let change = self.resolve();
            self.notify_of(NoticeKind::Resolved, Severity::Low, sentence, change);
        }
    }

    /// Takes the incident, if there is one, as over; the notice that tells it is the caller's.
    pub fn resolve(&mut self) -> Option<IncidentChange> {
        let incident = self.state.target.incident.take()?;
        Some(incident.change(IncidentStep::Resolve))
    }

    /// As [`Change::resolve`], only where this rollout has opened it, and not while the service is not as it was
    /// before another one.
    pub fn resolve_own(&mut self) -> Option<IncidentChange> {
        let id = &self.state.rollout.id;
        let lasting = [IncidentCause::Failed, IncidentCause::NotVerified];
        let own = |incident: &&Incident| {
            incident.rollout == *id && !lasting.iter().any(|cause| incident.causes.contains(cause))
        };
        self.state.target.incident.as_ref().filter(own)?;
        self.resolve()
    }

    /// Records and tells.
    pub fn alert(&mut self, kind: NoticeKind, severity: Severity, sentence: String) {
        self.record(EventKind::Alert, None, sentence.clone());
        self.notify(kind, severity, sentence);
    }

    /// A new phase: its timers begin anew.
    pub fn set_phase(&mut self, phase: Phase) {
        let rollout = &mut self.state.rollout;
        rollout.phase = phase;
        rollout.phase_since = self.now;
        rollout.timers = Timers::default();
    }

    /// Adds a hold; records and tells it if it is new.
    pub fn hold(&mut self, hold: Hold, by: Option<&str>, severity: Severity, why: String) {
        self.hold_as(hold, by, severity, why, NoticeKind::Held);
    }

    /// Adds a hold that is told as something else than a hold. True if it is new.
    pub fn hold_as(
        &mut self,
        hold: Hold,
        by: Option<&str>,
        severity: Severity,
        why: String,
        kind: NoticeKind,
    ) -> bool {
        let is_new = self.state.rollout.holds.insert(hold);
        if is_new {
            self.keep_held(hold, by, &why);
            let sentence = format!("Held ({}): {why}", hold.name());
            self.record(EventKind::HoldAdded, by, sentence.clone());
            self.notify(kind, severity, sentence);
        }
        is_new
    }

    /// Keeps who or what holds it.
    pub fn keep_held(&mut self, hold: Hold, by: Option<&str>, why: &str) {
        let held = Held { hold, by: by.map(str::to_owned), at: self.now, why: why.to_owned() };
        self.state.rollout.held.push(held);
    }

    /// Drops a hold; records it if it was there.
    pub fn unhold(&mut self, hold: Hold, why: &str) {
        self.unhold_by(hold, None, why);
    }

    /// Drops a hold by a person's word; records it if it was there.
    pub fn unhold_by(&mut self, hold: Hold, by: Option<&str>, why: &str) {
        if self.state.rollout.holds.remove(&hold) {
            self.state.rollout.held.retain(|held| held.hold != hold);
            let sentence = format!("No longer held ({}): {why}", hold.name());
            self.record(EventKind::HoldRemoved, by, sentence);
        }
    }

    /// Before a step is left: keeps what it was judged as, if its canary had requests.
    fn keep_compared(&mut self) {
        let rollout = &self.state.rollout;
        let step = match rollout.phase {
            Phase::Progressing { step, .. } => step,
            Phase::Preparing { step } if step > 0 => step - 1,
            _ => return,
        };
        let weight = match rollout.policy.mode {
            Mode::Act => self.state.target.wanted.canary,
            Mode::Observe => rollout.policy.steps.get(step).map_or(Weight::ZERO, |step| step.weight),
        };
        data::keep_traffic(&mut self.state.rollout);
        let rollout = &self.state.rollout;
        let has_requests = |last: &&Assessment| last.metrics.iter().any(|m| m.canary_requests > 0);
        if let Some(assessment) = rollout.last.as_ref().filter(has_requests).cloned() {
            self.state.rollout.last_compared = Some(Compared { weight, assessment });
        }
    }

    /// The split of a step of this rollout.
    fn split(&self, weight: Weight) -> Split {
        // A target with a baseline pool was given its share at the first step; the role is measured
        // until 100%.
        Split::canary(weight, self.state.target.has_baseline && weight < Weight::FULL)
    }

    /// Wants the weight of a step and waits for it to be seen. In observe mode nothing is wanted.
    #[allow(clippy::needless_pass_by_value)] // A passage is used up.
    pub fn enter_step(&mut self, passage: Passage) {
        let Some(step) = passage.step() else { return };
        super::gates::pass(self, passage.to());
        let rollout = &self.state.rollout;
        let Some(weight) = rollout.policy.steps.get(step).map(|step| step.weight) else { return };
        let (mode, of) = (rollout.policy.mode, rollout.policy.steps.len());
        let healthy: Vec<(String, bool)> = rollout
            .last
            .iter()
            .flat_map(|last| &last.guardrails)
            .filter_map(|guardrail| Some((guardrail.name.clone(), guardrail.baseline_healthy?)))
            .collect();
        self.state.rollout.baseline_was_healthy.extend(healthy);
        self.keep_compared();
        self.state.rollout.alerts.exposed_at.get_or_insert(self.now);
        if mode == Mode::Act {
            let split = self.split(weight);
            self.state.target.want(split);
        }
        let is_again = !matches!(self.state.rollout.phase, Phase::Preparing { .. } | Phase::Preflight);
        self.state.rollout.stable.begin_step(is_again);
        if weight == Weight::FULL {
            self.set_phase(Phase::Finalizing);
        } else {
            let stage = match mode {
                Mode::Act => Stage::Settling,
                Mode::Observe => {
                    self.state.rollout.first_ends.clear();
                    Stage::Analysing { since: self.now }
                }
            };
            self.set_phase(Phase::Progressing { step, stage });
        }
        let mut sentence = match mode {
            Mode::Act => format!("Step {} of {of}: the canary gets {weight} of the traffic.", step + 1),
            Mode::Observe => {
                format!("Step {} of {of} is observed as if the canary had {weight}.", step + 1)
            }
        };
        if let Some(servers) = self.state.rollout.stable.told().filter(|_| mode == Mode::Act) {
            sentence = format!("{sentence} {servers}");
        }
        self.record(EventKind::StepEntered, None, sentence.clone());
        self.notify(NoticeKind::Step, Severity::Low, sentence);
    }

    /// Goes on to `step`: the workload gets ready for it first. At the end of observe mode, ends.
    #[allow(clippy::needless_pass_by_value)] // A passage is used up.
    pub fn advance_to(&mut self, passage: Passage, why: &str, by: Option<&str>) {
        let Some(step) = passage.step() else { return };
        self.state.rollout.gates.insisted = None;
        let rollout = &self.state.rollout;
        let Some(weight) = rollout.policy.steps.get(step).map(|step| step.weight) else { return };
        if rollout.policy.mode == Mode::Observe {
            let sentence = format!("Would have gone to {weight}: {why}");
            self.record(EventKind::WouldHave, by, sentence.clone());
            if weight == Weight::FULL {
                self.end_observed(Reason::new(ReasonCode::NotWorse, sentence));
                return;
            }
        } else {
            let kind = if weight == Weight::FULL { EventKind::Promoted } else { EventKind::Advanced };
            self.record(kind, by, format!("On to {weight}: {why}"));
        }
        // Not `set_phase`: the windows of the step that is left are analysed on until the next one.
        self.state.rollout.phase = Phase::Preparing { step };
        self.state.rollout.phase_since = self.now;
    }

    /// Takes the canary to 0. In observe mode it says so and ends. `by` is a person, if there is one.
    pub fn roll_back(&mut self, reason: Reason, ending: Ending, by: Option<&str>) {
        self.roll_back_for(reason, ending, by, by.is_some());
    }

    /// The same, where whoever is named may be no person: past a point of no return only a person's word
    /// takes it back.
    pub fn roll_back_for(&mut self, reason: Reason, ending: Ending, by: Option<&str>, is_person: bool) {
        if self.state.rollout.policy.mode == Mode::Observe {
            let sentence = format!("Would have rolled back: {}", reason.sentence);
            self.record(EventKind::WouldHave, None, sentence.clone());
            self.notify(NoticeKind::Alert, Severity::High, sentence.clone());
            self.end_observed(Reason::new(reason.code, sentence));
            return;
        }
        if !is_person && let Some(gate) = self.state.rollout.gates.no_return.clone() {
            return self.stay(&gate, &reason);
        }
        if by.is_none()
            && let Some(why) = stable::gone(&self.state)
        {
            return stable::wait(self, &why, reason, ending);
        }
        let mut sentence = format!("The canary goes to 0%: {}", reason.sentence);
        if let Some(warning) = stable::warning(&self.state) {
            sentence = format!("{sentence} {warning}");
        }
        self.keep_compared();
        self.state.target.want(Split::STABLE);
        self.state.rollout.holds.clear();
        self.state.rollout.stable.waiting = None;
        let severity = match (&ending, reason.code) {
            (Ending::Cancelled { .. }, _) | (_, ReasonCode::Command) => Severity::Medium,
            _ => Severity::Critical,
        };
        let cut_off = super::gates::running(&self.state.rollout);
        self.state.rollout.gates.close();
        self.set_phase(Phase::RollingBack { reason, ending });
        self.record(EventKind::RollbackStarted, by, sentence.clone());
        if severity == Severity::Critical {
            self.page_recorded(NoticeKind::RollbackStarted, severity, sentence, IncidentCause::Rollback);
        } else {
            self.notify(NoticeKind::RollbackStarted, severity, sentence);
        }
        for gate in cut_off {
            let sentence =
                format!("Gate {gate}: its program is cut off by the way back; look at what it did.");
            self.page(NoticeKind::Gate, Severity::Critical, sentence, IncidentCause::Gate);
        }
    }

    /// Past the point of no return: a person decides.
    fn stay(&mut self, gate: &str, reason: &Reason) {
        let why = format!(
            "it would be rolled back, but it is past the point of no return ({gate}); a person must decide: {}",
            reason.sentence
        );
        if self.state.rollout.holds.insert(Hold::NoReturn) {
            self.keep_held(Hold::NoReturn, None, &why);
            let sentence = format!("Held ({}): {why}", Hold::NoReturn.name());
            self.record(EventKind::HoldAdded, None, sentence.clone());
            self.page_recorded(NoticeKind::Held, Severity::Critical, sentence, IncidentCause::Rollback);
        }
    }

    /// Ends a rollout of observe mode: it never touched traffic.
    fn end_observed(&mut self, reason: Reason) {
        let sentence = reason.sentence.clone();
        self.end(Phase::Cancelled { reason, superseded_by: None });
        self.record(EventKind::Cancelled, None, format!("Observed only. {sentence}"));
        self.notify(NoticeKind::Cancelled, Severity::Low, format!("Observed only. {sentence}"));
    }

    /// A terminal phase; the target is free.
    pub fn end(&mut self, phase: Phase) {
        self.set_phase(phase);
        self.state.rollout.ended_at = Some(self.now);
        self.state.rollout.holds.clear();
        self.state.rollout.gates.close();
        if self.state.target.active.as_ref() == Some(&self.state.rollout.id) {
            self.state.target.active = None;
        }
    }

    /// The new version has all traffic for good: stable and canary change places, so that the physical
    /// weights stay as they are.
    #[allow(clippy::needless_pass_by_value)] // A passage is used up.
    pub fn succeed(&mut self, passage: Passage, sentence: String, by: Option<&str>) {
        if passage.step().is_some() {
            return;
        }
        super::gates::pass(self, passage.to());
        let version = self.state.rollout.version.clone();
        self.state.target.promote(version, self.now);
        self.end(Phase::Succeeded);
        self.record(EventKind::Succeeded, by, sentence.clone());
        let over = self.resolve();
        self.notify_of(NoticeKind::Succeeded, Severity::Low, sentence, over);
    }
}
