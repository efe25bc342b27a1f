//! The whole demo: its policy, what it takes for success, its summary, and one run.

use std::sync::Arc;
use std::time::Duration;

use serin::clock::SystemClock;
use serin::config::parse_policy;
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{Ending, EventKind, EventRecord, Phase, Rollout};
use serin::core::split::Weight;
use serin::demo::run::{POLICY, policy};
use serin::demo::scenario::{Expected, check};
use serin::demo::summary::{ReleaseReport, Served};
use serin::demo::{LoadCounts, Report, Scenario, Surroundings, run};

use crate::testkit::builders::{self, T0};

#[test]
fn the_policy_differs_from_the_standard_in_durations_only() {
    let demo = policy().expect("policies/demo.yaml is right");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/standard.yaml");
    let standard = std::fs::read(path).expect("policies/standard.yaml");
    let standard = parse_policy("policies/standard.yaml", &standard).expect("it is right");

    let weights = |policy: &serin::core::policy::Policy| -> Vec<Weight> {
        policy.steps.iter().map(|step| step.weight).collect()
    };
    assert_eq!(weights(&demo), weights(&standard));
    assert_eq!(demo.mode, standard.mode);
    assert_eq!(demo.analysis.false_rollback_rate, standard.analysis.false_rollback_rate);
    assert_eq!(demo.analysis.no_harm_alpha, standard.analysis.no_harm_alpha);
    for metric in &demo.metrics {
        let other = &standard.metrics[0];
        assert_eq!(
            (metric.tolerance, metric.harm_floor, metric.no_harm_floor, metric.direction),
            (other.tolerance, other.harm_floor, other.no_harm_floor, other.direction),
            "{}",
            metric.name
        );
    }
    assert!(demo.guardrails.is_empty(), "it is the tests that find what is wrong");
    assert!(demo.analysis.interval < standard.analysis.interval);
    assert!(demo.analysis.warm_up < standard.analysis.warm_up);
    assert!(demo.bake.duration < standard.bake.duration);
    // What the file says of itself.
    assert_eq!(demo.analysis.dispersion, 1.0);
    let comments = POLICY.lines().filter(|line| line.trim_start().starts_with('#')).collect::<String>();
    for said in ["Not for real services", "shortened", "each independently of the others"] {
        assert!(comments.contains(said), "the file does not say {said:?}");
    }
}

fn ended(version: &str, phase: Phase) -> Rollout {
    let mut rollout = builders::rollout("r1", "shop", builders::policy().build());
    rollout.plan_mut().version = version.to_owned();
    rollout.phase = phase;
    rollout
}

fn reason(code: ReasonCode, sentence: &str) -> Reason {
    Reason::new(code, sentence)
}

#[test]
fn only_what_the_story_says_is_success() {
    let by_errors = Expected::RolledBack { by: "errors" };
    let harm = reason(ReasonCode::Harm, "errors: canary 8% against baseline 2%.");
    let back = |reason: Reason| Phase::RolledBack { reason };
    let cases = [
        (Expected::Promoted, Phase::Succeeded, None),
        (by_errors, back(harm.clone()), None),
        (by_errors, back(reason(ReasonCode::Catastrophe, "errors: far worse.")), None),
        (by_errors, Phase::Succeeded, Some("v2 should have been rolled back, and is succeeded.")),
        (
            by_errors,
            back(reason(ReasonCode::Harm, "latency: above 50 ms.")),
            Some("v2 was rolled back, but not for its errors: latency: above 50 ms."),
        ),
        (
            by_errors,
            back(reason(ReasonCode::Silent, "errors: nothing is heard.")),
            Some("v2 was rolled back, but not by the tests: errors: nothing is heard."),
        ),
        (
            by_errors,
            Phase::RollingBack { reason: harm.clone(), ending: Ending::RolledBack },
            Some(
                "v2 should have been rolled back, and is rolling back: errors: canary 8% against baseline 2%.",
            ),
        ),
        (
            Expected::Promoted,
            back(harm),
            Some("v2 should have been promoted, and is rolled back: errors: canary 8% against baseline 2%."),
        ),
        (Expected::Promoted, Phase::Baking, Some("v2 should have been promoted, and is baking.")),
    ];
    for (expected, phase, complaint) in cases {
        let found = check(expected, &ended("v2", phase));
        assert_eq!(found.as_ref().err().map(String::as_str), complaint);
    }
}

fn event(seconds: f64, kind: EventKind, sentence: &str) -> EventRecord {
    let at = T0.plus(Duration::from_secs_f64(seconds));
    EventRecord { seq: 1, at, kind, by: None, sentence: sentence.to_owned() }
}

