//! Through the API: from a request to the router, whatever the store does.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use futures::FutureExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use serin::api::{Access, Limits, People, router_for};
use serin::config::Authentication;
use serin::core::access::{Role, TokenRecord};
use serin::core::alert::{Alert, AlertWish};
use serin::core::pools::ObservedSplit;
use serin::core::rollout::{CommandKind, Phase, Stage};
use serin::core::routing::Routing;
use serin::core::split::Split;
use serin::core::target::SeenSplit;
use serin::core::time::Timestamp;
use serin::engine::{Active, Actor, Freezes, Job, JobKind, Loaded, Message, Now, Options, Outcome, Telling};
use serin::messages::Words;
use serin::ports::InboxEntry;
use serin::secrets::tokens;
use tower::ServiceExt;

use super::{House, SOON, house, id, name};
use crate::testkit::builders::{command, percent, policy, rollout, step, target, target_spec};
use crate::testkit::wait::until;

const TOKEN: &str = "serin_test-erin-0123456789abcdefghijklmnopqrstuvwxyz";

/// The API of a house, for `erin`, who may operate.
struct Door {
    house: House,
    router: Router,
}

async fn door(targets: usize, limits: Limits) -> Door {
    let house = house(targets).await;
    let record = TokenRecord {
        name: "erin".to_owned(),
        hash: tokens::hash(TOKEN),
        role: Role::Operator,
        services: vec!["*".to_owned()],
        created_at: Timestamp(0),
        created_by: "anna".to_owned(),
        expires_at: None,
        revoked_at: None,
    };
    house.store.change(|data| data.tokens.push(record));
    let told = Authentication { tokens: true, oidc: None, metrics_open: false };
    let access = Access::new(Some(&told), false, &[]).unwrap();
    // It reads the tokens once before it waits to read them again.
    assert!(access.clone().remember(house.handle.clone()).now_or_never().is_none());
    let handle = house.handle.clone();
    let router = router_for(handle, std::sync::Arc::new(String::new), limits, access, People::default());
    Door { house, router }
}

impl Door {
    /// Sends a request, and gives status and body.
    async fn send(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let (status, _, body) = self.send_for(method, path, token, body).await;
        (status, body)
    }

