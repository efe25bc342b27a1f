//! A process that takes a rollout over after nobody has worked on it for a while says so in its log.

use std::time::Duration;

use super::change::Change;
use super::{EventKind, Phase, Rollout};
use crate::core::time::Timestamp;
use crate::core::words::duration;

/// Shorter times are those of an ordinary restart.
const LEAST: Duration = Duration::from_secs(30);

impl Rollout {
    /// Whether nobody has worked on it from `last` until `now`, for longer than a restart takes and than three
    /// intervals of evaluation, while there was something to be done.
    pub fn was_left_alone(&self, last: Timestamp, now: Timestamp) -> bool {
        let is_at_work = self.phase != Phase::Scheduled && !self.phase.is_terminal();
        is_at_work && now.since(last) >= LEAST.max(3 * self.policy.analysis.interval)
    }
}

/// Nobody has worked on it since then.
pub(super) fn take(change: &mut Change, since: Timestamp) {
    if change.state.rollout.was_left_alone(since, change.now) {
        let sentence = format!(
            "Serin was not running for {}: nothing was evaluated and nothing was changed since {since}. The evaluation \
             continues where it stopped.",
            duration(change.now.since(since))
        );
        change.record(EventKind::Away, None, sentence);
    }
}
