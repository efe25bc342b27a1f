//! A split that a process found at a router and that the store knows nothing of.

use serde::{Deserialize, Serialize};

use super::split::Split;
use super::time::Timestamp;

/// A split that the store knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What the router had when it was last asked.
    pub split: Split,
    /// When it was found.
    pub at: Timestamp,
    /// What a person has decided; carried out at the next look.
    #[serde(default)]
    pub decided: Option<Decided>,
}

impl Found {
    /// What people are notified of.
    pub fn sentence(&self, target: &str) -> String {
        format!(
            "The router of {target} gives the canary {}, and the store knows of no release that does: its file \
             may be lost, or older than what was released since. Nothing is changed until somebody decides: \
             `serin target adopt {target}` keeps the split, `serin target zero {target}` sends all traffic to the \
             stable pool.",
            self.split.canary
        )
    }
}

/// A person's decision about what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// Who.
    pub by: String,
}

/// What may be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The router is right: its split is wanted from now on. A canary with all traffic becomes stable.
    Adopt,
    /// The store is right: the canary gets nothing.
    Zero,
}
