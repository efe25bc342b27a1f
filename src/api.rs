//! The HTTP interface: what people and programs may ask of a running daemon.
//!
//! Answers are the types of [`contract`](crate::contract), apart from the inner ones, with units in the names of their
//! fields. Every error is a [`problem::Problem`].

// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
pub mod access;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod annotations;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod declarations;
mod described;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod found;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod freezes;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod gates;
mod handing;
mod health;
mod incoming;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod input;
mod middleware;
mod openapi;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod outbox;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod overview;
mod page;
mod people;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod policies;
pub mod problem;
// A problem is made at most once a request, on the way out: its size does not matter.
#[allow(clippy::result_large_err)]
mod reload;
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
mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method, header};
use axum::routing::{delete, get, post};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;

pub use access::{Access, AccessError};
pub use declarations::{conflicts, load_declarations};
pub use openapi::openapi;
pub use people::People;
pub use serve::{listen, serve, serve_tls};
pub use tls::{Reloaded, Tls, TlsError};

use crate::engine::Handle;
use declarations::{Policies, Targets};
use found::{Adopt, Zero};
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
    /// Commands and alerts that are taken at one time beyond that.
    pub urgent: usize,
    /// Viewers of the event stream at one time; more are answered with 503 at once.
    pub viewers: usize,
    /// A viewer whose connection takes nothing for so long is cut off.
    pub slow_viewer: Duration,
    /// A comment goes to viewers this often, so that both ends know of each other.
    pub heartbeat: Duration,
    /// Viewers are asked again this often who they are.
    pub recheck: Duration,
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
            urgent: 64,
            viewers: 1000,
            slow_viewer: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            recheck: Duration::from_secs(5),
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
    /// For what is urgent alone.
    reserve: Arc<Semaphore>,
    access: Access,
    people: People,
    throttles: Arc<access::Throttles>,
    traces: series::Traces,
    sparks: overview::Sparks,
    hub: stream::Hub,
    plans: policies::Plans,
}

impl Api {
    fn new(handle: Handle, metrics: MetricsRenderer, limits: Limits, access: Access, people: People) -> Api {
        let sparks = overview::Sparks::default();
        Api {
            hub: stream::Hub::new(handle.clone(), sparks.clone(), limits.viewers),
            sparks,
            throttles: Arc::new(access::Throttles::new(handle.clock().clone())),
            places: Arc::new(Semaphore::new(limits.concurrent)),
            reserve: Arc::new(Semaphore::new(limits.urgent)),
            traces: series::Traces::default(),
            plans: policies::Plans::default(),
            handle,
            metrics,
            limits,
            access,
            people,
        }
    }
}

/// All routes, open to everybody, with the usual limits.
pub fn router(handle: Handle, metrics: MetricsRenderer) -> Router {
    router_with(handle, metrics, Limits::default())
}

/// All routes, open to everybody, with other limits.
pub fn router_with(handle: Handle, metrics: MetricsRenderer, limits: Limits) -> Router {
    router_for(handle, metrics, limits, Access::open(), People::default())
}

/// All routes, for those who may use them.
pub fn router_for(
    handle: Handle,
    metrics: MetricsRenderer,
    limits: Limits,
    access: Access,
    people: People,
) -> Router {
    let cors = cors(&access);
    let api = Api::new(handle, metrics, limits, access, people);
    let router = Router::new()
        .nest("/api/v1", v1())
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(page::fallback)
        .method_not_allowed_fallback(method_not_allowed)
        // The innermost of these: nothing reaches a handler past it.
        .layer(axum::middleware::from_fn_with_state(api.clone(), access::gate::gate))
        .layer(axum::middleware::from_fn_with_state(api.clone(), middleware::storing))
        .layer(axum::middleware::from_fn_with_state(api.clone(), middleware::measured))
        .layer(axum::middleware::from_fn(middleware::headers))
        // Event streams are left alone: a compressor would hold events back.
        .layer(CompressionLayer::new())
        .layer(DefaultBodyLimit::max(limits.body_bytes));
    match cors {
        Some(cors) => router.layer(cors).with_state(api),
        None => router.with_state(api),
    }
}

/// Routes are said what they need in [`access::rules::TABLE`]; those that are not there are refused.
fn v1() -> Router<Api> {
    Router::new()
        .route("/me", get(access::me))
        .route("/session", post(access::login).delete(access::logout))
        .route("/tokens", get(access::list_tokens).post(access::create_token))
        .route("/tokens/{name}", delete(access::revoke_token))
        .route("/audit", get(access::audit_log))
        .route("/outbox", get(outbox::list))
        .route("/outbox/{id}/retry", post(outbox::retry))
        .route("/rollouts", post(rollouts::start).get(rollouts::list))
        .route("/rollouts/{id}", get(rollouts::show))
        .route("/rollouts/{id}/commands", post(rollouts::command))
        .route("/rollouts/{id}/approval-links", post(gates::make_link))
        .route("/approvals/{link}", get(gates::show_link).post(gates::use_link))
        .route(
            "/hooks/alertmanager",
            post(incoming::alertmanager).layer::<_, Infallible>(DefaultBodyLimit::max(incoming::BYTES)),
        )
        .route("/freezes", get(freezes::list).post(freezes::start))
        .route("/freezes/{id}", delete(freezes::end))
        .route("/rollouts/{id}/events", get(rollouts::events))
        .route("/rollouts/{id}/evidence", get(rollouts::evidence))
        .route("/rollouts/{id}/observations", get(rollouts::observations))
        .route("/rollouts/{id}/series", get(series::series))
        .route("/overview", get(overview::overview))
        .route("/stream", get(stream::stream))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::docs))
        .route("/reload", get(reload::show).post(reload::reload))
        .merge(declared())
        .route("/targets/{name}/adopt", post(found::decide::<Adopt>))
        .route("/targets/{name}/zero", post(found::decide::<Zero>))
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
}

/// Targets and policies, which may be long.
fn declared() -> Router<Api> {
    Router::new()
        .route("/targets", get(targets::list).post(declarations::post::<Targets>))
        .route(
            "/targets/{name}",
            get(targets::show).put(declarations::put::<Targets>).delete(declarations::delete::<Targets>),
        )
        .route("/policies", get(targets::policies).post(declarations::post::<Policies>))
        .route(
            "/policies/{name}",
            get(targets::policy).put(declarations::put::<Policies>).delete(declarations::delete::<Policies>),
        )
        .layer(DefaultBodyLimit::max(declarations::BYTES.0))
}

/// Pages of the configured origins may call the API, with a token of their own: cookies do not go along.
fn cors(access: &Access) -> Option<CorsLayer> {
    if access.origins().is_empty() {
        return None;
    }
    let sent = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
    ];
    Some(
        CorsLayer::new()
            .allow_origin(access.origins().to_vec())
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers(sent)
            .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER, middleware::FAILING_SINCE])
            .max_age(Duration::from_secs(600)),
    )
}

async fn method_not_allowed(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    Problem::method_not_allowed(method.as_str(), uri.path())
}
