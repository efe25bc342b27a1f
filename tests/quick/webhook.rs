//! The webhook channel against a local receiver that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serin::core::rollout::NoticeKind;
use serin::engine::backoff;
use serin::notifiers::webhook::WebhookConfig;
use serin::ports::Notifier;
use serin::secrets::SecretSource;

use crate::testkit::builders::{notice, policy, rollout};

#[derive(Clone, Default)]
struct Receiver {
    answers: Arc<Mutex<VecDeque<Option<u16>>>>,
    got: Arc<Mutex<Vec<(HeaderMap, serde_json::Value)>>>,
}

/// `None` as an answer: silence.
async fn receive(State(state): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let body = serde_json::from_slice(&body).expect("JSON");
    state.got.lock().unwrap().push((headers, body));
    let answer = state.answers.lock().unwrap().pop_front().unwrap_or(Some(200));
    match answer {
        Some(code) => StatusCode::from_u16(code).unwrap(),
        None => std::future::pending().await,
    }
}

async fn start(answers: &[Option<u16>]) -> (Receiver, String) {
    let receiver = Receiver::default();
    receiver.answers.lock().unwrap().extend(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/hook", post(receive)).with_state(receiver.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (receiver, url)
}

fn channel(url: &str) -> Arc<dyn Notifier> {
    let config =
        WebhookConfig { url: url.to_owned(), deadline: Duration::from_secs(1), headers: BTreeMap::new() };
    config.build(&Default::default()).expect("a channel")
}

#[tokio::test]
async fn a_notice_arrives_whole_with_its_key() {
    let (receiver, url) = start(&[]).await;
    let notice = notice(&rollout("r1", "shop", policy().build()), 7, NoticeKind::RollbackStarted);
    channel(&url).deliver(&notice).await.expect("delivered");
    let got = receiver.got.lock().unwrap();
    let (headers, body) = &got[0];
    assert_eq!(headers["idempotency-key"], "r1/7");
    assert_eq!(body["kind"], "rollback_started");
    assert_eq!(body["severity"], "medium");
    for field in ["key", "rollout", "target", "version", "sentence"] {
        assert!(!body[field].as_str().expect(field).is_empty());
    }
}

#[tokio::test]
async fn what_can_pass_is_tried_again_and_what_cannot_is_not() {
    let answers = [Some(500), Some(503), Some(429), Some(408), Some(400), Some(404), Some(302), None];
    let (_, url) = start(&answers).await;
    let notice = notice(&rollout("r1", "shop", policy().build()), 7, NoticeKind::Alert);
    let channel = channel(&url);
    let mut retried = Vec::new();
    for _ in answers {
        let error = channel.deliver(&notice).await.expect_err("refused");
        assert!(!error.detail.contains(&url), "the URL may hold a secret: {}", error.detail);
        retried.push(error.retry);
    }
    assert_eq!(retried, [true, true, true, true, false, false, false, true]);
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let notice = notice(&rollout("r1", "shop", policy().build()), 7, NoticeKind::Alert);
    let port = crate::testkit::process::free_port();
    let error = channel(&format!("http://127.0.0.1:{port}/")).deliver(&notice).await.expect_err("refused");
    assert!(error.retry);
}

#[test]
fn a_secret_header_that_is_not_there_is_an_error_that_names_it() {
    let config = WebhookConfig {
        url: "http://127.0.0.1:1/".to_owned(),
        deadline: Duration::from_secs(1),
        headers: BTreeMap::from([("X-Token".to_owned(), SecretSource::Env("SERIN_TEST_NOT_SET".to_owned()))]),
    };
    let error = config.build(&Default::default()).err().expect("no secret").to_string();
    assert!(error.contains("X-Token") && error.contains("SERIN_TEST_NOT_SET"), "{error}");
}

#[test]
fn waits_grow_to_five_minutes_and_no_further() {
    let waits: Vec<Duration> = (0..40).map(|attempts| backoff(attempts, 3)).collect();
    assert!(waits[0] >= Duration::from_millis(500) && waits[0] < Duration::from_secs(1));
    assert!(waits.windows(2).take(8).all(|pair| pair[0] < pair[1]));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(375)));
    assert!(waits[39] >= Duration::from_secs(300));
}
