//! Time, and places where a test lets something fail.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::core::time::Timestamp;

/// The only source of time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// Time since an arbitrary point that never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits until the monotonic clock has reached `until`.
    async fn sleep_until(&self, until: Duration);
}

/// Places where a process may die or a store fail, for tests.
pub trait Failpoints: Send + Sync {
    /// Called at a named place. `Err` stops the work at hand as if the process had died there.
    fn pass(&self, name: &'static str) -> Result<(), Died>;
}

/// The process is to be taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("died at {0}")]
pub struct Died(pub &'static str);

/// No failpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFailpoints;

impl Failpoints for NoFailpoints {
    fn pass(&self, _name: &'static str) -> Result<(), Died> {
        Ok(())
    }
}
