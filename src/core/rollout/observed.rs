//! What the router says about the split.

use std::time::Duration;

use super::change::Change;
use super::door::ready;
use super::{Ending, EventKind, Hold, Phase, Stage, demand, servers, unstored};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::pools::ObservedSplit;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::Weight;
use crate::core::target::{Finding, Proxies};
use crate::core::words::duration;

/// A way back that is not seen after so many times `confirm_within` has failed.
const FAILED_AFTER: u32 = 20;

/// Takes in what the router says.
pub(super) fn take(change: &mut Change, split: &ObservedSplit, elapsed: Duration) {
    let now = change.now;
    let wanted = change.state.target.wanted;
    let before = change.state.target.seen;
    if unstored::take(change, split) {
        return;
    }
    let finding = change.state.target.observe(split, now);
    if change.state.target.seen != before {
        change.state.rollout.first_ends.clear();
    }
    match finding {
        Finding::AsWanted { newly } => {
            if newly {
                seen(change);
            }
        }
        Finding::Pending => {}
        Finding::Lowered { found } => {
            let sentence = format!(
                "the canary was found at {} where {} is wanted: somebody lowered it, so Serin keeps it \
                 there until a person resumes.",
                found.canary, wanted.canary
            );
            change.hold(Hold::Drift, None, Severity::High, sentence);
            if split.unstored.is_some() {
                // The router has to be given it.
                change.state.target.seen = None;
            }
        }
        Finding::Raised { found } => {
            let sentence = format!(
                "The canary was found at {} where {} is wanted; it is set right at once.",
                found.canary, wanted.canary
            );
            change.alert(NoticeKind::Alert, Severity::High, sentence);
        }
    }
    if !change.state.rollout.phase.is_terminal() {
        let generation = change.state.target.generation;
        let removed = change.state.rollout.data.share.removed(split, generation);
        let told: Vec<String> = split.explains().into_iter().chain(removed).collect();
        change.state.rollout.share_explained = (!told.is_empty()).then(|| told.join(", "));
        servers::observed(change, split);
        ready::hear_router(change, split, elapsed);
        demand::take(change, split);
        watch_unseen(change, elapsed);
        finish_way_back(change);
    }
}

fn seen(change: &mut Change) {
    let wanted = change.state.target.wanted;
    // What was quiet before may have been so under the old split.
    change.state.rollout.timers.quiet = Duration::ZERO;
    if let Phase::Progressing { stage: stage @ Stage::Settling, .. } = &mut change.state.rollout.phase {
        *stage = Stage::Analysing { since: change.now };
    }
    if change.state.rollout.policy.mode == Mode::Act {
        change.record(EventKind::SplitSeen, None, format!("The split is in force: {wanted}."));
    }
}

/// Counts the time in which the wanted split is not known to be in force, and pages when that takes too
/// long.
fn watch_unseen(change: &mut Change, elapsed: Duration) {
    let rolling_back = matches!(change.state.rollout.phase, Phase::RollingBack { .. });
    let proxies = if rolling_back { Proxies::All } else { Proxies::Reachable };
    let target = &change.state.target;
    let rises = target.wanted.canary > target.seen.map_or(Weight::ZERO, |seen| seen.split.canary);
    if rises && change.state.rollout.holds.contains(&Hold::User) {
        // Nothing is raised while it is paused: nobody is late.
        return;
    }
    if change.state.target.in_force(proxies) {
        change.state.rollout.timers.unseen = Duration::ZERO;
        change.calm(IncidentCause::Unconfirmed, "the split is confirmed.");
        return;
    }
    let cut_off: Vec<String> =
        change.state.target.unconfirmed_nodes().into_iter().map(str::to_owned).collect();
    let limit = change.state.rollout.policy.analysis.confirm_within;
    let before = change.state.rollout.timers.unseen;
    let unseen = before + elapsed;
    change.state.rollout.timers.unseen = unseen;
    if before <= limit && unseen > limit {
        let who = if cut_off.is_empty() {
            "the router".to_owned()
        } else {
            format!("{} (cut off or silent; may still follow an older split)", cut_off.join(", "))
        };
        let sentence = format!(
            "The wanted split ({}) is not confirmed after {}: waiting for {who}.",
            change.state.target.wanted,
            duration(limit)
        );
        change.record(EventKind::Unconfirmed, None, sentence.clone());
        let severity = if rolling_back { Severity::Critical } else { Severity::High };
        change.page_recorded(NoticeKind::Unconfirmed, severity, sentence, IncidentCause::Unconfirmed);
    }
    if rolling_back && unseen > limit * FAILED_AFTER {
        let sentence = format!(
            "The canary could not be confirmed at 0% within {}; Serin goes on driving it there.",
            duration(limit * FAILED_AFTER)
        );
        change.end(Phase::Failed { reason: Reason::new(ReasonCode::Router, sentence.clone()) });
        change.record(EventKind::Failed, None, sentence.clone());
        change.page_recorded(NoticeKind::Failed, Severity::Critical, sentence, IncidentCause::Failed);
    }
}

