//! The moves that events share: a step is entered, the canary goes to 0, a rollout ends.

use super::change::Change;
use super::door::passage::Passage;
use super::{Compared, Ending, EventKind, Hold, Phase, Stage, data, stable, staged, standing};
use crate::core::incident::IncidentCause;
use crate::core::judge::Assessment;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::{Split, Weight};

impl Change {
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
        standing::pass(self, passage.to());
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
        self.state.rollout.data.readiness.overridden = false;
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
        if !is_person && let Some(why) = stable::gone(&self.state) {
            return stable::wait(self, &why, reason, ending);
        }
        self.keep_compared();
        let sentence = self.go_back(&reason, is_person);
        self.state.rollout.holds.clear();
        self.state.rollout.stable.waiting = None;
        let severity = match (&ending, reason.code) {
            (Ending::Cancelled { .. }, _) | (_, ReasonCode::Command) => Severity::Medium,
            _ => Severity::Critical,
        };
        let cut_off = standing::running(&self.state.rollout);
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
                format!("Gate {gate}: its program was stopped by the rollback; check what it did.");
            self.page(NoticeKind::Gate, Severity::Critical, sentence, IncidentCause::Gate);
        }
    }

    /// Wants stable, or as much of it as its servers can carry. Gives the sentence that says so.
    fn go_back(&mut self, reason: &Reason, is_person: bool) -> String {
        let warning = stable::warning(&self.state);
        if let Some((weight, why)) = staged::begin(self, is_person) {
            return format!(
                "The canary goes to {weight} now, and to 0% as servers of stable come up: {} In stages, as {why}.",
                reason.sentence
            );
        }
        self.state.target.want(Split::STABLE);
        let sentence = format!("The canary goes to 0%: {}", reason.sentence);
        match warning {
            Some(warning) => format!("{sentence} {warning}"),
            None => sentence,
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
        standing::pass(self, passage.to());
        let version = self.state.rollout.version.clone();
        self.state.target.promote(version, self.now);
        self.end(Phase::Succeeded);
        self.record(EventKind::Succeeded, by, sentence.clone());
        let over = self.resolve();
        self.notify_of(NoticeKind::Succeeded, Severity::Low, sentence, over);
    }
}
