//! A state on its way to the next one, and the moves that events share.

use std::collections::BTreeSet;

use super::{Action, EventKind, EventRecord, Held, Hold, Outcome, Phase, State, Timers, told};
use crate::core::incident::{Incident, IncidentCause, IncidentChange, IncidentStep};
use crate::core::limit::Severity;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::time::Timestamp;

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
            if hold == Hold::User {
                self.state.rollout.timers.unpaused_at = Some(self.now);
            }
            let sentence = format!("No longer held ({}): {why}", hold.name());
            self.record(EventKind::HoldRemoved, by, sentence);
        }
    }
}
