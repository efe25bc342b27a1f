//! Freezes and alerts.

use async_trait::async_trait;

use super::error::StoreError;
use crate::core::alert::{Alert, AlertRecord};
use crate::core::freeze::Freeze;

/// What reaches targets from outside: freezes, and alerts of other systems.
#[async_trait]
pub trait Signals: Send + Sync {
    /// Stores a freeze, new or ended.
    async fn put_freeze(&self, freeze: &Freeze) -> Result<(), StoreError>;
    /// Freezes, the newest first, at most `limit`; with `open` only those that nobody has ended.
    async fn freezes(&self, open: bool, limit: usize) -> Result<Vec<Freeze>, StoreError>;
    /// Takes in alerts of a target ([`AlertRecord::receive`]); the oldest beyond
    /// [`MOST_REMEMBERED`](crate::core::alert::MOST_REMEMBERED) are forgotten.
    async fn receive_alerts(&self, target: &str, alerts: &[Alert]) -> Result<(), StoreError>;
    /// What is remembered of the alerts of a target, the newest first.
    async fn alerts(&self, target: &str) -> Result<Vec<AlertRecord>, StoreError>;
}
