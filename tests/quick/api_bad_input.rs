//! What the HTTP interface refuses, and how it says so.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use super::{Answer, asked, world};

#[tokio::test]
async fn a_body_of_10_mb_is_refused() {
    let world = world();
    let body = format!(r#"{{"target": "{}"}}"#, "x".repeat(10_000_000));
    let problem = world.post_raw("/api/v1/rollouts", None, body).await.problem(413, "body_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("65536"), "{problem}");
    // The same without a length that is told beforehand.
    let chunks =
        futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 8192])));
    let body = Body::from_stream(futures::StreamExt::take(chunks, 1280));
    world.post_raw("/api/v1/rollouts", None, body).await.problem(413, "body_too_large");
    // One that is just small enough is read.
    let body = format!("{}{}", asked(), " ".repeat(65_536 - asked().to_string().len()));
    assert_eq!(world.post_raw("/api/v1/rollouts", None, body).await.status, 201);
}

#[tokio::test]
async fn wrong_types_and_unknown_fields_are_named_all_at_once() {
    let world = world();
    let body = json!({ "target": ["checkout"], "policy": 7, "version": "", "supersede": 1, "colour": "red" });
    let problem = world.start(None, &body).await.problem(422, "invalid_field");
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["target", "policy", "version", "supersede", "colour"]);
    assert_eq!(problem["field"], "target");
    assert!(world.store.inspect(|data| data.rollouts.is_empty()));
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let world = world();
    for body in ["", "{", "target=checkout", "[1]", "null", "\u{0}", "{\"target\": 1e999}"] {
        let answer = world.post_raw("/api/v1/rollouts", None, body.to_owned()).await;
        answer.problem(400, "invalid_json");
    }
    let bytes = world.post_raw("/api/v1/rollouts", None, vec![0xff, 0xfe, 0x00]).await;
    bytes.problem(400, "invalid_json");
    let deep = "[".repeat(60_000);
    world.post_raw("/api/v1/rollouts", None, deep).await.problem(400, "invalid_json");
    // A form of another site cannot send JSON.
    let request = Request::post("/api/v1/rollouts")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from(asked().to_string()))
        .unwrap();
    Answer::of(world.send(request).await).await.problem(415, "unsupported_media_type");
    assert!(world.store.inspect(|data| data.rollouts.is_empty()));
}

#[tokio::test]
async fn versions_that_cannot_be_are_refused() {
    let world = world();
    for version in [String::new(), "x".repeat(201), "v1\u{1b}[2J".to_owned(), "v1\n".to_owned()] {
        let mut body = asked();
        body["version"] = json!(version);
        let problem = world.start(None, &body).await.problem(422, "invalid_field");
        assert_eq!(problem["field"], "version");
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods() {
    let world = world();
    for path in
        ["/livez/x", "/api", "/api/v1", "/api/v1/nothing", "/api/v2/rollouts", "/api/v1/rollouts/a/b/c"]
    {
        world.get(path).await.problem(404, "no_such_path");
    }
    for (method, path) in [
        ("DELETE", "/api/v1/rollouts"),
        ("POST", "/api/v1/overview"),
        ("PUT", "/api/v1/rollouts/r1"),
        ("GET", "/api/v1/rollouts/r1/commands"),
        ("POST", "/livez"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = Answer::of(world.send(request).await).await;
        answer.problem(405, "method_not_allowed");
        assert!(answer.allow.is_some(), "{method} {path}");
    }
}

#[tokio::test]
async fn queries_are_checked() {
    let world = world().with_rollout();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("active=yes", "active"),
        ("phase=dancing", "phase"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
    ] {
        let problem = world.get(&format!("/api/v1/rollouts?{query}")).await.problem(400, "invalid_parameter");
        assert_eq!(problem["field"], field, "{query}");
    }
    world.get("/api/v1/rollouts/0195c1a8/events?after=-1").await.problem(400, "invalid_parameter");
}
