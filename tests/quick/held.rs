//! Gates, approvals, freezes, the point of no return, verified rollbacks and incidents: rollouts told event
//! by event, without engine and clock.

mod ends;
pub mod told;

use serin::core::gate::{Before, Gate, GateAnswer, GateOutcome, GateStatus, Occasion};
use serin::core::ids::RolloutId;
use serin::core::incident::{Incident, IncidentCause, IncidentStep};
use serin::core::rollout::{CommandKind, Ending, Event, EventKind, Hold, Phase, due_gates, running_gates};
use serin::core::split::Weight;

use crate::testkit::builders::{at, percent, policy, secs};

use self::told::{Told, approval, detail, gate, no, program, quiet, with, yes};

#[test]
fn nothing_rises_before_the_gates_of_the_start_say_yes() {
    let mut told = Told::begin(with(vec![
        gate("window", Before::Start, quiet()),
        gate("migrated", Before::Start, program()),
    ]));
    told.healthy(3);
    assert!(told.holds(Hold::Gate));
    assert_eq!(told.weight(), Weight::ZERO);
    assert_eq!(told.state.rollout.gates.occasion, Some(Occasion::Start));
    told.answer("migrated", detail(GateAnswer::Yes));
    told.healthy(2);
    assert_eq!(told.weight(), Weight::ZERO, "one of two is not enough");
    told.answer("window", detail(GateAnswer::Yes));
    told.healthy(2);
    assert_eq!(told.weight(), percent(5.0));
    assert!(!told.holds(Hold::Gate));
}

