//! Hooks that have failed: whoever owns the target is told, and pages.

use super::change::Change;
use super::{Illegal, Phase};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;

/// Opens the target's incident, or adds to the one that is open, also for a rollout that has ended: a hook acts
/// after what it is about. It holds nothing.
pub(super) fn failed(change: &mut Change, sentence: &str) -> Result<(), Illegal> {
    let phase = &change.state.rollout.phase;
    if *phase == Phase::Scheduled {
        return Err(Illegal::Phase { phase: phase.name(), event: "hook_failed" });
    }
    change.page(NoticeKind::Alert, Severity::Critical, sentence.to_owned(), IncidentCause::Hook);
    Ok(())
}
