//! What every request passes before its handler: bounds, who asks, what the route needs, and the audit
//! log after it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{ALLOW, COOKIE, HOST, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};

use super::address::From;
use super::audit::{Outcome, record};
use super::rules::{self, Entry, Found, Rule};
use super::{Note, Permission, Principal, identity, session};
use crate::api::Api;
use crate::api::problem::{Code, Problem};

/// Lets a request through, or answers it. What is audited runs to its end even if the caller goes away.
pub(in crate::api) async fn gate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let route = request.extensions().get::<MatchedPath>().cloned();
    let found = route.as_ref().map(|route| rules::find(route.as_str(), request.method()));
    let is_urgent = matches!(found, Some(Found::Entry(entry)) if entry.is_urgent());
    let place = match is_api.then(|| place(&api, is_urgent)).transpose() {
        Ok(place) => place,
        Err(_) => return Problem::busy(api.limits.concurrent).into_response(),
    };
    let (Some(route), Some(found)) = (route, found) else {
        // Nothing is there: the fallback says so, or shows the page.
        return within(&api, next.run(request)).await;
    };
    let route = route.as_str();
    match found {
        Found::OtherMethods => not_this_method(route, &request),
        Found::Nothing => {
            tracing::error!(route, "this route does not stand in the table of permissions, and is refused");
            let detail = format!("nobody may use {route}: it is not said what it needs");
            Problem::new(StatusCode::FORBIDDEN, "not_in_table", "This is not allowed", detail).into_response()
        }
        Found::Entry(entry) if entry.audited.is_some() => {
            let done = tokio::spawn(async move {
                let _place = place;
                pass(&api, entry, request, next).await
            });
            done.await.unwrap_or_else(|_| Problem::internal().into_response())
        }
        Found::Entry(entry) => {
            let _place = place;
            pass(&api, entry, request, next).await
        }
    }
}

/// A place for a request. What is urgent finds one also while others that wait for the store have all.
fn place(api: &Api, is_urgent: bool) -> Result<OwnedSemaphorePermit, TryAcquireError> {
    let place = api.places.clone().try_acquire_owned();
    if is_urgent { place.or_else(|_| api.reserve.clone().try_acquire_owned()) } else { place }
}

fn not_this_method(route: &str, request: &Request) -> Response {
    let problem = Problem::method_not_allowed(request.method().as_str(), request.uri().path());
    let mut response = problem.into_response();
    if let Ok(allowed) = HeaderValue::from_str(&rules::allowed(route)) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

async fn pass(api: &Api, entry: &'static Entry, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let from = address(&parts);
    let note = Note::default();
    parts.extensions.insert(From(from));
    parts.extensions.insert(note.clone());
    let has_credential = !matches!(identity::credential(&parts.headers), Ok(None));
    let response = within(api, async {
        match admit(api, entry, &parts, from, &note).await {
            Ok(principal) => {
                parts.extensions.insert(principal);
                next.run(Request::from_parts(parts, body)).await
            }
            Err(problem) => refuse(api, problem, &parts.headers),
        }
    })
    .await;
    let (status, code) = (response.status(), response.extensions().get::<Code>());
    let refused = matches!(status.as_u16(), 401 | 403 | 429);
    // A page that asks who is logged in, and nobody is, is not refused anything.
    let idle = status == StatusCode::UNAUTHORIZED && !has_credential && entry.path == "/api/v1/me";
    let told = if refused { !idle && api.throttles.may_write_refusal(from) } else { entry.audited.is_some() };
    if told {
        let result = match code {
            Some(code) => code.0.clone(),
            // It is stored and will be taken; the rollout's own log says what became of it.
            None if status == StatusCode::ACCEPTED => "accepted".to_owned(),
            None if status.is_success() => "done".to_owned(),
            None => status.as_u16().to_string(),
        };
        let read = format!("read {}", entry.path);
        let outcome = Outcome {
            from: &from.to_string(),
            action: entry.audited.unwrap_or(&read),
            result: &result,
            status: status.as_u16(),
        };
        record(api, &note, outcome).await;
    }
    response
}

/// The answer, or a problem when it takes too long.
async fn within(api: &Api, answer: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(api.limits.request, answer).await {
        Ok(response) => response,
        Err(_) => Problem::timeout(api.limits.request.as_secs()).into_response(),
    }
}

/// Who asks, if the route's rule lets them through.
async fn admit(
    api: &Api,
    entry: &Entry,
    parts: &Parts,
    from: IpAddr,
    note: &Note,
) -> Result<Principal, Problem> {
    let is_open = entry.rule == Rule::Open
        || (entry.rule == Rule::Metrics && api.access.known.as_ref().is_some_and(|known| known.metrics_open));
    if api.access.is_open() && entry.path.starts_with("/api/") {
        check_host(&parts.headers)?;
    }
    if is_open {
        return Ok(Principal { grants: Vec::new().into(), note: note.clone(), ..Principal::open() });
    }
    let principal = identity::principal(api, entry, &parts.headers, from, note).await?;
    let good = match entry.rule {
        Rule::Open => true,
        Rule::Any(permissions) => permissions.iter().any(|permission| principal.may_somewhere(*permission)),
        Rule::Everywhere(permission) => principal.may_everywhere(permission),
        Rule::Metrics => principal.may_everywhere(Permission::View),
    };
    if good {
        return Ok(principal);
    }
    let needs = match entry.rule {
        Rule::Any(permissions) => {
            permissions.iter().map(|p| format!("`{}`", p.name())).collect::<Vec<_>>().join(" or ")
        }
        Rule::Everywhere(permission) => format!("`{}` for every target", permission.name()),
        Rule::Open | Rule::Metrics => "`view` for every target".to_owned(),
    };
    Err(principal.forbidden(&needs))
}

/// Without authentication, a page of another site could have its own name point to this machine and
/// call the API as if it were its own: the browser tells it by the name that it asked for.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(host) = headers.get(HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let local = name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback());
    if local {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "wrong_host",
        "Serin is not open to other machines",
        "without `authentication` the API answers to localhost, 127.0.0.1 and [::1] only; set up \
         authentication, or let the proxy in front send `Host: localhost`",
    ))
}

fn refuse(api: &Api, problem: Problem, headers: &HeaderMap) -> Response {
    let stale = problem.status == 401 && headers.contains_key(COOKIE);
    let mut response = problem.into_response();
    // A cookie that is worth nothing would be sent again and again.
    if stale && let Ok(gone) = session::gone(api.access.secure) {
        response.headers_mut().insert(SET_COOKIE, gone);
    }
    response
}

fn address(parts: &Parts) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::api::Limits;
    use crate::api::access::Access;
    use crate::clock::SystemClock;
    use crate::engine::Handle;
    use crate::store::SqliteStore;

    #[tokio::test]
    async fn a_route_that_was_forgotten_in_the_table_is_refused_even_without_authentication() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("serin.db")).await.unwrap();
        let clock = Arc::new(SystemClock::new());
        let handle = Handle::new(Arc::new(store), clock, BTreeMap::new(), BTreeMap::new());
        let api =
            Api::new(handle, Arc::new(String::new), Limits::default(), Access::open(), Default::default());
        let router: Router = Router::new()
            .route("/livez", get(|| async { "fine" }))
            .route("/api/v1/forgotten", get(|| async { "secret" }))
            .layer(axum::middleware::from_fn_with_state(api, gate));
        let status = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        assert_eq!((status("/livez").await, status("/api/v1/forgotten").await), (200, 403));
    }
}
