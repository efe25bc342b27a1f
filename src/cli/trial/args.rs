//! The options of `serin plan` and `serin simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::options::ShapeArgs;

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
    /// Simulate a harmless release, or one with a fault, in named hostile traffic, which sets the traffic
    /// and its shape; can be given several times; `all` for every one, `list` for their names
    #[arg(long, value_name = "NAME")]
    pub hostile: Vec<String>,
    /// Whether the target's past is known when a release begins [default: off; with --hostile: both]
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub history: Option<HistoryArg>,
    /// The shapes.
    #[command(flatten)]
    pub shapes: ShapeArgs,
}

/// Whether the target's past is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HistoryArg {
    /// Nothing is known of it
    Off,
    /// It was recorded for as long as the policy asks for
    On,
    /// Once without and once with it
    Both,
}

/// Reads `1%` or `0.01`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a share; write a percentage such as 1%, or a number up to 1");
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map_err(|_| wrong())? / unit;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text:?} must be from 0% to 100%")) }
}

/// Reads `80ms` or `1.5s` as seconds.
pub(super) fn time(text: &str) -> Result<f64, String> {
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