/// Ends a way back once the split is seen everywhere and the canary has been seen without requests for as
/// long as the target asks for. A canary whose metrics are gone, or that counts requests which no router
/// sent (health checks, direct calls), cannot block its target for ever: it is waited for as long as a
/// confirmation and the quiet time may take together, and the sentence says what was not seen.
pub(super) fn finish_way_back(change: &mut Change) {
    let Phase::RollingBack { reason, ending } = change.state.rollout.phase.clone() else { return };
    let target = &change.state.target;
    let timers = &change.state.rollout.timers;
    // A rollout that never gave its canary traffic has nothing to wait for.
    let never = target.last_exposed.as_ref() != Some(&change.state.rollout.id);
    if target.wanted.canary > Weight::ZERO || !target.in_force(Proxies::All) {
        return;
    }
    let quiet = timers.quiet >= change.state.rollout.quiet_needed(target);
    let longest = change.state.rollout.policy.analysis.confirm_within + target.drain;
    if !quiet && !never && timers.in_phase < longest {
        return;
    }
    let how = if never {
        "it never got traffic".to_owned()
    } else if quiet {
        format!("it was seen to get no more requests for {}", duration(timers.quiet))
    } else if timers.is_busy {
        format!(
            "after {} its own metrics still count requests, which the router does not send (kept \
             sessions, health checks or direct calls)",
            duration(timers.in_phase)
        )
    } else {
        "its own metrics are silent, so its requests could not be seen to end".to_owned()
    };
    if ending == Ending::RolledBack && !never && change.state.rollout.policy.verify.is_some() {
        return verify(change, reason, &how);
    }
    // What never got traffic, or was cancelled, says nothing of an incident that it has not opened itself.
    let is_mine = ending == Ending::RolledBack && !never;
    let (phase, kind, notice) = match ending {
        Ending::RolledBack => {
            (Phase::RolledBack { reason: reason.clone() }, EventKind::RolledBack, NoticeKind::RolledBack)
        }
        Ending::Cancelled { superseded_by } => (
            Phase::Cancelled { reason: reason.clone(), superseded_by },
            EventKind::Cancelled,
            NoticeKind::Cancelled,
        ),
    };
    change.end(phase);
    let sentence = format!("The canary is at 0% and {how}. Cause: {}", reason.sentence);
    change.record(kind, None, sentence.clone());
    let over = if is_mine { change.resolve() } else { change.resolve_own() };
    change.notify_of(notice, Severity::High, sentence, over);
}

/// The canary is at 0; the incident stays open until the service is as it was.
fn verify(change: &mut Change, reason: Reason, how: &str) {
    let cause = reason.sentence.clone();
    change.set_phase(Phase::Verifying { reason });
    let sentence =
        format!("The canary is at 0% and {how}; now the service must be as it was before. Cause: {cause}");
    change.record(EventKind::SplitSeen, None, sentence.clone());
    change.notify(NoticeKind::RolledBack, Severity::High, sentence);
}
