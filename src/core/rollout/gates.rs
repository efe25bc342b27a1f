//! Gates: what must say yes before a rollout goes on. Holding is all that a gate does by itself: the canary
//! is judged on, and rolled back, whatever is waited for.

use std::time::Duration;

use super::change::Change;
use super::{Ending, EventKind, Hold, Illegal, Phase, Rollout, seats, standing};
use crate::core::gate::{Before, Check, Gate, GateAnswer, GateOutcome, GateState, GateStatus, Occasion};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::Weight;
use crate::core::words::duration;

/// A gate that is to be asked now.
#[derive(Clone, Debug, PartialEq)]
pub struct DueGate {
    /// The gate.
    pub gate: Gate,
    /// What it stands before.
    pub occasion: Occasion,
    /// How often it was asked anew: a part of the key.
    pub asked: u32,
}

/// The gates whose checks are to be asked now, persons excepted.
pub fn due(rollout: &Rollout) -> Vec<DueGate> {
    let pending =
        rollout.gates.occasion.iter().flat_map(|occasion| {
            rollout.gates.states.iter().map(move |(name, state)| (*occasion, name, state))
        });
    let during = rollout.gates.during.iter().map(|(name, state)| (Occasion::During, name, state));
    let wanted = pending.chain(during).filter_map(|(occasion, name, state)| {
        let gate = rollout.policy.gates.iter().find(|gate| gate.name == *name)?;
        if gate.point_of_no_return && occasion != Occasion::During && !others_are_open(rollout, name) {
            return None;
        }
        let asks = match (&gate.check, &state.status) {
            (Check::Approval { .. }, _) | (_, GateStatus::Lost { .. }) => false,
            (_, GateStatus::Waiting { .. }) => true,
            // Somebody's word stands; a check's own yes is only as good as its last answer.
            (check, GateStatus::Open { by: None, .. }) => check.is_repeatable(),
            (check, GateStatus::Refused { .. }) => occasion == Occasion::During && check.is_repeatable(),
            _ => false,
        };
        asks.then(|| DueGate { gate: gate.clone(), occasion, asked: state.asked })
    });
    wanted.collect()
}

/// Whether every other gate of the occasion says yes: what cannot be taken back is asked last.
fn others_are_open(rollout: &Rollout, name: &str) -> bool {
    let mut others = rollout.gates.states.iter().filter(|(other, _)| *other != name);
    others.all(|(other, state)| {
        let gate = rollout.policy.gates.iter().find(|gate| gate.name == *other);
        // Two of them do not wait for each other.
        gate.is_some_and(|gate| gate.point_of_no_return) || matches!(state.status, GateStatus::Open { .. })
    })
}

/// True if everything that stands before the occasion says yes now. Otherwise the gates are due, and the
/// rollout is held. What was said counts until the occasion has passed: a step that is prepared for long is
/// entered only if its gates still say yes.
pub(super) fn open(change: &mut Change, occasion: Occasion) -> bool {
    let rollout = &change.state.rollout;
    let gates: Vec<Gate> = standing::asked_before(rollout, occasion).into_iter().cloned().collect();
    let is_shut = rollout.gates.during.values().any(standing::is_closed);
    if !gates.is_empty() {
        if rollout.gates.occasion != Some(occasion) {
            begin(change, occasion, &gates);
        }
        seats::count(change);
    }
    let states = &change.state.rollout.gates.states;
    let closed: Vec<&Gate> = gates.iter().filter(|gate| !standing::is_open(states, gate)).collect();
    if closed.is_empty() {
        if is_shut {
            hold_during(change);
            return false;
        }
        release(change);
        return true;
    }
    let only_windows = closed.iter().all(|gate| matches!(gate.check, Check::Window { .. }));
    let hold = if only_windows { Hold::Window } else { Hold::Gate };
    let names: Vec<&str> = closed.iter().map(|gate| gate.name.as_str()).collect();
    let why = format!("waiting for {} before {}.", names.join(", "), words(&change.state.rollout, occasion));
    if !change.state.rollout.holds.contains(&hold) {
        change.state.rollout.holds.remove(&Hold::Gate);
        change.state.rollout.holds.remove(&Hold::Window);
        let asks_persons = closed.iter().any(|gate| matches!(gate.check, Check::Approval { .. }));
        let severity = if asks_persons { Severity::High } else { Severity::Low };
        change.hold_as(hold, None, severity, why, NoticeKind::Gate);
    }
    false
}

/// The occasion for people.
fn words(rollout: &Rollout, occasion: Occasion) -> String {
    match occasion {
        Occasion::Start => "the canary's first traffic".to_owned(),
        Occasion::Step(step) => match rollout.policy.steps.get(step) {
            Some(step) => step.weight.to_string(),
            None => "the next step".to_owned(),
        },
        Occasion::Finish => "the end of the bake".to_owned(),
        Occasion::During => "the next step".to_owned(),
    }
}

