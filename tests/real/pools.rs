//! Requests that the router had nowhere to send, and a stable pool that goes away: what only the router
//! knows of both.

use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::Fault;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

/// Everything at once, watched for a while: without the router's word it would succeed.
fn at_once() -> String {
    let steps = "  - {weight: 5%, min: 5s, max: 10m, at_max: hold}\n  - {weight: 25%, min: 5s, max: 10m, at_max: hold}\n";
    let text = policy("").replace(steps, "");
    text.replace("bake: {duration: 4s}", "bake: {duration: 75s}")
}

/// What a server's health check asks; the server is down once this is gone.
pub struct Health {
    port: u16,
    task: JoinHandle<()>,
}

impl Health {
    pub async fn start() -> Health {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Health::on(listener)
    }

    pub fn on(listener: TcpListener) -> Health {
        let port = listener.local_addr().expect("an address").port();
        let task = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        Health { port, task }
    }

    pub fn words(&self, server: &str) -> (String, String) {
        (server.to_owned(), format!("check port {} inter 200ms fall 1 rise 1", self.port))
    }

    pub async fn end(self) -> u16 {
        self.task.abort();
        let _ = self.task.await;
        self.port
    }
}

fn at(percent: f64) -> impl Fn(&Value) -> bool {
    move |view| view["seen"]["as_wanted"] == json!(true) && view["wanted"]["canary_percent"] == json!(percent)
}

async fn rolled_back(stage: &Stage, id: &str, names: &str) {
    let view = stage.daemon.ended(id, 200).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    assert_eq!(view["reason"]["code"], "unroutable", "{view:#}");
    let sentence = view["reason"]["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains("had nowhere to go") && sentence.contains(names), "{sentence}");
    assert!(sentence.contains("Stable has 1 of 1 servers up."), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_haproxy_that_answers_503_as_no_server_is_up_rolls_back() {
    let health = Health::start().await;
    let words = vec![health.words("shop-b")];
    let plan = Plan { haproxy: true, rate: 100.0, policy: at_once(), words, ..Plan::default() };
    let stage = Stage::start(plan).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "all traffic", 120, |view| view["state"] == "baking").await;
    // The canary itself lives on and is scraped; only HAProxy takes it for dead.
    health.end().await;
    rolled_back(&stage, &id, "no server of the backend shop (503, SC)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_does_not_know_the_canarys_cluster_rolls_back() {
    let canary_backend = "shop-c".to_owned();
    let plan = Plan { rate: 100.0, policy: at_once(), canary_backend, admin: true, ..Plan::default() };
    let stage = Stage::start(plan).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    rolled_back(&stage, &id, "Envoy does not know the cluster shop-c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stable_pool_that_goes_down_holds_and_is_told_until_it_is_back() {
    let health = Health::start().await;
    let words = vec![health.words("shop-a")];
    let patient = policy("").replace("min: 5s", "min: 9m");
    let plan = Plan { haproxy: true, rate: 100.0, policy: patient, words, ..Plan::default() };
    let stage = Stage::start(plan).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "5%", 120, at(5.0)).await;
    let port = health.end().await;
    let small = |view: &Value| view["holds"].to_string().contains("stable_small");
    let view = stage.daemon.until(&id, "held as stable is down", 60, small).await;
    assert_eq!(view["stable"], json!({"servers": 1, "up": 0, "up_at_step": 1}), "{view:#}");
    let sentences = stage.daemon.sentences(&id).await.join("\n");
    assert!(sentences.contains("Stable has 1 of 1 servers up."), "{sentences}");
    assert!(sentences.contains("stable has 0 of 1 servers up: a rollback would overload it"), "{sentences}");
    let (code, out, _) = stage.daemon.cli(&["rollout", "show", &id]).await;
    assert!(code == 0 && out.contains("0 of 1 servers up, 1 when the step began"), "{out}");

    let again = Health::on(TcpListener::bind(("127.0.0.1", port)).await.expect("the same port"));
    stage.daemon.until(&id, "no longer held", 60, |view| !small(view)).await;

    // A person's rollback waits for nothing.
    again.end().await;
    stage.daemon.until(&id, "held again", 60, small).await;
    stage.daemon.command(&id, "rollback").await;
    let ended = stage.daemon.ended(&id, 120).await;
    assert_eq!(ended["state"], "rolled_back", "{ended:#}");
    let sentences = stage.daemon.sentences(&id).await.join("\n");
    assert!(sentences.contains("There may be nothing that takes its traffic"), "{sentences}");
}

/// Three servers carry 200 requests/s before the release, so two of them can carry two thirds of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_in_stages_goes_as_far_as_the_servers_that_are_up_can_carry() {
    let names = ["shop-a", "shop-a2", "shop-a3"];
    let healths = [Health::start().await, Health::start().await, Health::start().await];
    let words = names.iter().zip(&healths).map(|(name, health)| health.words(name)).collect();
    let steps = "  - {weight: 5%, min: 5s, max: 10m, at_max: hold}\n  - {weight: 25%, min: 5s, max: 10m, at_max: hold}\n";
    let half = "  - {weight: 50%, min: 9m, max: 10m, at_max: hold}\n";
    let policy = policy("small_pool: staged\n").replace(steps, half);
    let more_stable = names[1..].iter().map(|name| (*name).to_owned()).collect();
    let plan = Plan { haproxy: true, rate: 200.0, policy, words, more_stable, ..Plan::default() };
    let stage = Stage::start(plan).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "50%", 120, at(50.0)).await;
    let [_first, _second, third] = healths;
    let port = third.end().await;
    let fewer = |view: &Value| view["stable"]["up"] == json!(2);
    stage.daemon.until(&id, "one server of stable is down", 60, fewer).await;
    stage.canary.set_fault(Fault::Errors { rate: 0.9 }).await;
    let staged =
        |view: &Value| view["state"] == "rolling_back" && view["stable"]["staged_percent"].is_number();
    let view = stage.daemon.until(&id, "a rollback in stages", 120, staged).await;
    let kept = view["stable"]["staged_percent"].as_f64().expect("a number");
    assert!((15.0..49.0).contains(&kept), "{view:#}");
    let (code, out, _) = stage.daemon.cli(&["rollout", "show", &id]).await;
    assert!(code == 0 && out.contains("in stages: the canary keeps"), "{out}");
    let _again = Health::on(TcpListener::bind(("127.0.0.1", port)).await.expect("the same port"));
    let ended = stage.daemon.ended(&id, 120).await;
    assert_eq!(ended["state"], "rolled_back", "{ended:#}");
    let sentences = stage.daemon.sentences(&id).await.join("\n");
    assert!(sentences.contains("In stages, as stable has 2 of 3 servers up"), "{sentences}");
    assert!(sentences.contains("enough servers of stable are up"), "{sentences}");
}

/// A daemon that comes back without its store, while HAProxy gives the canary a quarter.
async fn lost() -> Stage {
    let patient = policy("").replace("min: 5s", "min: 9m");
    let plan = Plan { haproxy: true, rate: 50.0, policy: patient, ..Plan::default() };
    let mut stage = Stage::start(plan).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "5%", 120, at(5.0)).await;
    stage.daemon.command(&id, "advance").await;
    stage.daemon.until(&id, "25%", 60, at(25.0)).await;
    stage.daemon.kill();
    for file in ["serin.db", "serin.db-wal", "serin.db-shm"] {
        let _ = std::fs::remove_file(stage.daemon.folder.join(file));
    }
    stage.daemon.start_again(&[]).await;
    stage.daemon.ready().await;
    target(&stage, "found", |target| target["found"]["split"]["canary_percent"] == json!(25.0)).await;
    stage
}

