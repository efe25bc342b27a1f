//! The fold: observations in, assessments out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{
    Advice, Assessment, GuardrailAssessment, GuardrailStatus, MetricAssessment, Verdict,
};
use super::comparison::Comparison;
use super::evidence::{Demand, MetricEvidence, Weighed};
use super::guardrail::GuardrailState;
use super::history::History;
use super::lane::Lane;
use super::watch::{LimitWatch, SHARE, ShareWatch};
use super::{carry, explain};
use crate::core::metric::{MetricObservation, TickObservation, Usage};
use crate::core::policy::{AtMax, GuardrailAction, Metric, Policy};
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::Weight;
use crate::core::time::Timestamp;
use crate::stats::combine;
use crate::stats::special::{ln, ln_add_exp, ln_mean_exp, ln_sum_exp};

/// The catastrophe lane's share of the evidence; the metrics have the rest.
const LANE_SHARE: f64 = 0.2;
/// ln of what the metrics have.
const LN_METRICS_SHARE: f64 = -0.223_143_551_314_209_76;
/// The burst gate that the leading metric must have passed.
const GATE: f64 = 5.0;
/// The lane must be over its bound in so many windows in a row, and each of them must speak for it:
/// one burst is no catastrophe.
const LANE_WINDOWS: u32 = 2;
/// A query's value stands for at most so many intervals.
const LONGEST_PASSED: u32 = 3;

/// The running evidence of a rollout: a function of its policy and its observations in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeState {
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

/// A metric at a tick, with its figures.
struct Judged<'a> {
    metric: &'a Metric,
    evidence: &'a MetricEvidence,
    seen: Option<&'a MetricObservation>,
    weighed: Weighed,
}

/// A metric at a tick, with all that is told of it.
struct Told<'a> {
    judged: Judged<'a>,
    assessed: MetricAssessment,
    remaining: Option<Duration>,
}

impl JudgeState {
    /// No evidence, and no history.
    pub fn new(policy: &Policy) -> JudgeState {
        JudgeState::with_history(policy, None)
    }

