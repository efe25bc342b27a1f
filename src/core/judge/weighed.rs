//! Where a metric stands, in figures.

use super::assessment::Verdict;
use super::comparison::Comparison;
use crate::stats::special::ln_mean_exp;

/// A latency has at most so many bounds; [`thresholds`](crate::stats::histogram::thresholds) gives no more.
pub(super) const MOST_COMPARISONS: usize = 8;

/// The evidence of a metric in figures.
#[derive(Clone, Copy)]
pub(super) struct Weighed {
    /// `Worse` is not said here: that is a matter of all metrics.
    pub verdict: Verdict,
    pub ln_e_harm: f64,
    pub ln_e_no_harm: f64,
    pub ln_e_gate: f64,
    /// Its own condition for a rollback by the tests is met, if it leads.
    pub may_decide: bool,
    pub leads: Leads,
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

/// ln of the mean of e-values given by their logarithms; of none: no evidence.
pub(super) fn mean(figures: &[[f64; 3]], of: usize) -> f64 {
    if figures.is_empty() {
        return 0.0;
    }
    let mut ln_e = [f64::NEG_INFINITY; MOST_COMPARISONS];
    for (ln_e, figures) in ln_e.iter_mut().zip(figures) {
        *ln_e = figures[of];
    }
    ln_mean_exp(&ln_e[..figures.len()])
}

pub(super) fn first_of(values: &[[f64; 3]], before: impl Fn(&[f64; 3], &[f64; 3]) -> bool) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if before(&values[i], &values[best]) { i } else { best })
}
