//! The options of `serin plan` and `serin simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::args::duration;

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// The policy's file
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Requests per second of both versions together
    #[arg(long, value_name = "N")]
    pub rps: f64,
    /// Share of the running version's requests that fail, such as 0.1% or 0.001
    #[arg(long, value_parser = share, value_name = "P")]
    pub error_rate: f64,
    /// Median latency of the running version, such as 80ms
    #[arg(long, value_parser = time, value_name = "TIME", requires = "latency_sigma")]
    pub latency_median: Option<f64>,
    /// Standard deviation of the logarithm of the latency, such as 0.8
    #[arg(long, value_name = "SIGMA", requires = "latency_median")]
    pub latency_sigma: Option<f64>,
    /// The service's dispersion: errors come in bursts, and their count varies so many times as much as
    /// that of independent ones [default: independent, judged by the policy's dispersion]
    #[arg(long, value_name = "PHI")]
    pub phi: Option<f64>,
    /// How many runs.
    #[command(flatten)]
    pub runs: RunArgs<200>,
}

/// How many runs, and of which randomness.
#[derive(Clone, Debug, Args)]
pub struct RunArgs<const DEFAULT: u64> {
    /// Runs for each figure
    #[arg(long, value_name = "N", default_value_t = DEFAULT, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub runs: u64,
    /// The same seed gives the same figures
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Work on so many threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl<const DEFAULT: u64> RunArgs<DEFAULT> {
    pub(super) fn runs(&self) -> crate::montecarlo::Runs {
        let all = crate::montecarlo::Runs::new(self.runs, self.seed);
        crate::montecarlo::Runs { threads: self.threads.map_or(all.threads, usize::from), ..all }
    }
}

/// Options of `simulate`.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// The policy's file
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// How many runs.
    #[command(flatten)]
    pub runs: RunArgs<1000>,
    /// Requests per second of both versions together
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    pub rps: f64,
    /// Share of the running version's requests that fail, such as 1% or 0.01
    #[arg(long, value_parser = share, value_name = "P", default_value = "1%")]
    pub error_rate: f64,
    /// Median latency of the running version
    #[arg(long, value_parser = time, value_name = "TIME", default_value = "80ms")]
    pub latency_median: f64,
    /// Standard deviation of the logarithm of the latency
    #[arg(long, value_name = "SIGMA", default_value_t = 0.8)]
    pub latency_sigma: f64,
    /// The dispersion by which the tests are tempered [default: the policy's]
    #[arg(long, value_name = "PHI")]
    pub phi: Option<f64>,
    /// The new version fails so many times as often
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, help_heading = "What is wrong")]
    pub error_ratio: f64,
    /// The new version takes so many times as long
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, help_heading = "What is wrong")]
    pub latency_factor: f64,
    /// This share of the new version's requests takes longer by --tail-time
    #[arg(long, value_parser = share, value_name = "P", requires = "tail_time", help_heading = "What is wrong")]
    pub tail_share: Option<f64>,
    /// How much longer
    #[arg(long, value_parser = time, value_name = "TIME", requires = "tail_share", help_heading = "What is wrong")]
    pub tail_time: Option<f64>,
    /// From when on, counted from its first request [default: from the first request]
    #[arg(long, value_parser = duration, value_name = "TIME", help_heading = "What is wrong")]
    pub onset: Option<Duration>,
    /// The shapes.
    #[command(flatten)]
    pub shapes: ShapeArgs,
}

/// In what the traffic differs from independent requests at a constant rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShapeName {
    /// Independent requests at a constant rate, whatever else is named
    Poisson,
    /// Errors come in bursts
    Bursts,
    /// Error rate and traffic go up and down with the day
    Drift,
    /// Both versions fail and slow down together from time to time
    Shocks,
    /// The new version's rates wander
    Noise,
    /// The new version is worse at the beginning of each step
    ColdStart,
    /// The new version runs on a pod that is worse or better than the others
    BadPod,
}

