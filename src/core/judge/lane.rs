//! The catastrophe lane: fast and blunt. It looks at warm-up windows too, needs no burst gate, and only
//! sees what is at least three times and two points worse.
//!
//! Proportions only: latencies of a cold start are regularly that much worse during warm-up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::comparison::{Tally, pair};
use crate::core::policy::Direction;
use crate::stats::mixture::{Mixture, Starts};
use crate::stats::proportion::{CATASTROPHE, Margin};

const MARGIN: Margin = Margin { ratio: 3.0, difference: 0.02 };
/// Bursts are never taken to be smaller than this here.
const LEAST_DISPERSION: f64 = 3.0;

/// The lane of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lane {
    starts: Starts,
    evidence: Mixture,
    /// In this step, warm-up included.
    pub canary: Tally,
    /// The same of the baseline.
    pub baseline: Tally,
}

impl Lane {
    pub fn new(longest: Duration) -> Lane {
        let starts = Starts::new(longest);
        let evidence = Mixture::new(CATASTROPHE.len(), starts.initial());
        Lane { starts, evidence, canary: Tally::default(), baseline: Tally::default() }
    }

    pub fn enter_step(&mut self) {
        self.canary = Tally::default();
        self.baseline = Tally::default();
    }

    /// Whether the window said anything.
    pub fn test(
        &mut self,
        direction: Direction,
        dispersion: f64,
        canary: Tally,
        baseline: Tally,
        length: Duration,
    ) -> bool {
        let Some(pair) = pair(direction, canary, baseline) else { return false };
        self.canary.add(canary);
        self.baseline.add(baseline);
        self.evidence.start(self.starts.test(length));
        let eta = 1.0 / dispersion.max(LEAST_DISPERSION);
        self.evidence.multiply(&CATASTROPHE.increments(&pair, MARGIN, eta));
        true
    }

    pub fn ln_e(&self) -> f64 {
        self.evidence.ln_e(self.starts.unspent())
    }
}
