//! The door to a higher exposure: whatever goes on, by proof, by time or by a person's word, asks freezes, holds,
//! gates and windows first; and what a person's word overrides.

use serin::core::gate::{Before, Gate, GateAnswer, GateOutcome, Occasion};
use serin::core::judge::{Assessment, GuardrailAssessment, GuardrailStatus, MetricAssessment};
use serin::core::limit::Severity;
use serin::core::notice::NoticeKind;
use serin::core::policy::{AtMax, GuardrailAction, Policy};
use serin::core::pools::ObservedSplit;
use serin::core::rollout::{
    Command, CommandKind, Event, EventKind, Force, Giver, Hold, Phase, PhaseName, Rollout, due_gates,
};
use serin::core::split::{Split, Weight};

use super::held::told::{Told, approval, detail, gate, program, quiet, with, yes};
use crate::testkit::builders::{at, percent, policy, secs};

const BOTH: Force = Force { overrides: true, even_if_worse: true };
const OVERRIDE: Force = Force { overrides: true, even_if_worse: false };

fn forced(force: Force) -> impl FnOnce(&mut Command) {
    move |command| command.force = force
}

/// At its first step, seen.
fn at_first_step(policy: Policy) -> Told {
    let mut told = Told::begin(policy);
    told.until(|state| PhaseName::from(&state.rollout.phase) == PhaseName::Progressing);
    told
}

/// A step with hardly any traffic, which nothing is proven in until it has lasted its maximum.
fn starve(told: &mut Told, looks: usize) {
    for _ in 0..looks {
        told.look((40, 0), (760, 0));
    }
}

// ------------------------------------------------------------------------------------- steps that end by time

#[test]
fn a_step_that_ends_unproven_asks_the_gates_of_the_next_one() {
    let policy = Policy {
        gates: vec![gate("lead", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))],
        ..policy().at_max(AtMax::PromoteUnproven).build()
    };
    let mut told = at_first_step(policy);
    starve(&mut told, 80);
    assert_eq!(told.weight(), percent(5.0), "nobody has said yes: {:?}", told.log);
    assert!(told.holds(Hold::Gate));
    assert_eq!(told.state.rollout.gates.occasion, Some(Occasion::Step(1)));
    told.command("lena", yes("lead", &["lead"])).expect("a yes");
    starve(&mut told, 2);
    assert_eq!(told.weight(), percent(25.0));
    assert!(told.logged("UNPROVEN"), "{:?}", told.log);
}

#[test]
fn a_holdback_that_ends_by_its_time_asks_the_gates_of_promotion() {
    // What `bake.holdback` makes: a step before 100% that ends by its time.
    let mut policy = with(vec![gate("quiet", Before::Promotion, quiet())]);
    let last = policy.steps.len() - 2;
    policy.steps[last].at_max = AtMax::PromoteUnproven;
    policy.steps[last].max = Some(policy.steps[last].min);
    let mut told = Told::begin(policy);
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { step, .. } if step == last));
    starve(&mut told, 30);
    assert!(told.weight() < Weight::FULL, "{:?}", told.log);
    assert!(told.holds(Hold::Gate));
    told.answer("quiet", detail(GateAnswer::Yes));
    starve(&mut told, 2);
    assert_eq!(told.weight(), Weight::FULL);
}

#[test]
fn no_step_ends_by_its_time_in_a_freeze() {
    let mut told = at_first_step(policy().at_max(AtMax::PromoteUnproven).build());
    told.take(Event::Freeze(Some("frozen by erin: the holidays".to_owned())));
    starve(&mut told, 80);
    assert_eq!(told.weight(), percent(5.0));
    told.take(Event::Freeze(None));
    starve(&mut told, 2);
    assert_eq!(told.weight(), percent(25.0));
}

// ------------------------------------------------------------------------------- steps that are prepared long

/// Prepared for 25%, with its gates open; the workload has not said yet that it is ready.
fn prepared(gates: Vec<Gate>, open: impl FnOnce(&mut Told)) -> Told {
    let mut told = at_first_step(with(gates));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    open(&mut told);
    // A tick alone: the router's answer would bring the workload's.
    let split = told.weight();
    told.tick_alone();
    assert_eq!(PhaseName::from(&told.state.rollout.phase), PhaseName::Preparing, "{:?}", told.log);
    assert_eq!(told.weight(), split);
    told
}