    /// No evidence; what the metrics' pasts tell is taken from `history` and never changes.
    pub fn with_history(policy: &Policy, history: Option<&History>) -> JudgeState {
        let past = |metric: &Metric| history.and_then(|history| history.metrics.get(&metric.name));
        let evidence = |metric: &Metric| MetricEvidence::new(metric, policy, past(metric));
        JudgeState {
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

    /// Takes in one tick. `policy` is the one that the state was made with; ticks come in order. In the
    /// assessment all floats are finite.
    pub fn observe(&mut self, policy: &Policy, tick: &TickObservation) -> Assessment {
        let demand = self.take(policy, tick, true);
        let ln_bound_harm = -ln(policy.analysis.false_rollback_rate);
        let analysed = self.tell_analysed();
        let guardrails = self.take_guardrails(policy, tick, true);
        let mut judged: Vec<Judged<'_>> = self.judge(policy, tick, demand).collect();
        let harm = Harm::find(&judged, self.ln_e_catastrophe, ln_bound_harm, self.lane_streak);
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
        let unproven = policy.steps.get(tick.step).is_some_and(|step| step.at_max == AtMax::PromoteUnproven);
        let demand = self.take(policy, tick, unproven);
        let analysed = self.tell_analysed();
        let guardrails = self.take_guardrails(policy, tick, false);
        let ln_bound = -ln(policy.analysis.false_rollback_rate);
        let quiet = |status| !matches!(status, GuardrailStatus::Fired | GuardrailStatus::BothBreach);
        if guardrails.iter().all(|guardrail| quiet(guardrail.status))
            && let Some(advice) = self.sure_advice(policy, tick, demand, ln_bound)
        {
            return (advice, analysed);
        }
        let mut judged: Vec<Judged<'_>> = self.judge(policy, tick, demand).collect();
        let harm = Harm::find(&judged, self.ln_e_catastrophe, ln_bound, self.lane_streak);
        harm.mark(&mut judged);
        (advice(&harm, &judged, &guardrails), analysed)
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
                in_lane |= evidence.take(metric, demand, seen);
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
        let lanes: Vec<f64> = self.metrics.iter().filter_map(|m| m.lane.as_ref()).map(Lane::ln_e).collect();
        let ln_e = ln(LANE_SHARE) + ln_mean_exp(&lanes);
        let speaks_for_it = ln_e >= ln_bound && ln_e >= self.ln_e_catastrophe;
        self.lane_streak = if speaks_for_it { self.lane_streak.saturating_add(1) } else { 0 };
        self.ln_e_catastrophe = ln_e;
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

/// The evidence of harm of all metrics together. A weighted mean of e-values is an e-value, whatever
/// their dependence.
struct Harm {
    ln_e: f64,
    ln_bound: f64,
    ln_e_catastrophe: f64,
    /// The metric with the most evidence.
    leading: Option<usize>,
    /// The combined evidence is over the bound, and the leading metric's gate is open.
    found: bool,
    /// The metric that leads the catastrophe lane, if the lane says to roll back.
    catastrophe: Option<usize>,
    /// Metrics that are named besides, by e-Holm.
    named: Vec<usize>,
}

impl Harm {
    fn find(judged: &[Judged<'_>], ln_e_catastrophe: f64, ln_bound: f64, streak: u32) -> Harm {
        let weights: Vec<f64> = judged.iter().map(|one| one.evidence.weight()).collect();
        let all: f64 = weights.iter().sum();
        let ln_e: Vec<f64> = judged.iter().map(|one| one.weighed.ln_e_harm).collect();
        let shares: Vec<f64> = ln_e
            .iter()
            .zip(&weights)
            .map(|(ln_e, weight)| LN_METRICS_SHARE + ln(weight / all) + ln_e)
            .collect();
        let combined = ln_add_exp(ln_e_catastrophe, ln_sum_exp(&shares));
        let leading = most(shares.iter().copied().enumerate());
        let gate_open = |i: usize| judged[i].weighed.ln_e_gate >= ln(GATE);
        let found = combined >= ln_bound && leading.is_some_and(gate_open);
        let lane = |i: usize| Some((i, judged[i].evidence.lane.as_ref()?.ln_e()));
        let named = if found {
            let named = combine::named(&ln_e, &weights, ln_bound - LN_METRICS_SHARE);
            (0..judged.len()).filter(|i| named[*i] && Some(*i) != leading && gate_open(*i)).collect()
        } else {
            Vec::new()
        };
        Harm {
            ln_e: combined,
            ln_bound,
            ln_e_catastrophe,
            leading,
            found,
            catastrophe: (streak >= LANE_WINDOWS).then(|| most((0..judged.len()).filter_map(lane))).flatten(),
            named,
        }
    }

    fn mark(&self, judged: &mut [Judged<'_>]) {
        let leading = self.leading.filter(|_| self.found);
        for i in self.named.iter().copied().chain(leading).chain(self.catastrophe) {
            judged[i].weighed.verdict = Verdict::Worse;
        }
    }
}

/// The index with the largest value, the first of several.
fn most(values: impl Iterator<Item = (usize, f64)>) -> Option<usize> {
    values.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(i, _)| i)
}

fn advice(harm: &Harm, judged: &[Judged<'_>], guardrails: &[GuardrailAssessment]) -> Advice {
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

fn reasons(
    advice: Advice,
    harm: &Harm,
    told: &[Told<'_>],
    guardrails: &[GuardrailAssessment],
    demand: Demand,
) -> Vec<Reason> {
    let mut reasons = harm_reasons(harm, told);
    let with = |status: GuardrailStatus| guardrails.iter().filter(move |g| g.status == status);
    let rolls_back = |g: &&GuardrailAssessment| g.action == GuardrailAction::RollBack && g.name != SHARE;
    let because_of = |code: ReasonCode| move |g: &GuardrailAssessment| Reason::new(code, g.sentence.clone());
    let fired = ReasonCode::Guardrail;
    reasons.extend(with(GuardrailStatus::Fired).filter(rolls_back).map(because_of(fired)));
    reasons.extend(with(GuardrailStatus::BothBreach).map(because_of(ReasonCode::BothBad)));
    reasons.extend(with(GuardrailStatus::Fired).filter(|g| !rolls_back(g)).map(because_of(fired)));
    if advice != Advice::RollBack {
        let mut about: Vec<Reason> = told.iter().map(|one| metric_reason(one, demand)).collect();
        // What is waited for comes before what is done.
        about.sort_by_key(|reason| reason.code == ReasonCode::NotWorse);
        reasons.extend(about);
    }
    reasons
}

fn harm_reasons(harm: &Harm, told: &[Told<'_>]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(one) = harm.leading.filter(|_| harm.found).map(|i| &told[i]) {
        let sentence = explain::harm(one.metric(), &one.assessed, one.shown(), harm.ln_e, harm.ln_bound);
        reasons.push(Reason::new(ReasonCode::Harm, sentence));
    }
    if let Some(one) = harm.catastrophe.map(|i| &told[i])
        && let Some(lane) = &one.judged.evidence.lane
    {
        let (ln_e, ln_bound) = (harm.ln_e_catastrophe, harm.ln_bound);
        let sentence = explain::catastrophe(&one.metric().name, lane.canary, lane.baseline, ln_e, ln_bound);
        reasons.push(Reason::new(ReasonCode::Catastrophe, sentence));
    }
    for one in harm.named.iter().map(|i| &told[*i]) {
        let ln_e = one.judged.weighed.ln_e_harm;
        let sentence = explain::harm(one.metric(), &one.assessed, one.shown(), ln_e, harm.ln_bound);
        reasons.push(Reason::new(ReasonCode::Harm, sentence));
    }
    reasons
}

fn metric_reason(one: &Told<'_>, demand: Demand) -> Reason {
    let Judged { metric, evidence, seen, weighed } = &one.judged;
    let awaited = weighed.leads.awaited(&evidence.comparisons);
    // A proportion shows what is counted; a latency the bound that matters here, whose interval is at
    // hand only if it is also the one with the most evidence of harm.
    let (lead, ratio) = match awaited.filter(|awaited| awaited.bound.is_some()) {
        Some(awaited) => {
            let same = weighed.leads.no_harm == weighed.leads.harm;
            (Some(awaited), one.assessed.ratio.filter(|_| same))
        }
        None => (one.shown(), one.assessed.ratio),
    };
    let about = explain::About {
        metric,
        assessed: &one.assessed,
        evidence,
        lead,
        shown: ratio,
        seen: *seen,
        allowed: demand.allowed_ratio,
        ln_bound: demand.ln_bound_no_harm,
        remaining: one.remaining,
    };
    match weighed.verdict {
        Verdict::NotWorse => Reason::new(ReasonCode::NotWorse, explain::not_worse(&about)),
        Verdict::NoData => {
            let silent = seen.is_some_and(|seen| seen.canary.is_err() && seen.baseline.is_ok());
            let code = if silent { ReasonCode::Silent } else { ReasonCode::Blind };
            Reason::new(code, explain::no_data(metric, *seen))
        }
        Verdict::Worse | Verdict::Undecided => Reason::new(ReasonCode::Undecided, explain::waiting(&about)),
    }
}

impl Told<'_> {
    fn metric(&self) -> &Metric {
        self.judged.metric
    }

    fn shown(&self) -> Option<&Comparison> {
        self.judged.weighed.leads.shown(&self.judged.evidence.comparisons)
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
    Demand { allowed_ratio, ln_bound_no_harm: -ln(policy.analysis.no_harm_alpha), ratios: true }
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
