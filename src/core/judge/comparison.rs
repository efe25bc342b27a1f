//! One comparison of the arms: the bad share of a proportion, or what lies above one bound of a
//! histogram.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tempered::Tempered;
use crate::core::policy::{Direction, Metric};
use crate::core::source::MetricSource;
use crate::stats::gate::Found;
use crate::stats::histogram::Threshold;
use crate::stats::mixture::{Mixture, Starts};
use crate::stats::planner::time_to_bound;
use crate::stats::proportion::{Margin, NO_HARM, NO_HARM_ALL, NO_HARM_RARE, Pair, Prepared};
use crate::stats::ratio;
use crate::stats::ratio::{Denominators, RatioSequence};

/// The interval that is shown covers the ratio with 95%, whatever α the decisions have: people know it.
const SHOWN_ALPHA: f64 = 0.05;
/// No-harm margins stay so far from the harm margin, or a release between the two would be neither.
const APART: f64 = 1.15;
/// A little more than ln 11, for the alternatives of each mixture.
pub(super) const LN_ALTERNATIVES: f64 = 2.397_896;
/// Exposures of rates are counted in millionths.
pub(super) const MILLION: f64 = 1e6;

/// Bad and all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub bad: u64,
    pub total: u64,
}

impl Tally {
    pub fn new(bad: u64, total: u64) -> Tally {
        Tally { bad: bad.min(total), total }
    }

    pub fn add(&mut self, other: Tally) {
        self.bad = self.bad.saturating_add(other.bad);
        self.total = self.total.saturating_add(other.total);
    }

    pub fn share(&self) -> Option<f64> {
        (self.total > 0).then(|| self.bad as f64 / self.total as f64)
    }
}

/// How the tests look at what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum View {
    /// It is bad: is there more of it in the canary?
    Counted,
    /// It is good: is there more of it in the baseline? The arms swap.
    Swapped,
    /// It is good: is there more of the rest in the canary?
    Rest,
}

impl View {
    /// Of a proportion. What is good is looked at from both sides, and the evidence is the mean: 1%
    /// instead of 2% shows in what is counted, 90% instead of 95% in the rest.
    pub fn of(direction: Direction) -> &'static [View] {
        match direction {
            Direction::LowerIsBetter => &[View::Counted],
            Direction::HigherIsBetter => &[View::Swapped, View::Rest],
        }
    }

    /// One arm as a test takes it that tells the arms apart.
    pub fn seen(self, tally: Tally) -> Tally {
        match self {
            View::Counted | View::Swapped => tally,
            View::Rest => Tally { bad: tally.total - tally.bad, ..tally },
        }
    }

    /// Both arms of one window as the tests take them.
    pub fn pair(self, canary: Tally, baseline: Tally) -> Option<Pair> {
        let counted = |tally: Tally| (tally.bad, tally.total);
        let rest = |tally: Tally| (tally.total - tally.bad, tally.total);
        match self {
            View::Counted => Pair::new(counted(canary), counted(baseline)),
            View::Swapped => Pair::new(counted(baseline), counted(canary)),
            View::Rest => Pair::new(rest(canary), rest(baseline)),
        }
    }
}

/// The running tests of one comparison. Evidence of harm lasts over steps, the rest begins anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Comparison {
    pub view: View,
    /// Latency: the bound in seconds.
    pub bound: Option<f64>,
    /// η = 1/φ.
    eta: f64,
    harm_margin: Margin,
    excess: f64,
    /// Where the metric has no test of harm of its own.
    #[serde(flatten)]
    tempered: Option<Tempered>,
    no_harm: Mixture,
    /// Where the interval of the ratio is not the test of harm's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ratio: Option<RatioSequence>,
    /// In this step's tested windows.
    pub canary: Tally,
    /// The same of the baseline.
    pub baseline: Tally,
    /// The same within routes, where those are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standard: Option<Standardised>,
}

/// What a comparison has besides the evidence of no harm.
#[derive(Clone, Copy)]
pub(super) struct Kind<'a> {
    /// Evidence of harm, with these starts.
    pub tempered: Option<&'a Starts>,
    /// The further alternatives of no harm.
    pub rare: bool,
    /// The interval of the ratio.
    pub ratio: bool,
}

/// The ratio of the arms within routes, after Mantel and Haenszel (1959): Σ x m/(n + m) over
/// Σ y n/(n + m).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Standardised {
    canary: f64,
    baseline: f64,
}

