//! The store is lost, or restored from an older backup, while Envoy is in the middle of a release: what Envoy has stays
//! in force until a person decides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::testkit::envoy::{Envoy, EnvoyOptions};
use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

const FILES: [&str; 3] = ["serin.db", "serin.db-wal", "serin.db-shm"];
const STABLE: &str = "routing.shop.shop-a";
const CANARY: &str = "routing.shop.shop-b";

async fn stage(delta: bool) -> Stage {
    let patient = policy("").replace("min: 5s", "min: 9m");
    Stage::start(Plan { rate: 100.0, policy: patient, delta, ..Plan::default() }).await
}

fn at(percent: f64) -> impl Fn(&Value) -> bool {
    move |view| view["seen"]["as_wanted"] == json!(true) && view["wanted"]["canary_percent"] == json!(percent)
}

async fn released(stage: &Stage, version: &str, percent: f64) -> String {
    let id = stage.daemon.rollout("shop", "test", version).await;
    stage.daemon.until(&id, "5%", 120, at(5.0)).await;
    if percent > 5.0 {
        stage.daemon.command(&id, "advance").await;
        stage.daemon.until(&id, "the next step", 60, at(percent)).await;
    }
    id
}

async fn promoted(stage: &Stage, id: &str) {
    stage.daemon.command(id, "promote").await;
    let view = stage.daemon.ended(id, 120).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
}

fn remove_store(stage: &Stage) {
    for file in FILES {
        let _ = std::fs::remove_file(stage.daemon.folder.join(file));
    }
}

/// Dies and comes back; in between a copy of the store is kept.
async fn back_up(stage: &mut Stage) -> PathBuf {
    stage.daemon.kill();
    let copy = stage.folder.path().join("backup");
    std::fs::create_dir(&copy).expect("a folder");
    for file in FILES {
        let _ = std::fs::copy(stage.daemon.folder.join(file), copy.join(file));
    }
    stage.daemon.start_again(&[]).await;
    stage.daemon.ready().await;
    copy
}

fn restore(stage: &Stage, copy: &Path) {
    remove_store(stage);
    for file in FILES {
        let _ = std::fs::copy(copy.join(file), stage.daemon.folder.join(file));
    }
}

/// The weights that the process has for both pools.
async fn weights(envoy: &Envoy) -> (Option<u64>, Option<u64>) {
    (envoy.runtime(STABLE).await, envoy.runtime(CANARY).await)
}

/// Waits until the target is so; gives it, and all the weights that Envoy had meanwhile.
async fn target(stage: &mut Stage, what: &str, is: impl Fn(&Value) -> bool) -> (Value, BTreeSet<(u64, u64)>) {
    let mut had = BTreeSet::new();
    let Stage { daemon, proxy, .. } = stage;
    let envoy = proxy.envoy();
    let mut last = Value::Null;
    let found = wait::within(Duration::from_secs(60), async || {
        let (stable, canary) = weights(envoy).await;
        had.insert((stable.unwrap_or(0), canary.unwrap_or(0)));
        let target = daemon.try_get("/api/v1/targets/shop").await?;
        last.clone_from(&target);
        is(&target).then_some(target)
    })
    .await;
    let found = found.unwrap_or_else(|| panic!("{what} within a minute: {last:#}\n{}", daemon.log()));
    let (stable, canary) = weights(envoy).await;
    had.insert((stable.unwrap_or(0), canary.unwrap_or(0)));
    (found, had)
}

/// Waits until the process has these weights.
async fn has(envoy: &Envoy, what: &str, expected: (u64, u64)) {
    wait::until(what, Duration::from_secs(60), async || {
        (weights(envoy).await == (Some(expected.0), Some(expected.1))).then_some(())
    })
    .await;
}

/// How often the process has loaded weights.
async fn loads(envoy: &Envoy) -> u64 {
    envoy.stat("runtime.load_success").await
}

