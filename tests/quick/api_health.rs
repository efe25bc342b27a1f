//! Whether the daemon says that it lives and can work, and how it bounds what is asked of it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use serin::api::Limits;
use tower::ServiceExt;

use super::example::seconds;
use super::{COMMANDS, asked, world, world_with};

#[tokio::test]
async fn ready_only_when_loaded_and_writable() {
    let world = world_with(Limits { health: Duration::from_millis(50), ..Limits::default() });
    assert_eq!(world.get("/livez").await.status, 200);
    let problem = world.get("/readyz").await.problem(503, "not_ready");
    assert!(problem["detail"].as_str().unwrap().contains("not loaded"), "{problem}");
    world.start(None, &asked()).await.problem(503, "not_ready");
    world.handle.set_loaded();
    assert_eq!(world.get("/readyz").await.status, 200);
    world.handle.set_storing(false);
    world.get("/readyz").await.problem(503, "not_ready");
    world.handle.set_storing(true);
    world.store.set_broken(true);
    let problem = world.get("/readyz").await.problem(503, "not_ready");
    assert!(problem["detail"].as_str().unwrap().contains("broken by the test"), "{problem}");
    world.store.set_broken(false);
    world.store.set_stuck(true);
    world.get("/readyz").await.problem(503, "not_ready");
    assert_eq!(world.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_store_that_fails_is_told_with_when_to_try_again() {
    let world = world().with_rollout();
    world.store.set_broken(true);
    let command = json!({ "command": "pause" });
    for answer in [
        world.get("/api/v1/rollouts").await,
        world.get("/api/v1/targets").await,
        world.get("/api/v1/rollouts/0195c1a8").await,
        world.start(None, &asked()).await,
        world.post(COMMANDS, None, &command).await,
    ] {
        answer.problem(503, "store_unavailable");
        assert_eq!(answer.retry_after.as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn metrics_come_even_if_the_store_is_stuck() {
    let world = world_with(Limits { health: Duration::from_millis(50), ..Limits::default() });
    for stuck in [false, true] {
        world.store.set_stuck(stuck);
        let answer = world.get("/metrics").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "serin_up 1\n"));
        assert!(answer.kind.starts_with("text/plain; version=0.0.4"), "{}", answer.kind);
    }
}

#[tokio::test]
async fn requests_are_bounded_in_time_and_in_number() {
    let world = world_with(Limits { request: Duration::from_millis(50), concurrent: 1, ..Limits::default() });
    world.store.set_stuck(true);
    let problem = world.get("/api/v1/targets").await.problem(503, "timeout");
    assert_eq!(problem["retry_after_seconds"], 1);
    let world = world_with(Limits { request: seconds(600), concurrent: 1, ..Limits::default() });
    world.store.set_stuck(true);
    let router = world.router.clone();
    let first = tokio::spawn(async move {
        let request = Request::get("/api/v1/targets").body(Body::empty()).unwrap();
        router.oneshot(request).await.map(|response| response.status())
    });
    let busy = || async {
        // Until the first one is under way, this one is stuck itself and is given up.
        let answer = tokio::time::timeout(Duration::from_millis(200), world.get("/api/v1/policies")).await;
        answer.ok().filter(|answer| answer.status == 503).map(|answer| answer.problem(503, "busy"))
    };
    crate::testkit::wait::until("the only place is taken", Duration::from_secs(60), busy).await;
    // Health is not bounded with the rest.
    assert_eq!(world.get("/livez").await.status, StatusCode::OK.as_u16());
    first.abort();
}
