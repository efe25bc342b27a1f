//! SQLite: one file, one writer, the embedded default.

mod access;
mod alerts;
mod codec;
mod commit;
mod connection;
mod declarations;
mod error;
mod freezes;
mod heartbeat;
mod history;
mod inbox;
mod judged;
mod memory;
mod news;
mod outbox;
mod plans;
mod prune;
mod rollouts;
mod targets;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use self::connection::Database;
use crate::core::access::{AuditRecord, TokenHash, TokenRecord};
use crate::core::alert::{Alert, AlertRecord};
use crate::core::declaration::{DeclarationKind, StoredDeclaration};
use crate::core::freeze::Freeze;
use crate::core::ids::RolloutId;
use crate::core::judge::Assessment;
use crate::core::metric::TickObservation;
use crate::core::rollout::{Command, EventRecord, Rollout};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::ports::{
    Accounts, ChannelMemory, Commit, Commits, Declarations, Delivery, InboxEntry, Loaded, Outbox,
    OutboxCounts, OutboxEntry, OutboxFilter, OutboxGroup, OutboxRecord, Position, Queries, Retention,
    RolloutFilter, Signals, StoreError, StoredRollout,
};
use crate::store::replay::Replays;

/// The store in a SQLite file. Cheap to clone. A method that was left before its end (its future dropped)
/// is undone, or done whole; never half.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    database: Database,
    /// Counts what was told to targets through this object.
    told: watch::Sender<u64>,
    /// What looks were judged as.
    replays: Arc<Replays>,
}

impl SqliteStore {
    /// Opens the file at `path`, makes it if it is not there (its folder must be), and brings its tables
    /// up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it cannot be opened for writing, or was written by a newer version;
    /// [`StoreError::Corrupt`] if it is something else than Serin's database.
    pub async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let database = Database::open(path).await?;
        Ok(SqliteStore { database, told: watch::Sender::new(0), replays: Arc::default() })
    }

    /// Ends all connections; calls after it give [`StoreError::Unavailable`]. Without it nothing is lost,
    /// but the write-ahead log stays beside the file.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// One unit of work: begun on the named side, ended with what the body gave.
macro_rules! work {
    ($store:expr, $side:ident, $room:ident :: $function:ident ( $($argument:expr),* )) => {{
        let mut work = $store.database.$side().await?;
        let done = $room::$function(work.connection() $(, $argument)*).await;
        work.end(done).await
    }};
}

impl SqliteStore {
    /// Gives up notices that cannot be read, so that the others go on. If that cannot be written down, it
    /// is done at the next look.
    async fn bury(&self, unreadable: &[outbox::Unreadable]) {
        if unreadable.is_empty() {
            return;
        }
        if let Err(error) = self.write_burial(unreadable).await {
            tracing::warn!(%error, "notices that cannot be read could not be given up");
        }
    }

    async fn write_commits(&self, commits: &[Commit]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let done = work!(self, write, commit::apply_all(commits, self.database.number))?;
        for (commit, result) in commits.iter().zip(&done) {
            if let (Some(rollout), Ok(())) = (&commit.rollout, result) {
                self.replays.keep(rollout);
            }
        }
        Ok(done)
    }

    async fn news_after(&self, after: Position) -> Result<(Position, Vec<String>), StoreError> {
        work!(self, read, news::after(after, self.database.number))
    }

    /// Wakes those who wait for news, if there are any.
    fn tell<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if done.is_ok() {
            self.told.send_modify(|told| *told = told.wrapping_add(1));
        }
        done
    }

    async fn write_burial(&self, unreadable: &[outbox::Unreadable]) -> Result<(), StoreError> {
        work!(self, write, outbox::bury(unreadable))
    }
}

