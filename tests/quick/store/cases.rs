//! What every store does. Each case gets an empty one.

mod access;
mod alerts;
mod commits;
mod looks;
mod news;
mod queues;
mod retention;
mod rollouts;

pub use access::*;
pub use alerts::*;
pub use commits::*;
pub use looks::*;
pub use news::*;
pub use queues::*;
pub use retention::*;
pub use rollouts::*;

use std::sync::Arc;

use serin::core::ids::RolloutId;
use serin::core::rollout::Rollout;
use serin::core::target::Target;
use serin::ports::{Commit, OutboxEntry, Outgoing, Store, StoreError};

use super::samples::{at, ended, event, notice, rollout};

fn labels(entries: &[OutboxEntry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{} {}", entry.channel, entry.notice.key)).collect()
}

type AnyStore = Arc<dyn Store>;

fn id(text: &str) -> RolloutId {
    RolloutId(text.into())
}

fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::Conflict(name)) => assert!(name.contains(what), "{name:?} does not name {what:?}"),
        other => panic!("a conflict of {what} was expected, not {other:?}"),
    }
}

fn not_found<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::NotFound(name)) => assert!(name.contains(what), "{name:?} does not name {what:?}"),
        other => panic!("{what} should not be found, not {other:?}"),
    }
}

async fn owned(store: &AnyStore, name: &str) -> Target {
    store.own_targets(&[name.to_owned()]).await.unwrap().remove(0)
}

/// A stored rollout that occupies its new target.
async fn begun(store: &AnyStore, name: &str, target: &str) -> Rollout {
    owned(store, target).await;
    store.create_rollout(rollout(name, target), event(1), None, false).await.unwrap()
}

/// Ends the rollout at `seconds` and frees its target.
async fn end(store: &AnyStore, name: &str, seconds: i64) {
    let last = store.rollout(&id(name)).await.unwrap();
    let mut target = store.target(&last.target).await.unwrap();
    target.active = None;
    let commit =
        Commit { target: Some(target), rollout: Some(ended(&last, at(seconds))), ..Commit::default() };
    store.commit(&commit).await.unwrap();
}

/// How many are on their way, and how many dead.
async fn counts(store: &AnyStore) -> (u64, u64) {
    let counts = store.outbox_counts(at(9_999)).await.unwrap();
    (counts.pending, counts.dead)
}

async fn notify(store: &AnyStore, entries: &[(&str, u64)]) {
    let outbox =
        entries.iter().map(|(channel, seq)| Outgoing::at_once(*channel, notice("r1", *seq))).collect();
    store.commit(&Commit { outbox, ..Commit::default() }).await.unwrap();
}
