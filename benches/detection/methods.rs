//! Serin and its peers in one form: tick by tick each gives the highest score so far, and it sounds the
//! alarm when that reaches its threshold.

use std::collections::VecDeque;
use std::sync::Arc;

use serin::core::judge::{Advice, History, JudgeState};
use serin::core::metric::{Counts, Reading, TickObservation, Usage};
use serin::core::policy::Policy;
use serin::stats::histogram::quantile;

use crate::rivals::Count;
use crate::rivals::dirichlet::Multinomial;
use crate::rivals::limits::{Failures, Last};
use crate::rivals::mann_whitney::Samples;
use crate::rivals::msprt::Msprt;
use crate::rivals::z_test::RepeatedZ;

/// A way to judge one run.
pub trait Method {
    /// Takes in a tick; gives the highest score so far, minus infinity before there is one.
    fn take(&mut self, tick: &TickObservation) -> f64;

    /// Whether it would have let the canary advance by now.
    fn has_advanced(&self) -> bool {
        false
    }
}

/// A method before it is started.
pub struct Entry {
    pub name: &'static str,
    /// The threshold that its authors have, where there is one.
    pub usual: Option<f64>,
    /// Whether it looks at the target's past.
    pub needs_past: bool,
    /// For one run.
    pub start: Start,
}

/// Makes a method that knows the target's past, if it is given.
type Start = Box<dyn Fn(Option<&History>) -> Box<dyn Method> + Sync>;

/// Whether Serin's history is used, or its policy's φ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispersion {
    History,
    Policy,
}

/// Serin's α.
pub const ALPHA: f64 = 0.01;
/// What Flagger's tutorial has: five failed checks.
const FLAGGER_THRESHOLD: usize = 5;
/// What the analysis page of Argo Rollouts has.
const ARGO_FAILURE_LIMIT: usize = 3;
/// Windows in `rate(…[1m])`.
const LAST_MINUTE: usize = 6;
/// savvi's weight of the prior, in requests.
const DIRICHLET_K: f64 = 100.0;
/// The bucket bound above which a request counts as slow for the rivals that count, in seconds: 7.7% of
/// the healthy requests are.
pub const SLOW: f64 = 0.25;
/// The burst gate that a policy's leading metric must have passed.
const GATE: f64 = 5.0;

/// Serin under a policy.
pub fn serin(name: &'static str, policy: Policy, dispersion: Dispersion) -> Entry {
    let usual = Some(-libm::log(policy.analysis.false_rollback_rate));
    let policy = Arc::new(policy);
    let start = move |history: Option<&History>| -> Box<dyn Method> {
        let history = history.filter(|_| dispersion == Dispersion::History);
        Box::new(Serin::new(policy.clone(), history))
    };
    Entry { name, usual, needs_past: dispersion == Dispersion::History, start: Box::new(start) }
}

/// All rivals, on every metric of the ticks: the alarm comes from whichever metric is first. `typical` is
/// the difference of shares that is looked for, `weights` the canary's share of the traffic at each step.
pub fn rivals(latency: bool, typical: f64, weights: &[f64]) -> Vec<Entry> {
    let weights = weights.to_vec();
    let ln_bound = -libm::log(ALPHA);
    let z = Some(1.96);
    let kayenta = |name, q| entry(name, Some(2.326), move || Rule::Kayenta(Samples::default(), q));
    let mut all = vec![entry("z-test", z, || Rule::Z(RepeatedZ::default()))];
    if latency {
        all.extend([kayenta("Kayenta, p95", 0.95), kayenta("Kayenta, p99", 0.99)]);
    } else {
        all.push(kayenta("Kayenta", 0.0));
    }
    // 99% of the requests without error, and a p99 of half a second.
    let flagger = if latency { 0.5 } else { 0.01_f64 };
    all.push(entry("Flagger", Some(flagger.next_up()), || {
        Rule::Flagger(Last::new(LAST_MINUTE), LastBuckets::default(), Failures::flagger(FLAGGER_THRESHOLD))
    }));
    all.push(entry("Argo", None, || Rule::Argo {
        counts: [Last::new(LAST_MINUTE), Last::new(LAST_MINUTE)],
        buckets: [LastBuckets::default(), LastBuckets::default()],
        failures: Failures::argo(ARGO_FAILURE_LIMIT),
    }));
    all.push(entry("Dirichlet", Some(ln_bound), move || Rule::Dirichlet {
        weights: weights.clone(),
        step: None,
        earlier: 0.0,
    }));
    all.push(entry("mSPRT", Some(ln_bound), move || Rule::Msprt(Msprt::new(typical))));
    all
}

