//! From a trace to a chart: as many buckets as the chart has room for, counts summed in each.

use super::trace::{Point, Sums, Tally, Trace, add};
use crate::contract::{
    ArmSeries, LatencyView, MetricSeries, QuantileView, RatioSeries, SeriesRow, SeriesView, unit, wilson,
};
use crate::core::ids::RolloutId;
use crate::core::policy::{Mode, Policy};
use crate::core::split::Weight;
use crate::core::time::Timestamp;
use crate::stats::histogram;

/// What part of a rollout is asked for, and how finely.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    /// From the first tick, if it is not there.
    pub from: Option<Timestamp>,
    /// To the last tick, if it is not there.
    pub to: Option<Timestamp>,
    /// At most so many buckets.
    pub points: usize,
    /// Only this metric.
    pub metric: Option<String>,
}

/// A bucket: its end, and what is in it.
struct Bucket {
    end: Timestamp,
    point: Option<Point>,
}

/// The series of a rollout. `none` is where they are said to begin and end if there is no tick.
pub(super) fn series(
    id: &RolloutId,
    policy: &Policy,
    trace: &Trace,
    part: &Part,
    none: Timestamp,
) -> SeriesView {
    let first = trace.points.first().map_or(none, |point| point.at);
    let last = trace.points.last().map_or(none, |point| point.at);
    let (from, to) = (part.from.unwrap_or(first), part.to.unwrap_or(last));
    let begin = trace.points.partition_point(|point| point.at < from);
    let end = trace.points.partition_point(|point| point.at <= to).max(begin);
    let buckets = buckets(&trace.points[begin..end], from, to, part.points);
    let phase = |bucket: &Bucket| bucket.point.as_ref().map(|point| Planned::of(trace, policy, point));
    let asked = |name: &str| part.metric.as_ref().is_none_or(|metric| metric == name);
    SeriesView {
        rollout: id.0.clone(),
        from: from.to_string(),
        to: to.to_string(),
        times: buckets.iter().map(|bucket| bucket.end.seconds()).collect(),
        step: buckets.iter().map(|bucket| phase(bucket).and_then(|planned| planned.step)).collect(),
        wanted_percent: buckets.iter().map(|bucket| phase(bucket).map(|p| percent(p.weight))).collect(),
        seen_percent: buckets.iter().map(|b| b.point.as_ref().map(|point| percent(point.weight))).collect(),
        ln_harm_combined: buckets.iter().map(|b| b.point.as_ref().and_then(|p| number(p.ln_harm))).collect(),
        metrics: (0..policy.metrics.len())
            .filter(|index| asked(&policy.metrics[*index].name))
            .map(|index| metric(policy, index, &buckets))
            .collect(),
    }
}

/// The same as rows.
pub(super) fn rows(view: &SeriesView) -> Vec<SeriesRow> {
    let mut rows = Vec::new();
    for (index, time) in view.times.iter().enumerate() {
        let time = Timestamp((time * 1000.0).round() as i64).to_string();
        for metric in &view.metrics {
            for (arm, series) in [("canary", &metric.canary), ("baseline", &metric.baseline)] {
                let value = series.value[index];
                if value.is_none() && series.requests[index].is_none() {
                    continue;
                }
                rows.push(SeriesRow {
                    time: time.clone(),
                    metric: metric.name.clone(),
                    arm: arm.to_owned(),
                    value,
                    requests: series.requests[index],
                });
            }
        }
    }
    rows
}

/// As many buckets as there are points, if there is room for them; else `most` of equal length, so that
/// a gap is as wide as it was.
fn buckets(points: &[Point], from: Timestamp, to: Timestamp, most: usize) -> Vec<Bucket> {
    if points.len() <= most {
        let bucket = |point: &Point| Bucket { end: point.at, point: Some(point.clone()) };
        return points.iter().map(bucket).collect();
    }
    let length = i128::from(to.0) - i128::from(from.0) + 1;
    let most_wide = most as i128;
    let end = |index: i128| i128::from(from.0) + (index + 1) * length / most_wide - 1;
    let mut buckets: Vec<Bucket> =
        (0..most_wide).map(|index| Bucket { end: Timestamp(end(index) as i64), point: None }).collect();
    let mut index = 0;
    for point in points {
        while index + 1 < most && point.at > buckets[index].end {
            index += 1;
        }
        match &mut buckets[index].point {
            Some(sum) => sum.add(point),
            empty => *empty = Some(point.clone()),
        }
    }
    buckets
}

/// Where in the plan a tick was.
struct Planned {
    step: Option<usize>,
    weight: Weight,
}

impl Planned {
    fn of(trace: &Trace, policy: &Policy, point: &Point) -> Planned {
        let begun = trace.first_step.is_some_and(|at| point.at > at);
        let over = trace.back.is_some_and(|at| point.at > at);
        if !begun || over {
            return Planned { step: None, weight: Weight::ZERO };
        }
        let weight = match policy.mode {
            Mode::Act => policy.steps.get(point.step).map_or(Weight::ZERO, |step| step.weight),
            Mode::Observe => Weight::ZERO,
        };
        Planned { step: Some(point.step + 1), weight }
    }
}

