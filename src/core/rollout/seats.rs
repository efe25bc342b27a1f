//! Who of those that have said yes fills which place of a gate's rules.

use super::change::Change;
use super::{EventKind, standing};
use crate::core::gate::{Approval, ApprovalRule, Check, GateStatus};

/// What is wanted, for people: `one of release-lead and two of production`.
pub(super) fn wanted(rules: &[ApprovalRule]) -> String {
    let one = |rule: &ApprovalRule| {
        let count = match rule.count {
            1 => "one".to_owned(),
            2 => "two".to_owned(),
            3 => "three".to_owned(),
            count => count.to_string(),
        };
        match &rule.team {
            Some(team) => format!("{count} of {team}"),
            None => format!("{count} of those who may approve"),
        }
    };
    rules.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// Takes in what persons have said of the gates that are waited for.
pub(super) fn count(change: &mut Change) {
    let rollout = &mut change.state.rollout;
    let mut opened = Vec::new();
    for gate in &rollout.plan.policy.gates {
        let Check::Approval { rules, .. } = &gate.check else { continue };
        let Some(state) = rollout.gates.states.get_mut(&gate.name) else { continue };
        if !matches!(state.status, GateStatus::Waiting { .. }) {
            continue;
        }
        let said = rollout.gates.approvals.get(&gate.name).map(Vec::as_slice).unwrap_or_default();
        if fulfilled(rules, said) {
            let names: Vec<&str> = said.iter().map(|approval| approval.by.as_str()).collect();
            let by = names.join(", ");
            let detail = format!("approved by {by}");
            state.status = GateStatus::Open { by: Some(by.clone()), detail: detail.clone(), at: change.now };
            opened.push((gate.clone(), by, detail));
        } else if !said.is_empty() {
            let detail = format!("{}; {} said yes so far", wanted(rules), said.len());
            state.status = GateStatus::Waiting { detail };
        }
    }
    for (gate, by, detail) in opened {
        change.record(EventKind::GateOpened, Some(&by), format!("Gate {}: {detail}.", gate.name));
        standing::no_return(change, &gate);
    }
}

/// True if every rule can be fulfilled by persons of its own (a bipartite matching, by augmenting paths).
fn fulfilled(rules: &[ApprovalRule], said: &[Approval]) -> bool {
    let places: Vec<&ApprovalRule> =
        rules.iter().flat_map(|rule| std::iter::repeat_n(rule, rule.count as usize)).collect();
    let mut taken: Vec<Option<usize>> = vec![None; said.len()];
    (0..places.len()).all(|place| {
        let mut tried = vec![false; said.len()];
        seat(place, &places, said, &mut taken, &mut tried)
    })
}

fn seat(
    place: usize,
    places: &[&ApprovalRule],
    said: &[Approval],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (person, approval) in said.iter().enumerate() {
        if tried[person] || !suits(places[place], &approval.teams) {
            continue;
        }
        tried[person] = true;
        let free = match taken[person] {
            None => true,
            Some(other) => seat(other, places, said, taken, tried),
        };
        if free {
            taken[person] = Some(place);
            return true;
        }
    }
    false
}

pub(super) fn suits(rule: &ApprovalRule, teams: &[String]) -> bool {
    rule.team.as_ref().is_none_or(|team| teams.contains(team))
}
