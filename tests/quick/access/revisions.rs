//! `ETag` and `If-Match`.

use axum::http::header::IF_MATCH;
use serde_json::json;
use serin::core::access::Role;

use super::kit::{Answer, CHECKOUT, World, asking, world};

async fn command(world: &World, token: &str, if_match: &str, key: &str, body: &serde_json::Value) -> Answer {
    let mut request = asking("POST", &format!("/api/v1/rollouts/{CHECKOUT}/commands"), token, body);
    request.headers_mut().insert(IF_MATCH, if_match.parse().unwrap());
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    world.send(request).await
}

#[tokio::test]
async fn a_command_for_another_revision_is_refused() {
    let world = world();
    let token = world.token("anna", Role::Operator, &["*"]);
    let shown = world.get(&format!("/api/v1/rollouts/{CHECKOUT}"), &token).await;
    assert_eq!(shown.header("etag"), format!("\"{}\"", shown.json()["revision"]));
    assert_eq!(shown.header("etag"), "\"6\"");

    let pause = json!({ "command": "pause" });
    let problem = command(&world, &token, "\"5\"", "k1", &pause).await.problem(412, "revision_changed");
    assert_eq!(problem["rollout"], CHECKOUT);
    assert!(world.store.inspect(|data| data.inbox.is_empty()));
    assert_eq!(command(&world, &token, "\"6\"", "k2", &pause).await.status, 202);
    let expected = world.store.inspect(|data| data.inbox.values().next().unwrap().command.expected_revision);
    assert_eq!(expected, Some(6), "the engine looks again");
    // The same key asks for the same command's result, although the rollout has gone on.
    world.store.change(|data| {
        data.rollouts.values_mut().for_each(|data| data.rollout.event_seq += 1);
        data.inbox.values_mut().for_each(|entry| entry.result = Some(Ok(())));
    });
    assert_eq!(command(&world, &token, "\"6\"", "k2", &pause).await.status, 200);
    // What the engine refused for its revision is the same answer.
    world.store.change(|data| {
        let why = "the rollout has changed: expected revision 6, it is at 7".to_owned();
        data.inbox.values_mut().for_each(|entry| entry.result = Some(Err(why.clone())));
    });
    command(&world, &token, "\"6\"", "k2", &pause).await.problem(412, "revision_changed");
    assert_eq!(command(&world, &token, "*", "k3", &pause).await.status, 202);
}

#[tokio::test]
async fn an_if_match_that_is_none_is_refused() {
    let world = world();
    let token = world.token("anna", Role::Operator, &["*"]);
    let pause = json!({ "command": "pause" });
    for wrong in ["6", "W/\"6\"", "\"six\"", "\"6\", \"7\"", "\"\"", "\"-1\""] {
        command(&world, &token, wrong, "k", &pause).await.problem(400, "invalid_if_match");
    }
    let both = json!({ "command": "pause", "expected_revision": 5 });
    let problem = command(&world, &token, "\"6\"", "k", &both).await.problem(422, "invalid_field");
    assert_eq!(problem["field"], "expected_revision");
}

#[test]
fn the_engines_sentence_begins_as_the_api_expects() {
    let refusal = serin::core::rollout::Illegal::Revision { expected: 6, actual: 7 };
    assert_eq!(refusal.to_string(), "the rollout has changed: expected revision 6, it is at 7");
}
