//! The canary's share of the requests, over a trailing time.

use serin::core::incident::IncidentCause;
use serin::core::policy::{GuardrailAction, TrafficShare};
use serin::core::spec::SplitBy;

use super::*;

fn shared(action: GuardrailAction) -> Told {
    let mut policy = policy().steps(vec![step(5.0, 36_000), step(100.0, 0)]).build();
    policy.analysis.traffic_share = Some(TrafficShare { margin: 0.1, action });
    let mut told = Told::begin(policy);
    told.until(analysing);
    told
}

fn looks(told: &mut Told, count: usize, canary: u64) {
    for _ in 0..count {
        told.look((canary, 0), (1000 - canary, 0));
    }
}

/// Both arms are sampled every ten seconds.
fn sampled(told: &mut Told) {
    let arm = || ArmNotes { spacing: Some(secs(10)), ..ArmNotes::default() };
    let notes = Notes { canary: arm(), baseline: arm() };
    told.notes = BTreeMap::from([("errors".to_owned(), notes)]);
}

#[test]
fn a_share_as_it_was_set_does_nothing() {
    let mut told = shared(GuardrailAction::Hold);
    looks(&mut told, 200, 50);
    assert!(!told.holds(Hold::TrafficShare), "{:?}", told.log);
    assert_eq!(told.state.target.generation, 2);
}

#[test]
fn beyond_the_margin_the_weight_is_written_once_more_and_then_it_holds() {
    let mut told = shared(GuardrailAction::Hold);
    let generation = told.state.target.generation;
    looks(&mut told, 200, 80);
    assert_eq!(told.state.target.generation, generation + 1, "written once more, and once only");
    assert!(told.logged("The weight is written once more"), "{:?}", told.log);
    assert!(told.holds(Hold::TrafficShare), "{:?}", told.log);
    assert_eq!(told.weight(), percent(5.0));
    // What is seen after the cause is gone counts, not what was seen before.
    looks(&mut told, 130, 50);
    assert!(!told.holds(Hold::TrafficShare), "a trailing time forgets: {:?}", told.log);
}

#[test]
fn a_resume_begins_the_share_anew() {
    let mut told = shared(GuardrailAction::Hold);
    looks(&mut told, 200, 80);
    assert!(told.holds(Hold::TrafficShare));
    told.command(CommandKind::Resume);
    looks(&mut told, 1, 50);
    assert!(!told.holds(Hold::TrafficShare));
}

#[test]
fn it_rolls_back_only_beyond_twice_the_weight_and_only_where_the_policy_says_so() {
    let mut told = shared(GuardrailAction::RollBack);
    looks(&mut told, 200, 80);
    assert!(told.holds(Hold::TrafficShare) && told.weight() == percent(5.0), "{:?}", told.log);
    // How far apart the samples of an arm are is not known: too little to act on.
    let mut told = shared(GuardrailAction::RollBack);
    looks(&mut told, 200, 200);
    assert!(told.holds(Hold::TrafficShare) && told.weight() == percent(5.0), "{:?}", told.log);
    let mut told = shared(GuardrailAction::RollBack);
    sampled(&mut told);
    for _ in 0..200 {
        if matches!(told.state.rollout.phase, Phase::RollingBack { .. }) {
            break;
        }
        told.look((200, 0), (800, 0));
    }
    assert!(
        matches!(&told.state.rollout.phase, Phase::RollingBack { reason, .. } if reason.code == ReasonCode::TrafficShare),
        "{:?}",
        told.log
    );
    assert!(told.logged("The weight is written once more"), "{:?}", told.log);
    let mut told = shared(GuardrailAction::Hold);
    looks(&mut told, 200, 200);
    assert_eq!(told.weight(), percent(5.0));
}

#[test]
fn a_share_far_beyond_the_weight_is_an_incident_and_names_likely_causes() {
    let mut told = shared(GuardrailAction::Alert);
    looks(&mut told, 5, 400);
    let open = |told: &Told| {
        let incident = told.state.target.incident.as_ref();
        incident.is_some_and(|incident| incident.causes.contains(&IncidentCause::TrafficShare))
    };
    assert!(!open(&told), "not before a minute");
    looks(&mut told, 3, 400);
    assert!(open(&told), "{:?}", told.log);
    assert!(told.notices.iter().any(|notice| notice.contains("go around the router")), "{:?}", told.notices);
    looks(&mut told, 130, 50);
    assert!(!open(&told), "it is over when the share is right again");
}

#[test]
fn what_a_canary_is_asked_for_at_weight_0_is_its_own_noise() {
    // Two probes every ten seconds, in preflight already.
    let mut policy = policy().steps(vec![step(5.0, 36_000), step(100.0, 0)]).build();
    policy.analysis.traffic_share = Some(TrafficShare { margin: 0.1, action: GuardrailAction::Hold });
    policy.gates = Vec::new();
    let mut told = Told::begin(policy);
    told.state.rollout.holds.insert(Hold::User);
    for _ in 0..10 {
        told.look((2, 0), (38, 0));
    }
    told.command(CommandKind::Resume);
    told.look((2, 0), (38, 0));
    told.until(analysing);
    // 2 of 40 requests are the canary's by its weight, and 2 more are probes.
    for _ in 0..300 {
        told.look((4, 0), (38, 0));
    }
    assert!(told.logged("requests/s at weight 0"), "{:?}", told.log);
    assert!(!told.holds(Hold::TrafficShare), "{:?}", told.log);
    assert_eq!(told.state.target.generation, 2);
    // A canary that only has its probes left is silent.
    for _ in 0..100 {
        if matches!(told.state.rollout.phase, Phase::RollingBack { .. }) {
            return;
        }
        told.look((2, 0), (380, 0));
    }
    panic!("its probes pass for requests: {:?}", told.log);
}

#[test]
fn what_the_router_explains_is_named_and_rolls_nothing_back() {
    let mut told = shared(GuardrailAction::RollBack);
    for _ in 0..200 {
        told.state.rollout.share_explained = Some("3 of 4 stable servers are down".to_owned());
        told.look((200, 0), (800, 0));
    }
    assert!(told.holds(Hold::TrafficShare) && told.weight() == percent(5.0), "{:?}", told.log);
    assert!(told.logged("The router says: 3 of 4 stable servers are down."), "{:?}", told.log);
}

#[test]
fn the_share_is_not_checked_where_something_else_than_requests_is_split() {
    for split_by in [SplitBy::Sessions, SplitBy::Connections, SplitBy::Replicas] {
        let mut told = shared(GuardrailAction::RollBack);
        told.state.target.split_by = split_by;
        looks(&mut told, 100, 600);
        assert!(!told.holds(Hold::TrafficShare) && told.weight() == percent(5.0), "{:?}", told.log);
        let off =
            told.log.iter().filter(|(_, sentence)| sentence.contains("share of the requests is not checked"));
        assert_eq!(off.count(), 1, "told once: {:?}", told.log);
    }
}
