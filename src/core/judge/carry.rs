//! Windows in which an arm had no requests: they are not judged as they are and not thrown away, but judged
//! together with the windows that follow, once both arms have requests.

use crate::core::metric::{Counts, MetricObservation, Reading, RouteCounts, Usage, Window};

/// Whether a used window cannot be judged yet: with what was carried before it, an arm has no requests.
pub(super) fn is_open(carried: Option<&MetricObservation>, seen: &MetricObservation) -> bool {
    if seen.usage != Usage::Used {
        return false;
    }
    let requests = |reading: &Reading<Counts>| reading.as_ref().ok().and_then(Counts::requests);
    let before = carried.filter(|carried| fits(carried, seen));
    let lacks = |arm: fn(&MetricObservation) -> &Reading<Counts>| {
        let before = before.and_then(|before| requests(arm(before))).unwrap_or(0);
        Some(requests(arm(seen))? == 0 && before == 0)
    };
    match (lacks(|one| &one.canary), lacks(|one| &one.baseline)) {
        (Some(canary), Some(baseline)) => canary || baseline,
        // What counts no requests, or an arm without data, is not waited for.
        _ => false,
    }
}

/// The window with what was carried before it.
pub(super) fn joined(carried: Option<MetricObservation>, seen: &MetricObservation) -> MetricObservation {
    let Some(mut all) = carried.filter(|carried| fits(carried, seen)) else { return seen.clone() };
    all.canary = sum(&all.canary, &seen.canary);
    all.baseline = sum(&all.baseline, &seen.baseline);
    all.usage = seen.usage;
    all.window = match (all.window, seen.window) {
        (Some(first), Some(last)) => Some(Window { start: first.start.min(last.start), end: last.end }),
        (one, other) => one.or(other),
    };
    for (route, counts) in &seen.routes {
        let known = all.routes.entry(route.clone()).or_default();
        let of = |known: &Option<Counts>, more: &Option<Counts>| match (known, more) {
            (Some(known), Some(more)) => Some(known.plus(more)),
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        *known = RouteCounts {
            canary: of(&known.canary, &counts.canary),
            baseline: of(&known.baseline, &counts.baseline),
        };
    }
    all
}

/// Counts of the same form: a histogram whose bounds have changed begins anew.
fn fits(carried: &MetricObservation, seen: &MetricObservation) -> bool {
    let same = |one: &Reading<Counts>, other: &Reading<Counts>| match (one, other) {
        (Ok(Counts::Latency { le, .. }), Ok(Counts::Latency { le: other, .. })) => le == other,
        (Ok(one), Ok(other)) => std::mem::discriminant(one) == std::mem::discriminant(other),
        _ => false,
    };
    same(&carried.canary, &seen.canary) && same(&carried.baseline, &seen.baseline)
}

fn sum(one: &Reading<Counts>, other: &Reading<Counts>) -> Reading<Counts> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(one.plus(other)),
        _ => other.clone(),
    }
}
