//! What browsers are told, which pages may call, and paths and headers that are not what they seem.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use serin::api::Access;
use serin::core::access::Role;

use super::kit::{asking, by_tokens, world, world_with};

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let world = world();
    for (path, status) in
        [("/livez", 200), ("/api/v1/me", 401), ("/nothing.txt", 404), ("/api/v1/nothing", 404)]
    {
        let answer = world.get(path, "").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("script-src 'self'"),
            "{policy}"
        );
        let cache = if path.starts_with("/api") { "no-store" } else { "" };
        assert_eq!(answer.header("cache-control"), cache, "{path}");
    }
}

fn preflight(origin: &str) -> Request<Body> {
    Request::options("/api/v1/rollouts")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn pages_of_other_sites_may_call_only_if_their_origin_is_configured() {
    let without = world();
    let answer = without.send(preflight("https://grafana.example.com")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "", "{answer:?}");

    let origins = ["https://grafana.example.com".to_owned()];
    let world = world_with(Access::new(Some(&by_tokens()), false, &origins).unwrap());
    let answer = world.send(preflight("https://grafana.example.com")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "https://grafana.example.com");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    for other in ["https://evil.example", "https://grafana.example.com.evil.example", "null"] {
        let answer = world.send(preflight(other)).await;
        assert_ne!(answer.header("access-control-allow-origin"), other, "{answer:?}");
    }
    // The answer itself may be read, and the token is needed all the same.
    let token = world.token("grafana", Role::Viewer, &["*"]);
    for (token, status) in [(token.as_str(), 200), ("", 401)] {
        let mut request = asking("GET", "/api/v1/targets", token, &Value::Null);
        request.headers_mut().insert("origin", "https://grafana.example.com".parse().unwrap());
        let answer = world.send(request).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), "https://grafana.example.com");
    }
}

#[tokio::test]
async fn without_authentication_only_names_of_this_machine_are_answered() {
    let world = world_with(Access::open());
    let status = async |host: &str| {
        let mut request = asking("GET", "/api/v1/targets", "", &Value::Null);
        request.headers_mut().insert("host", host.parse().unwrap());
        world.send(request).await.status
    };
    for host in ["127.0.0.1:7423", "localhost", "LOCALHOST:1", "[::1]:7423", "127.9.9.9"] {
        assert_eq!(status(host).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:7423",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
    ] {
        assert_eq!(status(host).await, 403, "{host}");
    }
}

#[tokio::test]
async fn paths_that_wander_lead_nowhere() {
    let world = world();
    let token = world.token("ci", Role::Viewer, &["checkout"]);
    for path in [
        "/api/v1/targets/../tokens",
        "/api/v1/targets/%2e%2e/tokens",
        "/api/v1/targets/..%2ftokens",
        "/api/v1/targets/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/api/v1//tokens",
        "/api/v1/tokens/",
        "//api/v1/tokens",
        "/API/v1/tokens",
        "/api/v1/targets/checkout%00",
        "/api/v1/targets/search",
        "/assets/../../serin.db",
    ] {
        let answer = world.get(path, &token).await;
        assert!([404, 405].contains(&answer.status), "{path}: {answer:?}");
        assert!(!answer.text.contains("hash"), "{path}");
    }
}

#[tokio::test]
async fn what_callers_send_does_not_become_a_header_or_a_line() {
    let world = world();
    let admin = world.token("root", Role::Admin, &["*"]);
    let answer = world.get("/api/v1/targets/a%0d%0aSet-Cookie:%20x=y", &admin).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (404, ""));
    let answer =
        world.send(asking("DELETE", "/api/v1/tokens/a%0aroot%20did%20it", &admin, &Value::Null)).await;
    assert_eq!(answer.status, 404);
    let lines = world.audited();
    assert!(lines[0].starts_with("token.revoke [aroot did it] by root"), "{lines:?}");
}
