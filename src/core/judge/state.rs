//! The fold: observations in, assessments out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{
    Advice, Assessment, GuardrailAssessment, GuardrailStatus, MetricAssessment, Verdict,
};
use super::combined::{Harm, Judged, LANE_WINDOWS, LN_METRICS_SHARE, LaneStands, advice, most};
use super::evidence::{Demand, MetricEvidence};
use super::guardrail::GuardrailState;
use super::history::History;
use super::lane::Lane;
use super::reasons::{Told, reasons};
use super::watch::{LimitWatch, ShareWatch};
use super::{carry, method};
use crate::core::metric::{MetricObservation, TickObservation, Usage};
use crate::core::policy::{AtMax, Metric, Policy};
use crate::core::split::Weight;
use crate::core::time::Timestamp;
use crate::stats::special::{ln, ln_add_exp, ln_mean_exp};

/// The catastrophe lane's share of the evidence; the metrics have the rest.
const LANE_SHARE: f64 = 0.2;
/// A query's value stands for at most so many intervals.
const LONGEST_PASSED: u32 = 3;

/// The running evidence of a rollout: a function of its policy and its observations in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeState {
    /// The method that it judges by.
    #[serde(default = "method::unnamed")]
    method: u32,
    step: Option<usize>,
    metrics: Vec<MetricEvidence>,
    /// Windows in a row that spoke for a catastrophe and after which the lane was over its bound.
    lane_streak: u32,
    /// ln of the lane's evidence after the last tick.
    ln_e_catastrophe: f64,
    guardrails: Vec<GuardrailState>,
    share: ShareWatch,
    /// In the order of the bake's limits.
    limits: Vec<LimitWatch>,
    last_at: Option<Timestamp>,
}

impl JudgeState {
    /// No evidence, and no history.
    pub fn new(policy: &Policy) -> JudgeState {
        JudgeState::with_history(policy, None)
    }

    /// No evidence; what the metrics' pasts tell is taken from `history` and never changes.
    pub fn with_history(policy: &Policy, history: Option<&History>) -> JudgeState {
        JudgeState::of_method(method::METHOD, policy, history)
    }

    /// As [`JudgeState::with_history`], for a rollout that began under this method.
    pub fn of_method(method: u32, policy: &Policy, history: Option<&History>) -> JudgeState {
        let past = |metric: &Metric| history.and_then(|history| history.metrics.get(&metric.name));
        let evidence = |metric: &Metric| MetricEvidence::new(metric, policy, past(metric), method);
        JudgeState {
            method,
            step: None,
            metrics: policy.metrics.iter().map(evidence).collect(),
            lane_streak: 0,
            ln_e_catastrophe: ln(LANE_SHARE),
            guardrails: policy.guardrails.iter().map(|_| GuardrailState::new()).collect(),
            share: ShareWatch::new(),
            limits: policy.bake.limits.iter().map(|limit| LimitWatch::new(limit, policy, history)).collect(),
            last_at: None,
        }
    }

    /// The method that it judges by.
    pub fn method(&self) -> u32 {
        self.method
    }

    /// Takes in one tick. `policy` is the one that the state was made with; ticks come in order. In the
    /// assessment all floats are finite.
    pub fn observe(&mut self, policy: &Policy, tick: &TickObservation) -> Assessment {
        let demand = self.take(policy, tick, true);
        let ln_bound_harm = -ln(policy.analysis.false_rollback_rate);
        let analysed = self.tell_analysed();
        let guardrails = self.take_guardrails(policy, tick, true);
        let mut judged: Vec<Judged<'_>> = self.judge(policy, tick, demand).collect();
        let harm = Harm::find(&judged, self.lane(), ln_bound_harm);
        harm.mark(&mut judged);
        let advice = advice(&harm, &judged, &guardrails);
        let told: Vec<Told<'_>> = judged
            .into_iter()
            .map(|judged| Told {
                assessed: judged.evidence.describe(judged.metric, &judged.weighed),
                remaining: judged.evidence.remaining(judged.weighed.verdict, demand.ln_bound_no_harm),
                judged,
            })
            .collect();
        let reasons = reasons(advice, &harm, &told, &guardrails, demand);
        let remaining = told.iter().try_fold(Duration::ZERO, |all, one| Some(all.max(one.remaining?)));
        Assessment {
            seq: tick.seq,
            advice,
            reasons,
            ln_e_harm: finite(harm.ln_e),
            ln_e_catastrophe: finite(harm.ln_e_catastrophe),
            ln_bound_harm,
            ln_bound_no_harm: demand.ln_bound_no_harm,
            metrics: told.into_iter().map(|one| finite_metric(one.assessed)).collect(),
            guardrails,
            analysed,
            remaining,
        }
    }

