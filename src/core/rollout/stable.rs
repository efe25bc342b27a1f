//! The servers that a rollback would go to: how many are up, and what follows where too few are.
//!
//! The router says how many are up. Where it does not, only their absence shows: the series of stable are
//! gone while those of the canary are there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::{Change, time};
use super::{Ending, EventKind, Hold, Phase, Rollout, State};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::metric::{NoData, TickObservation};
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::reason::Reason;
use crate::core::split::{Role, Weight};
use crate::core::target::ObservedSplit;

const ENOUGH: &str = "enough servers of stable are up again.";

/// What is known of the servers of stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StablePool {
    /// By the router's last word; `None` if it tells nothing.
    pub now: Option<Servers>,
    /// Those that were up when the step began; `None` if that was not known.
    pub at_step: Option<u32>,
    /// For how long its series have been absent while the canary's are there.
    pub absent: Duration,
    /// A rollback that waits for a server that it could go to.
    pub waiting: Option<Waiting>,
}

/// Servers, and those that are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// All.
    pub all: u32,
    /// Those that take requests.
    pub up: u32,
}

/// A rollback that has nowhere to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Why it rolls back.
    pub reason: Reason,
    /// What it ends as.
    pub ending: Ending,
}

impl StablePool {
    /// A step begins. The same step again is held against what was up when it began first.
    pub(super) fn begin_step(&mut self, is_again: bool) {
        let up = self.now.map(|servers| servers.up);
        self.at_step = if is_again { self.at_step.max(up) } else { up };
    }

    /// Those that are up, and of how many: of those that were when the step began, or else of all.
    fn counts(&self) -> Option<(u32, u32)> {
        let now = self.now?;
        Some((now.up, self.at_step.unwrap_or(now.all).max(now.up)))
    }

    /// `Stable has 2 of 40 servers up.`
    pub(super) fn told(&self) -> Option<String> {
        let now = self.now?;
        Some(format!("Stable has {} of {} servers up.", now.up, now.all))
    }
}

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
    if gone(&change.state).is_none()
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

/// Why there may be nothing to roll back to; `None` if nothing says so.
pub(super) fn gone(state: &State) -> Option<String> {
    let Rollout { stable, plan, .. } = &state.rollout;
    let policy = &plan.policy;
    if state.target.wanted.canary == Weight::ZERO {
        return None;
    }
    match (stable.now, stable.counts()) {
        (Some(Servers { up: 0, .. }), Some((_, of))) => Some(format!("stable has 0 of {of} servers up")),
        (Some(_), _) => None,
        _ if stable.absent > Duration::ZERO && stable.absent >= policy.analysis.blind.after => Some(format!(
            "the series of stable have been absent for {} while the canary's are there",
            time(stable.absent)
        )),
        _ => None,
    }
}

/// Puts an automatic rollback off that has nowhere to go: half failing is better than all failing.
pub(super) fn wait(change: &mut Change, why: &str, reason: Reason, ending: Ending) {
    if change.state.rollout.stable.waiting.is_some() {
        return;
    }
    let sentence = format!(
        "It would be rolled back, but {why}: there may be nothing to roll back to. The canary keeps {} until a \
         server of stable is up; `rollback` by a person goes back at once. Cause: {}",
        change.state.target.wanted.canary, reason.sentence
    );
    change.state.rollout.stable.waiting = Some(Waiting { reason, ending });
    change.state.rollout.holds.insert(Hold::StableSmall);
    let sentence = format!("Held ({}): {sentence}", Hold::StableSmall.name());
    change.record(EventKind::HoldAdded, None, sentence.clone());
    change.page_recorded(NoticeKind::Held, Severity::Critical, sentence, IncidentCause::Stable);
}

/// What a person who rolls back has to know of where the traffic goes.
pub(super) fn warning(state: &State) -> Option<String> {
    if let Some(why) = gone(state) {
        return Some(format!("There may be nothing that takes its traffic: {why}."));
    }
    let (up, of) = state.rollout.stable.counts()?;
    (up.saturating_mul(2) < of)
        .then(|| format!("Stable has {up} of {of} servers up and may be overloaded by it."))
}
