//! The evidence of one metric.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{MetricAssessment, Verdict};
use super::carry;
use super::comparison::{Comparison, Kind, LN_ALTERNATIVES, Shared, Tally, View, Window};
use super::gauge::GaugeEvidence;
use super::harm::{HarmTest, HarmWindow};
use super::history::{BoundHistory, DispersionSource, MetricHistory};
use super::lane::Lane;
use super::latency::{Buckets, Chooser, Histogram};
use super::strata::Stratum;
use super::weighed::{Leads, MOST_COMPARISONS, Weighed, first_of};
use super::{method, tempered};
use crate::core::metric::{Counts, MetricObservation, NoData, Reading, TickObservation, Usage};
use crate::core::policy::{Direction, Metric, Policy};
use crate::core::source::MetricSource;
use crate::stats::mixture::Starts;
use crate::stats::ratio::Denominators;
use crate::stats::special::ln_add_exp;

/// The evidence of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MetricEvidence {
    starts: Starts,
    /// What the tests are tempered by; frozen.
    pub frozen: Frozen,
    /// A proportion has one for each view; a rate one; a latency one for each bound, none before they are
    /// chosen.
    pub comparisons: Vec<Comparison>,
    /// A latency until its bounds are chosen.
    pub chooser: Option<Chooser>,
    /// Proportions only.
    pub lane: Option<Lane>,
    /// Means and saturations only.
    pub gauge: Option<GaugeEvidence>,
    /// From method 3 on, of the kinds of metrics that have a test of harm of their own. Without one the
    /// comparisons have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harm: Option<HarmTest>,
    /// The tests of no harm have the further alternatives of method 3.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rare: bool,
    /// This step.
    step: StepTotals,
    /// Windows in which an arm had no requests, for the next one that is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Box<MetricObservation>>,
}

/// The dispersion of a metric, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Frozen {
    /// φ ≥ 1; of a latency with history the largest over its bounds.
    pub dispersion: f64,
    pub source: DispersionSource,
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
    pub ln_bound_no_harm: f64,
    /// Whether the ratio of the arms is wanted, which only people read.
    pub ratios: bool,
    /// A rollback needs so many bad requests of the canary.
    pub min_bad: u64,
}

impl MetricEvidence {
    pub fn new(
        metric: &Metric,
        policy: &Policy,
        history: Option<&MetricHistory>,
        method: u32,
    ) -> MetricEvidence {
        let starts = Starts::new(policy.expected_analysis(), policy.longest_analysis());
        let frozen = match history {
            Some(history) if history.source != DispersionSource::Policy => {
                Frozen { dispersion: history.dispersion.max(1.0), source: history.source }
            }
            _ => Frozen { dispersion: policy.analysis.dispersion.max(1.0), source: DispersionSource::Policy },
        };
        let phi = frozen.dispersion;
        let harm = HarmTest::new(metric, policy, history, method, phi);
        let rare = !method::is_tempered(method);
        let kind = kind(&starts, harm.as_ref(), rare);
        let (mut comparisons, mut chooser, mut lane, mut gauge) = (Vec::new(), None, None, None);
        match metric.source {
            MetricSource::Proportion { .. } => {
                let view = |view: &View| Comparison::of_counts(*view, metric, phi, kind);
                comparisons = View::of(metric.direction).iter().map(view).collect();
                lane = Some(Lane::new(metric.direction, starts.clone(), !rare));
            }
            MetricSource::Rate { .. } => {
                let view = match metric.direction {
                    Direction::LowerIsBetter => View::Counted,
                    Direction::HigherIsBetter => View::Swapped,
                };
                comparisons = vec![Comparison::of_rate(view, metric, phi, kind)];
            }
            MetricSource::Latency { .. } => {
                let bounds = history.map_or(&[][..], |history| &history.bounds);
                let above = |bound: &BoundHistory| {
                    Comparison::above(&bound.threshold, metric, bound.dispersion.max(1.0), kind)
                };
                comparisons = bounds.iter().map(above).collect();
                chooser = comparisons.is_empty().then(Chooser::default);
            }
            MetricSource::Mean { .. } | MetricSource::Saturation { .. } => {
                gauge = Some(GaugeEvidence::new(policy));
            }
        }
        MetricEvidence {
            starts,
            frozen,
            comparisons,
            chooser,
            lane,
            gauge,
            harm,
            rare,
            step: StepTotals::default(),
            carried: None,
        }
    }

