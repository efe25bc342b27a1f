//! Both arms of one metric: what is fresh, what is consumed, and which window it covers. Shared by all
//! providers that read counters.
//!
//! **Fresh** is an arm with a sample that is newer than its cursor and not older than `stale_after`, or than
//! one and a half times the time between two samples of the arm, which is learned from their own times.
//!
//! **Consumed** (a cursor is answered) is what both arms show when both are fresh. Otherwise nothing is
//! consumed, the fresh arm's reading shows its counts so far, and they come again in the next window.
//! One case is different: a canary that was never counted in this rollout and has nothing to count now
//! (before its first request, or before its process is there) does not hold the baseline up; then the
//! baseline alone is consumed, and the judge sees it during preflight. And at 100% and on the way back
//! (`Required::Canary`) the canary alone is enough.
//!
//! **The first look** (no cursor) sets the base of both arms and counts nothing. It needs a fresh
//! baseline. A canary without fresh series gets an empty cursor, with `until` zero as the mark of
//! "never counted", that remembers which instances were scraped (of both arms: a proxy's page serves
//! both). So what the canary shows later is exact: its series count from zero if their instance was
//! scraped before without them, or if their process began after the rollout started.
//!
//! **The window** of both arms reaches from the earlier of their cursors' ends to the earlier of their
//! newest samples. Windows of consecutive looks then meet without a gap or an overlap, whatever the
//! arms' scrape intervals are. The later arm's counts may reach beyond the window's end, never
//! before its start. For an arm that was never counted the window begins where its counting does: at
//! its instance's last scrape without it, or at the start of its process.

use super::look::Look;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::counter::{Counted, Scrapes, count, note_instances, spacing};
use crate::core::metric::{
    ArmNotes, Counts, Cursor, MetricCursor, MetricObservation, NoData, Notes, Reading, RouteCounts, Usage,
    Window,
};
use crate::core::time::Timestamp;
use crate::ports::{CountsAnswer, CountsRequest, Required};

/// So many routes are told apart.
const MOST_ROUTES: usize = 50;
/// The name of all others.
const OTHER_ROUTES: &str = "(others)";

/// What can be said of one arm.
struct Sight {
    reading: Reading<Counts>,
    /// The same route by route, where that is asked for.
    routes: BTreeMap<String, Counts>,
    /// The samples could be walked, fresh or not.
    counted: Option<Counted>,
    /// The samples are wrong, as against not being there.
    is_fault: bool,
    /// What else was noticed.
    notes: ArmNotes,
}

/// The same fault for both arms: it lies with the provider, and says nothing about either.
pub(super) fn fault(request: &CountsRequest, reason: &NoData) -> CountsAnswer {
    answered(request, None, Err(reason.clone()), Err(reason.clone()), None)
}

/// The answer from what was read of both arms. An arm's error says that nothing could be read of that
/// arm alone.
pub(super) fn answer(
    request: &CountsRequest,
    canary: &Result<Look, NoData>,
    baseline: &Result<Look, NoData>,
) -> CountsAnswer {
    if let Some(reason) = clock_fault(request) {
        return fault(request, &reason);
    }
    let mut scrapes = Scrapes::default();
    for look in [canary, baseline].into_iter().flatten() {
        scrapes.merge(&look.scrapes);
        scrapes.note_series(&look.series());
    }
    if let (Ok(canary), Ok(baseline)) = (canary, baseline)
        && let Some(series) = canary.shared(baseline)
    {
        return fault(request, &NoData::BothArms(series.to_owned()));
    }
    let cursor = request.cursor.as_ref();
    let canary = see(request, canary, cursor.map(|cursor| &cursor.canary), &scrapes);
    let baseline = see(request, baseline, cursor.map(|cursor| &cursor.baseline), &scrapes);
    if let Some(reason) = bounds_fault(&canary.reading, &baseline.reading) {
        return fault(request, &reason);
    }
    let window = window(request, &canary, &baseline);
    let mut cursor = consume(request, &canary, &baseline, &scrapes);
    if let Some(cursor) = &mut cursor {
        cursor.canary.spacing = canary.notes.spacing.or(cursor.canary.spacing);
        cursor.baseline.spacing = baseline.notes.spacing.or(cursor.baseline.spacing);
    }
    let notes = Notes { canary: canary.notes, baseline: baseline.notes };
    let routes = routes(canary.routes, baseline.routes);
    let mut answer = answered(request, window, canary.reading, baseline.reading, cursor);
    answer.observation.routes = routes;
    answer.notes = notes;
    answer
}

