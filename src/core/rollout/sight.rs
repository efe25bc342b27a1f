//! Which arms could be seen at a look.

use std::time::Duration;

use super::trailing::Noise;
use crate::core::metric::{Counts, MetricObservation, NoData, Reading, TickObservation, Usage};
use crate::core::target::Target;

/// Which arms could be seen at a look.
pub(super) struct Seen {
    /// Some metric has data of some arm.
    pub any: bool,
    /// No metric has data of either arm, and none is merely waiting for its next sample.
    pub blind: bool,
    /// No metric has, or may soon have, data of the canary.
    pub canary_blind: bool,
    /// The same, and the baseline is seen.
    pub canary_missing: bool,
    /// Every metric of both arms has fresh samples, or waits for the next one.
    pub fresh: bool,
    /// Every metric of the canary has.
    pub canary_fresh: bool,
    /// Some metric has requests of the canary.
    pub canary_requests: bool,
    /// Some consumed metric says that the canary had no request.
    pub canary_zero: bool,
    /// Requests that the canary should have had by the baseline's and the weights, if it had none.
    pub expected: f64,
    /// The longest consumed window with data of the canary.
    pub canary_window: Duration,
    /// Why there is no data, of the first metric that has none.
    pub why: Option<String>,
}

impl Seen {
    /// `noise` is what the canary is asked for that no router sends.
    pub fn of(tick: &TickObservation, target: &Target, noise: Noise) -> Seen {
        let metrics = &tick.metrics;
        let any = metrics.iter().any(|m| m.canary.is_ok() || m.baseline.is_ok());
        let used = |m: &&MetricObservation| matches!(m.usage, Usage::Used | Usage::Carried | Usage::WarmUp);
        let split = target.wanted;
        let ratio = match split.compared().share() {
            share if share > 0.0 => split.canary.share() / share,
            _ => 0.0,
        };
        let own = |m: &MetricObservation| {
            let length = m.window.map(|window| window.length()).unwrap_or_default();
            requests(&m.canary).saturating_sub(noise.at_most(length))
        };
        let canary_requests = metrics.iter().any(|m| own(m) > 0);
        let canary_seen = metrics.iter().any(|m| m.canary.is_ok());
        let canary_blind = metrics.iter().all(|m| is_missing(&m.canary));
        let most = metrics.iter().filter(used).map(|m| requests(&m.baseline)).max().unwrap_or(0);
        Seen {
            any,
            blind: canary_blind && metrics.iter().all(|m| is_missing(&m.baseline)),
            canary_blind,
            canary_missing: canary_blind && metrics.iter().any(|m| !is_missing(&m.baseline)),
            fresh: metrics.iter().all(|m| !is_missing(&m.canary) && !is_missing(&m.baseline)),
            canary_fresh: metrics.iter().all(|m| !is_missing(&m.canary)),
            canary_requests,
            canary_zero: metrics.iter().any(|m| {
                let counted = m.canary.as_ref().is_ok_and(|c| c.requests().is_some());
                !m.usage.is_pending() && counted && own(m) == 0
            }),
            expected: if canary_requests || !canary_seen { 0.0 } else { most as f64 * ratio },
            canary_window: metrics
                .iter()
                .filter(|m| m.canary.is_ok() && !m.usage.is_pending())
                .filter_map(|m| m.window.map(|window| window.length()))
                .max()
                .unwrap_or_default(),
            why: metrics
                .iter()
                .find_map(|m| m.canary.as_ref().err().or(m.baseline.as_ref().err()))
                .map(ToString::to_string),
        }
    }
}

/// There is no reading, and it is not merely that the next sample is not due yet.
pub(super) fn is_missing(reading: &Reading<Counts>) -> bool {
    matches!(reading, Err(no) if *no != NoData::Waiting)
}

fn requests(reading: &Reading<Counts>) -> u64 {
    reading.as_ref().ok().and_then(Counts::requests).unwrap_or(0)
}
