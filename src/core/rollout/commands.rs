//! What persons, and newer rollouts, want.

use super::change::Change;
use super::{
    Command, CommandKind, CommandName, Ending, EventKind, Hold, Illegal, Phase, PhaseName, approvals, door,
    staged,
};
use crate::core::gate::{Insisted, Occasion};
use crate::core::ids::RolloutId;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::policy::Mode;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::Weight;
use crate::core::target::Proxies;

impl CommandName {
    /// Whether a rollout takes the command in that phase. What else it needs is found out when it is taken.
    pub fn is_taken_in(self, phase: PhaseName) -> bool {
        let going_up = matches!(
            phase,
            PhaseName::Preflight
                | PhaseName::Preparing
                | PhaseName::Progressing
                | PhaseName::Finalizing
                | PhaseName::Baking
        );
        match self {
            // What a release leaves behind for a person may outlast it.
            CommandName::Acknowledge => true,
            CommandName::Supersede => !phase.is_terminal(),
            // A hook acts after what it is about, also after the end.
            CommandName::HookFailed => phase != PhaseName::Scheduled,
            CommandName::Alerts => !phase.is_terminal(),
            CommandName::Rollback | CommandName::Approve => going_up || phase == PhaseName::Scheduled,
            CommandName::Pause
            | CommandName::Resume
            | CommandName::Refuse
            | CommandName::OverrideGate
            | CommandName::RetryGate => going_up,
            CommandName::Advance => phase == PhaseName::Progressing,
            CommandName::Promote => {
                matches!(phase, PhaseName::Preparing | PhaseName::Progressing | PhaseName::Baking)
            }
        }
    }
}

/// Carries out a command.
pub(super) fn take(change: &mut Change, command: &Command) -> Result<(), Illegal> {
    let rollout = &change.state.rollout;
    if let Some(expected) = command.expected_revision
        && expected != rollout.event_seq
    {
        return Err(Illegal::Revision { expected, actual: rollout.event_seq });
    }
    let illegal = Illegal::Phase { phase: rollout.phase.name(), event: command.kind.name() };
    if !may_give(command) {
        return Err(Illegal::Refused(format!("`{}` is for a person to give", command.kind.name())));
    }
    let by = command.by.as_str();
    let why = match &command.reason {
        Some(reason) => format!("Requested by {by}: {reason}"),
        None => format!("Requested by {by}."),
    };
    // What a release leaves behind for a person may outlast it.
    let left = change.state.target.incident.as_ref().is_some_and(|incident| incident.rollout == rollout.id);
    let phase = rollout.phase.clone();
    if command.kind == CommandKind::Rollback && command.giver.is_person() && rollout.stable.staged.is_some() {
        staged::whole(change, Some(by), &format!("The canary goes to 0% at once, not in stages: {why}"));
        change.acknowledge(by);
        return Ok(());
    }
    let is_taken = CommandName::from(&command.kind).is_taken_in(PhaseName::from(&phase));
    if !is_taken || (phase.is_terminal() && !left) {
        return Err(illegal);
    }
    match (&command.kind, phase) {
        (CommandKind::Supersede { by: newer }, phase) => supersede(change, newer.clone(), &phase)?,
        (CommandKind::Rollback, Phase::Scheduled) => {
            let reason = Reason::new(ReasonCode::Command, why.clone());
            change.end(Phase::Cancelled { reason, superseded_by: None });
            let sentence = format!("Cancelled before it began: {why}");
            change.record(EventKind::Cancelled, Some(by), sentence.clone());
            change.notify(NoticeKind::Cancelled, Severity::Low, sentence);
        }
        (CommandKind::Acknowledge, _) => {
            if !change.acknowledge(by) {
                return Err(Illegal::Gate("there is no incident that nobody has taken over".to_owned()));
            }
            return Ok(());
        }
        (CommandKind::Approve { gate, teams }, _) => approvals::approve(change, command, gate, teams)?,
        (CommandKind::Refuse { gate, teams }, _) => approvals::refuse(change, command, gate, teams)?,
        (CommandKind::OverrideGate { gate }, _) => approvals::override_gate(change, command, gate)?,
        (CommandKind::RetryGate { gate }, _) => approvals::retry(change, command, gate)?,
        (CommandKind::Rollback, _) => {
            let reason = Reason::new(ReasonCode::Command, why);
            change.roll_back_for(reason, Ending::RolledBack, Some(by), command.giver.is_person());
        }
        (CommandKind::Pause, _) => pause(change, by, why),
        (CommandKind::Resume, _) => resume(change, by, &why)?,
        (CommandKind::Advance, Phase::Progressing { step, .. }) => {
            go_to(change, step + 1, &why, command)?;
        }
        (CommandKind::Promote, Phase::Progressing { .. } | Phase::Preparing { .. }) => {
            let last = change.state.rollout.policy.steps.len() - 1;
            go_to(change, last, &why, command)?;
        }
        (CommandKind::Promote, Phase::Baking) => finish_bake(change, &why, command)?,
        _ => return Err(illegal),
    }
    // A person who gives a command has seen that something is going on.
    if command.giver.is_person() && !matches!(command.kind, CommandKind::Supersede { .. }) {
        change.acknowledge(by);
    }
    Ok(())
}

/// Alerts pause and roll back, a newer rollout supersedes; everything else is a person's.
fn may_give(command: &Command) -> bool {
    let name = CommandName::from(&command.kind);
    command.giver.is_person()
        || matches!(name, CommandName::Pause | CommandName::Rollback | CommandName::Supersede)
}

