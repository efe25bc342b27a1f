//! A time in which nothing of a rollout was stored is told in its log: by the process that takes it over after nobody
//! has worked on it, or by the one that went on while its store took nothing.

use std::time::Duration;

use super::change::Change;
use super::event::Gap;
use super::{EventKind, Phase, Rollout};
use crate::core::time::Timestamp;
use crate::core::words::duration;

/// Shorter times are those of an ordinary restart.
const LEAST: Duration = Duration::from_secs(30);

impl Rollout {
    /// Whether nothing of it was stored from `last` until `now`, for longer than a restart takes and than three
    /// intervals of evaluation, while there was something to be done.
    pub fn was_left_alone(&self, last: Timestamp, now: Timestamp) -> bool {
        let is_at_work = self.phase != Phase::Scheduled && !self.phase.is_terminal();
        is_at_work && now.since(last) >= LEAST.max(3 * self.policy.analysis.interval)
    }
}

/// Nothing of it was stored since then.
pub(super) fn take(change: &mut Change, since: Timestamp, gap: Gap) {
    if !change.state.rollout.was_left_alone(since, change.now) {
        return;
    }
    let lasted = duration(change.now.since(since));
    let sentence = match gap {
        // A process that ends while its store takes nothing leaves the same trace as one that was not there.
        Gap::BeforeStart => format!(
            "Serin was not running for {lasted}, or its store could not be written to: nothing was recorded since \
             {since}. The evaluation continues where it stopped."
        ),
        Gap::Unstored => format!(
            "The store could not be written to for {lasted}, since {since}. Serin was running: guardrails and rollbacks \
             were in force, and nothing could advance. The evaluation continues where it stopped."
        ),
    };
    change.record(EventKind::Away, None, sentence);
}
