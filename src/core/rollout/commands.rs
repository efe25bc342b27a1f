//! What persons, and newer rollouts, want.

use super::change::Change;
use super::{Command, CommandKind, Ending, EventKind, Hold, Illegal, Phase, Reason, ReasonCode};
use crate::core::policy::{Mode, Severity};
use crate::core::target::{Proxies, Weight};

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
    match (&command.kind, rollout.phase.clone()) {
        (_, phase) if phase.is_terminal() => return Err(illegal),
        (CommandKind::Supersede { by: newer }, phase) => supersede(change, newer.clone(), &phase)?,
        (CommandKind::Rollback, Phase::Scheduled) => {
            let reason = Reason::new(ReasonCode::Command, why.clone());
            change.end(Phase::Cancelled { reason, superseded_by: None });
            change.record(EventKind::Cancelled, Some(by), format!("Cancelled before it began: {why}"));
        }
        (_, Phase::RollingBack { .. } | Phase::Scheduled) => return Err(illegal),
        (CommandKind::Rollback, _) => {
            let reason = Reason::new(ReasonCode::Command, why);
            change.roll_back(reason, Ending::RolledBack, Some(by));
        }
        (CommandKind::Pause, _) => change.hold(Hold::User, Some(by), Severity::Low, why),
        (CommandKind::Resume, _) => resume(change, by, &why),
        (CommandKind::Advance, Phase::Progressing { step, .. }) => {
            go_to(change, step + 1, &why, by);
        }
        (CommandKind::Promote, Phase::Progressing { .. } | Phase::Preparing { .. }) => {
            let last = change.state.rollout.policy.steps.len() - 1;
            go_to(change, last, &why, by);
        }
        (CommandKind::Promote, Phase::Baking) => finish_bake(change, &why, by),
        _ => return Err(illegal),
    }
    Ok(())
}

/// A person's word outweighs the holds that are there; those whose cause lasts come again.
fn go_to(change: &mut Change, step: usize, why: &str, by: &str) {
    change.state.rollout.holds.clear();
    change.advance_to(step, why, Some(by));
}

fn finish_bake(change: &mut Change, why: &str, by: &str) {
    change.state.rollout.holds.clear();
    if !has_all_traffic(change) {
        // Somebody took traffic off it: it has to get all of it, and be seen to, before it has succeeded.
        return go_to(change, change.state.rollout.policy.steps.len() - 1, why, by);
    }
    let version = &change.state.rollout.version;
    let sentence = format!("{version} has all traffic; the bake was ended early: {why}");
    change.succeed(sentence, Some(by));
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
    for hold in holds {
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
            change.record(EventKind::Cancelled, None, sentence);
        }
        Phase::Baking if has_all_traffic(change) => {
            let version = &change.state.rollout.version;
            let sentence = format!("{version} has all traffic; the bake was cut short by rollout {newer}.");
            change.succeed(sentence, None);
        }
        Phase::RollingBack { .. } => {}
        _ => {
            change.roll_back(reason, Ending::Cancelled { superseded_by: Some(newer) }, Some("serin"));
        }
    }
    Ok(())
}
