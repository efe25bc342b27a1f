//! Many rollouts of one policy on made-up traffic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::past::past;
use super::random::Random;
use super::told::Told;
use super::traffic::Traffic;
use super::walk::{Cause, Left, Looks, Walk};
use crate::core::judge::History;
use crate::core::policy::Policy;
use crate::core::split::Weight;

/// How a rollout ended. Seconds are from the canary's first request to the end of the last window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The canary was taken back.
    RolledBack {
        /// When.
        seconds: f64,
        /// By what.
        cause: Cause,
        /// At which step.
        step: usize,
    },
    /// The canary got all traffic.
    Promoted {
        /// When.
        seconds: f64,
        /// At every step all metrics were not worse.
        proven: bool,
    },
    /// A step held at its maximum: in earnest it would wait for a person or for more evidence.
    Undecided {
        /// When.
        seconds: f64,
        /// At which step.
        step: usize,
    },
}

/// How many runs, and of which randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// So many.
    pub runs: u64,
    /// The same seed gives the same outcomes.
    pub seed: u64,
    /// On so many threads, at least 1. The outcomes do not depend on it.
    pub threads: usize,
}

impl Runs {
    /// On all cores.
    pub fn new(runs: u64, seed: u64) -> Runs {
        Runs { runs, seed, threads: thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// One rollout through all its steps. The bake at 100% is not simulated. The traffic is what
/// [`Traffic::check`] accepts.
pub fn rollout(policy: &Policy, traffic: &Traffic, random: Random) -> Outcome {
    rollout_told(policy, traffic, None, random).0
}

/// As [`rollout`], with what is known of the time before, and what was told on the way.
pub fn rollout_told(
    policy: &Policy,
    traffic: &Traffic,
    history: Option<&History>,
    random: Random,
) -> (Outcome, Told) {
    let mut walk = Walk::with_history(policy, traffic, history, random, Looks::EachInterval);
    let outcome = through(policy, &mut walk);
    (outcome, walk.told())
}

fn through(policy: &Policy, walk: &mut Walk<'_>) -> Outcome {
    let mut all_proven = true;
    for (step, plan) in policy.steps.iter().enumerate() {
        if plan.weight >= Weight::FULL {
            break;
        }
        walk.enter(step);
        match walk.through() {
            Left::RolledBack(cause) => return Outcome::RolledBack { seconds: walk.seconds(), cause, step },
            Left::Undecided => return Outcome::Undecided { seconds: walk.seconds(), step },
            Left::Advanced { proven } => all_proven &= proven,
        }
    }
    Outcome::Promoted { seconds: walk.seconds(), proven: all_proven }
}

/// Many rollouts, each with a past of its own if `history` is on, and what was told of each.
pub fn rollouts_told(
    policy: &Policy,
    traffic: &Traffic,
    history: bool,
    runs: Runs,
    done: &(dyn Fn(u64) + Sync),
) -> Vec<(Outcome, Told)> {
    each(runs, done, |index| {
        let past = history.then(|| past(policy, traffic, Random::of_run(!runs.seed, index)));
        rollout_told(policy, traffic, past.as_ref(), Random::of_run(runs.seed, index))
    })
}

/// Many rollouts. `done` is called after each with the number of those that are done; calls may come
/// from several threads, and in any order.
pub fn rollouts(policy: &Policy, traffic: &Traffic, runs: Runs, done: &(dyn Fn(u64) + Sync)) -> Vec<Outcome> {
    each(runs, done, |index| rollout(policy, traffic, Random::of_run(runs.seed, index)))
}

/// The results of `work` for 0, 1, …, in this order.
pub(super) fn each<T: Send>(
    runs: Runs,
    done: &(dyn Fn(u64) + Sync),
    work: impl Fn(u64) -> T + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(0);
    let finished = AtomicU64::new(0);
    let worker = || {
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= runs.runs {
                return results;
            }
            results.push((index, work(index)));
            done(finished.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let mut results: Vec<(u64, T)> = thread::scope(|scope| {
        let others: Vec<_> = (1..runs.threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut all = worker();
        for other in others {
            match other.join() {
                Ok(results) => all.extend(results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
