//! Validated policy types. They are made by `config` only; every value here is within its range.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::FiringAlerts;
use super::gate::{Gate, Hook};
use super::limit::{Breach, GuardrailLimit, Severity};
use super::source::MetricSource;
use super::split::Weight;

/// How a release is stepped, judged and stopped. A rollout keeps the policy that it started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The name by which rollouts ask for it.
    pub name: String,
    /// The first 12 hexadecimal digits of the SHA-256 of the policy's file.
    pub version: String,
    /// When to use it, for people.
    pub description: String,
    /// Whether traffic is moved.
    pub mode: Mode,
    /// Weights strictly rising; the last one is 100%.
    pub steps: Vec<Step>,
    /// How and how often is judged.
    pub analysis: Analysis,
    /// What is compared between the arms; never empty.
    pub metrics: Vec<Metric>,
    /// Limits that hold whatever the tests say.
    pub guardrails: Vec<Guardrail>,
    /// How long 100% is watched before the rollout has succeeded.
    pub bake: Bake,
    /// What must say yes before it goes on.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// What is done when it has come to a point.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// What must be so before anything begins.
    #[serde(default)]
    pub preflight: Preflight,
    /// What must be so after a way back; `None`: it is over when the split is seen.
    #[serde(default)]
    pub verify: Option<Verify>,
    /// A rollout that begins at a set time is announced so long before it.
    #[serde(default)]
    pub announce: Vec<Duration>,
    /// Its own texts (templates over the notice), by the name of the notice's kind.
    #[serde(default)]
    pub messages: BTreeMap<String, String>,
    /// Where people look what to do when it is rolled back.
    #[serde(default)]
    pub runbook: Option<String>,
    /// What an alert does that had fired before the canary got traffic.
    #[serde(default, skip_serializing_if = "FiringAlerts::is_usual")]
    pub firing_alerts: FiringAlerts,
    /// How an automatic rollback goes where servers of stable are missing.
    #[serde(default, skip_serializing_if = "SmallPool::is_usual")]
    pub small_pool: SmallPool,
}

/// How an automatic rollback goes where servers of stable are missing. A person's always goes whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmallPool {
    /// Whole, at once.
    #[default]
    All,
    /// At once as far as the servers that are up can carry, by what each carried at most in the last 24 hours; the
    /// rest as they come up, after 15 minutes at the latest.
    Staged,
}

impl SmallPool {
    /// Whether that need not be written.
    pub fn is_usual(&self) -> bool {
        *self == SmallPool::All
    }
}

/// What must be so before anything begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// The baseline breaks no guardrail. A hotfix for a broken service says `false`.
    pub healthy_baseline: bool,
    /// At the traffic of before, the tests can find a regression to five times within the steps.
    pub enough_traffic: bool,
    /// What is not so within this time is refused. The limit `blind` holds for missing data.
    pub within: Duration,
}

impl Default for Preflight {
    fn default() -> Preflight {
        Preflight { healthy_baseline: true, enough_traffic: true, within: Duration::from_secs(1800) }
    }
}

/// When a way back counts as verified.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// Every proportion and latency of the service must be back within so much.
    pub within: Duration,
    /// It must have been so for this long.
    pub hold_for: Duration,
    /// Back means: at most so many times what it was before the rollout, and no guardrail's absolute
    /// limit broken.
    pub at_most_times: f64,
}

/// Whether a policy moves traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decide and act.
    Act,
    /// Judge and report what would have been done; touch no traffic.
    Observe,
}

/// One exposure of the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The canary's share.
    pub weight: Weight,
    /// At least so much analysed time before the next step.
    pub min: Duration,
    /// After so much analysed time without a verdict, `at_max` applies. `None`: wait for ever.
    pub max: Option<Duration>,
    /// What then.
    pub at_max: AtMax,
    /// Each arm must have had so many requests in the step before the next one.
    #[serde(default = "usual_min_requests")]
    pub min_requests: u64,
}

