//! The HTTP interface through its router: what it answers, what it refuses, and how.

#[path = "api_bad_input.rs"]
mod bad_input;
#[path = "api_client.rs"]
mod client;
#[path = "api_example.rs"]
pub mod example;
#[path = "api_health.rs"]
mod health;
#[path = "api_openapi.rs"]
mod openapi;
#[path = "api_overview.rs"]
mod overview;
#[path = "api_report.rs"]
mod report;
#[path = "api_series.rs"]
mod series;
#[path = "api_stream.rs"]
mod stream;
#[path = "api_viewers.rs"]
mod viewers;
#[path = "api_words.rs"]
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use serin::api::{Limits, router_with};
use serin::core::ids::RolloutId;
use serin::core::metric::{Counts, MetricObservation, NoData, TickObservation, Usage};
use serin::core::policy::Policy;
use serin::core::rollout::{EventKind, EventRecord, Phase, Rollout};
use serin::core::split::Weight;
use serin::engine::Handle;
use serin::ports::{Commit, Commits, Queries};
use tower::ServiceExt;

use crate::testkit::fakes::MemoryStore;
use example::{NOW, Standing, assessment, policy, rollout, spec, target};

struct World {
    store: MemoryStore,
    handle: Handle,
    router: Router,
}

/// A ready daemon with one free target and one policy.
fn world() -> World {
    let world = world_with(Limits { command_wait: Duration::from_millis(50), ..Limits::default() });
    world.handle.set_loaded();
    world
}

fn world_with(limits: Limits) -> World {
    world_of(limits, policy())
}

fn world_of(limits: Limits, policy: Policy) -> World {
    let store = MemoryStore::new();
    store.change(|data| data.targets.insert("checkout".into(), target()));
    let handle = Handle::new(
        Arc::new(store.clone()),
        Arc::new(Standing),
        BTreeMap::from([("standard".to_owned(), policy)]),
        BTreeMap::from([("checkout".to_owned(), spec())]),
    );
    let router = router_with(handle.clone(), Arc::new(|| "serin_up 1\n".to_owned()), limits);
    World { store, handle, router }
}

impl World {
    /// With the example rollout having the target.
    fn with_rollout(self) -> World {
        self.store.change(|data| {
            data.put(rollout());
            data.targets.insert("checkout".into(), example::steered());
        });
        self
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.send(Request::get(path).body(Body::empty()).unwrap()).await).await
    }

    async fn post_raw(&self, path: &str, key: Option<&str>, body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        Answer::of(self.send(request.body(body.into()).unwrap()).await).await
    }

    async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        self.post_raw(path, key, body.to_string()).await
    }

    async fn start(&self, key: Option<&str>, body: &Value) -> Answer {
        self.post("/api/v1/rollouts", key, body).await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    kind: String,
    location: Option<String>,
    retry_after: Option<String>,
    allow: Option<String>,
    text: String,
}