/// Routes beyond the largest [`MOST_ROUTES`] are one: which those are hangs on their requests alone.
fn routes(
    canary: BTreeMap<String, Counts>,
    baseline: BTreeMap<String, Counts>,
) -> BTreeMap<String, RouteCounts> {
    let mut routes: BTreeMap<String, RouteCounts> = BTreeMap::new();
    for (route, counts) in canary {
        routes.entry(route).or_default().canary = Some(counts);
    }
    for (route, counts) in baseline {
        routes.entry(route).or_default().baseline = Some(counts);
    }
    if routes.len() <= MOST_ROUTES {
        return routes;
    }
    let requests = |counts: &Option<Counts>| counts.as_ref().and_then(Counts::requests).unwrap_or(0);
    let size = |route: &RouteCounts| requests(&route.canary).saturating_add(requests(&route.baseline));
    let mut by_size: Vec<(String, RouteCounts)> = routes.into_iter().collect();
    by_size.sort_by_key(|(_, route)| std::cmp::Reverse(size(route)));
    let rest = by_size.split_off(MOST_ROUTES - 1);
    let other = rest.into_iter().fold(RouteCounts::default(), |sum, (_, route)| RouteCounts {
        canary: added(sum.canary, route.canary),
        baseline: added(sum.baseline, route.baseline),
    });
    by_size.into_iter().chain([(OTHER_ROUTES.to_owned(), other)]).collect()
}

fn added(sum: Option<Counts>, more: Option<Counts>) -> Option<Counts> {
    match (sum, more) {
        (Some(sum), Some(more)) => Some(sum.plus(&more)),
        (one, other) => one.or(other),
    }
}

fn answered(
    request: &CountsRequest,
    window: Option<Window>,
    canary: Reading<Counts>,
    baseline: Reading<Counts>,
    cursor: Option<MetricCursor>,
) -> CountsAnswer {
    let metric = request.metric.clone();
    let observation = MetricObservation {
        routes: Default::default(),
        metric,
        window,
        canary,
        baseline,
        usage: Usage::Outside,
    };
    CountsAnswer { observation, cursor, notes: Notes::default() }
}

/// With a clock behind the samples that are already counted, no sample would be fresh for as long as it
/// is behind: that must not pass for waiting.
fn clock_fault(request: &CountsRequest) -> Option<NoData> {
    let cursor = request.cursor.as_ref()?;
    let until = cursor.canary.until.max(cursor.baseline.until);
    let ahead = until.since(request.now);
    (ahead > request.stale_after).then(|| {
        NoData::Malformed(format!(
            "the newest counted sample is {} s later than Serin's clock; the clock has gone back",
            ahead.as_secs()
        ))
    })
}

fn bounds_fault(canary: &Reading<Counts>, baseline: &Reading<Counts>) -> Option<NoData> {
    match (canary, baseline) {
        (Ok(Counts::Latency { le: canary, .. }), Ok(Counts::Latency { le: baseline, .. }))
            if canary != baseline =>
        {
            Some(NoData::BoundsDiffer(format!(
                "the canary has the buckets {canary:?} and the baseline {baseline:?}, in seconds"
            )))
        }
        _ => None,
    }
}

/// Walks the samples of an arm and says whether they are fresh.
fn see(
    request: &CountsRequest,
    look: &Result<Look, NoData>,
    cursor: Option<&Cursor>,
    scrapes: &Scrapes,
) -> Sight {
    let none = BTreeMap::new;
    let without = |reason, is_fault, notes| Sight {
        reading: Err(reason),
        routes: none(),
        counted: None,
        is_fault,
        notes,
    };
    let look = match look {
        Ok(look) => look,
        Err(reason) => return without(reason.clone(), false, ArmNotes::default()),
    };
    let series = look.series();
    let learned = spacing(&series).or(cursor.and_then(|cursor| cursor.spacing));
    let mut notes = ArmNotes { spacing: learned, unread: look.unread.clone(), ..ArmNotes::default() };
    let counted = match count(&series, scrapes, cursor, request.rollout_started) {
        Ok(counted) => counted,
        Err(reason) => return without(reason, true, notes),
    };
    let until = cursor.map_or(Timestamp::default(), |cursor| cursor.until);
    let newest = counted.newest.unwrap_or(until);
    let age = request.now.since(newest);
    // Samples that come every minute are older than half a minute most of the time.
    let stale_after = learned.map_or(Duration::ZERO, |spacing| spacing * 3 / 2).max(request.stale_after);
    let missing = if newest == Timestamp::default() {
        Some(NoData::Empty)
    } else if age > stale_after {
        Some(NoData::Stale { age_seconds: age.as_secs() })
    } else if newest <= until {
        Some(NoData::Waiting)
    } else {
        None
    };
    if let Some(reason) = missing {
        return Sight { counted: Some(counted), ..without(reason, false, notes) };
    }
    notes.bad = look.bad(&request.source);
    notes.processes = cursor.map(|_| look.processes(&counted, request.now.minus(stale_after)));
    let counts = look.counts(&request.source, &counted);
    let counts = counts.and_then(|counts| plausible(counts, until, newest, stale_after));
    match counts.and_then(|counts| Ok((counts, look.routes(&request.source, &counted)?))) {
        Ok((counts, routes)) => {
            Sight { reading: Ok(counts), routes, counted: Some(counted), is_fault: false, notes }
        }
        Err(NoData::Waiting) => without(NoData::Waiting, false, notes),
        Err(reason) => without(reason, true, notes),
    }
}

