//! Channels against local receivers: the contract that all of them keep, and what each adds to it.

mod cases;
mod cli;
mod contract;
mod email;
mod incidents;
mod messages;
mod open;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serin::notifiers::NotifierConfig;
use serin::ports::Notifier;

use crate::testkit::channels::around;
use crate::testkit::fakes::MemoryStore;
use crate::testkit::receivers::{Desk, Got, Running, serve};

/// A channel of its own memory.
fn channel(config: &NotifierConfig) -> Arc<dyn Notifier> {
    channel_with(config, &MemoryStore::new())
}

fn channel_with(config: &NotifierConfig, memory: &MemoryStore) -> Arc<dyn Notifier> {
    config.build("it", &around(memory)).unwrap_or_else(|error| panic!("{error}"))
}

/// A receiver that takes everything, and answers like Grafana.
struct Open {
    desk: Desk,
    running: Running,
}

impl Open {
    async fn start() -> Open {
        let desk = Desk::default();
        let app = Router::new().fallback(take_all).with_state(desk.clone());
        Open { running: serve(app, &desk).await, desk }
    }
}

async fn take_all(State(desk): State<Desk>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 64 << 20).await.expect("a body");
    let body = serde_json::from_slice(&bytes).expect("JSON");
    desk.keep(Got { path: parts.uri.to_string(), headers: parts.headers, body, raw: bytes });
    axum::Json(serde_json::json!({"message": "added", "id": 1})).into_response()
}

/// Every attempt of a faulty one ends by this.
const SHORT: Duration = Duration::from_millis(500);
