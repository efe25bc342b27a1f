//! What surrounds every request: what browsers are told, and a count.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::problem::Failed;
use crate::telemetry;

/// What browsers are told of every answer. The page's own handlers may say more exactly.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
    ];
    let is_api = request.uri().path().starts_with("/api");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if is_api {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// Since when the store has taken nothing, in every answer while that lasts (RFC 3339).
pub(super) const FAILING_SINCE: HeaderName = HeaderName::from_static("serin-store-failing-since");

/// Says in every answer since when the store has taken nothing; what fails says it in its words too.
pub(super) async fn storing(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(since) = api.handle.failing_since() else { return response };
    if let Some(failed) = response.extensions_mut().remove::<Failed>() {
        response = failed.during_outage(since);
    }
    if let Ok(value) = HeaderValue::from_str(&since.to_string()) {
        response.headers_mut().insert(FAILING_SINCE, value);
    }
    response
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
