//! The evidence of a gauge: means and saturations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::metric::{Counts, MetricObservation, Usage};
use crate::core::policy::{Direction, Metric, Policy};
use crate::stats::gauge::{GaugeTest, LongRun};

/// No-harm margins stay so far from the harm margin.
const APART: f64 = 1.15;
/// So many later starts of the harm test.
const LATER_STARTS: u32 = 7;

/// Evidence of harm lasts over steps, the rest begins anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct GaugeEvidence {
    noise: LongRun,
    harm: GaugeTest,
    no_harm: GaugeTest,
    /// This step.
    pub step: GaugeStep,
}

/// What a step has seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct GaugeStep {
    canary_sum: f64,
    baseline_sum: f64,
    /// Ticks with both arms.
    pub ticks: u32,
    /// Those of them that went into the tests.
    tested: u32,
    seconds: f64,
}

impl GaugeStep {
    /// The means of canary and baseline.
    pub fn means(&self) -> Option<[f64; 2]> {
        let ticks = f64::from(self.ticks);
        (self.ticks > 0).then(|| [self.canary_sum / ticks, self.baseline_sum / ticks])
    }
}

/// How much more (or less, where higher is better) the canary may have.
pub(super) struct GaugeMargins {
    pub harm: f64,
    pub no_harm: f64,
}

impl GaugeMargins {
    /// For a baseline of this value, where the next weight allows the ratio `allowed`.
    pub fn new(metric: &Metric, baseline: f64, allowed: f64) -> GaugeMargins {
        let relative = metric.tolerance * baseline.abs();
        GaugeMargins {
            harm: relative + metric.harm_floor,
            no_harm: allowed.max(APART) * relative + metric.no_harm_floor.max(APART * metric.harm_floor),
        }
    }
}

impl GaugeEvidence {
    pub fn new(policy: &Policy) -> GaugeEvidence {
        let interval = policy.analysis.interval.as_secs_f64().max(0.001);
        let ticks = policy.longest_analysis().as_secs_f64() / interval;
        let apart = (ticks / f64::from(LATER_STARTS + 1)).clamp(1.0, 1e6);
        GaugeEvidence {
            noise: LongRun::default(),
            harm: GaugeTest::new(LATER_STARTS, apart as u32),
            no_harm: GaugeTest::new(0, 1),
            step: GaugeStep::default(),
        }
    }

    pub fn enter_step(&mut self) {
        self.no_harm = GaugeTest::new(0, 1);
        self.step = GaugeStep::default();
    }

    /// Takes in a tick with both arms; false if there is none.
    pub fn take(&mut self, metric: &Metric, allowed: f64, seen: &MetricObservation) -> bool {
        let (Ok(Counts::Value { value: canary }), Ok(Counts::Value { value: baseline })) =
            (&seen.canary, &seen.baseline)
        else {
            return false;
        };
        if !canary.is_finite() || !baseline.is_finite() || seen.usage != Usage::Used {
            return true;
        }
        self.step.canary_sum += canary;
        self.step.baseline_sum += baseline;
        self.step.ticks = self.step.ticks.saturating_add(1);
        self.step.seconds += seen.window.map_or(Duration::ZERO, |window| window.length()).as_secs_f64();
        let worse = match metric.direction {
            Direction::LowerIsBetter => canary - baseline,
            Direction::HigherIsBetter => baseline - canary,
        };
        let margins = GaugeMargins::new(metric, *baseline, allowed);
        // The variance of the ticks before this one, so that the tick does not choose its own scale. Where
        // nothing has ever moved, the smallest step of the margin stands for it.
        if let Some(variance) = self.noise.variance() {
            let least = (0.01 * margins.harm).max(f64::MIN_POSITIVE.sqrt());
            let variance = variance.max(least * least);
            self.harm.take(worse - margins.harm, variance);
            self.no_harm.take(margins.no_harm - worse, variance);
            self.step.tested = self.step.tested.saturating_add(1);
        }
        self.noise.take(worse);
        true
    }

    pub fn ln_e_harm(&self) -> f64 {
        self.harm.ln_e()
    }

    pub fn ln_e_no_harm(&self) -> f64 {
        self.no_harm.ln_e()
    }

    /// Whether the test has begun in this step.
    pub fn is_tested(&self) -> bool {
        self.step.tested > 0
    }

    /// Time until the no-harm evidence reaches its bound.
    pub fn remaining(&self, ln_bound: f64) -> Option<Duration> {
        let ticks = self.no_harm.ticks_to(ln_bound)?;
        let seconds = ticks * self.step.seconds / f64::from(self.step.ticks.max(1));
        (seconds.is_finite() && seconds < 30.0 * 86_400.0).then(|| Duration::from_secs_f64(seconds))
    }
}
