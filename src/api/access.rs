//! Who asks, and what they may do.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Api;
use super::problem::Problem;

#[allow(dead_code)]
/// What somebody may be allowed to do, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Permission {
    /// Read everything that is not a secret.
    View,
    /// Start rollouts and give commands.
    Operate,
    /// Say yes or no at a gate.
    Approve,
    /// Make and revoke tokens, read the audit log.
    Administer,
}

/// Who asks. Without authentication everybody is `anonymous` and may do everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    /// The name that stands in the log; `None` where nobody has to say who they are.
    pub(super) name: Option<String>,
}

impl Principal {
    /// The name for the log: the authenticated one, or what the request says of itself.
    pub(super) fn by(&self, said: Option<String>) -> String {
        self.name.clone().or(said).unwrap_or_else(|| "api".to_owned())
    }

    /// Whether they may do this to a target.
    pub(super) fn may(&self, _permission: Permission, _target: &str) -> bool {
        true
    }

    /// The same, as a 403.
    pub(super) fn allow(&self, permission: Permission, target: &str) -> Result<(), Problem> {
        if self.may(permission, target) {
            return Ok(());
        }
        Err(Problem::new(
            axum::http::StatusCode::FORBIDDEN,
            "forbidden",
            "This is not allowed",
            format!("{} may not do this to {target}", self.by(None)),
        ))
    }
}

impl FromRequestParts<Api> for Principal {
    type Rejection = Infallible;

    async fn from_request_parts(_parts: &mut Parts, _api: &Api) -> Result<Principal, Infallible> {
        Ok(Principal { name: None })
    }
}
