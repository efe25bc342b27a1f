//! What is known of a target's metrics from before a rollout. It is taken when the rollout starts and
//! frozen for it: learning from the rollout's own canary would hide late regressions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latency::Histogram;
use crate::core::metric::{Counts, Window};
use crate::core::policy::{Direction, Metric};
use crate::core::source::MetricSource;
use crate::core::time::Timestamp;
use crate::stats::block::Bursts;
use crate::stats::dispersion::{Tally, of_pair, over_time};
use crate::stats::histogram::{Threshold, thresholds, total};

/// What a provider had recorded of the baseline: windows in order, each with the counts by instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// In order.
    pub windows: Vec<RecordedWindow>,
}

/// One window of [`Recorded`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedWindow {
    /// When.
    pub window: Window,
    /// What each instance counted in it.
    pub instances: BTreeMap<String, Counts>,
}

/// By the policy's name of the metric; a metric that is not there has the policy's dispersion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    /// By the policy's name of the metric.
    pub metrics: BTreeMap<String, MetricHistory>,
}

/// The past of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricHistory {
    /// How the dispersion was found.
    pub source: DispersionSource,
    /// The first recorded moment.
    pub from: Timestamp,
    /// The last one.
    pub until: Timestamp,
    /// φ ≥ 1: of a latency the largest over its bounds; 1 where it could not be measured, and the policy's
    /// is used.
    pub dispersion: f64,
    /// Proportions only: bad and all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<[u64; 2]>,
    /// How the bad requests of all instances together have come: of a proportion whose bad requests are counted as
    /// such, and of a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bursts: Option<Bursts>,
    /// Latency only: where the arms are compared, each with its own φ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<BoundHistory>,
}

/// A bound of a latency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundHistory {
    /// The threshold.
    pub threshold: Threshold,
    /// φ ≥ 1 of what lies above it.
    pub dispersion: f64,
}

/// Where a dispersion comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispersionSource {
    /// The policy's figure: there was no history.
    #[default]
    Policy,
    /// Some of the baseline's instances against the others.
    Instances,
    /// The baseline against itself, block by block: an upper estimate.
    OverTime,
}

impl DispersionSource {
    /// For explanations.
    pub fn words(self) -> &'static str {
        match self {
            DispersionSource::Policy => "the policy's, without history",
            DispersionSource::Instances => "measured between the baseline's instances",
            DispersionSource::OverTime => "measured over the baseline's own past",
        }
    }
}

impl MetricHistory {
    /// Measures what was recorded of a metric. `None` if that is too little, or if the metric is a gauge.
    pub fn measure(metric: &Metric, recorded: &Recorded) -> Option<MetricHistory> {
        let (first, last) = (recorded.windows.first()?, recorded.windows.last()?);
        let requests = match metric.source {
            MetricSource::Proportion { .. } => Some(sum_of(recorded)).filter(|[_, all]| *all > 0),
            _ => None,
        };
        let found = match metric.source {
            MetricSource::Proportion { .. } | MetricSource::Rate { .. } => {
                // The share is worth keeping where the dispersion cannot be told.
                let unknown = requests.map(|_| (DispersionSource::Policy, 1.0));
                let (source, mut dispersion) = dispersion(recorded, counted).or(unknown)?;
                if metric.direction == Direction::HigherIsBetter {
                    dispersion = dispersion.max(dispersion_of_the_rest(recorded));
                }
                (source, dispersion, Vec::new())
            }
            MetricSource::Latency { .. } => of_latency(metric, recorded)?,
            MetricSource::Mean { .. } | MetricSource::Saturation { .. } => return None,
        };
        let (source, dispersion, bounds) = found;
        let (from, until) = (first.window.start, last.window.end);
        let bursts = bursts(metric, recorded);
        Some(MetricHistory { source, from, until, dispersion, requests, bursts, bounds })
    }