impl Standardised {
    fn add(&mut self, canary: Tally, baseline: Tally) {
        let (n, m) = (canary.total as f64, baseline.total as f64);
        self.canary += canary.bad as f64 * m / (n + m);
        self.baseline += baseline.bad as f64 * n / (n + m);
    }
}

impl Comparison {
    /// Of the bad shares, tempered by φ = `dispersion`.
    pub fn of_counts(view: View, metric: &Metric, dispersion: f64, kind: Kind<'_>) -> Comparison {
        let margin = Margin { ratio: 1.0 + metric.tolerance, difference: metric.harm_floor };
        Comparison::new(view, None, margin, 0.0, dispersion, kind)
    }

    /// Of events per exposure; exposures are counted in millionths of the policy's unit.
    pub fn of_rate(view: View, metric: &Metric, dispersion: f64, kind: Kind<'_>) -> Comparison {
        let margin = Margin { ratio: 1.0 + metric.tolerance, difference: metric.harm_floor / MILLION };
        Comparison::new(view, None, margin, 0.0, dispersion, kind)
    }

    /// Of what lies above a bound. The tolerance is in the threshold, as a factor of the latency.
    pub fn above(threshold: &Threshold, metric: &Metric, dispersion: f64, kind: Kind<'_>) -> Comparison {
        let difference = metric.harm_floor + threshold.excess;
        let margin = Margin { ratio: threshold.ratio, difference };
        let view = match metric.direction {
            Direction::LowerIsBetter => View::Counted,
            Direction::HigherIsBetter => View::Swapped,
        };
        Comparison::new(view, Some(threshold.bound), margin, threshold.excess, dispersion, kind)
    }

    fn new(
        view: View,
        bound: Option<f64>,
        harm_margin: Margin,
        excess: f64,
        dispersion: f64,
        kind: Kind<'_>,
    ) -> Comparison {
        Comparison {
            view,
            bound,
            eta: 1.0 / dispersion,
            harm_margin,
            excess,
            tempered: kind.tempered.map(Tempered::new),
            no_harm: Mixture::new(if kind.rare { NO_HARM_ALL.len() } else { NO_HARM.len() }, 1.0),
            ratio: kind.ratio.then(RatioSequence::default),
            canary: Tally::default(),
            baseline: Tally::default(),
            standard: None,
        }
    }

    /// What begins anew with each step.
    pub fn enter_step(&mut self) {
        self.no_harm = Mixture::new(self.no_harm.ln_masses().len(), 1.0);
        self.ratio = self.ratio.as_ref().map(|_| RatioSequence::default());
        self.canary = Tally::default();
        self.baseline = Tally::default();
        self.standard = None;
    }

    /// The edge of "no harm" where the next weight allows the ratio `allowed`.
    pub fn no_harm_margin(&self, metric: &Metric, allowed: f64) -> Margin {
        let unit = if matches!(metric.source, MetricSource::Rate { .. }) { MILLION } else { 1.0 };
        Margin {
            ratio: allowed.max(APART * self.harm_margin.ratio),
            difference: metric.no_harm_floor / unit + allowed * self.excess,
        }
    }

    /// Starts prior mass that is due.
    pub fn start(&mut self, mass: f64) {
        self.tempered.iter_mut().for_each(|tempered| tempered.start(mass));
    }

