//! Sessions of browsers: the cookie, and what other sites' pages cannot do with it.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use serin::api::Access;
use serin::core::access::Role;

use super::kit::{Answer, CHECKOUT, World, asking, by_tokens, world, world_with};

async fn login(world: &World, token: &str) -> Answer {
    world.post("/api/v1/session", "", &json!({ "token": token })).await
}

fn with_cookie(method: &str, path: &str, cookie: &str, body: &Value) -> Request<Body> {
    let mut request = asking(method, path, "", body);
    request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    request
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_stands_for_the_token() {
    let world = world();
    let token = world.token("anna", Role::Operator, &["*"]);
    let answer = login(&world, &format!(" {token} ")).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{answer:?}");
    let cookie = answer.header("set-cookie").to_owned();
    assert_eq!(cookie, format!("serin_session={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"));
    let cookie = cookie.split(';').next().unwrap();
    let me = world.send(with_cookie("GET", "/api/v1/me", cookie, &Value::Null)).await;
    assert_eq!(me.json()["name"], "anna");

    let gone = world.send(with_cookie("DELETE", "/api/v1/session", cookie, &Value::Null)).await;
    assert_eq!(gone.status, 204);
    assert!(gone.header("set-cookie").starts_with("serin_session=; Path=/;"), "{gone:?}");
    assert!(gone.header("set-cookie").contains("Max-Age=0"), "{gone:?}");
    assert_eq!(world.audited(), ["login [] by anna via token: done", "logout [] by anna via token: done"]);
}

#[tokio::test]
async fn the_cookie_ends_with_the_token_and_keeps_to_tls() {
    let world = world_with(Access::new(Some(&by_tokens()), true, &[]).unwrap());
    let until = crate::api::example::NOW.plus(std::time::Duration::from_secs(90));
    let token = world.token_until("anna", Role::Viewer, &["*"], Some(until));
    let answer = login(&world, &token).await;
    assert!(answer.header("set-cookie").ends_with("Max-Age=90; Secure"), "{answer:?}");
}

#[tokio::test]
async fn wrong_logins_are_refused_and_give_no_cookie() {
    let world = world();
    for (body, status) in [
        (json!({ "token": "serin_wrong" }), 401),
        (json!({ "token": "x; Path=/; Domain=evil.example" }), 401),
        (json!({ "token": "x\r\nSet-Cookie: a=b" }), 422),
        (json!({ "token": "" }), 422),
        (json!({ "token": 7 }), 422),
        (json!({}), 422),
        (json!({ "token": "a", "user": "b" }), 422),
    ] {
        let answer = world.post("/api/v1/session", "", &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert_eq!(answer.header("set-cookie"), "", "{body}");
    }
    let form = Request::post("/api/v1/session")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("token=a"))
        .unwrap();
    world.send(form).await.problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn with_the_cookie_what_changes_something_needs_a_header_of_our_own() {
    let world = world();
    let token = world.token("anna", Role::Admin, &["*"]);
    let cookie = format!("serin_session={token}");
    let path = format!("/api/v1/rollouts/{CHECKOUT}/commands");
    let command = json!({ "command": "pause" });
    let answer = world.send(with_cookie("POST", &path, &cookie, &command)).await;
    answer.problem(403, "csrf");
    world
        .send(with_cookie("DELETE", "/api/v1/tokens/anna", &cookie, &Value::Null))
        .await
        .problem(403, "csrf");
    let mut request = with_cookie("POST", &path, &cookie, &command);
    request.headers_mut().insert("x-serin", "0".parse().unwrap());
    world.send(request).await.problem(403, "csrf");
    assert!(world.store.inspect(|data| data.inbox.is_empty()));

    let mut request = with_cookie("POST", &path, &cookie, &command);
    request.headers_mut().insert("x-serin", "1".parse().unwrap());
    assert_eq!(world.send(request).await.status, 202);
    // Reading needs it not, nor does a token in the header.
    assert_eq!(world.send(with_cookie("GET", "/api/v1/targets", &cookie, &Value::Null)).await.status, 200);
    assert_eq!(world.post(&path, &token, &command).await.status, 202);
}

#[tokio::test]
async fn a_cookie_that_is_worth_nothing_is_taken_away() {
    let world = world();
    for cookie in ["serin_session=serin_old", "serin_session=a; serin_session=b", "serin_session="] {
        let answer = world.send(with_cookie("GET", "/api/v1/me", cookie, &Value::Null)).await;
        assert_eq!(answer.status, 401, "{cookie}");
        assert!(answer.header("set-cookie").contains("Max-Age=0"), "{cookie}: {answer:?}");
    }
    let answer = world.get("/api/v1/me", "serin_wrong").await;
    assert_eq!((answer.status, answer.header("set-cookie")), (401, ""));
}

#[tokio::test]
async fn without_authentication_there_is_nothing_to_log_in_to() {
    let world = world_with(Access::open());
    login(&world, "serin_any").await.problem(409, "open");
    assert_eq!(world.get("/api/v1/targets", "serin_any").await.status, 200);
}