    /// The same, with since when the store has taken nothing.
    async fn send_for(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: &Value,
    ) -> (u16, Option<String>, Value) {
        let request =
            Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let answer =
            self.router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let since =
            answer.headers().get("serin-store-failing-since").map(|since| since.to_str().unwrap().to_owned());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, since, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn command(&self, number: usize, command: &str) -> (u16, Value) {
        let path = format!("/api/v1/rollouts/{}/commands", id(number));
        self.send("POST", &path, TOKEN, &json!({ "command": command })).await
    }

    async fn is_back(&self, number: usize) {
        let gone = async || (!self.house.has_canary(number)).then_some(());
        until(&format!("canary {number} to get nothing"), SOON, gone).await;
    }
}

fn short() -> Limits {
    let (request, command_wait) = (Duration::from_secs(2), Duration::from_secs(1));
    Limits { request, command_wait, health: Duration::from_millis(50), ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_urgent_needs_no_store_from_the_first_byte_on() {
    let door = door(4, short()).await;
    door.house.store.set_stuck(true);
    let (status, view) = door.command(0, "rollback").await;
    assert_eq!((status, view["result"].as_str()), (202, Some("in_force")), "{view}");
    door.is_back(0).await;
    let (status, view) = door.command(1, "pause").await;
    assert_eq!((status, view["result"].as_str()), (202, Some("in_force")), "{view}");
    let now = door.house.handle.clock().wall();
    for (number, version) in [(2, "4"), (3, "1")] {
        let labels = json!({"alertname": "TooManyErrors", "service": name(number), "severity": "critical"});
        let alert = json!({"status": "firing", "labels": labels, "startsAt": now.to_string()});
        let body = json!({"version": version, "alerts": [alert]});
        let (status, problem) = door.send("POST", "/api/v1/hooks/alertmanager", TOKEN, &body).await;
        assert_eq!(status, 503, "{problem}: the receipt is not stored: it has to come again");
        door.is_back(number).await;
    }
    // What raises the canary, and whoever the store was never asked about, wait for the store.
    let (status, problem) = door.command(1, "advance").await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("store_unavailable")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("whether the token is still good"), "{problem}");
    let path = format!("/api/v1/rollouts/{}/commands", id(1));
    let unknown = TOKEN.replace("test-erin", "test-mara");
    let (status, _) = door.send("POST", &path, &unknown, &json!({"command": "rollback"})).await;
    assert_eq!(status, 503);
    assert!(door.house.has_canary(1));
    door.house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_at_once_makes_no_answer_of_what_is_in_force() {
    let door = door(2, short()).await;
    door.house.store.set_broken(true);
    for (number, command) in [(0, "pause"), (1, "rollback")] {
        let (status, view) = door.command(number, command).await;
        assert_eq!((status, view["result"].as_str()), (202, Some("in_force")), "{command}: {view}");
    }
    door.is_back(1).await;
    door.house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_since_when_the_store_has_taken_nothing() {
    let door = door(1, short()).await;
    door.house.store.set_broken(true);
    let ask = async |method: &str, path: &str| {
        door.send_for(method, path, TOKEN, &json!({"command": "pause"})).await
    };
    let command = format!("/api/v1/rollouts/{}/commands", id(0));
    let failing = async || ask("POST", &command).await.1;
    let since = until("the engine to know", SOON, failing).await;
    let (status, told, _) = ask("GET", "/livez").await;
    assert_eq!((status, told.as_ref()), (200, Some(&since)));
    let (status, told, problem) = ask("GET", "/api/v1/rollouts").await;
    assert_eq!((status, told.as_ref()), (503, Some(&since)));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.ends_with(&format!("the store has taken nothing since {since}")), "{detail}");
    let (status, _, view) = ask("POST", &command).await;
    assert_eq!(status, 202);
    assert!(view["note"].as_str().unwrap().contains(&since), "{view}");
    door.house.store.set_broken(false);
    let is_back = async || ask("GET", "/livez").await.1.is_none().then_some(());
    until("the store to be back", SOON, is_back).await;
    door.house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_the_store_leave_a_place_for_a_rollback() {
    let door = door(1, Limits { concurrent: 2, urgent: 1, ..Limits::default() }).await;
    door.house.store.set_stuck(true);
    let list = || door.send("GET", "/api/v1/rollouts", TOKEN, &Value::Null);
    let all = async {
        tokio::join!(list(), list());
    };
    let rollback = async {
        let full = async || (list().await.1["code"] == "busy").then_some(());
        until("every place is taken", SOON, full).await;
        let back = tokio::join!(door.command(0, "rollback"), door.is_back(0));
        back.0
    };
    let (status, view) = tokio::select! {
        () = all => panic!("nothing comes of these"),
        answer = rollback => answer,
    };
    assert_eq!((status, view["result"].as_str()), (202, Some("in_force")), "{view}");
    door.house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_used_for_something_else_is_not_carried_out() {
    let door = door(1, short()).await;
    let send = async |command: &str| {
        let request = Request::post(format!("/api/v1/rollouts/{}/commands", id(0)));
        let request =
            request.header(header::CONTENT_TYPE, "application/json").header("Idempotency-Key", "once");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        let body = Body::from(json!({ "command": command }).to_string());
        door.router.clone().oneshot(request.body(body).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(send("pause").await, 200);
    assert_eq!(send("rollback").await, 422);
    assert!(door.house.has_canary(0));
    door.house.stop.cancel();
}

// ------------------------------------------------------------------------------------------------ the actor

#[test]
fn an_alert_that_pauses_cuts_off_what_raises_the_canary() {
    let now = Now { wall: Timestamp(1_000_000), monotonic: Duration::from_secs(10) };
    let mut rollout = rollout("r1", "shop", policy().steps(vec![step(50.0, 60), step(100.0, 0)]).build());
    rollout.phase = Phase::Progressing { step: 0, stage: Stage::Settling };
    let mut shop = target("shop");
    shop.active = Some(rollout.id.clone());
    shop.seen = Some(SeenSplit { split: Split::STABLE, generation: shop.generation, at: now.wall });
    shop.want(Split::canary(percent(50.0), false));
    let judge = std::sync::Arc::new(serin::core::judge::JudgeState::new(&rollout.policy));
    let active = Some(Some(Box::new(Active { rollout, judge, cursors: Default::default() })));
    let loaded = Loaded {
        target: shop,
        active,
        waiting: vec![],
        ended: vec![],
        inbox: vec![],
        done: vec![],
        last_work: None,
    };
    let telling =
        Telling { routing: Routing::everything([]), words: Words::default(), channels: BTreeSet::new() };
    let freezes = Freezes { is_known: true, ..Freezes::default() };
    let spec = target_spec("shop").into();
    let mut actor = Actor::new(spec, loaded, telling.into(), freezes.into(), Options::default(), now);
    let (mut raise, mut message) = (None, Message::Due);
    for _ in 0..10 {
        let decision = actor.take(message, now);
        message = Message::Due;
        for (ticket, job) in decision.jobs {
            match job {
                Job::Apply { raises: true, .. } => raise = Some(ticket),
                Job::Observe { .. } => {
                    let split = ObservedSplit::of(Some(Split::STABLE));
                    message = Message::Result(ticket, Outcome::Observed(Ok(split)));
                }
                Job::Commit(_) => message = Message::Result(ticket, Outcome::Stored(Ok(()))),
                _ => {}
            }
        }
    }
    let raise = raise.expect("it is being raised");
    let alert = Alert {
        id: "a".to_owned(),
        name: "Slow".to_owned(),
        severity: Some("page".to_owned()),
        firing: true,
        starts_at: Some(now.wall),
        received_at: now.wall,
        summary: String::new(),
        wish: AlertWish::Pause,
        names_canary: None,
    };
    let command = command("alerts", CommandKind::Alerts { alerts: vec![alert] });
    let entry = InboxEntry { rollout: id_of("r1"), at: now.wall, command, result: None };
    let decision = actor.take(Message::Command(Box::new(entry)), now);
    assert_eq!(raise.kind, JobKind::Apply);
    assert!(decision.cancel.contains(&raise), "{decision:?}");
    assert!(!decision.jobs.iter().any(|(_, job)| matches!(job, Job::Apply { raises: true, .. })));
}

fn id_of(text: &str) -> serin::core::ids::RolloutId {
    serin::core::ids::RolloutId(text.to_owned())
}
