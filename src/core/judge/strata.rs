//! What a window compares: both arms as a whole, or route by route. Within a route the arms have the same
//! mix of requests, so a canary that happens to get more of a bad route is not taken for a worse one. The
//! factors of the routes multiply: each has a mean of at most 1, given its requests and its κ.

use super::comparison::Tally;
use crate::core::metric::{Counts, MetricObservation, RouteCounts};
use crate::stats::histogram::total;

/// Both arms of a route, or of the whole.
#[derive(Clone, Copy)]
pub(super) struct Stratum<'a> {
    /// The route; empty for the whole.
    pub route: &'a str,
    canary: &'a Counts,
    baseline: &'a Counts,
    /// All requests, or all exposure, of canary and baseline.
    totals: [u64; 2],
}

impl<'a> Stratum<'a> {
    /// The routes that both arms have; of a metric without routes the whole. None where an arm is missing.
    pub fn of(seen: &'a MetricObservation) -> Vec<Stratum<'a>> {
        let (Ok(canary), Ok(baseline)) = (&seen.canary, &seen.baseline) else { return Vec::new() };
        if seen.routes.is_empty() {
            return vec![Stratum::new("", canary, baseline)];
        }
        let both = |(name, route): (&'a String, &'a RouteCounts)| {
            Some(Stratum::new(name, route.canary.as_ref()?, route.baseline.as_ref()?))
        };
        seen.routes.iter().filter_map(both).collect()
    }

    fn new(route: &'a str, canary: &'a Counts, baseline: &'a Counts) -> Stratum<'a> {
        Stratum { route, canary, baseline, totals: [all(canary), all(baseline)] }
    }

    /// All of canary and baseline.
    pub fn totals(&self) -> [Tally; 2] {
        self.totals.map(|total| Tally::new(0, total))
    }

    /// Bad and all of canary and baseline; of a latency what lies above `bound`, and `None` if there is no
    /// such bound.
    pub fn tallies(&self, bound: Option<f64>) -> Option<[Tally; 2]> {
        let [canary, baseline] = self.totals;
        if let (Counts::Latency { le, counts, .. }, Counts::Latency { le: base_le, counts: base, .. }) =
            (self.canary, self.baseline)
        {
            let at = |le: &[f64]| le.iter().position(|le| Some(*le) == bound);
            let i = at(le)?;
            // Both arms nearly always have the same bounds.
            let j = if base_le.get(i).copied() == bound { i } else { at(base_le)? };
            let above = |counts: &[u64], i: usize, all: u64| match counts.get(i + 1..)? {
                // Where all of them together are no more than can be counted, no part of them is.
                part if all < u64::MAX => {
                    Some(part.iter().fold(0, |sum: u64, count| sum.wrapping_add(*count)))
                }
                part => Some(total(part)),
            };
            let canary = Tally::new(above(counts, i, canary)?, canary);
            return Some([canary, Tally::new(above(base, j, baseline)?, baseline)]);
        }
        Some([tally(self.canary, canary)?, tally(self.baseline, baseline)?])
    }
}

fn all(counts: &Counts) -> u64 {
    match counts {
        Counts::Rate { exposure_millionths, .. } => *exposure_millionths,
        other => other.requests().unwrap_or(0),
    }
}

fn tally(counts: &Counts, total: u64) -> Option<Tally> {
    match counts {
        Counts::Proportion { bad, .. } => Some(Tally::new(*bad, total)),
        Counts::Rate { events, .. } => Some(Tally::new(*events, total)),
        Counts::Latency { .. } | Counts::Value { .. } => None,
    }
}