async fn target(stage: &Stage, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, Duration::from_secs(60), async || {
        let target = stage.daemon.get("/api/v1/targets/shop").await;
        is(&target).then_some(target)
    })
    .await
}

async fn canary_weight(stage: &mut Stage) -> String {
    stage.proxy.haproxy().ask("get weight shop/shop-b").await.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_a_lost_store_knows_nothing_of_is_left_until_a_person_decides() {
    let mut stage = lost().await;
    wait::until("an alert", Duration::from_secs(60), async || {
        let told = stage.hook.by_key();
        format!("{told:?}").contains("knows of no release").then_some(())
    })
    .await;
    let body = json!({"target": "shop", "policy": "test", "version": "v3", "by": "erin"});
    let (status, problem) = stage.daemon.post("/api/v1/rollouts", &body).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("undecided_split")), "{problem}");
    // Several looks later nothing has been changed.
    let (_, out, _) = stage.daemon.cli(&["target", "show", "shop"]).await;
    assert!(out.contains("serin target zero shop"), "{out}");
    assert_eq!(canary_weight(&mut stage).await, "1 (initial 0)");

    let (code, out, errors) = stage.daemon.cli(&["target", "zero", "shop"]).await;
    assert_eq!(code, 0, "{out}{errors}");
    let is = |target: &Value| target["found"].is_null() && target["seen"]["as_wanted"] == json!(true);
    let view = target(&stage, "0%", is).await;
    assert_eq!(view["wanted"]["canary_percent"], json!(0.0), "{view:#}");
    assert_eq!(canary_weight(&mut stage).await, "0 (initial 0)");
    let (status, problem) = stage.daemon.post("/api/v1/targets/shop/zero", &json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("nothing_to_decide")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_adopts_what_a_lost_store_knows_nothing_of() {
    let mut stage = lost().await;
    let (code, out, errors) = stage.daemon.cli(&["target", "adopt", "shop"]).await;
    assert_eq!(code, 0, "{out}{errors}");
    let view = target(&stage, "adopted", |target| target["found"].is_null()).await;
    assert_eq!(view["wanted"]["canary_percent"], json!(25.0), "{view:#}");
    assert_eq!(canary_weight(&mut stage).await, "1 (initial 0)");
}