fn story() -> Report {
    let releases = Scenario::Errors.releases();
    let why = "errors: canary 8% (80 of 1,000) against baseline 2% (380 of 19,000), ×4 [2.7 – 6.7].";
    let back = ReleaseReport {
        release: releases[0],
        rollout: ended("v2", Phase::RolledBack { reason: reason(ReasonCode::Harm, why) }),
        events: vec![
            event(0.0, EventKind::Created, "Asked for."),
            event(7.5, EventKind::RollbackStarted, &format!("The canary goes to 0%: {why}")),
            event(7.6, EventKind::SplitSeen, "The split is in force."),
            event(9.5, EventKind::RolledBack, "The canary is at 0%."),
        ],
        canary: Served { requests: 1_500, errors: 120 },
        stable: Served { requests: 48_500, errors: 970 },
    };
    let forth = ReleaseReport {
        release: releases[1],
        rollout: ended("v3", Phase::Succeeded),
        events: vec![
            event(20.0, EventKind::Advanced, "On to 25%: not worse."),
            event(30.0, EventKind::Promoted, "On to 100%: not worse."),
            event(36.0, EventKind::Succeeded, "v3 has all traffic."),
        ],
        canary: Served { requests: 50_000, errors: 1_000 },
        stable: Served { requests: 150_000, errors: 3_000 },
    };
    let traffic = LoadCounts {
        sent: 250_003,
        sent_to: vec![198_500, 51_503],
        answered: [(200, 245_000), (500, 5_000)].into(),
        failed: 3,
        shed: 1_200,
    };
    Report { scenario: Scenario::Errors, releases: vec![back, forth], traffic, seconds: 50.0 }
}

#[test]
fn the_summary_explains_each_decision() {
    let report = story();
    assert!(report.is_as_told());
    let summary = "\
What happened

✓ v2, which fails four times as many requests as v1 (8% instead of 2%): rolled back after 10 s.
    7.5 s  The canary goes to 0%: errors: canary 8% (80 of 1,000) against baseline 2% (380 of
           19,000), ×4 [2.7 – 6.7].
           v2 got 1,500 of 50,000 requests meanwhile (3.0%); 120 of them failed, where the running
           version would have failed about 30.

✓ v3, which is v2 with the bug fixed: promoted after 36 s.
   20.0 s  On to 25%: not worse.
   30.0 s  On to 100%: not worse.
   36.0 s  v3 has all traffic.
           v3 got 50,000 of 200,000 requests meanwhile (25.0%).

250,000 requests were answered in 50 s (5000 per second); 3 got no answer; 1,200 more were not sent
because this machine was too busy.

Everything went as the scenario says.
";
    assert_eq!(report.render(100), summary);
}

#[test]
fn the_summary_says_what_went_otherwise() {
    let mut report = story();
    report.releases[0].rollout.phase = Phase::Succeeded;
    report.releases.truncate(1);
    assert!(!report.is_as_told());
    let summary = report.render(100);
    assert!(summary.contains("✗ v2, which fails"), "{summary}");
    assert!(summary.contains("✗ v2 should have been rolled back, and is succeeded."), "{summary}");
    assert!(summary.ends_with("It did NOT go as the scenario says.\n"), "{summary}");

    let mut cut = story();
    cut.releases.truncate(1);
    assert!(!cut.is_as_told(), "the fix was never released");
    cut.releases.clear();
    assert!(!cut.is_as_told());
}

/// The whole demo, without a terminal.
async fn play(scenario: Scenario) -> (Report, String) {
    let told = Arc::new(std::sync::Mutex::new(String::new()));
    let lines = told.clone();
    let surroundings = Surroundings {
        clock: Arc::new(SystemClock::new()),
        serve_api: Box::new(|handle, listener, shutdown| {
            Box::pin(async move {
                let router = serin::api::router(handle, Arc::new(String::new));
                let _ = serin::api::serve(listener, router, shutdown.cancelled_owned()).await;
            })
        }),
        watch: Box::new(|api, id| {
            Box::pin(async move {
                let view =
                    reqwest::get(format!("{api}/api/v1/rollouts/{id}")).await.expect("the API answers");
                assert_eq!(view.status().as_u16(), 200);
                // The page is there too; without Node it says how to get it.
                let page = reqwest::get(format!("{api}/rollouts/{id}")).await.expect("the page answers");
                assert_eq!(page.status().as_u16(), 200);
                assert!(page.headers()["content-type"].to_str().expect("text").starts_with("text/html"));
            })
        }),
        tell: Box::new(move |line| lines.lock().expect("not poisoned").push_str(line)),
    };
    let report = run(scenario, surroundings).await.expect("the demo runs");
    let told = told.lock().expect("not poisoned").clone();
    (report, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_rolled_back_and_its_fix_promoted() {
    let (report, told) = play(Scenario::Errors).await;
    let first = told.lines().next().expect("a first line");
    assert!(first.contains("Watch it in a browser, too: http://127.0.0.1:"), "{told}");
    assert_eq!(told.matches("Its page: http://127.0.0.1:").count(), 2, "{told}");
    let summary = report.render(100);
    assert!(report.is_as_told(), "{summary}");
    assert!(summary.contains("✓ v2") && summary.contains("✓ v3"), "{summary}");
    let [back, forth] = &report.releases[..] else { panic!("two releases: {summary}") };
    // 5% of the traffic until the fault was found, and nothing after it; then all of it.
    assert!(back.canary.requests * 10 < back.stable.requests, "{summary}");
    assert!(back.canary.errors * 100 > back.canary.requests * 4, "{summary}");
    assert!(forth.canary.requests > back.canary.requests, "{summary}");
    assert!(report.traffic.failed * 1_000 < report.traffic.sent, "{summary}");
}