/// Requests of each arm that a step needs where the policy says nothing.
pub const MIN_REQUESTS: u64 = 50;

fn usual_min_requests() -> u64 {
    MIN_REQUESTS
}

/// What happens when a step has lasted its maximum and nothing is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtMax {
    /// Stay, alert, and wait for a person or for evidence.
    Hold,
    /// Take the canary back.
    RollBack,
    /// Go on without proof; the report says so.
    PromoteUnproven,
}

/// How a policy judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Time between two looks.
    pub interval: Duration,
    /// Windows end this long before now, so that late samples are in.
    pub lag: Duration,
    /// The first part of each step, whose windows are not used for the tests.
    pub warm_up: Duration,
    /// α of the harm tests over all looks, metrics and steps, in (0, 0.5].
    pub false_rollback_rate: f64,
    /// α of the no-harm tests, in (0, 0.5].
    pub no_harm_alpha: f64,
    /// Overdispersion φ ≥ 1 by which the tests are tempered (η = 1/φ) where there is no history.
    pub dispersion: f64,
    /// How long the blocks of the tests of harm are: as long as one incident's bad requests last. `None`: chosen
    /// by how the baseline's bad requests have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Duration>,
    /// A rollback by the tests needs so many bad requests of the canary, at least 1.
    #[serde(default = "usual_min_bad")]
    pub min_bad: u64,
    /// How much of the baseline's past is looked at when a rollout starts; zero: none.
    #[serde(default)]
    pub history: Duration,
    /// PromQL for the requests under way in an arm; `$arm` stands for its matchers. A canary that has some is
    /// not silent, however long they last.
    #[serde(default)]
    pub active_requests: Option<String>,
    /// Whether the canary's share of the requests is checked against its weight; `None`: not.
    #[serde(default)]
    pub traffic_share: Option<TrafficShare>,
    /// No data of both arms for so long, and what then.
    pub blind: Limit,
    /// No data of the canary while the baseline is seen for so long, and what then.
    pub silent: Limit,
    /// A rollback that is not seen in the data plane within this time pages.
    pub confirm_within: Duration,
}

/// The usual least number of bad requests for a rollback by the tests.
pub const MIN_BAD: u64 = 10;

fn usual_min_bad() -> u64 {
    MIN_BAD
}

/// How the canary's share of the requests is checked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficShare {
    /// Relative: 0.1 allows 4.5% to 5.5% at a weight of 5%. At least 0.
    pub margin: f64,
    /// What follows: an alert, a hold with an alert, or a rollback.
    pub action: GuardrailAction,
}

/// A time that must not be passed, and what happens if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The time.
    pub after: Duration,
    /// The outcome.
    pub then: LimitOutcome,
}

/// What a passed limit leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOutcome {
    /// Hold and alert.
    Hold,
    /// Take the canary back.
    RollBack,
}

/// A metric that is compared between canary and baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Unique in the policy.
    pub name: String,
    /// Where the counts come from; its variant is the metric's kind.
    pub source: MetricSource,
    /// What counts as bad, in words, for explanations.
    pub bad_means: String,
    /// How much worse is accepted: a proportion's or rate's ratio r0 = 1 + tolerance; a latency's factor
    /// on the latency axis γ = 1 + tolerance; of a gauge a part of the baseline's value. In [0, 10].
    pub tolerance: f64,
    /// δ0: an absolute difference that is never called harm: a proportion; of a rate events per unit of
    /// exposure; of a gauge in its own unit.
    pub harm_floor: f64,
    /// δ_M > δ0 (of a gauge ≥): an absolute difference that still counts as no harm, in the same unit.
    pub no_harm_floor: f64,
    /// Which direction is better.
    pub direction: Direction,
    /// A label of the counters: the arms are compared within each of its values, so that a canary with
    /// another mix of routes is not taken for a worse one. Proportions and latencies only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_route: Option<String>,
    /// Of a proportion: no series of bad requests means that there are none, also where the selectors have
    /// never matched any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent_is_zero: bool,
}

