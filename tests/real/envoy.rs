//! Envoy and Serin lose and find one another.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::Fault;

use crate::testkit::envoy::{Envoy, EnvoyOptions, Link, Relay};
use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

const KEY: &str = "routing.shop.shop-b";

/// A policy that stays where it is until it is told to go on.
fn patient() -> String {
    policy("").replace("min: 5s", "min: 9m")
}

fn at(percent: f64) -> impl Fn(&Value) -> bool {
    move |view| view["seen"]["as_wanted"] == json!(true) && view["wanted"]["canary_percent"] == json!(percent)
}

async fn weight(envoy: &Envoy, expected: u64) {
    wait::until(&format!("{KEY} = {expected}"), Duration::from_secs(30), async || {
        (envoy.runtime(KEY).await == Some(expected)).then_some(())
    })
    .await;
}

fn second(stage: &Stage, rtds: SocketAddr) -> EnvoyOptions {
    let ports = [stage.stable.addr().port(), stage.canary.addr().port()];
    let clusters = [("shop-a", ports[0]), ("shop-b", ports[1])];
    EnvoyOptions::new("edge-2", rtds, "routing.shop", &clusters)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_envoy_and_a_second_one_get_the_stored_weights() {
    let mut stage = Stage::start(Plan { rate: 200.0, policy: patient(), ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "5%", 120, at(5.0)).await;
    stage.proxy.envoy().kill();
    stage.proxy.envoy().start_again().await;
    weight(stage.proxy.envoy(), 500).await;

    let options = second(&stage, stage.rtds);
    let other = Envoy::start(stage.folder.path(), &options).await;
    weight(&other, 500).await;
    wait::until("both proxies among the target's nodes", Duration::from_secs(30), async || {
        let target = stage.daemon.get("/api/v1/targets/shop").await;
        (target["nodes"].as_array()?.len() == 2).then_some(())
    })
    .await;

    // The daemon dies and comes back at 25%: no proxy ever sees another split than the stored one.
    stage.daemon.command(&id, "advance").await;
    stage.daemon.until(&id, "25%", 60, at(25.0)).await;
    stage.daemon.kill();
    stage.daemon.start_again(&[]).await;
    let mut seen = std::collections::BTreeSet::new();
    wait::within(Duration::from_secs(60), async || {
        seen.insert(other.runtime(KEY).await);
        let target = stage.daemon.try_get("/api/v1/targets/shop").await?;
        let nodes = target["nodes"].as_array()?;
        let connected = nodes.iter().filter(|node| node["connected"] == json!(true)).count();
        (connected == 2).then_some(())
    })
    .await
    .expect("both proxies are back");
    seen.insert(other.runtime(KEY).await);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [Some(2_500)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_cut_off_during_a_rollback_is_unconfirmed_and_pages() {
    let stage = Stage::start(Plan { rate: 200.0, policy: patient(), ..Plan::default() }).await;
    let relay = Relay::start(stage.rtds).await;
    let options = second(&stage, relay.address);
    let other = Envoy::start(stage.folder.path(), &options).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "5%", 120, at(5.0)).await;
    stage.daemon.command(&id, "advance").await;
    stage.daemon.until(&id, "25%", 60, at(25.0)).await;
    weight(&other, 2_500).await;
    relay.set(Link::Silent);
    stage.daemon.command(&id, "rollback").await;
    let view = stage
        .daemon
        .until(&id, "a page about the proxy that is cut off", 90, |_| {
            stage.hook.kinds().contains(&"unconfirmed".to_owned())
        })
        .await;
    assert_eq!(view["state"], "rolling_back", "{view:#}");
    assert!(view["unconfirmed_nodes"].to_string().contains("edge-2"), "{view:#}");
    let sentences = stage.daemon.sentences(&id).await.join("\n");
    assert!(sentences.contains("edge-2"), "{sentences}");
    // It still follows the old split: that is what the page is about.
    assert_eq!(other.runtime(KEY).await, Some(2_500));
    relay.set(Link::Whole);
    let view = stage.daemon.ended(&id, 120).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    assert_eq!(other.runtime(KEY).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rollout_is_refused_or_takes_over_after_the_first_is_at_zero() {
    let stage =
        Stage::start(Plan { rate: 200.0, policy: patient(), canary: Fault::None, ..Plan::default() }).await;
    let first = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&first, "5%", 120, at(5.0)).await;
    let body = json!({"target": "shop", "policy": "test", "version": "v2", "by": "erin"});
    let (status, problem) = stage.daemon.post("/api/v1/rollouts", &body).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(problem["rollout"], json!(first), "{problem}");
    let arguments = [
        "rollout",
        "start",
        "shop",
        "--policy",
        "test",
        "--version",
        "v2",
        "--supersede",
        "--output",
        "json",
    ];
    let (code, out, errors) = stage.daemon.cli(&arguments).await;
    assert_eq!(code, 0, "{out}{errors}");
    let second: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    let second = second["id"].as_str().expect("an id").to_owned();
    let ended = stage.daemon.ended(&first, 60).await;
    assert_eq!(
        (ended["state"].as_str(), ended["superseded_by"].as_str()),
        (Some("cancelled"), Some(&*second))
    );
    stage.daemon.until(&second, "5% of the second", 120, at(5.0)).await;
    // The first one's canary was seen at 0 before the second one began.
    let events = stage.daemon.events(&first).await;
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    let last = kinds.iter().rposition(|kind| *kind == "rollback_started").expect("the way back");
    assert_eq!(kinds[last + 1..], ["split_seen", "cancelled"], "{events:#?}");
    let began = stage.daemon.events(&second).await;
    let begin = began.iter().find(|event| event["kind"] == "started").expect("it began");
    let end = events.last().expect("an end");
    assert!(begin["at"].as_str() >= end["at"].as_str(), "{begin} before {end}");
}