fn entry(name: &'static str, usual: Option<f64>, rule: impl Fn() -> Rule + Send + Sync + 'static) -> Entry {
    let rule: Arc<dyn Fn() -> Rule + Send + Sync> = Arc::new(rule);
    let start = move |_: Option<&History>| -> Box<dyn Method> {
        Box::new(Rivals { rule: rule.clone(), rules: Vec::new(), peak: f64::NEG_INFINITY })
    };
    Entry { name, usual, needs_past: false, start: Box::new(start) }
}

/// One rule for each metric.
struct Rivals {
    rule: Arc<dyn Fn() -> Rule + Send + Sync>,
    rules: Vec<Rule>,
    peak: f64,
}

impl Method for Rivals {
    fn take(&mut self, tick: &TickObservation) -> f64 {
        // All methods are spared the warm-up.
        if tick.metrics.iter().any(|metric| metric.usage != Usage::Used) {
            return self.peak;
        }
        self.rules.resize_with(tick.metrics.len(), || (self.rule)());
        for (rule, metric) in self.rules.iter_mut().zip(&tick.metrics) {
            if let (Some(canary), Some(baseline)) = (Arm::of(&metric.canary), Arm::of(&metric.baseline)) {
                self.peak = self.peak.max(rule.take(&canary, &baseline, tick.step, self.peak));
            }
        }
        self.peak
    }
}

/// One arm in one window.
struct Arm<'a> {
    count: Count,
    /// Of a latency.
    buckets: Option<(&'a [f64], &'a [u64])>,
}

impl<'a> Arm<'a> {
    fn of(reading: &'a Reading<Counts>) -> Option<Arm<'a>> {
        match reading {
            Ok(Counts::Proportion { total, bad }) => {
                Some(Arm { count: Count { bad: *bad, total: *total }, buckets: None })
            }
            Ok(Counts::Latency { le, counts, .. }) => {
                let slow = le.iter().zip(counts).filter(|(le, _)| **le <= SLOW);
                let total: u64 = counts.iter().sum();
                let bad = total - slow.map(|(_, count)| count).sum::<u64>();
                Some(Arm { count: Count { bad, total }, buckets: Some((le, counts)) })
            }
            _ => None,
        }
    }

    /// What Kayenta compares: errors per thousand, or the q-quantile in milliseconds, so that its
    /// absolute tolerance of 10⁻⁴ is small.
    fn value(&self, q: f64) -> Option<f64> {
        match self.buckets {
            Some((le, counts)) => quantile(le, counts, q).map(|seconds| 1000.0 * seconds),
            None => self.count.share().map(|share| 1000.0 * share),
        }
    }
}

/// Buckets over the last minute.
#[derive(Default)]
struct LastBuckets(VecDeque<Vec<u64>>);

impl LastBuckets {
    /// Takes in a window; gives a quantile over the last ones in seconds, once there are enough.
    fn take(&mut self, (le, counts): (&[f64], &[u64]), q: f64) -> Option<f64> {
        self.0.push_back(counts.to_vec());
        if self.0.len() > LAST_MINUTE {
            self.0.pop_front();
        }
        let sums: Vec<u64> = (0..counts.len()).map(|i| self.0.iter().map(|window| window[i]).sum()).collect();
        (self.0.len() == LAST_MINUTE).then(|| quantile(le, &sums, q)).flatten()
    }
}

enum Rule {
    Z(RepeatedZ),
    /// And the quantile, of a latency.
    Kayenta(Samples, f64),
    /// The canary's error rate or p99 of the last minute, against a fixed limit.
    Flagger(Last, LastBuckets, Failures),
    /// The canary's error rate or p95 of the last minute less the baseline's: a condition that a query
    /// over both can have.
    Argo {
        counts: [Last; 2],
        buckets: [LastBuckets; 2],
        failures: Failures,
    },
    /// How the bad requests fall on the arms, anew in each step since the shares change, multiplied over
    /// the steps.
    Dirichlet {
        weights: Vec<f64>,
        step: Option<(usize, Multinomial, Count, Count)>,
        earlier: f64,
    },
    Msprt(Msprt),
}

impl Rule {
    /// The score as of now; below `peak` any score may stand for it.
    fn take(&mut self, canary: &Arm<'_>, baseline: &Arm<'_>, step: usize, peak: f64) -> f64 {
        match self {
            Rule::Z(test) => test.take(canary.count, baseline.count),
            Rule::Kayenta(samples, q) => {
                samples.add(canary.value(*q), baseline.value(*q));
                samples.score_above(peak).unwrap_or(f64::NEG_INFINITY)
            }
            Rule::Flagger(counts, buckets, failures) => {
                let value = match canary.buckets {
                    Some(window) => buckets.take(window, 0.99),
                    None => counts.take(canary.count).and_then(|count| count.share()),
                };
                failures.take(value)
            }
            Rule::Argo { counts, buckets, failures } => {
                let [of_canary, of_baseline] = counts;
                let [slow_canary, slow_baseline] = buckets;
                let (value, base) = match (canary.buckets, baseline.buckets) {
                    (Some(a), Some(b)) => (slow_canary.take(a, 0.95), slow_baseline.take(b, 0.95)),
                    _ => {
                        let share = |last: &mut Last, arm: &Arm<'_>| {
                            last.take(arm.count).and_then(|count| count.share())
                        };
                        (share(of_canary, canary), share(of_baseline, baseline))
                    }
                };
                failures.take(value.zip(base).map(|(value, base)| value - base))
            }
            Rule::Dirichlet { weights, step: current, earlier } => {
                dirichlet(weights, current, earlier, canary, baseline, step)
            }
            Rule::Msprt(test) => test.take(canary.count, baseline.count),
        }
    }
}

