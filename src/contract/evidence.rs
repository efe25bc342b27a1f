//! What a tick was judged as.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ReasonView, unit};
use crate::core::judge::{
    Advice, Assessment, BlockAssessment, DispersionSource, GuardrailAssessment, GuardrailStatus,
    MetricAssessment, Verdict,
};
use crate::core::limit::Severity;
use crate::core::metric::TickObservation;
use crate::core::policy::{GuardrailAction, Policy};
use crate::core::rollout::Compared;
use crate::core::words;

/// Evidence against its bound. Odds of 4,100 are written `1:4,100`: so unlikely is evidence of this
/// strength, at any of all looks, if the opposite is true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceView {
    /// Natural logarithm of the e-value.
    pub ln_e: f64,
    /// The e-value itself; at most 10¹⁵.
    pub odds: f64,
    /// Natural logarithm of the bound.
    pub ln_bound: f64,
    /// The bound itself.
    pub bound_odds: f64,
    /// True if the bound is reached.
    pub reached: bool,
}

impl EvidenceView {
    /// Evidence `ln_e` against `ln_bound`.
    pub fn new(ln_e: f64, ln_bound: f64) -> EvidenceView {
        // JSON has no infinities, and no test needs more than this.
        let finite = |x: f64| if x.is_nan() { 0.0 } else { x.clamp(-1e6, 1e6) };
        let odds = |x: f64| x.exp().min(1e15);
        let (ln_e, ln_bound) = (finite(ln_e), finite(ln_bound));
        EvidenceView {
            ln_e,
            odds: odds(ln_e),
            ln_bound,
            bound_odds: odds(ln_bound),
            reached: ln_e >= ln_bound,
        }
    }
}

/// Canary over baseline with its interval; `×2.7 [1.9 – 3.6]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RatioView {
    /// The lower end; `None` where it is not bounded.
    pub low: Option<f64>,
    /// The estimate; `None` where the baseline has nothing bad.
    pub estimate: Option<f64>,
    /// The upper end; `None` where it is not bounded.
    pub high: Option<f64>,
}

/// What one arm showed in the current step's used windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmView {
    /// Requests.
    pub requests: u64,
    /// Share of bad requests; for latency of those above `bound_seconds`.
    pub share_percent: Option<f64>,
    /// 95% interval of that share by itself (Wilson, widened by the dispersion). For people: the
    /// tests decide by the evidence, and compare the arms by the ratio.
    pub share_interval_percent: Option<[f64; 2]>,
    /// Latency only.
    pub p50_seconds: Option<f64>,
    /// Latency only.
    pub p95_seconds: Option<f64>,
    /// Latency only.
    pub p99_seconds: Option<f64>,
    /// Latency only: p50, p90, p95 and p99 with their intervals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileView>,
    /// Rates only: events per unit of exposure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Gauges only: the mean of its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// A quantile of a latency in this step, with a 95% interval at this look. For people to read: no test
/// uses it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuantileView {
    /// In (0, 1).
    pub quantile: f64,
    /// The estimate.
    pub seconds: f64,
    /// Low end.
    pub low_seconds: f64,
    /// High end.
    pub high_seconds: f64,
}

/// What an assessment says of one arm.
struct ArmFigures {
    requests: u64,
    share: Option<f64>,
    value: Option<f64>,
    quantiles: Option<[[f64; 3]; 4]>,
}

impl ArmView {
    fn new(kind: &str, arm: &ArmFigures, dispersion: f64) -> ArmView {
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let quantiles: Vec<QuantileView> = arm
            .quantiles
            .iter()
            .flat_map(|all| [0.5, 0.9, 0.95, 0.99].into_iter().zip(all))
            .filter(|(_, [low, seconds, high])| [low, seconds, high].iter().all(|x| x.is_finite()))
            .map(|(quantile, [low, seconds, high])| QuantileView {
                quantile,
                seconds: *seconds,
                low_seconds: *low,
                high_seconds: *high,
            })
            .collect();
        let quantile = |wanted: f64| quantiles.iter().find(|q| q.quantile == wanted).map(|q| q.seconds);
        let requests = arm.requests;
        let all = arm.share.and_then(finite);
        let share = all.filter(|_| kind != "rate");
        ArmView {
            requests,
            rate: all.filter(|_| kind == "rate").map(|share| share * 1e6),
            value: arm.value.and_then(finite),
            share_percent: share.map(|share| share * 100.0),
            share_interval_percent: share
                .and_then(|share| wilson(share, requests, dispersion))
                .map(|[low, high]| [low * 100.0, high * 100.0]),
            p50_seconds: quantile(0.5),
            p95_seconds: quantile(0.95),
            p99_seconds: quantile(0.99),
            quantiles,
        }
    }
}

