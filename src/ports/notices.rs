//! Channels to people and programs.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::error::StoreError;
use crate::core::limit::Severity;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::time::Timestamp;

/// Why a notice was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct NotifyError {
    /// Whether it makes sense to try again.
    pub retry: bool,
    /// What came back.
    pub detail: String,
    /// Not before so much time, as the receiver asked for (`Retry-After`).
    pub after: Option<Duration>,
}

impl NotifyError {
    /// It makes sense to try again.
    pub fn again(detail: impl Into<String>) -> NotifyError {
        NotifyError { retry: true, detail: detail.into(), after: None }
    }

    /// It makes no sense to try again.
    pub fn never(detail: impl Into<String>) -> NotifyError {
        NotifyError { retry: false, detail: detail.into(), after: None }
    }
}

/// A channel to people or programs.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Delivers one notice, with its key as the idempotency key.
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError>;
    /// Delivers several notices as one, with the digest's key as the idempotency key.
    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.deliver(&digest.notice()).await
    }
    /// How long a delivery may take by the channel's own deadlines; zero if it has none.
    fn longest(&self) -> Duration {
        Duration::ZERO
    }
}

/// Notices that are told together.
#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    /// The same over retries and restarts.
    pub key: String,
    /// The newest ones, oldest first; not empty.
    pub notices: Vec<Notice>,
    /// So many older ones are not among them.
    pub more: u64,
    /// When it is told.
    pub at: Timestamp,
}

impl Digest {
    /// All of it as one notice, which is of no one rollout.
    pub fn notice(&self) -> Notice {
        self.notice_within(|_| true)
    }

    /// The same with as many of the newest notices as `fits`; of the older ones only the number.
    pub fn notice_within(&self, fits: impl Fn(&str) -> bool) -> Notice {
        let mut from = 0;
        let mut sentence = self.sentence(from);
        while !fits(&sentence) && from < self.notices.len() {
            from += 1;
            sentence = self.sentence(from);
        }
        let severity = self.notices.iter().map(|notice| notice.severity).max().unwrap_or(Severity::Low);
        let mut notice = Notice::new(self.key.clone(), NoticeKind::Progress, severity, self.at, sentence);
        if let [only] = self.targets()[..] {
            notice.target = only.to_owned();
        }
        notice
    }

    fn targets(&self) -> Vec<&str> {
        let mut targets: Vec<&str> = self.notices.iter().map(|notice| notice.target.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// A head, a line a notice from that one on, and how many there are before these.
    fn sentence(&self, from: usize) -> String {
        let count = self.notices.len() as u64 + self.more;
        let targets = self.targets();
        let mut sentence = format!("{count} messages of {}", targets.join(", "));
        if targets.len() > 5 {
            sentence = format!("{count} messages of {} services", targets.len());
        }
        for notice in &self.notices[from..] {
            // Whole sentences of a hundred notices would be too much for most channels.
            let told: String = notice.sentence.chars().take(200).collect();
            let Notice { at, target, version, kind, .. } = notice;
            sentence.push_str(&format!("\n- {at} {target} {version}, {}: {told}", kind.name()));
        }
        match self.more + from as u64 {
            0 => {}
            more => sentence.push_str(&format!("\nand {more} more before these")),
        }
        sentence
    }
}

/// What channels keep over restarts: where a rollout's thread is, what an alert was opened as. Values are
/// some hundred bytes; they go with the rollouts' retention.
#[async_trait]
pub trait ChannelMemory: Send + Sync {
    /// What the channel has kept under this key.
    async fn recall(&self, channel: &str, key: &str) -> Result<Option<String>, StoreError>;
    /// Keeps a value, in place of the one that was there.
    async fn remember(&self, channel: &str, key: &str, value: &str, at: Timestamp) -> Result<(), StoreError>;
}

/// Keeps nothing: for a single test message.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

#[async_trait]
impl ChannelMemory for NoMemory {
    async fn recall(&self, _channel: &str, _key: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn remember(&self, _: &str, _: &str, _: &str, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}
