//! The outbox.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::routing::channel_of;
use crate::ports::{OutboxRecord, OutboxState};

/// A notice for one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutboxView {
    /// Its number, for `after` and for retrying.
    pub id: i64,
    /// The channel, or `hook/NAME`.
    pub channel: String,
    /// The queue: the channel, with `#page` for what is about an incident, `#digest` or `#quiet` for what waits for its
    /// time.
    pub queue: String,
    /// `dead`, `pending`, `running`.
    pub state: String,
    /// The idempotency key that the receiver sees.
    pub key: String,
    /// What kind of notice.
    pub kind: String,
    /// The rollout.
    pub rollout: String,
    /// The target.
    pub target: String,
    /// What it says.
    pub sentence: String,
    /// How often it was tried.
    pub attempts: u32,
    /// RFC 3339: when it could first be delivered.
    pub since: String,
    /// RFC 3339, while it is on its way: it is not tried before; after what its queue has before it.
    pub next_attempt_at: Option<String>,
    /// What came back last.
    pub detail: Option<String>,
}

impl OutboxView {
    /// For people and programs.
    pub fn new(record: &OutboxRecord) -> OutboxView {
        let entry = &record.entry;
        OutboxView {
            id: entry.id,
            channel: channel_of(&entry.channel).to_owned(),
            queue: entry.channel.clone(),
            state: record.state.name().to_owned(),
            key: entry.notice.key.clone(),
            kind: entry.notice.kind.name().to_owned(),
            rollout: entry.notice.rollout.clone(),
            target: entry.notice.target.clone(),
            sentence: entry.notice.sentence.clone(),
            attempts: entry.attempts,
            since: entry.since.to_string(),
            next_attempt_at: (record.state == OutboxState::Pending)
                .then(|| entry.due.max(entry.since).to_string()),
            detail: record.detail.clone(),
        }
    }
}