#[test]
fn a_step_that_was_prepared_long_asks_its_gates_again() {
    let gates = vec![
        gate("quiet", Before::Step(percent(25.0)), quiet()),
        gate("migrated", Before::Step(percent(25.0)), program()),
    ];
    let mut told = prepared(gates, |told| {
        told.answer("quiet", detail(GateAnswer::Yes));
        told.answer("migrated", detail(GateAnswer::Yes));
    });
    let asked: Vec<String> = due_gates(&told.state.rollout).into_iter().map(|due| due.gate.name).collect();
    assert_eq!(asked, ["quiet"], "what changes nothing is asked until the step is entered, programs are not");
    told.command("mara", CommandKind::Pause).expect("paused");
    told.answer("quiet", detail(GateAnswer::NotYet));
    told.command("mara", CommandKind::Resume).expect("resumed");
    told.take(Event::WorkloadReady);
    assert_eq!(told.weight(), percent(5.0), "an alert fires since");
    assert!(told.holds(Hold::Gate));
    told.answer("quiet", detail(GateAnswer::Yes));
    // Held by a gate the workload is not asked: the look finds that the gate has opened.
    told.tick_alone();
    assert!(!told.holds(Hold::Gate), "{:?}", told.state.rollout.holds);
    told.take(Event::WorkloadReady);
    assert_eq!(told.weight(), percent(25.0));
    assert_eq!(told.state.rollout.gates.occasion, None, "the occasion has passed");
}

#[test]
fn a_yes_for_the_step_that_is_prepared_is_no_yes_for_the_one_after() {
    let each = || gate("lead", Before::EachStep, approval(&[("lead", 1)], true));
    let mut told = prepared(vec![each()], |told| {
        told.command("lena", yes("lead", &["lead"])).expect("a yes");
    });
    told.command("otto", CommandKind::Promote).expect("wanted");
    told.healthy(2);
    assert_eq!(told.weight(), percent(5.0), "100% needs a yes of its own");
    told.command("lena", yes("lead", &["lead"])).expect("a yes");
    told.healthy(2);
    assert_eq!(told.weight(), Weight::FULL);
}

// ------------------------------------------------------------------------------------ the pauses of others

#[test]
fn a_pause_of_somebody_else_is_named_and_not_passed_by_accident() {
    for kind in [CommandKind::Advance, CommandKind::Promote] {
        let mut told = at_first_step(policy().build());
        told.command("mara", CommandKind::Pause).expect("paused");
        let before = told.state.rollout.clone();
        let refused = told.command("otto", kind.clone()).expect_err("somebody else has paused it");
        assert!(refused.contains(&format!("paused by mara at {}", at(told.seconds))), "{refused}");
        assert!(refused.contains("they know why"), "{refused}");
        let through = format!("`serin rollout {} r1 --override --reason", kind.name());
        assert!(refused.contains(&through), "{refused}");
        assert!(!refused.contains("--even-if-worse"), "{refused}");
        assert_eq!(told.state.rollout, before, "nothing was done");

        told.command_with("otto", kind, forced(OVERRIDE)).expect("with the override");
        assert!(!told.holds(Hold::User));
        assert!(told.log.iter().any(|(kind, sentence)| *kind == EventKind::HoldRemoved
            && sentence.contains("Requested by otto: they know why")));
        let telling: Vec<_> = told.notices.iter().filter(|n| n.sentence.starts_with("mara: ")).collect();
        assert_eq!(telling.len(), 1, "who paused it is told");
        assert!(telling[0].sentence.contains("otto") && telling[0].severity == Severity::High);
        assert_eq!(telling[0].kind, NoticeKind::Alert);
        told.healthy(1);
        assert!(told.weight() > percent(5.0));
    }
}

#[test]
fn a_pause_of_ones_own_is_dropped_with_a_line_in_the_log() {
    let mut told = at_first_step(policy().build());
    told.command("mara", CommandKind::Pause).expect("paused");
    told.command("mara", CommandKind::Advance).expect("it is her own");
    assert!(told.log.iter().any(|(kind, _)| *kind == EventKind::HoldRemoved), "{:?}", told.log);
    assert!(!told.notices.iter().any(|notice| notice.sentence.contains("overridden")));
    told.healthy(1);
    assert_eq!(told.weight(), percent(25.0));
}

#[test]
fn two_who_have_paused_it_are_both_heard() {
    let mut told = at_first_step(policy().build());
    told.command("mara", CommandKind::Pause).expect("paused");
    told.command("otto", CommandKind::Pause).expect("paused too");
    assert!(told.logged("too: Requested by otto"), "{:?}", told.log);
    let refused = told.command("mara", CommandKind::Advance).expect_err("otto has paused it too");
    assert!(refused.contains("paused by otto") && !refused.contains("paused by mara"), "{refused}");
    let refused = told.command("erin", CommandKind::Advance).expect_err("both have");
    assert!(refused.contains("paused by otto") && refused.contains("paused by mara"), "{refused}");
    told.command("mara", CommandKind::Resume).expect("resumed");
    assert!(told.state.rollout.held.is_empty());
}

