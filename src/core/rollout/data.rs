//! What is done about missing data: holds that name the metric, the arm and the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::{Change, time};
use super::restarts::RestartState;
use super::share::ShareState;
use super::sight::{Seen, is_missing};
use super::{Ending, EventKind, Hold, Phase, PhaseName, Rollout};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::metric::{ArmNotes, BadSeries, Counts, Notes, Reading, TickObservation};
use crate::core::notice::NoticeKind;
use crate::core::policy::LimitOutcome;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::source::MetricSource;
use crate::core::words::significant;

/// A canary that should have had so many requests and had none is silent, whatever its metrics say.
const MISSING_REQUESTS: f64 = 50.0;
/// Silence and blindness last at least so many sample spacings.
const SPACINGS: u32 = 3;
/// A spacing that is longer than this is not believed: it is an outage, not a scrape interval.
const LONGEST_SPACING: Duration = Duration::from_secs(600);
/// A request that takes longer than this gives a canary no more patience.
const LONGEST_REQUEST: Duration = Duration::from_secs(1800);
/// So many percent of the canary's listed instances must be ready before its weight rises.
const READY_PERCENT: u64 = 80;
/// A service with more requests a second than this in its last step must have some at 100%.
const BUSY: f64 = 1.0;

/// An arm's name, and what was noticed of it.
type Arm = (&'static str, fn(&Notes) -> &ArmNotes);
const ARMS: [Arm; 2] = [("canary", |one| &one.canary), ("baseline", |one| &one.baseline)];

/// What is known of the data that a rollout is judged on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataState {
    /// The time between two samples of the canary, as learned from their own times.
    pub canary_spacing: Option<Duration>,
    /// The same of the baseline.
    pub baseline_spacing: Option<Duration>,
    /// The canary has requests under way, by the policy's query.
    pub has_active: bool,
    /// The longest request that was seen, by the highest bucket that had any.
    pub longest_request: Duration,
    /// Requests a second of both arms in the last step that was compared.
    pub per_second: Option<f64>,
    /// By metric: what is missing of it.
    pub missing: BTreeMap<String, Missing>,
    /// Metrics whose selectors of bad requests have matched a series in this rollout.
    pub bad_seen: BTreeSet<String>,
    /// Metrics whose selectors match no bad requests of the baseline now.
    pub bad_absent: BTreeSet<String>,
    /// What was told once: by metric and arm.
    pub told: BTreeSet<String>,
    /// By arm: for how long half of its metrics pages or more could not be read.
    pub unread: BTreeMap<String, Duration>,
    /// For how long fewer of the canary's listed instances were ready than a raise needs.
    pub unready: Duration,
    /// Of how many listed instances of the canary how many are ready.
    pub ready: Option<[u32; 2]>,
    /// The canary's share of the requests.
    pub share: ShareState,
    /// Restarts of the arms' processes.
    pub restarts: RestartState,
}

/// For how long a metric has had no reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Missing {
    /// Of the canary.
    pub canary: Duration,
    /// Of the baseline.
    pub baseline: Duration,
    /// Nothing was compared for so long, whatever the arms show one by one.
    pub unconsumed: Duration,
}

impl Rollout {
    /// The longer of the arms' learned sample spacings; zero where none is known.
    pub fn spacing(&self) -> Duration {
        self.data.canary_spacing.max(self.data.baseline_spacing).unwrap_or_default()
    }

    /// How long the canary may be silent: the policy's time, three sample spacings, and one long request.
    pub fn silent_after(&self) -> Duration {
        let patience = self.policy.analysis.silent.after.max(self.data.longest_request);
        let spacing = self.data.canary_spacing.or(self.data.baseline_spacing).unwrap_or_default();
        patience.max(spacing * SPACINGS)
    }

    /// How long nothing may be seen: the policy's time and three sample spacings.
    pub fn blind_after(&self) -> Duration {
        self.policy.analysis.blind.after.max(self.spacing() * SPACINGS)
    }

    /// A reading that is missing for so long is told.
    fn missing_after(&self) -> Duration {
        let soon = (self.policy.analysis.interval * 3).max(self.spacing() * SPACINGS);
        soon.min(self.blind_after())
    }
}

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
    note_ready(change, notes, elapsed);
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

/// No weight rises while fewer than 80% of the listed instances of the canary are ready.
fn note_ready(change: &mut Change, notes: &BTreeMap<String, Notes>, elapsed: Duration) {
    let unread = notes.values().filter_map(|one| one.canary.unread.as_ref());
    let worst = unread.max_by_key(|unread| unread.pages);
    let data = &mut change.state.rollout.data;
    data.ready = worst.map(|unread| [unread.of.saturating_sub(unread.pages), unread.of]);
    let few = data.ready.is_some_and(|[ready, of]| u64::from(ready) * 100 < u64::from(of) * READY_PERCENT);
    data.unready = if few { data.unready + elapsed } else { Duration::ZERO };
}

