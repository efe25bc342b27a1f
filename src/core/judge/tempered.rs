//! Evidence of harm as method 2 has it: a mixture of tempered likelihood ratios and a burst gate of each
//! comparison, averaged over the comparisons of the metric.

use serde::{Deserialize, Serialize};

use super::weighed::mean;
use crate::stats::gate::{Found, Gate};
use crate::stats::mixture::{Mixture, Starts};
use crate::stats::proportion::{HARM, Margin, Pair};
use crate::stats::special::ln;

/// The burst gate that the leading metric must have passed.
const GATE: f64 = 5.0;

/// The evidence of one comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tempered {
    harm: Mixture,
    gate: Gate,
}

impl Tempered {
    pub fn new(starts: &Starts) -> Tempered {
        Tempered { harm: Mixture::new(HARM.len(), starts.initial()), gate: Gate::new(starts.initial()) }
    }

    /// Starts prior mass that is due.
    pub fn start(&mut self, mass: f64) {
        self.harm.start(mass);
        self.gate.start(mass);
    }

    /// Takes in one stratum of a window; the gate takes all of the window's at once.
    pub fn add(&mut self, pair: &Pair, margin: Margin, eta: f64, found: &mut Found) {
        self.harm.multiply(&HARM.increments(pair, margin, eta));
        found.add(pair, margin.ratio);
    }

    /// Ends a window.
    pub fn close(&mut self, found: Found) {
        self.gate.take(found);
    }

    pub fn ln_e(&self, unspent: f64) -> f64 {
        self.harm.ln_e(unspent)
    }

    /// The largest mass of the evidence; the evidence without what has not started is at least that.
    pub fn ln_largest(&self) -> f64 {
        self.harm.ln_largest()
    }

    pub fn ln_e_gate(&self, unspent: f64) -> f64 {
        self.gate.ln_e(unspent)
    }
}

/// ln of the evidence of harm and of the gate by the comparisons' figures, and whether the gate is open.
pub(super) fn weigh(figures: &[[f64; 3]]) -> (f64, f64, bool) {
    let (ln_e_harm, ln_e_gate) = (mean(figures, 0), mean(figures, 2));
    (ln_e_harm, ln_e_gate, ln_e_gate >= ln(GATE))
}
