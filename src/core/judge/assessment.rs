//! What the judge says about one tick.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::DispersionSource;
use crate::core::limit::Severity;
use crate::core::policy::GuardrailAction;
use crate::core::reason::Reason;
use crate::core::time::Timestamp;
use crate::stats::block::Because;

/// What the judge says about one tick. Logarithms are natural.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The tick.
    pub seq: u64,
    /// What the figures ask for. The transition decides.
    pub advice: Advice,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
    /// ln of the combined evidence of harm (0.2·E_cat + 0.8·Σ w_m E_m).
    pub ln_e_harm: f64,
    /// ln of 0.2·E_cat alone.
    pub ln_e_catastrophe: f64,
    /// The bound that both are held against: ln(1/α).
    pub ln_bound_harm: f64,
    /// The bound of each metric's no-harm evidence: ln(1/α).
    pub ln_bound_no_harm: f64,
    /// In the policy's order.
    pub metrics: Vec<MetricAssessment>,
    /// In the policy's order.
    pub guardrails: Vec<GuardrailAssessment>,
    /// Analysed time that this tick adds: by how much the shortest sum of used windows in this step, of
    /// all metrics, has grown.
    pub analysed: Duration,
    /// Expected further time until every metric is `not_worse`, at this traffic; `None` if unknown.
    pub remaining: Option<Duration>,
}

impl Assessment {
    /// Requests of canary and baseline in this step's used windows, of the metric that has the most.
    pub fn requests(&self) -> [u64; 2] {
        let of = self.metrics.iter().map(|metric| [metric.canary_requests, metric.baseline_requests]);
        of.fold([0, 0], |all, one| [all[0].max(one[0]), all[1].max(one[1])])
    }
}

/// What the figures ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Nothing is proven.
    #[default]
    Hold,
    /// Every metric is not worse.
    Advance,
    /// The canary is worse.
    RollBack,
}

/// The verdict of one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Worse than the baseline.
    Worse,
    /// Not worse by more than the margin of the next weight.
    NotWorse,
    /// Neither.
    Undecided,
    /// Not known.
    #[default]
    NoData,
}

/// One metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricAssessment {
    /// The policy's name.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// ln of its evidence of harm.
    pub ln_e_harm: f64,
    /// ln of its evidence of no harm in this step (for latency the minimum over the bounds).
    pub ln_e_no_harm: f64,
    /// ln of the evidence that must be there besides: its burst gate, or what it has without its best window; 0
    /// where there is no such condition.
    pub ln_e_gate: f64,
    /// Canary over baseline in this step: low, estimate, high (proportion: of the bad shares; latency:
    /// of the shares above the bound with the most evidence). At every look; where a test of harm has blocks, the
    /// low end is that test's, over all steps, the high end that of the test of no harm, each with 95%, after the
    /// last block; else a 95% confidence sequence. Ends of 0.05 and 50 (where higher is better 0.02 and 20) are
    /// open.
    pub ratio: Option<[f64; 3]>,
    /// In this step's used windows: bad share of the canary, in [0, 1] (latency: above that bound; rate:
    /// events per millionth of exposure).
    pub canary_share: Option<f64>,
    /// The same of the baseline.
    pub baseline_share: Option<f64>,
    /// Requests of the canary in this step's used windows.
    pub canary_requests: u64,
    /// Requests of the baseline in this step's used windows.
    pub baseline_requests: u64,
    /// Latency only: the bound in seconds that `ratio` and the shares speak of.
    pub bound_seconds: Option<f64>,
    /// Gauges only: the mean of the canary's values in this step, in the metric's own unit.
    #[serde(default)]
    pub canary_value: Option<f64>,
    /// The same of the baseline.
    #[serde(default)]
    pub baseline_value: Option<f64>,
    /// Latency only: p50, p90, p95, p99 of the canary in this step in seconds, each as (low, estimate,
    /// high); a 95% interval at this look.
    pub canary_quantiles: Option<[[f64; 3]; 4]>,
    /// The same of the baseline.
    pub baseline_quantiles: Option<[[f64; 3]; 4]>,
    /// The dispersion that the tests are tempered by: of a latency the largest over its bounds.
    pub dispersion: f64,
    /// Where it comes from.
    #[serde(default)]
    pub dispersion_source: DispersionSource,
    /// The blocks of the test of harm, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockAssessment>,
}

/// The blocks over which a test of harm bets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockAssessment {
    /// How long the block is that is open, or was the last one.
    pub seconds: f64,
    /// Why it is as long.
    pub because: Because,
    /// Blocks that have ended since the rollout began.
    pub ended: u64,
    /// The evidence is of the time since then: when the start that leads began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How long that is until the last window's end.
    #[serde(default)]
    pub lasts: Duration,
    /// Of a metric that is compared by route: the route with the most evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// One guardrail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardrailAssessment {
    /// The policy's name.
    pub name: String,
    /// Where it stands.
    pub status: GuardrailStatus,
    /// The canary's value in the signal's unit, where there is one.
    pub canary: Option<f64>,
    /// The baseline's value.
    pub baseline: Option<f64>,
    /// How long the canary has breached.
    pub breaching_for: Duration,
    /// Whether the baseline is within the limit (for absolute limits, and where it has a value).
    pub baseline_healthy: Option<bool>,
    /// What it does when it fires.
    pub action: GuardrailAction,
    /// How urgent.
    pub severity: Severity,
    /// The sentence with its figures.
    pub sentence: String,
}

/// Where a guardrail stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailStatus {
    /// No value: too few requests, or no data.
    NoData,
    /// Within the limit.
    Clear,
    /// Breaching, not yet for long enough.
    Breaching,
    /// The canary has breached for long enough and the baseline does not (or need not matter).
    Fired,
    /// Both arms have breached for long enough.
    BothBreach,
}
