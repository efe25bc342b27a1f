//! Gates, the workload and freezes: what else a rollout waits for. A check that takes minutes delays no look
//! and no way back.

use std::time::Duration;

use super::actor::{Actor, Arrived};
use super::message::{Decision, Job, JobKind, Now};
use super::store::{Again, With};
use crate::core::arms::arms;
use crate::core::gate::{Check, GateAnswer, Occasion};
use crate::core::rollout::{DueGate, Event, Hold, Phase, due_gates, running_gates};
use crate::core::split::{Split, Weight};
use crate::core::target::Proxies;
use crate::ports::GateRequest;

/// Between two questions of a check that has no time of its own.
const POLL: Duration = Duration::from_secs(10);
/// Between two questions whether the workload is ready.
const WORKLOAD_POLL: Duration = Duration::from_secs(1);

impl Actor {
    pub(super) fn due_gates(&self) -> Duration {
        let waits = |gate: &&String| !self.is_asked(&JobKind::Gate((*gate).clone()));
        let gate = self.gates.keys().filter(waits).filter_map(|gate| self.gates.get(gate)).min();
        let workload = match self.workload_job() {
            Some(_) if !self.is_asked(&JobKind::Workload) => self.next_workload,
            _ => Duration::MAX,
        };
        gate.copied().unwrap_or(Duration::MAX).min(workload).min(self.due_freeze())
    }

    /// A freeze begins and ends by the wall clock: it is asked for as often as the split is looked at.
    fn due_freeze(&self) -> Duration {
        let may_change = self.active.is_some()
            && self.freezes.ordered.iter().chain(&self.freezes.planned).any(|freeze| freeze.ended.is_none());
        if may_change { self.steering.last_work + Duration::from_secs(1) } else { Duration::MAX }
    }

    /// Whether the target is frozen. True if that has changed.
    pub(super) fn freeze(&mut self, now: Now, out: &mut Decision) -> bool {
        let Some(active) = &self.active else { return false };
        let why = self.freezes.frozen(&self.target.name, now.wall);
        let is_known = why.is_some() || self.freezes.is_known;
        let may_hold = !matches!(active.rollout.phase, Phase::RollingBack { .. } | Phase::Verifying { .. });
        let is_held = active.rollout.holds.contains(&Hold::Freeze);
        if !is_known || why.is_some() == is_held || (!may_hold && !is_held) || now.monotonic < self.retry_at {
            return false;
        }
        self.put(Event::Freeze(why), now, out);
        self.flight.is_some()
    }

    /// Asks the gates that are due, and stops what is not wanted any more.
    pub(super) fn ask_gates(&mut self, now: Now, out: &mut Decision) {
        let Some(active) = &self.active else {
            return self.stop_gates(|_| false, out);
        };
        let due = due_gates(&active.rollout);
        let running = running_gates(&active.rollout);
        let rollout = active.rollout.id.clone();
        if self.gates_of.as_ref() != Some(&rollout) {
            self.gates_of = Some(rollout);
            self.arrived.retain(|arrived| !matches!(arrived, Arrived::Gate { .. }));
            self.stop_gates(|_| false, out);
        }
        self.stop_gates(
            |name| due.iter().any(|due| due.gate.name == name) || running.iter().any(|r| r == name),
            out,
        );
        // A program of which nobody here knows: it ran when an earlier process ended.
        for gate in running {
            if !self.is_asked(&JobKind::Gate(gate.clone())) && !self.has_answer_of(&gate) {
                let detail = "its program had begun when Serin stopped, and how it ended is not known.";
                let answer = GateAnswer::Lost(detail.to_owned());
                return self.take_answer(gate, answer, now, out);
            }
        }
        for gate in due {
            let name = gate.gate.name.clone();
            let is_later = self.gates.get(&name).is_some_and(|next| *next > now.monotonic);
            if !is_later && !self.is_asked(&JobKind::Gate(name.clone())) && !self.has_answer_of(&name) {
                self.ask_gate(gate, now, out);
            }
            if self.flight.is_some() {
                return;
            }
        }
    }

    fn has_answer_of(&self, name: &str) -> bool {
        self.arrived.iter().any(|arrived| matches!(arrived, Arrived::Gate { gate, .. } if gate == name))
    }

    /// Whatever is asked is not wanted any more; programs are killed with it.
    fn stop_gates(&mut self, wanted: impl Fn(&str) -> bool, out: &mut Decision) {
        for gate in self.asked_gates() {
            if !wanted(&gate) {
                self.cut_off(&JobKind::Gate(gate), out);
            }
        }
        self.gates.retain(|gate, _| wanted(gate));
    }