fn metric(policy: &Policy, index: usize, buckets: &[Bucket]) -> MetricSeries {
    let definition = &policy.metrics[index];
    let kind = definition.source.kind();
    let sums: Vec<Option<&Sums>> =
        buckets.iter().map(|bucket| bucket.point.as_ref()?.metrics.get(index)).collect();
    let evidence = |take: &dyn Fn(&super::trace::Evidence) -> Option<f64>| -> Vec<Option<f64>> {
        sums.iter().map(|sums| sums.and_then(|sums| sums.evidence).as_ref().and_then(take)).collect()
    };
    let ratio = |end: usize| evidence(&|e| e.ratio.and_then(|ratio| number(ratio[end])));
    let bounds = buckets.iter().rev().find_map(|bucket| Some(bucket.point.as_ref()?.bounds));
    let (mut canary, mut baseline) = (ArmSeries::default(), ArmSeries::default());
    for sums in &sums {
        let seen = sums.and_then(|sums| sums.evidence);
        let bound = seen.and_then(|evidence| evidence.bound_seconds);
        let dispersion = seen.map_or(policy.analysis.dispersion, |evidence| evidence.dispersion);
        push(&mut canary, sums.and_then(|sums| sums.canary.as_ref()), bound, dispersion);
        push(&mut baseline, sums.and_then(|sums| sums.baseline.as_ref()), bound, dispersion);
    }
    MetricSeries {
        name: definition.name.clone(),
        kind: kind.to_owned(),
        unit: unit(&definition.source).to_owned(),
        canary,
        baseline,
        ratio: RatioSeries { low: ratio(0), estimate: ratio(1), high: ratio(2) },
        ln_harm: evidence(&|e| number(e.ln_harm)),
        ln_no_harm: evidence(&|e| number(e.ln_no_harm)),
        ln_bound_harm: bounds.and_then(|bounds| number(bounds.0)),
        ln_bound_no_harm: bounds.and_then(|bounds| number(bounds.1)),
        latency: latency(&sums, policy.analysis.dispersion),
    }
}

/// Adds a bucket to an arm.
fn push(arm: &mut ArmSeries, tally: Option<&Tally>, bound: Option<f64>, dispersion: f64) {
    // (requests, share or rate, how many the interval rests on, what one is worth)
    let (requests, share, rests_on, scale) = match tally {
        None => (None, None, 0, 0.0),
        Some(Tally::Proportion { total, bad }) => {
            (Some(*total), (*total > 0).then(|| *bad as f64 / *total as f64), *total, 100.0)
        }
        Some(Tally::Latency { le, counts }) => {
            let total = histogram::total(counts);
            let share = bound.filter(|_| total > 0).map(|bound| histogram::share_above(le, counts, bound));
            (Some(total), share, total, 100.0)
        }
        Some(Tally::Rate { events, exposure_millionths: exposure }) => {
            let rate = (*exposure > 0).then(|| *events as f64 / *exposure as f64);
            (None, rate, *exposure, 1e6)
        }
        Some(Tally::Value { sum, count }) => (None, Some(sum / *count as f64), 0, 1.0),
    };
    let interval = share.and_then(|share| wilson(share.clamp(0.0, 1.0), rests_on, dispersion));
    arm.requests.push(requests);
    arm.value.push(share.and_then(|share| number(share * scale)));
    arm.low.push(interval.and_then(|[low, _]| number(low * scale)));
    arm.high.push(interval.and_then(|[_, high]| number(high * scale)));
}

/// All requests of both arms, of the buckets where both have some.
fn latency(sums: &[Option<&Sums>], dispersion: f64) -> Option<LatencyView> {
    let (mut canary, mut baseline) = (None, None);
    let mut widened = dispersion;
    for sums in sums.iter().flatten() {
        if let (Some(Tally::Latency { .. }), Some(Tally::Latency { .. })) = (&sums.canary, &sums.baseline) {
            add(&mut canary, sums.canary.as_ref());
            add(&mut baseline, sums.baseline.as_ref());
            widened = sums.evidence.map_or(widened, |evidence| evidence.dispersion);
        }
    }
    let (Some(Tally::Latency { le, counts: canary }), Some(Tally::Latency { le: other, counts: baseline })) =
        (canary, baseline)
    else {
        return None;
    };
    if le != other {
        return None;
    }
    let quantiles = |counts: &[u64]| {
        [0.5, 0.9, 0.95, 0.99]
            .into_iter()
            .filter_map(|quantile| {
                let [low, seconds, high] = histogram::quantile_interval(&le, counts, quantile, widened)?;
                Some(QuantileView { quantile, seconds, low_seconds: low, high_seconds: high })
            })
            .collect()
    };
    let mut bounds: Vec<Option<f64>> = le.iter().map(|bound| number(*bound)).collect();
    bounds.push(None);
    Some(LatencyView {
        canary_quantiles: quantiles(&canary),
        baseline_quantiles: quantiles(&baseline),
        le: bounds,
        canary,
        baseline,
    })
}

fn percent(weight: Weight) -> f64 {
    weight.share() * 100.0
}

/// A finite number with six significant digits: a chart shows no more, and the answer stays small.
fn number(value: f64) -> Option<f64> {
    if value == 0.0 || !value.is_finite() {
        return value.is_finite().then_some(0.0);
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    if !(-300..300).contains(&digits) {
        return Some(value);
    }
    let factor = 10_f64.powi(digits.abs());
    Some(if digits >= 0 { (value * factor).round() / factor } else { (value / factor).round() * factor })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
