//! The audit log: what stands in it, who reads it, and what never does.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use serin::api::Access;
use serin::core::access::Role;

use super::kit::{CHECKOUT, asking, world, world_with};

#[tokio::test]
async fn whatever_changes_something_is_written_down_with_its_result() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let viewer = world.token("eve", Role::Viewer, &["*"]);
    let commands = format!("/api/v1/rollouts/{CHECKOUT}/commands");
    world
        .post(
            "/api/v1/rollouts",
            &admin,
            &json!({ "target": "checkout", "policy": "standard", "version": "v9" }),
        )
        .await;
    world.post(&commands, &admin, &json!({ "command": "pause" })).await;
    world.post(&commands, &admin, &json!({ "command": "explode" })).await;
    world.post(&commands, &viewer, &json!({ "command": "rollback" })).await;
    world.post("/api/v1/tokens", &admin, &json!({ "name": "ci", "role": "viewer" })).await;
    world.send(asking("DELETE", "/api/v1/tokens/ci", &admin, &Value::Null)).await;
    world.send(asking("DELETE", "/api/v1/tokens/ci", &admin, &Value::Null)).await;
    world.get("/api/v1/audit", &viewer).await;
    world.get("/api/v1/targets", "").await;
    // Reading, and asking who is logged in, is not written down.
    world.get("/api/v1/targets", &viewer).await;
    world.get("/api/v1/me", "").await;
    assert_eq!(
        world.audited(),
        [
            "start [v9 of checkout] by root via token: occupied",
            &format!("pause [{CHECKOUT} of checkout] by root via token: accepted"),
            "command [] by root via token: invalid_field",
            "command [] by eve via token: forbidden",
            "token.create [ci] by root via token: done",
            "token.revoke [ci] by root via token: done",
            "token.revoke [ci] by root via token: not_found",
            "read /api/v1/audit [] by eve via token: forbidden",
            "read /api/v1/targets [] by - via none: unauthenticated",
        ]
    );
    let first = world.store.inspect(|data| data.audit[&2].clone());
    assert_eq!((first.from.as_str(), first.status, first.at), ("10.1.2.3", 202, crate::api::example::NOW));
}

#[tokio::test]
async fn it_is_read_in_pages_newest_first_by_administrators() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    for n in 0..5 {
        world.post("/api/v1/tokens", &admin, &json!({ "name": format!("t{n}"), "role": "viewer" })).await;
    }
    let page = world.get("/api/v1/audit?limit=2", &admin).await.json();
    let subjects = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["subject"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(subjects(&page), ["t4", "t3"]);
    let next = page["next"].as_str().unwrap();
    let page = world.get(&format!("/api/v1/audit?limit=3&before={next}"), &admin).await.json();
    assert_eq!(subjects(&page), ["t2", "t1", "t0"]);
    assert_eq!(page["next"], Value::Null);
    let line = &page["items"][0];
    assert_eq!(
        (&line["by"], &line["via"], &line["action"]),
        (&json!("root"), &json!("token"), &json!("token.create"))
    );
    for query in ["limit=0", "limit=1001", "before=x", "after=1"] {
        world.get(&format!("/api/v1/audit?{query}"), &admin).await.problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn an_open_daemon_writes_down_what_callers_say_of_themselves() {
    let world = world_with(Access::open());
    let body = json!({ "command": "pause", "by": "anna" });
    world.post(&format!("/api/v1/rollouts/{CHECKOUT}/commands"), "", &body).await;
    assert_eq!(world.audited(), [format!("pause [{CHECKOUT} of checkout] by anna via open: accepted")]);
}

/// What was written to the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_stands_in_any_answer_event_or_line() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _log = tracing::subscriber::set_default(log.finish());
    // With one subscriber alone, lines that another test's thread comes to first would be off for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let made =
        world.post("/api/v1/tokens", &admin, &json!({ "name": "ci", "role": "operator" })).await.json();
    let token = made["token"].as_str().unwrap();
    let commands = format!("/api/v1/rollouts/{CHECKOUT}/commands");
    let mut answers = vec![
        world.post("/api/v1/session", "", &json!({ "token": token })).await,
        world.post(&commands, token, &json!({ "command": "pause", "reason": "no reason" })).await,
        world.post("/api/v1/tokens", token, &json!({ "name": "x", "role": "admin" })).await,
        world.get("/api/v1/nothing", token).await,
        world.get("/api/v1/targets?x=1", token).await,
    ];
    for path in ["/api/v1/me", "/api/v1/tokens", "/api/v1/audit", "/api/v1/rollouts"] {
        answers.push(world.get(path, &admin).await);
        answers.push(world.get(path, token).await);
    }
    for answer in &answers {
        assert!(!answer.text.contains(token) && !answer.text.contains(&admin), "{answer:?}");
    }
    let stored = world.store.inspect(|data| format!("{data:?}"));
    assert!(stored.contains("token.create"), "what is stored is looked at");
    assert!(!stored.contains(token) && !stored.contains(&admin), "a token is stored");
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("token.create"), "the log is looked at: {log}");
    assert!(!log.contains(token) && !log.contains(&admin), "a token is in the log");
}