    fn ask_gate(&mut self, due: DueGate, now: Now, out: &mut Decision) {
        let Some(active) = &self.active else { return };
        let rollout = &active.rollout;
        let name = due.gate.name.clone();
        // The step that it stands before; what is asked all along is told the next one.
        let step = match due.occasion {
            Occasion::Start => 0,
            Occasion::Step(step) => step,
            Occasion::Finish => rollout.policy.steps.len(),
            Occasion::During => rollout.phase.step().map_or(0, |step| step + 1),
        };
        let poll = match &due.gate.check {
            Check::Webhook(webhook) => webhook.poll,
            _ => rollout.policy.analysis.interval.clamp(Duration::from_secs(1), POLL),
        };
        self.gates.insert(name.clone(), now.monotonic + poll);
        let (canary, baseline) = match arms(&self.spec, &self.target, &rollout.version) {
            Ok(arms) => arms,
            Err(sentence) => return self.take_answer(name, GateAnswer::Fault(sentence), now, out),
        };
        let occasion = serde_json::to_string(&due.occasion).unwrap_or_default();
        let occasion: String = occasion.chars().filter(char::is_ascii_alphanumeric).collect();
        let request = Box::new(GateRequest {
            key: format!("{}/{occasion}/{name}/{}", rollout.id, due.asked),
            occasion: due.occasion,
            rollout: rollout.id.clone(),
            target: rollout.target.clone(),
            provider: self.spec.provider.clone(),
            version: rollout.version.clone(),
            stable_version: self.target.stable_version.clone(),
            policy: rollout.policy.name.clone(),
            weight: rollout.policy.steps.get(step).map_or(Weight::FULL, |step| step.weight),
            started_by: rollout.created_by.clone(),
            canary,
            baseline,
            now: now.wall,
            gate: due.gate,
        });
        if request.gate.check.is_once() {
            // That it begins is stored first; it is asked when that is stored.
            let event = Event::GateBegun { gate: name };
            let with = With { ask: Some(request), ..With::default() };
            return self.put_with(event, with, now, out);
        }
        self.send(JobKind::Gate(name), Job::Ask(request), now, out);
    }

    /// Takes in what a check has said.
    pub(super) fn take_answer(&mut self, gate: String, answer: GateAnswer, now: Now, out: &mut Decision) {
        let again = Some(Again::Gate { gate: gate.clone(), answer: answer.clone() });
        let with = With { again, ..With::default() };
        self.put_with(Event::Gate { gate, answer }, with, now, out);
    }

    /// What is taken for the answer of a check that has given none.
    pub(super) fn no_answer(&self, name: &str) -> GateAnswer {
        let gate = self.active.as_ref().and_then(|a| a.rollout.policy.gates.iter().find(|g| g.name == name));
        match gate.is_some_and(|gate| gate.check.is_once()) {
            true => GateAnswer::Lost("it gave no answer in time, and what it did is not known.".to_owned()),
            false => GateAnswer::Fault("no answer in time".to_owned()),
        }
    }

    // ------------------------------------------------------------------------------------- the workload

    /// What the workload is to be brought to now.
    fn workload_job(&self) -> Option<Job> {
        let active = self.active.as_ref()?;
        let policy = &active.rollout.policy;
        match active.rollout.phase {
            Phase::Preparing { step } if active.rollout.holds.is_empty() => {
                let weight = policy.steps.get(step).map_or(Weight::ZERO, |step| step.weight);
                Some(Job::Prepare(Split::canary(weight, self.target.has_baseline)))
            }
            Phase::Finalizing
                if self.target.in_force(Proxies::Reachable) && self.target.wanted.canary == Weight::FULL =>
            {
                Some(Job::Finalize)
            }
            _ => None,
        }
    }

    /// Asks a workload that is waited for.
    pub(super) fn ask_workload(&mut self, now: Now, out: &mut Decision) {
        match self.workload_job() {
            Some(job) if !self.is_asked(&JobKind::Workload) && now.monotonic >= self.next_workload => {
                self.send(JobKind::Workload, job, now, out);
            }
            Some(_) => {}
            None => {
                self.cut_off(&JobKind::Workload, out);
                self.next_workload = now.monotonic;
            }
        }
    }

    /// Whether the workload is ready.
    pub(super) fn drove(&mut self, ready: Result<bool, String>, now: Now) {
        self.next_workload = now.monotonic + WORKLOAD_POLL;
        match ready {
            Ok(true) => self.arrived.push_back(Arrived::WorkloadReady),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(target_name = %self.target.name, %error, "the workload is not ready");
            }
        }
    }
}
