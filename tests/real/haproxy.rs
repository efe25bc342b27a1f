//! The main job behind HAProxy, and weights that people change by hand.

use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::Fault;

use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

fn plan() -> Plan {
    Plan { haproxy: true, rate: 800.0, ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_canary_is_promoted() {
    let stage = Stage::start(plan()).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_rolled_back() {
    let stage = Stage::start(Plan { canary: Fault::Errors { rate: 0.02 }, ..plan() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    assert_eq!(view["reason"]["code"], "harm", "{view:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lowered_by_hand_is_adopted_and_raised_by_hand_is_set_right() {
    let patient = policy("").replace("min: 5s", "min: 9m");
    let mut stage = Stage::start(Plan { rate: 200.0, policy: patient, ..plan() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let at_five = |view: &Value| {
        view["seen"]["as_wanted"] == json!(true) && view["wanted"]["canary_percent"] == json!(5.0)
    };
    stage.daemon.until(&id, "5%", 120, at_five).await;

    stage.proxy.haproxy().ask("set server shop/shop-b weight 200").await;
    let alerted = |_: &Value| stage.hook.kinds().contains(&"alert".to_owned());
    let view = stage.daemon.until(&id, "an alert about the raised weight", 60, alerted).await;
    assert_eq!(view["wanted"]["canary_percent"], json!(5.0));
    // What is on its way to HAProxy would undo what is done by hand next.
    wait::until("the weight to be set right", Duration::from_secs(60), async || {
        let weight = stage.proxy.haproxy().ask("get weight shop/shop-b").await;
        (!weight.trim().starts_with("200")).then_some(())
    })
    .await;
    stage.daemon.until(&id, "5% again", 60, at_five).await;

    stage.proxy.haproxy().ask("set server shop/shop-b weight 0").await;
    let drifted = |view: &Value| view["holds"].to_string().contains("drift");
    let view = stage.daemon.until(&id, "held because of the lowered weight", 60, drifted).await;
    assert_eq!(view["wanted"]["canary_percent"], json!(0.0), "{view:#}");
    assert!(stage.hook.kinds().contains(&"held".to_owned()) || !stage.hook.by_key().is_empty());

    stage.daemon.command(&id, "resume").await;
    stage.daemon.until(&id, "5% after a person resumed", 60, at_five).await;
}
