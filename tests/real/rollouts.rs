//! The main job on real traffic: healthy canaries are promoted, bad ones are rolled back.

use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::Fault;

use crate::testkit::stage::{Plan, Stage};
use crate::testkit::wait;

/// ln of the two-sided tail of a normal approximation to the binomial, good enough far from 0.
fn two_sided_p(successes: u64, trials: u64, share: f64) -> f64 {
    let (n, k) = (trials as f64, successes as f64);
    let z = ((k - n * share).abs() - 0.5).max(0.0) / (n * share * (1.0 - share)).sqrt();
    statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)
}

fn canary_percent(view: &Value, split: &str) -> f64 {
    view[split]["canary_percent"].as_f64().unwrap_or(-1.0)
}

/// Counts at the services while the split of a step is in force: begins after it is seen, and ends with
/// the last look at which it was still wanted.
async fn share_at(stage: &Stage, id: &str, percent: f64, enough: u64) -> (u64, u64) {
    let in_force =
        |view: &Value| view["seen"]["as_wanted"] == json!(true) && canary_percent(view, "wanted") == percent;
    stage.daemon.until(id, &format!("{percent}% in force"), 180, in_force).await;
    let path = format!("/api/v1/rollouts/{id}");
    let [stable, canary] = stage.requests();
    let mut counted = (0, 0);
    wait::within(Duration::from_secs(180), async || {
        let now = stage.requests();
        let view = stage.daemon.get(&path).await;
        if in_force(&view) {
            counted = (now[1] - canary, now[0] - stable + now[1] - canary);
        }
        (!in_force(&view) || counted.1 >= enough * 4).then_some(())
    })
    .await
    .expect("the step ends");
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_canary_is_promoted_with_the_share_of_traffic_that_was_decided() {
    let stage = Stage::start(Plan { rate: 1_000.0, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    for (percent, share) in [(5.0, 0.05), (25.0, 0.25)] {
        let (canary, all) = share_at(&stage, &id, percent, 5_000).await;
        let p = two_sided_p(canary, all, share);
        println!(
            "at {percent}%: {canary} of {all} requests, {:.3}%, p = {p:.3}",
            100.0 * canary as f64 / all as f64
        );
        assert!(all >= 5_000, "only {all} requests in the step");
        assert!(p >= 1e-6, "{canary} of {all} requests at {percent}%");
    }
    let view = stage.daemon.ended(&id, 180).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    let target = stage.daemon.get("/api/v1/targets/shop").await;
    assert_eq!(target["stable_version"], "v2");
    let [stable, canary] = stage.requests();
    let done =
        wait::within(Duration::from_secs(30), async || (stage.requests()[1] > canary + 5_000).then_some(()));
    done.await.expect("the new version gets the traffic");
    assert_eq!(stage.requests()[0], stable, "the old version still gets requests");
}

/// A bad canary, under a policy without any guardrail: the tests find it.
async fn rolled_back(fault: Fault, code: &[&str], words: &[&str]) {
    let stage = Stage::start(Plan { rate: 1_000.0, canary: fault, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    let sentence = view["reason"]["sentence"].as_str().expect("a reason").to_owned();
    let found = view["reason"]["code"].as_str().expect("a code").to_owned();
    assert!(code.contains(&found.as_str()), "{found}: {sentence}");
    for word in words {
        assert!(sentence.contains(word), "no {word:?} in {sentence:?}");
    }
    let after = told_delays(&stage, &id).await;
    let before = stage.canary.arrivals();
    let stable = stage.stable.requests();
    let moved = wait::within(Duration::from_secs(30), async || {
        (stage.stable.requests() > stable + 3_000).then_some(())
    });
    moved.await.expect("stable gets the traffic");
    assert_eq!(stage.canary.arrivals(), before, "the canary still gets requests: {sentence}");
    println!("{found}: {sentence}\n  {after}");
}

/// From the decision to the ACK, by the rollout's log.
async fn told_delays(stage: &Stage, id: &str) -> String {
    let events = stage.daemon.events(id).await;
    let time = |kind: &str| {
        let event = events.iter().rev().find(|event| event["kind"] == kind)?;
        event["at"].as_str()?.parse::<jiff::Timestamp>().ok()
    };
    let (decided, seen) = (time("rollback_started"), time("split_seen"));
    match decided.zip(seen) {
        Some((decided, seen)) => {
            let last = stage.canary.last_request().map(|at| at.elapsed());
            #[allow(clippy::disallowed_methods)] // A figure for people; nothing is decided by it.
            let since = jiff::Timestamp::now() - decided;
            format!(
                "decision to ACK: {:#}; last canary request {:?} ago, decision {since:#} ago",
                seen - decided,
                last.unwrap_or_default()
            )
        }
        None => panic!("no decision or no confirmation in {events:#?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_times_the_errors_are_found() {
    rolled_back(Fault::Errors { rate: 0.015 }, &["harm", "catastrophe"], &["errors", "×", "1:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_and_a_half_times_the_latency_is_found() {
    rolled_back(Fault::Latency { factor: 1.5 }, &["harm"], &["latency", "×", "1:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_percent_of_the_requests_a_second_later_is_found() {
    let fault = Fault::Tail { share: 0.01, delay: Duration::from_secs(1) };
    rolled_back(fault, &["harm"], &["latency", "×", "1:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_crashes_at_once_is_taken_back() {
    rolled_back(Fault::Crash, &["silent"], &["canary", "baseline"]).await;
}
