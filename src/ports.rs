//! What the engine asks of the world, in the words of the core, by who uses it. Adapters implement these
//! traits; one shared contract suite runs over every adapter and every fake.

mod accounts;
mod clock;
mod declarations;
mod error;
mod gates;
mod metrics;
mod notices;
mod outbox;
mod queries;
mod routers;
mod signals;
mod store;
mod workloads;

pub use crate::core::arms::ArmSelector;
pub use accounts::Accounts;
pub use clock::{Clock, Died, Failpoints, NoFailpoints};
pub use declarations::Declarations;
pub use error::StoreError;
pub use gates::{GateRequest, Gatekeeper, NoGatekeeper};
pub use metrics::{
    CountsAnswer, CountsRequest, HistoryRequest, MetricsProvider, Required, Sources, ValueRequest,
};
pub use notices::{ChannelMemory, Digest, NoMemory, Notifier, NotifyError};
pub use outbox::{
    Delivery, Outbox, OutboxCounts, OutboxEntry, OutboxFilter, OutboxGroup, OutboxRecord, OutboxState,
    Outgoing,
};
pub use queries::{Queries, RolloutFilter};
pub use routers::{Route, RouterError, TrafficRouter};
pub use signals::Signals;
pub use store::{Commit, Commits, InboxEntry, LATELY, Loaded, Position, Retention, StoredRollout};
pub use workloads::Workload;

/// The whole database: what each of its users asks for, in one.
pub trait Store: Commits + Queries + Outbox + Accounts + Declarations + Signals {}

impl<S: Commits + Queries + Outbox + Accounts + Declarations + Signals> Store for S {}
