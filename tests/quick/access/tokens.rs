//! Tokens: made, used, expired, revoked, and never shown again.

use std::time::Duration;

use serde_json::json;
use serin::core::access::Role;

use super::kit::{asking, text, world};
use crate::api::example::NOW;

#[tokio::test]
async fn a_token_is_made_used_listed_and_revoked() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let body =
        json!({ "name": "ci", "role": "operator", "services": ["checkout*"], "expires_in_seconds": 3600 });
    let answer = world.post("/api/v1/tokens", &admin, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("serin_") && token.len() == 6 + 43, "{token}");
    assert_eq!((made["name"].as_str(), made["state"].as_str()), (Some("ci"), Some("active")));
    assert_eq!(made["expires_at"], "2026-03-01T11:00:04.000Z");
    assert_eq!(made["created_by"], "root");

    assert_eq!(world.get("/api/v1/me", &token).await.json()["name"], "ci");
    world.post("/api/v1/tokens", &admin, &body).await.problem(409, "token_exists");

    let listed = world.get("/api/v1/tokens", &admin).await;
    assert!(!listed.text.contains(&token) && !listed.text.contains("hash"), "{}", listed.text);
    assert_eq!(listed.json()["items"][0]["name"], "ci");

    let revoked = world.send(asking("DELETE", "/api/v1/tokens/ci", &admin, &json!(null))).await;
    assert_eq!((revoked.status, revoked.text.as_str()), (204, ""));
    let problem = world.get("/api/v1/me", &token).await.problem(401, "invalid_credentials");
    assert!(problem["detail"].as_str().unwrap().contains("revoked"), "{problem}");
    world.send(asking("DELETE", "/api/v1/tokens/ci", &admin, &json!(null))).await.problem(404, "not_found");
    assert_eq!(world.get("/api/v1/tokens", &admin).await.json()["items"][0]["state"], "revoked");
    // The name is free again.
    assert_eq!(world.post("/api/v1/tokens", &admin, &body).await.status, 201);
}

#[tokio::test]
async fn wrong_expired_and_malformed_tokens_are_refused() {
    let world = world();
    let until = NOW.plus(Duration::from_secs(60));
    let token = world.token_until("ci", Role::Viewer, &["*"], Some(until));
    assert_eq!(world.get("/api/v1/me", &token).await.status, 200);
    world.clock.advance(Duration::from_secs(60));
    let problem = world.get("/api/v1/me", &token).await.problem(401, "invalid_credentials");
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");

    let good = world.token("good", Role::Viewer, &["*"]);
    let wrong = [
        format!("{good}x"),
        good[..good.len() - 1].to_owned(),
        good.to_uppercase(),
        text("nobody"),
        "serin_".to_owned(),
        "a.b.c".to_owned(),
        // The hash is not a token.
        serin::secrets::tokens::hash(&good).0,
    ];
    for token in wrong {
        let answer = world.get("/api/v1/me", &token).await;
        answer.problem(401, "invalid_credentials");
        assert!(answer.header("www-authenticate").contains("invalid_token"), "{answer:?}");
        assert!(!answer.text.contains(&token), "the token is in the answer: {answer:?}");
    }
    for value in ["Basic Z29vZA==", "Bearer", "Bearer ", &format!("Bearer {good} {good}"), &good] {
        let mut request = asking("GET", "/api/v1/me", "", &json!(null));
        request.headers_mut().insert("authorization", value.parse().unwrap());
        assert_eq!(world.send(request).await.status, 401, "{value}");
    }
    let mut request = asking("GET", "/api/v1/me", &good, &json!(null));
    request.headers_mut().append("authorization", format!("Bearer {good}").parse().unwrap());
    assert_eq!(world.send(request).await.status, 401, "two headers");
    // In the query it is nothing: addresses stand in logs.
    world.get(&format!("/api/v1/targets?token={good}"), "").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn what_is_wrong_with_a_new_token_is_said_at_once() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let body = json!({ "name": "a b", "role": "king", "services": ["["], "expires_in_seconds": 0, "x": 1 });
    let problem = world.post("/api/v1/tokens", &admin, &body).await.problem(422, "invalid_field");
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["role", "name", "services", "expires_in_seconds", "x"]);
    for services in [json!([]), json!("*"), json!([""]), json!([7]), json!(vec!["a"; 101])] {
        let body = json!({ "name": "a", "role": "viewer", "services": services });
        let problem = world.post("/api/v1/tokens", &admin, &body).await.problem(422, "invalid_field");
        assert_eq!(problem["field"], "services");
    }
    let body = json!({ "name": "a", "role": "admin", "services": ["checkout"] });
    let problem = world.post("/api/v1/tokens", &admin, &body).await.problem(422, "invalid_field");
    assert_eq!(problem["field"], "services");
    assert_eq!(world.store.inspect(|data| data.tokens.len()), 1);
}

#[tokio::test]
async fn without_the_store_nobody_gets_in() {
    let world = world();
    let token = world.token("ci", Role::Admin, &["*"]);
    world.store.set_broken(true);
    for path in ["/api/v1/me", "/api/v1/policies", "/api/v1/targets", "/metrics"] {
        world.get(path, &token).await.problem(503, "store_unavailable");
    }
    assert_eq!(world.get("/livez", "").await.status, 200);
}
