//! Callers, tokens and the audit log, as they are shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::access::{AuditRecord, TokenRecord};
use crate::core::time::Timestamp;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeView {
    /// Their name; null where nobody has to say who they are.
    pub name: Option<String>,
    /// `viewer`, `approver`, `operator` or `admin`: the greatest that they have.
    pub role: String,
    /// The targets that it holds for, as patterns.
    pub services: Vec<String>,
    /// Whether Serin runs without authentication.
    pub open: bool,
    /// What they may do, for some target at least.
    pub may: MayView,
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MayView {
    /// Read.
    pub view: bool,
    /// Start rollouts and give commands.
    pub operate: bool,
    /// Say yes or no at gates.
    pub approve: bool,
    /// Make and revoke tokens, read the audit log.
    pub administer: bool,
}

/// A token, without what makes it one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// The targets that the role holds for, as patterns.
    pub services: Vec<String>,
    /// `active`, `expired` or `revoked`.
    pub state: String,
    /// RFC 3339.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// RFC 3339; null: never.
    pub expires_at: Option<String>,
    /// RFC 3339.
    pub revoked_at: Option<String>,
}

impl TokenView {
    /// As it stands at `now`.
    pub fn new(token: &TokenRecord, now: Timestamp) -> TokenView {
        TokenView {
            name: token.name.clone(),
            role: token.role.name().to_owned(),
            services: token.services.clone(),
            state: token.state(now).name().to_owned(),
            created_at: token.created_at.to_string(),
            created_by: token.created_by.clone(),
            expires_at: token.expires_at.map(|at| at.to_string()),
            revoked_at: token.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// A new token: the only answer that ever has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewTokenView {
    /// The token.
    pub token: String,
    /// What it is.
    #[serde(flatten)]
    pub about: TokenView,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// Its number, for `before`.
    pub id: u64,
    /// RFC 3339.
    pub at: String,
    /// Who; null if nobody said who they are.
    pub by: Option<String>,
    /// How they said it: `token`, `oidc`, `cli`, `open` or `none`.
    pub via: String,
    /// From which address; `local` for the command line on the daemon's machine.
    pub from: String,
    /// What: `start`, `pause`, `token.create`, `login` and so on.
    pub action: String,
    /// To what.
    pub subject: String,
    /// `done`, `accepted` if it is still to be carried out, or the code of the problem.
    pub result: String,
    /// The HTTP status; 0 on the command line.
    pub status: u16,
}

impl AuditView {
    /// The line of that number.
    pub fn new(number: u64, line: &AuditRecord) -> AuditView {
        AuditView {
            id: number,
            at: line.at.to_string(),
            by: line.by.clone(),
            via: line.via.clone(),
            from: line.from.clone(),
            action: line.action.clone(),
            subject: line.subject.clone(),
            result: line.result.clone(),
            status: line.status,
        }
    }
}

/// What `POST /session` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes the body, which is read field by field")]
pub struct LoginBody {
    /// A token of `serin token create`, or a JWT of the configured issuer.
    #[schema(min_length = 1, max_length = 8000)]
    token: String,
}

/// What `POST /tokens` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes the body, which is read field by field")]
pub struct TokenBody {
    /// Its name: letters, digits, `.`, `_` and `-`.
    #[schema(min_length = 1, max_length = 63, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: String,
    /// What it may do; an admin's `services` are all.
    #[schema(pattern = "^(viewer|approver|operator|admin)$")]
    role: String,
    /// The targets that it holds for, as patterns such as `shop-*`; all, where nothing is said.
    services: Option<Vec<String>>,
    /// After so many seconds it is worth nothing.
    #[schema(minimum = 1, maximum = 315_360_000)]
    expires_in_seconds: Option<u64>,
}
