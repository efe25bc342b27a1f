//! Harm where higher is better: what is counted (orders, payments) becomes rarer. A linear bet can grow by at most
//! the canary's own share a block, whatever it shows, so here it is the likelihood ratio of fewer ones, tempered by
//! how much the baseline's counts vary.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::comparison::Tally;
use crate::core::policy::{Metric, Policy};
use crate::stats::mixture::{Mixture, Starts};
use crate::stats::proportion::{FEWER, FEWER_COUNT, Margin, Pair};
use crate::stats::without::WithoutBest;

/// The evidence without its best window must be at least this.
const LN_WITHOUT_BEST: f64 = 2.995_732_273_553_991;

/// The evidence that the canary's count is rarer: against p_canary ≥ p_base/r0 − δ0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Fewer {
    starts: Starts,
    margin: Margin,
    eta: f64,
    evidence: Mixture,
    without_best: WithoutBest,
}

impl Fewer {
    /// `unit` is what exposures are counted in; tempered by φ = `dispersion`.
    pub fn new(metric: &Metric, policy: &Policy, unit: f64, dispersion: f64) -> Fewer {
        let starts = Starts::new(policy.expected_analysis(), policy.longest_analysis());
        let evidence = Mixture::new(FEWER.len(), starts.initial());
        Fewer {
            margin: Margin { ratio: 1.0 / (1.0 + metric.tolerance), difference: -metric.harm_floor / unit },
            eta: 1.0 / dispersion,
            without_best: WithoutBest::new(evidence.ln_masses(), Duration::ZERO),
            evidence,
            starts,
        }
    }

    /// Takes in a window's strata, both arms.
    pub fn take(&mut self, arms: impl Iterator<Item = [Tally; 2]>, length: Duration) {
        let due = self.starts.test(length);
        self.evidence.start(due);
        self.without_best.start(due);
        let mut sum = [0.0; FEWER_COUNT];
        for [canary, baseline] in arms {
            if let Some(pair) = Pair::new((canary.bad, canary.total), (baseline.bad, baseline.total)) {
                let of = FEWER.increments(&pair, self.margin, self.eta);
                sum.iter_mut().zip(of).for_each(|(sum, increment)| *sum += increment);
            }
        }
        self.without_best.open(self.evidence.ln_masses(), length);
        self.evidence.multiply(&sum);
        self.without_best.close(self.evidence.ln_masses());
    }

    pub fn ln_e(&self) -> f64 {
        self.evidence.ln_e(self.starts.unspent())
    }

    /// ln of the evidence without its best window.
    pub fn ln_e_gate(&self) -> f64 {
        self.without_best.ln_e(self.starts.unspent())
    }

    pub fn may_decide(&self) -> bool {
        self.ln_e_gate() >= LN_WITHOUT_BEST
    }
}