/// Wilson's score interval at 95% for `share` of `requests`, as if there were `dispersion` times fewer
/// of them (E. B. Wilson, Probable Inference, 1927).
pub(crate) fn wilson(share: f64, requests: u64, dispersion: f64) -> Option<[f64; 2]> {
    if requests == 0 {
        return None;
    }
    let n = requests as f64 / if dispersion.is_finite() { dispersion.max(1.0) } else { 1.0 };
    let z2 = 1.959_963_984_540_054_f64.powi(2);
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (z2 * (share * (1.0 - share) / n + z2 / (4.0 * n * n))).max(0.0).sqrt() / (1.0 + z2 / n);
    Some([(centre - half).max(0.0), (centre + half).min(1.0)])
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricView {
    /// The policy's name.
    pub name: String,
    /// `proportion`, `latency`, `rate`, `mean` or `saturation`.
    pub kind: String,
    /// Of the arms' values, as in the series.
    #[serde(default)]
    pub unit: String,
    /// What counts as bad, in words.
    pub bad_means: String,
    /// The verdict.
    #[schema(value_type = super::vocabulary::Verdict)]
    pub verdict: Verdict,
    /// Evidence of harm by this metric alone; the decision is made on the combined one.
    pub harm: EvidenceView,
    /// Evidence of no harm beyond the margin of the next weight, in this step.
    pub no_harm: EvidenceView,
    /// Canary over baseline in this step.
    pub ratio: Option<RatioView>,
    /// The canary.
    pub canary: ArmView,
    /// The baseline.
    pub baseline: ArmView,
    /// Latency only: the bound that `ratio` and the shares speak of.
    pub bound_seconds: Option<f64>,
    /// The dispersion that the tests are tempered by.
    pub dispersion: f64,
    /// Where it comes from.
    #[serde(default)]
    #[schema(value_type = String)]
    pub dispersion_source: DispersionSource,
    /// The blocks of the test of harm, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockView>,
}

/// The blocks over which a test of harm bets: as long as one incident's bad requests last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockView {
    /// How long one is.
    pub seconds: f64,
    /// Why: `unknown`, `calm`, `bursts`, `long_bursts` or `policy`.
    pub because: String,
    /// Blocks that have ended since the rollout began.
    pub ended: u64,
    /// The evidence is of the time since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Of a metric that is compared by route: the route with the most evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

impl BlockView {
    fn new(block: &BlockAssessment) -> BlockView {
        BlockView {
            seconds: block.seconds,
            because: block.because.name().to_owned(),
            ended: block.ended,
            since: block.since.map(|since| since.to_string()),
            route: block.route.clone(),
        }
    }
}

impl MetricView {
    fn new(metric: &MetricAssessment, assessment: &Assessment, policy: &Policy) -> MetricView {
        let definition = policy.metric(&metric.name);
        let guess = if metric.bound_seconds.is_some() { "latency" } else { "proportion" };
        let kind = definition.map_or(guess, |definition| definition.source.kind());
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let m = metric;
        let canary = ArmFigures {
            requests: m.canary_requests,
            share: m.canary_share,
            value: m.canary_value,
            quantiles: m.canary_quantiles,
        };
        let baseline = ArmFigures {
            requests: m.baseline_requests,
            share: m.baseline_share,
            value: m.baseline_value,
            quantiles: m.baseline_quantiles,
        };
        MetricView {
            name: m.name.clone(),
            kind: kind.to_owned(),
            unit: definition.map_or("percent", |definition| unit(&definition.source)).to_owned(),
            bad_means: definition.map(|definition| definition.bad_means.clone()).unwrap_or_default(),
            verdict: m.verdict,
            harm: EvidenceView::new(m.ln_e_harm, assessment.ln_bound_harm),
            no_harm: EvidenceView::new(m.ln_e_no_harm, assessment.ln_bound_no_harm),
            ratio: m.ratio.map(|[low, estimate, high]| {
                let [open_low, open_high] = words::are_open(low, high);
                RatioView {
                    low: finite(low).filter(|_| !open_low),
                    estimate: finite(estimate),
                    high: finite(high).filter(|_| !open_high),
                }
            }),
            canary: ArmView::new(kind, &canary, m.dispersion),
            baseline: ArmView::new(kind, &baseline, m.dispersion),
            bound_seconds: m.bound_seconds.and_then(finite),
            dispersion: m.dispersion,
            dispersion_source: m.dispersion_source,
            block: m.block.as_ref().map(BlockView::new),
        }
    }
}

/// One guardrail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GuardrailView {
    /// The policy's name.
    pub name: String,
    /// Where it stands.
    #[schema(value_type = super::vocabulary::GuardrailStatus)]
    pub status: GuardrailStatus,
    /// The canary's value in the signal's own unit.
    pub canary: Option<f64>,
    /// The baseline's value.
    pub baseline: Option<f64>,
    /// How long the canary has breached.
    pub breaching_for_seconds: f64,
    /// How long it must breach.
    pub hold_for_seconds: Option<f64>,
    /// Whether the baseline is within the limit.
    pub baseline_healthy: Option<bool>,
    /// What it does when it fires.
    #[schema(value_type = super::vocabulary::GuardrailAction)]
    pub action: GuardrailAction,
    /// How urgent.
    #[schema(value_type = super::vocabulary::Severity)]
    pub severity: Severity,
    /// The sentence with its figures.
    pub sentence: String,
}

