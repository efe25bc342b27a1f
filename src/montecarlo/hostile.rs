//! Hostile traffic: named shapes in which nothing is wrong with the canary, and releases in which something
//! is. What is measured is the whole rule of a policy: its tests, the catastrophe lane, its guardrails, and
//! what the rollout does beside them.

mod harms;
mod shapes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use harms::{Harm, harms};
pub use shapes::{Hostile, Outside, shape, shapes};

use super::run::{Outcome, Runs, rollouts_told};
use super::summary::{Share, Times};
use super::told::Told;
use super::traffic::{Traffic, Truth};
use crate::core::policy::Policy;

/// At most so many harmless releases may be rolled back.
pub const GOAL: f64 = 0.01;
/// The upper end of the 95% interval of their share may be at most this.
pub const GOAL_HIGH: f64 = 0.02;

/// What became of many harmless releases in one shape of traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The shape's name.
    pub shape: String,
    /// The target's past was recorded.
    pub history: bool,
    /// How many runs.
    pub runs: u64,
    /// The same seed gives the same row.
    pub seed: u64,
    /// Rolled back by whatever.
    pub rolled_back: Share,
    /// How many by what: `tests`, `lane`, the name of a guardrail, `both_broke`, `silent`, `at_maximum`.
    pub by: BTreeMap<String, u64>,
    /// Not rolled back, and held at least once.
    pub held: Share,
    /// How many by what kind of hold; a release may have several.
    pub holds: BTreeMap<String, u64>,
    /// An incident was opened: every rollback of the daemon's own does.
    pub paged: Share,
    /// Promoted.
    pub promoted: Share,
    /// From the first request to all traffic.
    pub promotion: Times,
    /// Why the promise does not cover this shape, where that is so.
    pub outside: Option<String>,
}

impl Row {
    /// The goal is met, or the shape is outside.
    pub fn is_good(&self) -> bool {
        self.outside.is_some() || self.is_met()
    }

    /// At most [`GOAL`] were rolled back, and at most [`GOAL_HIGH`] by the interval's upper end.
    pub fn is_met(&self) -> bool {
        self.rolled_back.share <= GOAL && self.rolled_back.high <= GOAL_HIGH
    }
}

/// What became of many releases with something wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// What is wrong.
    pub harm: String,
    /// The target's past was recorded.
    pub history: bool,
    /// How many runs.
    pub runs: u64,
    /// The same seed gives the same row.
    pub seed: u64,
    /// Rolled back before anything was wrong.
    pub early: Share,
    /// Rolled back after it was.
    pub found: Share,
    /// How many by what.
    pub by: BTreeMap<String, u64>,
    /// It got all traffic.
    pub promoted: Share,
    /// From the onset until it was rolled back.
    pub detection: Times,
}

/// Harmless releases in one shape.
pub fn measure(
    policy: &Policy,
    shape: &Hostile,
    history: bool,
    runs: Runs,
    done: &(dyn Fn(u64) + Sync),
) -> Row {
    let told = rollouts_told(policy, &shape.traffic, history, runs, done);
    let share = |of: &dyn Fn(&(Outcome, Told)) -> bool| {
        Share::new(told.iter().filter(|one| of(one)).count() as u64, told.len() as u64)
    };
    let rolled_back = |one: &(Outcome, Told)| matches!(one.0, Outcome::RolledBack { .. });
    let mut holds = BTreeMap::new();
    for kind in told.iter().filter(|one| !rolled_back(one)).flat_map(|(_, told)| &told.holds) {
        *holds.entry((*kind).to_owned()).or_default() += 1;
    }
    let promoted_after = |(outcome, _): &(Outcome, Told)| match outcome {
        Outcome::Promoted { seconds, .. } => Some(*seconds),
        _ => None,
    };
    Row {
        shape: shape.name.clone(),
        history,
        runs: runs.runs,
        seed: runs.seed,
        rolled_back: share(&rolled_back),
        by: causes(&told),
        held: share(&|one| !rolled_back(one) && !one.1.holds.is_empty()),
        holds,
        paged: share(&rolled_back),
        promoted: share(&|one| matches!(one.0, Outcome::Promoted { .. })),
        promotion: Times::new(told.iter().map(promoted_after)),
        outside: shape.outside.and_then(|outside| outside.why(history)).map(str::to_owned),
    }
}

/// Releases with something wrong.
pub fn delay(policy: &Policy, harm: &Harm, history: bool, runs: Runs, done: &(dyn Fn(u64) + Sync)) -> Delay {
    let Traffic { truth: Truth { onset_seconds: onset, .. }, .. } = harm.traffic;
    let told = rollouts_told(policy, &harm.traffic, history, runs, done);
    let after = |(outcome, _): &(Outcome, Told)| match outcome {
        Outcome::RolledBack { seconds, .. } => Some(*seconds - onset),
        _ => None,
    };
    let share = |of: &dyn Fn(&(Outcome, Told)) -> bool| {
        Share::new(told.iter().filter(|one| of(one)).count() as u64, told.len() as u64)
    };
    Delay {
        harm: harm.name.clone(),
        history,
        runs: runs.runs,
        seed: runs.seed,
        early: share(&|one| after(one).is_some_and(|seconds| seconds <= 0.0)),
        found: share(&|one| after(one).is_some_and(|seconds| seconds > 0.0)),
        by: causes(&told),
        promoted: share(&|one| matches!(one.0, Outcome::Promoted { .. })),
        detection: Times::new(told.iter().map(|one| after(one).filter(|seconds| *seconds > 0.0))),
    }
}

fn causes(told: &[(Outcome, Told)]) -> BTreeMap<String, u64> {
    let mut by = BTreeMap::new();
    for cause in told.iter().filter_map(|(_, told)| told.by.as_ref()) {
        *by.entry(cause.name().to_owned()).or_default() += 1;
    }
    by
}