/// More bad requests than requests: a page may be written while a request is between the two counters,
/// which the next window sets right. If it lasts, the selectors are wrong.
fn plausible(
    counts: Counts,
    until: Timestamp,
    newest: Timestamp,
    stale_after: Duration,
) -> Result<Counts, NoData> {
    match counts {
        Counts::Proportion { total, bad } if bad > total => {
            if until > Timestamp::default() && newest.since(until) <= stale_after {
                return Err(NoData::Waiting);
            }
            Err(NoData::Malformed(format!(
                "{bad} bad requests among {total} requests: the selectors of the bad ones match what the \
                 selectors of all requests do not"
            )))
        }
        counts => Ok(counts),
    }
}

fn window(request: &CountsRequest, canary: &Sight, baseline: &Sight) -> Option<Window> {
    let cursor = request.cursor.as_ref();
    let span = |sight: &Sight, cursor: Option<&Cursor>| {
        sight.reading.as_ref().ok()?;
        let counted = sight.counted.as_ref()?;
        let end = counted.newest?;
        let until = cursor.map_or(Timestamp::default(), |cursor| cursor.until);
        let start = if until > Timestamp::default() { until } else { counted.since.unwrap_or(end) };
        Some(Window { start: start.min(end), end })
    };
    let canary = span(canary, cursor.map(|cursor| &cursor.canary));
    let baseline = span(baseline, cursor.map(|cursor| &cursor.baseline));
    match (canary, baseline) {
        (Some(a), Some(b)) => Some(Window { start: a.start.min(b.start), end: a.end.min(b.end) }),
        (one, other) => one.or(other),
    }
}

fn consume(
    request: &CountsRequest,
    canary: &Sight,
    baseline: &Sight,
    scrapes: &Scrapes,
) -> Option<MetricCursor> {
    if request.required == Required::Canary && baseline.reading.is_err() && !baseline.is_fault {
        // At 100% and on the way back nothing is compared: the old pool may be gone.
        canary.reading.as_ref().ok()?;
        let counted = canary.counted.as_ref()?.cursor.clone();
        let baseline = request.cursor.as_ref().map(|cursor| cursor.baseline.clone());
        let baseline = remembering(baseline.unwrap_or_default(), scrapes);
        return Some(MetricCursor { canary: counted, baseline });
    }
    if baseline.reading.is_err() || canary.is_fault {
        return None;
    }
    let counted_baseline = baseline.counted.as_ref()?.cursor.clone();
    if let (Ok(_), Some(counted)) = (&canary.reading, &canary.counted) {
        return Some(MetricCursor { canary: counted.cursor.clone(), baseline: counted_baseline });
    }
    let canary = match (&request.cursor, &canary.counted) {
        // The base of series that are there and not fresh, so that they go on from it.
        (None, Some(counted)) => Cursor { until: Timestamp::default(), ..counted.cursor.clone() },
        (None, None) => remembering(Cursor::default(), scrapes),
        (Some(cursor), _) if cursor.canary.until > Timestamp::default() => return None,
        // Something was there for a moment: it must not be taken for a scrape without it.
        (Some(_), Some(counted)) if !counted.increments.is_empty() => return None,
        (Some(cursor), _) => remembering(cursor.canary.clone(), scrapes),
    };
    Some(MetricCursor { canary, baseline: counted_baseline })
}

fn remembering(mut cursor: Cursor, scrapes: &Scrapes) -> Cursor {
    note_instances(&mut cursor, scrapes);
    cursor
}
