//! Sessions of browsers: the credential in a cookie that scripts cannot read. Nothing is kept of them,
//! so that they survive a restart, and end when their credential does.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::address::From;
use super::identity::{COOKIE, Credential, checked, credential, is_credential, wrong};
use super::{Access, Note};
use crate::api::Api;
use crate::api::input::Body;
use crate::api::problem::Problem;
use crate::contract::access::LoginBody;
use crate::secrets::tokens;

/// Longest time that a browser keeps the cookie.
const LONGEST_SECONDS: i64 = 30 * 86_400;
/// Longest credential that browsers keep in a cookie, in bytes.
const LONGEST: usize = 3_800;

/// `POST /session`: 204 and a cookie that stands for the token.
#[utoipa::path(post, path = "/api/v1/session", tag = "access", operation_id = "login", request_body = LoginBody,
    responses((status = 204, description = "Logged in; the cookie `serin_session` is set")))]
pub(in crate::api) async fn login(
    State(api): State<Api>,
    Extension(from): Extension<From>,
    Extension(note): Extension<Note>,
    mut body: Body,
) -> Result<Response, Problem> {
    let token = body.text("token", 8 * 1024);
    body.finish()?;
    let Access { known: Some(known), secure, .. } = &api.access else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "open",
            "There is nothing to log in to",
            "Serin runs without authentication: everybody may do everything",
        ));
    };
    let token = token.trim();
    if !is_credential(token) {
        return Err(wrong("this is not a token"));
    }
    let identity = checked(&api, known, &Credential::typed(token), from.ip(), false).await?;
    note.who(Some(&identity.name), identity.via);
    if token.len() > LONGEST {
        return Err(Problem::field(
            "token",
            format!(
                "`token` is longer than the {LONGEST} characters that browsers keep; use one with fewer claims"
            ),
        ));
    }
    let now = api.handle.clock().wall();
    let left = identity.until.map_or(LONGEST_SECONDS, |until| (until.0 - now.0) / 1000);
    let age = left.clamp(0, LONGEST_SECONDS);
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie(token, age, *secure)?)]).into_response())
}

/// `DELETE /session`: 204, and the cookie is gone. Needs no session, so that a broken one can be left.
#[utoipa::path(delete, path = "/api/v1/session", tag = "access", operation_id = "logout",
    responses((status = 204, description = "Logged out; the cookie is cleared")))]
pub(in crate::api) async fn logout(
    State(api): State<Api>,
    Extension(From(from)): Extension<From>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let (Some(known), Ok(Some(credential))) = (&api.access.known, credential(&headers)) {
        let from: IpAddr = from;
        if let Ok(identity) = checked(&api, known, &credential, from, false).await {
            note.who(Some(&identity.name), identity.via);
        }
        if credential.is_cookie {
            // Its streams end; nobody may be listening.
            let _ = known.logouts.send(tokens::hash(credential.text()));
        }
    }
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, gone(api.access.secure)?)]).into_response())
}

/// The header that takes the cookie away.
pub(super) fn gone(secure: bool) -> Result<HeaderValue, Problem> {
    cookie("", 0, secure)
}

/// Not for scripts, not for requests from other sites, and with TLS not for plain HTTP.
fn cookie(value: &str, seconds: i64, secure: bool) -> Result<HeaderValue, Problem> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let mut header = HeaderValue::from_str(&text).map_err(|_| wrong("this is not a token"))?;
    header.set_sensitive(true);
    Ok(header)
}