    /// Tests the strata of a window in which both arms have requests.
    pub fn test<'a>(
        &mut self,
        metric: &Metric,
        allowed: f64,
        strata: impl Iterator<Item = Window<'a>>,
        shared: &mut Shared,
    ) {
        let eta = self.eta;
        let no_harm = self.no_harm_margin(metric, allowed);
        let mut found = Found::default();
        for window in strata {
            let Some(pair) = self.view.pair(window.canary, window.baseline) else { continue };
            self.canary.add(window.canary);
            self.baseline.add(window.baseline);
            if let Some(tempered) = &mut self.tempered {
                tempered.add(&pair, self.harm_margin, eta, &mut found);
            }
            self.no_harm.multiply(&shared.increments(&pair, no_harm, eta));
            if metric.by_route.is_some() {
                self.standard.get_or_insert_default().add(window.canary, window.baseline);
            }
            // The ratio of the rest is never shown.
            if let Some((ratio, denominators)) = self.ratio.as_mut().zip(window.denominators)
                && self.view != View::Rest
            {
                ratio.add(&pair, denominators, eta);
            }
        }
        self.tempered.iter_mut().for_each(|tempered| tempered.close(found));
    }

    /// 0 where it has no evidence of harm of its own.
    pub fn ln_e_harm(&self, unspent: f64) -> f64 {
        self.tempered.as_ref().map_or(0.0, |tempered| tempered.ln_e(unspent))
    }

    /// The largest mass of the evidence of harm; the evidence without what has not started is at least that,
    /// and at most [`LN_ALTERNATIVES`] above it.
    pub fn ln_largest_harm(&self) -> f64 {
        self.tempered.as_ref().map_or(f64::NEG_INFINITY, Tempered::ln_largest)
    }

    /// The same of the evidence of no harm.
    pub fn ln_largest_no_harm(&self) -> f64 {
        self.no_harm.ln_largest()
    }

    pub fn ln_e_gate(&self, unspent: f64) -> f64 {
        self.tempered.as_ref().map_or(0.0, |tempered| tempered.ln_e_gate(unspent))
    }

    pub fn ln_e_no_harm(&self) -> f64 {
        self.no_harm.ln_e(0.0)
    }

    /// Time until the no-harm evidence reaches its bound, after `tested` time in this step.
    pub fn remaining(&self, ln_bound: f64, tested: Duration) -> Option<Duration> {
        time_to_bound(self.no_harm.ln_masses(), ln_bound, tested)
    }

    /// Whether the whole interval of the ratio lies beyond what is tolerated; `own` is what the test of
    /// harm says that it is surely above.
    pub fn is_beyond(&self, own: Option<f64>) -> bool {
        let nothing_bad = self.canary.bad == 0 && self.baseline.bad == 0;
        let one_arm = self.canary.total == 0 || self.baseline.total == 0;
        if self.view == View::Rest || nothing_bad || one_arm {
            return false;
        }
        let low = own.or_else(|| Some(self.ratio.as_ref()?.interval(SHOWN_ALPHA).0));
        low.is_some_and(|low| low > self.harm_margin.ratio)
    }

    /// Canary over baseline: low, estimate (held within the ends), high. `None` while nothing bad was
    /// seen in either arm, and where the test of harm has the ends, `own`, until the first block has ended.
    pub fn shown_ratio(&self, own: Option<[f64; 3]>) -> Option<[f64; 3]> {
        let (canary, baseline) = (self.canary.share()?, self.baseline.share()?);
        if self.canary.bad == 0 && self.baseline.bad == 0 {
            return None;
        }
        let Some(ratio) = &self.ratio else { return own };
        let (low, high) = ratio.interval(SHOWN_ALPHA);
        let (low, high) = match self.view {
            View::Counted | View::Rest => (low, high),
            // The tests' ratio is baseline over canary.
            View::Swapped => (1.0 / high, 1.0 / low),
        };
        let (canary, baseline) = self.standard.map_or((canary, baseline), |s| (s.canary, s.baseline));
        let estimate = if baseline > 0.0 { canary / baseline } else { ratio::HIGHEST };
        Some([low, estimate.clamp(low, high), high])
    }
}

/// One stratum of a window, as a comparison takes it.
pub(super) struct Window<'a> {
    pub canary: Tally,
    pub baseline: Tally,
    /// Of the κ of the pair of [`View::Counted`] or [`View::Swapped`], as the comparison needs it; `None`
    /// where no ratio is wanted.
    pub denominators: Option<&'a Denominators>,
}

/// What the tests of no harm need of κ and r alone, as the last comparison had it: the bounds of a latency
/// often have both in common.
#[derive(Default)]
pub(super) struct Shared(Option<(Prepared<9>, Prepared<2>)>);

impl Shared {
    /// In the order of [`NO_HARM_ALL`].
    fn increments(&mut self, pair: &Pair, margin: Margin, eta: f64) -> [f64; NO_HARM_ALL.len()] {
        let kappa = pair.kappa();
        self.0.take_if(|(last, _)| !last.is_of(kappa, margin.ratio));
        let (usual, rare) = self.0.get_or_insert_with(|| {
            (NO_HARM.prepare(kappa, margin.ratio), NO_HARM_RARE.prepare(kappa, margin.ratio))
        });
        let usual = NO_HARM.prepared_increments(pair, margin.difference, eta, usual);
        let [rarer, rare] = NO_HARM_RARE.prepared_increments(pair, margin.difference, eta, rare);
        std::array::from_fn(|i| usual.get(i).copied().unwrap_or(if i == usual.len() { rarer } else { rare }))
    }
}