    pub fn enter_step(&mut self) {
        self.step = StepTotals::default();
        self.carried = None;
        self.comparisons.iter_mut().for_each(Comparison::enter_step);
        self.lane.iter_mut().for_each(Lane::enter_step);
        self.gauge.iter_mut().for_each(GaugeEvidence::enter_step);
        self.harm.iter_mut().for_each(HarmTest::enter_step);
    }

    /// Its weight in the combined evidence of harm: a gauge's guarantee is only asymptotic.
    pub fn weight(&self) -> f64 {
        if self.gauge.is_some() { 0.5 } else { 1.0 }
    }

    /// Takes in one window. True if it said something to the catastrophe lane.
    pub fn take(
        &mut self,
        policy: &Policy,
        metric: &Metric,
        demand: Demand,
        tick: &TickObservation,
        seen: &MetricObservation,
    ) -> bool {
        let carried = match seen.usage {
            Usage::Pending | Usage::Ahead => return false,
            Usage::Carried => {
                self.step.seen = true;
                let before = self.carried.take().map(|carried| *carried);
                self.carried = Some(Box::new(carry::joined(before, seen)));
                return false;
            }
            Usage::Renewed => {
                self.enter_step();
                self.step.seen = true;
                return false;
            }
            // What comes after a window that is not used does not follow what was carried without a gap.
            _ => self.carried.take(),
        };
        let joined;
        let seen = match carried.filter(|_| seen.usage == Usage::Used) {
            Some(carried) => {
                joined = carry::joined(Some(*carried), seen);
                &joined
            }
            None => seen,
        };
        let length = seen.window.map_or(Duration::ZERO, |window| window.length());
        let used = seen.usage == Usage::Used;
        let strata = Stratum::of(seen);
        if let Some(harm) = &mut self.harm {
            let (strata, baseline, ratios) = (&strata[..], tally(&seen.baseline), demand.ratios);
            harm.take(&HarmWindow { policy, metric, tick, seen, used, length, strata, baseline, ratios });
        }
        match metric.source {
            MetricSource::Proportion { .. } | MetricSource::Rate { .. } => {
                let (Some(canary), Some(baseline)) = (tally(&seen.canary), tally(&seen.baseline)) else {
                    return false;
                };
                match metric.source {
                    MetricSource::Rate { .. } => self.count(used, length, 0, 0),
                    _ => self.count(used, length, canary.total, baseline.total),
                }
                if used {
                    self.test(metric, demand, length, &strata);
                }
                let looked_at = matches!(seen.usage, Usage::Used | Usage::WarmUp);
                let phi = self.frozen.dispersion;
                self.lane.as_mut().is_some_and(|lane| looked_at && lane.test(phi, &strata, length))
            }
            MetricSource::Latency { .. } => {
                self.take_latency(metric, demand, seen, length, &strata);
                false
            }
            MetricSource::Mean { .. } | MetricSource::Saturation { .. } => {
                let taken = |gauge: &mut GaugeEvidence| gauge.take(metric, demand.allowed_ratio, seen);
                if self.gauge.as_mut().is_some_and(taken) {
                    self.count(used, length, 0, 0);
                }
                false
            }
        }
    }

