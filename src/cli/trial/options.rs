//! The options of `serin simulate` that shape the traffic.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args::share;
use crate::cli::args::duration;

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
    /// The new version's processes are slow after they have started
    ColdPods,
    /// The new version runs on a pod that is worse or better than the others
    BadPod,
    /// A part of the errors comes in bursts that last seconds or minutes
    Incidents,
    /// The pods of both versions differ for good
    Pods,
    /// Users are assigned to the versions by a hash, and a few send most requests
    Users,
    /// Pods that fail take themselves out of the traffic
    Ejection,
    /// Each change of the weights breaks requests for a while
    Deploy,
    /// One client sends a large part of the new version's requests
    Client,
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
    /// cold-pods: processes are added at each step, not all at the first one
    #[arg(long)]
    pub cold_added: bool,
    /// cold-start, cold-pods: how long it lasts [default: 60s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub cold_lasts: Option<Duration>,
    /// cold-start: the errors meanwhile, as a multiple [default: 3]
    #[arg(long, value_name = "FACTOR")]
    pub cold_errors: Option<f64>,
    /// cold-start, cold-pods: the latency meanwhile, as a multiple [default: 2]
    #[arg(long, value_name = "FACTOR")]
    pub cold_latency: Option<f64>,
    /// bad-pod, pods, ejection: the number of the new version's pods [default: 1]
    #[arg(long, value_name = "N")]
    pub pods: Option<u32>,
    /// bad-pod, pods: standard deviation of the logarithm of a pod's error rate [default: 0.2]
    #[arg(long, value_name = "SD")]
    pub pod_errors: Option<f64>,
    /// pods: standard deviation of the logarithm of a pod's latency [default: 0]
    #[arg(long, value_name = "SD")]
    pub pod_latency: Option<f64>,
    /// pods, ejection: the number of the running version's pods [default: 19]
    #[arg(long, value_name = "N")]
    pub baseline_pods: Option<u32>,
    /// incidents: errors in a burst [default: 30]; ejection: errors before a pod is out [default: 10]
    #[arg(long, value_name = "N")]
    pub burst_size: Option<u32>,
    /// incidents: how long a burst lasts [default: 60s]; ejection: how long a pod is out [default: 30s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub burst_lasts: Option<Duration>,
    /// incidents, ejection: the share of all errors that comes in bursts [default: 50%]
    #[arg(long, value_parser = share, value_name = "P")]
    pub burst_share: Option<f64>,
    /// incidents: whether a burst hits one version as a whole, or both [default: one]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub burst_hits: Option<BurstHits>,
    /// users: how many there are [default: 10000]
    #[arg(long, value_name = "N")]
    pub users: Option<u32>,
    /// users: the tail index of the Pareto distribution of their traffic [default: 1.5]
    #[arg(long, value_name = "INDEX")]
    pub user_tail: Option<f64>,
    /// users: standard deviation of the logarithm of a user's error rate [default: 1]
    #[arg(long, value_name = "SD")]
    pub user_errors: Option<f64>,
    /// deploy: how long it breaks requests [default: 20s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub deploy_lasts: Option<Duration>,
    /// deploy: the errors meanwhile, as a multiple [default: 10]
    #[arg(long, value_name = "FACTOR")]
    pub deploy_errors: Option<f64>,
    /// deploy: in both versions, or in the new one alone [default: both]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub deploy_hits: Option<BurstHits>,
    /// client: its share of the new version's requests [default: 30%]
    #[arg(long, value_parser = share, value_name = "P")]
    pub client_share: Option<f64>,
    /// client: its errors, as a multiple [default: 1]
    #[arg(long, value_name = "FACTOR")]
    pub client_errors: Option<f64>,
}

/// Where a burst hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BurstHits {
    /// One version
    One,
    /// Both versions
    Both,
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