fn dirichlet(
    weights: &[f64],
    current: &mut Option<(usize, Multinomial, Count, Count)>,
    earlier: &mut f64,
    canary: &Arm<'_>,
    baseline: &Arm<'_>,
    step: usize,
) -> f64 {
    if current.as_ref().is_none_or(|(of, ..)| *of != step) {
        if let Some((_, test, ..)) = current {
            let (alternative, null) = test.ln_marginals();
            *earlier += alternative - null;
        }
        let weight = weights[step];
        let test = Multinomial::concentrated(DIRICHLET_K, vec![weight, 1.0 - weight]);
        *current = Some((step, test, Count::default(), Count::default()));
    }
    let Some((_, test, all_canary, all_baseline)) = current else { return f64::NEG_INFINITY };
    all_canary.add(canary.count);
    all_baseline.add(baseline.count);
    let ln_e = *earlier + test.take(&[canary.count.bad, baseline.count.bad]);
    // The test has two sides; fewer errors are no alarm.
    if all_canary.share() > all_baseline.share() { ln_e } else { f64::NEG_INFINITY }
}

/// Serin's judge. Its score is ln E of harm while the burst gate is open, or ln E of the catastrophe lane
/// where that speaks for it in two windows in a row: at ln(1/α) just what rolls back.
struct Serin {
    policy: Arc<Policy>,
    judge: JudgeState,
    lane: [f64; 2],
    peak: f64,
    rolled_back: bool,
    advanced: bool,
}

impl Serin {
    fn new(policy: Arc<Policy>, history: Option<&History>) -> Serin {
        Serin {
            judge: JudgeState::with_history(&policy, history),
            policy,
            lane: [f64::INFINITY, f64::NEG_INFINITY],
            peak: f64::NEG_INFINITY,
            rolled_back: false,
            advanced: false,
        }
    }
}

impl Method for Serin {
    fn take(&mut self, tick: &TickObservation) -> f64 {
        let assessed = self.judge.observe(&self.policy, tick);
        let leading = assessed.metrics.iter().max_by(|a, b| a.ln_e_harm.total_cmp(&b.ln_e_harm));
        if leading.is_some_and(|metric| metric.ln_e_gate >= libm::log(GATE)) {
            self.peak = self.peak.max(assessed.ln_e_harm);
        }
        let [before, last] = self.lane;
        let lane = assessed.ln_e_catastrophe;
        if lane >= last && last >= before && last > 0.0 {
            self.peak = self.peak.max(last);
        }
        self.lane = [last, lane];
        self.rolled_back |= assessed.advice == Advice::RollBack;
        self.advanced |= assessed.advice == Advice::Advance;
        let reached = self.peak >= assessed.ln_bound_harm;
        assert_eq!(reached, self.rolled_back, "the score does not say what the judge does: {assessed:?}");
        self.peak
    }

    fn has_advanced(&self) -> bool {
        self.advanced
    }
}
