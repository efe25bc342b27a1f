//! The HTTP interface: what people and programs may ask of a running daemon.
//!
//! Answers are the types of [`views`], apart from the inner ones, with units in the names of their
//! fields. Every error is a [`problem::Problem`].

// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod access;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod annotations;
mod health;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod input;
mod middleware;
mod openapi;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod overview;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod policies;
pub mod problem;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod report;
mod rollouts;
mod serve;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod series;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod stream;
mod targets;
pub mod views;
mod waiting;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;

pub use openapi::openapi;
pub use serve::serve;

use crate::engine::Handle;
use problem::Problem;

/// Gives Serin's own metrics as Prometheus text.
pub type MetricsRenderer = Arc<dyn Fn() -> String + Send + Sync>;

/// Bounds of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a request, in bytes.
    pub body_bytes: usize,
    /// Requests under `/api` at one time; more are answered with 503 at once.
    pub concurrent: usize,
    /// Viewers of the event stream at one time; more are answered with 503 at once.
    pub viewers: usize,
    /// A viewer whose connection takes nothing for so long is cut off.
    pub slow_viewer: Duration,
    /// A comment goes to viewers this often, so that both ends know of each other.
    pub heartbeat: Duration,
    /// Longest time for one request.
    pub request: Duration,
    /// How long the answer to a command waits for the engine.
    pub command_wait: Duration,
    /// How long a health check waits for the store.
    pub health: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 64 * 1024,
            concurrent: 256,
            viewers: 1000,
            slow_viewer: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            request: Duration::from_secs(15),
            command_wait: Duration::from_secs(5),
            health: Duration::from_secs(2),
        }
    }
}

/// What every handler needs.
#[derive(Clone)]
struct Api {
    handle: Handle,
    metrics: MetricsRenderer,
    limits: Limits,
    places: Arc<Semaphore>,
    traces: series::Traces,
    sparks: overview::Sparks,
    hub: stream::Hub,
    plans: policies::Plans,
}

/// All routes, with the usual limits.
pub fn router(handle: Handle, metrics: MetricsRenderer) -> Router {
    router_with(handle, metrics, Limits::default())
}

/// All routes, with other limits.
pub fn router_with(handle: Handle, metrics: MetricsRenderer, limits: Limits) -> Router {
    let sparks = overview::Sparks::default();
    let api = Api {
        hub: stream::Hub::new(handle.clone(), sparks.clone(), limits.viewers),
        sparks,
        handle,
        metrics,
        limits,
        places: Arc::new(Semaphore::new(limits.concurrent)),
        traces: series::Traces::default(),
        plans: policies::Plans::default(),
    };
    let v1 = Router::new()
        .route("/rollouts", post(rollouts::start).get(rollouts::list))
        .route("/rollouts/{id}", get(rollouts::show))
        .route("/rollouts/{id}/commands", post(rollouts::command))
        .route("/rollouts/{id}/events", get(rollouts::events))
        .route("/rollouts/{id}/evidence", get(rollouts::evidence))
        .route("/rollouts/{id}/observations", get(rollouts::observations))
        .route("/rollouts/{id}/series", get(series::series))
        .route("/overview", get(overview::overview))
        .route("/stream", get(stream::stream))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::docs))
        .route("/targets", get(targets::list))
        .route("/targets/{name}", get(targets::show))
        .route("/policies", get(targets::policies))
        .route("/rollouts/{id}/report", get(report::report))
        .route("/annotations", get(annotations::annotations))
        .route(
            "/policies/check",
            post(policies::check).layer::<_, Infallible>((
                axum::Extension(policies::BYTES),
                DefaultBodyLimit::max(policies::BYTES.0),
            )),
        )
        .route("/policies/{name}/plan", get(policies::plan))
        .route("/policies/{name}", get(targets::policy))
        .layer(axum::middleware::from_fn_with_state(api.clone(), middleware::bounded));
    Router::new()
        .nest("/api/v1", v1)
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(api.clone(), middleware::measured))
        // Event streams are left alone: a compressor would hold events back.
        .layer(CompressionLayer::new())
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .with_state(api)
}

async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Problem::no_such_path(uri.path())
}

async fn method_not_allowed(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    Problem::method_not_allowed(method.as_str(), uri.path())
}
