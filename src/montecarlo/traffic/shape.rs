//! In what real traffic differs from independent requests at a constant rate.

use serde::{Deserialize, Serialize};

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
    /// A part of the errors comes in bursts that take a while: an incident of some seconds or minutes.
    Incidents {
        /// Errors in a burst.
        size: u32,
        /// How long one lasts; its errors are spread evenly over this time.
        lasts: f64,
        /// The share of all errors that comes in bursts, in [0, 1]. The others come one by one.
        share: f64,
        /// Where a burst hits.
        hits: Hits,
    },
    /// Both arms run on pods, each with a lasting factor (log-normal, with a mean of 1) on its error rate
    /// and its latency. At later steps the canary has more pods, by its weight.
    Pods {
        /// How many pods the canary has at the first step, at least 1.
        canary: u32,
        /// How many pods the baseline has, at least 1.
        baseline: u32,
        /// Standard deviation of the logarithm of a pod's error rate.
        error_sd: f64,
        /// Standard deviation of the logarithm of a pod's latency.
        latency_sd: f64,
    },
    /// Users are assigned to the arms by a hash: who is in the canary stays there. A few send most
    /// requests, and each has an error rate of its own.
    Users {
        /// How many users.
        users: u32,
        /// The tail index of the Pareto distribution of their traffic, above 1.
        tail: f64,
        /// Standard deviation of the logarithm of a user's error rate.
        error_sd: f64,
    },
    /// Pods that fail take themselves out of the traffic (outlier detection, readiness): the errors are
    /// counted, and the good requests that would have diluted them go to the other pods.
    Ejection {
        /// How many pods the canary has, at least 1.
        canary: u32,
        /// How many pods the baseline has, at least 1.
        baseline: u32,
        /// Errors of a failing pod before it is taken out.
        size: u32,
        /// How long it is out.
        lasts: f64,
        /// The share of all errors that comes this way, in [0, 1].
        share: f64,
    },
    /// Each change of the weights breaks requests for a while.
    Deploy {
        /// How long.
        lasts: f64,
        /// Errors meanwhile, as a multiple.
        error_factor: f64,
        /// In both arms, or in the canary alone.
        both: bool,
    },
    /// The canary's processes are cold when they start: caches, connections, compilers.
    ColdPods {
        /// How long.
        lasts: f64,
        /// Their latency meanwhile, as a multiple.
        latency_factor: f64,
        /// At each later step processes are added by the weight, and those are cold too. Otherwise all
        /// start at the first step.
        added: bool,
    },
    /// One client sends a large part of the canary's requests over one connection.
    Client {
        /// Its share of the canary's requests, in [0, 1); they come beside those of the weight.
        share: f64,
        /// The error rate of its requests, as a multiple.
        error_factor: f64,
    },
}

/// Where a burst hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hits {
    /// Both arms: each of its errors falls on an arm by the arm's share of the traffic.
    Both,
    /// One arm as a whole, chosen by the arms' shares of the traffic: one pod, one connection.
    One,
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
            _ => self.check_lasting(within),
        }
    }

    /// Shapes that divide the arms, or last.
    fn check_lasting(&self, within: &mut impl FnMut(&str, f64, f64, f64)) {
        const LONG: f64 = 1e8;
        match *self {
            Shape::Incidents { size, lasts, share, .. } => {
                within("the burst size", f64::from(size), 1.0, 1e6);
                within("the seconds that a burst lasts", lasts, 0.1, LONG);
                within("the share of errors in bursts", share, 0.0, 1.0);
            }
            Shape::Pods { canary, baseline, error_sd, latency_sd } => {
                within("the number of the canary's pods", f64::from(canary), 1.0, 1e4);
                within("the number of the baseline's pods", f64::from(baseline), 1.0, 1e4);
                within("the error sd of the pods", error_sd, 0.0, 3.0);
                within("the latency sd of the pods", latency_sd, 0.0, 3.0);
            }
            Shape::Users { users, tail, error_sd } => {
                within("the number of users", f64::from(users), 1.0, 1e6);
                within("the tail index of the users' traffic", tail, 1.05, 100.0);
                within("the error sd of the users", error_sd, 0.0, 3.0);
            }
            Shape::Ejection { canary, baseline, size, lasts, share } => {
                within("the number of the canary's pods", f64::from(canary), 1.0, 1e4);
                within("the number of the baseline's pods", f64::from(baseline), 1.0, 1e4);
                within("the errors of a failing pod", f64::from(size), 1.0, 1e6);
                within("the seconds that a pod is out", lasts, 0.1, LONG);
                within("the share of errors of failing pods", share, 0.0, 1.0);
            }
            Shape::Deploy { lasts, error_factor, .. } => {
                within("the seconds of the deploy", lasts, 0.0, LONG);
                within("the error factor of the deploy", error_factor, 0.0, 1e6);
            }
            Shape::ColdPods { lasts, latency_factor, .. } => {
                within("the seconds that processes are cold", lasts, 0.0, LONG);
                within("the latency factor of cold processes", latency_factor, 1e-3, 1e3);
            }
            Shape::Client { share, error_factor } => {
                within("the client's share", share, 0.0, 0.99);
                within("the error factor of the client", error_factor, 0.0, 1e6);
            }
            _ => {}
        }
    }
}
