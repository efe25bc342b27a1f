//! What many rollouts came to.

use serde::{Deserialize, Serialize};
use statrs::function::beta::checked_beta_reg;

use super::run::Outcome;
use super::traffic::Truth;
use super::walk::Cause;

/// A share of all runs, with the interval that holds the true share with 95% (Clopper & Pearson 1934).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// So many runs.
    pub count: u64,
    /// Of all, in [0, 1].
    pub share: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// Quantiles over all runs, where those that never got there count as infinite: `None` is "not within the
/// policy's durations".
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Half of all runs got there within so many seconds.
    pub median_seconds: Option<f64>,
    /// Nine of ten runs got there within so many seconds.
    pub p90_seconds: Option<f64>,
}

/// What many rollouts came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many they were.
    pub runs: u64,
    /// Nothing was wrong with the canary.
    pub harmless: bool,
    /// Rolled back by the tests while nothing was wrong: of a harmless canary at any time, else before the
    /// onset. The policy's `false_rollback_rate` bounds it.
    pub false_by_tests: Share,
    /// The same by guardrails, which no rate is promised for.
    pub false_by_guardrails: Share,
    /// Rolled back by the tests after the onset.
    pub found_by_tests: Share,
    /// Rolled back by a guardrail after the onset.
    pub found_by_guardrails: Share,
    /// Taken back because nothing was proven within a step's maximum.
    pub rolled_back_at_maximum: Share,
    /// Promoted with proof at every step.
    pub promoted: Share,
    /// Promoted although some step's maximum came first.
    pub promoted_unproven: Share,
    /// Held at a step's maximum.
    pub undecided: Share,
    /// From the onset until it was found, by whatever.
    pub detection: Times,
    /// From the first request to all traffic.
    pub promotion: Times,
}

impl Summary {
    /// Of these outcomes, under this truth.
    pub fn new(outcomes: &[Outcome], truth: &Truth) -> Summary {
        let harmless = truth.is_harmless();
        let onset = truth.onset_seconds;
        let share = |of: &dyn Fn(&Outcome) -> bool| {
            Share::new(outcomes.iter().filter(|outcome| of(outcome)).count() as u64, outcomes.len() as u64)
        };
        let rolled_back = |outcome: &Outcome, by: Cause, found: bool| match outcome {
            Outcome::RolledBack { seconds, cause, .. } => {
                *cause == by && (!harmless && *seconds > onset) == found
            }
            _ => false,
        };
        let at_maximum =
            |outcome: &Outcome| matches!(outcome, Outcome::RolledBack { cause: Cause::AtMaximum, .. });
        let promoted = |outcome: &Outcome, with: bool| matches!(outcome, Outcome::Promoted { proven, .. } if *proven == with);
        let found_after = |outcome: &Outcome| match outcome {
            Outcome::RolledBack { seconds, cause: Cause::Tests | Cause::Guardrail, .. } if !harmless => {
                (*seconds > onset).then_some(*seconds - onset)
            }
            _ => None,
        };
        let promoted_after = |outcome: &Outcome| match outcome {
            Outcome::Promoted { seconds, .. } => Some(*seconds),
            _ => None,
        };
        Summary {
            runs: outcomes.len() as u64,
            harmless,
            false_by_tests: share(&|o| rolled_back(o, Cause::Tests, false)),
            false_by_guardrails: share(&|o| rolled_back(o, Cause::Guardrail, false)),
            found_by_tests: share(&|o| rolled_back(o, Cause::Tests, true)),
            found_by_guardrails: share(&|o| rolled_back(o, Cause::Guardrail, true)),
            rolled_back_at_maximum: share(&at_maximum),
            promoted: share(&|o| promoted(o, true)),
            promoted_unproven: share(&|o| promoted(o, false)),
            undecided: share(&|o| matches!(o, Outcome::Undecided { .. })),
            detection: Times::new(outcomes.iter().map(found_after)),
            promotion: Times::new(outcomes.iter().map(promoted_after)),
        }
    }
}

impl Share {
    /// `count` of `all`.
    pub fn new(count: u64, all: u64) -> Share {
        let (k, n) = (count as f64, all as f64);
        let share = if all > 0 { k / n } else { 0.0 };
        let low = if count == 0 { 0.0 } else { beta_quantile(k, n - k + 1.0, 0.025) };
        let high = if count >= all { 1.0 } else { beta_quantile(k + 1.0, n - k, 0.975) };
        Share { count, share, low, high }
    }
}

impl Times {
    /// Of the times of all runs, `None` where it never came to it.
    pub fn new(times: impl Iterator<Item = Option<f64>>) -> Times {
        let mut times: Vec<f64> = times.map(|time| time.unwrap_or(f64::INFINITY)).collect();
        times.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let rank = (q * times.len() as f64).ceil() as usize;
            times.get(rank.max(1) - 1).copied().filter(|time| time.is_finite())
        };
        Times { median_seconds: at(0.5), p90_seconds: at(0.9) }
    }
}

/// The x at which the regularised incomplete beta function is q, by bisection.
fn beta_quantile(a: f64, b: f64, q: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if checked_beta_reg(a, b, middle).is_ok_and(|at| at < q) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_clopper_and_pearson() {
        // R: binom.test(12, 2000)$conf.int, binom.test(0, 200)$conf.int, binom.test(3, 10)$conf.int.
        for (count, all, low, high) in [
            (12, 2000, 0.003_104_016, 0.010_457_314),
            (0, 200, 0.0, 0.018_275_340),
            (3, 10, 0.066_739_512, 0.652_452_850),
            (5, 5, 0.478_176_250, 1.0),
        ] {
            let share = Share::new(count, all);
            assert!((share.low - low).abs() < 1e-6, "{share:?}");
            assert!((share.high - high).abs() < 1e-6, "{share:?}");
        }
    }

    #[test]
    fn quantiles_count_those_that_never_got_there() {
        let times = Times::new([Some(3.0), None, Some(1.0), Some(2.0)].into_iter());
        assert_eq!(times, Times { median_seconds: Some(2.0), p90_seconds: None });
        assert_eq!(Times::new([].into_iter()), Times::default());
    }
}
