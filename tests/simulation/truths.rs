//! Runs in which one truth is given and one outcome is right, over many seeds.

use serin::core::limit::Severity;
use serin::core::notice::NoticeKind;
use serin::core::policy::{AtMax, Policy, Preflight};
use serin::core::reason::ReasonCode;
use serin::core::rollout::{CommandKind, EventKind, Phase};

use crate::faults::{Fault, FaultKind};
use crate::run::Report;
use crate::scenario::{Scenario, calm};
use crate::seeds::play;
use crate::testkit::builders::{error_guardrail, policy, secs, step};
use crate::world::Behaviour;

const SEEDS: u64 = 200;

/// 5 → 25 → 100, and a critical limit of 2% errors.
fn limited() -> Policy {
    let mut limit = error_guardrail(0.02);
    limit.severity = Severity::Critical;
    // What happens after a beginning on a service that is not well; that it is refused has a test of its own.
    let preflight = Preflight { healthy_baseline: false, ..Preflight::default() };
    let policy = policy()
        .interval(secs(5))
        .steps(vec![step(5.0, 30), step(25.0, 30), step(100.0, 0)])
        .at_max(AtMax::Hold)
        .bake(secs(30))
        .guardrail(limit)
        .build();
    Policy { preflight, ..policy }
}

fn first_end(report: &Report) -> Option<ReasonCode> {
    match &report.rollouts().first()?.phase {
        Phase::RolledBack { reason } => Some(reason.code),
        _ => None,
    }
}

fn held_for_both(report: &Report) -> bool {
    let stored = report.data.rollouts.values().flat_map(|data| data.events.values());
    let mut held = stored.filter(|event| event.kind == EventKind::HoldAdded);
    let told = report.data.outbox.values().any(|data| {
        data.entry.notice.kind == NoticeKind::Held && data.entry.notice.severity >= Severity::High
    });
    held.any(|event| event.sentence.contains("both_bad")) && told
}

fn check(what: &str, seeds: u64, scenario: impl Fn(u64) -> Scenario, right: impl Fn(&Report) -> bool) {
    let mut wrong = Vec::new();
    for seed in 1..=seeds {
        let report = play(scenario(seed));
        if !right(&report) || !report.violations.is_empty() {
            wrong.push((seed, report));
        }
    }
    if let Some((seed, report)) = wrong.first() {
        panic!(
            "{what}: wrong in {} of {seeds} seeds; seed {seed}:\n{}\n{:?}",
            wrong.len(),
            report.story.join("\n"),
            report.violations
        );
    }
}

#[test]
fn both_arms_bad_from_the_beginning_are_held_and_never_taken_back() {
    let both = Behaviour::errors(0.05);
    check(
        "5% errors in both arms",
        SEEDS,
        |seed| calm(seed, limited(), both, both),
        // In the end a person takes it back.
        |report| first_end(report) == Some(ReasonCode::Command) && held_for_both(report),
    );
}

#[test]
fn a_limit_that_holds_regardless_of_the_baseline_takes_back() {
    let both = Behaviour::errors(0.05);
    let mut policy = limited();
    policy.guardrails[0].regardless_of_baseline = true;
    check(
        "5% errors in both arms, regardless of the baseline",
        20,
        |seed| calm(seed, policy.clone(), both, both),
        |report| first_end(report) == Some(ReasonCode::Guardrail),
    );
}

#[test]
fn a_canary_that_breaks_both_arms_is_taken_back() {
    let healthy = Behaviour::errors(0.001);
    let poison = Behaviour { poisons: Some(0.3), ..healthy };
    check(
        "both healthy before the step, both broken after it",
        SEEDS,
        |seed| calm(seed, limited(), healthy, poison),
        |report| first_end(report) == Some(ReasonCode::BothBroke),
    );
}

#[test]
fn a_healthy_release_is_promoted() {
    let healthy = Behaviour::errors(0.005);
    let mut policy = limited();
    policy.analysis.dispersion = 1.0;
    check(
        "a healthy canary",
        20,
        |seed| calm(seed, policy.clone(), healthy, healthy),
        |report| report.rollouts().first().is_some_and(|rollout| rollout.phase == Phase::Succeeded),
    );
}

#[test]
fn a_bad_release_is_taken_back_by_the_tests_alone() {
    let mut policy = limited();
    policy.guardrails.clear();
    let bad = Behaviour::errors(0.05);
    check(
        "×10 errors, no guardrail",
        20,
        |seed| calm(seed, policy.clone(), Behaviour::errors(0.005), bad),
        |report| matches!(first_end(report), Some(ReasonCode::Harm | ReasonCode::Catastrophe)),
    );
}

#[test]
fn without_a_store_a_bad_canary_still_goes_to_zero() {
    let breaks_at = 60_000;
    let scenario = |seed| {
        let healthy = Behaviour::errors(0.001);
        let bad = Behaviour { turns: Some((breaks_at, 0.5)), ..healthy };
        let mut policy = limited();
        policy.steps = vec![step(50.0, 3600), step(100.0, 0)];
        let mut scenario = calm(seed, policy, healthy, bad);
        let until = scenario.hostile_until;
        scenario.faults =
            vec![Fault { from: breaks_at - 3000, until, target: None, kind: FaultKind::StoreFails }];
        scenario.targets[0].last_word = CommandKind::Promote;
        scenario
    };
    check("a broken store and a broken canary", 20, scenario, |report| {
        let exposed = |from: i64, until: i64| {
            report.exposure.iter().any(|(at, share)| (from..until).contains(at) && *share > 0.0)
        };
        // At 0 within a minute, though the store is away for two more; recorded when it is back.
        let until = scenario(1).hostile_until;
        exposed(breaks_at / 2, breaks_at)
            && !exposed(breaks_at + 60_000, i64::MAX)
            && until > breaks_at + 60_000
            && matches!(
                first_end(report),
                Some(ReasonCode::Harm | ReasonCode::Catastrophe | ReasonCode::Guardrail)
            )
    });
}
