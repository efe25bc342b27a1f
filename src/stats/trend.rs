//! Trends: whether the difference of two arms grows within a step, as a memory leak makes it grow. The mean
//! alone does not see it while the canary, which has just begun, has less than the baseline.
//!
//! A step is cut into epochs of which each compares as many ticks as came before it with the mean of these: the
//! second half with the first. With d a tick's difference less the mean of the n ticks before the epoch and less
//! the margin, after t ticks of it
//! ```text
//! S = Σd,   V = t σ² + t² σ²/n
//! ```
//! for the mean that is compared with has an error of its own, which all ticks of the epoch share; ln E is the
//! normal mixture of [`gauge`](super::gauge). The epochs are added up with weights 1/((k+1)(k+2)), which sum to 1
//! over all of them, and an epoch that has not begun counts as 1. As with gauges the guarantee is asymptotic.

use serde::{Deserialize, Serialize};

use super::gauge::{RHO, ln_one_sided};
use super::special::{exp, ln, ln_add_exp};

/// Ticks of the first epoch's reference: two minutes at a look every 10 s.
const FIRST: u32 = 12;
/// Values beyond this are taken to be this.
const LARGEST: f64 = 1e100;
/// A tick is taken to be at most so many σ out.
const FURTHEST: f64 = 1e9;

/// The running test that a difference does not grow by more than a margin within a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Ticks of this step before the epoch, and the sum of their differences.
    before: Sum,
    /// Ticks of the epoch.
    epoch: Sum,
    /// S of the epoch, in units of σ.
    excess: f64,
    /// Which epoch it is, over all steps.
    number: u32,
    /// Σ w E over the epochs that have ended.
    ended: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    ticks: u32,
    sum: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.ticks = self.ticks.saturating_add(1);
        self.sum += value;
    }

    fn mean(&self) -> Option<f64> {
        (self.ticks > 0).then(|| self.sum / f64::from(self.ticks))
    }
}

impl Trend {
    /// Ends the epoch: what came before the step is nothing to compare with.
    pub fn enter_step(&mut self) {
        self.end_epoch();
        self.before = Sum::default();
    }

    /// Takes in a tick's difference, with the margin that it may grow by and the variance that was known before
    /// it, above 0; without a variance it is only remembered.
    pub fn take(&mut self, difference: f64, margin: f64, variance: Option<f64>) {
        let difference = difference.clamp(-LARGEST, LARGEST);
        let reference = self.before.mean().filter(|_| self.before.ticks >= FIRST);
        let (Some(reference), Some(variance)) = (reference, variance) else {
            return self.before.add(difference);
        };
        let z = (difference - reference - margin).clamp(-LARGEST, LARGEST) / variance.sqrt();
        self.excess += z.clamp(-FURTHEST, FURTHEST);
        self.epoch.add(difference);
        if self.epoch.ticks >= self.before.ticks {
            let seen = self.epoch;
            self.end_epoch();
            self.before.ticks = self.before.ticks.saturating_add(seen.ticks);
            self.before.sum += seen.sum;
        }
    }

    /// ln of the evidence that the difference grows by more than the margin.
    pub fn ln_e(&self) -> f64 {
        let still = self.waiting() - weight(self.number);
        let ended = ln(self.ended + still);
        ln_add_exp(ended, ln(weight(self.number)) + self.ln_epoch())
    }

    /// By how much the difference has grown from the reference to the epoch; `None` before it is tested.
    pub fn growth(&self) -> Option<f64> {
        Some(self.epoch.mean()? - self.before.mean()?)
    }

    fn ln_epoch(&self) -> f64 {
        let (t, n) = (f64::from(self.epoch.ticks), f64::from(self.before.ticks.max(1)));
        if t == 0.0 { 0.0 } else { ln_one_sided(self.excess, t + t * t / n, RHO) }
    }

    /// The weight of this epoch and of all that have not begun.
    fn waiting(&self) -> f64 {
        1.0 / (f64::from(self.number) + 1.0)
    }

    fn end_epoch(&mut self) {
        if self.epoch.ticks > 0 {
            self.ended += weight(self.number) * exp(self.ln_epoch()).min(f64::MAX / 4.0);
            self.number = self.number.saturating_add(1);
        }
        self.epoch = Sum::default();
        self.excess = 0.0;
    }
}

/// Of epoch k: 1/((k+1)(k+2)).
fn weight(k: u32) -> f64 {
    let k = f64::from(k);
    1.0 / ((k + 1.0) * (k + 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise without memory, with a variance of 1/3.
    fn noise(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*seed >> 11) as f64 / (1_u64 << 53) as f64) * 2.0 - 1.0
    }

    const VARIANCE: f64 = 1.0 / 3.0;

    #[test]
    fn nothing_is_said_before_there_is_something_to_compare_with() {
        let mut trend = Trend::default();
        for _ in 0..FIRST {
            trend.take(5.0, 0.1, Some(VARIANCE));
            assert_eq!(trend.ln_e(), 0.0);
        }
        assert_eq!(trend.growth(), None);
        trend.take(5.0, 0.1, Some(VARIANCE));
        assert_eq!(trend.growth(), Some(0.0));
    }

    #[test]
    fn what_grows_is_found_though_it_began_below_the_baseline() {
        let (mut trend, mut seed) = (Trend::default(), 7);
        let found = (0..400).find(|i| {
            trend.take(-30.0 + 0.05 * f64::from(*i) + noise(&mut seed), 1.0, Some(VARIANCE));
            trend.ln_e() >= ln(1000.0)
        });
        assert!(found.is_some_and(|tick| tick < 150), "{found:?}");
    }

    #[test]
    fn evidence_of_earlier_epochs_and_steps_is_kept() {
        let (mut trend, mut seed) = (Trend::default(), 3);
        for i in 0..60 {
            trend.take(0.2 * f64::from(i) + noise(&mut seed), 1.0, Some(VARIANCE));
        }
        let grown = trend.ln_e();
        assert!(grown > ln(1000.0), "{grown}");
        trend.enter_step();
        let kept = trend.ln_e();
        assert!(kept > grown - 1e-9, "{kept} {grown}");
        for _ in 0..200 {
            trend.take(noise(&mut seed), 1.0, Some(VARIANCE));
        }
        assert!(trend.ln_e() > grown - 1.0);
        assert!(trend.ln_e().is_finite());
    }

    #[test]
    fn without_a_trend_the_bound_is_passed_no_more_often_than_it_says() {
        let (mut seed, mut passed, runs) = (11, 0, 4000);
        for _ in 0..runs {
            let mut trend = Trend::default();
            let wrong = (0..360).any(|i| {
                if i == 180 {
                    trend.enter_step();
                }
                trend.take(noise(&mut seed), 0.0, Some(VARIANCE));
                trend.ln_e() >= ln(20.0)
            });
            passed += u32::from(wrong);
        }
        assert!(f64::from(passed) <= 0.05 * f64::from(runs), "{passed} of {runs}");
    }

    #[test]
    fn what_cannot_be_is_survived() {
        let mut trend = Trend::default();
        for i in 0..100 {
            trend.take(if i % 2 == 0 { f64::MAX } else { -f64::MAX }, f64::MAX, Some(f64::MIN_POSITIVE));
        }
        for _ in 0..500 {
            trend.take(f64::MAX, 0.0, Some(f64::MIN_POSITIVE));
        }
        assert!(!trend.ln_e().is_nan(), "{}", trend.ln_e());
    }
}
