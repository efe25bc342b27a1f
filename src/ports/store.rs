//! What the engine stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::outbox::Outgoing;
use crate::core::ids::RolloutId;
use crate::core::judge::{Assessment, JudgeState};
use crate::core::metric::{MetricCursor, TickObservation};
use crate::core::rollout::{Command, EventRecord, Rollout};
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// One commit: all or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The target with `revision` and `epoch` as loaded; stored with `revision + 1`.
    pub target: Option<Target>,
    /// The rollout with `revision` as loaded; stored with `revision + 1`.
    pub rollout: Option<Rollout>,
    /// New cursors of the rollout, by metric.
    pub cursors: BTreeMap<String, MetricCursor>,
    /// The tick's observation, with its assessment for charts.
    pub observation: Option<(TickObservation, Assessment)>,
    /// A snapshot of the evidence after the tick of that sequence number.
    pub snapshot: Option<(u64, Arc<JudgeState>)>,
    /// New log lines.
    pub events: Vec<EventRecord>,
    /// New outbox entries.
    pub outbox: Vec<Outgoing>,
    /// Commands that came from memory: the inbox takes them first, unless it has their keys.
    pub asked: Vec<InboxEntry>,
    /// Commands that were carried out or refused (with the reason).
    pub commands: Vec<(String, Result<(), String>)>,
}

/// What is loaded of an active rollout.
#[derive(Clone, Debug)]
pub struct StoredRollout {
    /// Its state.
    pub rollout: Rollout,
    /// Its cursors, by metric.
    pub cursors: BTreeMap<String, MetricCursor>,
    /// The newest snapshot of the evidence, after the tick of that sequence number.
    pub snapshot: Option<(u64, JudgeState)>,
    /// The observations after the snapshot, in order.
    pub observations: Vec<TickObservation>,
    /// When the last look was, also where the snapshot is newer than all observations.
    pub looked_at: Option<Timestamp>,
}

impl StoredRollout {
    /// When a process has last worked on it, as far as what is stored tells.
    pub fn last_work(&self) -> Timestamp {
        let looks = self.observations.iter().map(|tick| tick.at).chain(self.looked_at);
        let read = self.cursors.values().flat_map(|cursor| [cursor.canary.until, cursor.baseline.until]);
        looks.chain(read).fold(self.rollout.phase_since, Timestamp::max)
    }

    /// The evidence after the last tick: the newest snapshot, and the observations after it judged again.
    pub fn evidence(&self) -> JudgeState {
        let policy = &self.rollout.policy;
        let mut judge = match &self.snapshot {
            Some((_, judge)) => judge.clone(),
            None => JudgeState::of_method(self.rollout.method, policy, self.rollout.history.as_ref()),
        };
        for tick in &self.observations {
            judge.observe(policy, tick);
        }
        judge
    }
}

/// Everything that is stored of a target and that its engine needs to go on, of one moment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The target.
    pub target: Target,
    /// The rollout that has it. The outer `None`: not read, as the target is at the revision that is known.
    pub rollout: Option<Option<StoredRollout>>,
    /// Commands for its rollouts that are not taken yet, oldest first.
    pub inbox: Vec<InboxEntry>,
    /// The rollouts that wait for it, oldest first.
    pub scheduled: Vec<Rollout>,
    /// The [`LATELY`] rollouts that ended last, and those that have ended and are named in the inbox.
    pub ended: Vec<Rollout>,
    /// What became of the commands whose keys were asked for, where that is stored.
    pub done: Vec<(String, Result<(), String>)>,
}

/// So many ended rollouts of a target are loaded with it: a command that came just before the end is refused, and
/// not left without an answer.
pub const LATELY: usize = 3;

/// How far somebody has read what is new. It rises with everything that is stored; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A command in the inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InboxEntry {
    /// The rollout that it is for.
    pub rollout: RolloutId,
    /// When it came in.
    pub at: Timestamp,
    /// The command.
    pub command: Command,
    /// `None`: not taken yet.
    pub result: Option<Result<(), String>>,
}

