//! A structured line in Serin's log.

use async_trait::async_trait;

use crate::core::notice::Notice;
use crate::ports::{Notifier, NotifyError};

/// Writes notices to the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        tracing::info!(
            key = %notice.key,
            kind = ?notice.kind,
            severity = ?notice.severity,
            rollout = %notice.rollout,
            target = %notice.target,
            version = %notice.version,
            "{}",
            notice.sentence
        );
        Ok(())
    }
}