    /// As [`JudgeState::observe`], and only the advice with the analysed time that the tick adds: without
    /// intervals, quantiles and sentences, for simulating many rollouts. A state that has advised shows no
    /// intervals of the ratio later.
    pub fn advise(&mut self, policy: &Policy, tick: &TickObservation) -> (Advice, Duration) {
        let (advice, analysed, _) = self.advise_beside(policy, tick);
        (advice, analysed)
    }

    /// As [`JudgeState::advise`], and where the guardrails stand, without their sentences.
    pub fn advise_beside(
        &mut self,
        policy: &Policy,
        tick: &TickObservation,
    ) -> (Advice, Duration, Vec<GuardrailAssessment>) {
        let unproven = policy.steps.get(tick.step).is_some_and(|step| step.at_max == AtMax::PromoteUnproven);
        let demand = self.take(policy, tick, unproven);
        let analysed = self.tell_analysed();
        let guardrails = self.take_guardrails(policy, tick, false);
        let ln_bound = -ln(policy.analysis.false_rollback_rate);
        let quiet = |status| !matches!(status, GuardrailStatus::Fired | GuardrailStatus::BothBreach);
        if guardrails.iter().all(|guardrail| quiet(guardrail.status))
            && let Some(advice) = self.sure_advice(policy, tick, demand, ln_bound)
        {
            return (advice, analysed, guardrails);
        }
        let mut judged: Vec<Judged<'_>> = self.judge(policy, tick, demand).collect();
        let harm = Harm::find(&judged, self.lane(), ln_bound);
        harm.mark(&mut judged);
        (advice(&harm, &judged, &guardrails), analysed, guardrails)
    }

    /// Marks used windows of the next tick in which an arm has no requests: they are judged with what follows.
    pub fn carry(&self, tick: &mut TickObservation) {
        for (i, seen) in tick.metrics.iter_mut().enumerate() {
            let known = self.metrics.get(i).filter(|_| self.step == Some(tick.step));
            let before = known.and_then(|evidence| evidence.carried.as_deref());
            if carry::is_open(before, seen) {
                seen.usage = Usage::Carried;
            }
        }
    }

    /// Requests of canary and baseline in this step's used windows, of the metric that has the most.
    pub fn requests(&self) -> [u64; 2] {
        let of = self.metrics.iter().map(MetricEvidence::requests);
        of.fold([0, 0], |all, one| [all[0].max(one[0]), all[1].max(one[1])])
    }