    fn take_latency(
        &mut self,
        metric: &Metric,
        demand: Demand,
        seen: &MetricObservation,
        length: Duration,
        strata: &[Stratum<'_>],
    ) {
        let (canary, baseline) = (Buckets::of(&seen.canary), Buckets::of(&seen.baseline));
        let used = seen.usage == Usage::Used;
        if let Some(buckets) = baseline.filter(|_| self.chooser.is_none() && self.starts.is_fresh()) {
            // Bounds from history that this version no longer has: they are chosen anew. Nothing was
            // tested, so nothing is lost.
            if self.comparisons.iter().all(|c| c.bound.is_none_or(|bound| buckets.above(bound).is_none())) {
                self.comparisons.clear();
                self.chooser = Some(Chooser::default());
            }
        }
        if let Some(chooser) = &mut self.chooser {
            let requests = |arm: Option<Buckets<'_>>| arm.is_some_and(|buckets| buckets.total() > 0);
            let testable = used && requests(canary) && requests(baseline);
            // Before this window is added: what chooses is never tested.
            if let Some(thresholds) = chooser.choose(1.0 + metric.tolerance).filter(|_| testable) {
                let phi = self.frozen.dispersion;
                let kind = kind(&self.starts, self.harm.as_ref(), self.rare);
                self.comparisons =
                    thresholds.iter().map(|t| Comparison::above(t, metric, phi, kind)).collect();
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
            self.test(metric, demand, length, strata);
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

    /// Runs every comparison over the window's strata.
    fn test(&mut self, metric: &Metric, demand: Demand, length: Duration, strata: &[Stratum<'_>]) {
        let Some(first) = self.comparisons.first() else { return };
        // All comparisons of a latency share a stratum's κ; a proportion shows the ratio of its first.
        let pair = |stratum: &Stratum<'_>| {
            let [canary, baseline] = stratum.totals();
            first.view.pair(canary, baseline)
        };
        if !strata.iter().any(|stratum| pair(stratum).is_some()) {
            return;
        }
        let of = |stratum: &Stratum<'_>| pair(stratum).map(|pair| Denominators::new(pair.kappa()));
        let denominators: Vec<_> = strata.iter().filter(|_| demand.ratios).map(of).collect();
        self.step.tested = self.step.tested.saturating_add(length);
        let due = self.starts.test(length);
        let mut shared = Shared::default();
        for comparison in &mut self.comparisons {
            comparison.start(due);
            let bound = comparison.bound;
            let windows = strata.iter().enumerate().filter_map(|(i, stratum)| {
                let [canary, baseline] = stratum.tallies(bound)?;
                let denominators = denominators.get(i).and_then(Option::as_ref);
                Some(Window { canary, baseline, denominators })
            });
            comparison.test(metric, demand.allowed_ratio, windows, &mut shared);
        }
    }

    /// Requests of canary and baseline in this step's used windows.
    pub fn requests(&self) -> [u64; 2] {
        [self.step.canary_requests, self.step.baseline_requests]
    }

    /// Whether the canary is worse than what is tolerated, by the low end of the shown interval.
    pub fn is_beyond(&self) -> bool {
        let own = self.harm.as_ref().and_then(HarmTest::surely_above);
        self.comparisons.iter().any(|comparison| comparison.is_beyond(own))
    }

    pub fn banked(&self) -> Duration {
        self.step.banked
    }

    /// Takes `analysed` off the banked time.
    pub fn tell_analysed(&mut self, analysed: Duration) {
        self.step.banked = self.step.banked.saturating_sub(analysed);
    }

    /// Where the metric stands.
    pub fn weigh(&self, demand: Demand, seen: Option<&MetricObservation>) -> Weighed {
        let unspent = self.starts.unspent();
        let mut figures = [[0.0; 3]; MOST_COMPARISONS];
        let figures = &mut figures[..self.comparisons.len().min(MOST_COMPARISONS)];
        for (figures, one) in figures.iter_mut().zip(&self.comparisons) {
            *figures = [one.ln_e_harm(unspent), one.ln_e_no_harm(), one.ln_e_gate(unspent)];
        }
        let leads = Leads {
            harm: first_of(figures, |a, b| a[0] > b[0]),
            no_harm: first_of(figures, |a, b| a[1] < b[1]),
        };
        let mut ln_e_no_harm = leads.no_harm.map_or(0.0, |i| figures[i][1]);
        let (ln_e_harm, ln_e_gate, may_decide) = match (&self.gauge, &self.harm) {
            (Some(gauge), _) => {
                ln_e_no_harm = gauge.ln_e_no_harm();
                // A leading gauge needs no burst gate.
                (gauge.ln_e_harm(), f64::MAX, true)
            }
            (None, Some(harm)) => (harm.ln_e(), harm.ln_e_gate(), harm.may_decide(demand.min_bad)),
            (None, None) => tempered::weigh(figures),
        };
        let verdict = if self.is_blind(seen) {
            Verdict::NoData
        } else {
            known(ln_e_no_harm >= demand.ln_bound_no_harm)
        };
        Weighed { verdict, ln_e_harm, ln_e_no_harm, ln_e_gate, may_decide, leads }
    }

    /// At least its evidence of harm, cheaply: with what has not started, which is less than e⁰.
    pub fn ln_e_harm_at_most(&self) -> f64 {
        let largest =
            self.comparisons.iter().map(Comparison::ln_largest_harm).fold(f64::NEG_INFINITY, f64::max);
        match (&self.gauge, &self.harm) {
            (Some(gauge), _) => gauge.ln_e_harm(),
            (None, Some(harm)) => harm.ln_e(),
            (None, None) => ln_add_exp(largest + LN_ALTERNATIVES, 0.0),
        }
    }

    /// The verdict as far as cheap bounds of the evidence of no harm tell it; `None` where only the whole sum
    /// can.
    pub fn sure_verdict(&self, ln_bound: f64, seen: Option<&MetricObservation>) -> Option<Verdict> {
        if self.is_blind(seen) {
            return Some(Verdict::NoData);
        }
        let least = match &self.gauge {
            Some(gauge) => return Some(known(gauge.ln_e_no_harm() >= ln_bound)),
            None => self.comparisons.iter().map(Comparison::ln_largest_no_harm).fold(f64::INFINITY, f64::min),
        };
        if self.comparisons.is_empty() || least + LN_ALTERNATIVES < ln_bound {
            Some(Verdict::Undecided)
        } else {
            (least > ln_bound).then_some(Verdict::NotWorse)
        }
    }

    fn is_blind(&self, seen: Option<&MetricObservation>) -> bool {
        let no_data = |reading: &Reading<Counts>| !matches!(reading, Ok(_) | Err(NoData::Waiting));
        !self.step.seen || seen.is_none_or(|seen| no_data(&seen.canary) || no_data(&seen.baseline))
    }

    /// All figures of the metric.
    pub fn describe(&self, metric: &Metric, weighed: &Weighed) -> MetricAssessment {
        let shown = weighed.leads.shown(&self.comparisons);
        let values = self.gauge.as_ref().and_then(|gauge| gauge.step.means());
        let phi = self.frozen.dispersion;
        MetricAssessment {
            name: metric.name.clone(),
            verdict: weighed.verdict,
            ln_e_harm: weighed.ln_e_harm,
            ln_e_no_harm: weighed.ln_e_no_harm,
            ln_e_gate: weighed.ln_e_gate,
            ratio: shown.and_then(|c| c.shown_ratio(self.harm.as_ref().and_then(HarmTest::ends))),
            canary_share: shown.and_then(|c| c.canary.share()),
            baseline_share: shown.and_then(|c| c.baseline.share()),
            canary_value: values.map(|[canary, _]| canary),
            baseline_value: values.map(|[_, baseline]| baseline),
            canary_requests: self.step.canary_requests,
            baseline_requests: self.step.baseline_requests,
            bound_seconds: shown.and_then(|c| c.bound),
            canary_quantiles: self.step.canary.quantiles(phi),
            baseline_quantiles: self.step.baseline.quantiles(phi),
            dispersion: phi,
            dispersion_source: self.frozen.source,
            block: self.harm.as_ref().and_then(HarmTest::used),
        }
    }

    /// Time until this metric is not worse; `None` if that is not known.
    pub fn remaining(&self, verdict: Verdict, ln_bound: f64) -> Option<Duration> {
        match verdict {
            Verdict::NotWorse => Some(Duration::ZERO),
            Verdict::NoData => None,
            Verdict::Worse | Verdict::Undecided if self.gauge.is_some() => {
                self.gauge.as_ref().and_then(|gauge| gauge.remaining(ln_bound))
            }
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

/// What the comparisons of a metric have; a test of harm of its own stands for theirs.
fn kind<'a>(starts: &'a Starts, harm: Option<&HarmTest>, rare: bool) -> Kind<'a> {
    let tempered = Some(starts).filter(|_| harm.is_none());
    Kind { tempered, rare, ratio: !matches!(harm, Some(HarmTest::Blocks(_))) }
}

fn known(not_worse: bool) -> Verdict {
    if not_worse { Verdict::NotWorse } else { Verdict::Undecided }
}

fn tally(reading: &Reading<Counts>) -> Option<Tally> {
    match reading {
        Ok(Counts::Proportion { total, bad }) => Some(Tally::new(*bad, *total)),
        Ok(Counts::Rate { events, exposure_millionths }) => Some(Tally::new(*events, *exposure_millionths)),
        _ => None,
    }
}
