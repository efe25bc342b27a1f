//! Who asks, and what they may do.
//!
//! Every request passes `gate::gate`: the table of `rules` says what its route needs, the caller is
//! found out from a bearer credential or the session's cookie, and what changes something is written
//! into the audit log.

mod address;
mod audit;
pub(super) mod gate;
pub(in crate::api) mod handlers;
mod identity;
mod oidc;
mod remembered;
pub(super) mod rules;
pub(in crate::api) mod session;
mod stay;
mod throttle;

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use thiserror::Error;
use tokio::sync::broadcast;

pub(super) use self::audit::Note;
pub(super) use self::handlers::{audit_log, create_token, list_tokens, me, revoke_token};
pub(super) use self::session::{login, logout};
pub(super) use self::stay::Stay;
pub(super) use self::throttle::Throttles;
pub(super) use crate::core::access::Permission;

use self::oidc::Oidc;
use self::remembered::Remembered;
use super::Api;
use super::problem::Problem;
use crate::config::{Authentication, OidcConfig};
use crate::core::access::{Grant, Role, TokenHash};
use crate::engine::Handle;
use crate::ports::StoreError;

/// How the API finds out who asks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access {
    /// `None`: nobody has to say who they are, and everybody may do everything.
    known: Option<Arc<Known>>,
    /// The API is reached by TLS, so cookies may be kept to it.
    secure: bool,
    /// Whose pages may call the API from a browser.
    origins: Vec<HeaderValue>,
}

struct Known {
    tokens: bool,
    oidc: Option<Oidc>,
    metrics_open: bool,
    /// Sessions that were left, by their credential.
    logouts: broadcast::Sender<TokenHash>,
    remembered: Remembered,
}

/// Why the API cannot find out who asks.
#[derive(Debug, Error)]
pub enum AccessError {
    /// An origin that no browser sends.
    #[error("`{0}` is not an origin")]
    Origin(String),
    /// The issuer's client cannot be made.
    #[error("authentication.oidc: {0}")]
    Oidc(String),
}

impl Access {
    /// Without authentication: for listeners that only this machine reaches.
    pub fn open() -> Access {
        Access::default()
    }

    /// As the configuration says. Nothing is asked of an issuer yet.
    ///
    /// # Errors
    /// [`AccessError`] if something cannot be used.
    pub fn new(
        authentication: Option<&Authentication>,
        secure: bool,
        origins: &[String],
    ) -> Result<Access, AccessError> {
        let known = match authentication {
            None => None,
            Some(told) => Some(Arc::new(Known {
                tokens: told.tokens,
                oidc: told.oidc.as_ref().map(Oidc::new).transpose().map_err(AccessError::Oidc)?,
                metrics_open: told.metrics_open,
                logouts: broadcast::channel(64).0,
                remembered: Remembered::default(),
            })),
        };
        let header =
            |origin: &String| HeaderValue::from_str(origin).map_err(|_| AccessError::Origin(origin.clone()));
        Ok(Access { known, secure, origins: origins.iter().map(header).collect::<Result<_, _>>()? })
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.known.is_none()
    }

    /// Reads all tokens again and again, so that each of them can pause and roll back while the store hangs. Never
    /// ends, but without authentication.
    pub async fn remember(self, handle: Handle) {
        let Some(known) = self.known.filter(|known| known.tokens) else { return };
        let clock = handle.clock();
        loop {
            if let Ok(records) = handle.store().tokens().await {
                known.remembered.all(records, clock.monotonic());
            }
            clock.sleep_until(clock.monotonic() + remembered::READ_EVERY).await;
        }
    }

    pub(super) fn origins(&self) -> &[HeaderValue] {
        &self.origins
    }
}

/// How somebody said who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// They need not.
    Open,
    /// By a token of Serin's own.
    Token,
    /// By a token of the configured issuer.
    Oidc,
}

impl Via {
    fn name(self) -> &'static str {
        match self {
            Via::Open => "open",
            Via::Token => "token",
            Via::Oidc => "oidc",
        }
    }
}