    /// The first metric in which the canary is worse than what is tolerated by the low end of the interval
    /// of its ratio: nothing like that goes on without proof.
    pub fn beyond_tolerance<'p>(&self, policy: &'p Policy) -> Option<&'p str> {
        let beyond = policy.metrics.iter().zip(&self.metrics).find(|(_, evidence)| evidence.is_beyond());
        beyond.map(|(metric, _)| metric.name.as_str())
    }

    /// The advice where no guardrail has a say and cheap bounds of the evidence tell it: there is surely no
    /// proof of harm, and surely proof of no harm, or surely not.
    fn sure_advice(
        &self,
        policy: &Policy,
        tick: &TickObservation,
        demand: Demand,
        ln_bound_harm: f64,
    ) -> Option<Advice> {
        let harm = self.metrics.iter().map(MetricEvidence::ln_e_harm_at_most).fold(0.0, f64::max);
        let combined = ln_add_exp(self.ln_e_catastrophe, LN_METRICS_SHARE + harm);
        if combined >= ln_bound_harm || self.lane_streak > 0 || self.metrics.is_empty() {
            return None;
        }
        let metrics = policy.metrics.iter().zip(&self.metrics).enumerate();
        let verdicts = metrics.map(|(i, (metric, evidence))| {
            evidence.sure_verdict(demand.ln_bound_no_harm, find(tick, i, metric))
        });
        let mut all_known = true;
        for verdict in verdicts {
            match verdict {
                Some(Verdict::NotWorse) => {}
                Some(_) => return Some(Advice::Hold),
                None => all_known = false,
            }
        }
        all_known.then_some(Advice::Advance)
    }

    /// Adds the tick to the evidence of all metrics.
    fn take(&mut self, policy: &Policy, tick: &TickObservation, ratios: bool) -> Demand {
        if self.step != Some(tick.step) {
            self.step = Some(tick.step);
            self.metrics.iter_mut().for_each(MetricEvidence::enter_step);
            self.share.enter_step();
        }
        let demand = Demand { ratios, ..demand(policy, tick.step) };
        let mut in_lane = false;
        for (i, (metric, evidence)) in policy.metrics.iter().zip(&mut self.metrics).enumerate() {
            if let Some(seen) = find(tick, i, metric) {
                in_lane |= evidence.take(policy, metric, demand, tick, seen);
            }
        }
        if in_lane {
            self.advance_lane(-ln(policy.analysis.false_rollback_rate));
        }
        demand
    }

    /// The lane's evidence is 0.2 times the mean over the metrics that have one; without any, 0.2 that
    /// is never bet.
    fn advance_lane(&mut self, ln_bound: f64) {
        let lanes: Vec<&Lane> = self.metrics.iter().filter_map(|m| m.lane.as_ref()).collect();
        let evidence: Vec<f64> = lanes.iter().map(|lane| lane.ln_e()).collect();
        let ln_e = ln(LANE_SHARE) + ln_mean_exp(&evidence);
        let leads = most(evidence.into_iter().enumerate()).and_then(|leading| lanes.get(leading));
        let speaks_for_it = ln_e >= ln_bound
            && ln_e >= self.ln_e_catastrophe
            && leads.is_some_and(|lane| lane.is_more_than_a_burst());
        self.lane_streak = if speaks_for_it { self.lane_streak.saturating_add(1) } else { 0 };
        self.ln_e_catastrophe = ln_e;
    }

    fn lane(&self) -> LaneStands {
        let fires = self.lane_streak >= LANE_WINDOWS;
        LaneStands { ln_e: self.ln_e_catastrophe, fires, counts: fires || method::is_tempered(self.method) }
    }

    /// What all metrics have analysed by now and was not told before. Metrics may be seen at different
    /// ticks, so the least of the sums is taken, not the sum of the least.
    fn tell_analysed(&mut self) -> Duration {
        let analysed = self.metrics.iter().map(MetricEvidence::banked).min().unwrap_or_default();
        self.metrics.iter_mut().for_each(|evidence| evidence.tell_analysed(analysed));
        analysed
    }

    /// The checks that stand beside the tests; with their sentences if they are `told`.
    fn take_guardrails(
        &mut self,
        policy: &Policy,
        tick: &TickObservation,
        told: bool,
    ) -> Vec<GuardrailAssessment> {
        let passed = self.last_at.map_or(Duration::ZERO, |last| tick.at.since(last));
        let passed = passed.min(policy.analysis.interval * LONGEST_PASSED);
        self.last_at = Some(tick.at);
        let states = policy.guardrails.iter().zip(&mut self.guardrails);
        let mut taken: Vec<GuardrailAssessment> =
            states.map(|(guardrail, state)| state.take(guardrail, tick, passed, told)).collect();
        taken.extend(self.share.take(policy, tick, told));
        for (limit, watch) in policy.bake.limits.iter().zip(&mut self.limits) {
            let ln_bound = -ln(policy.analysis.false_rollback_rate);
            let at = policy.metrics.iter().position(|metric| metric.name == limit.metric);
            let dispersion = at.and_then(|at| self.metrics.get(at)).map_or(1.0, |m| m.frozen.dispersion);
            taken.push(watch.take(limit, dispersion, ln_bound, tick, told));
        }
        taken
    }

    fn judge<'a>(
        &'a self,
        policy: &'a Policy,
        tick: &'a TickObservation,
        demand: Demand,
    ) -> impl Iterator<Item = Judged<'a>> {
        policy.metrics.iter().zip(&self.metrics).enumerate().map(move |(i, (metric, evidence))| {
            let seen = find(tick, i, metric);
            Judged { metric, evidence, seen, weighed: evidence.weigh(demand, seen) }
        })
    }
}

/// What a step has to show before the next one: the more traffic comes, the less harm is allowed.
fn demand(policy: &Policy, step: usize) -> Demand {
    let next = policy.steps.get(step + 1).map_or(Weight::FULL, |step| step.weight);
    let allowed_ratio = match next.0 {
        0..=2_500 => 2.0,
        2_501..=5_000 => 1.5,
        _ => 1.25,
    };
    Demand {
        allowed_ratio,
        ln_bound_no_harm: -ln(policy.analysis.no_harm_alpha),
        ratios: true,
        min_bad: policy.analysis.min_bad,
    }
}

/// The metric's observation, which stands at its place in the policy's order.
fn find<'a>(tick: &'a TickObservation, at: usize, metric: &Metric) -> Option<&'a MetricObservation> {
    let is_it = |seen: &&MetricObservation| seen.metric == metric.name;
    tick.metrics.get(at).filter(is_it).or_else(|| tick.metrics.iter().find(is_it))
}

fn finite(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}

fn finite_metric(mut metric: MetricAssessment) -> MetricAssessment {
    metric.ln_e_harm = finite(metric.ln_e_harm);
    metric.ln_e_no_harm = finite(metric.ln_e_no_harm);
    metric.ln_e_gate = finite(metric.ln_e_gate);
    metric
}
