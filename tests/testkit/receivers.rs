//! Local servers that take what Serin sends to PagerDuty, Slack, Teams and Opsgenie, and check it field by
//! field as the services' published schemas say. What is wrong is refused in the service's own form, and
//! kept as a complaint. Faults come on demand.

pub mod opsgenie;
pub mod pagerduty;
pub mod schema;
pub mod slack;
pub mod smtp;
pub mod teams;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// What a receiver does instead of its work.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Answers with this status and some text.
    Status(u16),
    /// Answers 429 with `Retry-After` in seconds.
    Busy(u64),
    /// Closes the connection in the middle of the answer.
    Reset,
    /// Never answers.
    Silence,
    /// Does its work, but what comes back is no JSON.
    BadJson,
    /// Does its work, but answers with this status: the answer is lost on the way.
    LostAnswer(u16),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
    pub raw: axum::body::Bytes,
}

/// Faults, requests and complaints of a receiver.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    faults: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<Fault>>,
    got: Mutex<Vec<Got>>,
    complaints: Mutex<Vec<String>>,
    came: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds a receiver")
}

impl Desk {
    /// The next requests meet these faults, in order.
    pub fn fail(&self, faults: &[Fault]) {
        lock(&self.shared.faults).extend(faults.iter().cloned());
    }

    /// Every request meets this fault, until it is taken back by `None`.
    pub fn fail_always(&self, fault: Option<Fault>) {
        *lock(&self.shared.always) = fault;
    }

    /// What came and was looked at, faulty attempts left out.
    pub fn got(&self) -> Vec<Got> {
        lock(&self.shared.got).clone()
    }

    /// How many requests came, also those that met a fault.
    pub fn came(&self) -> u64 {
        *lock(&self.shared.came)
    }

    /// What was wrong with requests.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.shared.complaints).clone()
    }

    pub fn keep(&self, got: Got) {
        lock(&self.shared.got).push(got);
    }

    pub(super) fn complain(&self, what: impl IntoIterator<Item = String>) {
        lock(&self.shared.complaints).extend(what);
    }

    fn next(&self) -> Option<Fault> {
        *lock(&self.shared.came) += 1;
        let next = lock(&self.shared.faults).pop_front();
        next.or_else(|| lock(&self.shared.always).clone())
    }
}

/// A running receiver; ends with the test.
pub struct Running {
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `app` behind the desk's faults.
pub async fn serve(app: Router, desk: &Desk) -> Running {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let app = app.layer(from_fn_with_state(desk.clone(), with_faults));
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, app).await;
    });
    Running { url, task }
}

async fn with_faults(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    match desk.next() {
        None => next.run(request).await,
        Some(Fault::Status(status)) => {
            (StatusCode::from_u16(status).expect("a status"), "the test says so").into_response()
        }
        Some(Fault::Busy(seconds)) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], "slow down")
                .into_response()
        }
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Reset) => {
            let broken = futures::stream::iter([Err::<axum::body::Bytes, _>(std::io::Error::other("reset"))]);
            Body::from_stream(broken).into_response()
        }
        Some(Fault::BadJson) => {
            let status = next.run(request).await.status();
            (status, "<html>{\"ok\":").into_response()
        }
        Some(Fault::LostAnswer(status)) => {
            next.run(request).await;
            (StatusCode::from_u16(status).expect("a status"), "lost").into_response()
        }
    }
}

/// The body as JSON, at most `most` bytes; or what is wrong with it.
pub(super) async fn json_body(request: Request, most: usize) -> Result<Got, String> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    let kind = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next() != Some("application/json") {
        return Err(format!("the content type is {kind:?}"));
    }
    let bytes = axum::body::to_bytes(body, most).await.map_err(|_| format!("more than {most} bytes"))?;
    let body = serde_json::from_slice(&bytes).map_err(|error| format!("no JSON: {error}"))?;
    Ok(Got { path, headers: parts.headers, body, raw: bytes })
}
