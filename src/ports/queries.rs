//! What is read of rollouts.

use async_trait::async_trait;

use super::error::StoreError;
use crate::core::ids::RolloutId;
use crate::core::judge::Assessment;
use crate::core::metric::TickObservation;
use crate::core::rollout::{EventRecord, Rollout};
use crate::core::time::Timestamp;

/// Which rollouts to list.
#[derive(Clone, Debug, Default)]
pub struct RolloutFilter {
    /// Only of this target.
    pub target: Option<String>,
    /// Only of these targets, for those who may not see all of them.
    pub targets: Option<Vec<String>>,
    /// Only in this phase.
    pub phase: Option<String>,
    /// Only those that are not at an end (`true`) or are (`false`).
    pub active: Option<bool>,
    /// Only under this policy.
    pub policy: Option<String>,
    /// Only those that had not ended before this time.
    pub since: Option<Timestamp>,
    /// Only those that were asked for until this time.
    pub until: Option<Timestamp>,
    /// Only ids before this one, newest first.
    pub before: Option<RolloutId>,
    /// At most so many.
    pub limit: usize,
}

/// What API, pages and reports read of rollouts.
#[async_trait]
pub trait Queries: Send + Sync {
    /// One rollout.
    async fn rollout(&self, id: &RolloutId) -> Result<Rollout, StoreError>;
    /// Newest first.
    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<Rollout>, StoreError>;
    /// Log lines after `after`, in order, at most `limit`.
    async fn events(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError>;
    /// Log lines of all rollouts after a position, in the order in which they were stored, at most
    /// `limit`. Positions rise, are never used twice, and begin at 1.
    async fn events_since(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RolloutId, EventRecord)>, StoreError>;
    /// The position of the newest log line that was ever stored and is there; 0 if there is none.
    async fn newest_position(&self) -> Result<u64, StoreError>;
    /// Observations with their assessments after tick `after`, in order, at most `limit`.
    async fn observations(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(TickObservation, Assessment)>, StoreError>;
}
