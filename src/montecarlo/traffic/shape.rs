//! In what real traffic differs from independent requests at a constant rate.

use libm::{exp, sin, sqrt};
use serde::{Deserialize, Serialize};

use super::span::{Factors, Span};
use crate::montecarlo::random::Random;

/// One way in which traffic differs from independent requests at a constant rate. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
pub enum Shape {
    /// Errors come in bursts, in both arms.
    Bursts(Bursts),
    /// Both arms fail and slow down together from time to time: a database, a network.
    Shocks {
        /// Mean time from the end of one to the next (exponential).
        every: f64,
        /// How long one lasts.
        lasts: f64,
        /// Errors meanwhile, as a multiple.
        error_factor: f64,
        /// Latency meanwhile, as a multiple.
        latency_factor: f64,
    },
    /// Error rate and traffic go up and down with the day, in both arms; the phase is drawn once a run.
    Drift {
        /// Length of the day.
        period: f64,
        /// The error rate goes up and down by this factor, at least 1.
        error_factor: f64,
        /// The traffic goes up and down by this share of its mean, in [0, 1).
        traffic_share: f64,
    },
    /// The canary's rates wander about those of the baseline: an autoregressive process of their logarithm,
    /// whose factor has a mean of 1.
    Noise {
        /// Standard deviation of the logarithm of its error rate.
        error_sd: f64,
        /// Standard deviation of the logarithm of its latency.
        latency_sd: f64,
        /// Correlation time.
        correlation: f64,
    },
    /// The canary is worse at the beginning of each step.
    ColdStart {
        /// How long.
        lasts: f64,
        /// Its errors meanwhile, as a multiple.
        error_factor: f64,
        /// Its latency meanwhile, as a multiple.
        latency_factor: f64,
    },
    /// The canary runs on few pods that differ from the many of the baseline for the whole run, by a
    /// factor on their error rate that has a mean of 1.
    BadPod {
        /// How many pods the canary has, at least 1.
        pods: u32,
        /// Standard deviation of the logarithm of a pod's error rate.
        error_sd: f64,
    },
}

/// How large the bursts of errors are. The variance factor is that of the count of errors over the one of
/// independent errors: the dispersion φ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "bursts", rename_all = "snake_case")]
pub enum Bursts {
    /// All of the same size φ, a whole number: for these the tempering of the tests is exact.
    Fixed {
        /// Errors in a burst, which is also the variance factor.
        size: u32,
    },
    /// The error rate of each window is drawn from a gamma distribution.
    Gamma {
        /// The variance factor, at least 1.
        variance_factor: f64,
    },
    /// Sizes with a Pareto distribution: mostly small ones, now and then a huge one.
    Pareto {
        /// The variance factor, at least 1 (approximately: sizes are rounded, at random).
        variance_factor: f64,
        /// The tail index, above 2: the smaller, the heavier.
        tail: f64,
    },
}

impl Bursts {
    /// Bad ones among `requests` at the error rate `rate`.
    pub(super) fn bad(self, random: &mut Random, requests: u64, rate: f64) -> u64 {
        let mean = requests as f64 * rate.clamp(0.0, 1.0);
        let bad = match self {
            Bursts::Fixed { size } => {
                let size = u64::from(size.max(1));
                random.poisson(mean / size as f64).saturating_mul(size)
            }
            Bursts::Gamma { variance_factor } if variance_factor <= 1.0 => random.binomial(requests, rate),
            Bursts::Gamma { variance_factor } => {
                let scale = variance_factor - 1.0;
                let rate_of_window = if mean > 0.0 { random.gamma(mean / scale) * scale } else { 0.0 };
                random.poisson(rate_of_window)
            }
            Bursts::Pareto { variance_factor, tail } => {
                // With the least size m: E[S] = m a/(a − 1), and E[S²]/E[S] = m (a − 1)/(a − 2).
                let least = variance_factor * (tail - 2.0) / (tail - 1.0);
                let mean_size = least * tail / (tail - 1.0);
                let bursts = random.poisson(mean / mean_size);
                (0..bursts).fold(0_u64, |sum, _| {
                    let size = random.pareto(least, tail);
                    sum.saturating_add(random.round(size))
                })
            }
        };
        bad.min(requests)
    }
}

