//! The servers that a rollback would go to: how many are up, and what follows where too few are.
//!
//! The router says how many are up. Where it does not, only their absence shows: the series of stable are
//! gone while those of the canary are there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::staged::Staged;
use super::{Ending, EventKind, Hold, Rollout, State};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::reason::Reason;
use crate::core::split::Weight;
use crate::core::words::duration;

/// What is known of the servers of stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StablePool {
    /// By the router's last word, or else by the instances that answer for the metrics; `None` if neither says anything.
    pub now: Option<Servers>,
    /// Those that were up when the step began; `None` if that was not known.
    pub at_step: Option<u32>,
    /// For how long its series have been absent while the canary's are there.
    pub absent: Duration,
    /// A rollback that waits for a server that it could go to.
    pub waiting: Option<Waiting>,
    /// The requests of both arms, in a minute, by the router or the last look at the metrics.
    pub demand: Option<u64>,
    /// A rollback that goes in stages.
    pub staged: Option<Staged>,
    /// What `now` is known by: the router, or the instances that answer where it says nothing.
    pub by_metrics: bool,
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
    /// Takes in how many there are.
    pub(super) fn know(&mut self, now: Option<Servers>, by_metrics: bool) {
        (self.now, self.by_metrics) = (now, by_metrics);
        if let (None, Some(now)) = (self.at_step, now) {
            // Nothing was said when the step began.
            self.at_step = Some(now.up);
        }
    }

    /// A step begins. The same step again is held against what was up when it began first.
    pub(super) fn begin_step(&mut self, is_again: bool) {
        let up = self.now.map(|servers| servers.up);
        self.at_step = if is_again { self.at_step.max(up) } else { up };
    }

    /// Those that are up, and of how many: of those that were when the step began, or else of all.
    pub(super) fn counts(&self) -> Option<(u32, u32)> {
        let now = self.now?;
        Some((now.up, self.at_step.unwrap_or(now.all).max(now.up)))
    }

    /// `Stable has 2 of 40 servers up.`
    pub(super) fn told(&self) -> Option<String> {
        let now = self.now?;
        Some(format!("Stable has {} of {} servers up.", now.up, now.all))
    }
}

/// Why there may be nothing to roll back to; `None` if nothing says so.
pub(super) fn gone(state: &State) -> Option<String> {
    let Rollout { stable, plan, .. } = &state.rollout;
    let policy = &plan.policy;
    if state.target.wanted.canary == Weight::ZERO {
        return None;
    }
    match (stable.now.filter(|_| !stable.by_metrics), stable.counts()) {
        (Some(Servers { up: 0, .. }), Some((_, of))) => Some(format!("stable has 0 of {of} servers up")),
        (Some(_), _) => None,
        _ if stable.absent > Duration::ZERO && stable.absent >= policy.analysis.blind.after => Some(format!(
            "the series of stable have been absent for {} while the canary's are there",
            duration(stable.absent)
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