impl GuardrailView {
    fn new(guardrail: &GuardrailAssessment, policy: &Policy) -> GuardrailView {
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let definition = policy.guardrails.iter().find(|definition| definition.name == guardrail.name);
        GuardrailView {
            name: guardrail.name.clone(),
            status: guardrail.status,
            canary: guardrail.canary.and_then(finite),
            baseline: guardrail.baseline.and_then(finite),
            breaching_for_seconds: guardrail.breaching_for.as_secs_f64(),
            hold_for_seconds: definition.map(|definition| definition.hold_for.as_secs_f64()),
            baseline_healthy: guardrail.baseline_healthy,
            action: guardrail.action,
            severity: guardrail.severity,
            sentence: guardrail.sentence.clone(),
        }
    }
}

/// What a tick was judged as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AssessmentView {
    /// The tick's number; counts from 1.
    pub tick: u64,
    /// What the figures ask for; the decision takes durations and holds into account too.
    #[schema(value_type = super::vocabulary::Advice)]
    pub advice: Advice,
    /// Why, the weightiest first.
    pub reasons: Vec<ReasonView>,
    /// Combined evidence of harm over all metrics: at its bound the canary is rolled back.
    pub harm: EvidenceView,
    /// The catastrophe lane's part of it alone.
    pub catastrophe: EvidenceView,
    /// In the policy's order.
    pub metrics: Vec<MetricView>,
    /// In the policy's order.
    pub guardrails: Vec<GuardrailView>,
    /// Expected further time until every metric is not worse, at this traffic.
    pub remaining_seconds: Option<f64>,
}

impl AssessmentView {
    /// The view of an assessment under its policy.
    pub fn new(assessment: &Assessment, policy: &Policy) -> AssessmentView {
        AssessmentView {
            tick: assessment.seq,
            advice: assessment.advice,
            reasons: assessment.reasons.iter().map(ReasonView::new).collect(),
            harm: EvidenceView::new(assessment.ln_e_harm, assessment.ln_bound_harm),
            catastrophe: EvidenceView::new(assessment.ln_e_catastrophe, assessment.ln_bound_harm),
            metrics: assessment
                .metrics
                .iter()
                .map(|metric| MetricView::new(metric, assessment, policy))
                .collect(),
            guardrails: assessment
                .guardrails
                .iter()
                .map(|guardrail| GuardrailView::new(guardrail, policy))
                .collect(),
            remaining_seconds: assessment.remaining.map(|remaining| remaining.as_secs_f64()),
        }
    }
}

/// What a step that was left was judged as at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComparedView {
    /// The canary's weight in it.
    pub weight_percent: f64,
    /// What its last tick was judged as.
    pub assessment: AssessmentView,
}

impl ComparedView {
    /// The view of a step's last assessment under its policy.
    pub fn new(compared: &Compared, policy: &Policy) -> ComparedView {
        ComparedView {
            weight_percent: super::percent(compared.weight),
            assessment: AssessmentView::new(&compared.assessment, policy),
        }
    }
}

/// One tick with what it was judged as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TickAssessmentView {
    /// The tick's number; the value of `after` for the ones that follow.
    pub tick: u64,
    /// When Serin looked (RFC 3339, UTC).
    pub at: String,
    /// The step; counts from 1.
    pub step: usize,
    /// The canary's weight in force.
    pub weight_percent: f64,
    /// What it was judged as.
    pub assessment: AssessmentView,
}

impl TickAssessmentView {
    /// The view of a stored tick under its rollout's policy.
    pub fn new(tick: &TickObservation, assessment: &Assessment, policy: &Policy) -> TickAssessmentView {
        TickAssessmentView {
            tick: tick.seq,
            at: tick.at.to_string(),
            step: tick.step + 1,
            weight_percent: super::percent(tick.weight),
            assessment: AssessmentView::new(assessment, policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_always_a_number() {
        for ln_e in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5_000.0, -5_000.0, 0.0] {
            let view = EvidenceView::new(ln_e, 4.6);
            let text = serde_json::to_string(&view).unwrap();
            let back: EvidenceView = serde_json::from_str(&text).unwrap();
            assert_eq!(back, view, "{ln_e}");
        }
        assert!(EvidenceView::new(100_f64.ln(), 100_f64.ln()).reached);
        assert!(!EvidenceView::new(99.9_f64.ln(), 100_f64.ln()).reached);
    }

    #[test]
    fn wilson_agrees_with_the_known_values() {
        // 10 of 100: 5.52% to 17.44%.
        let [low, high] = wilson(0.1, 100, 1.0).unwrap();
        assert!((low - 0.055_229).abs() < 1e-5 && (high - 0.174_366).abs() < 1e-5, "{low} {high}");
        // Three times fewer independent requests.
        assert_eq!(wilson(0.1, 300, 3.0), wilson(0.1, 100, 1.0));
        // Nothing bad seen does not mean that nothing is bad.
        let [low, high] = wilson(0.0, 100, 1.0).unwrap();
        assert!(low == 0.0 && (high - 0.036_994).abs() < 1e-5, "{low} {high}");
        assert_eq!(wilson(0.5, 0, 1.0), None);
    }
}