fn fresh(gate: &Gate) -> GateState {
    let detail = match &gate.check {
        Check::Approval { rules, .. } => seats::wanted(rules),
        check => format!("{} was not asked yet", check.kind()),
    };
    GateState {
        status: GateStatus::Waiting { detail },
        waited: Duration::ZERO,
        asked: 0,
        faults: 0,
        is_late: false,
    }
}

fn begin(change: &mut Change, occasion: Occasion, gates: &[Gate]) {
    let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
    let before = words(&change.state.rollout, occasion);
    let sentence = format!("Before {before} must say yes: {}.", names.join(", "));
    let rollout = &mut change.state.rollout;
    // What is waited for is told anew.
    rollout.holds.remove(&Hold::Gate);
    rollout.holds.remove(&Hold::Window);
    let phase = &rollout.phase;
    let kept = &mut rollout.gates;
    let had_passed = matches!(phase, Phase::Preparing { .. });
    for gate in gates.iter().filter(|gate| had_passed && gate.before == Before::EachStep) {
        // A yes is for one step: it was used up by the one that is prepared.
        kept.approvals.remove(&gate.name);
    }
    kept.occasion = Some(occasion);
    let mut before = std::mem::take(&mut kept.states);
    // Where a step is jumped over while its gates are asked: a program that was begun is not run again.
    let mut state = |gate: &Gate| {
        let known =
            before.remove(&gate.name).filter(|_| gate.check.is_once() && gate.before != Before::EachStep);
        known.unwrap_or_else(|| fresh(gate))
    };
    kept.states = gates.iter().map(|gate| (gate.name.clone(), state(gate))).collect();
    change.record(EventKind::GateDue, None, sentence);
}

/// Every gate says yes: nothing is held by them.
fn release(change: &mut Change) {
    change.unhold(Hold::Gate, "every gate has said yes.");
    change.unhold(Hold::Window, "the window is open.");
    change.calm(IncidentCause::Gate, "the gates have said yes.");
}

/// Adds the time that was waited, and does what the policy says where a deadline has passed. Gates that
/// are asked all along begin with the first step.
pub(super) fn wait(change: &mut Change, elapsed: Duration) {
    let watched =
        matches!(change.state.rollout.phase, Phase::Progressing { .. } | Phase::Finalizing | Phase::Baking);
    let rollout = &mut change.state.rollout;
    if watched && rollout.gates.during.is_empty() {
        let during = standing::gates_of(&rollout.policy, Occasion::During, None);
        rollout.gates.during = during.into_iter().map(|gate| (gate.name.clone(), fresh(gate))).collect();
    }
    let mut late = Vec::new();
    for (name, state) in &mut rollout.gates.states {
        let Some(gate) = rollout.plan.policy.gates.iter().find(|gate| gate.name == *name) else { continue };
        let has_spoken = match &state.status {
            GateStatus::Open { .. } => true,
            // A no, or a program of which nobody knows the end, is not a missing yes.
            GateStatus::Refused { .. } | GateStatus::Lost { .. } | GateStatus::Running => {
                gate.at_deadline == GateOutcome::GoOn
            }
            GateStatus::Waiting { .. } => false,
        };
        if has_spoken {
            continue;
        }
        state.waited += elapsed;
        if gate.deadline.is_some_and(|deadline| state.waited >= deadline) && !state.is_late {
            state.is_late = true;
            late.push((gate.clone(), state.waited));
        }
    }
    for (gate, waited) in late {
        // An earlier one may have taken the release back.
        let phase = &change.state.rollout.phase;
        if matches!(phase, Phase::RollingBack { .. }) || phase.is_terminal() {
            return;
        }
        let detail = format!("it has not said yes within {}", duration(waited));
        follow(change, &gate, gate.at_deadline, None, &detail);
    }
}

