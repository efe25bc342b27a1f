//! Watches the servers of stable: a rollback needs somewhere to go.

use std::time::Duration;

use super::change::Change;
use super::stable::{self, Servers, Waiting};
use super::{EventKind, Hold, Phase};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::metric::{NoData, TickObservation};
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::pools::ObservedSplit;
use crate::core::split::Role;

const ENOUGH: &str = "enough servers of stable are up again.";

/// Takes in what the router knows of the servers.
pub(super) fn observed(change: &mut Change, observed: &ObservedSplit) {
    let pool = observed.pools.get(&Role::Stable);
    let stable = &mut change.state.rollout.stable;
    stable.now = pool.map(|pool| Servers { all: pool.servers, up: pool.up });
    if let (None, Some(now)) = (stable.at_step, stable.now) {
        // The router did not say when the step began.
        stable.at_step = Some(now.up);
    }
    watch(change);
}

/// Counts the time in which only stable is absent, by a look at the metrics. True if it rolls back by that: a
/// rollback waited for stable.
pub(super) fn ticked(change: &mut Change, tick: &TickObservation, elapsed: Duration) -> bool {
    // What is compared with may be a copy of stable, which says nothing of stable itself.
    if change.state.target.has_baseline {
        return false;
    }
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
