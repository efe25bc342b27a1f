//! The web page: built from `dashboards/web` and embedded into the binary. Every path of the page that is
//! no file gets the same document; the page finds its view by the address.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::Problem;

/// What the build of the page left; nothing where it was not built.
#[derive(RustEmbed)]
#[folder = "dashboards/web/dist"]
#[allow_missing = true]
struct Files;

/// Told where the page was not built.
const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Serin</title>\
    <p>This binary was built without the web page. With Node 20 or newer, <code>make page</code> builds it; \
    then build the daemon again.</p><p>The API is under <a href=\"/api/v1/rollouts\">/api/v1</a>, and the \
    <code>serin</code> command shows everything too.</p></html>";
/// Names of assets change with their content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// What is at no route: a part of the page, or a problem.
pub(super) async fn fallback(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if !is_of_page(path) {
        return Problem::no_such_path(path).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return Problem::method_not_allowed(method.as_str(), path).into_response();
    }
    let name = path.trim_start_matches('/');
    if name.contains('.') {
        return match file(name, &headers, FOR_EVER) {
            Some(found) => found,
            None => Problem::no_such_path(path).into_response(),
        };
    }
    file("index.html", &headers, ASK_AGAIN).unwrap_or_else(missing)
}

/// The API and the probes are never answered with a page.
fn is_of_page(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    !["api", "livez", "readyz", "metrics"].iter().any(|own| first.eq_ignore_ascii_case(own))
}

fn missing() -> Response {
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    (StatusCode::OK, [kind, (header::CACHE_CONTROL, "no-cache")], MISSING).into_response()
}

fn file(name: &str, headers: &HeaderMap, cache: HeaderValue) -> Option<Response> {
    let file = Files::get(name)?;
    let digest = file.metadata.sha256_hash();
    let tag = format!("\"{}\"", digest[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known == Some(&tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.data.into_owned().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(header::CACHE_CONTROL, cache);
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).ok()?);
    Some(response)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str) -> (StatusCode, String) {
        let response = fallback(Method::GET, path.parse().unwrap(), HeaderMap::new()).await;
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        (response.status(), kind)
    }

    #[tokio::test]
    async fn every_view_is_the_page_and_the_api_never_is() {
        let page = (StatusCode::OK, "text/html; charset=utf-8".to_owned());
        let problem = (StatusCode::NOT_FOUND, "application/problem+json".to_owned());
        for path in ["/", "/rollouts/0195c1a8", "/policies/standard", "/reports/x"] {
            assert_eq!(get(path).await, page, "{path}");
        }
        for path in
            ["/api", "/api/v1/nothing", "/api/v1", "/livez/x", "/assets/none.js", "/../etc/passwd.txt"]
        {
            assert_eq!(get(path).await, problem, "{path}");
        }
        let posted = fallback(Method::POST, "/".parse().unwrap(), HeaderMap::new()).await;
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
