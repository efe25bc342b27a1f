//! Notices on their way to channels: at least once, in order a channel, never in front of a split.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::Engine;
use crate::ports::{Delivery, Died, NotifyError, OutboxEntry};
use crate::telemetry;

/// Entries of a channel that are taken at once.
const BATCH: usize = 20;
/// Tries before a notice is given up: with the backoff below, about three hours.
const MOST_ATTEMPTS: u32 = 40;

impl Engine {
    /// Delivers what is due, channel by channel. True if something was delivered or given up.
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so.
    pub async fn dispatch_outbox(&self) -> Result<bool, Died> {
        let now = self.clock().wall();
        let due = match self.store().outbox_due(now, BATCH).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                return Ok(false);
            }
        };
        let mut channels: Vec<Vec<OutboxEntry>> = Vec::new();
        for entry in due {
            match channels.iter_mut().find(|c| c.first().is_some_and(|e| e.channel == entry.channel)) {
                Some(channel) => channel.push(entry),
                None => channels.push(vec![entry]),
            }
        }
        let done = join_all(channels.into_iter().map(|channel| self.dispatch_channel(channel))).await;
        let mut any = false;
        for result in done {
            any |= result?;
        }
        Ok(any)
    }

    /// In order: the first one that is not delivered stops the channel.
    async fn dispatch_channel(&self, entries: Vec<OutboxEntry>) -> Result<bool, Died> {
        let mut any = false;
        for entry in entries {
            let delivery = self.deliver(&entry).await?;
            let stop = matches!(delivery, Delivery::Retry { .. });
            let outcome = match &delivery {
                Delivery::Done => "delivered",
                Delivery::Retry { .. } => "retried",
                Delivery::Dead { .. } => "given_up",
            };
            telemetry::notice(&entry.channel, outcome);
            self.pass("delivered")?;
            if let Err(error) = self.store().outbox_settle(entry.id, &delivery).await {
                tracing::warn!(%error, "a delivery could not be written down; it comes again");
                return Ok(any);
            }
            if stop {
                return Ok(any);
            }
            any = true;
        }
        Ok(any)
    }

    async fn deliver(&self, entry: &OutboxEntry) -> Result<Delivery, Died> {
        let Some(notifier) = self.parts.notifiers.get(&entry.channel) else {
            let detail = "the channel is not in the configuration any more".to_owned();
            return Ok(Delivery::Dead { detail });
        };
        self.pass("before_deliver")?;
        let result = timeout(self.parts.options.call_deadline, notifier.deliver(&entry.notice))
            .await
            .unwrap_or_else(|_| Err(NotifyError::again("no answer in time")));
        Ok(match result {
            Ok(()) => Delivery::Done,
            Err(error) if error.retry && entry.attempts + 1 < MOST_ATTEMPTS => {
                let wait = backoff(entry.attempts, entry.id);
                tracing::info!(channel = %entry.channel, key = %entry.notice.key, detail = %error.detail,
                    again_in_seconds = wait.as_secs_f64(), "a notice was not delivered");
                Delivery::Retry { due: self.clock().wall().plus(wait), detail: error.detail }
            }
            Err(error) => {
                tracing::error!(channel = %entry.channel, key = %entry.notice.key,
                    detail = %error.detail, "a notice was given up");
                Delivery::Dead { detail: error.detail }
            }
        })
    }
}

/// Doubles from half a second to five minutes, spread by up to a quarter so that many do not come at once.
pub fn backoff(attempts: u32, id: i64) -> Duration {
    let doubled = Duration::from_millis(500) * 2u32.pow(attempts.min(10));
    let base = doubled.min(Duration::from_secs(300));
    let spread = id.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(attempts));
    let quarter = u64::try_from(base.as_millis() / 4).unwrap_or(u64::MAX).max(1);
    base + Duration::from_millis(spread % quarter)
}
