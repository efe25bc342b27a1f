//! Bounds: wrong credentials of an address, requests of a caller, slow bodies, many connections.

use std::time::Duration;

use serde_json::{Value, json};
use serin::core::access::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::kit::{Answer, World, asking, text, world};

async fn me(world: &World, address: &str, token: &str) -> Answer {
    world.from(address, asking("GET", "/api/v1/me", token, &Value::Null)).await
}

#[tokio::test]
async fn an_address_that_tries_often_is_not_listened_to_for_a_while() {
    let world = world();
    let (known, fresh) =
        (world.token("known", Role::Viewer, &["*"]), world.token("fresh", Role::Viewer, &["*"]));
    assert_eq!(me(&world, "10.0.0.1", &known).await.status, 200);
    for n in 0..20 {
        let answer = match n % 2 {
            0 => me(&world, "10.0.0.1", &text(&n.to_string())).await,
            _ => {
                let body = json!({ "token": text(&n.to_string()) });
                world.from("10.0.0.1", asking("POST", "/api/v1/session", "", &body)).await
            }
        };
        answer.problem(401, "invalid_credentials");
    }
    let answer = me(&world, "10.0.0.1", &text("more")).await;
    answer.problem(429, "too_many_requests");
    assert_eq!(answer.header("retry-after"), "31");
    // Not even a right one is looked at, so that trying tells nothing…
    me(&world, "10.0.0.1", &fresh).await.problem(429, "too_many_requests");
    let body = json!({ "token": fresh });
    let login = world.from("10.0.0.1", asking("POST", "/api/v1/session", "", &body)).await;
    login.problem(429, "too_many_requests");
    // … but who was let in before, behind the same address, and who comes from another, is not shut out.
    assert_eq!(me(&world, "10.0.0.1", &known).await.status, 200);
    assert_eq!(me(&world, "10.0.0.2", &fresh).await.status, 200);
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(me(&world, "10.0.0.1", &fresh).await.status, 200);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_not_let_in_by_having_worked() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let token = world.token("ci", Role::Viewer, &["*"]);
    assert_eq!(me(&world, "10.0.0.1", &token).await.status, 200);
    world.send(asking("DELETE", "/api/v1/tokens/ci", &admin, &Value::Null)).await;
    assert_eq!(me(&world, "10.0.0.1", &token).await.status, 401);
}

#[tokio::test]
async fn one_caller_cannot_send_without_end() {
    let world = world();
    let token = world.token("loop", Role::Viewer, &["*"]);
    let other = world.token("other", Role::Viewer, &["*"]);
    for n in 0..200 {
        assert_eq!(world.get("/api/v1/me", &token).await.status, 200, "{n}");
    }
    let answer = world.get("/api/v1/me", &token).await;
    answer.problem(429, "too_many_requests");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(world.get("/api/v1/me", &other).await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    for n in 0..50 {
        assert_eq!(world.get("/api/v1/me", &token).await.status, 200, "{n}");
    }
    assert_eq!(world.get("/api/v1/me", &token).await.status, 429);
}

#[tokio::test]
async fn refusals_do_not_fill_the_audit_log() {
    let world = world();
    for n in 0..300 {
        world.from("10.0.0.1", asking("GET", "/api/v1/targets", &text(&n.to_string()), &Value::Null)).await;
    }
    assert_eq!(world.audited().len(), 30);
}

/// Sends bytes over a connection and reads until it is closed.
async fn exchange(address: std::net::SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut got)).await;
    read.expect("the connection is closed in time").ok();
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn slow_bodies_and_many_connections_are_bounded() {
    use serin::api::{Access, Limits, router_for, serve};
    let world = world();
    let token = world.token("ci", Role::Operator, &["*"]);
    let limits = Limits { request: Duration::from_secs(2), concurrent: 2, ..Limits::default() };
    let access = Access::new(Some(&super::kit::by_tokens()), false, &[]).unwrap();
    let router = router_for(
        world.handle.clone(),
        std::sync::Arc::new(String::new),
        limits,
        access,
        Default::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, router, std::future::pending()));
    let slow = format!(
        "POST /api/v1/rollouts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{{"
    );
    // The body never comes: there is an answer all the same.
    let answer = exchange(address, &slow).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"timeout\""), "{answer}");
    // Without a credential nothing of the body is waited for.
    let nobody = slow.replace(&format!("Authorization: Bearer {token}\r\n"), "");
    let answer = exchange(address, &nobody).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    // Two that are slow take all places; others are told so at once, and health is answered.
    let (first, second) = tokio::join!(exchange(address, &slow), async {
        let mut open = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(slow.as_bytes()).await.unwrap();
            open.push(stream);
        }
        let mut busy = 0;
        for mut stream in open {
            let mut got = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut got)).await;
            busy += usize::from(String::from_utf8_lossy(&got).contains("\"busy\""));
        }
        busy
    });
    assert!(first.contains("HTTP/1.1 503"), "{first}");
    assert!(second >= 6, "{second} were told that it is busy");
    let live = exchange(address, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");
    serving.abort();
}