/// The shapes and their parameters.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Shapes of the traffic")]
pub struct ShapeArgs {
    /// In what the traffic differs from independent requests; several act together
    #[arg(long, value_enum, value_name = "SHAPE")]
    pub shape: Vec<ShapeName>,
    /// bursts: the count of errors varies so many times as much as that of independent ones [default: 3]
    #[arg(long, value_name = "PHI")]
    pub burst_factor: Option<f64>,
    /// bursts: how their sizes are distributed [default: fixed]
    #[arg(long, value_enum, value_name = "KIND")]
    pub burst_sizes: Option<BurstSizes>,
    /// drift: the length of the day [default: 1d]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub drift_period: Option<Duration>,
    /// drift: the error rate goes up and down by this factor [default: 2]
    #[arg(long, value_name = "FACTOR")]
    pub drift_errors: Option<f64>,
    /// drift: the traffic goes up and down by this share [default: 50%]
    #[arg(long, value_parser = share, value_name = "P")]
    pub drift_traffic: Option<f64>,
    /// shocks: mean time between them [default: 10m]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub shock_every: Option<Duration>,
    /// shocks: how long they last [default: 60s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub shock_lasts: Option<Duration>,
    /// shocks: the errors meanwhile, as a multiple [default: 3]
    #[arg(long, value_name = "FACTOR")]
    pub shock_errors: Option<f64>,
    /// shocks: the latency meanwhile, as a multiple [default: 1.5]
    #[arg(long, value_name = "FACTOR")]
    pub shock_latency: Option<f64>,
    /// noise: standard deviation of the logarithm of the error rate [default: 0.3]
    #[arg(long, value_name = "SD")]
    pub noise_errors: Option<f64>,
    /// noise: standard deviation of the logarithm of the latency [default: 0.05]
    #[arg(long, value_name = "SD")]
    pub noise_latency: Option<f64>,
    /// noise: correlation time [default: 60s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub noise_time: Option<Duration>,
    /// cold-start: how long it lasts [default: 60s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub cold_lasts: Option<Duration>,
    /// cold-start: the errors meanwhile, as a multiple [default: 3]
    #[arg(long, value_name = "FACTOR")]
    pub cold_errors: Option<f64>,
    /// cold-start: the latency meanwhile, as a multiple [default: 2]
    #[arg(long, value_name = "FACTOR")]
    pub cold_latency: Option<f64>,
    /// bad-pod: the number of the new version's pods [default: 1]
    #[arg(long, value_name = "N")]
    pub pods: Option<u32>,
    /// bad-pod: standard deviation of the logarithm of a pod's error rate [default: 0.2]
    #[arg(long, value_name = "SD")]
    pub pod_errors: Option<f64>,
}

/// How the sizes of bursts are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BurstSizes {
    /// All the same
    Fixed,
    /// The error rate of each window is drawn from a gamma distribution
    Gamma,
    /// Mostly small, now and then huge
    Pareto,
}

/// Reads `1%` or `0.01`.
fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a share; write a percentage such as 1%, or a number up to 1");
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map_err(|_| wrong())? / unit;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text:?} must be from 0% to 100%")) }
}

/// Reads `80ms` or `1.5s` as seconds.
fn time(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a time; write a number and a unit, such as 80ms or 1.5s");
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1000.0),
        (None, Some(number)) => (number, 1.0),
        (None, None) => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? / unit;
    let usable = seconds.is_finite() && seconds >= 0.0;
    if usable { Ok(seconds) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times() {
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(share("0.001"), Ok(0.001));
        assert_eq!(share("100%"), Ok(1.0));
        assert_eq!(time("80ms"), Ok(0.08));
        assert_eq!(time("1.5s"), Ok(1.5));
        for text in ["", "%", "-1%", "101%", "2", "NaN", "inf", "x"] {
            assert!(share(text).is_err(), "{text}");
        }
        for text in ["", "ms", "5", "-1s", "infs", "1m"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
