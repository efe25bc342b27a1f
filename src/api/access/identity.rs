//! From a credential to a principal.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::remembered::AT_ONCE;
use super::rules::Entry;
use super::{Access, Known, Note, Principal, Via};
use crate::api::Api;
use crate::api::problem::Problem;
use crate::core::access::{Grant, Scope, TokenHash, TokenRecord, TokenState};
use crate::core::time::Timestamp;
use crate::ports::StoreError;
use crate::secrets::tokens;

/// The cookie of a session.
pub(super) const COOKIE: &str = "serin_session";
/// Longest credential that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;

/// What a request brought to say who sends it.
pub(super) struct Credential {
    text: SecretString,
    /// From the cookie, which browsers send by themselves.
    pub(super) is_cookie: bool,
}

impl Credential {
    pub(super) fn typed(text: &str) -> Credential {
        Credential { text: SecretString::from(text), is_cookie: false }
    }

    pub(super) fn text(&self) -> &str {
        self.text.expose_secret()
    }
}

/// The credential of a request: the header `Authorization`, else the cookie.
pub(super) fn credential(headers: &HeaderMap) -> Result<Option<Credential>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err(wrong("the header `Authorization` may be there once"));
        }
        let text = value.to_str().unwrap_or_default();
        let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") || !is_credential(credential.trim()) {
            return Err(wrong("the header must be `Authorization: Bearer TOKEN`"));
        }
        return Ok(Some(Credential::typed(credential.trim())));
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    match (sessions.next(), sessions.next()) {
        (None, _) => Ok(None),
        (Some(text), None) if is_credential(text) => {
            Ok(Some(Credential { text: SecretString::from(text), is_cookie: true }))
        }
        _ => Err(wrong("the session's cookie cannot be read; log in again")),
    }
}

/// The characters of tokens, ours and signed ones; nothing else goes into a cookie or a look-up.
pub(super) fn is_credential(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A 401 for a credential that is worth nothing.
pub(super) fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", "This does not say who you are", detail)
}

/// A 429.
pub(super) fn too_many(detail: impl Into<String>, wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", detail)
        .retry_after(seconds)
}

/// Who it is, and until when.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) via: Via,
    pub(super) grants: Vec<Grant>,
    pub(super) until: Option<Timestamp>,
    /// Confirmed by the store some minutes ago, and not now.
    pub(super) is_remembered: bool,
}

/// Who sends a request, as far as its headers say.
pub(super) async fn principal(
    api: &Api,
    entry: &Entry,
    headers: &HeaderMap,
    from: IpAddr,
    note: &Note,
) -> Result<Principal, Problem> {
    let Access { known: Some(known), .. } = &api.access else {
        note.who(None, Via::Open);
        return Ok(Principal { note: note.clone(), ..Principal::open() });
    };
    let Some(credential) = credential(headers)? else { return Err(Problem::unauthenticated()) };
    let identity = checked(api, known, &credential, from, entry.is_urgent()).await?;
    note.who(Some(&identity.name), identity.via);
    if credential.is_cookie
        && entry.method != "GET"
        && headers.get("x-serin").is_none_or(|value| value != "1")
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "This could come from another site's page",
            "with the session's cookie, a request that changes something needs the header `X-Serin: 1`",
        ));
    }
    let principal = Principal {
        name: Some(identity.name),
        via: identity.via,
        grants: identity.grants.into(),
        note: note.clone(),
        is_remembered: identity.is_remembered,
    };
    api.throttles.request(&principal.key()).map_err(|wait| {
        too_many("these are more requests than one caller may send; send fewer, or more slowly", wait)
    })?;
    Ok(principal)
}

/// Whose credential it is; a token that was good some minutes ago, if it is urgent and the store does not say. Wrong
/// ones count against the address that they came from.
pub(super) async fn checked(
    api: &Api,
    known: &Arc<Known>,
    credential: &Credential,
    from: IpAddr,
    is_urgent: bool,
) -> Result<Identity, Problem> {
    let refused = |wait| {
        too_many(
            "wrong credentials came from this address too often; it is not listened to for a while",
            wait,
        )
    };
    let hash = tokens::hash(credential.text());
    api.throttles.blocked(from, &hash.0).map_err(refused)?;
    let identity = if credential.text().starts_with(tokens::PREFIX) {
        token(api, known, credential.text(), is_urgent).await
    } else {
        signed(api, known, credential.text(), is_urgent).await
    };
    match &identity {
        Ok(_) => api.throttles.worked(&hash.0),
        Err(problem) if problem.status == 401 => api.throttles.failed(from).map_err(refused)?,
        Err(_) => {}
    }
    identity
}