#[async_trait]
impl Commits for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        work!(self, write, heartbeat::beat())
    }

    async fn own_targets(&self, names: &[String]) -> Result<Vec<Target>, StoreError> {
        work!(self, write, targets::own(self.database.number, names))
    }

    async fn target(&self, name: &str) -> Result<Target, StoreError> {
        work!(self, read, targets::get(name))
    }

    async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        work!(self, read, targets::all())
    }

    async fn create_rollout(
        &self,
        rollout: Rollout,
        first: EventRecord,
        key: Option<&str>,
        supersede: bool,
    ) -> Result<Rollout, StoreError> {
        let by = (self.database.number, self.replays.as_ref());
        let made = work!(self, write, rollouts::create(rollout, &first, key, supersede, by));
        self.tell(made)
    }

    async fn load(&self, id: &RolloutId) -> Result<StoredRollout, StoreError> {
        work!(self, read, commit::load(&self.replays, id))
    }

    async fn scheduled(&self, target: &str) -> Result<Vec<RolloutId>, StoreError> {
        work!(self, read, rollouts::scheduled(target))
    }

    async fn enqueue(
        &self,
        rollout: &RolloutId,
        command: Command,
        at: Timestamp,
    ) -> Result<InboxEntry, StoreError> {
        let entry = work!(self, write, inbox::enqueue(rollout, &command, at, self.database.number));
        self.tell(entry)
    }

    async fn pending(&self, rollouts: &[RolloutId]) -> Result<Vec<InboxEntry>, StoreError> {
        work!(self, read, inbox::pending(rollouts))
    }

    async fn command(&self, key: &str) -> Result<InboxEntry, StoreError> {
        work!(self, read, inbox::get(key))
    }

    async fn commit_all(&self, commits: &[Commit]) -> Vec<Result<(), StoreError>> {
        if commits.is_empty() {
            return Vec::new();
        }
        match self.write_commits(commits).await {
            Ok(done) => done,
            Err(error) => commits.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn news(&self, after: Position, patience: Duration) -> Result<(Position, Vec<String>), StoreError> {
        let mut told = self.told.subscribe();
        let mut end = std::pin::pin!(tokio::time::sleep(patience));
        let mut is_over = false;
        loop {
            let (position, names) = self.news_after(after).await?;
            if !names.is_empty() || is_over || patience.is_zero() {
                return Ok((position, names));
            }
            tokio::select! {
                // The sender is here and lives as long as this future.
                _ = told.changed() => {}
                () = &mut end => is_over = true,
            }
        }
    }

    async fn load_target(
        &self,
        name: &str,
        known: Option<u64>,
        keys: &[String],
    ) -> Result<Loaded, StoreError> {
        work!(self, read, commit::load_target(&self.replays, name, known, keys))
    }

    async fn prune(&self, retention: Retention, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        work!(self, write, prune::prune(retention, now, limit))
    }
}

#[async_trait]
impl Queries for SqliteStore {
    async fn rollout(&self, id: &RolloutId) -> Result<Rollout, StoreError> {
        work!(self, read, rollouts::get(&self.replays, id))
    }

    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<Rollout>, StoreError> {
        work!(self, read, rollouts::list(&self.replays, filter))
    }

    async fn events(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        work!(self, read, history::events(id, after, limit))
    }

    async fn events_since(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RolloutId, EventRecord)>, StoreError> {
        work!(self, read, history::events_since(position, limit))
    }

    async fn newest_position(&self) -> Result<u64, StoreError> {
        work!(self, read, history::newest_position())
    }

    async fn observations(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(TickObservation, Assessment)>, StoreError> {
        work!(self, read, judged::observations(&self.replays, id, after, limit))
    }
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn outbox_due(
        &self,
        now: Timestamp,
        limit: usize,
        without: &[String],
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let (due, unreadable) = work!(self, read, outbox::due(now, limit, without))?;
        self.bury(&unreadable).await;
        Ok(due)
    }

    async fn outbox_group(
        &self,
        queue: &str,
        due: Timestamp,
        limit: usize,
    ) -> Result<OutboxGroup, StoreError> {
        let (group, unreadable) = work!(self, read, outbox::group(queue, due, limit))?;
        self.bury(&unreadable).await;
        Ok(group)
    }

    async fn outbox_settle(&self, id: i64, delivery: &Delivery) -> Result<(), StoreError> {
        work!(self, write, outbox::settle(id, delivery))
    }

    async fn outbox_settle_group(
        &self,
        queue: &str,
        due: Timestamp,
        last: i64,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        work!(self, write, outbox::settle_group(queue, due, last, delivery))
    }

    async fn outbox_begin(&self, id: i64) -> Result<(), StoreError> {
        work!(self, write, outbox::begin(id))
    }

    async fn outbox_list(&self, filter: OutboxFilter) -> Result<Vec<OutboxRecord>, StoreError> {
        work!(self, read, outbox::list(filter))
    }

    async fn outbox_requeue(&self, id: i64, now: Timestamp) -> Result<OutboxRecord, StoreError> {
        work!(self, write, outbox::requeue(id, now))
    }

    async fn outbox_counts(&self, now: Timestamp) -> Result<OutboxCounts, StoreError> {
        work!(self, read, outbox::counts(now))
    }
}

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        work!(self, write, access::create_token(token))
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        work!(self, read, access::tokens())
    }

    async fn token(&self, hash: &TokenHash) -> Result<TokenRecord, StoreError> {
        work!(self, read, access::token(hash))
    }

    async fn revoke_token(&self, name: &str, at: Timestamp) -> Result<TokenRecord, StoreError> {
        work!(self, write, access::revoke_token(name, at))
    }

    async fn add_audit(&self, record: &AuditRecord) -> Result<(), StoreError> {
        work!(self, write, access::add_audit(record))
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        work!(self, read, access::audit(before, limit))
    }
}

#[async_trait]
impl Declarations for SqliteStore {
    async fn put_declaration(&self, declaration: &StoredDeclaration) -> Result<(), StoreError> {
        work!(self, write, declarations::put(declaration))
    }

    async fn delete_declaration(&self, kind: DeclarationKind, name: &str) -> Result<(), StoreError> {
        work!(self, write, declarations::delete(kind, name))
    }

    async fn declarations(&self) -> Result<Vec<StoredDeclaration>, StoreError> {
        work!(self, read, declarations::list())
    }
}

#[async_trait]
impl Signals for SqliteStore {
    async fn put_freeze(&self, freeze: &Freeze) -> Result<(), StoreError> {
        let put = work!(self, write, freezes::put(freeze, self.database.number));
        self.tell(put)
    }

    async fn freezes(&self, open: bool, limit: usize) -> Result<Vec<Freeze>, StoreError> {
        work!(self, read, freezes::list(open, limit))
    }

    async fn receive_alerts(&self, target: &str, alerts: &[Alert]) -> Result<(), StoreError> {
        work!(self, write, alerts::receive(target, alerts))
    }

    async fn alerts(&self, target: &str) -> Result<Vec<AlertRecord>, StoreError> {
        work!(self, read, alerts::list(target))
    }
}

#[async_trait]
impl ChannelMemory for SqliteStore {
    async fn recall(&self, channel: &str, key: &str) -> Result<Option<String>, StoreError> {
        work!(self, read, memory::recall(channel, key))
    }

    async fn remember(&self, channel: &str, key: &str, value: &str, at: Timestamp) -> Result<(), StoreError> {
        work!(self, write, memory::remember(channel, key, value, at))
    }
}