/// Which direction of a metric is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// As for errors and latencies.
    LowerIsBetter,
    /// As for successes: what is counted as "bad" is then the good event, and the arms swap.
    HigherIsBetter,
}

/// A limit that must hold for a time before it fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guardrail {
    /// Unique in the policy.
    pub name: String,
    /// What is looked at.
    pub signal: Signal,
    /// The limit.
    pub limit: GuardrailLimit,
    /// Whether values above or below the limit breach it.
    pub breach: Breach,
    /// The breach must last so long.
    pub hold_for: Duration,
    /// The value is taken over this trailing time.
    pub over: Duration,
    /// With fewer requests of an arm in `over` there is no value.
    pub min_requests: u64,
    /// How urgent.
    pub severity: Severity,
    /// What follows.
    pub action: GuardrailAction,
    /// Fires even if the baseline breaches too.
    pub regardless_of_baseline: bool,
    /// Told as a warning when the breach has lasted so long, before it fires (the class `standard`);
    /// `None`: the class `immediate`, which says nothing before it acts.
    #[serde(default)]
    pub warn_after: Option<Duration>,
}

/// What a guardrail looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Signal {
    /// The bad share of a proportion metric, in [0, 1].
    Rate {
        /// The policy's metric.
        metric: String,
    },
    /// The mean of a latency metric, in seconds (needs the histogram's `_sum`).
    Mean {
        /// The policy's metric.
        metric: String,
    },
    /// A quantile of a latency metric, in seconds, interpolated within its bucket.
    Quantile {
        /// The policy's metric.
        metric: String,
        /// In (0, 1).
        quantile: f64,
    },
    /// Any PromQL that gives one number an arm; `$arm` stands for the arm's matchers.
    Query {
        /// The query.
        query: String,
    },
}

/// What a fired guardrail does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailAction {
    /// Tell somebody.
    Alert,
    /// Stop advancing, and tell somebody.
    Hold,
    /// Take the canary back.
    RollBack,
}

/// Watching at 100%, where no baseline is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bake {
    /// How long, in analysed seconds (of elapsed time while nothing is seen).
    pub duration: Duration,
    /// Absolute limits, tested by one arm alone.
    #[serde(default)]
    pub limits: Vec<BakeLimit>,
}

/// A limit of a proportion at 100%. It is outside the false-rollback budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BakeLimit {
    /// The policy's metric, a proportion.
    pub metric: String,
    /// What must not be exceeded.
    pub limit: BakeBound,
    /// What follows.
    pub action: GuardrailAction,
}

/// What a bad share is held against where no baseline is left.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BakeBound {
    /// A share in (0, 1).
    Above(f64),
    /// So many times what it was before the rollout, > 1: after against before. Whatever else has changed
    /// since counts too, so that nothing is promised of false rollbacks.
    TimesBefore(f64),
}

impl Policy {
    /// The metric of that name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The longest time that the steps may analyse, for spreading the prior over later starts: the sum
    /// of the maximum durations of the steps below 100%; a step without one counts ten times its
    /// minimum, at least an hour.
    pub fn longest_analysis(&self) -> Duration {
        self.steps.iter().filter(|step| step.weight < Weight::FULL).map(Step::longest).sum()
    }

    /// The time that the steps below 100% take at the least, in which most releases are decided.
    pub fn expected_analysis(&self) -> Duration {
        self.steps.iter().filter(|step| step.weight < Weight::FULL).map(|step| step.min).sum()
    }
}

impl Step {
    /// How long the step may analyse: its maximum; without one ten times its minimum, at least an hour.
    pub fn longest(&self) -> Duration {
        self.max.unwrap_or_else(|| (self.min * 10).max(Duration::from_secs(3600)))
    }
}
