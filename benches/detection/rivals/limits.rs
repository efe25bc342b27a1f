//! Fixed limits with a number of failures, as Flagger and Argo Rollouts have them.
//!
//! Flagger: each check outside its range adds to the failed checks, which are not taken back; the canary
//! is rolled back when they reach `threshold`. Argo Rollouts: the analysis fails when the measurements
//! that failed their condition exceed `failureLimit`.

use std::collections::VecDeque;

use super::Count;

/// Counts values beyond a limit that is chosen later: the k-th largest value so far is the highest limit
/// at which the rule would have fired by now.
#[derive(Clone, Debug)]
pub struct Failures {
    needed: usize,
    /// The largest values so far, falling.
    largest: Vec<f64>,
}

impl Failures {
    /// Rolled back at `threshold` failed checks.
    pub fn flagger(threshold: usize) -> Failures {
        Failures { needed: threshold.max(1), largest: Vec::new() }
    }

    /// Failed with more than `failure_limit` failed measurements.
    pub fn argo(failure_limit: usize) -> Failures {
        Failures::flagger(failure_limit + 1)
    }

    /// Takes in a check; one without a value does not fail. Gives the highest limit at which the rule has
    /// fired by now, minus infinity if there is none.
    pub fn take(&mut self, value: Option<f64>) -> f64 {
        if let Some(value) = value.filter(|value| !value.is_nan()) {
            let at = self.largest.partition_point(|larger| *larger >= value);
            self.largest.insert(at, value);
            self.largest.truncate(self.needed);
        }
        self.largest.get(self.needed - 1).copied().unwrap_or(f64::NEG_INFINITY)
    }
}

/// Counts over the last windows, as `rate(…[1m])` has them.
#[derive(Clone, Debug)]
pub struct Last {
    most: usize,
    windows: VecDeque<Count>,
    sum: Count,
}

impl Last {
    /// Over so many windows.
    pub fn new(windows: usize) -> Last {
        Last { most: windows.max(1), windows: VecDeque::new(), sum: Count::default() }
    }

    /// Takes in a window; gives the counts over the last ones, `None` until there are enough.
    pub fn take(&mut self, window: Count) -> Option<Count> {
        self.windows.push_back(window);
        self.sum.add(window);
        if self.windows.len() > self.most
            && let Some(oldest) = self.windows.pop_front()
        {
            self.sum.bad -= oldest.bad;
            self.sum.total -= oldest.total;
        }
        (self.windows.len() == self.most).then_some(self.sum)
    }
}