    /// The largest share of bad requests that its past leaves open at 99% (Wilson's score interval, widened
    /// by `dispersion`). `None` for what is no proportion.
    pub fn highest_share(&self, dispersion: f64) -> Option<f64> {
        let [bad, all] = self.requests?;
        let (share, n, z) = (bad as f64 / all as f64, all as f64 / dispersion, Z_99);
        let middle = share + z * z / (2.0 * n);
        let reach = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
        Some((middle + reach) / (1.0 + z * z / n))
    }
}

/// The normal quantile of 99%.
const Z_99: f64 = 2.326_347_874_040_841;

fn sum_of(recorded: &Recorded) -> [u64; 2] {
    let all = recorded.windows.iter().flat_map(|window| window.instances.values()).filter_map(counted);
    all.fold([0, 0], |[bad, all], one| [bad.saturating_add(one.0), all.saturating_add(one.1)])
}

fn counted(counts: &Counts) -> Option<Tally> {
    match counts {
        Counts::Proportion { total, bad } => Some(((*bad).min(*total), *total)),
        Counts::Rate { events, exposure_millionths } => Some((*events, *exposure_millionths)),
        Counts::Latency { .. } | Counts::Value { .. } => None,
    }
}

/// Of what is counted, of all instances together, over time: what hits all of them alike does not cancel.
fn bursts(metric: &Metric, recorded: &Recorded) -> Option<Bursts> {
    if matches!(metric.source, MetricSource::Latency { .. }) {
        return None;
    }
    let windows = recorded.windows.iter().map(|window| {
        let all = window.instances.values().filter_map(counted);
        let sum =
            all.fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
        (sum, window.window)
    });
    let bursts = Bursts::of_recorded(windows.map(|(sum, window)| (sum, window.start.0, window.end.0)));
    (bursts.bad > 0).then_some(bursts)
}

fn dispersion_of_the_rest(recorded: &Recorded) -> f64 {
    let rest = |counts: &Counts| counted(counts).map(|(bad, all)| (all.saturating_sub(bad), all));
    dispersion(recorded, rest).map_or(1.0, |(_, dispersion)| dispersion)
}

fn of_latency(metric: &Metric, recorded: &Recorded) -> Option<(DispersionSource, f64, Vec<BoundHistory>)> {
    let mut all = Histogram::default();
    for counts in recorded.windows.iter().flat_map(|window| window.instances.values()) {
        if let Counts::Latency { le, counts, .. } = counts {
            all.add(super::latency::Buckets { le, counts });
        }
    }
    let (le, counts) = all.parts();
    if total(counts) == 0 {
        return None;
    }
    let mut source = DispersionSource::OverTime;
    let bounds: Vec<BoundHistory> = thresholds(le, counts, 1.0 + metric.tolerance)
        .into_iter()
        .map(|threshold| {
            let above = |counts: &Counts| match counts {
                Counts::Latency { le, counts, .. } => {
                    let buckets = super::latency::Buckets { le, counts };
                    Some((buckets.above(threshold.bound)?, buckets.total()))
                }
                _ => None,
            };
            // Too rare to tell: bursts of what hardly happens do not show, and are left to the gate.
            let (how, dispersion) = dispersion(recorded, above).unwrap_or((source, 1.0));
            source = how;
            BoundHistory { threshold, dispersion }
        })
        .collect();
    let largest = bounds.iter().map(|bound| bound.dispersion).reduce(f64::max)?;
    Some((source, largest, bounds))
}