/// What is kept of ended rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rollouts that ended before now minus this lose observations, evidence and cursors.
    pub observations: Duration,
    /// Rollouts that ended before now minus this are removed whole.
    pub rollouts: Duration,
}

/// What the engine stores, and reads to go on. Every method is one transaction. Several processes may use one store:
/// commits are conditional on revisions and, for targets, on the owner's epoch.
#[async_trait]
pub trait Commits: Send + Sync {
    /// Can it be written to?
    async fn ping(&self) -> Result<(), StoreError>;
    /// Makes targets that are not there, and raises the epoch of all by one: the caller owns them.
    async fn own_targets(&self, names: &[String]) -> Result<Vec<Target>, StoreError>;
    /// One target as it is.
    async fn target(&self, name: &str) -> Result<Target, StoreError>;
    /// All targets, by name.
    async fn targets(&self) -> Result<Vec<Target>, StoreError>;
    /// Stores a new rollout with its first log line. One that begins later is stored as it is and takes no
    /// target. If its target is free it takes it (phase as given,
    /// `target.active` set, target revision raised). If not: with `supersede`, it is stored as
    /// `Scheduled` with `supersedes` set, and a supersede command for every rollout of the target that
    /// is not at an end goes into the inbox; else `Occupied`. The same idempotency `key` again gives the
    /// rollout that was made first.
    async fn create_rollout(
        &self,
        rollout: Rollout,
        first: EventRecord,
        key: Option<&str>,
        supersede: bool,
    ) -> Result<Rollout, StoreError>;
    /// Everything of a target that its engine needs to go on, in one reading. Its rollout is read only if the
    /// target is not at the revision `known`; `keys` are of commands of which it is not known whether they are
    /// stored.
    async fn load_target(
        &self,
        name: &str,
        known: Option<u64>,
        keys: &[String],
    ) -> Result<Loaded, StoreError>;
    /// Everything of a rollout that the engine needs to go on.
    async fn load(&self, id: &RolloutId) -> Result<StoredRollout, StoreError>;
    /// Scheduled rollouts of a target, oldest first.
    async fn scheduled(&self, target: &str) -> Result<Vec<RolloutId>, StoreError>;
    /// Puts a command into the inbox; the same key again gives what is there.
    async fn enqueue(
        &self,
        rollout: &RolloutId,
        command: Command,
        at: Timestamp,
    ) -> Result<InboxEntry, StoreError>;
    /// Commands that are not taken yet, oldest first, of these rollouts.
    async fn pending(&self, rollouts: &[RolloutId]) -> Result<Vec<InboxEntry>, StoreError>;
    /// One inbox entry.
    async fn command(&self, key: &str) -> Result<InboxEntry, StoreError>;
    /// All or nothing; `Conflict` if a revision or epoch is not as loaded.
    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.commit_all(std::slice::from_ref(commit)).await.pop().unwrap_or(Ok(()))
    }
    /// Many commits, in order, that wait for the disk once. Each is all or nothing and conditional by itself:
    /// one that is refused keeps none of the others back. Where the store fails, none is stored.
    async fn commit_all(&self, commits: &[Commit]) -> Vec<Result<(), StoreError>>;
    /// Targets with something new after a position, by name, and the position that they are of: commands, new
    /// rollouts, freezes, and what other processes have committed; not the caller's own commits. Gives an
    /// answer at once where there is something. Else it waits: changes through this store object are told as
    /// they come, those of other processes at the end of `patience`, and then the list may be empty.
    async fn news(&self, after: Position, patience: Duration) -> Result<(Position, Vec<String>), StoreError>;
    /// Removes what retention no longer keeps, never of active rollouts; at most `limit` rollouts. Lines
    /// of the audit log are kept as long as rollouts.
    async fn prune(&self, retention: Retention, now: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
