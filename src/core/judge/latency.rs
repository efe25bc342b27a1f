//! What a latency metric needs beside its comparisons: how its bounds are chosen, and the histograms of
//! a step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::metric::{Counts, Reading};
use crate::core::words::count;
use crate::stats::histogram::{Threshold, quantile_interval, thresholds, total};

/// So many requests of the baseline tell an exceedance of 0.05%.
const ENOUGH_REQUESTS: u64 = 2_000;
/// At little traffic, after so much time fewer are enough.
const LONG_ENOUGH: Duration = Duration::from_secs(300);
const FEWEST_REQUESTS: u64 = 200;

/// A histogram as it was counted; the bounds and the counts of one reading.
#[derive(Clone, Copy)]
pub(super) struct Buckets<'a> {
    pub le: &'a [f64],
    pub counts: &'a [u64],
}

impl<'a> Buckets<'a> {
    /// `None` if there is no reading, or if it is no histogram.
    pub fn of(reading: &'a Reading<Counts>) -> Option<Buckets<'a>> {
        match reading {
            Ok(Counts::Latency { le, counts, .. }) if counts.len() == le.len() + 1 => {
                Some(Buckets { le, counts })
            }
            _ => None,
        }
    }

    pub fn total(&self) -> u64 {
        total(self.counts)
    }

    /// Requests above the bucket bound `bound`; `None` if there is no such bound.
    pub fn above(&self, bound: f64) -> Option<u64> {
        let i = self.le.iter().position(|le| *le == bound)?;
        Some(total(&self.counts[i + 1..]))
    }
}

/// Counts over several windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Histogram {
    le: Vec<f64>,
    counts: Vec<u64>,
}

impl Histogram {
    /// Adds a window. Other bounds than before: what was counted with the old ones is dropped.
    pub fn add(&mut self, buckets: Buckets<'_>) {
        if self.le != buckets.le {
            *self = Histogram { le: buckets.le.to_vec(), counts: vec![0; buckets.counts.len()] };
        }
        for (sum, count) in self.counts.iter_mut().zip(buckets.counts) {
            *sum = sum.saturating_add(*count);
        }
    }

    pub fn total(&self) -> u64 {
        total(&self.counts)
    }

    /// p50, p90, p95 and p99, each as (low, estimate, high).
    pub fn quantiles(&self, dispersion: f64) -> Option<[[f64; 3]; 4]> {
        let of = |q| quantile_interval(&self.le, &self.counts, q, dispersion);
        Some([of(0.5)?, of(0.9)?, of(0.95)?, of(0.99)?])
    }

    /// Bounds and counts.
    pub fn parts(&self) -> (&[f64], &[u64]) {
        (&self.le, &self.counts)
    }
}

/// Gathers the baseline's distribution until the bounds can be chosen. They are chosen once, from
/// windows that no test uses: those before the first step, while the split settles, and of the warm-up,
/// and, where these have too few requests, from the first windows after it, which are then given up for
/// the tests. So at every bound each tested window is independent of the choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Chooser {
    baseline: Histogram,
    gathered: Duration,
}

impl Chooser {
    pub fn gather(&mut self, baseline: Buckets<'_>, length: Duration) {
        self.baseline.add(baseline);
        self.gathered = self.gathered.saturating_add(length);
    }

    pub fn requests(&self) -> u64 {
        self.baseline.total()
    }

    /// The thresholds for an accepted factor of the latency, once enough was seen.
    pub fn choose(&self, slower: f64) -> Option<Vec<Threshold>> {
        let enough = self.requests() >= ENOUGH_REQUESTS
            || (self.gathered >= LONG_ENOUGH && self.requests() >= FEWEST_REQUESTS);
        enough.then(|| thresholds(&self.baseline.le, &self.baseline.counts, slower))
    }

    /// What it waits for.
    pub fn words(&self) -> String {
        format!(
            "its bounds are chosen once {} requests of the baseline are seen ({} so far)",
            count(ENOUGH_REQUESTS),
            count(self.requests())
        )
    }
}
