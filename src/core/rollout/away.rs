//! A process that takes a rollout over after nobody has worked on it for a while says so in its log.

use std::time::Duration;

use super::action::{EventKind, EventRecord};
use super::state::{Phase, Rollout};
use crate::core::time::Timestamp;
use crate::core::words::duration;

/// Shorter times are those of an ordinary restart.
const LEAST: Duration = Duration::from_secs(30);

impl Rollout {
    /// The line for the log where nobody has worked on the rollout from `last` until `now`; it is counted as the
    /// rollout's newest. `None` where that was no longer than a restart takes, or than three intervals of evaluation,
    /// and where there was nothing to be done.
    pub fn away(&mut self, last: Timestamp, now: Timestamp) -> Option<EventRecord> {
        let gap = now.since(last);
        if gap < LEAST.max(3 * self.policy.analysis.interval)
            || self.phase == Phase::Scheduled
            || self.phase.is_terminal()
        {
            return None;
        }
        self.event_seq += 1;
        Some(EventRecord {
            seq: self.event_seq,
            at: now,
            kind: EventKind::Away,
            by: None,
            sentence: format!(
                "Serin was not running for {}: nothing was evaluated and nothing was changed since {last}. The evaluation \
                 continues where it stopped.",
                duration(gap)
            ),
        })
    }
}
