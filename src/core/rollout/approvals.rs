//! Persons at gates.

use super::change::Change;
use super::{Command, EventKind, Giver, Illegal, Phase, Rollout, gates, seats, standing};
use crate::core::gate::{Approval, Before, Check, Gate, GateStatus};

/// A link that was sent for a gate is good until the gate's deadline; whoever may approve can do so at the page
/// after it.
fn link_in_time(change: &mut Change, command: &Command, gate: &Gate) -> Result<(), Illegal> {
    let is_late = standing::state_of(&mut change.state.rollout, gate).is_some_and(|state| state.is_late);
    if command.giver == Giver::Link && is_late {
        let late = "the gate's deadline has passed; who may approve can still do so at the page";
        return Err(Illegal::Refused(late.to_owned()));
    }
    Ok(())
}

/// A person says yes.
pub(super) fn approve(
    change: &mut Change,
    command: &Command,
    name: &str,
    teams: &[String],
) -> Result<(), Illegal> {
    let gate = eligible(change, command, name, teams)?;
    link_in_time(change, command, &gate)?;
    let waits = match standing::state_of(&mut change.state.rollout, &gate) {
        Some(state) => matches!(state.status, GateStatus::Waiting { .. }),
        // Not due yet: said early. Behind it a yes would be for nothing.
        None => is_ahead(&change.state.rollout, &gate),
    };
    if !waits {
        return Err(Illegal::Gate(format!("the gate `{name}` does not wait for anybody any more")));
    }
    let approval = Approval {
        by: command.by.clone(),
        teams: teams.to_vec(),
        at: change.now,
        reason: command.reason.clone(),
    };
    let said = change.state.rollout.gates.approvals.entry(name.to_owned()).or_default();
    if said.iter().any(|earlier| earlier.by == approval.by) {
        return Err(Illegal::Gate(format!("{} has already said yes at the gate `{name}`", approval.by)));
    }
    said.push(approval);
    let why = command.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let sentence = format!("{} says yes at gate {name}{why}.", command.by);
    change.record(EventKind::Approved, Some(&command.by), sentence);
    seats::count(change);
    Ok(())
}

/// Whether the rollout will come to the gate.
fn is_ahead(rollout: &Rollout, gate: &Gate) -> bool {
    let step = match rollout.phase {
        Phase::Scheduled | Phase::Preflight => return true,
        Phase::Preparing { step } => step,
        Phase::Progressing { step, .. } => step,
        _ => return gate.before == Before::Finish,
    };
    match gate.before {
        Before::Start => false,
        Before::Step(weight) => rollout.policy.steps.iter().skip(step + 1).any(|step| step.weight == weight),
        _ => true,
    }
}

/// A person says no.
pub(super) fn refuse(
    change: &mut Change,
    command: &Command,
    name: &str,
    teams: &[String],
) -> Result<(), Illegal> {
    let gate = eligible(change, command, name, teams)?;
    link_in_time(change, command, &gate)?;
    let Some(state) = standing::state_of(&mut change.state.rollout, &gate) else {
        return Err(Illegal::Gate(format!("the gate `{name}` is not waited for yet")));
    };
    if matches!(state.status, GateStatus::Refused { .. }) {
        return Err(Illegal::Gate(format!("the gate `{name}` was refused already")));
    }
    let why = command.reason.clone().unwrap_or_else(|| "no reason was given".to_owned());
    let sentence = format!("{} says no at gate {name}: {why}", command.by);
    change.record(EventKind::Approved, Some(&command.by), sentence);
    change.state.rollout.gates.approvals.remove(name);
    gates::refuse(change, &gate, Some(&command.by), &format!("{}: {why}", command.by));
    Ok(())
}

/// The gate, if it asks for persons (or its program was lost) and for this one.
fn eligible(change: &Change, command: &Command, name: &str, teams: &[String]) -> Result<Gate, Illegal> {
    let rollout = &change.state.rollout;
    let gate = standing::named(rollout, name)?;
    let Check::Approval { rules, by_starter } = &gate.check else {
        let kind = gate.check.kind();
        return Err(Illegal::Gate(format!(
            "the gate `{name}` asks no person but a {kind}; an administrator may override it"
        )));
    };
    if !by_starter && command.by == rollout.created_by {
        return Err(Illegal::Gate(format!(
            "{} has started this rollout; the gate `{name}` asks for somebody else",
            command.by
        )));
    }
    if !rules.iter().any(|rule| seats::suits(rule, teams)) {
        return Err(Illegal::Gate(format!(
            "the gate `{name}` asks for {}, and {} is in {}",
            seats::wanted(rules),
            command.by,
            if teams.is_empty() { "no team".to_owned() } else { teams.join(", ") }
        )));
    }
    Ok(gate)
}

/// Opens a gate whatever it says.
pub(super) fn override_gate(change: &mut Change, command: &Command, name: &str) -> Result<(), Illegal> {
    let gate = standing::named(&change.state.rollout, name)?;
    let (by, now) = (command.by.clone(), change.now);
    let Some(reason) = command.reason.clone() else {
        return Err(Illegal::Gate(format!("to override the gate `{name}` needs a reason")));
    };
    let Some(state) = standing::state_of(&mut change.state.rollout, &gate) else {
        return Err(Illegal::Gate(format!("the gate `{name}` is not waited for yet")));
    };
    let detail = format!("OVERRIDDEN by {by}: {reason}");
    state.status = GateStatus::Open { by: Some(by.clone()), detail: detail.clone(), at: now };
    change.record(EventKind::GateOpened, Some(&by), format!("Gate {name}: {detail}"));
    standing::no_return(change, &gate);
    Ok(())
}

/// Asks a gate anew that has said no, or whose program was lost.
pub(super) fn retry(change: &mut Change, command: &Command, name: &str) -> Result<(), Illegal> {
    let gate = standing::named(&change.state.rollout, name)?;
    let Some(state) = standing::state_of(&mut change.state.rollout, &gate) else {
        return Err(Illegal::Gate(format!("the gate `{name}` is not waited for yet")));
    };
    if !matches!(state.status, GateStatus::Lost { .. } | GateStatus::Refused { .. }) {
        return Err(Illegal::Gate(format!("the gate `{name}` is waited for; there is nothing to ask anew")));
    }
    state.status = GateStatus::Waiting { detail: format!("{} asks it anew", command.by) };
    state.asked += 1;
    state.faults = 0;
    state.is_late = false;
    state.waited = std::time::Duration::ZERO;
    let sentence = format!("{} has gate {name} asked anew.", command.by);
    change.record(EventKind::Command, Some(&command.by), sentence);
    Ok(())
}