/// Several may pause it: each must be heard before it goes on.
fn pause(change: &mut Change, by: &str, why: String) {
    let rollout = &change.state.rollout;
    if !rollout.holds.contains(&Hold::User) {
        return change.hold(Hold::User, Some(by), Severity::Low, why);
    }
    if rollout.held_by(Hold::User).all(|held| held.by.as_deref() != Some(by)) {
        change.record(EventKind::HoldAdded, Some(by), format!("Held ({}) too: {why}", Hold::User.name()));
        change.keep_held(Hold::User, Some(by), &why);
    }
}

/// Goes on by a person's word, now or when the gates have said yes.
fn go_to(change: &mut Change, step: usize, why: &str, command: &Command) -> Result<(), Illegal> {
    let by = command.by.as_str();
    match door::overridden(change, Occasion::Step(step), command)? {
        Some(passage) => change.advance_to(passage, why, Some(by)),
        None => insist(change, step, why, by),
    }
    Ok(())
}

fn insist(change: &mut Change, step: usize, why: &str, by: &str) {
    let sentence = format!("{} Waiting for gate approvals.", sentence_of(why));
    change.record(EventKind::Command, Some(by), sentence);
    change.state.rollout.gates.insisted = Some(Insisted { step, by: by.to_owned(), why: why.to_owned() });
}

/// With a full stop.
fn sentence_of(why: &str) -> String {
    if why.ends_with(['.', '!', '?']) { why.to_owned() } else { format!("{why}.") }
}

fn finish_bake(change: &mut Change, why: &str, command: &Command) -> Result<(), Illegal> {
    let (last, by) = (change.state.rollout.policy.steps.len() - 1, command.by.as_str());
    if !has_all_traffic(change) {
        // Somebody took traffic off it: it has to get all of it, and be seen to, before it has succeeded.
        return go_to(change, last, why, command);
    }
    let Some(passage) = door::overridden(change, Occasion::Finish, command)? else {
        insist(change, last + 1, why, by);
        return Ok(());
    };
    let version = &change.state.rollout.version;
    let sentence = format!("{version} has all traffic; the bake was ended early: {why}");
    change.succeed(passage, sentence, Some(by));
    Ok(())
}

/// The canary has everything.
fn has_all_traffic(change: &Change) -> bool {
    let target = &change.state.target;
    target.wanted.canary == Weight::FULL && target.in_force(Proxies::Reachable)
}

/// Drops every hold (those whose cause lasts come again). After a drift, the step's weight is wanted
/// again: this is the person that invariant 13 asks for.
fn resume(change: &mut Change, by: &str, why: &str) -> Result<(), Illegal> {
    let rollout = &change.state.rollout;
    let drifted = rollout.holds.contains(&Hold::Drift) && rollout.policy.mode == Mode::Act;
    let step = match rollout.phase {
        Phase::Progressing { step, .. } => Some(step),
        Phase::Finalizing | Phase::Baking => Some(rollout.policy.steps.len() - 1),
        _ => None,
    };
    let passage = step.filter(|_| drifted).map(|step| door::again(rollout, step)).transpose()?;
    let holds: Vec<Hold> = rollout.holds.iter().copied().collect();
    change.record(EventKind::Command, Some(by), format!("Resumed: {why}"));
    // What was seen of the share so far is what the person has looked at.
    change.state.rollout.data.share.begin_anew();
    // A freeze and a gate are not a person's to drop, and nobody's word makes an instance ready.
    let lasts = |hold: &Hold| matches!(hold, Hold::Freeze | Hold::Gate | Hold::Window | Hold::NotReady);
    for hold in holds.into_iter().filter(|hold| !lasts(hold)) {
        change.unhold(hold, why);
    }
    if let Some(passage) = passage {
        change.enter_step(passage);
    }
    Ok(())
}

/// A newer rollout takes the target: the canary goes to 0 first. A bake blocks no newer release: what
/// already has all traffic has succeeded.
fn supersede(change: &mut Change, newer: RolloutId, phase: &Phase) -> Result<(), Illegal> {
    let reason = Reason::new(ReasonCode::Superseded, format!("rollout {newer} takes over."));
    match phase {
        Phase::Scheduled => {
            let sentence = format!("Cancelled before it began: rollout {newer} takes over.");
            change.end(Phase::Cancelled { reason, superseded_by: Some(newer) });
            change.record(EventKind::Cancelled, None, sentence.clone());
            change.notify(NoticeKind::Cancelled, Severity::Low, sentence);
        }
        Phase::Baking if has_all_traffic(change) => {
            let version = &change.state.rollout.version;
            let sentence = format!("{version} has all traffic; the bake was cut short by rollout {newer}.");
            change.succeed(door::cut_short(), sentence, None);
        }
        Phase::RollingBack { .. } => {}
        Phase::Verifying { reason: cause } => {
            let cause = cause.clone();
            let sentence = format!("Rolled back; rollout {newer} takes over before that was verified.");
            change.end(Phase::RolledBack { reason: cause });
            change.record(EventKind::RolledBack, None, sentence);
        }
        _ => {
            // Not a person's word: past a point of no return it holds, and the newer one waits.
            change.roll_back(reason, Ending::Cancelled { superseded_by: Some(newer) }, None);
        }
    }
    Ok(())
}