/// Starts without waiting for anything, and finds `percent`; Envoy has never had anything else than `weights`, also
/// after the new process has answered it.
async fn found(stage: &mut Stage, percent: f64, weights: (u64, u64)) -> Value {
    let before = loads(stage.proxy.envoy()).await;
    stage.daemon.start_again(&[]).await;
    let is = |target: &Value| target["found"]["split"]["canary_percent"] == json!(percent);
    let (view, mut had) = target(stage, "found", is).await;
    let envoy = stage.proxy.envoy();
    wait::until("Envoy is answered", Duration::from_secs(60), async || {
        (loads(envoy).await > before).then_some(())
    })
    .await;
    had.extend(target(stage, "still found", is).await.1);
    assert_eq!(had, BTreeSet::from([weights]), "{view:#}");
    wait::until("an incident", Duration::from_secs(60), async || {
        let told = stage.hook.by_key();
        format!("{told:?}").contains("knows of no release").then_some(())
    })
    .await;
    let body = json!({"target": "shop", "policy": "test", "version": "v3", "by": "erin"});
    let (status, problem) = stage.daemon.post("/api/v1/rollouts", &body).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("undecided_split")), "{problem}");
    view
}

async fn decide(stage: &mut Stage, decision: &str) -> Value {
    let (code, out, errors) = stage.daemon.cli(&["target", decision, "shop"]).await;
    assert_eq!(code, 0, "{out}{errors}");
    let is = |target: &Value| target["found"].is_null() && target["seen"]["as_wanted"] == json!(true);
    target(stage, "decided and seen", is).await.0
}

/// The canary's share of the next requests.
async fn share(stage: &Stage) -> f64 {
    let [stable, canary] = stage.requests();
    wait::until("300 requests", Duration::from_secs(60), async || {
        let now = stage.requests();
        let (stable, canary) = ((now[0] - stable) as f64, (now[1] - canary) as f64);
        (stable + canary >= 300.0).then(|| canary / (stable + canary))
    })
    .await
}

async fn lost(delta: bool) -> Stage {
    let mut stage = stage(delta).await;
    released(&stage, "v2", 25.0).await;
    stage.daemon.kill();
    remove_store(&stage);
    found(&mut stage, 25.0, (7_500, 2_500)).await;
    let share = share(&stage).await;
    assert!((0.15..0.35).contains(&share), "{share}");
    stage
}

