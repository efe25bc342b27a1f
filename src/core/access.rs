//! Who may do what: roles, the targets that they hold for, tokens, and the record of what was done.

use std::fmt;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use thiserror::Error;

use super::time::Timestamp;

/// Longest name of somebody or of a token, in characters.
pub const LONGEST_NAME: usize = 63;
/// Patterns that one scope may have.
pub const MOST_PATTERNS: usize = 100;
/// Longest pattern, in characters.
pub const LONGEST_PATTERN: usize = 200;

/// What somebody may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Permission {
    /// Read everything that is not a secret.
    View,
    /// Start rollouts and give commands.
    Operate,
    /// Say yes or no at a gate.
    Approve,
    /// Make and revoke tokens, read the audit log.
    Administer,
}

impl Permission {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A named set of permissions. Every role may view.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and says yes or no at gates.
    Approver,
    /// Reads, starts rollouts and gives commands.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: &'static [Role] = <Role as VariantArray>::VARIANTS;

    /// Its name.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the role has the permission.
    pub fn includes(self, permission: Permission) -> bool {
        match self {
            Role::Admin => true,
            Role::Operator => matches!(permission, Permission::View | Permission::Operate),
            Role::Approver => matches!(permission, Permission::View | Permission::Approve),
            Role::Viewer => permission == Permission::View,
        }
    }
}

/// The targets that a role holds for, as patterns: `*` and `?` stand for any text and any one
/// character, `{a,b}` for either, `[a-c]` for one of some. Not empty.
#[derive(Clone, Debug)]
pub struct Scope {
    patterns: Vec<String>,
    matchers: Vec<GlobMatcher>,
}

/// Why patterns are not a scope.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// None at all: nothing would be in scope.
    #[error("there is no pattern; `*` stands for every target")]
    Empty,
    /// More than can be looked through at every request.
    #[error("there are more than {MOST_PATTERNS} patterns")]
    TooMany,
    /// One that cannot be read.
    #[error("`{0}` is not a pattern of targets: {1}")]
    Pattern(String, String),
}

impl Scope {
    /// Every target.
    pub fn all() -> Scope {
        Scope { patterns: vec!["*".to_owned()], matchers: Vec::new() }
    }

    /// Reads patterns.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Result<Scope, ScopeError> {
        if patterns.is_empty() {
            return Err(ScopeError::Empty);
        }
        if patterns.len() > MOST_PATTERNS {
            return Err(ScopeError::TooMany);
        }
        let mut scope = Scope { patterns: Vec::new(), matchers: Vec::new() };
        for pattern in patterns.iter().map(AsRef::as_ref) {
            let wrong = |why: String| {
                let head: String = pattern.chars().take(80).flat_map(char::escape_debug).collect();
                ScopeError::Pattern(head, why)
            };
            let length = pattern.chars().count();
            if !(1..=LONGEST_PATTERN).contains(&length) || pattern.chars().any(char::is_control) {
                return Err(wrong(format!("it must be 1 to {LONGEST_PATTERN} printable characters")));
            }
            let glob = Glob::new(pattern).map_err(|error| wrong(error.kind().to_string()))?;
            scope.matchers.push(glob.compile_matcher());
            scope.patterns.push(pattern.to_owned());
        }
        Ok(scope)
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether every target is in it, those that are not there yet too.
    pub fn is_all(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern == "*")
    }

    /// Whether the target is in it.
    pub fn holds(&self, target: &str) -> bool {
        self.is_all() || self.matchers.iter().any(|matcher| matcher.is_match(target))
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Scope) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.patterns.join(" "))
    }
}

/// A role for some targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What.
    pub role: Role,
    /// For which targets.
    pub scope: Scope,
}

impl Grant {
    /// Everything, for every target.
    pub fn everything() -> Grant {
        Grant { role: Role::Admin, scope: Scope::all() }
    }

    /// Whether the permission is granted for the target.
    pub fn permits(&self, permission: Permission, target: &str) -> bool {
        self.role.includes(permission) && self.scope.holds(target)
    }
}

/// The SHA-256 of a token's text, in lower-case hexadecimal. The token itself is stored nowhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(pub String);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its name; no two tokens that are not revoked have the same.
    pub name: String,
    /// What it is looked up by.
    pub hash: TokenHash,
    /// What its holder may do.
    pub role: Role,
    /// For which targets.
    pub services: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// From when on it is worth nothing; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Since when it is worth nothing, whatever `expires_at` says.
    pub revoked_at: Option<Timestamp>,
}

/// Whether a token is worth something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TokenState {
    /// Yes.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

impl TokenState {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl TokenRecord {
    /// Whether it is worth something at `now`.
    pub fn state(&self, now: Timestamp) -> TokenState {
        if self.revoked_at.is_some() {
            TokenState::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }
}

/// True if `name` can be a token's: letters, digits, `.`, `_` and `-`, with a letter or digit first.
pub fn is_token_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    first && rest && name.len() <= LONGEST_NAME
}

/// One line of the audit log: who, when, from where, what, and what came of it. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who; `None` if nobody said who they are.
    pub by: Option<String>,
    /// How they said it: `token`, `oidc`, `cli`, `none`, or `open` where nobody has to.
    pub via: String,
    /// From which address; `local` for the command line on the daemon's machine.
    pub from: String,
    /// What: `start`, `pause`, `token.create`, `login`, …
    pub action: String,
    /// To what: a rollout, a target, a token; empty if to nothing.
    pub subject: String,
    /// `done`, `accepted` if it is still to be carried out, or the code of the problem.
    pub result: String,
    /// The HTTP status; 0 on the command line.
    pub status: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_what_they_say() {
        use Permission::{Administer, Approve, Operate, View};
        let all = [View, Operate, Approve, Administer];
        for (role, may) in [
            (Role::Viewer, vec![View]),
            (Role::Approver, vec![View, Approve]),
            (Role::Operator, vec![View, Operate]),
            (Role::Admin, all.to_vec()),
        ] {
            for permission in all {
                assert_eq!(role.includes(permission), may.contains(&permission), "{role:?} {permission:?}");
            }
        }
    }

    #[test]
    fn patterns_hold_whole_names() {
        let scope = Scope::new(&["checkout*", "search-{eu,us}", "p?y"]).unwrap();
        for (target, holds) in [
            ("checkout", true),
            ("checkout-eu", true),
            ("my-checkout", false),
            ("search-eu", true),
            ("search-asia", false),
            ("pay", true),
            ("payments", false),
            ("Checkout", false),
            ("", false),
        ] {
            assert_eq!(scope.holds(target), holds, "{target}");
        }
        assert!(!scope.is_all());
        assert!(Scope::all().holds("anything") && Scope::all().is_all());
        assert!(Scope::new(&["a", "*"]).unwrap().holds("b/c"));
    }

    #[test]
    fn what_is_no_scope_is_said() {
        assert_eq!(Scope::new::<&str>(&[]), Err(ScopeError::Empty));
        assert_eq!(Scope::new(&vec!["a"; 101]), Err(ScopeError::TooMany));
        for pattern in ["", "[", "{a", "a\nb", &"x".repeat(201)] {
            assert!(matches!(Scope::new(&[pattern]), Err(ScopeError::Pattern(..))), "{pattern:?}");
        }
    }

    #[test]
    fn names_of_tokens() {
        for name in ["ci", "ci-2", "a.b_c", "9"] {
            assert!(is_token_name(name), "{name}");
        }
        for name in ["", "-ci", "a b", "a/b", "ü", "a\n", &"x".repeat(64)] {
            assert!(!is_token_name(name), "{name:?}");
        }
    }
}
