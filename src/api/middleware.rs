//! What surrounds every request: a bound on how many, a bound on how long, and a count.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Problem;
use crate::telemetry;

/// Answers at once where too many requests are under way, and gives up on those that take too long.
pub(super) async fn bounded(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Ok(_place) = api.places.try_acquire() else {
        return Problem::busy(api.limits.concurrent).into_response();
    };
    match tokio::time::timeout(api.limits.request, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timeout(api.limits.request.as_secs()).into_response(),
    }
}

/// Counts requests by route, method and status, and says them to the log at level debug.
pub(super) async fn measured(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = word(request.method());
    let clock = api.handle.clock();
    let begun = clock.monotonic();
    let response = next.run(request).await;
    let took = clock.monotonic().saturating_sub(begun);
    let status = response.status().as_u16();
    telemetry::http_request(&route, method, status, took.as_secs_f64());
    tracing::debug!(route, method, status, duration_ms = took.as_secs_f64() * 1000.0, "request");
    response
}

/// The method's name from a closed list, since it becomes a label.
fn word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