/// What a check's answer leads to.
pub(super) fn answer(change: &mut Change, name: &str, answer: GateAnswer) -> Result<(), Illegal> {
    let now = change.now;
    let policy = &change.state.rollout.policy;
    let Some(gate) = policy.gates.iter().find(|gate| gate.name == name).cloned() else {
        return Err(Illegal::Gate(format!("there is no gate `{name}`")));
    };
    let during = gate.before == Before::During;
    let Some(state) = standing::state_of(&mut change.state.rollout, &gate) else {
        return Err(Illegal::Gate(format!("the gate `{name}` is not waited for")));
    };
    if matches!(state.status, GateStatus::Open { by: Some(_), .. }) {
        return Ok(());
    }
    let was = state.status.clone();
    state.faults = if matches!(answer, GateAnswer::Fault(_)) { state.faults + 1 } else { 0 };
    match answer {
        GateAnswer::Yes(detail) => {
            if !matches!(was, GateStatus::Open { .. }) {
                state.status = GateStatus::Open { by: None, detail: detail.clone(), at: now };
                change.record(EventKind::GateOpened, None, format!("Gate {name} says yes: {detail}"));
                standing::no_return(change, &gate);
            }
        }
        GateAnswer::No(detail) => refuse(change, &gate, None, &detail),
        GateAnswer::NotYet(detail) if during => refuse(change, &gate, None, &detail),
        GateAnswer::NotYet(detail) => state.status = GateStatus::Waiting { detail },
        GateAnswer::Fault(detail) => {
            let most = match &gate.check {
                Check::Webhook(webhook) => webhook.most_faults,
                _ => u32::MAX,
            };
            if state.faults >= most {
                let detail = format!("{detail} ({} times in a row)", state.faults);
                refuse(change, &gate, None, &detail);
            } else if !(during && matches!(was, GateStatus::Refused { .. })) {
                // What has said no does not say otherwise by not answering.
                state.status = GateStatus::Waiting { detail };
            }
        }
        GateAnswer::Lost(detail) => {
            state.status = GateStatus::Lost { detail: detail.clone() };
            let sentence = format!(
                "Gate {name}: {detail} It is not run again by itself; a person must have it asked anew, or override it."
            );
            change.page(NoticeKind::Gate, Severity::Critical, sentence, IncidentCause::Gate);
        }
    }
    hold_during(change);
    Ok(())
}

/// A gate that is asked all along holds the rollout while it does not say yes.
fn hold_during(change: &mut Change) {
    let gates = &change.state.rollout.gates;
    let closed: Vec<String> = gates
        .during
        .iter()
        .filter(|(_, state)| standing::is_closed(state))
        .map(|(name, _)| name.clone())
        .collect();
    if !closed.is_empty() {
        let why = format!("{} does not say yes.", closed.join(", "));
        change.hold_as(Hold::Gate, None, Severity::High, why, NoticeKind::Gate);
    } else if gates.occasion.is_none() {
        change.unhold(Hold::Gate, "every gate says yes.");
    }
}

/// The gate has said no.
pub(super) fn refuse(change: &mut Change, gate: &Gate, by: Option<&str>, detail: &str) {
    let now = change.now;
    let Some(state) = standing::state_of(&mut change.state.rollout, gate) else { return };
    let was_refused = matches!(state.status, GateStatus::Refused { .. });
    state.status = GateStatus::Refused { by: by.map(str::to_owned), detail: detail.to_owned(), at: now };
    if !was_refused {
        follow(change, gate, gate.on_refusal, by, &format!("it said no: {detail}"));
    }
}

/// Carries out what the policy says of a gate that did not say yes.
fn follow(change: &mut Change, gate: &Gate, outcome: GateOutcome, by: Option<&str>, detail: &str) {
    let sentence = format!("gate {} does not let the release on: {detail}.", gate.name);
    match outcome {
        GateOutcome::Hold => {
            let sentence = format!("Held: {sentence}");
            change.record(EventKind::GateRefused, by, sentence.clone());
            change.page_recorded(NoticeKind::Gate, Severity::High, sentence, IncidentCause::Gate);
        }
        GateOutcome::RollBack => {
            change.record(EventKind::GateRefused, by, sentence.clone());
            let begun = change.state.target.wanted.canary > Weight::ZERO;
            let ending = if begun { Ending::RolledBack } else { Ending::Cancelled { superseded_by: None } };
            change.roll_back(Reason::new(ReasonCode::Gate, sentence), ending, by);
        }
        GateOutcome::GoOn => {
            let now = change.now;
            let Some(state) = standing::state_of(&mut change.state.rollout, gate) else { return };
            let detail = format!("WITHOUT ITS YES: {detail}; the policy says to go on");
            // By the policy's word, which stands: it is not asked any more.
            let word = Some("the policy".to_owned());
            state.status = GateStatus::Open { by: word, detail: detail.clone(), at: now };
            change.record(EventKind::GateOpened, by, format!("Gate {}: {detail}.", gate.name));
            standing::no_return(change, gate);
        }
    }
}

/// A gate's program begins.
pub(super) fn begun(change: &mut Change, name: &str) -> Result<(), Illegal> {
    let gates = &mut change.state.rollout.gates;
    let state = gates.states.get_mut(name).or(gates.during.get_mut(name));
    match state {
        Some(state) if matches!(state.status, GateStatus::Waiting { .. }) => {
            state.status = GateStatus::Running;
            change.record(EventKind::GateBegun, None, format!("Gate {name}: its program begins."));
            Ok(())
        }
        _ => Err(Illegal::Gate(format!("the gate `{name}` is not waited for"))),
    }
}
