//! The interval of the ratio that is shown: of the tests that decide, so that a rollback's never contains "as good".

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::stats::linear::{Counted, LinearBet, factors};
use crate::stats::proportion::{NO_HARM_ALL, Pair};
use crate::stats::ratio::{Against, Denominators, HIGHEST, LOWEST, RatioSequence};
use crate::stats::special::{exp, ln};

/// Ratios that are told apart, from [`FIRST`] to [`HIGHEST`], evenly in the logarithm.
const POINTS: usize = 31;
const FIRST: f64 = 0.1;
/// Of the tempered sequence.
const ALPHA: f64 = 0.05;
/// Each end holds with 95% at every look.
const LN_BOUND: f64 = 2.995_732_273_553_991;

/// Evidence against each ratio. The low end has the test of harm (without a floor in points), over all steps; the
/// high end the tempered test of no harm, in this step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Interval {
    low: Vec<LinearBet>,
    high: RatioSequence,
    eta: f64,
    /// Where the ends were found among the ratios.
    near: [usize; 2],
    /// Σ x m/(n + m) and Σ y n/(n + m) over the strata of this step's blocks (Mantel and Haenszel, 1959).
    sums: [f64; 2],
    /// Low, estimate and high after the last block, where one ended in this step.
    ends: Option<[f64; 3]>,
}

static RATIOS: LazyLock<[f64; POINTS]> = LazyLock::new(|| std::array::from_fn(|i| exp(ln_ratio(i))));

static ONE_IN_RATIOS: LazyLock<[f64; POINTS]> = LazyLock::new(|| RATIOS.map(|ratio| 1.0 / ratio));
static AGAINST: LazyLock<[Against<{ NO_HARM_ALL.len() }>; POINTS]> =
    LazyLock::new(|| std::array::from_fn(|i| Against::new(RATIOS[i], &NO_HARM_ALL)));

fn ln_ratio(i: usize) -> f64 {
    ln(FIRST) + i as f64 * (ln(HIGHEST / FIRST) / (POINTS - 1) as f64)
}

impl Interval {
    /// `mass` is what the test of harm begins with.
    pub fn new(mass: f64, dispersion: f64) -> Interval {
        Interval {
            low: vec![LinearBet::new(mass); POINTS],
            high: RatioSequence::default(),
            eta: 1.0 / dispersion,
            near: [0; 2],
            sums: [0.0; 2],
            ends: None,
        }
    }

    pub fn enter_step(&mut self) {
        self.high = RatioSequence::default();
        self.sums = [0.0; 2];
        self.ends = None;
    }

    /// Takes in a block by its strata, before which prior mass of `due` starts.
    pub fn take(&mut self, due: f64, cut: bool, strata: &[Counted]) {
        // f = x/(n θ0) − 1 with θ0 = κ r/(1 + κ r): what does not depend on r is taken out of the loop.
        let of = |stratum: &Counted| (stratum.bad / (stratum.bad + stratum.base_bad), 1.0 / stratum.kappa);
        let parts: Vec<(f64, f64)> = strata.iter().map(of).filter(|(share, _)| !share.is_nan()).collect();
        for (bet, one_in_r) in self.low.iter_mut().zip(ONE_IN_RATIOS.iter()) {
            bet.start(due);
            let excesses = parts.iter().map(|(share, kappa)| share * (1.0 + kappa * one_in_r) - 1.0);
            bet.multiply(&factors(excesses, cut));
        }
        self.ends = None;
    }

    /// Takes in one stratum of a window.
    pub fn see(&mut self, pair: &Pair) {
        let (n, m) = (pair.requests, pair.base_requests);
        self.sums[0] += pair.x * m / (n + m);
        self.sums[1] += pair.y * n / (n + m);
        self.high.add(pair, &Denominators::new(pair.kappa()), self.eta);
    }

    /// Finds the ends; `unspent` mass of the test of harm has not started.
    pub fn find(&mut self, unspent: f64) {
        let mut near = self.near;
        let low = crossing(|i| self.low[i].ln_e(unspent), LN_BOUND, &mut near[0])
            .map_or(HIGHEST, |end| end.unwrap_or(LOWEST));
        let above = |i: usize| -self.high.ln_e_below(&AGAINST[i]);
        // The evidence rises with the ratio.
        let high = crossing(above, -LN_BOUND, &mut near[1]).map_or(HIGHEST, |end| end.unwrap_or(RATIOS[0]));
        self.near = near;
        let high = high.max(low);
        let [canary, baseline] = self.sums;
        let estimate = if baseline > 0.0 { canary / baseline } else { HIGHEST };
        self.ends = (canary + baseline > 0.0).then(|| [low, estimate.clamp(low, high), high]);
    }

    /// What the ratio is surely above: the low end, or that of the tempered sequence of this step, which is sooner
    /// where few blocks have ended.
    pub fn surely_above(&self) -> f64 {
        let sequence = self.high.interval(ALPHA).0;
        self.ends.map_or(sequence, |[low, _, _]| low.max(sequence))
    }

    /// Low, estimate and high. An end at [`LOWEST`] or [`HIGHEST`] is open.
    pub fn ends(&self) -> Option<[f64; 3]> {
        self.ends
    }
}

/// Where `ln_e`, which falls with the ratio, first is below `bound`, between the ratios by the logarithm: `None`
/// if nowhere, `Some(None)` if from the first on.
/// `near` is where it was before, and is set to where it is.
fn crossing(ln_e: impl Fn(usize) -> f64, bound: f64, near: &mut usize) -> Option<Option<f64>> {
    let (mut at_least, mut below) = (0, POINTS);
    // Most often it is where it was.
    if *near < POINTS && ln_e(*near) < bound {
        below = *near;
    }
    if *near > 0 && *near <= below && ln_e(*near - 1) >= bound {
        at_least = *near;
    }
    // Points before `at_least` are not below the bound, those from `below` on are.
    while at_least < below {
        let middle = (at_least + below) / 2;
        if ln_e(middle) < bound { below = middle } else { at_least = middle + 1 }
    }
    *near = below;
    if below == POINTS {
        return None;
    }
    let Some(before) = below.checked_sub(1) else { return Some(None) };
    let (over, under) = (ln_e(before), ln_e(below));
    let part = ((over - bound) / (over - under)).clamp(0.0, 1.0);
    let (from, to) = (ln_ratio(before), ln_ratio(below));
    Some(Some(exp(from + part * (to - from))))
}
