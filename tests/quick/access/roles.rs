//! Every route for every role, and lists cut to what somebody may see.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};
use serin::api::Access;
use serin::core::access::Role;

use super::kit::{CHECKOUT, SEARCH, asking, world, world_with};

/// Every route with what it needs; a body that is right as far as needed.
fn routes() -> Vec<(&'static str, String, Value, &'static str)> {
    let start = json!({ "target": "checkout", "policy": "standard", "version": "v9" });
    let rollout = |rest: &str| format!("/api/v1/rollouts/{CHECKOUT}{rest}");
    let none = Value::Null;
    vec![
        ("GET", "/livez".into(), none.clone(), "nothing"),
        ("GET", "/readyz".into(), none.clone(), "nothing"),
        ("GET", "/metrics".into(), none.clone(), "view"),
        ("GET", "/api/v1/me".into(), none.clone(), "view"),
        ("GET", "/api/v1/rollouts".into(), none.clone(), "view"),
        ("HEAD", "/api/v1/rollouts".into(), none.clone(), "view"),
        ("POST", "/api/v1/rollouts".into(), start, "operate"),
        ("GET", rollout(""), none.clone(), "view"),
        ("POST", rollout("/commands"), json!({ "command": "pause" }), "operate"),
        ("GET", rollout("/events"), none.clone(), "view"),
        ("GET", rollout("/evidence"), none.clone(), "view"),
        ("GET", rollout("/observations"), none.clone(), "view"),
        ("GET", "/api/v1/targets".into(), none.clone(), "view"),
        ("GET", "/api/v1/targets/checkout".into(), none.clone(), "view"),
        ("GET", "/api/v1/policies".into(), none.clone(), "view"),
        ("GET", "/api/v1/policies/standard".into(), none.clone(), "view"),
        ("GET", "/api/v1/tokens".into(), none.clone(), "administer"),
        ("POST", "/api/v1/tokens".into(), json!({ "name": "new", "role": "viewer" }), "administer"),
        ("DELETE", "/api/v1/tokens/new".into(), none.clone(), "administer"),
        ("GET", "/api/v1/outbox?state=pending".into(), none.clone(), "view"),
        ("POST", "/api/v1/outbox/1/retry".into(), none.clone(), "administer"),
        ("GET", "/api/v1/audit".into(), none, "administer"),
    ]
}

#[tokio::test]
async fn every_route_for_every_role_and_for_nobody() {
    let world = world();
    let roles = [
        (Role::Viewer, vec!["nothing", "view"]),
        (Role::Approver, vec!["nothing", "view"]),
        (Role::Operator, vec!["nothing", "view", "operate"]),
        (Role::Admin, vec!["nothing", "view", "operate", "administer"]),
    ];
    for (role, may) in roles {
        let token = world.token(role.name(), role, &["*"]);
        for (method, path, body, needs) in routes() {
            let answer = world.send(asking(method, &path, &token, &body)).await;
            if may.contains(&needs) {
                assert!(![401, 403, 405].contains(&answer.status), "{role:?} {method} {path}: {answer:?}");
            } else {
                let problem = answer.problem(403, "forbidden");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains(&format!("`{needs}`")), "{role:?} {method} {path}: {detail}");
                assert!(detail.contains(role.name()), "{detail}");
            }
        }
    }
    for (method, path, body, needs) in routes() {
        let answer = world.send(asking(method, &path, "", &body)).await;
        if needs == "nothing" {
            assert_eq!(answer.status, 200, "{method} {path}");
            continue;
        }
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
        if method != "HEAD" {
            answer.problem(401, "unauthenticated");
        }
    }
}

