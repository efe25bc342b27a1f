//! What a rollout showed over time, for charts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::source::{Exposure, MetricSource};

/// The unit of what an arm shows of such a metric.
pub(crate) fn unit(source: &MetricSource) -> &'static str {
    match source {
        MetricSource::Proportion { .. } | MetricSource::Latency { .. } => "percent",
        MetricSource::Rate { per: Exposure::Share, .. } => "per_second",
        MetricSource::Rate { per: Exposure::Instance, .. } => "per_instance_second",
        MetricSource::Rate { per: Exposure::Counter { .. }, .. } => "each",
        MetricSource::Mean { .. } | MetricSource::Saturation { .. } => "value",
    }
}

/// A rollout over time. All lists beside `times` have its length; `None` where there is no data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesView {
    /// The rollout.
    pub rollout: String,
    /// Where the series begin (RFC 3339, UTC).
    pub from: String,
    /// Where they end (RFC 3339, UTC).
    pub to: String,
    /// Unix seconds: the end of each bucket.
    pub times: Vec<f64>,
    /// The step, from 1; `None` before the first one, at the end and on the way back.
    pub step: Vec<Option<usize>>,
    /// The canary's weight by the plan.
    pub wanted_percent: Vec<Option<f64>>,
    /// The canary's weight that was seen in force.
    pub seen_percent: Vec<Option<f64>>,
    /// ln of the combined evidence of harm over all metrics: the decision is made on this one.
    pub ln_harm_combined: Vec<Option<f64>>,
    /// In the policy's order.
    pub metrics: Vec<MetricSeries>,
}

/// A metric over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricSeries {
    /// The policy's name.
    pub name: String,
    /// `proportion`, `latency`, `rate`, `mean` or `saturation`.
    pub kind: String,
    /// Of the arms' values: `percent`; of rates `per_second` (at full traffic), `per_instance_second` or
    /// `each`; `value`, where the query has its own.
    pub unit: String,
    /// The canary.
    pub canary: ArmSeries,
    /// The baseline.
    pub baseline: ArmSeries,
    /// Canary over baseline in the step so far, as it was judged.
    pub ratio: RatioSeries,
    /// ln of the metric's own evidence of harm.
    pub ln_harm: Vec<Option<f64>>,
    /// ln of its evidence of no harm in the step.
    pub ln_no_harm: Vec<Option<f64>>,
    /// The bound of the evidence of harm.
    pub ln_bound_harm: Option<f64>,
    /// The bound of the evidence of no harm.
    pub ln_bound_no_harm: Option<f64>,
    /// Latency only: how the requests of the whole time are distributed.
    pub latency: Option<LatencyView>,
}

/// One arm of a metric over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmSeries {
    /// Requests in each bucket; `None` for what counts no requests.
    pub requests: Vec<Option<u64>>,
    /// The value in each bucket: percent of bad requests (latency: of those above the judged bound),
    /// events per unit of exposure, or the mean.
    pub value: Vec<Option<f64>>,
    /// Low end of its 95% interval by itself (Wilson, widened by the dispersion); none for means.
    pub low: Vec<Option<f64>>,
    /// High end.
    pub high: Vec<Option<f64>>,
}

/// A ratio over time, with its interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RatioSeries {
    /// Low end; `None` where it is not bounded.
    pub low: Vec<Option<f64>>,
    /// The estimate.
    pub estimate: Vec<Option<f64>>,
    /// High end; `None` where it is not bounded.
    pub high: Vec<Option<f64>>,
}

/// How the requests of both arms are distributed over the latencies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LatencyView {
    /// Upper bounds of the buckets in seconds; the last one is `None`, above every bound.
    pub le: Vec<Option<f64>>,
    /// Requests of the canary in each.
    pub canary: Vec<u64>,
    /// Requests of the baseline in each.
    pub baseline: Vec<u64>,
    /// p50, p90, p95 and p99 of the canary.
    pub canary_quantiles: Vec<super::QuantileView>,
    /// p50, p90, p95 and p99 of the baseline.
    pub baseline_quantiles: Vec<super::QuantileView>,
}

/// One value of one arm of one metric at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesRow {
    /// The end of the bucket (RFC 3339, UTC).
    pub time: String,
    /// The policy's name of the metric.
    pub metric: String,
    /// `canary` or `baseline`.
    pub arm: String,
    /// As in the series.
    pub value: Option<f64>,
    /// Requests in the bucket; `None` for what counts no requests.
    pub requests: Option<u64>,
}
