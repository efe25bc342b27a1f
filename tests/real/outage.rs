//! Prometheus is gone for a while, or for too long; the webhook's receiver is dead.

use std::time::Duration;

use serde_json::Value;
use serin::demo::fault::Fault;

use crate::testkit::stage::{Plan, Stage, policy_with};
use crate::testkit::wait;

fn analysing(view: &Value) -> bool {
    view["stage"] == "analysing"
}

fn blind(view: &Value) -> bool {
    view["holds"].to_string().contains("blind")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_prometheus_holds_and_nothing_is_lost() {
    let mut stage = Stage::start(Plan { rate: 800.0, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "the first step", 120, analysing).await;
    stage.prometheus.stop();
    let held = stage.daemon.until(&id, "held because nothing is seen", 60, blind).await;
    assert_eq!(held["state"], "progressing");
    stage.prometheus.resume().await;
    stage.daemon.until(&id, "seen again", 60, |view| !blind(view)).await;
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blind_for_too_long_does_what_the_policy_says() {
    let policy = policy_with("{after: 10s, then: roll_back}", "errors", "");
    let mut stage = Stage::start(Plan { policy, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "the first step", 120, analysing).await;
    stage.prometheus.stop();
    let view = stage.daemon.ended(&id, 120).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    assert_eq!(view["reason"]["code"], "blind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_delays_no_rollback() {
    let stage =
        Stage::start(Plan { rate: 800.0, canary: Fault::Errors { rate: 0.1 }, ..Plan::default() }).await;
    stage.hook.answer(0);
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.ended(&id, 120).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    let events = stage.daemon.events(&id).await;
    let time = |kind: &str| {
        let event = events.iter().rev().find(|event| event["kind"] == kind).expect("an event");
        event["at"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339")
    };
    let delay = time("split_seen").duration_since(time("rollback_started"));
    println!("decision to ACK with a silent receiver: {delay:#}");
    // The receiver's deadline is five seconds: a rollback that waited for it would take as long.
    assert!(delay < jiff::SignedDuration::from_secs(5), "{delay:#}");
    assert!(stage.hook.kinds().is_empty());
    // When it answers again, everything comes; what pages has a queue of its own, in order.
    stage.hook.answer(200);
    wait::within(Duration::from_secs(120), async || {
        let kinds = stage.hook.kinds();
        ["started", "rolled_back"].iter().all(|kind| kinds.contains(&(*kind).to_owned())).then_some(())
    })
    .await
    .expect("the notices come when the receiver is back");
    let kinds = stage.hook.kinds();
    let place = |kind: &str| kinds.iter().position(|k| k == kind).expect("a notice");
    assert!(place("started") < place("step") && place("rollback_started") < place("rolled_back"));
}
