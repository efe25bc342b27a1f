//! The database: targets, rollouts, commands, log, observations, evidence and the outbox.
//!
//! [`SqliteStore`] is the embedded default. Another database is a sibling module with its own folder
//! under `migrations/`. What such an implementation must keep:
//! - the two conditions of a commit, `revision` and `epoch`, stand in the WHERE of the updates, so that
//!   a late write of a former owner is refused by the database and not by a check before it;
//! - everything that is unique (one occupying rollout a target, idempotency keys, command keys, event
//!   numbers, one outbox entry per channel and key) is unique by an index;
//! - what is fixed of a rollout is stored once; what every look writes are the rows of `rows`, and what
//!   looks were judged as is judged again by who reads it;
//! - other bodies are whole values as serde writes them; columns beside them exist only for conditions,
//!   order and filters, and agree with the body.
//!
//! The contract suite in `tests/quick/store.rs` runs over every implementation.

mod replay;
mod rows;
mod sqlite;

pub use sqlite::SqliteStore;