impl Answer {
    async fn of(response: Response) -> Answer {
        let header = |name: header::HeaderName| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let (kind, location) = (header(header::CONTENT_TYPE), header(header::LOCATION));
        let (retry_after, allow) = (header(header::RETRY_AFTER), header(header::ALLOW));
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status, kind: kind.unwrap_or_default(), location, retry_after, allow, text }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The answer is a problem of that status and code; gives it.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.kind, "application/problem+json");
        assert_eq!(problem["type"], format!("urn:serin:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    }
}

fn asked() -> Value {
    json!({ "target": "checkout", "policy": "standard", "version": "v1.5.0", "by": "ci" })
}

// --------------------------------------------------------------------------------------------------- start

#[tokio::test]
async fn a_rollout_is_started_and_found_at_its_location() {
    let world = world();
    let answer = world.start(None, &asked()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let begun = answer.json();
    let location = answer.location.unwrap();
    assert_eq!(location, format!("/api/v1/rollouts/{}", begun["id"].as_str().unwrap()));
    let found = world.get(&location).await.json();
    assert_eq!(found, begun);
    assert_eq!(found["state"], "preflight");
    assert_eq!(found["created_by"], "ci");
    assert_eq!(found["kind"], "release");
    assert_eq!(found["policy"], json!({ "name": "standard", "version": "8f31c2d4e5f6", "mode": "act" }));
    assert_eq!(found["wanted"]["canary_percent"], 0.0);
}

#[tokio::test]
async fn a_second_rollout_of_a_target_is_refused_and_the_first_is_named() {
    let world = world();
    let first = world.start(None, &asked()).await.json();
    let problem = world.start(None, &asked()).await.problem(409, "occupied");
    assert_eq!(problem["rollout"], first["id"]);
    assert!(problem["detail"].as_str().unwrap().contains(first["id"].as_str().unwrap()));

    let mut body = asked();
    body["supersede"] = json!(true);
    let second = world.start(None, &body).await;
    assert_eq!(second.status, 201);
    assert_eq!(second.json()["state"], "scheduled");
    assert_eq!(second.json()["supersedes"], first["id"]);
    assert_eq!(second.json()["waiting_for"]["on"], "target");
}

#[tokio::test]
async fn the_same_key_gives_the_same_rollout() {
    let world = world();
    let first = world.start(Some("job-7"), &asked()).await;
    let again = world.start(Some("job-7"), &asked()).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let mut other = asked();
    other["version"] = json!("v1.6.0");
    let problem = world.start(Some("job-7"), &other).await.problem(422, "idempotency_key_reused");
    assert_eq!(problem["rollout"], first.json()["id"]);
    world.start(Some(&"k".repeat(201)), &asked()).await.problem(400, "invalid_idempotency_key");
    assert_eq!(world.store.inspect(|data| data.rollouts.len()), 1);
}

#[tokio::test]
async fn what_is_not_there_is_named_with_what_is() {
    let world = world();
    for (field, code, known) in
        [("target", "unknown_target", "checkout"), ("policy", "unknown_policy", "standard")]
    {
        let mut body = asked();
        body[field] = json!("nothing");
        let problem = world.start(None, &body).await.problem(404, code);
        assert_eq!(problem["field"], field);
        assert!(problem["detail"].as_str().unwrap().contains(known), "{problem}");
    }
}

#[tokio::test]
async fn arms_that_cannot_be_told_apart_are_refused() {
    let world = world();
    let mut body = asked();
    // The running version once more: both arms would have the same labels.
    body["version"] = json!("v1.4.1");
    let problem = world.start(None, &body).await.problem(422, "arms_not_distinct");
    assert!(problem["detail"].as_str().unwrap().contains("labels that differ"), "{problem}");
    assert!(world.store.inspect(|data| data.rollouts.is_empty()));
}

#[tokio::test]
async fn promql_in_a_version_is_data() {
    let world = world();
    let version = r#"v2"} or vector(1) or up{x="$(reboot) \ {{.}} ' OR 1=1 --"#;
    let mut body = asked();
    body["version"] = json!(version);
    let answer = world.start(None, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(world.get(&format!("/api/v1/rollouts/{id}")).await.json()["version"], version);
    // It reaches the providers as the value of a label, whole.
    let stored = world.store.rollout(&RolloutId(id)).await.unwrap().version.clone();
    let (canary, _) = serin::core::arms::arms(&spec(), &target(), &stored).unwrap();
    assert_eq!(canary.labels["version"], version);
}

// ------------------------------------------------------------------------------------------------- reading

#[tokio::test]
async fn rollouts_come_in_pages_newest_first() {
    let world = world();
    world.store.change(|data| {
        for index in 0..5 {
            let mut rollout = rollout();
            rollout.plan_mut().id = RolloutId(format!("r{index}"));
            if index < 3 {
                rollout.phase = Phase::Succeeded;
            }
            data.put(rollout);
        }
    });
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = Vec::new();
    let mut path = "/api/v1/rollouts?limit=2".to_owned();
    let mut pages = 0;
    loop {
        let page = world.get(&path).await.json();
        seen.extend(ids(&page));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/rollouts?limit=2&before={next}"),
            None => break,
        }
    }
    assert_eq!((seen, pages), (["r4", "r3", "r2", "r1", "r0"].map(str::to_owned).to_vec(), 3));
    let page = world.get("/api/v1/rollouts?active=true&target=checkout").await.json();
    assert_eq!(ids(&page), ["r4", "r3"]);
    let page = world.get("/api/v1/rollouts?phase=succeeded").await.json();
    assert_eq!(ids(&page), ["r2", "r1", "r0"]);
    let page = world.get("/api/v1/rollouts?state=succeeded&service=checkout&policy=standard").await.json();
    assert_eq!(ids(&page), ["r2", "r1", "r0"]);
    let page = world.get("/api/v1/rollouts?policy=other").await.json();
    assert_eq!(page, json!({ "items": [] }));
    let (before, at) = (NOW.minus(Duration::from_secs(1)), NOW);
    assert_eq!(ids(&world.get(&format!("/api/v1/rollouts?to={before}")).await.json()), [""; 0]);
    assert_eq!(ids(&world.get(&format!("/api/v1/rollouts?from={at}&to={at}")).await.json()).len(), 5);
    world.get("/api/v1/rollouts?from=then").await.problem(400, "invalid_parameter");
    let page = world.get("/api/v1/rollouts?target=nothing").await.json();
    assert_eq!(page, json!({ "items": [] }));
}

#[tokio::test]
async fn events_come_after_a_number() {
    let world = world().with_rollout();
    world.store.change(|data| {
        let event = |seq| EventRecord {
            seq,
            at: NOW,
            kind: EventKind::Alert,
            by: None,
            sentence: format!("line {seq}"),
        };
        data.rollouts.get_mut(&rollout().id).unwrap().events = (1..=5).map(|seq| (seq, event(seq))).collect();
    });
    let page = world.get("/api/v1/rollouts/0195c1a8/events?after=1&limit=2").await.json();
    assert_eq!(page["items"][0]["sentence"], "line 2");
    assert_eq!(page["items"][0]["at"], "2026-03-01T10:00:04.000Z");
    assert_eq!(page["next"], "3");
    let page = world.get("/api/v1/rollouts/0195c1a8/events?after=3").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (2, &Value::Null));
    world.get("/api/v1/rollouts/nothing/events").await.problem(404, "not_found");
}

#[tokio::test]
async fn observations_are_exactly_what_is_stored() {
    let world = world().with_rollout();
    let tick = TickObservation {
        seq: 90,
        at: NOW,
        step: 1,
        weight: Weight(2_500),
        baseline_weight: Weight(7_500),
        metrics: vec![MetricObservation {
            routes: Default::default(),
            metric: "latency".into(),
            window: None,
            canary: Ok(Counts::Latency {
                le: vec![0.1, 0.30000000000000004],
                counts: vec![u64::MAX, 2, 0],
                sum: Some(1.0 / 3.0),
            }),
            baseline: Err(NoData::Stale { age_seconds: 40 }),
            usage: Usage::WarmUp,
        }],
        values: Vec::new(),
    };
    world.store.change(|data| {
        let observations = &mut data.rollouts.get_mut(&rollout().id).unwrap().observations;
        observations.insert(tick.seq, (tick.clone(), assessment()));
    });
    let answer = world.get("/api/v1/rollouts/0195c1a8/observations").await;
    let stored = serde_json::to_string(&tick).unwrap();
    assert_eq!(answer.text, format!(r#"{{"items":[{stored}]}}"#));
    let evidence = world.get("/api/v1/rollouts/0195c1a8/evidence?after=89").await.json();
    let item = &evidence["items"][0];
    assert_eq!((&item["tick"], &item["step"]), (&json!(90), &json!(2)));
    assert_eq!(item["assessment"]["metrics"][0]["name"], "errors");
    assert_eq!(item["assessment"]["harm"]["bound_odds"].as_f64().unwrap().round(), 100.0);
    assert_eq!(world.get("/api/v1/rollouts/0195c1a8/evidence?after=90").await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn targets_and_policies() {
    let world = world().with_rollout();
    let target = world.get("/api/v1/targets/checkout").await.json();
    assert_eq!(world.get("/api/v1/targets").await.json()["items"][0], target);
    assert_eq!(target["wanted"]["canary_percent"], 25.0);
    assert_eq!(target["seen"]["canary_percent"], 25.0);
    assert_eq!(target["generation"], 3);
    assert_eq!(target["unconfirmed_nodes"], json!(["edge-3"]));
    assert_eq!(target["nodes"][2]["connected"], false);
    assert_eq!(target["active_rollout"], "0195c1a8");
    world.get("/api/v1/targets/nothing").await.problem(404, "not_found");
    let policy = world.get("/api/v1/policies/standard").await.json();
    assert_eq!(world.get("/api/v1/policies").await.json()["items"][0], policy);
    assert_eq!(policy["steps"][0]["weight_percent"], 5.0);
    assert_eq!(policy["guardrails"][0]["hold_for_seconds"], 120.0);
    world.get("/api/v1/policies/nothing").await.problem(404, "unknown_policy");
    world.get("/api/v1/policies/%2e%2e%2fetc%2fpasswd").await.problem(404, "unknown_policy");
    world.get("/api/v1/targets/%ff").await.problem(404, "no_such_path");
}

// ------------------------------------------------------------------------------------------------ commands

const COMMANDS: &str = "/api/v1/rollouts/0195c1a8/commands";

/// Plays the engine: gives every command in the inbox this result, until it is dropped.
fn engine(world: &World, result: Result<(), String>) -> tokio::task::AbortHandle {
    let store = world.store.clone();
    let task = tokio::spawn(async move {
        loop {
            for entry in store.pending(&[rollout().id.clone()]).await.unwrap() {
                let commands = vec![(entry.command.key, result.clone())];
                store.commit(&Commit { commands, ..Commit::default() }).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    task.abort_handle()
}

fn patient() -> World {
    let world = world_with(Limits { command_wait: Duration::from_secs(60), ..Limits::default() });
    world.handle.set_loaded();
    world.with_rollout()
}

#[tokio::test]
async fn a_command_goes_through_the_inbox_and_its_result_is_the_answer() {
    let world = patient();
    let _engine = engine(&world, Ok(()));
    let body = json!({ "command": "rollback", "reason": "it smells", "by": "anna", "expected_revision": 17 });
    let answer = world.post(COMMANDS, Some("k1"), &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["result"], "done");
    let entry = world.store.command("k1").await.unwrap();
    assert_eq!((entry.command.by.as_str(), entry.command.expected_revision), ("anna", Some(17)));
    assert_eq!(entry.command.reason.as_deref(), Some("it smells"));
    assert_eq!(entry.command.kind.name(), "rollback");
    // Again: the same result, and nothing new in the inbox.
    assert_eq!(world.post(COMMANDS, Some("k1"), &body).await.status, 200);
    assert_eq!(world.store.inspect(|data| data.inbox.len()), 1);
    // The key stands for that command of that rollout only.
    let other = json!({ "command": "pause" });
    world.post(COMMANDS, Some("k1"), &other).await.problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_refused_command_says_why() {
    let world = patient();
    let _engine = engine(&world, Err("`advance` is not possible while the rollout is baking".into()));
    let answer = world.post(COMMANDS, None, &json!({ "command": "advance" })).await;
    let problem = answer.problem(409, "command_refused");
    assert_eq!(problem["detail"], "`advance` is not possible while the rollout is baking");
    assert_eq!(problem["rollout"], "0195c1a8");
}

#[tokio::test]
async fn a_command_that_is_not_taken_yet_is_accepted_and_can_be_asked_for_again() {
    let world = world().with_rollout();
    let answer = world.post(COMMANDS, Some("k2"), &json!({ "command": "pause" })).await;
    assert_eq!((answer.status, answer.json()["result"].as_str()), (202, Some("pending")));
    let _engine = engine(&world, Ok(()));
    let taken = || async {
        let answer = world.post(COMMANDS, Some("k2"), &json!({ "command": "pause" })).await;
        (answer.status == 200).then_some(())
    };
    crate::testkit::wait::until("the command is taken", Duration::from_secs(60), taken).await;
}

#[tokio::test]
async fn commands_to_ended_rollouts_are_refused_at_once() {
    let world = patient();
    world.store.change(|data| data.put(Rollout { phase: Phase::Succeeded, ..rollout() }));
    let problem =
        world.post(COMMANDS, None, &json!({ "command": "rollback" })).await.problem(409, "command_refused");
    assert_eq!(problem["detail"], "`rollback` is not possible while the rollout is succeeded");
    assert!(world.store.inspect(|data| data.inbox.is_empty()));
}

#[tokio::test]
async fn commands_that_are_none_are_refused() {
    let world = world().with_rollout();
    for body in [
        json!({}),
        json!({ "command": "explode" }),
        json!({ "command": "supersede" }),
        json!({ "command": null }),
        json!({ "command": 1 }),
    ] {
        let problem = world.post(COMMANDS, None, &body).await.problem(422, "invalid_field");
        assert_eq!(problem["field"], "command", "{body}");
    }
    let body = json!({ "command": "pause", "expected_revision": "17" });
    let problem = world.post(COMMANDS, None, &body).await.problem(422, "invalid_field");
    assert_eq!(problem["field"], "expected_revision");
    world
        .post("/api/v1/rollouts/nothing/commands", None, &json!({ "command": "pause" }))
        .await
        .problem(404, "not_found");
    assert!(world.store.inspect(|data| data.inbox.is_empty()));
}