/// A selector of bad requests that has never matched anything, in either arm or in the recorded past: either
/// there were none, or it is wrong, and only a person knows.
pub(super) fn never_matched(rollout: &Rollout) -> Option<String> {
    let known = |name: &str| {
        let past = rollout.history.as_ref().and_then(|history| history.metrics.get(name));
        past.and_then(|past| past.requests).is_some_and(|[bad, _]| bad > 0)
    };
    let metric = rollout.policy.metrics.iter().find(|metric| {
        let name = metric.name.as_str();
        let absent = rollout.data.bad_absent.contains(name) && !rollout.data.bad_seen.contains(name);
        absent && !metric.absent_is_zero && !known(name)
    })?;
    let MetricSource::Proportion { bad, .. } = &metric.source else { return None };
    let selectors: Vec<String> = bad.iter().map(ToString::to_string).collect();
    Some(format!(
        "metric {}: no series matches the selector of its bad requests ({}), in either arm or in the recorded \
         past. If there have been none so far, say `absent: zero` in the policy's metric; else correct the selector.",
        metric.name,
        selectors.join(", ")
    ))
}

fn bad_means(rollout: &Rollout, metric: &str) -> String {
    let means = rollout.policy.metric(metric).map(|metric| metric.bad_means.trim().to_owned());
    match means {
        Some(means) if !means.is_empty() => format!("bad requests ({means})"),
        _ => "bad requests".to_owned(),
    }
}

/// The canary's own data is missing, or it has no requests where it should have many.
pub(super) fn silent(rollout: &Rollout) -> Option<Reason> {
    let limit = rollout.policy.analysis.silent;
    let timers = &rollout.timers;
    let proven = timers.missing_requests == 0.0 || timers.missing_requests >= MISSING_REQUESTS;
    if timers.silent < rollout.silent_after() || !proven || limit.then == LimitOutcome::Hold {
        return None;
    }
    let sentence = if timers.missing_requests > 0.0 {
        format!(
            "the canary has shown no request for {} though about {:.0} were sent to it.",
            time(timers.silent),
            timers.missing_requests
        )
    } else {
        format!(
            "the canary's own metrics have been missing for {} while the baseline's are seen.",
            time(timers.silent)
        )
    };
    Some(Reason::new(ReasonCode::Silent, sentence))
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
        let sentence = format!("the canary has been silent for {}: {why}.", time(timers.silent));
        change.hold(Hold::Blind, None, Severity::High, sentence);
    }
    if timers.blind >= change.state.rollout.missing_after() && timers.blind > Duration::ZERO {
        let sentence = format!("there is no data of either arm for {}: {why}.", time(timers.blind));
        change.hold(Hold::Blind, None, Severity::Medium, sentence);
    }
    if let Some(sentence) = incomplete {
        change.hold(Hold::Blind, None, Severity::Medium, sentence);
    }
    let passed = timers.blind >= blind_after;
    let newly = passed && timers.blind.saturating_sub(elapsed) < blind_after;
    match analysis.blind.then {
        LimitOutcome::RollBack if passed => {
            let sentence = format!("there was no data of either arm for {}: {why}.", time(timers.blind));
            change.roll_back(Reason::new(ReasonCode::Blind, sentence), Ending::RolledBack, None);
        }
        LimitOutcome::Hold if newly => {
            let sentence = format!("Still no data of either arm after {}: {why}; held.", time(timers.blind));
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
    if rollout.data.unready > Duration::ZERO {
        return true;
    }
    rollout.data.missing.values().any(|missing| {
        missing.canary > Duration::ZERO || missing.baseline > Duration::ZERO || missing.unconsumed >= limit
    })
}

/// One metric, or one arm of one metric, has been missing for too long, or nothing was compared. What is
/// missing as a whole (both arms, or all of the canary) has rules of its own.
fn incomplete(rollout: &Rollout, tick: &TickObservation, seen: &Seen) -> Option<String> {
    let limit = rollout.missing_after();
    if let Some([ready, of]) = rollout.data.ready.filter(|_| rollout.data.unready >= limit) {
        let missing = of - ready;
        return Some(format!("{ready} of {of} canary instances are ready: {missing} do not start."));
    }
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
                let (name, lasted) = (&metric.metric, time(missing));
                return Some(format!("metric {name} of the {arm} has had no reading for {lasted}: {why}."));
            }
        }
        if missing.unconsumed >= rollout.blind_after() && !seen.blind && !seen.canary_blind {
            let (name, lasted) = (&metric.metric, time(missing.unconsumed));
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
            time(lasted),
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

/// Before a step is left: how much traffic both arms had in it.
pub(super) fn keep_traffic(rollout: &mut Rollout) {
    let seconds = rollout.timers.analysed.as_secs_f64();
    let requests = rollout.last.as_ref().map_or([0, 0], |last| last.requests());
    let all = requests[0].saturating_add(requests[1]);
    if seconds > 0.0 && all > 0 {
        rollout.data.per_second = Some(all as f64 / seconds);
    }
}
