//! What the API has declared, as it is stored.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// What a stored declaration is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclarationKind {
    /// A target.
    Target,
    /// A policy.
    Policy,
}

impl DeclarationKind {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            DeclarationKind::Target => "target",
            DeclarationKind::Policy => "policy",
        }
    }
}

/// A target or policy that was declared through the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDeclaration {
    /// What it is.
    pub kind: DeclarationKind,
    /// Its name.
    pub name: String,
    /// As it was sent: YAML or JSON. It is read and checked again at every start.
    pub body: String,
    /// Who declared it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}
