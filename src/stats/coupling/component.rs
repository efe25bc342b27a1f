//! One set of weights h, prepared for many windows.

use super::Window;
use crate::stats::special::{ln, ln_1p_of_positive};

/// The factor of a baseline's request is never less than one minus this.
const MOST_TAKEN: f64 = 0.9;

/// Weights h over the buckets, with A h. Neighbouring buckets with the same weight are one run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    /// h − 1 and ln h.
    canary: Vec<(Run, f64)>,
    /// (A h) − 1.
    baseline: Vec<Run>,
    /// The largest (A h) − 1.
    most: f64,
    /// max h − min h.
    range: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    /// The first bucket of the run, and the first behind it.
    from: usize,
    to: usize,
    value: f64,
}

impl Run {
    /// Requests in the run, of counts at or above each bucket.
    #[inline]
    fn requests(&self, at_or_above: &[f64]) -> f64 {
        at_or_above[self.from] - at_or_above[self.to]
    }
}

/// Runs of the values less 1.
fn runs(values: &[f64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (i, value) in values.iter().map(|value| value - 1.0).enumerate() {
        match runs.last_mut() {
            // Rounding of a row's sum is no difference; what is taken off the baseline is never less for it.
            Some(last) if (last.value - value).abs() < 1e-14 => {
                last.to = i + 1;
                last.value = last.value.max(value);
            }
            _ => runs.push(Run { from: i, to: i + 1, value }),
        }
    }
    runs
}

impl Component {
    /// Of weights that rise over the buckets, all above 0, and the matrix A row by row.
    pub fn new(h: &[f64], matrix: &[f64]) -> Component {
        let slowed: Vec<f64> =
            matrix.chunks(h.len()).map(|row| row.iter().zip(h).map(|(a, h)| a * h).sum()).collect();
        let canary = runs(h).into_iter().map(|run| (run, ln(1.0 + run.value))).collect();
        let baseline = runs(&slowed);
        let most = baseline.iter().map(|run| run.value).fold(0.0, f64::max);
        let range = h.last().zip(h.first()).map_or(0.0, |(last, first)| last - first);
        Component { canary, baseline, most, range }
    }

    /// L_h of a window.
    pub fn ln_factor(&self, window: &Window, delta: f64) -> f64 {
        let Window { canary, baseline, kappa } = window;
        let taken = kappa * self.most;
        let shrunk = if taken > MOST_TAKEN { MOST_TAKEN / taken } else { 1.0 };
        let mut sum = -canary[0] * delta * shrunk * self.range;
        if shrunk < 1.0 {
            for (run, _) in &self.canary {
                sum += run.requests(canary) * ln_1p_of_positive(shrunk * run.value);
            }
        } else {
            for (run, ln_h) in &self.canary {
                sum += run.requests(canary) * ln_h;
            }
        }
        let per_unit = -kappa * shrunk;
        for run in &self.baseline {
            sum += run.requests(baseline) * ln_1p_of_positive(per_unit * run.value);
        }
        sum
    }

    /// The last bound before the weights are highest; none where all are the same.
    pub fn highest_above(&self) -> Option<usize> {
        self.canary.last()?.0.from.checked_sub(1)
    }
}
