//! Whole policies on made-up traffic.

use serin::core::policy::AtMax;
use serin::montecarlo::traffic::{Shape, Traffic, Truth};
use serin::montecarlo::{Cause, Outcome, Runs, Summary, rollouts};

fn summary(policy: &serin::core::policy::Policy, traffic: &Traffic, runs: u64) -> Summary {
    let outcomes = rollouts(policy, traffic, Runs::new(runs, 1), &|_| {});
    Summary::new(&outcomes, &traffic.truth)
}

#[test]
fn outcomes_do_not_depend_on_the_threads() {
    let policy = super::policy("standard.yaml");
    let truth = Truth { error_ratio: 2.5, onset_seconds: 600.0, ..Truth::default() };
    let shapes = vec![Shape::Noise { error_sd: 0.2, latency_sd: 0.05, correlation: 60.0 }];
    let traffic = Traffic { truth, shapes, ..Traffic::new(300.0, 0.01) };
    let done = std::sync::atomic::AtomicU64::new(0);
    let with = |threads| {
        rollouts(&policy, &traffic, Runs { runs: 12, seed: 5, threads }, &|n| {
            done.fetch_max(n, std::sync::atomic::Ordering::Relaxed);
        })
    };
    let one = with(1);
    assert_eq!(one, with(3));
    assert_eq!(one.len(), 12);
    assert_eq!(done.into_inner(), 12);
    assert_ne!(one, rollouts(&policy, &traffic, Runs { runs: 12, seed: 6, threads: 1 }, &|_| {}));
}

/// The whole policy with all its metrics and guardrails. `make false-rollbacks` does ten times as many under
/// every shape.
#[test]
fn harmless_releases_are_rolled_back_within_the_declared_rate() {
    let policy = super::policy("standard.yaml");
    let cold = Shape::ColdStart { lasts: 60.0, error_factor: 3.0, latency_factor: 2.0 };
    for shapes in [vec![], vec![cold]] {
        let traffic = Traffic { shapes, ..Traffic::new(100.0, 0.01) };
        let summary = summary(&policy, &traffic, 200);
        // Of 200 at 1%: more than 5 would be less than 1.7% likely, and the bound is not tight.
        assert!(summary.false_by_tests.count <= 5, "{summary:?}");
        // The error rate is far from every guardrail that rolls back.
        assert!(summary.false_by_guardrails.count <= 5, "{summary:?}");
        assert!(summary.promoted.share >= 0.9, "{summary:?}");
        assert!(summary.harmless && summary.found_by_tests.count == 0);
        let median = summary.promotion.median_seconds.unwrap();
        // Twice a minute of warm-up and half an hour at the least.
        assert!((3720.0..7200.0).contains(&median), "{summary:?}");
    }
}

#[test]
fn regressions_are_found_after_their_onset_and_told_apart() {
    let mut policy = super::policy("standard.yaml");
    policy.guardrails.clear();
    let truth = Truth { error_ratio: 4.0, onset_seconds: 600.0, ..Truth::default() };
    let traffic = Traffic { truth, ..Traffic::new(500.0, 0.01) };
    let by_tests = summary(&policy, &traffic, 40);
    assert_eq!(by_tests.found_by_tests.count, 40, "{by_tests:?}");
    let median = by_tests.detection.median_seconds.unwrap();
    assert!((20.0..300.0).contains(&median), "{by_tests:?}");

    // 2.2% instead of 1.9% is hardly more than the tolerance, but above a guardrail of 2%.
    let policy = super::policy("standard.yaml");
    let truth = Truth { error_ratio: 1.16, ..Truth::default() };
    let traffic = Traffic { truth, ..Traffic::new(2000.0, 0.019) };
    let by_rail = summary(&policy, &traffic, 20);
    assert!(by_rail.found_by_guardrails.count >= 15, "{by_rail:?}");
    assert!(by_rail.found_by_tests.count <= 5, "{by_rail:?}");
}

#[test]
fn what_is_not_proven_ends_as_the_maximum_says() {
    let mut policy = super::policy("standard.yaml");
    policy.guardrails.clear();
    let traffic = Traffic::new(1.0, 0.01);
    for (at_max, expected) in [
        (AtMax::Hold, Outcome::Undecided { seconds: 0.0, step: 0 }),
        (AtMax::RollBack, Outcome::RolledBack { seconds: 0.0, cause: Cause::AtMaximum, step: 0 }),
        (AtMax::PromoteUnproven, Outcome::Promoted { seconds: 0.0, proven: false }),
    ] {
        for step in &mut policy.steps {
            step.min = std::time::Duration::from_secs(60);
            step.max = (step.weight.0 < 10_000).then_some(std::time::Duration::from_secs(300));
            step.at_max = at_max;
            step.min_requests = 1;
        }
        for outcome in rollouts(&policy, &traffic, Runs::new(5, 1), &|_| {}) {
            let (outcome, at) = match outcome {
                Outcome::Undecided { seconds, step } => (Outcome::Undecided { seconds: 0.0, step }, seconds),
                Outcome::RolledBack { seconds, cause, step } => {
                    (Outcome::RolledBack { seconds: 0.0, cause, step }, seconds)
                }
                Outcome::Promoted { seconds, proven } => {
                    (Outcome::Promoted { seconds: 0.0, proven }, seconds)
                }
            };
            assert_eq!(outcome, expected);
            // A minute of warm-up and the maximum, at each step that it went through, and what is carried over
            // at its end because an arm had no request.
            let steps = if at_max == AtMax::PromoteUnproven { 2.0 } else { 1.0 };
            assert!((steps * 360.0..=steps * 560.0).contains(&at), "{at}");
        }
    }
}
