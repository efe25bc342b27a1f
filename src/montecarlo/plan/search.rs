//! How large a regression must be to be found.

use super::{FACTORS, Found, MetricPlan, SEEN, Trial};
use crate::core::policy::Metric;
use crate::core::source::MetricSource;
use crate::montecarlo::traffic::Truth;

/// No regression above this is looked for.
const LARGEST: f64 = 100.0;
/// The search ends when the factor is known to this ratio; within it the share is taken to be linear.
const PRECISE: f64 = 1.1;

/// The plan of one metric.
pub(super) fn metric(trial: &Trial<'_>, metric: &Metric, error_rate: f64) -> MetricPlan {
    let latency = matches!(metric.source, MetricSource::Latency { .. });
    let truth = |factor: f64| {
        let only = Some(metric.name.clone());
        if latency {
            Truth { latency_factor: factor, only, ..Truth::default() }
        } else {
            Truth { error_ratio: factor, only, ..Truth::default() }
        }
    };
    // All requests are bad at the most.
    let largest = if latency || error_rate <= 0.0 { LARGEST } else { LARGEST.min(1.0 / error_rate) };
    let mut known = Vec::new();
    let mut found = Vec::new();
    for factor in FACTORS.into_iter().filter(|factor| *factor <= largest) {
        let results = trial.of(&truth(factor));
        known.push((factor, results.found.share));
        found.push(Found {
            factor,
            found: results.found,
            advanced: results.advanced,
            time: results.found_time,
        });
    }
    let share = |factor: f64| trial.of(&truth(factor)).found.share;
    MetricPlan {
        metric: metric.name.clone(),
        latency,
        smallest_found: smallest(share, &known, largest),
        found,
    }
}

/// The smallest factor whose share reaches [`SEEN`], by bisection of its logarithm between those that are
/// known; `None` if that of `largest` does not.
fn smallest(share: impl Fn(f64) -> f64, known: &[(f64, f64)], largest: f64) -> Option<f64> {
    let mut below = (1.0, 0.0);
    let mut above = None;
    for (factor, share) in known {
        if *share >= SEEN {
            above = Some((*factor, *share));
            break;
        }
        below = (*factor, *share);
    }
    while above.is_none() {
        if below.0 >= largest {
            return None;
        }
        let factor = (below.0 * 3.0).min(largest);
        match share(factor) {
            enough if enough >= SEEN => above = Some((factor, enough)),
            too_few => below = (factor, too_few),
        }
    }
    let mut above = above?;
    while above.0 > below.0 * PRECISE {
        let middle = libm::sqrt(above.0 * below.0);
        match share(middle) {
            enough if enough >= SEEN => above = (middle, enough),
            too_few => below = (middle, too_few),
        }
    }
    let way = if above.1 > below.1 { (SEEN - below.1) / (above.1 - below.1) } else { 1.0 };
    Some(below.0 * libm::pow(above.0 / below.0, way))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_is_where_the_share_reaches_four_fifths() {
        let share = |factor: f64| (factor - 1.0).min(1.0);
        let known = |factors: &[f64]| factors.iter().map(|f| (*f, share(*f))).collect::<Vec<_>>();
        for factors in [&[1.5, 2.0, 5.0][..], &[], &[1.1]] {
            let found = smallest(share, &known(factors), 100.0).unwrap();
            assert!((found - 1.8).abs() < 0.01, "{found}");
        }
        let late = |factor: f64| if factor > 30.0 { 1.0 } else { 0.0 };
        let found = smallest(late, &[(5.0, 0.0)], 100.0).unwrap();
        assert!((28.0..32.0).contains(&found), "{found}");
        assert_eq!(smallest(late, &[(5.0, 0.0)], 20.0), None);
        assert_eq!(smallest(|_| 0.7, &[(5.0, 0.7)], 100.0), None);
    }
}
