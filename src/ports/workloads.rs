//! What runs behind the roles.

use async_trait::async_trait;

use crate::core::split::Split;

/// What runs behind the roles.
#[async_trait]
pub trait Workload: Send + Sync {
    /// True when the canary is ready for the exposure.
    async fn prepare(&self, target: &str, split: Split) -> Result<bool, String>;
    /// True when the new version has become stable (or nothing has to be done for it).
    async fn finalize(&self, target: &str) -> Result<bool, String>;
}