impl Shape {
    pub(super) fn check(&self, within: &mut impl FnMut(&str, f64, f64, f64)) {
        const LONG: f64 = 1e8;
        match *self {
            Shape::Bursts(Bursts::Fixed { size }) => within("the burst size", f64::from(size), 1.0, 1e6),
            Shape::Bursts(Bursts::Gamma { variance_factor }) => {
                within("the burst factor", variance_factor, 1.0, 1e6);
            }
            Shape::Bursts(Bursts::Pareto { variance_factor, tail }) => {
                within("the burst factor", variance_factor, 1.0, 1e6);
                within("the tail index of the bursts", tail, 2.05, 100.0);
            }
            Shape::Shocks { every, lasts, error_factor, latency_factor } => {
                within("the seconds between shocks", every, 1.0, LONG);
                within("the seconds that a shock lasts", lasts, 1.0, LONG);
                within("the error factor of shocks", error_factor, 0.0, 1e6);
                within("the latency factor of shocks", latency_factor, 1e-3, 1e3);
            }
            Shape::Drift { period, error_factor, traffic_share } => {
                within("the period of the drift in seconds", period, 60.0, LONG);
                within("the error factor of the drift", error_factor, 1.0, 1e3);
                within("the traffic share of the drift", traffic_share, 0.0, 0.99);
            }
            Shape::Noise { error_sd, latency_sd, correlation } => {
                within("the error sd of the noise", error_sd, 0.0, 3.0);
                within("the latency sd of the noise", latency_sd, 0.0, 3.0);
                within("the correlation time of the noise in seconds", correlation, 1.0, LONG);
            }
            Shape::ColdStart { lasts, error_factor, latency_factor } => {
                within("the seconds of the cold start", lasts, 0.0, LONG);
                within("the error factor of the cold start", error_factor, 0.0, 1e6);
                within("the latency factor of the cold start", latency_factor, 1e-3, 1e3);
            }
            Shape::BadPod { pods, error_sd } => {
                within("the number of pods", f64::from(pods), 1.0, 1e4);
                within("the error sd of the pods", error_sd, 0.0, 3.0);
            }
        }
    }
}

/// A shape in the course of a run.
#[derive(Clone, Debug)]
pub(super) enum Course {
    /// It has no memory.
    None,
    /// When the current or next shock begins.
    Shocks { begins: f64 },
    /// In radians.
    Drift { phase: f64 },
    /// The standardised logarithms of error rate and latency.
    Noise { errors: f64, latency: f64 },
    /// The factor on the canary's error rate.
    BadPod { factor: f64 },
}

impl Course {
    pub fn begin(shape: &Shape, random: &mut Random) -> Course {
        match *shape {
            Shape::Bursts(_) | Shape::ColdStart { .. } => Course::None,
            Shape::Shocks { every, .. } => Course::Shocks { begins: random.exponential(every) },
            Shape::Drift { .. } => Course::Drift { phase: std::f64::consts::TAU * random.unit() },
            Shape::Noise { .. } => Course::Noise { errors: random.normal(), latency: random.normal() },
            Shape::BadPod { pods, error_sd } => {
                let pods = pods.max(1);
                let sum: f64 = (0..pods).map(|_| random.factor(error_sd)).sum();
                Course::BadPod { factor: sum / f64::from(pods) }
            }
        }
    }

    /// What it does to the window that begins at `at`.
    pub fn act(&mut self, shape: &Shape, at: f64, span: &Span, random: &mut Random, factors: &mut Factors) {
        match (self, *shape) {
            (Course::Shocks { begins }, Shape::Shocks { every, lasts, error_factor, latency_factor }) => {
                let share = shocked(begins, at, span.seconds, every, lasts, random);
                factors.both_errors *= 1.0 + share * (error_factor - 1.0);
                factors.both_slower *= 1.0 + share * (latency_factor - 1.0);
            }
            (Course::Drift { phase }, Shape::Drift { period, error_factor, traffic_share }) => {
                let middle = at + 0.5 * span.seconds;
                let wave = sin(std::f64::consts::TAU * middle / period + *phase);
                factors.both_errors *= exp(libm::log(error_factor) * wave);
                factors.traffic *= 1.0 + traffic_share * wave;
            }
            (Course::Noise { errors, latency }, Shape::Noise { error_sd, latency_sd, correlation }) => {
                factors.canary_errors *= exp(error_sd * *errors - 0.5 * error_sd * error_sd);
                factors.canary_slower *= exp(latency_sd * *latency - 0.5 * latency_sd * latency_sd);
                let kept = exp(-span.seconds / correlation);
                let new = sqrt(1.0 - kept * kept);
                *errors = kept * *errors + new * random.normal();
                *latency = kept * *latency + new * random.normal();
            }
            (_, Shape::ColdStart { lasts, error_factor, latency_factor }) => {
                let share = ((lasts - span.in_step).max(0.0) / span.seconds).min(1.0);
                factors.canary_errors *= 1.0 + share * (error_factor - 1.0);
                factors.canary_slower *= 1.0 + share * (latency_factor - 1.0);
            }
            (Course::BadPod { factor }, _) => factors.canary_errors *= *factor,
            _ => {}
        }
    }
}

/// The share of the window that lies within shocks; moves `begins` on past those that are over.
fn shocked(begins: &mut f64, at: f64, seconds: f64, every: f64, lasts: f64, random: &mut Random) -> f64 {
    let end = at + seconds;
    let mut sum = 0.0;
    while *begins < end {
        let over = *begins + lasts;
        sum += (over.min(end) - begins.max(at)).max(0.0);
        if over > end {
            break;
        }
        *begins = over + random.exponential(every);
    }
    sum / seconds
}
