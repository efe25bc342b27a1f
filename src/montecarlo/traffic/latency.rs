//! Log-normal latencies, counted in buckets.

use libm::{erfc, exp, log, sqrt};
use serde::{Deserialize, Serialize};

use super::Truth;

/// The default buckets of the Prometheus clients, in seconds.
pub const LATENCY_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A log-normal distribution of durations, and the buckets in which they are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// In seconds.
    pub median_seconds: f64,
    /// Standard deviation of the logarithm, above 0.
    pub sigma: f64,
    /// Upper bounds of the buckets in seconds, strictly rising, without +Inf.
    pub le: Vec<f64>,
}

impl Default for Latency {
    /// A median of 80 ms, σ = 0.8, in the default buckets of the Prometheus clients.
    fn default() -> Latency {
        Latency { median_seconds: 0.08, sigma: 0.8, le: LATENCY_BOUNDS.to_vec() }
    }
}

/// How the latency of one arm in one window differs from the healthy one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// All requests take so many times as long.
    pub slower: f64,
    /// The truth holds for this share of the requests.
    pub regressed: f64,
}

impl Latency {
    /// The share of requests that take longer than `seconds`.
    fn above(&self, seconds: f64, slower: f64) -> f64 {
        if seconds <= 0.0 {
            return 1.0;
        }
        let z = log(seconds / (self.median_seconds * slower)) / self.sigma;
        0.5 * erfc(z / std::f64::consts::SQRT_2)
    }

    /// The share of requests above each bound.
    pub(super) fn shares_above(&self, pace: Pace, truth: &Truth) -> Vec<f64> {
        let of = |le: &f64| {
            let healthy = self.above(*le, pace.slower);
            if pace.regressed <= 0.0 {
                return healthy;
            }
            let slower = pace.slower * truth.latency_factor;
            let body = (1.0 - truth.tail_share) * self.above(*le, slower);
            let tail = truth.tail_share * self.above(*le - truth.tail_seconds, slower);
            (1.0 - pace.regressed) * healthy + pace.regressed * (body + tail)
        };
        self.le.iter().map(of).collect()
    }

    /// Mean and standard deviation of one duration.
    pub(super) fn moments(&self, pace: Pace, truth: &Truth) -> (f64, f64) {
        let variance_factor = exp(self.sigma * self.sigma);
        let healthy = self.median_seconds * pace.slower * sqrt(variance_factor);
        let regressed = healthy * truth.latency_factor;
        let (tail, extra) = (truth.tail_share, truth.tail_seconds);
        let second = |mean: f64| mean * mean * variance_factor;
        let mean = (1.0 - pace.regressed) * healthy + pace.regressed * (regressed + tail * extra);
        let square = (1.0 - pace.regressed) * second(healthy)
            + pace.regressed * (second(regressed) + tail * extra * (2.0 * regressed + extra));
        (mean, sqrt((square - mean * mean).max(0.0)))
    }
}

/// Shares above rising bounds as the chance of each bucket for those that are in none below it.
pub(super) fn conditional(above: &[f64]) -> Vec<f64> {
    let mut left = 1.0;
    let of = |share: &f64| {
        let chance = if left > 0.0 { ((left - share) / left).clamp(0.0, 1.0) } else { 0.0 };
        left = *share;
        chance
    };
    above.iter().map(of).collect()
}