/// Who asks. Without authentication everybody is anonymous and may do everything.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    /// The name that stands in the log; `None` where nobody has to say who they are.
    pub(super) name: Option<String>,
    via: Via,
    grants: Arc<[Grant]>,
    note: Note,
    /// Confirmed by the store some minutes ago, and not now: valid for urgent requests only.
    is_remembered: bool,
}

impl Principal {
    fn open() -> Principal {
        let grants = Arc::from([Grant::everything()]);
        Principal { name: None, via: Via::Open, grants, note: Note::default(), is_remembered: false }
    }

    /// Whether the store has confirmed it now.
    ///
    /// # Errors
    /// A 503 if it has not answered in time.
    pub(super) fn certain(&self) -> Result<(), Problem> {
        match self.is_remembered {
            false => Ok(()),
            true => Err(StoreError::Unavailable(
                "it has not said in time whether the token is still good".to_owned(),
            )
            .into()),
        }
    }

    /// The name for the log: the authenticated one, or what the request says of itself.
    pub(super) fn by(&self, said: Option<String>) -> String {
        if self.name.is_none() {
            self.note.said(said.as_deref());
        }
        self.name.clone().or(said).unwrap_or_else(|| "api".to_owned())
    }

    /// Whether they may do this to a target.
    pub(super) fn may(&self, permission: Permission, target: &str) -> bool {
        self.grants.iter().any(|grant| grant.permits(permission, target))
    }

    /// Whether they may do this to some target, be it one that is not there.
    pub(super) fn may_somewhere(&self, permission: Permission) -> bool {
        self.grants.iter().any(|grant| grant.role.includes(permission))
    }

    /// Whether they may do this to every target.
    pub(super) fn may_everywhere(&self, permission: Permission) -> bool {
        self.grants.iter().any(|grant| grant.role.includes(permission) && grant.scope.is_all())
    }

    /// Whether they may read of a target. What they may not is as if it were not there.
    pub(super) fn sees(&self, target: &str) -> bool {
        self.may(Permission::View, target)
    }

    /// Of the names of targets those that they may read of; `None` if all, those to come too.
    pub(super) fn seen<'a>(&self, targets: impl Iterator<Item = &'a String>) -> Option<Vec<String>> {
        if self.may_everywhere(Permission::View) {
            return None;
        }
        Some(targets.filter(|target| self.sees(target)).cloned().collect())
    }

    /// The same as `may`, as a 403.
    pub(super) fn allow(&self, permission: Permission, target: &str) -> Result<(), Problem> {
        if self.may(permission, target) {
            return Ok(());
        }
        let what = format!("`{}` for {}", permission.name(), target.escape_debug());
        Err(self.forbidden(&what))
    }

    /// A 403 that says what is needed.
    fn forbidden(&self, needs: &str) -> Problem {
        let who = self.name.as_deref().unwrap_or("this caller");
        let has = self.grants.iter().map(|grant| format!("{} for {}", grant.role.name(), grant.scope));
        let has = has.take(5).collect::<Vec<_>>().join(", ");
        Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "This is not allowed",
            format!("this needs the permission {needs}; {who} is {has}"),
        )
    }

    /// What the audit log shall say that they did.
    pub(super) fn note(&self, action: &str, subject: &str) {
        self.note.set(action, subject);
    }

    /// The greatest role that they have anywhere.
    fn role(&self) -> Role {
        self.grants.iter().map(|grant| grant.role).max().unwrap_or(Role::Viewer)
    }

    /// The key of their own bound on requests.
    fn key(&self) -> String {
        format!("{}:{}", self.via.name(), self.name.as_deref().unwrap_or_default())
    }
}

impl FromRequestParts<Api> for Principal {
    type Rejection = Problem;

    /// A request that has not passed the gate is nobody's.
    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Principal, Problem> {
        parts.extensions.get::<Principal>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

/// A lock whose holder panicked guards plain values here, which are whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