#[test]
fn a_pause_that_an_earlier_version_stored_is_somebody_elses() {
    let mut told = at_first_step(policy().build());
    told.command("mara", CommandKind::Pause).expect("paused");
    told.state.rollout.last = None;
    let mut stored = serde_json::to_value(&told.state.rollout).expect("JSON");
    stored.as_object_mut().expect("an object").remove("held");
    told.state.rollout = serde_json::from_value::<Rollout>(stored).expect("it still loads");
    let refused = told.command("mara", CommandKind::Advance).expect_err("by whom is not known");
    assert!(refused.contains("by whom is not known"), "{refused}");
    told.command_with("mara", CommandKind::Advance, forced(OVERRIDE)).expect("with the override");
}

#[test]
fn an_override_needs_a_reason() {
    let mut told = at_first_step(policy().build());
    let silent = |command: &mut Command| {
        command.force = OVERRIDE;
        command.reason = None;
    };
    let refused = told.command_with("otto", CommandKind::Advance, silent).expect_err("why?");
    assert!(refused.contains("needs a reason"), "{refused}");
}

#[test]
fn a_pause_never_stops_a_rollback() {
    let mut told = at_first_step(policy().build());
    told.command("mara", CommandKind::Pause).expect("paused");
    for _ in 0..40 {
        told.look((10_000, 3_000), (190_000, 190));
        if told.weight() == Weight::ZERO {
            break;
        }
    }
    assert_eq!(told.weight(), Weight::ZERO);
}

// ------------------------------------------------------------------------------------- everything else at once

/// Leans half the way to a rollback, with a broken guardrail.
fn doubtful(told: &mut Told) {
    let alpha: f64 = told.state.rollout.policy.analysis.false_rollback_rate;
    told.state.rollout.last = Some(Assessment {
        metrics: vec![MetricAssessment {
            name: "errors".to_owned(),
            ln_e_harm: (1.0 / alpha).ln() / 2.0 + 1e-9,
            ..MetricAssessment::default()
        }],
        guardrails: vec![GuardrailAssessment {
            name: "limit".to_owned(),
            status: GuardrailStatus::Breaching,
            action: GuardrailAction::RollBack,
            sentence: "errors at 9%, over the limit of 5%.".to_owned(),
            ..guardrail()
        }],
        ..Assessment::default()
    });
}

fn guardrail() -> GuardrailAssessment {
    GuardrailAssessment {
        name: String::new(),
        status: GuardrailStatus::Clear,
        canary: None,
        baseline: None,
        breaching_for: secs(0),
        baseline_healthy: None,
        action: GuardrailAction::RollBack,
        severity: Severity::High,
        sentence: String::new(),
    }
}

#[test]
fn every_obstacle_is_named_with_the_one_command_that_goes_through() {
    let gates = vec![gate("lead", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))];
    let mut told = at_first_step(with(gates));
    told.command("mara", CommandKind::Pause).expect("paused");
    doubtful(&mut told);
    let refused = told.command("otto", CommandKind::Advance).expect_err("much is against it");
    for part in [
        "paused by mara",
        "errors already leans worse (evidence of a regression 10:1; 100:1 rolls back)",
        "the guardrail limit is broken: errors at 9%",
        "`serin rollout advance r1 --override --even-if-worse --reason \"...\"`",
        "these gates must open: lead",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let refused =
        told.command_with("otto", CommandKind::Advance, forced(OVERRIDE)).expect_err("it leans worse");
    assert!(refused.contains("--even-if-worse"), "{refused}");
    told.command_with("otto", CommandKind::Advance, forced(BOTH)).expect("everything is overridden");
    assert_eq!(told.weight(), percent(5.0), "but no gate");
    assert!(told.holds(Hold::Gate));
}

#[test]
fn who_goes_on_although_it_leans_worse_says_so() {
    let mut told = at_first_step(policy().build());
    doubtful(&mut told);
    let refused = told.command("otto", CommandKind::Advance).expect_err("it leans worse");
    assert!(refused.contains("`serin rollout advance r1 --even-if-worse --reason"), "{refused}");
    let even = Force { overrides: false, even_if_worse: true };
    told.command_with("otto", CommandKind::Advance, forced(even)).expect("they say so");
}

#[test]
fn no_override_passes_a_freeze() {
    let mut told = at_first_step(policy().build());
    told.take(Event::Freeze(Some("frozen by erin: the holidays".to_owned())));
    let refused = told.command_with("otto", CommandKind::Promote, forced(BOTH)).expect_err("frozen");
    assert!(refused.contains("frozen by erin: the holidays"), "{refused}");
    assert!(refused.contains("no command passes a freeze"), "{refused}");
    assert!(!refused.contains("--override"), "{refused}");
}

