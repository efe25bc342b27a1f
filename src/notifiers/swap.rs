//! A channel that can be replaced while it is in use.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use crate::core::notice::Notice;
use crate::ports::{Digest, Notifier, NotifyError};

/// Stands for a channel under its name. What is under way when it is replaced ends with the one before.
pub struct SwapNotifier {
    current: RwLock<Arc<dyn Notifier>>,
}

impl SwapNotifier {
    /// Stands for `notifier` until it is replaced.
    pub fn new(notifier: Arc<dyn Notifier>) -> Arc<SwapNotifier> {
        Arc::new(SwapNotifier { current: RwLock::new(notifier) })
    }

    /// Everything that is delivered from now on goes to `notifier`.
    pub fn replace(&self, notifier: Arc<dyn Notifier>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = notifier;
    }

    fn current(&self) -> Arc<dyn Notifier> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Notifier for SwapNotifier {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        self.current().deliver(notice).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.current().deliver_digest(digest).await
    }

    fn longest(&self) -> Duration {
        self.current().longest()
    }
}
