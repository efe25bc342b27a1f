//! What is promised about data and time, on a real Prometheus.

use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::{Behaviour, Fault};

use crate::testkit::stage::{Plan, Stage, policy};

/// Longer than the policy's silent limit lets a sample be fresh for: half of 8 s.
const APART: u32 = 7;
/// Six times the policy's interval.
const RARELY: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_everything_is_found_though_samples_come_rarely() {
    let canary = Fault::Errors { rate: 1.0 };
    let stage = Stage::start(Plan { scrape_seconds: [APART, APART], canary, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    let code = view["reason"]["code"].as_str().expect("a reason");
    assert!(["harm", "catastrophe"].contains(&code), "{view:#}");
}

/// As Prometheus's default of 60 s is to looks every 10 s. Both arms are scraped as rarely, but not at the same
/// time: there is never a moment at which both are fresh.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_everything_is_found_however_far_apart_the_arms_are_scraped() {
    let found = |tenths: u32| async move {
        let later = Duration::from_secs(RARELY.into()) * tenths / 10;
        let canary = Fault::Errors { rate: 1.0 };
        let scrape_seconds = [RARELY, RARELY];
        let plan =
            Plan { rate: 200.0, scrape_seconds, scraped_later: Some(later), canary, ..Plan::default() };
        let stage = Stage::start(plan).await;
        let id = stage.daemon.rollout("shop", "test", "v2").await;
        let view = stage.daemon.ended(&id, 240).await;
        assert_eq!(view["state"], "rolled_back", "{tenths} tenths apart: {view:#}");
        let code = view["reason"]["code"].as_str().expect("a reason");
        assert!(["harm", "catastrophe"].contains(&code), "{tenths} tenths apart: {view:#}");
    };
    tokio::join!(found(1), found(5), found(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_without_a_single_error_reaches_100_percent_without_a_hold() {
    // Its counter has a label `code`, and no series of it for errors, ever.
    let policy = policy("").replace(", absent: zero", "");
    let behaviour = Behaviour { error_rate: 0.01, ..Plan::default().behaviour };
    let canary = Fault::Errors { rate: 0.0 };
    let stage = Stage::start(Plan { rate: 1_000.0, policy, behaviour, canary, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    let events = stage.daemon.events(&id).await;
    // Before the first step it may wait for Prometheus's first scrape.
    let begun = events.iter().position(|event| event["kind"] == json!("step_entered")).expect("a step");
    let held: Vec<&Value> =
        events[begun..].iter().filter(|event| event["kind"] == json!("hold_added")).collect();
    assert!(held.is_empty(), "{held:#?}");
    let zeros = events.iter().filter(|event| {
        event["sentence"].as_str().is_some_and(|sentence| sentence.contains("the canary has no series"))
    });
    assert_eq!(zeros.count(), 1, "told once: {events:#?}");
}