/// By a token of Serin's own.
pub(super) async fn token(
    api: &Api,
    known: &Known,
    text: &str,
    is_urgent: bool,
) -> Result<Identity, Problem> {
    if !known.tokens {
        return Err(wrong("tokens of Serin's own are not taken here (`authentication.tokens`)"));
    }
    let (record, is_remembered) = match stored(api, known, &tokens::hash(text), is_urgent).await {
        Ok(found) => found,
        Err(StoreError::NotFound(_)) => return Err(wrong("this token is not known")),
        Err(error) => return Err(error.into()),
    };
    match record.state(api.handle.clock().wall()) {
        TokenState::Active => {}
        TokenState::Expired => return Err(wrong("this token has expired; ask for a new one")),
        TokenState::Revoked => return Err(wrong("this token was revoked; ask for a new one")),
    }
    let scope = Scope::new(&record.services)
        .map_err(|error| StoreError::Corrupt(format!("token {}: {error}", record.name)))?;
    Ok(Identity {
        name: record.name,
        via: Via::Token,
        grants: vec![Grant { role: record.role, scope }],
        until: record.expires_at,
        is_remembered,
    })
}

/// The token as the store has it. What is urgent does not wait for a store that hangs: then it is what the store said
/// some minutes ago, and the second is true.
async fn stored(
    api: &Api,
    known: &Known,
    hash: &TokenHash,
    is_urgent: bool,
) -> Result<(TokenRecord, bool), StoreError> {
    let store = api.handle.store().clone();
    let mut asked = std::pin::pin!(store.token(hash));
    let answer = match is_urgent {
        true => timeout(AT_ONCE, &mut asked).await.ok(),
        false => Some(asked.as_mut().await),
    };
    let now = api.handle.clock().monotonic();
    let is_away = !matches!(answer, Some(Ok(_) | Err(StoreError::NotFound(_))));
    if is_urgent
        && is_away
        && let Some(record) = known.remembered.get(hash, now)
    {
        return Ok((record, true));
    }
    let answer = match answer {
        Some(answer) => answer,
        None => asked.await,
    };
    match &answer {
        Ok(record) => known.remembered.found(record, now),
        Err(StoreError::NotFound(_)) => known.remembered.gone(hash),
        Err(_) => {}
    }
    answer.map(|record| (record, false))
}

/// By a token of the issuer.
pub(super) async fn signed(
    api: &Api,
    known: &Known,
    text: &str,
    is_urgent: bool,
) -> Result<Identity, Problem> {
    match &known.oidc {
        Some(oidc) => oidc.identity(text, api.handle.clock(), is_urgent).await,
        None => Err(wrong("this is not one of Serin's tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn credentials_come_from_the_header_else_from_the_cookie() {
        let read = |lines: &[(&'static str, &str)]| {
            let found = credential(&headers(lines)).map_err(|problem| problem.status)?;
            Ok::<_, u16>(found.map(|found| (found.text().to_owned(), found.is_cookie)))
        };
        let is = |text: &str, cookie| Ok(Some((text.to_owned(), cookie)));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("authorization", "Bearer abc")]), is("abc", false));
        assert_eq!(read(&[("authorization", "bearer  abc")]), is("abc", false));
        assert_eq!(read(&[("cookie", "a=b; serin_session=xyz; c=d")]), is("xyz", true));
        assert_eq!(read(&[("cookie", "a=b"), ("cookie", "serin_session=xyz")]), is("xyz", true));
        assert_eq!(
            read(&[("authorization", "Bearer abc"), ("cookie", "serin_session=xyz")]),
            is("abc", false)
        );
        assert_eq!(read(&[("cookie", "other_serin_session=xyz; serin_sessionx=1")]), Ok(None));
        for wrong in [
            vec![("authorization", "Basic abc")],
            vec![("authorization", "Bearer")],
            vec![("authorization", "Bearer a b")],
            vec![("authorization", "Bearer a\"b")],
            vec![("authorization", "Bearer abc"), ("authorization", "Bearer abd")],
            vec![("cookie", "serin_session=a; serin_session=b")],
            vec![("cookie", "serin_session=a\"b")],
        ] {
            assert_eq!(read(&wrong), Err(401), "{wrong:?}");
        }
        assert_eq!(read(&[("authorization", &format!("Bearer {}", "x".repeat(LONGEST + 1)))]), Err(401));
    }

    #[test]
    fn a_credential_is_not_in_its_debug_output() {
        assert!(!format!("{:?}", Credential::typed("hunter2").text).contains("hunter2"));
    }
}