async fn left_until_zero(delta: bool) {
    let mut stage = lost(delta).await;
    // A proxy that joins has what the others have, and a second death changes nothing.
    let ports = [stage.stable.addr().port(), stage.canary.addr().port()];
    let clusters = [("shop-a", ports[0]), ("shop-b", ports[1])];
    let options =
        EnvoyOptions { delta, ..EnvoyOptions::new("edge-2", stage.rtds, "routing.shop", &clusters) };
    let second = Envoy::start(stage.folder.path(), &options).await;
    has(&second, "25% at the second", (7_500, 2_500)).await;
    let loaded = loads(&second).await;
    stage.daemon.kill();
    found(&mut stage, 25.0, (7_500, 2_500)).await;
    wait::until("the second is answered", Duration::from_secs(60), async || {
        (loads(&second).await > loaded).then_some(())
    })
    .await;
    assert_eq!(weights(&second).await, (Some(7_500), Some(2_500)));
    let view = decide(&mut stage, "zero").await;
    assert_eq!(view["wanted"]["canary_percent"], json!(0.0), "{view:#}");
    assert_eq!(weights(stage.proxy.envoy()).await, (Some(10_000), Some(0)));
    assert_eq!(weights(&second).await, (Some(10_000), Some(0)));
    // What is stored now is newer than what was found.
    stage.daemon.kill();
    stage.daemon.start_again(&[]).await;
    stage.daemon.ready().await;
    released(&stage, "v2", 5.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_stays_as_it_was_until_a_person_sets_it_to_zero() {
    left_until_zero(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_stays_as_it_was_until_a_person_sets_it_to_zero_delta() {
    left_until_zero(true).await;
}

async fn left_until_adopted(delta: bool) {
    let mut stage = lost(delta).await;
    let view = decide(&mut stage, "adopt").await;
    assert_eq!(view["wanted"]["canary_percent"], json!(25.0), "{view:#}");
    assert_eq!(weights(stage.proxy.envoy()).await, (Some(7_500), Some(2_500)));
    // The next process knows it, and the next rollout takes it from there.
    stage.daemon.kill();
    stage.daemon.start_again(&[]).await;
    let (view, had) =
        target(&mut stage, "in sync", |target| target["seen"]["as_wanted"] == json!(true)).await;
    assert!(view["found"].is_null(), "{view:#}");
    assert_eq!(had, BTreeSet::from([(7_500, 2_500)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_adopts_what_envoy_has() {
    left_until_adopted(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_adopts_what_envoy_has_delta() {
    left_until_adopted(true).await;
}

async fn after_a_promotion(delta: bool) {
    let mut stage = stage(delta).await;
    let id = released(&stage, "v2", 5.0).await;
    promoted(&stage, &id).await;
    stage.daemon.kill();
    remove_store(&stage);
    found(&mut stage, 100.0, (0, 10_000)).await;
    assert!(share(&stage).await >= 1.0);
    // An Envoy that has just been started has the new pool as soon as it has any weights of Serin's.
    stage.proxy.envoy().kill();
    stage.proxy.envoy().start_again().await;
    has(stage.proxy.envoy(), "the new pool", (0, 10_000)).await;
    wait::until("the new pool alone", Duration::from_secs(60), async || {
        (share(&stage).await >= 1.0).then_some(())
    })
    .await;
    let before = stage.stable.arrivals();
    let view = decide(&mut stage, "adopt").await;
    assert_eq!(
        view["wanted"]["canary_percent"],
        json!(0.0),
        "what was the canary's pool is stable: {view:#}"
    );
    assert_eq!(weights(stage.proxy.envoy()).await, (Some(0), Some(10_000)));
    assert_eq!(stage.stable.arrivals(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_traffic_goes_to_the_pool_of_before_a_promotion() {
    after_a_promotion(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_traffic_goes_to_the_pool_of_before_a_promotion_delta() {
    after_a_promotion(true).await;
}

async fn from_an_older_backup(delta: bool) {
    let mut stage = stage(delta).await;
    let first = released(&stage, "v2", 5.0).await;
    stage.daemon.command(&first, "rollback").await;
    stage.daemon.ended(&first, 60).await;
    let copy = back_up(&mut stage).await;
    released(&stage, "v2", 25.0).await;
    stage.daemon.kill();
    restore(&stage, &copy);
    found(&mut stage, 25.0, (7_500, 2_500)).await;
    let view = decide(&mut stage, "adopt").await;
    assert_eq!(view["wanted"]["canary_percent"], json!(25.0), "{view:#}");
    assert_eq!(weights(stage.proxy.envoy()).await, (Some(7_500), Some(2_500)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_after_a_backup_is_found() {
    from_an_older_backup(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_after_a_backup_is_found_delta() {
    from_an_older_backup(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_was_rolled_back_after_a_backup_is_not_raised_again() {
    let mut stage = stage(false).await;
    let id = released(&stage, "v2", 25.0).await;
    let copy = back_up(&mut stage).await;
    stage.daemon.until(&id, "25% again", 60, at(25.0)).await;
    stage.daemon.command(&id, "rollback").await;
    stage.daemon.ended(&id, 60).await;
    stage.daemon.kill();
    restore(&stage, &copy);
    stage.daemon.start_again(&[]).await;
    let is =
        |target: &Value| target["active_rollout"].is_null() && target["seen"]["as_wanted"] == json!(true);
    let (view, had) = target(&mut stage, "rolled back", is).await;
    assert_eq!(had, BTreeSet::from([(10_000, 0)]), "{view:#}");
    let view = stage.daemon.ended(&id, 60).await;
    assert_eq!(
        (view["state"].as_str(), view["reason"]["code"].as_str()),
        (Some("rolled_back"), Some("router"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_was_promoted_after_a_backup_sends_nothing_to_the_old_pool() {
    let mut stage = stage(false).await;
    let id = released(&stage, "v2", 5.0).await;
    let copy = back_up(&mut stage).await;
    stage.daemon.until(&id, "5% again", 60, at(5.0)).await;
    promoted(&stage, &id).await;
    stage.daemon.kill();
    restore(&stage, &copy);
    found(&mut stage, 100.0, (0, 10_000)).await;
    let view = stage.daemon.ended(&id, 60).await;
    assert_eq!(view["state"], "cancelled", "{view:#}");
    let view = decide(&mut stage, "adopt").await;
    assert_eq!(view["wanted"]["canary_percent"], json!(0.0), "{view:#}");
    assert_eq!(weights(stage.proxy.envoy()).await, (Some(0), Some(10_000)));
}
