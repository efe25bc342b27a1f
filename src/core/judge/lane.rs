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
use crate::stats::without::WithoutBest;

const MARGIN: Margin = Margin { ratio: 3.0, difference: 0.02 };
/// Bursts are never taken to be smaller than this here.
const LEAST_DISPERSION: f64 = 3.0;

/// Fewer requests of the canary than this in a window are few.
const FEW: u64 = 100;
/// The longest burst that must not be a catastrophe by itself.
const BEST: Duration = Duration::from_secs(60);
/// ln of what the evidence without its best minute must be at least: 20.
const LN_WITHOUT_BEST: f64 = 2.995_732_273_553_991;

/// The lane of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lane {
    starts: Starts,
    evidence: Vec<(View, Mixture)>,
    /// From method 3 on, by view: without the best minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without_best: Vec<WithoutBest>,
    /// The last window had few requests of the canary.
    #[serde(default)]
    few: bool,
    /// In this step, warm-up included.
    pub canary: Tally,
    /// The same of the baseline.
    pub baseline: Tally,
}

impl Lane {
    /// `tempered`: as method 2 has it.
    pub fn new(direction: Direction, starts: Starts, tempered: bool) -> Lane {
        let mixture = Mixture::new(CATASTROPHE.len(), starts.initial());
        let evidence = View::of(direction).iter().map(|view| (*view, mixture.clone())).collect();
        let without = || vec![WithoutBest::new(mixture.ln_masses(), BEST); View::of(direction).len()];
        let without_best = if tempered { Vec::new() } else { without() };
        Lane {
            starts,
            evidence,
            without_best,
            few: false,
            canary: Tally::default(),
            baseline: Tally::default(),
        }
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
        self.without_best.iter_mut().for_each(|without| without.start(due));
        for (without, (_, evidence)) in self.without_best.iter_mut().zip(&self.evidence) {
            without.open(evidence.ln_masses(), length);
        }
        let mut requests = 0_u64;
        let eta = 1.0 / dispersion.max(LEAST_DISPERSION);
        for [canary, baseline] in tallies {
            self.canary.add(canary);
            self.baseline.add(baseline);
            requests = requests.saturating_add(canary.total);
            for (view, evidence) in &mut self.evidence {
                if let Some(pair) = view.pair(canary, baseline) {
                    evidence.multiply(&CATASTROPHE.increments(&pair, MARGIN, eta));
                }
            }
        }
        self.few = requests < FEW;
        for (without, (_, evidence)) in self.without_best.iter_mut().zip(&self.evidence) {
            without.close(evidence.ln_masses());
        }
        true
    }

    /// Whether it is more than one burst: where the canary has few requests, a single one of a minute is as much
    /// evidence as a catastrophe.
    pub fn is_more_than_a_burst(&self) -> bool {
        let unspent = self.starts.unspent();
        let views: Vec<f64> = self.without_best.iter().map(|without| without.ln_e(unspent)).collect();
        !self.few || views.is_empty() || ln_mean_exp(&views) >= LN_WITHOUT_BEST
    }

    pub fn ln_e(&self) -> f64 {
        let unspent = self.starts.unspent();
        let views: Vec<f64> = self.evidence.iter().map(|(_, evidence)| evidence.ln_e(unspent)).collect();
        ln_mean_exp(&views)
    }
}
