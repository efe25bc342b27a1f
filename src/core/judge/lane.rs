//! The catastrophe lane: fast and blunt. It looks at warm-up windows too, needs no burst gate, and only
//! sees what is at least three times and two points worse.
//!
//! Proportions only: latencies of a cold start are regularly that much worse during warm-up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::comparison::{Tally, View};
use super::strata::Stratum;
use crate::core::policy::Direction;
use crate::stats::mixture::{Mixture, Starts};
use crate::stats::proportion::{CATASTROPHE, Margin};
use crate::stats::special::ln_mean_exp;

const MARGIN: Margin = Margin { ratio: 3.0, difference: 0.02 };
/// Bursts are never taken to be smaller than this here.
const LEAST_DISPERSION: f64 = 3.0;

/// The lane of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lane {
    starts: Starts,
    evidence: Vec<(View, Mixture)>,
    /// In this step, warm-up included.
    pub canary: Tally,
    /// The same of the baseline.
    pub baseline: Tally,
}

impl Lane {
    pub fn new(direction: Direction, starts: Starts) -> Lane {
        let mixture = Mixture::new(CATASTROPHE.len(), starts.initial());
        let evidence = View::of(direction).iter().map(|view| (*view, mixture.clone())).collect();
        Lane { starts, evidence, canary: Tally::default(), baseline: Tally::default() }
    }

    pub fn enter_step(&mut self) {
        self.canary = Tally::default();
        self.baseline = Tally::default();
    }

    /// Whether the window said anything.
    pub fn test(&mut self, dispersion: f64, strata: &[Stratum<'_>], length: Duration) -> bool {
        let both = |[canary, baseline]: &[Tally; 2]| canary.total > 0 && baseline.total > 0;
        let tallies = strata.iter().filter_map(|stratum| stratum.tallies(None)).filter(both);
        if tallies.clone().next().is_none() {
            return false;
        }
        let due = self.starts.test(length);
        self.evidence.iter_mut().for_each(|(_, evidence)| evidence.start(due));
        let eta = 1.0 / dispersion.max(LEAST_DISPERSION);
        for [canary, baseline] in tallies {
            self.canary.add(canary);
            self.baseline.add(baseline);
            for (view, evidence) in &mut self.evidence {
                if let Some(pair) = view.pair(canary, baseline) {
                    evidence.multiply(&CATASTROPHE.increments(&pair, MARGIN, eta));
                }
            }
        }
        true
    }

    pub fn ln_e(&self) -> f64 {
        let unspent = self.starts.unspent();
        let views: Vec<f64> = self.evidence.iter().map(|(_, evidence)| evidence.ln_e(unspent)).collect();
        ln_mean_exp(&views)
    }
}
