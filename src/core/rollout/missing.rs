//! What is noticed of the data at a look, and what is done where some of it is missing: holds that name the
//! metric, the arm and the reason.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::Change;
use super::sight::{Seen, is_missing};
use super::{Ending, EventKind, Hold, Phase, PhaseName, Rollout};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::metric::{ArmNotes, BadSeries, Counts, Notes, Reading, TickObservation};
use crate::core::notice::NoticeKind;
use crate::core::policy::LimitOutcome;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::words::{duration, significant};

/// A spacing that is longer than this is not believed: it is an outage, not a scrape interval.
const LONGEST_SPACING: Duration = Duration::from_secs(600);

/// A request that takes longer than this gives a canary no more patience.
const LONGEST_REQUEST: Duration = Duration::from_secs(1800);

/// A service with more requests a second than this in its last step must have some at 100%.
const BUSY: f64 = 1.0;

/// An arm's name, and what was noticed of it.
type Arm = (&'static str, fn(&Notes) -> &ArmNotes);

const ARMS: [Arm; 2] = [("canary", |one| &one.canary), ("baseline", |one| &one.baseline)];

/// Takes in what the source noticed besides the counts, and what the counts say of long requests.
pub(super) fn note(
    change: &mut Change,
    tick: &TickObservation,
    notes: &BTreeMap<String, Notes>,
    elapsed: Duration,
) {
    let data = &mut change.state.rollout.data;
    let learned = |of: fn(&Notes) -> &ArmNotes| notes.values().filter_map(|one| of(one).spacing).max();
    let believed = |learned: Duration| learned.min(LONGEST_SPACING);
    data.canary_spacing = learned(|one| &one.canary).map(believed).or(data.canary_spacing);
    data.baseline_spacing = learned(|one| &one.baseline).map(believed).or(data.baseline_spacing);
    data.has_active = notes.values().any(|one| one.canary.active.is_some_and(|active| active > 0.0));
    let longest = tick.metrics.iter().flat_map(|metric| [&metric.canary, &metric.baseline]);
    let longest = longest.filter_map(longest_request).max().unwrap_or_default();
    data.longest_request = data.longest_request.max(longest.min(LONGEST_REQUEST));
    for (metric, one) in notes {
        if [&one.canary, &one.baseline].iter().any(|arm| arm.bad == Some(BadSeries::Present)) {
            data.bad_seen.insert(metric.clone());
        }
        match one.baseline.bad {
            Some(BadSeries::Absent) => data.bad_absent.insert(metric.clone()),
            Some(BadSeries::Present) => data.bad_absent.remove(metric),
            None => false,
        };
    }
    tell_zeros(change, notes);
    tell_unread(change, notes, elapsed);
}

/// The upper end of the highest bucket that has a request; above the last bound their mean, where the sum
/// tells it, or twice the bound.
fn longest_request(reading: &Reading<Counts>) -> Option<Duration> {
    let Ok(Counts::Latency { le, counts, sum }) = reading else { return None };
    let highest = counts.iter().rposition(|count| *count > 0)?;
    let seconds = match le.get(highest) {
        Some(bound) => *bound,
        None => {
            let below: f64 = le.iter().zip(counts).map(|(bound, count)| bound * *count as f64).sum();
            let above = *counts.last()? as f64;
            let last = le.last().copied().unwrap_or_default();
            let mean = sum.map(|sum| (sum - below) / above).unwrap_or_default();
            mean.max(last * 2.0)
        }
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// A numerator without series is 0 where its selectors have matched something before; told once, while there is
/// something to decide.
fn tell_zeros(change: &mut Change, notes: &BTreeMap<String, Notes>) {
    let phase = PhaseName::from(&change.state.rollout.phase);
    if phase.is_way_back() || phase.is_terminal() {
        return;
    }
    for (metric, one) in notes {
        for (arm, of) in ARMS {
            let absent = of(one).bad == Some(BadSeries::Absent);
            if absent && change.state.rollout.data.told.insert(format!("zero {metric} {arm}")) {
                let bad = bad_means(&change.state.rollout, metric);
                let sentence = format!("Metric {metric}: the {arm} has no series of {bad} yet: read as 0.");
                change.record(EventKind::Alert, None, sentence);
            }
        }
    }
}

/// Half of an arm's metrics pages or more cannot be read: what is counted may not stand for the arm.
fn tell_unread(change: &mut Change, notes: &BTreeMap<String, Notes>, elapsed: Duration) {
    for (arm, of) in ARMS {
        let unread = notes.values().filter_map(|one| of(one).unread.as_ref());
        let most = unread.max_by_key(|unread| unread.pages).filter(|unread| unread.pages * 2 >= unread.of);
        let limit = change.state.rollout.missing_after();
        let data = &mut change.state.rollout.data;
        let Some(unread) = most else {
            data.unread.remove(arm);
            data.told.remove(&format!("unread {arm}"));
            continue;
        };
        let lasted = data.unread.entry(arm.to_owned()).or_default();
        *lasted += elapsed;
        if *lasted >= limit && data.told.insert(format!("unread {arm}")) {
            let sentence = format!(
                "{} of {} metrics pages of the {arm} cannot be read ({}); only the others are counted.",
                unread.pages, unread.of, unread.why
            );
            change.alert(NoticeKind::Alert, Severity::High, sentence);
        }
    }
}

fn bad_means(rollout: &Rollout, metric: &str) -> String {
    let means = rollout.policy.metric(metric).map(|metric| metric.bad_means.trim().to_owned());
    match means {
        Some(means) if !means.is_empty() => format!("bad requests ({means})"),
        _ => "bad requests".to_owned(),
    }
}

/// Holds for missing data, and what the policy says when it is missing for too long.
pub(super) fn watch(change: &mut Change, tick: &TickObservation, seen: &Seen, elapsed: Duration) {
    time_missing(change, tick, elapsed);
    watch_traffic(change, seen);
    let analysis = change.state.rollout.policy.analysis.clone();
    let timers = change.state.rollout.timers;
    let (blind_after, silent_after) =
        (change.state.rollout.blind_after(), change.state.rollout.silent_after());
    let why = seen.why.clone().unwrap_or_else(|| "no metric shows anything".to_owned());
    let incomplete = incomplete(&change.state.rollout, tick, seen);
    let is_seen = timers.blind == Duration::ZERO && timers.silent == Duration::ZERO && seen.any;
    if is_seen && !is_incomplete(&change.state.rollout) {
        change.unhold(Hold::Blind, "there is data again.");
        change.calm(IncidentCause::Blind, "there is data again.");
        return;
    }
    if timers.silent >= silent_after && analysis.silent.then == LimitOutcome::Hold {
        let sentence = format!("the canary has been silent for {}: {why}.", duration(timers.silent));
        change.hold(Hold::Blind, None, Severity::High, sentence);
    }
    if timers.blind >= change.state.rollout.missing_after() && timers.blind > Duration::ZERO {
        let sentence = format!("there is no data of either arm for {}: {why}.", duration(timers.blind));
        change.hold(Hold::Blind, None, Severity::Medium, sentence);
    }
    if let Some(sentence) = incomplete {
        change.hold(Hold::Blind, None, Severity::Medium, sentence);
    }
    let passed = timers.blind >= blind_after;
    let newly = passed && timers.blind.saturating_sub(elapsed) < blind_after;
    match analysis.blind.then {
        LimitOutcome::RollBack if passed => {
            let sentence = format!("there was no data of either arm for {}: {why}.", duration(timers.blind));
            change.roll_back(Reason::new(ReasonCode::Blind, sentence), Ending::RolledBack, None);
        }
        LimitOutcome::Hold if newly => {
            let sentence =
                format!("Still no data of either arm after {}: {why}; held.", duration(timers.blind));
            change.page(NoticeKind::Alert, Severity::High, sentence, IncidentCause::Blind);
        }
        _ => {}
    }
}

/// Adds to how long each metric has been missing in each arm. At 100% nothing of the baseline is needed.
fn time_missing(change: &mut Change, tick: &TickObservation, elapsed: Duration) {
    let rollout = &mut change.state.rollout;
    let compares = matches!(rollout.phase, Phase::Progressing { .. } | Phase::Preparing { step: 1.. });
    let add = |time: &mut Duration, reading: &Reading<Counts>, needed: bool| match reading {
        _ if !needed => *time = Duration::ZERO,
        Ok(_) => *time = Duration::ZERO,
        Err(_) if is_missing(reading) => *time += elapsed,
        Err(_) => {}
    };
    for metric in &tick.metrics {
        let missing = rollout.data.missing.entry(metric.metric.clone()).or_default();
        add(&mut missing.canary, &metric.canary, true);
        add(&mut missing.baseline, &metric.baseline, compares);
        match metric.usage.is_pending() && compares {
            true => missing.unconsumed += elapsed,
            false => missing.unconsumed = Duration::ZERO,
        }
    }
}

/// Whether anything is missing, however short.
fn is_incomplete(rollout: &Rollout) -> bool {
    let limit = rollout.blind_after();
    rollout.data.missing.values().any(|missing| {
        missing.canary > Duration::ZERO || missing.baseline > Duration::ZERO || missing.unconsumed >= limit
    })
}

/// One metric, or one arm of one metric, has been missing for too long, or nothing was compared. What is
/// missing as a whole (both arms, or all of the canary) has rules of its own.
fn incomplete(rollout: &Rollout, tick: &TickObservation, seen: &Seen) -> Option<String> {
    let limit = rollout.missing_after();
    for metric in &tick.metrics {
        let Some(missing) = rollout.data.missing.get(&metric.metric) else { continue };
        let arms = [
            ("canary", &metric.canary, missing.canary, seen.canary_blind),
            ("baseline", &metric.baseline, missing.baseline, seen.blind),
        ];
        for (arm, reading, missing, whole) in arms {
            if let Err(why) = reading
                && !whole
                && missing >= limit
                && missing > Duration::ZERO
            {
                let (name, lasted) = (&metric.metric, duration(missing));
                return Some(format!("metric {name} of the {arm} has had no reading for {lasted}: {why}."));
            }
        }
        if missing.unconsumed >= rollout.blind_after() && !seen.blind && !seen.canary_blind {
            let (name, lasted) = (&metric.metric, duration(missing.unconsumed));
            return Some(format!(
                "nothing of metric {name} could be compared for {lasted}: both arms never had fresh samples at \
                 the same time."
            ));
        }
    }
    None
}

/// At 100% no requests is no success: where the last step had some every second, there is something wrong.
fn watch_traffic(change: &mut Change, seen: &Seen) {
    let rollout = &change.state.rollout;
    if seen.canary_requests || !matches!(rollout.phase, Phase::Finalizing | Phase::Baking) {
        change.unhold(Hold::NoTraffic, "the canary has requests again.");
        return;
    }
    let lasted = rollout.timers.unrequested;
    let Some(before) = usual_traffic(rollout).filter(|per_second| *per_second > BUSY) else { return };
    if lasted >= rollout.blind_after() && !seen.canary_blind {
        let sentence = format!(
            "the canary has all traffic and has had no request for {}; the service had {} requests/s before.",
            duration(lasted),
            significant(before)
        );
        change.hold(Hold::NoTraffic, None, Severity::High, sentence);
    }
}

/// Requests a second in the last step, or before the rollout.
fn usual_traffic(rollout: &Rollout) -> Option<f64> {
    let past = || {
        let metrics = rollout.history.iter().flat_map(|history| history.metrics.values());
        let rates = metrics.filter_map(|past| {
            let [_, all] = past.requests?;
            Some(all as f64 / past.until.since(past.from).as_secs_f64().max(1.0))
        });
        rates.max_by(f64::total_cmp)
    };
    rollout.data.per_second.or_else(past)
}
