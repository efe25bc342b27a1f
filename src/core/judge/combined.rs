//! The evidence of all metrics together, and what it asks for.

use super::assessment::{Advice, GuardrailAssessment, GuardrailStatus, Verdict};
use super::evidence::MetricEvidence;
use super::watch::SHARE;
use super::weighed::Weighed;
use crate::core::metric::MetricObservation;
use crate::core::policy::{GuardrailAction, Metric};
use crate::stats::combine;
use crate::stats::special::{ln, ln_add_exp, ln_sum_exp};

/// ln of the metrics' share of the evidence; the catastrophe lane has the rest.
pub(super) const LN_METRICS_SHARE: f64 = -0.223_143_551_314_209_76;
/// The lane must be over its bound in so many windows in a row, and each of them must speak for it:
/// one burst is no catastrophe.
pub(super) const LANE_WINDOWS: u32 = 2;

/// The catastrophe lane after a tick.
#[derive(Clone, Copy)]
pub(super) struct LaneStands {
    pub ln_e: f64,
    /// It rolls back by itself.
    pub fires: bool,
    /// Its evidence is in the sum: from method 3 on only if its own condition holds, since at little traffic one
    /// burst is as much evidence.
    pub counts: bool,
}

/// A metric at a tick, with its figures.
pub(super) struct Judged<'a> {
    pub metric: &'a Metric,
    pub evidence: &'a MetricEvidence,
    pub seen: Option<&'a MetricObservation>,
    pub weighed: Weighed,
}

/// The evidence of harm of all metrics together. A weighted mean of e-values is an e-value, whatever
/// their dependence.
pub(super) struct Harm {
    pub ln_e: f64,
    pub ln_bound: f64,
    pub ln_e_catastrophe: f64,
    /// The metric with the most evidence.
    pub leading: Option<usize>,
    /// The combined evidence is over the bound, and the leading metric's gate is open.
    pub found: bool,
    /// The metric that leads the catastrophe lane, if the lane says to roll back.
    pub catastrophe: Option<usize>,
    /// Metrics that are named besides, by e-Holm.
    pub named: Vec<usize>,
}

impl Harm {
    pub fn find(judged: &[Judged<'_>], lane: LaneStands, ln_bound: f64) -> Harm {
        let weights: Vec<f64> = judged.iter().map(|one| one.evidence.weight()).collect();
        let all: f64 = weights.iter().sum();
        let ln_e: Vec<f64> = judged.iter().map(|one| one.weighed.ln_e_harm).collect();
        let shares: Vec<f64> = ln_e
            .iter()
            .zip(&weights)
            .map(|(ln_e, weight)| LN_METRICS_SHARE + ln(weight / all) + ln_e)
            .collect();
        let metrics = ln_sum_exp(&shares);
        let combined = if lane.counts { ln_add_exp(lane.ln_e, metrics) } else { metrics };
        let leading = most(shares.iter().copied().enumerate());
        let gate_open = |i: usize| judged[i].weighed.may_decide;
        let found = combined >= ln_bound && leading.is_some_and(gate_open);
        let in_lane = |i: usize| Some((i, judged[i].evidence.lane.as_ref()?.ln_e()));
        let named = if found {
            let named = combine::named(&ln_e, &weights, ln_bound - LN_METRICS_SHARE);
            (0..judged.len()).filter(|i| named[*i] && Some(*i) != leading && gate_open(*i)).collect()
        } else {
            Vec::new()
        };
        Harm {
            ln_e: combined,
            ln_bound,
            ln_e_catastrophe: lane.ln_e,
            leading,
            found,
            catastrophe: lane.fires.then(|| most((0..judged.len()).filter_map(in_lane))).flatten(),
            named,
        }
    }

    pub fn mark(&self, judged: &mut [Judged<'_>]) {
        let leading = self.leading.filter(|_| self.found);
        for i in self.named.iter().copied().chain(leading).chain(self.catastrophe) {
            judged[i].weighed.verdict = Verdict::Worse;
        }
    }
}

/// The index with the largest value, the first of several.
pub(super) fn most(values: impl Iterator<Item = (usize, f64)>) -> Option<usize> {
    values.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(i, _)| i)
}

pub(super) fn advice(harm: &Harm, judged: &[Judged<'_>], guardrails: &[GuardrailAssessment]) -> Advice {
    // The share of the requests is the rollout's to watch, over a trailing time.
    let own = |guardrail: &GuardrailAssessment| guardrail.name != SHARE;
    let fired = |guardrail: &GuardrailAssessment| {
        own(guardrail)
            && guardrail.status == GuardrailStatus::Fired
            && guardrail.action == GuardrailAction::RollBack
    };
    let holds = |guardrail: &GuardrailAssessment| {
        own(guardrail)
            && matches!(guardrail.status, GuardrailStatus::Fired | GuardrailStatus::BothBreach)
            && guardrail.action != GuardrailAction::Alert
    };
    if harm.found || harm.catastrophe.is_some() || guardrails.iter().any(fired) {
        Advice::RollBack
    } else if judged.is_empty() || guardrails.iter().any(holds) {
        Advice::Hold
    } else if judged.iter().all(|one| one.weighed.verdict == Verdict::NotWorse) {
        Advice::Advance
    } else {
        Advice::Hold
    }
}
