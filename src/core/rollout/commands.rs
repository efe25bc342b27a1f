//! What persons, and newer rollouts, want.

use super::change::Change;
use super::{
    Command, CommandKind, CommandName, Ending, EventKind, Hold, Illegal, NoticeKind, Phase, PhaseName,
    Reason, ReasonCode, approvals, gates,
};
use crate::core::gate::{Insisted, Occasion};
use crate::core::policy::{Mode, Severity};
use crate::core::target::{Proxies, Weight};

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
            CommandName::Alerts => !phase.is_terminal() && !phase.is_way_back(),
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
    let by = command.by.as_str();
    let why = match &command.reason {
        Some(reason) => format!("{by} said so: {reason}"),
        None => format!("{by} said so."),
    };
    // What a release leaves behind for a person may outlast it.
    let left = change.state.target.incident.as_ref().is_some_and(|incident| incident.rollout == rollout.id);
    let phase = rollout.phase.clone();
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
            change.roll_back(reason, Ending::RolledBack, Some(by));
        }
        (CommandKind::Pause, _) => change.hold(Hold::User, Some(by), Severity::Low, why),
        (CommandKind::Resume, _) => resume(change, by, &why),
        (CommandKind::Advance, Phase::Progressing { step, .. }) => {
            go_to(change, step + 1, &why, by)?;
        }
        (CommandKind::Promote, Phase::Progressing { .. } | Phase::Preparing { .. }) => {
            let last = change.state.rollout.policy.steps.len() - 1;
            go_to(change, last, &why, by)?;
        }
        (CommandKind::Promote, Phase::Baking) => finish_bake(change, &why, by)?,
        _ => return Err(illegal),
    }
    // Who gives a command has seen that something is going on.
    if !matches!(command.kind, CommandKind::Supersede { .. }) {
        change.acknowledge(by);
    }
    Ok(())
}

/// A person's word outweighs the holds that are there (those whose cause lasts come again), but no freeze
/// and no gate: those must say yes all the same, and it goes on when they have.
fn go_to(change: &mut Change, step: usize, why: &str, by: &str) -> Result<(), Illegal> {
    not_frozen(change)?;
    change.state.rollout.holds.clear();
    if gates::open(change, Occasion::Step(step)) {
        change.advance_to(step, why, Some(by));
    } else {
        insist(change, step, why, by);
    }
    Ok(())
}

fn insist(change: &mut Change, step: usize, why: &str, by: &str) {
    let sentence = format!("{why} It goes on once the gates have said yes.");
    change.record(EventKind::Command, Some(by), sentence);
    change.state.rollout.gates.insisted = Some(Insisted { step, by: by.to_owned(), why: why.to_owned() });
}

fn not_frozen(change: &Change) -> Result<(), Illegal> {
    if change.state.rollout.holds.contains(&Hold::Freeze) {
        return Err(Illegal::Gate(
            "the target is frozen: nothing may advance until the freeze ends".to_owned(),
        ));
    }
    Ok(())
}

fn finish_bake(change: &mut Change, why: &str, by: &str) -> Result<(), Illegal> {
    let last = change.state.rollout.policy.steps.len() - 1;
    change.state.rollout.holds.remove(&Hold::User);
    if !has_all_traffic(change) {
        // Somebody took traffic off it: it has to get all of it, and be seen to, before it has succeeded.
        return go_to(change, last, why, by);
    }
    change.state.rollout.holds.retain(|hold| *hold == Hold::Freeze);
    if !gates::open(change, Occasion::Finish) {
        insist(change, last + 1, why, by);
        return Ok(());
    }
    let version = &change.state.rollout.version;
    let sentence = format!("{version} has all traffic; the bake was ended early: {why}");
    change.succeed(sentence, Some(by));
    Ok(())
}

/// The canary has everything.
fn has_all_traffic(change: &Change) -> bool {
    let target = &change.state.target;
    target.wanted.canary == Weight::FULL && target.in_force(Proxies::Reachable)
}

/// Drops every hold (those whose cause lasts come again). After a drift, the step's weight is wanted
/// again: this is the person that invariant 13 asks for.
fn resume(change: &mut Change, by: &str, why: &str) {
    let drifted = change.state.rollout.holds.contains(&Hold::Drift);
    let holds: Vec<Hold> = change.state.rollout.holds.iter().copied().collect();
    change.record(EventKind::Command, Some(by), format!("Resumed: {why}"));
    // What was seen of the share so far is what the person has looked at.
    change.state.rollout.data.share.begin_anew();
    // A freeze and a gate are not a person's to drop.
    for hold in holds.into_iter().filter(|hold| !matches!(hold, Hold::Freeze | Hold::Gate | Hold::Window)) {
        change.unhold(hold, why);
    }
    let rollout = &change.state.rollout;
    if !drifted || rollout.policy.mode == Mode::Observe {
        return;
    }
    match rollout.phase {
        Phase::Progressing { step, .. } => change.enter_step(step),
        Phase::Finalizing | Phase::Baking => {
            let last = rollout.policy.steps.len() - 1;
            change.enter_step(last);
        }
        _ => {}
    }
}

/// A newer rollout takes the target: the canary goes to 0 first. A bake blocks no newer release: what
/// already has all traffic has succeeded.
fn supersede(change: &mut Change, newer: super::RolloutId, phase: &Phase) -> Result<(), Illegal> {
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
            change.succeed(sentence, None);
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
