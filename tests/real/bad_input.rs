//! What people and machines get wrong, against the running daemon.

use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::Fault;
use serin::demo::service::{Service, ServiceOptions};

use crate::testkit::process::free_port;
use crate::testkit::prometheus::{Job, Prometheus};
use crate::testkit::serin::Daemon;
use crate::testkit::stage::{Plan, Stage, policy, policy_with};
use crate::testkit::wait;

/// A daemon with a Prometheus and two services, and these labels of the pools.
async fn small(stable: &str, canary: &str) -> (Daemon, Vec<Service>, Prometheus, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut services = Vec::new();
    let mut jobs = Vec::new();
    for (name, version) in [("stable", "v1"), ("canary", "v2")] {
        let service = Service::start(ServiceOptions::new(version, 1)).await.expect("a service");
        let job = Job::new(name, Duration::from_secs(1), &[service.addr().to_string()]);
        jobs.push(job.label("service", "shop"));
        let _ = reqwest::get(service.url("/")).await.expect("an answer");
        services.push(service);
    }
    let prometheus = Prometheus::start(&jobs).await;
    let policy = policy_with("{after: 6s, then: roll_back}", "errors", "");
    std::fs::write(folder.path().join("policy.yaml"), policy).expect("the policy is written");
    let config = format!(
        "policies: [policy.yaml]
providers: {{prometheus: {{type: prometheus, url: \"{}\", deadline: 3s}}}}
routers: {{edge: {{type: envoy, listen: \"127.0.0.1:{}\", layer: serin}}}}
targets:
  shop:
    router: edge
    provider: prometheus
    route: routing.shop
    labels: {{}}
    stable: {{backend: shop-a, labels: {stable}}}
    canary: {{backend: shop-b, labels: {canary}}}
    stable_version: v1
",
        prometheus.url(),
        free_port()
    );
    (Daemon::start(folder.path(), &config).await, services, prometheus, folder)
}

async fn refused(stable: &str, canary: &str, words: &[&str]) {
    let (daemon, _services, _prometheus, _folder) = small(stable, canary).await;
    let id = daemon.rollout("shop", "test", "v2").await;
    // There is no proxy here, so the way back to 0% cannot be confirmed, and nothing ever rose.
    let view = daemon.until(&id, "refused", 120, |view| view["state"] == json!("rolling_back")).await;
    assert_eq!(view["reason"]["code"], "preflight", "{view:#}");
    assert_eq!(view["wanted"]["canary_percent"], json!(0.0));
    let sentence = view["reason"]["sentence"].as_str().expect("a sentence");
    for word in words {
        assert!(sentence.contains(word), "no {word:?} in {sentence:?}");
    }
    assert!(daemon.events(&id).await.iter().all(|event| event["kind"] != "step_entered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_that_matches_nothing_is_refused_before_anything_rises() {
    refused("{version: nobody}", "{version: v2}", &["errors", "baseline", "no series"]).await;
}

/// A configuration that the daemon must refuse, with all these words.
async fn refuses_to_start(config: &str, words: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("policy.yaml"), policy("")).expect("the policy is written");
    let mut daemon = Daemon::prepare(folder.path(), config);
    daemon.start_again(&[]).await;
    let running = std::cell::RefCell::new(&mut daemon);
    wait::until("the daemon refuses", Duration::from_secs(30), async || {
        (!running.borrow_mut().is_running()).then_some(())
    })
    .await;
    let log = daemon.log();
    for word in words {
        assert!(log.contains(word), "no {word:?} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_that_match_the_same_series_are_refused() {
    let config = "policies: [policy.yaml]
providers: {prometheus: {type: prometheus, url: \"http://127.0.0.1:1\"}}
routers: {edge: {type: envoy, listen: \"127.0.0.1:1\", layer: serin}}
targets:
  shop:
    router: edge
    provider: prometheus
    route: routing.shop
    stable: {backend: shop-a, labels: {service: shop}}
    canary: {backend: shop-b, labels: {version: v2}}
";
    refuses_to_start(config, &["targets.shop", "version"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promql_in_a_label_value_is_data() {
    let (daemon, _services, _prometheus, _folder) = small("{version: v1}", "{version: \"{version}\"}").await;
    let version = "v2\"} or vector(1) or up{x=\"";
    let id = daemon.rollout("shop", "test", version).await;
    let seen = |view: &Value| view["assessment"]["tick"].as_u64().unwrap_or(0) >= 3;
    let view = daemon.until(&id, "looks", 60, seen).await;
    assert_eq!(view["version"], json!(version));
    let stored = daemon.observations(&id).await;
    for metric in stored.iter().flat_map(|tick| tick["metrics"].as_array().expect("metrics")) {
        let canary = &metric["canary"];
        let reason = canary["Err"]["reason"].as_str().unwrap_or_default();
        assert_eq!(reason, "empty", "a series was found, or the query broke: {metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_writes_raises_nothing_and_the_way_back_is_applied_all_the_same() {
    // While nothing can be stored, every look sees one long window; the tests want more than one (the
    // burst gate), so here a limit finds it.
    let limit = "guardrails: [{name: errors-above-4-percent, metric: errors, stat: rate, above: 4%, for: 2s, \
                 over: 5s, min_requests: 30, severity: critical, action: roll_back}]\n";
    let mut stage = Stage::start(Plan { rate: 800.0, policy: policy(limit), ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let analysing = |view: &Value| view["stage"] == "analysing";
    stage.daemon.until(&id, "the first step", 120, analysing).await;

    // Another connection keeps the database's only write lock.
    let path = stage.folder.path().join("serin.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut other = sqlx::ConnectOptions::connect(&options).await.expect("the database opens");
    let lock = |sql: &'static str| sqlx::query(sql);
    wait::until("the write lock", Duration::from_secs(30), async || {
        lock("BEGIN IMMEDIATE").execute(&mut other).await.ok().map(|_| ())
    })
    .await;
    stage.canary.set_fault(Fault::Errors { rate: 0.2 }).await;
    wait::until("not ready", Duration::from_secs(60), async || {
        (stage.daemon.status("/readyz").await? == 503).then_some(())
    })
    .await;
    let envoy = stage.proxy.envoy();
    wait::until("weight 0 without a store", Duration::from_secs(120), async || {
        (envoy.runtime("routing.shop.shop-b").await == Some(0)).then_some(())
    })
    .await;
    let stored = stage.daemon.get(&format!("/api/v1/rollouts/{id}")).await;
    assert_eq!(stored["state"], "progressing", "nothing can have been stored: {stored:#}");

    lock("ROLLBACK").execute(&mut other).await.expect("the lock is given back");
    let view = stage.daemon.ended(&id, 120).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    wait::until("ready again", Duration::from_secs(60), async || {
        (stage.daemon.status("/readyz").await? == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_all_its_problems() {
    let config = "polices: [policy.yaml]\nrouters: {edge: {type: envoi}}\nengine: {concurrency: many}\n";
    refuses_to_start(config, &["polices", "policies", "envoi", "concurrency", "serin.yaml:3:"]).await;
}
