//! What the router has from an earlier process, where that is newer than what is stored of this rollout: the store
//! comes from an older backup, or a process died before it had stored a rollback that it had applied.

use super::change::Change;
use super::{Ending, EventKind, Phase};
use crate::core::found::Found;
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::pools::ObservedSplit;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::Weight;

/// A canary that has nothing was rolled back. One with all traffic may be stable by now, and to a rollout that has not
/// given its canary anything belongs no canary with traffic: then a person decides what is right, and the rollout
/// ends. True if it has. Whatever else differs is treated like a change by hand.
pub(super) fn take(change: &mut Change, observed: &ObservedSplit) -> bool {
    let Some(unstored) = observed.unstored else { return false };
    let (rollout, target) = (&change.state.rollout, &change.state.target);
    let (found, wanted) = (unstored.split, target.wanted);
    if rollout.policy.mode != Mode::Act || rollout.phase.is_terminal() || found.canary == wanted.canary {
        return false;
    }
    let name = target.name.clone();
    if found.canary == Weight::ZERO {
        let sentence = format!(
            "the router of {name} has the canary at 0% since before this process began, and that is newer than what \
             is stored ({}).",
            wanted.canary
        );
        change.roll_back(Reason::new(ReasonCode::Router, sentence), Ending::RolledBack, None);
        return false;
    }
    let never = target.last_exposed.as_ref() != Some(&rollout.id);
    if !never && found.canary < Weight::FULL {
        return false;
    }
    let found = Found { split: found, at: change.now, decided: None };
    let sentence = found.sentence(&name);
    let reason = Reason::new(ReasonCode::Router, sentence.clone());
    change.end(Phase::Cancelled { reason, superseded_by: None });
    change.record(EventKind::Cancelled, None, sentence.clone());
    change.notify(NoticeKind::Cancelled, Severity::High, sentence.clone());
    change.page_recorded(NoticeKind::Alert, Severity::Critical, sentence, IncidentCause::Found);
    change.state.target.found = Some(found);
    true
}