/// Between instances where there are two or more, else over time.
fn dispersion(
    recorded: &Recorded,
    tally: impl Fn(&Counts) -> Option<Tally>,
) -> Option<(DispersionSource, f64)> {
    let sum = |window: &RecordedWindow, wanted: &dyn Fn(&str) -> bool| {
        let tallies = window.instances.iter().filter(|(name, _)| wanted(name));
        tallies
            .filter_map(|(_, counts)| tally(counts))
            .fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)))
    };
    let names: std::collections::BTreeSet<&str> =
        recorded.windows.iter().flat_map(|window| window.instances.keys()).map(String::as_str).collect();
    let chosen: std::collections::BTreeSet<&str> = names.iter().step_by(2).copied().collect();
    if names.len() >= 2 {
        let windows: Vec<(Tally, Tally)> = recorded
            .windows
            .iter()
            .map(|window| {
                (sum(window, &|name| chosen.contains(name)), sum(window, &|name| !chosen.contains(name)))
            })
            .collect();
        if let Some(dispersion) = of_pair(&windows) {
            return Some((DispersionSource::Instances, dispersion));
        }
    }
    let windows: Vec<Tally> = recorded.windows.iter().map(|window| sum(window, &|_| true)).collect();
    over_time(&windows).map(|dispersion| (DispersionSource::OverTime, dispersion))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::tests_support::{errors, latency};

    fn recorded(counts: impl Fn(i64, &str) -> Counts) -> Recorded {
        let windows = (0..720).map(|i| RecordedWindow {
            window: Window { start: Timestamp(i * 10_000), end: Timestamp((i + 1) * 10_000) },
            instances: ["a", "b", "c"].iter().map(|name| ((*name).to_owned(), counts(i, name))).collect(),
        });
        Recorded { windows: windows.collect() }
    }

    #[test]
    fn a_burst_in_one_instance_is_dispersion_and_a_shock_in_all_is_not() {
        let burst = recorded(|i, name| {
            let hit = match name {
                "a" => i % 37 == 0,
                "b" => i % 41 == 0,
                _ => i % 43 == 0,
            };
            Counts::Proportion { total: 1000, bad: if hit { 30 } else { 0 } }
        });
        let found = MetricHistory::measure(&errors(), &burst).unwrap();
        assert_eq!(found.source, DispersionSource::Instances);
        assert!(found.dispersion > 15.0, "{found:?}");
        let shock =
            recorded(|i, _| Counts::Proportion { total: 1000, bad: if i % 40 == 0 { 30 } else { 3 } });
        let found = MetricHistory::measure(&errors(), &shock).unwrap();
        assert_eq!(found.dispersion, 1.0, "a shared shock cancels between the instances");
    }

    #[test]
    fn a_latency_has_its_bounds_each_with_its_own_dispersion() {
        let history = recorded(|i, name| Counts::Latency {
            le: vec![0.1, 0.2, 0.4],
            counts: vec![900, 80, 15, if name == "a" && i % 30 == 0 { 60 } else { 5 }],
            sum: None,
        });
        let found = MetricHistory::measure(&latency(), &history).unwrap();
        let of = |bound: f64| found.bounds.iter().find(|b| b.threshold.bound == bound).unwrap().dispersion;
        assert!(of(0.4) > 2.0 && of(0.1) < of(0.4), "{found:?}");
        assert_eq!(found.dispersion, of(0.4));
    }

    #[test]
    fn one_instance_is_measured_over_time_and_nothing_says_nothing() {
        let mut alone =
            recorded(|i, _| Counts::Proportion { total: 1000, bad: if i % 8 < 4 { 0 } else { 12 } });
        for window in &mut alone.windows {
            window.instances.retain(|name, _| name == "a");
        }
        let found = MetricHistory::measure(&errors(), &alone).unwrap();
        assert_eq!(found.source, DispersionSource::OverTime);
        assert!(found.dispersion > 5.0, "{found:?}");
        assert_eq!(MetricHistory::measure(&errors(), &Recorded::default()), None);
        let none = recorded(|_, _| Counts::Proportion { total: 1000, bad: 0 });
        let found = MetricHistory::measure(&errors(), &none).unwrap();
        assert_eq!((found.source, found.requests), (DispersionSource::Policy, Some([0, 2_160_000])));
        assert!(found.highest_share(3.0).is_some_and(|share| share > 0.0 && share < 0.000_01), "{found:?}");
    }
}