#[test]
fn a_weight_that_was_lowered_does_not_rise_again_in_a_freeze() {
    let lowered = |told: &mut Told| {
        let split = Some(Split::canary(percent(2.0), false));
        told.take(Event::Observed { split: ObservedSplit::of(split), elapsed: secs(1) });
        assert!(told.holds(Hold::Drift));
    };
    let mut told = at_first_step(policy().build());
    lowered(&mut told);
    told.take(Event::Freeze(Some("frozen by erin: the holidays".to_owned())));
    let refused = told.command("otto", CommandKind::Resume).expect_err("it would raise the weight");
    assert!(refused.contains("frozen"), "{refused}");
    assert_eq!(told.weight(), percent(2.0));
    told.take(Event::Freeze(None));
    told.command("otto", CommandKind::Resume).expect("not frozen any more");
    assert_eq!(told.weight(), percent(5.0));

    let mut told = at_first_step(with(vec![gate("calm", Before::During, quiet())]));
    told.healthy(1);
    told.answer("calm", detail(GateAnswer::No));
    lowered(&mut told);
    let refused = told.command("otto", CommandKind::Resume).expect_err("the gate says no");
    assert!(refused.contains("calm"), "{refused}");
}

#[test]
fn a_weight_that_is_wanted_again_uses_up_no_yes_for_the_next_step() {
    let rules = approval(&[("lead", 1), ("production", 1)], true);
    let mut told = at_first_step(with(vec![gate("sure", Before::Step(percent(25.0)), rules)]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.command("lena", yes("sure", &["lead"])).expect("one of two");
    let split = Some(Split::canary(percent(2.0), false));
    told.take(Event::Observed { split: ObservedSplit::of(split), elapsed: secs(1) });
    told.command("otto", CommandKind::Resume).expect("the weight again");
    assert_eq!(told.weight(), percent(5.0));
    told.command("paul", yes("sure", &["production"])).expect("two of two");
    told.until(|state| state.target.wanted.canary == percent(25.0));
}

// ---------------------------------------------------------------------------------------- who gives a command

fn by_alert(command: &mut Command) {
    command.giver = Giver::Alert;
}

#[test]
fn an_alert_pauses_and_rolls_back_and_nothing_more() {
    let mut told = at_first_step(policy().build());
    for kind in [CommandKind::Advance, CommandKind::Promote, CommandKind::Resume, CommandKind::Acknowledge] {
        let refused = told.command_with("alertmanager", kind, by_alert).expect_err("no person");
        assert!(refused.contains("is for a person to give"), "{refused}");
    }
    told.command_with("alertmanager", CommandKind::Pause, by_alert).expect("paused");
    assert!(told.holds(Hold::User));
    told.command_with("alertmanager", CommandKind::Rollback, by_alert).expect("rolled back");
    assert_eq!(told.weight(), Weight::ZERO);
}

#[test]
fn past_the_point_of_no_return_an_alert_is_no_person() {
    let migrate = Gate {
        point_of_no_return: true,
        ..gate("migrate", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
    };
    let mut told = at_first_step(with(vec![migrate]));
    told.command("lena", yes("migrate", &["lead"])).expect("a yes");
    told.until(|state| state.target.wanted.canary == percent(25.0));
    assert!(told.state.rollout.gates.no_return.is_some());
    told.command_with("alertmanager", CommandKind::Rollback, by_alert).expect("taken");
    assert_eq!(told.weight(), percent(25.0), "a person must decide");
    assert!(told.holds(Hold::NoReturn));
    let incident = told.state.target.incident.clone().expect("somebody is paged");
    assert_eq!(incident.acknowledged_by, None, "an alert has not seen it");
    told.command("mara", CommandKind::Rollback).expect("a person's word");
    assert_eq!(told.weight(), Weight::ZERO);
}

#[test]
fn a_link_is_good_until_the_gates_deadline() {
    let late = Gate {
        deadline: Some(secs(30)),
        at_deadline: GateOutcome::Hold,
        ..gate("lead", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
    };
    let mut told = at_first_step(with(vec![late]));
    told.until(|state| state.rollout.gates.states.get("lead").is_some_and(|state| state.is_late));
    let by_link = |command: &mut Command| command.giver = Giver::Link;
    let refused = told.command_with("lena", yes("lead", &["lead"]), by_link).expect_err("too late");
    assert!(refused.contains("deadline has passed"), "{refused}");
    told.command("lena", yes("lead", &["lead"])).expect("at the page");
}
