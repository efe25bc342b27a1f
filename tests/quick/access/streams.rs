//! Open event streams: they end with the credential that opened them, and with its session.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, header};
use futures::StreamExt;
use serde_json::{Value, json};
use serin::core::access::Role;
use serin::core::ids::RolloutId;
use tower::ServiceExt;

use super::kit::{CHECKOUT, World, asking, world};
use crate::api::example::NOW;

/// An open stream, seen to have begun.
struct Stream(BodyDataStream);

impl Stream {
    async fn open(world: &World, request: Request<Body>) -> Stream {
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = Stream(response.into_body().into_data_stream());
        stream.told("event: hello").await;
        stream
    }

    async fn by_token(world: &World, token: &str) -> Stream {
        Stream::open(world, asking("GET", "/api/v1/stream", token, &Value::Null)).await
    }

    async fn by_cookie(world: &World, token: &str) -> Stream {
        Stream::open(world, with_cookie("GET", "/api/v1/stream", token)).await
    }

    /// Reads on until something has this in it.
    async fn told(&mut self, words: &str) {
        let told = async {
            while let Some(chunk) = self.0.next().await {
                if String::from_utf8_lossy(&chunk.unwrap()).contains(words) {
                    return;
                }
            }
            panic!("the stream has ended without {words:?}");
        };
        tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is told within a minute");
    }

    /// Reads on to its end.
    async fn ends(mut self) {
        let end = async { while self.0.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), end).await.expect("the stream ends");
    }

    /// Sees that it goes on: it tells a change that is made now.
    async fn goes_on(&mut self, world: &World) {
        world.handle.changed(&RolloutId(CHECKOUT.into()));
        self.told("event: rollout").await;
        world.handle.changed(&RolloutId(CHECKOUT.into()));
        self.told("event: rollout").await;
    }
}

fn with_cookie(method: &str, path: &str, token: &str) -> Request<Body> {
    let mut request = asking(method, path, "", &Value::Null);
    request.headers_mut().insert(header::COOKIE, format!("serin_session={token}").parse().unwrap());
    request
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let (gone, stays) = (world.token("ci", Role::Viewer, &["*"]), world.token("other", Role::Viewer, &["*"]));
    let first = Stream::by_token(&world, &gone).await;
    let second = Stream::by_cookie(&world, &gone).await;
    let mut other = Stream::by_token(&world, &stays).await;
    let revoked = world.send(asking("DELETE", "/api/v1/tokens/ci", &admin, &json!(null))).await;
    assert_eq!(revoked.status, 204);
    first.ends().await;
    second.ends().await;
    other.goes_on(&world).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let world = world();
    let until = NOW.plus(Duration::from_secs(60));
    let short = world.token_until("short", Role::Viewer, &["*"], Some(until));
    let long = world.token("long", Role::Viewer, &["*"]);
    let stream = Stream::by_token(&world, &short).await;
    let mut other = Stream::by_token(&world, &long).await;
    world.clock.advance(Duration::from_secs(60));
    stream.ends().await;
    other.goes_on(&world).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_session_is_left() {
    let world = world();
    let (anna, ben) = (world.token("anna", Role::Viewer, &["*"]), world.token("ben", Role::Viewer, &["*"]));
    let page = Stream::by_cookie(&world, &anna).await;
    let mut program = Stream::by_token(&world, &anna).await;
    let mut other = Stream::by_cookie(&world, &ben).await;
    assert_eq!(world.send(with_cookie("DELETE", "/api/v1/session", &anna)).await.status, 204);
    page.ends().await;
    program.goes_on(&world).await;
    other.goes_on(&world).await;
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_ends_no_stream() {
    let world = world();
    let token = world.token("anna", Role::Viewer, &["*"]);
    let mut stream = Stream::by_token(&world, &token).await;
    stream.told("event: rollout").await;
    world.store.set_broken(true);
    // The credential is asked for again meanwhile, and cannot be checked.
    let asked = world.store.asked_for_tokens();
    let again = || async { (world.store.asked_for_tokens() > asked + 2).then_some(()) };
    crate::testkit::wait::until("the token is asked for", Duration::from_secs(60), again).await;
    world.store.set_broken(false);
    stream.goes_on(&world).await;
}
