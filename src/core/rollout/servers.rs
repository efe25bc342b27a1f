//! Watches the servers of stable: a rollback needs somewhere to go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::Change;
use super::stable::{self, Servers, Waiting};
use super::{EventKind, Hold, Phase, staged};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::metric::{Counts, MetricObservation, NoData, Notes, Reading, TickObservation};
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::pools::ObservedSplit;
use crate::core::split::Role;

const ENOUGH: &str = "enough servers of stable are up again.";

/// Takes in what the router knows of the servers.
pub(super) fn observed(change: &mut Change, observed: &ObservedSplit) {
    let pool = observed.pools.get(&Role::Stable);
    let stable = &mut change.state.rollout.stable;
    if pool.is_some() || !stable.by_metrics {
        stable.know(pool.map(|pool| Servers { all: pool.servers, up: pool.up }), false);
    }
    if let Some(per_minute) = observed.front.as_ref().and_then(|front| front.per_minute(front.requests)) {
        stable.demand = Some(per_minute);
    }
    change.state.target.carry(observed, change.now);
    staged::go_on(change);
    watch(change);
}

/// Where the router says nothing of servers: the instances of stable that answer for the metrics, and the requests
/// that both arms have counted.
fn hear_metrics(change: &mut Change, tick: &TickObservation, notes: &BTreeMap<String, Notes>) {
    let listed = notes.values().filter_map(|one| one.baseline.listed.as_ref());
    let listed = listed.map(|listed| Servers { all: listed.of, up: listed.ready }).min_by_key(|said| said.up);
    let counted = notes.values().filter_map(|one| one.baseline.processes.as_ref());
    let counted = counted.map(|one| u32::try_from(one.instances.len()).unwrap_or(u32::MAX)).max();
    let shown = listed.or(counted.filter(|up| *up > 0).map(|up| Servers { all: up, up }));
    let stable = &mut change.state.rollout.stable;
    if (stable.by_metrics || stable.now.is_none()) && shown.is_some() {
        stable.know(shown, true);
    }
    let Some([canary, baseline]) = tick.metrics.iter().find_map(per_minute) else { return };
    stable.demand = Some(canary.saturating_add(baseline));
    if let Some(now) = stable.now {
        change.state.target.carried.take(change.now, baseline, now.up);
    }
}

/// Requests of canary and baseline in a minute.
fn per_minute(metric: &MetricObservation) -> Option<[u64; 2]> {
    let seconds = metric.window.filter(|_| !metric.usage.is_pending())?.length().as_secs_f64();
    let of = |reading: &Reading<Counts>| reading.as_ref().ok().and_then(Counts::requests);
    let rate = |requests: u64| (requests as f64 * 60.0 / seconds).round() as u64;
    (seconds > 0.0).then_some([rate(of(&metric.canary)?), rate(of(&metric.baseline)?)])
}

/// Counts the time in which only stable is absent, by a look at the metrics. True if it rolls back by that: a
/// rollback waited for stable.
pub(super) fn ticked(
    change: &mut Change,
    tick: &TickObservation,
    notes: &BTreeMap<String, Notes>,
    elapsed: Duration,
) -> bool {
    // What is compared with may be a copy of stable, which says nothing of stable itself.
    if change.state.target.has_baseline {
        return false;
    }
    hear_metrics(change, tick, notes);
    let absent = tick.metrics.iter().all(|metric| metric.baseline == Err(NoData::Empty));
    let seen = tick.metrics.iter().any(|metric| metric.baseline.is_ok());
    let canary = tick.metrics.iter().any(|metric| metric.canary.is_ok());
    let timer = &mut change.state.rollout.stable.absent;
    if absent && canary {
        *timer += elapsed;
    } else if seen {
        *timer = Duration::ZERO;
    }
    watch(change);
    matches!(change.state.rollout.phase, Phase::RollingBack { .. })
}

/// Holds while too few servers are up, and carries out the rollback that waited for one.
fn watch(change: &mut Change) {
    let rollout = &change.state.rollout;
    let exposed = matches!(
        rollout.phase,
        Phase::Preparing { step: 1.. } | Phase::Progressing { .. } | Phase::Finalizing | Phase::Baking
    );
    if !exposed || rollout.policy.mode == Mode::Observe {
        return;
    }
    if !rollout.holds.contains(&Hold::StableSmall) {
        // A person has dropped the hold: what waited comes again if its cause lasts.
        change.state.rollout.stable.waiting = None;
    }
    if stable::gone(&change.state).is_none()
        && let Some(Waiting { reason, ending }) = change.state.rollout.stable.waiting.take()
    {
        change.roll_back(reason, ending, None);
        return;
    }
    let Some((up, of)) = change.state.rollout.stable.counts() else { return };
    let waits = change.state.rollout.stable.waiting.is_some();
    let may_rise = matches!(change.state.rollout.phase, Phase::Preparing { .. } | Phase::Progressing { .. });
    if up.saturating_mul(2) < of {
        small(change, up, of, may_rise);
    } else if !waits {
        change.calm(IncidentCause::Stable, ENOUGH);
    }
    if !waits && (up.saturating_mul(2) >= of || !may_rise) {
        change.unhold(Hold::StableSmall, if may_rise { ENOUGH } else { "no weight is left to raise." });
    }
}

/// Told once while it lasts. At 100% nothing rises any more, so nothing is held: whoever takes the old
/// version away while the new one is watched does not keep it from succeeding.
fn small(change: &mut Change, up: u32, of: u32, may_rise: bool) {
    let why = format!("stable has {up} of {of} servers up: a rollback would overload it.");
    if may_rise {
        if change.state.rollout.holds.insert(Hold::StableSmall) {
            let least = of.div_ceil(2);
            let sentence = format!(
                "Held ({}): {why} No weight rises until at least {least} are up.",
                Hold::StableSmall.name()
            );
            change.record(EventKind::HoldAdded, None, sentence.clone());
            change.page_recorded(NoticeKind::Held, Severity::High, sentence, IncidentCause::Stable);
        }
    } else if !change.is_about(IncidentCause::Stable) {
        let mut sentence = why;
        sentence[..1].make_ascii_uppercase();
        change.page(NoticeKind::Alert, Severity::High, sentence, IncidentCause::Stable);
    }
}
