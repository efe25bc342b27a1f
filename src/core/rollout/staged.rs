//! A rollback in stages: where servers of stable are missing and the policy asks for it (`small_pool: staged`), an
//! automatic rollback lowers the canary at once as far as those that are up can carry, and the rest as they come up.
//!
//! What a server can carry is the most that each carried in the last 24 hours. Where that, or the requests that come
//! now, are not known, it goes whole. So it does after [`LONGEST`], and by a person's word at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::{EventKind, Phase, State};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::policy::SmallPool;
use crate::core::split::{Split, Weight};
use crate::core::time::Timestamp;
use crate::core::words::{duration, significant};

/// A bad version is not kept for longer because of missing servers.
pub(super) const LONGEST: Duration = Duration::from_secs(900);

/// A rollback that goes in stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// When it began.
    pub since: Timestamp,
    /// What the canary was lowered to last.
    pub weight: Weight,
}

/// What the servers that are up can take.
struct Room {
    /// What must stay with the canary.
    weight: Weight,
    sentence: String,
}

impl Room {
    /// `None` where all of it can go, or where it is not known how much can.
    fn of(state: &State, now: Timestamp) -> Option<Room> {
        let (rollout, target) = (&state.rollout, &state.target);
        // The instances that answer for the metrics are not looked at on the way back.
        let counts = rollout.stable.counts().filter(|_| !rollout.stable.by_metrics);
        let (up, of) = counts.filter(|(up, of)| up < of)?;
        let each = target.carried.most(now)? as f64;
        let all = rollout.stable.demand.filter(|all| *all > 0)? as f64;
        let share = (each * f64::from(up) / all).min(1.0);
        let kept = ((1.0 - share) * f64::from(Weight::FULL.0)).ceil() as u16;
        let weight = Weight(kept.min(target.wanted.canary.0));
        let sentence = format!(
            "stable has {up} of {of} servers up, which can carry {} of {} requests/s by what each carried at most in \
             the last 24 hours",
            significant(each * f64::from(up) / 60.0),
            significant(all / 60.0)
        );
        (weight > Weight::ZERO).then_some(Room { weight, sentence })
    }
}

/// Begins a rollback: what the canary keeps for now, and why; `None` if it goes whole.
pub(super) fn begin(change: &mut Change, is_person: bool) -> Option<(Weight, String)> {
    let staged = change.state.rollout.policy.small_pool == SmallPool::Staged;
    let room = Room::of(&change.state, change.now).filter(|_| staged && !is_person)?;
    change.state.rollout.stable.staged = Some(Staged { since: change.now, weight: room.weight });
    change.state.target.want(Split::canary(room.weight, change.state.target.has_baseline));
    Some((room.weight, room.sentence))
}

/// Lowers it further, as servers of stable come up.
pub(super) fn go_on(change: &mut Change) {
    let Some(staged) = change.state.rollout.stable.staged else { return };
    if !matches!(change.state.rollout.phase, Phase::RollingBack { .. }) {
        change.state.rollout.stable.staged = None;
        return;
    }
    let lasted = change.now.since(staged.since);
    let room = Room::of(&change.state, change.now);
    match room.filter(|_| lasted < LONGEST) {
        Some(room) if room.weight < change.state.target.wanted.canary => {
            let sentence = format!("The canary goes to {}: {}.", room.weight, room.sentence);
            change.state.rollout.stable.staged = Some(Staged { weight: room.weight, ..staged });
            change.state.target.want(Split::canary(room.weight, change.state.target.has_baseline));
            change.record(EventKind::RollbackStarted, None, sentence);
        }
        Some(_) => {}
        None if lasted >= LONGEST => {
            let sentence = format!(
                "The canary goes to 0%: its rollback has waited for servers of stable for {}. {}",
                duration(lasted),
                change.state.rollout.stable.told().unwrap_or_default()
            );
            whole(change, None, &sentence);
            change.page(NoticeKind::Alert, Severity::Critical, sentence, IncidentCause::Rollback);
        }
        None => whole(change, None, "The canary goes to 0%: enough servers of stable are up."),
    }
}

/// All of it goes at once.
pub(super) fn whole(change: &mut Change, by: Option<&str>, sentence: &str) {
    if change.state.rollout.stable.staged.take().is_some() {
        change.state.target.want(Split::STABLE);
        change.state.rollout.timers.unseen = Duration::ZERO;
        change.record(EventKind::RollbackStarted, by, sentence.to_owned());
    }
}
