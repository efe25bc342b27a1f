//! Where a rollout's gates stand: which of them stand before something, and what they have said.

use std::collections::BTreeMap;

use super::change::Change;
use super::{EventKind, Illegal, Phase, Rollout};
use crate::core::gate::{Before, Gate, GateState, GateStatus, Occasion};
use crate::core::policy::Policy;

/// Faults in a row of a gate that is asked all along, after which its rollout is held.
const FAULTS: u32 = 3;

/// Programs that had begun when the process ended: nobody knows how they ended.
pub fn running(rollout: &Rollout) -> Vec<String> {
    let all = rollout.gates.states.iter().chain(&rollout.gates.during);
    all.filter(|(_, state)| state.status == GateStatus::Running).map(|(name, _)| name.clone()).collect()
}

/// The gates of an occasion. Steps that are jumped over have their say too: `from` is the step that is
/// left.
pub(super) fn gates_of(policy: &Policy, occasion: Occasion, from: Option<usize>) -> Vec<&Gate> {
    let last = policy.steps.len().saturating_sub(1);
    let passes = |gate: &&Gate| match (occasion, gate.before) {
        (Occasion::Start, Before::Start) => true,
        // The first step has no occasion of its own.
        (Occasion::Start, Before::Step(weight)) => policy.steps.first().is_some_and(|s| s.weight == weight),
        (Occasion::Step(step), before) => {
            let passed = from.map_or(step, |from| from + 1).max(1)..=step;
            match before {
                Before::EachStep => true,
                Before::Promotion => step == last,
                Before::Step(weight) => policy
                    .steps
                    .get(passed)
                    .is_some_and(|steps| steps.iter().any(|step| step.weight == weight)),
                _ => false,
            }
        }
        (Occasion::Finish, Before::Finish) | (Occasion::During, Before::During) => true,
        _ => false,
    };
    policy.gates.iter().filter(passes).collect()
}

/// The gates that stand before an occasion now: those that are asked already, else by the step that is left.
pub(super) fn asked_before(rollout: &Rollout, occasion: Occasion) -> Vec<&Gate> {
    if rollout.gates.occasion == Some(occasion) {
        let states = &rollout.gates.states;
        return rollout.policy.gates.iter().filter(|gate| states.contains_key(&gate.name)).collect();
    }
    let from = match rollout.phase {
        Phase::Progressing { step, .. } => Some(step),
        Phase::Preparing { step } => step.checked_sub(1),
        _ => None,
    };
    gates_of(&rollout.policy, occasion, from)
}

pub(super) fn is_open(states: &BTreeMap<String, GateState>, gate: &Gate) -> bool {
    matches!(states.get(&gate.name).map(|state| &state.status), Some(GateStatus::Open { .. }))
}

/// The gates that stand before an occasion, or are asked all along, and have not said yes, with what they
/// said last.
pub(super) fn closed(rollout: &Rollout, occasion: Occasion) -> Vec<String> {
    let states = &rollout.gates.states;
    let before = asked_before(rollout, occasion).into_iter().filter(|gate| !is_open(states, gate));
    before.map(|gate| gate.name.clone()).chain(shut(rollout)).collect()
}

/// The gates that are asked all along and do not say yes.
pub(super) fn shut(rollout: &Rollout) -> Vec<String> {
    let during = &rollout.gates.during;
    during.iter().filter(|(_, state)| is_closed(state)).map(|(name, _)| name.clone()).collect()
}

/// The occasion has passed: what was said for it is used up. What is asked for another one goes on.
pub(super) fn pass(change: &mut Change, occasion: Occasion) {
    let kept = &mut change.state.rollout.gates;
    if kept.occasion != Some(occasion) {
        return;
    }
    kept.occasion = None;
    kept.insisted = None;
    let passed = std::mem::take(&mut kept.states);
    for name in passed.keys() {
        kept.approvals.remove(name);
    }
}

/// From the yes of a point of no return on.
pub(super) fn no_return(change: &mut Change, gate: &Gate) {
    let passed = &mut change.state.rollout.gates.no_return;
    if !gate.point_of_no_return || passed.is_some() {
        return;
    }
    *passed = Some(gate.name.clone());
    let sentence = format!(
        "Past the point of no return ({}): from here on Serin does not roll back by itself; it holds and pages, and \
         a person decides.",
        gate.name
    );
    change.record(EventKind::GateOpened, None, sentence);
}

/// A gate that is asked all along and does not say yes.
pub(super) fn is_closed(state: &GateState) -> bool {
    match &state.status {
        GateStatus::Refused { .. } | GateStatus::Lost { .. } => true,
        // Not known is no verdict, but it is a reason not to go on.
        GateStatus::Waiting { .. } => state.faults >= FAULTS,
        GateStatus::Running | GateStatus::Open { .. } => false,
    }
}

/// Where a gate is, if it is waited for or asked all along.
pub(super) fn state_of<'s>(rollout: &'s mut Rollout, gate: &Gate) -> Option<&'s mut GateState> {
    let states: &mut BTreeMap<String, GateState> =
        if gate.before == Before::During { &mut rollout.gates.during } else { &mut rollout.gates.states };
    states.get_mut(&gate.name)
}

/// The policy's gate of that name.
pub(super) fn named(rollout: &Rollout, name: &str) -> Result<Gate, Illegal> {
    let gates = &rollout.policy.gates;
    gates.iter().find(|gate| gate.name == name).cloned().ok_or_else(|| {
        let known: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
        Illegal::Gate(match known.is_empty() {
            true => format!("there is no gate `{name}`: the policy has none"),
            false => format!("there is no gate `{name}`; the policy has {}", known.join(", ")),
        })
    })
}
