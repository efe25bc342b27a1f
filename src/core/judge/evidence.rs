//! The evidence of one metric.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{MetricAssessment, Verdict};
use super::comparison::{Comparison, Tally, View, Window};
use super::lane::Lane;
use super::latency::{Buckets, Chooser, Histogram};
use crate::core::metric::{Counts, MetricObservation, NoData, Reading, Usage};
use crate::core::policy::{Metric, MetricSource, Policy};
use crate::stats::mixture::Starts;
use crate::stats::ratio::Denominators;
use crate::stats::special::{ln, ln_sum_exp};

/// The evidence of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MetricEvidence {
    starts: Starts,
    /// A proportion has one for each view; a latency one for each bound, none before they are chosen.
    pub comparisons: Vec<Comparison>,
    /// A latency until its bounds are chosen.
    pub chooser: Option<Chooser>,
    /// Proportions only.
    pub lane: Option<Lane>,
    /// This step.
    step: StepTotals,
}

/// What begins anew with each step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct StepTotals {
    /// Used windows with both arms, less what was already told as analysed.
    banked: Duration,
    /// Time of the windows that went into the tests.
    tested: Duration,
    canary_requests: u64,
    baseline_requests: u64,
    /// Latency only.
    canary: Histogram,
    baseline: Histogram,
    /// Both arms were seen, in whatever window.
    seen: bool,
}

/// How much a metric has to show in this step.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    /// r_M: what the next weight allows.
    pub allowed_ratio: f64,
    /// φ.
    pub dispersion: f64,
    pub ln_bound_no_harm: f64,
}

impl MetricEvidence {
    pub fn new(metric: &Metric, policy: &Policy) -> MetricEvidence {
        let longest = policy.longest_analysis();
        let starts = Starts::new(longest);
        let (comparisons, chooser, lane) = match metric.source {
            MetricSource::Proportion { .. } => {
                let view = |view: &View| Comparison::proportion(*view, metric, &starts);
                let comparisons = View::of(metric.direction).iter().map(view).collect();
                (comparisons, None, Some(Lane::new(metric.direction, longest)))
            }
            MetricSource::Latency { .. } => (Vec::new(), Some(Chooser::default()), None),
        };
        MetricEvidence { starts, comparisons, chooser, lane, step: StepTotals::default() }
    }

    pub fn enter_step(&mut self) {
        self.step = StepTotals::default();
        self.comparisons.iter_mut().for_each(Comparison::enter_step);
        self.lane.iter_mut().for_each(Lane::enter_step);
    }

    /// Takes in one window. True if it said something to the catastrophe lane.
    pub fn take(&mut self, metric: &Metric, demand: Demand, seen: &MetricObservation) -> bool {
        if seen.usage == Usage::Pending {
            return false;
        }
        let length = seen.window.map_or(Duration::ZERO, |window| window.length());
        let used = seen.usage == Usage::Used;
        match metric.source {
            MetricSource::Proportion { .. } => {
                let (Some(canary), Some(baseline)) = (tally(&seen.canary), tally(&seen.baseline)) else {
                    return false;
                };
                self.count(used, length, canary.total, baseline.total);
                if used {
                    self.test(metric, demand, length, [canary.total, baseline.total], |_| {
                        Some((canary.bad, baseline.bad))
                    });
                }
                let looked_at = matches!(seen.usage, Usage::Used | Usage::WarmUp);
                self.lane
                    .as_mut()
                    .is_some_and(|lane| looked_at && lane.test(demand.dispersion, canary, baseline, length))
            }
            MetricSource::Latency { .. } => {
                self.take_latency(metric, demand, seen, length);
                false
            }
        }
    }

    fn take_latency(&mut self, metric: &Metric, demand: Demand, seen: &MetricObservation, length: Duration) {
        let (canary, baseline) = (Buckets::of(&seen.canary), Buckets::of(&seen.baseline));
        let used = seen.usage == Usage::Used;
        if let Some(chooser) = &mut self.chooser {
            let requests = |arm: Option<Buckets<'_>>| arm.is_some_and(|buckets| buckets.total() > 0);
            let testable = used && requests(canary) && requests(baseline);
            // Before this window is added: what chooses is never tested.
            if let Some(thresholds) = chooser.choose(1.0 + metric.tolerance).filter(|_| testable) {
                self.comparisons =
                    thresholds.iter().map(|t| Comparison::above(t, metric, &self.starts)).collect();
                self.chooser = None;
            } else if let Some(baseline) = baseline.filter(|_| seen.usage != Usage::Baking) {
                chooser.gather(baseline, length);
            }
        }
        let (Some(canary), Some(baseline)) = (canary, baseline) else { return };
        self.count(used, length, canary.total(), baseline.total());
        if used {
            self.step.canary.add(canary);
            self.step.baseline.add(baseline);
            self.test(metric, demand, length, [canary.total(), baseline.total()], |bound| {
                Some((canary.above(bound?)?, baseline.above(bound?)?))
            });
        }
    }

    fn count(&mut self, used: bool, length: Duration, canary: u64, baseline: u64) {
        self.step.seen = true;
        if used {
            self.step.banked = self.step.banked.saturating_add(length);
            self.step.canary_requests = self.step.canary_requests.saturating_add(canary);
            self.step.baseline_requests = self.step.baseline_requests.saturating_add(baseline);
        }
    }

