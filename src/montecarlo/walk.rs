//! One rollout on made-up traffic, step by step.

use std::time::Duration;

use super::random::Random;
use super::ticks::Ticks;
use super::told::{By, Told};
use super::traffic::Traffic;
use crate::core::judge::{Advice, Decision, History, JudgeState, Stream};
use crate::core::metric::TickObservation;
use crate::core::policy::Policy;
use crate::core::reason::ReasonCode;

/// What took a canary back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The tests, the catastrophe lane among them.
    Tests,
    /// A guardrail, or another rule that acts without the tests.
    Guardrail,
    /// Nothing was proven, and the step's maximum says so.
    AtMaximum,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// By a rollback.
    RolledBack(Cause),
    /// By going on. Not `proven`: because the maximum says so.
    Advanced {
        /// Every metric is not worse.
        proven: bool,
    },
    /// By the end of the simulation: the step holds at its maximum.
    Undecided,
}

/// How often is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// At the policy's interval.
    EachInterval,
    /// The longer a step lasts the less often, but every thirtieth of the time that it has lasted: the
    /// tests of counts do not mind windows being merged.
    FewerLater,
}

/// Time in the step after which looks may be so far apart.
const LATER: [(f64, Duration); 3] =
    [(3600.0, Duration::from_secs(120)), (1800.0, Duration::from_secs(60)), (600.0, Duration::from_secs(20))];

/// A rollout on its way.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    policy: &'a Policy,
    looks: Looks,
    stream: Stream,
    ticks: Ticks<'a>,
    step: usize,
    step_began: f64,
    /// What was told besides, and the rules that stand outside of the judge.
    told: Told,
    /// The stream some ticks ago, and the ticks since: what took the canary back is found from them.
    behind: Stream,
    since: Vec<TickObservation>,
}

/// Ticks after which the stream is kept anew.
const KEPT: usize = 16;

impl<'a> Walk<'a> {
    pub fn new(policy: &'a Policy, traffic: &'a Traffic, random: Random, looks: Looks) -> Walk<'a> {
        Walk::with_history(policy, traffic, None, random, looks)
    }

    /// With what is known of the time before.
    pub fn with_history(
        policy: &'a Policy,
        traffic: &'a Traffic,
        history: Option<&History>,
        random: Random,
        looks: Looks,
    ) -> Walk<'a> {
        let stream = Stream::from_judge(JudgeState::with_history(policy, history));
        let ticks = Ticks::new(policy, traffic, random);
        let (told, behind) = (Told::new(policy), stream.clone());
        Walk { policy, looks, stream, ticks, step: 0, step_began: 0.0, told, behind, since: Vec::new() }
    }

    /// What was told on the way.
    pub fn told(self) -> Told {
        self.told
    }

    /// The same rollout, which goes on with other traffic of the same shapes.
    pub fn with_traffic<'b>(&self, traffic: &'b Traffic) -> Walk<'b>
    where
        'a: 'b,
    {
        let mut walk: Walk<'b> = self.clone();
        walk.ticks.switch(traffic);
        walk
    }

    /// Seconds from the beginning to the last look.
    pub fn seconds(&self) -> f64 {
        self.ticks.seconds()
    }

    /// Seconds from the beginning of this step to the last look.
    pub fn in_step(&self) -> f64 {
        self.seconds() - self.step_began
    }

    pub fn enter(&mut self, step: usize) {
        self.step = step;
        self.step_began = self.seconds();
        self.ticks.enter(step);
        self.told.enter();
    }

    /// Through the current step to its end.
    pub fn through(&mut self) -> Left {
        let Some(step) = self.policy.steps.get(self.step) else { return Left::Undecided };
        let warm_up = self.policy.analysis.warm_up;
        // If nothing at all can be analysed, the clock ends the step; what is carried over is waited for.
        let carried = self.policy.analysis.interval + self.policy.analysis.blind.after;
        let longest = (step.longest() + warm_up + carried).as_secs_f64();
        loop {
            let (advice, decision) = self.look();
            if self.told.rolls_back() {
                return Left::RolledBack(Cause::Guardrail);
            }
            match decision {
                Decision::RollBack => return Left::RolledBack(self.cause()),
                Decision::Advance | Decision::Promote => {
                    return Left::Advanced { proven: advice == Advice::Advance };
                }
                Decision::Hold if self.stream.analysed() >= step.longest() || self.in_step() >= longest => {
                    self.told.hold_at_maximum();
                    return Left::Undecided;
                }
                Decision::Hold => {}
            }
        }
    }

    /// Stays in the current step until so much of it is analysed, whatever is decided.
    pub fn stay(&mut self, analysed: Duration) {
        let longest = (analysed + self.policy.analysis.warm_up).as_secs_f64();
        while self.stream.analysed() < analysed && self.in_step() < longest {
            self.look();
        }
    }

    fn look(&mut self) -> (Advice, Decision) {
        let interval = self.policy.analysis.interval;
        let length = match self.looks {
            Looks::EachInterval => interval,
            Looks::FewerLater => {
                let apart = LATER.iter().find(|(from, _)| self.in_step() >= *from);
                apart.map_or(interval, |(_, apart)| interval.max(*apart))
            }
        };
        if self.since.len() >= KEPT {
            self.behind.clone_from(&self.stream);
            self.since.clear();
        }
        let mut tick = self.ticks.next_of(length);
        self.stream.carry(&mut tick);
        let (advice, decision, guardrails) = self.stream.decide_beside(self.policy, &tick);
        if decision != Decision::RollBack {
            self.told.take(self.policy, &tick, &guardrails, length);
        }
        self.since.push(tick);
        (advice, decision)
    }

    /// Why the stream was rolled back at the last tick.
    fn cause(&mut self) -> Cause {
        let Some(last) = self.since.pop() else { return Cause::AtMaximum };
        for tick in &self.since {
            self.behind.decide_on(self.policy, tick);
        }
        let (assessment, _) = self.behind.observe(self.policy, &last);
        let code = assessment.reasons.first().map(|reason| reason.code);
        let (cause, by) = match code {
            _ if assessment.advice != Advice::RollBack => (Cause::AtMaximum, By::AtMaximum),
            Some(ReasonCode::Harm) => (Cause::Tests, By::Tests),
            Some(ReasonCode::Catastrophe) => (Cause::Tests, By::Lane),
            _ => (Cause::Guardrail, By::fired(&assessment)),
        };
        self.told.rolled_back(by);
        cause
    }
}