/// The paths of the router itself, as it shows them.
fn paths_of(router: &axum::Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    let path = Regex::new(r#""(/[^"]*)""#).unwrap();
    path.captures_iter(&shown).map(|found| found[1].to_owned()).collect()
}

#[tokio::test]
async fn every_route_of_the_router_stands_in_the_table() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let paths = paths_of(&world.router);
    for path in ["/livez", "/api/v1/rollouts/{id}/commands", "/api/v1/audit"] {
        assert!(paths.contains(path), "the routes were not found: {paths:?}");
    }
    for path in paths {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            // Its answer has no end; the tests of the stream have it.
            if path == "/api/v1/stream" && method == "GET" {
                continue;
            }
            let uri = path.replace("{id}", CHECKOUT).replace("{name}", "x").replace("{*path}", "x");
            let answer = world.send(asking(method, &uri, &admin, &Value::Null)).await;
            assert!(!answer.text.contains("not_in_table"), "{method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn lists_and_single_things_are_cut_to_the_scope() {
    let world = world();
    let token = world.token("shop", Role::Operator, &["check*", "pay"]);
    let names = |answer: super::kit::Answer, field: &str| -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(world.get("/api/v1/targets", &token).await, "name"), ["checkout"]);
    assert_eq!(names(world.get("/api/v1/rollouts", &token).await, "id"), [CHECKOUT]);
    assert!(names(world.get("/api/v1/rollouts?target=search", &token).await, "id").is_empty());
    // A page is full although what may not be seen would have come first.
    assert_eq!(names(world.get("/api/v1/rollouts?limit=1", &token).await, "id"), [CHECKOUT]);
    assert_eq!(world.get("/api/v1/rollouts?limit=1", &token).await.json()["next"], Value::Null);

    // What may not be seen is as if it were not there.
    let missing = world.get("/api/v1/targets/nothing", &token).await.problem(404, "not_found");
    let hidden = world.get("/api/v1/targets/search", &token).await.problem(404, "not_found");
    assert_eq!(
        missing["detail"].as_str().unwrap().replace("nothing", "search"),
        hidden["detail"].as_str().unwrap()
    );
    for rest in ["", "/events", "/evidence", "/observations"] {
        world.get(&format!("/api/v1/rollouts/{SEARCH}{rest}"), &token).await.problem(404, "not_found");
        assert_eq!(world.get(&format!("/api/v1/rollouts/{CHECKOUT}{rest}"), &token).await.status, 200);
    }
    let command = json!({ "command": "rollback" });
    world
        .post(&format!("/api/v1/rollouts/{SEARCH}/commands"), &token, &command)
        .await
        .problem(404, "not_found");
    assert!(world.store.inspect(|data| data.inbox.is_empty()));

    // Starting says no by the name alone, whether the target is there or not.
    for target in ["search", "nothing"] {
        let start = json!({ "target": target, "policy": "standard", "version": "v9" });
        world.post("/api/v1/rollouts", &token, &start).await.problem(403, "forbidden");
    }
    let start = json!({ "target": "pay", "policy": "standard", "version": "v9" });
    let problem = world.post("/api/v1/rollouts", &token, &start).await.problem(404, "unknown_target");
    assert!(!problem["detail"].as_str().unwrap().contains("search"), "{problem}");
    world.get("/metrics", &token).await.problem(403, "forbidden");
}

#[tokio::test]
async fn me_says_who_and_what() {
    let world = world();
    let token = world.token("ci", Role::Approver, &["check*"]);
    let me = world.get("/api/v1/me", &token).await.json();
    let may = json!({ "view": true, "operate": false, "approve": true, "administer": false });
    let expected =
        json!({ "name": "ci", "role": "approver", "services": ["check*"], "open": false, "may": may });
    assert_eq!(me, expected);

    let open = world_with(Access::open());
    let me = open.get("/api/v1/me", "").await.json();
    let may = json!({ "view": true, "operate": true, "approve": true, "administer": true });
    assert_eq!(me, json!({ "name": null, "role": "admin", "services": ["*"], "open": true, "may": may }));
}

#[tokio::test]
async fn the_name_in_the_log_is_the_authenticated_one() {
    let world = world();
    let token = world.token("ci", Role::Operator, &["*"]);
    let body = json!({ "command": "pause", "by": "somebody else" });
    world.post(&format!("/api/v1/rollouts/{CHECKOUT}/commands"), &token, &body).await;
    let by = world.store.inspect(|data| data.inbox.values().next().unwrap().command.by.clone());
    assert_eq!(by, "ci");
}