    /// Runs every comparison; `bad` gives the bad requests of canary and baseline at a bound, or nothing
    /// if the window does not have that bound.
    fn test(
        &mut self,
        metric: &Metric,
        demand: Demand,
        length: Duration,
        [canary, baseline]: [u64; 2],
        bad: impl Fn(Option<f64>) -> Option<(u64, u64)>,
    ) {
        // All comparisons of a latency share the window's κ; a proportion shows the ratio of its first.
        let requests = |first: &Comparison| first.view.pair(Tally::new(0, canary), Tally::new(0, baseline));
        let Some(pair) = self.comparisons.first().and_then(requests) else { return };
        self.step.tested = self.step.tested.saturating_add(length);
        let due = self.starts.test(length);
        let denominators = Denominators::new(pair.kappa());
        for comparison in &mut self.comparisons {
            comparison.start(due);
            if let Some((canary_bad, baseline_bad)) = bad(comparison.bound) {
                let window = Window {
                    canary: Tally::new(canary_bad, canary),
                    baseline: Tally::new(baseline_bad, baseline),
                    denominators: &denominators,
                };
                comparison.test(metric, demand.allowed_ratio, 1.0 / demand.dispersion, &window);
            }
        }
    }

    pub fn banked(&self) -> Duration {
        self.step.banked
    }

    /// Takes `analysed` off the banked time.
    pub fn tell_analysed(&mut self, analysed: Duration) {
        self.step.banked = self.step.banked.saturating_sub(analysed);
    }

    /// Where the metric stands. `Worse` is not said here: that is a matter of all metrics.
    pub fn assess(
        &self,
        metric: &Metric,
        demand: Demand,
        seen: Option<&MetricObservation>,
    ) -> (MetricAssessment, Leads) {
        let unspent = self.starts.unspent();
        let harm: Vec<f64> = self.comparisons.iter().map(|c| c.ln_e_harm(unspent)).collect();
        let no_harm: Vec<f64> = self.comparisons.iter().map(Comparison::ln_e_no_harm).collect();
        let gates: Vec<f64> = self.comparisons.iter().map(|c| c.ln_e_gate(unspent)).collect();
        let leads = Leads { harm: first_of(&harm, |a, b| a > b), no_harm: first_of(&no_harm, |a, b| a < b) };
        let ln_e_no_harm = leads.no_harm.map_or(0.0, |i| no_harm[i]);

        let no_data = |reading: &Reading<Counts>| !matches!(reading, Ok(_) | Err(NoData::Waiting));
        let blind = seen.is_none_or(|seen| no_data(&seen.canary) || no_data(&seen.baseline));
        let verdict = if blind || !self.step.seen {
            Verdict::NoData
        } else if ln_e_no_harm >= demand.ln_bound_no_harm {
            Verdict::NotWorse
        } else {
            Verdict::Undecided
        };
        let shown = leads.shown(&self.comparisons);
        let assessment = MetricAssessment {
            name: metric.name.clone(),
            verdict,
            ln_e_harm: mean(&harm),
            ln_e_no_harm,
            ln_e_gate: mean(&gates),
            ratio: shown.and_then(Comparison::shown_ratio),
            canary_share: shown.and_then(|c| c.canary.share()),
            baseline_share: shown.and_then(|c| c.baseline.share()),
            canary_requests: self.step.canary_requests,
            baseline_requests: self.step.baseline_requests,
            bound_seconds: shown.and_then(|c| c.bound),
            canary_quantiles: self.step.canary.quantiles(),
            baseline_quantiles: self.step.baseline.quantiles(),
            dispersion: demand.dispersion,
        };
        (assessment, leads)
    }

    /// Time until this metric is not worse; `None` if that is not known.
    pub fn remaining(&self, verdict: Verdict, ln_bound: f64) -> Option<Duration> {
        match verdict {
            Verdict::NotWorse => Some(Duration::ZERO),
            Verdict::NoData => None,
            Verdict::Worse | Verdict::Undecided if self.comparisons.is_empty() => None,
            Verdict::Worse | Verdict::Undecided => {
                self.comparisons.iter().try_fold(Duration::ZERO, |longest, comparison| {
                    if comparison.ln_e_no_harm() >= ln_bound {
                        return Some(longest);
                    }
                    Some(longest.max(comparison.remaining(ln_bound, self.step.tested)?))
                })
            }
        }
    }
}

/// Indexes of the comparisons that matter most.
#[derive(Clone, Copy)]
pub(super) struct Leads {
    /// The most evidence of harm.
    pub harm: Option<usize>,
    /// The least evidence of no harm.
    pub no_harm: Option<usize>,
}

impl Leads {
    /// The comparison whose figures are shown: the one with the most evidence of harm, of the views of a
    /// proportion the first.
    pub fn shown<'a>(&self, comparisons: &'a [Comparison]) -> Option<&'a Comparison> {
        comparisons.first().filter(|first| first.bound.is_none()).or_else(|| comparisons.get(self.harm?))
    }

    /// The comparison whose evidence of no harm is waited for.
    pub fn awaited<'a>(&self, comparisons: &'a [Comparison]) -> Option<&'a Comparison> {
        comparisons.get(self.no_harm?)
    }
}

fn tally(reading: &Reading<Counts>) -> Option<Tally> {
    match reading {
        Ok(Counts::Proportion { total, bad }) => Some(Tally::new(*bad, *total)),
        _ => None,
    }
}

/// ln of the mean of e-values given by their logarithms; of none: no evidence.
fn mean(ln_e: &[f64]) -> f64 {
    if ln_e.is_empty() { 0.0 } else { ln_sum_exp(ln_e) - ln(ln_e.len() as f64) }
}

fn first_of(values: &[f64], before: impl Fn(f64, f64) -> bool) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if before(values[i], values[best]) { i } else { best })
}
