//! How time is credited: to the minimum of a step, to the bake, and to the timers of missing data.
//!
//! A step's minimum counts the windows that were compared: those since the confirmed split (and the warm-up)
//! in which both arms' readings were fresh and both arms had requests, while nobody had paused the rollout. A
//! window that was carried over because an arm had no requests counts over its whole length once both have
//! some, but for no more than `blind.after`. At 100% the same holds for the canary alone. What passed while an
//! arm was not fresh, and before a pause ended, is not credited, whatever the next window covers.

use std::time::Duration;

use super::change::Change;
use super::sight::Seen;
use super::{Hold, Phase, Rollout, Timers};
use crate::core::judge::Assessment;
use crate::core::split::Weight;

impl Rollout {
    /// How long it is until the step's maximum, where its evidence will probably take longer than that.
    pub fn undecided_until(&self) -> Option<Duration> {
        let step = self.phase.step().and_then(|step| self.policy.steps.get(step))?;
        let left = step.max?.saturating_sub(self.timers.analysed);
        (self.last.as_ref()?.remaining? > left).then_some(left)
    }
}

/// Adds one look to the timers. What a window is credited with is bounded by what the monotonic clock has seen
/// since the last credit (three intervals at least), so that a wall clock that jumps cannot shorten a step.
pub(super) fn count(change: &mut Change, assessment: &Assessment, seen: &Seen, elapsed: Duration) {
    let exposed = change.state.target.wanted.canary > Weight::ZERO;
    let rollout = &mut change.state.rollout;
    let interval = rollout.policy.analysis.interval;
    let longest = rollout.policy.analysis.blind.after.max(interval);
    let is_paused = rollout.holds.contains(&Hold::User);
    let at_full = matches!(rollout.phase, Phase::Baking | Phase::Finalizing);
    let has_active = rollout.data.has_active;
    let read_until = change.now.minus(rollout.policy.analysis.lag);
    let unpaused = rollout.timers.unpaused_at.map_or(Duration::MAX, |at| read_until.since(at));
    let timers = &mut rollout.timers;
    let is_fresh = if at_full { seen.canary_fresh } else { seen.fresh };
    if is_fresh {
        timers.uncredited += elapsed;
    }
    let most = (interval * 3).max(timers.uncredited + interval);
    let shown = match rollout.phase {
        Phase::Baking => watched(timers, seen),
        Phase::Progressing { .. } => assessment.analysed,
        _ => Duration::ZERO,
    };
    timers.credited = if is_paused { Duration::ZERO } else { shown.min(most).min(longest).min(unpaused) };
    timers.analysed += timers.credited;
    if is_paused || shown > Duration::ZERO {
        timers.uncredited = Duration::ZERO;
    }
    timers.in_phase += elapsed;
    // At 100% there is no baseline whose data could tell a dead provider from a dead canary.
    let blind = if at_full { seen.canary_blind } else { seen.blind };
    timers.blind = match (blind, seen.any) {
        (true, _) => timers.blind + elapsed,
        (_, true) => Duration::ZERO,
        _ => timers.blind,
    };
    if seen.canary_requests || has_active || !exposed || at_full {
        timers.silent = Duration::ZERO;
        timers.missing_requests = 0.0;
    } else if seen.canary_missing || seen.expected > 0.0 {
        timers.silent += elapsed;
        timers.missing_requests += seen.expected;
    }
    timers.unrequested = match seen.canary_requests || has_active || !at_full {
        true => Duration::ZERO,
        false => timers.unrequested + elapsed,
    };
    if seen.canary_requests {
        timers.quiet = Duration::ZERO;
        timers.is_busy = true;
    } else if seen.canary_zero {
        timers.quiet += seen.canary_window.min((interval * 3).max(elapsed + interval));
        timers.is_busy = false;
    }
}

/// What the bake is shown: windows with requests of the canary, and those without that lie before them.
fn watched(timers: &mut Timers, seen: &Seen) -> Duration {
    let idle = timers.idle + seen.canary_window;
    timers.idle = if seen.canary_requests { Duration::ZERO } else { idle };
    if seen.canary_requests { idle } else { Duration::ZERO }
}
