//! What is to be told.

use async_trait::async_trait;
use strum::{EnumString, IntoStaticStr};

use super::error::StoreError;
use crate::core::notice::Notice;
use crate::core::time::Timestamp;

/// A notice that is put into the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// The queue: a channel's name, `CHANNEL#page`, `CHANNEL#digest`, `CHANNEL#quiet` or `hook/NAME`.
    pub queue: String,
    /// What to deliver.
    pub notice: Notice,
    /// Not before; `None`: at once.
    pub due: Option<Timestamp>,
}

impl Outgoing {
    /// A notice that is delivered as soon as its queue comes to it.
    pub fn at_once(queue: impl Into<String>, notice: Notice) -> Outgoing {
        Outgoing { queue: queue.into(), notice, due: None }
    }
}

/// A notice on its way to a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxEntry {
    /// Its number; the order of a queue.
    pub id: i64,
    /// The queue.
    pub channel: String,
    /// What to deliver.
    pub notice: Notice,
    /// How often it was tried.
    pub attempts: u32,
    /// Not before.
    pub due: Timestamp,
    /// When it could first be delivered: its deadline counts from here.
    pub since: Timestamp,
}

/// The entries of a queue that are due at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutboxGroup {
    /// The lowest number of all of them.
    pub first: i64,
    /// How many there are.
    pub count: u64,
    /// The newest of them, oldest first.
    pub newest: Vec<OutboxEntry>,
}

/// Where an entry of the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum OutboxState {
    /// On its way.
    Pending,
    /// A command that was begun.
    Running,
    /// Delivered.
    Done,
    /// Given up.
    Dead,
}

impl OutboxState {
    /// The stable name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An entry with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRecord {
    /// The entry.
    pub entry: OutboxEntry,
    /// Where it is.
    pub state: OutboxState,
    /// What came back last.
    pub detail: Option<String>,
}

/// Which entries to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFilter {
    /// In this state.
    pub state: OutboxState,
    /// Only numbers above this one.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// How much is in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Not delivered and not given up, without those that wait for their time.
    pub pending: u64,
    /// Wait for their time: digests and quiet hours.
    pub waiting: u64,
    /// Given up.
    pub dead: u64,
    /// When the oldest of the pending ones could first be delivered.
    pub oldest: Option<Timestamp>,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Done,
    /// Again at that time.
    Retry {
        /// Not before.
        due: Timestamp,
        /// What came back.
        detail: String,
    },
    /// Given up.
    Dead {
        /// What came back.
        detail: String,
    },
}

/// What is to be told, in the order of its queues, until it is told or given up.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// For each queue its oldest entries that are not delivered, up to the first that is not due; at most
    /// `limit` a queue. Queues of the lanes in `without` are left out.
    async fn outbox_due(
        &self,
        now: Timestamp,
        limit: usize,
        without: &[String],
    ) -> Result<Vec<OutboxEntry>, StoreError>;
    /// The entries of a queue that are due at exactly that time; at most `limit` of the newest are given.
    async fn outbox_group(
        &self,
        queue: &str,
        due: Timestamp,
        limit: usize,
    ) -> Result<OutboxGroup, StoreError>;
    /// Writes down what became of a delivery.
    async fn outbox_settle(&self, id: i64, delivery: &Delivery) -> Result<(), StoreError>;
    /// Writes down what became of the delivery of a group, of the entries with numbers up to `last` only:
    /// what came after the group was read was not in the delivery.
    async fn outbox_settle_group(
        &self,
        queue: &str,
        due: Timestamp,
        last: i64,
        delivery: &Delivery,
    ) -> Result<(), StoreError>;
    /// Marks an entry as running, before something that must not be done twice is begun; `Conflict` if it
    /// is not pending.
    async fn outbox_begin(&self, id: i64) -> Result<(), StoreError>;
    /// Entries in one state, by number.
    async fn outbox_list(&self, filter: OutboxFilter) -> Result<Vec<OutboxRecord>, StoreError>;
    /// Puts a dead entry on its way again; `Conflict` if it is not dead.
    async fn outbox_requeue(&self, id: i64, now: Timestamp) -> Result<OutboxRecord, StoreError>;
    /// How much is in it, for API and metrics.
    async fn outbox_counts(&self, now: Timestamp) -> Result<OutboxCounts, StoreError>;
}
