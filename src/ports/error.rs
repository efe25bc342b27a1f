//! Why the store did not do what it was asked.

use thiserror::Error;

use crate::core::ids::RolloutId;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// Somebody else has committed, or owns the target.
    #[error("{0} has changed meanwhile")]
    Conflict(String),
    /// The target has an active rollout.
    #[error("the target {target} is taken by rollout {active}")]
    Occupied {
        /// The target.
        target: String,
        /// Who has it.
        active: RolloutId,
    },
    /// Not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The database cannot be used now: full disk, read-only, locked, gone.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// What is stored cannot be read.
    #[error("the store holds something that cannot be read: {0}")]
    Corrupt(String),
}