#[test]
fn a_held_rollout_is_judged_on_and_rolled_back() {
    let mut told = Told::begin(with(vec![gate("smoke", Before::Step(percent(25.0)), program())]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    for _ in 0..30 {
        told.look((10_000, 2_000), (190_000, 190));
        if matches!(told.state.rollout.phase, Phase::RollingBack { .. }) {
            break;
        }
    }
    assert_eq!(told.weight(), Weight::ZERO);
    assert!(told.state.rollout.gates.states.is_empty(), "nothing is asked on the way back");
    assert!(due_gates(&told.state.rollout).is_empty());
}

#[test]
fn a_yes_of_a_check_is_as_good_as_its_last_answer() {
    let mut told = Told::begin(with(vec![
        gate("quiet", Before::Promotion, quiet()),
        gate("sure", Before::Promotion, approval(&[("lead", 1)], true)),
    ]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(2)));
    told.answer("quiet", detail(GateAnswer::Yes));
    assert_eq!(due_gates(&told.state.rollout).len(), 1, "it is asked on while the other is waited for");
    told.answer("quiet", detail(GateAnswer::NotYet));
    told.command("lena", yes("sure", &["lead"])).expect("a yes");
    told.healthy(2);
    assert!(told.weight() < Weight::FULL);
    told.answer("quiet", detail(GateAnswer::Yes));
    told.healthy(1);
    assert_eq!(told.weight(), Weight::FULL);
}

#[test]
fn approvals_are_counted_by_team_and_person() {
    let rules = approval(&[("lead", 1), ("production", 2)], false);
    let mut told = Told::begin(with(vec![gate("sure", Before::Start, rules)]));
    let starter = told.state.rollout.created_by.clone();
    told.healthy(2);
    let refused = told.command(&starter, yes("sure", &["lead"])).expect_err("the starter");
    assert!(refused.contains("somebody else"), "{refused}");
    let refused = told.command("otto", yes("sure", &["kitchen"])).expect_err("another team");
    assert!(
        refused.contains("one of lead and two of production") && refused.contains("kitchen"),
        "{refused}"
    );
    let refused = told.command("otto", yes("nothing", &["lead"])).expect_err("no such gate");
    assert!(refused.contains("the policy has sure"), "{refused}");
    // Ada is in both teams: she counts where she is needed.
    told.command("ada", yes("sure", &["lead", "production"])).expect("a yes");
    assert!(told.command("ada", yes("sure", &["production"])).is_err(), "nobody counts twice");
    told.command("bob", yes("sure", &["production"])).expect("a yes");
    told.healthy(2);
    assert_eq!(told.weight(), Weight::ZERO);
    told.command("cy", yes("sure", &["production"])).expect("a yes");
    told.healthy(2);
    assert_eq!(told.weight(), percent(5.0));
    assert!(told.logged("approved by ada, bob, cy"), "{:?}", told.log);
    let late = told.command("dan", yes("sure", &["production"])).expect_err("it has passed");
    assert!(late.contains("does not wait for anybody any more"), "{late}");
}

#[test]
fn a_refusal_holds_or_takes_back_with_its_reason() {
    let before = |outcome| {
        let gate = Gate {
            on_refusal: outcome,
            ..gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
        };
        let mut told = Told::begin(with(vec![gate]));
        told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
        told.command("lena", no("sure", &["lead"])).expect("a no");
        told
    };
    let told = before(GateOutcome::RollBack);
    assert_eq!(told.weight(), Weight::ZERO);
    let reason = told.state.rollout.phase.reason().expect("a reason");
    assert!(reason.sentence.contains("they know why"), "{reason:?}");

    let mut told = before(GateOutcome::Hold);
    told.healthy(5);
    assert_eq!(told.weight(), percent(5.0));
    assert!(told.command("lena", yes("sure", &["lead"])).is_err(), "a no stands");
    told.command("root", CommandKind::RetryGate { gate: "sure".to_owned() }).expect("asked anew");
    told.command("lena", yes("sure", &["lead"])).expect("a yes");
    told.healthy(2);
    assert_eq!(told.weight(), percent(25.0));
}

#[test]
fn a_deadline_does_what_the_policy_says() {
    for (outcome, weight) in
        [(GateOutcome::Hold, 5.0), (GateOutcome::RollBack, 0.0), (GateOutcome::GoOn, 25.0)]
    {
        let gate = Gate {
            deadline: Some(secs(30)),
            at_deadline: outcome,
            ..gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
        };
        let mut told = Told::begin(with(vec![gate]));
        told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
        told.healthy(2);
        assert_eq!(told.weight(), percent(5.0), "before the deadline");
        told.healthy(3);
        assert_eq!(told.weight(), percent(weight), "{outcome:?}");
        let pages = told.incidents().into_iter().filter(|(step, _)| *step == IncidentStep::Trigger).count();
        assert_eq!(pages, usize::from(outcome != GateOutcome::GoOn), "{outcome:?}");
    }
}

#[test]
fn a_person_who_wants_to_go_on_waits_for_gates_but_not_for_proof() {
    let mut told = Told::begin(with(vec![gate("smoke", Before::Step(percent(25.0)), program())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.command("lena", CommandKind::Advance).expect("wanted");
    assert_eq!(told.weight(), percent(5.0));
    assert!(told.holds(Hold::Gate));
    told.answer("smoke", detail(GateAnswer::Yes));
    told.healthy(1);
    assert_eq!(told.weight(), percent(25.0));
    assert!(told.logged("Requested by lena"), "{:?}", told.log);
}

#[test]
fn who_jumps_over_steps_passes_their_gates_too() {
    let mut told = Told::begin(with(vec![gate("smoke", Before::Step(percent(25.0)), program())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.command("lena", CommandKind::Promote).expect("wanted");
    told.healthy(3);
    assert_eq!(told.weight(), percent(5.0));
    told.command("root", CommandKind::OverrideGate { gate: "smoke".to_owned() }).expect("overridden");
    assert!(told.logged("OVERRIDDEN by root: they know why"), "{:?}", told.log);
    told.healthy(2);
    assert_eq!(told.weight(), Weight::FULL);
}

#[test]
fn a_program_whose_outcome_is_not_known_holds_and_pages() {
    let mut told = Told::begin(with(vec![gate("migrate", Before::Start, program())]));
    told.healthy(2);
    assert_eq!(due_gates(&told.state.rollout).len(), 1);
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    assert!(due_gates(&told.state.rollout).is_empty(), "it is not begun twice");
    assert_eq!(running_gates(&told.state.rollout), ["migrate"]);
    told.answer("migrate", GateAnswer::Lost("Serin stopped meanwhile.".to_owned()));
    told.healthy(5);
    assert_eq!(told.weight(), Weight::ZERO);
    assert!(due_gates(&told.state.rollout).is_empty(), "it is not run again by itself");
    assert_eq!(
        told.state.target.incident.as_ref().map(|i| i.causes.clone()),
        Some([IncidentCause::Gate].into())
    );
    told.command("lena", CommandKind::RetryGate { gate: "migrate".to_owned() }).expect("asked anew");
    let due = due_gates(&told.state.rollout);
    assert_eq!((due.len(), due[0].asked), (1, 1), "another question, another key");
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", detail(GateAnswer::Yes));
    told.healthy(2);
    assert_eq!(told.weight(), percent(5.0));
    let steps: Vec<IncidentStep> = told.incidents().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [IncidentStep::Trigger, IncidentStep::Acknowledge, IncidentStep::Resolve]);
}

#[test]
fn faults_are_asked_again_and_are_no_verdict() {
    let mut told = Told::begin(with(vec![gate("quiet", Before::Start, quiet())]));
    told.healthy(2);
    for _ in 0..20 {
        told.answer("quiet", detail(GateAnswer::Fault));
        told.healthy(1);
    }
    assert_eq!(told.weight(), Weight::ZERO);
    assert!(matches!(told.state.rollout.gates.states["quiet"].status, GateStatus::Waiting { .. }));
    assert_eq!(due_gates(&told.state.rollout).len(), 1);
}

#[test]
fn a_gate_that_is_asked_all_along_holds_while_it_says_no() {
    let mut told = Told::begin(with(vec![gate("quiet", Before::During, quiet())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.healthy(1);
    assert_eq!(due_gates(&told.state.rollout)[0].occasion, Occasion::During);
    told.answer("quiet", detail(GateAnswer::NotYet));
    assert!(told.holds(Hold::Gate));
    told.healthy(30);
    assert_eq!(told.weight(), percent(5.0));
    told.answer("quiet", detail(GateAnswer::Yes));
    assert!(!told.holds(Hold::Gate));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    let roll_back = Gate { on_refusal: GateOutcome::RollBack, ..gate("quiet", Before::During, quiet()) };
    let mut told = Told::begin(with(vec![roll_back]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.healthy(1);
    told.answer("quiet", detail(GateAnswer::No));
    assert_eq!(told.weight(), Weight::ZERO);
}

#[test]
fn past_the_point_of_no_return_a_person_decides() {
    let migrate =
        Gate { point_of_no_return: true, ..gate("migrate", Before::Step(percent(25.0)), program()) };
    let mut told = Told::begin(with(vec![migrate]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", detail(GateAnswer::Yes));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    for _ in 0..30 {
        told.look((50_000, 10_000), (150_000, 150));
    }
    assert_eq!(told.weight(), percent(25.0), "it does not go back by itself");
    assert!(told.holds(Hold::NoReturn));
    let pages = told.incidents();
    assert_eq!(pages.iter().filter(|(step, _)| *step == IncidentStep::Trigger).count(), 1, "{pages:?}");
    told.command("lena", CommandKind::Rollback).expect("a person may");
    assert_eq!(told.weight(), Weight::ZERO);
}

#[test]
fn what_cannot_be_taken_back_is_asked_last_and_binds_from_its_yes() {
    let migrate =
        Gate { point_of_no_return: true, ..gate("migrate", Before::Step(percent(25.0)), program()) };
    let sure = gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true));
    let late = gate("late", Before::Promotion, approval(&[("lead", 1)], true));
    let mut told = Told::begin(with(vec![migrate, sure, late]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    assert!(due_gates(&told.state.rollout).is_empty(), "nobody has agreed yet");
    told.command("lena", yes("sure", &["lead"])).expect("a yes");
    assert_eq!(due_gates(&told.state.rollout)[0].gate.name, "migrate");
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", detail(GateAnswer::Yes));
    assert_eq!(told.state.rollout.gates.no_return.as_deref(), Some("migrate"));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    // A newer release is no person's word either.
    let newer = RolloutId("r2".to_owned());
    told.command("ci", CommandKind::Supersede { by: newer }).expect("taken");
    assert_eq!(told.weight(), percent(25.0));
    assert!(told.holds(Hold::NoReturn));
}

#[test]
fn two_deadlines_at_once_are_one_rollback() {
    let back = |name: &str| Gate {
        deadline: Some(secs(30)),
        at_deadline: GateOutcome::RollBack,
        ..gate(name, Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
    };
    let mut told = Told::begin(with(vec![back("one"), back("two")]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.healthy(4);
    let rolled_back = matches!(
        told.state.rollout.phase,
        Phase::RollingBack { ending: Ending::RolledBack, .. } | Phase::RolledBack { .. }
    );
    assert!(rolled_back, "{:?}", told.state.rollout.phase);
    // Before the start it is over with the first one, too.
    let early = |name: &str| Gate { before: Before::Start, ..back(name) };
    let mut told = Told::begin(with(vec![early("one"), early("two")]));
    told.until(|state| state.rollout.phase.is_terminal());
    assert_eq!(told.log.iter().filter(|(kind, _)| *kind == EventKind::GateDue).count(), 1, "{:?}", told.log);
}

#[test]
fn a_rollout_that_never_began_says_nothing_of_another_ones_incident() {
    let sure = Gate {
        on_refusal: GateOutcome::RollBack,
        ..gate("sure", Before::Start, approval(&[("lead", 1)], true))
    };
    let mut told = Told::begin(with(vec![sure]));
    told.state.target.incident = Some(Incident {
        key: "shop/r0/9".to_owned(),
        opened_at: at(0.0),
        rollout: RolloutId("r0".to_owned()),
        causes: [IncidentCause::NotVerified].into(),
        acknowledged_by: None,
        told: Default::default(),
    });
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Start));
    told.command("lena", no("sure", &["lead"])).expect("a no");
    told.until(|state| state.rollout.phase.is_terminal());
    assert_eq!(told.state.rollout.phase.name(), "cancelled");
    assert!(told.state.target.incident.is_some(), "the service is still not as it was");
}

#[test]
fn going_on_without_a_yes_is_not_going_on_against_a_no() {
    let sure = Gate {
        deadline: Some(secs(30)),
        at_deadline: GateOutcome::GoOn,
        ..gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
    };
    let mut told = Told::begin(with(vec![sure]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.command("lena", no("sure", &["lead"])).expect("a no");
    told.healthy(10);
    assert_eq!(told.weight(), percent(5.0));
    // A check that goes on without its yes is not asked any more, so it stays so.
    let check = Gate {
        deadline: Some(secs(30)),
        at_deadline: GateOutcome::GoOn,
        ..gate("quiet", Before::Step(percent(25.0)), quiet())
    };
    let waits = gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true));
    let mut told = Told::begin(with(vec![check, waits]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.healthy(5);
    assert!(due_gates(&told.state.rollout).is_empty());
}

#[test]
fn a_program_is_not_run_again_because_somebody_jumps_over_steps() {
    let mut told = Told::begin(with(vec![gate("migrate", Before::Step(percent(25.0)), program())]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", GateAnswer::Lost("Serin stopped meanwhile.".to_owned()));
    told.command("lena", CommandKind::Promote).expect("wanted");
    assert!(due_gates(&told.state.rollout).is_empty());
    assert!(matches!(told.state.rollout.gates.states["migrate"].status, GateStatus::Lost { .. }));
}

#[test]
fn no_person_and_no_silence_passes_a_gate_that_is_asked_all_along() {
    let mut told = Told::begin(with(vec![gate("quiet", Before::During, quiet())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.healthy(1);
    told.answer("quiet", detail(GateAnswer::NotYet));
    told.answer("quiet", detail(GateAnswer::Fault));
    assert!(told.holds(Hold::Gate), "not to answer takes no word back");
    told.command("lena", CommandKind::Advance).expect("wanted");
    told.healthy(3);
    assert_eq!(told.weight(), percent(5.0));
    told.answer("quiet", detail(GateAnswer::Yes));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    assert!(told.logged("Requested by lena"), "{:?}", told.log);
}

#[test]
fn a_freeze_stops_advancing_and_no_way_back() {
    let mut told = Told::begin(policy().build());
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.take(Event::Freeze(Some("frozen by root: the holidays".to_owned())));
    told.healthy(60);
    assert_eq!(told.weight(), percent(5.0));
    let refused = told.command("lena", CommandKind::Promote).expect_err("frozen");
    assert!(refused.contains("frozen"), "{refused}");
    told.command("lena", CommandKind::Resume).expect("other holds go");
    assert!(told.holds(Hold::Freeze), "a freeze is not a person's to drop");
    told.take(Event::Freeze(None));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    told.take(Event::Freeze(Some("frozen by root: the holidays".to_owned())));
    for _ in 0..30 {
        told.look((50_000, 10_000), (150_000, 150));
    }
    assert_eq!(told.weight(), Weight::ZERO);
}
