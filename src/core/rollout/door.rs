//! The door to a higher exposure. Whatever gives the canary more traffic, or ends the bake, needs a [`Passage`],
//! and a passage is made for it alone, after freezes, holds, gates and windows were asked.

pub(super) mod passage;
pub(super) mod ready;

use self::passage::Passage;
use super::change::Change;
use super::{Command, EventKind, Hold, Illegal, Rollout, gates, obstacles, standing};
use crate::core::gate::Occasion;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::target::Proxies;

/// What stands before a step.
fn before(step: usize) -> Occasion {
    if step == 0 { Occasion::Start } else { Occasion::Step(step) }
}

/// Asks everything that stands before it. Gates and windows are asked once nothing else holds; where they do
/// not say yes, the rollout is held by them.
pub(super) fn ask(change: &mut Change, to: Occasion) -> Option<Passage> {
    ready::watch(change);
    if !is_free(change) {
        return None;
    }
    (gates::open(change, to) && may_go(change)).then(|| Passage::new(to))
}

/// The same for a person, who waits for no proof: their command drops the holds that are there (those whose
/// cause lasts come again), but no freeze and no gate. `None`: it goes on when the gates have said yes.
///
/// # Errors
/// [`Illegal::Refused`] with everything that stands against it, where the command does not override it.
pub(super) fn overridden(
    change: &mut Change,
    to: Occasion,
    command: &Command,
) -> Result<Option<Passage>, Illegal> {
    obstacles::check(&change.state.rollout, command, to)?;
    let readiness = &mut change.state.rollout.data.readiness;
    readiness.overridden = readiness.short().is_some();
    drop_holds(change, command);
    Ok(ask(change, to))
}

/// Asks on for a step that is prepared: it is entered when the workload is ready, if its gates still say yes.
/// Whoever wants to go on further meanwhile waits for what stands before that.
pub(super) fn prepared(change: &mut Change, step: usize) -> Option<Passage> {
    let wish = change.state.rollout.gates.insisted.clone().filter(|wish| wish.step > step);
    let Some(wish) = wish else { return ask(change, before(step)) };
    if let Some(passage) = ask(change, Occasion::Step(wish.step)) {
        change.advance_to(passage, &wish.why, Some(&wish.by));
    }
    None
}

/// A step's weight once more, after somebody lowered it: a person wants it. Its own gates had said yes.
///
/// # Errors
/// [`Illegal::Refused`] under a freeze, while a gate that is asked all along does not say yes, and while too few of
/// the canary's instances are ready.
pub(super) fn again(rollout: &Rollout, step: usize) -> Result<Passage, Illegal> {
    obstacles::not_frozen(rollout)?;
    let shut = standing::shut(rollout);
    if !shut.is_empty() {
        let names = shut.join(", ");
        return Err(Illegal::Refused(format!("the weight cannot rise again: gate {names} does not say yes")));
    }
    if let Some(short) = rollout.data.readiness.short() {
        return Err(Illegal::Refused(format!("the weight cannot rise again: {short}")));
    }
    Ok(Passage::new(before(step)))
}

/// The bake ends because a newer release takes the target: what has all traffic has succeeded, and nothing
/// rises.
pub(super) fn cut_short() -> Passage {
    Passage::new(Occasion::Finish)
}

/// Drops what a person's command outweighs, each with its line in the log; whoever had paused it is told.
fn drop_holds(change: &mut Change, command: &Command) {
    let by = command.by.as_str();
    let why = command.reason.as_deref().unwrap_or("no reason was given");
    let pauses: Vec<_> = change.state.rollout.held_by(Hold::User).cloned().collect();
    let holds: Vec<Hold> = change.state.rollout.holds.iter().copied().collect();
    // Gates and windows are not a person's to drop: they are asked.
    for hold in holds.into_iter().filter(|hold| !matches!(hold, Hold::Freeze | Hold::Gate | Hold::Window)) {
        change.unhold_by(hold, Some(by), &format!("Requested by {by}: {why}"));
    }
    let others: Vec<&str> =
        pauses.iter().filter_map(|pause| pause.by.as_deref()).filter(|person| *person != by).collect();
    if others.is_empty() {
        return;
    }
    let names = others.join(", ");
    let sentence = format!("{names}: your pause was overridden. {by} uses `{}`: {why}", command.kind.name());
    change.record(EventKind::Alert, Some(by), sentence.clone());
    change.notify(NoticeKind::Alert, Severity::High, sentence);
}

/// Whether nothing but gates and windows holds it: they are asked once everything else is ready.
pub(super) fn is_free(change: &Change) -> bool {
    change.state.rollout.holds.iter().all(|hold| matches!(hold, Hold::Gate | Hold::Window))
}

/// Whether nothing holds it.
fn may_go(change: &Change) -> bool {
    change.state.rollout.holds.is_empty()
}

/// Whether the split that is wanted is the one that is there. Observe mode wants none.
pub(super) fn in_force(change: &Change) -> bool {
    change.state.rollout.policy.mode == Mode::Observe || change.state.target.in_force(Proxies::Reachable)
}
