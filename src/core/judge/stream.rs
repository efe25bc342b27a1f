//! One stream of ticks, judged by a policy without a router, a store or a clock: for recorded data, for
//! planning and for simulation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{Advice, Assessment, GuardrailAssessment};
use super::state::JudgeState;
use crate::core::metric::TickObservation;
use crate::core::policy::{AtMax, Policy};
use crate::core::split::Weight;

/// What a policy decides at a tick, if nothing but its evidence and its durations matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Stay at this weight.
    Hold,
    /// Go on to the next step.
    Advance,
    /// Go on to all traffic.
    Promote,
    /// Take the canary back.
    RollBack,
}

/// The judge with the time that the current step has been analysed.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    judge: JudgeState,
    step: usize,
    analysed: Duration,
}

impl Stream {
    /// No evidence, at the first step.
    pub fn new(policy: &Policy) -> Stream {
        Stream::from_judge(JudgeState::new(policy))
    }

    /// With a judge that was made for the policy.
    pub fn from_judge(judge: JudgeState) -> Stream {
        Stream { judge, step: 0, analysed: Duration::ZERO }
    }

    /// Takes in one tick; its `step` says which step of the policy it belongs to. Windows are used or not
    /// by their `usage`: whoever makes the tick marks the warm-up.
    pub fn observe(&mut self, policy: &Policy, tick: &TickObservation) -> (Assessment, Decision) {
        self.enter(tick.step);
        let assessment = self.judge.observe(policy, tick);
        self.analysed += assessment.analysed;
        let decision = self.decide(policy, assessment.advice);
        (assessment, decision)
    }

    /// As [`Stream::observe`], without figures and reasons: for simulating many rollouts.
    pub fn decide_on(&mut self, policy: &Policy, tick: &TickObservation) -> (Advice, Decision) {
        let (advice, decision, _) = self.decide_beside(policy, tick);
        (advice, decision)
    }

    /// As [`Stream::decide_on`], and where the guardrails stand, without their sentences.
    pub fn decide_beside(
        &mut self,
        policy: &Policy,
        tick: &TickObservation,
    ) -> (Advice, Decision, Vec<GuardrailAssessment>) {
        self.enter(tick.step);
        let (advice, analysed, guardrails) = self.judge.advise_beside(policy, tick);
        self.analysed += analysed;
        (advice, self.decide(policy, advice), guardrails)
    }

    /// Marks windows of the next tick in which an arm has no requests, as a rollout does.
    pub fn carry(&self, tick: &mut TickObservation) {
        self.judge.carry(tick);
    }

    /// How long the current step has been analysed.
    pub fn analysed(&self) -> Duration {
        self.analysed
    }

    fn enter(&mut self, step: usize) {
        if self.step != step {
            self.step = step;
            self.analysed = Duration::ZERO;
        }
    }

    fn decide(&self, policy: &Policy, advice: Advice) -> Decision {
        let Some(step) = policy.steps.get(self.step) else { return Decision::Hold };
        let next = policy.steps.get(self.step + 1);
        let on = || match next {
            Some(next) if next.weight < Weight::FULL => Decision::Advance,
            _ => Decision::Promote,
        };
        let at_max = step.max.is_some_and(|max| self.analysed >= max);
        let enough = self.judge.requests().iter().all(|requests| *requests >= step.min_requests);
        match (advice, step.at_max) {
            (Advice::RollBack, _) => Decision::RollBack,
            (Advice::Advance, _) if self.analysed >= step.min && enough => on(),
            (Advice::Hold, AtMax::RollBack) if at_max => Decision::RollBack,
            (Advice::Hold, AtMax::PromoteUnproven)
                if at_max && enough && self.judge.beyond_tolerance(policy).is_none() =>
            {
                on()
            }
            _ => Decision::Hold,
        }
    }
}
