//! The store of a process: the one that outlives it, with faults, with the process's death at every call,
//! and with an eye on every commit.

use std::time::Duration;

use async_trait::async_trait;
use serin::core::access::{AuditRecord, TokenHash, TokenRecord};
use serin::core::alert::{Alert, AlertRecord};
use serin::core::declaration::{DeclarationKind, StoredDeclaration};
use serin::core::freeze::Freeze;
use serin::core::ids::RolloutId;
use serin::core::judge::Assessment;
use serin::core::metric::TickObservation;
use serin::core::rollout::{Command, EventRecord, Rollout};
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{
    Accounts, Commit, Commits, Declarations, Delivery, InboxEntry, Loaded, Outbox, OutboxCounts, OutboxEntry,
    OutboxFilter, OutboxGroup, OutboxRecord, Position, Queries, Retention, RolloutFilter, Signals,
    StoreError, StoredRollout,
};

use crate::faults::FaultKind;
use crate::invariants::{self, Before};
use crate::life::Life;
use crate::testkit::fakes::MemoryStore;
use crate::world::Shared;

pub struct WatchedStore {
    pub world: Shared,
    pub life: Life,
    pub inner: MemoryStore,
}

impl WatchedStore {
    /// One call: the process may die before and after it; the store may fail, and may lose the answer of
    /// what it has written.
    async fn call<T>(
        &self,
        place: &str,
        writes: bool,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.life.step(&format!("store.{place} before")).await;
        // What Serin looks at to know whether it has a store.
        let telling = ["commit", "ping", "targets", "target", "own_targets", "load", "load_target", "news"]
            .contains(&place);
        self.world.take_time().await;
        self.world.sit_out(FaultKind::StoreHangs, "", None).await;
        if self.world.lock().has(FaultKind::StoreFails, "") {
            self.world.lock().ledger.store_known_broken |= telling;
            return Err(StoreError::Unavailable("the disk is full".to_owned()));
        }
        let result = work.await;
        let lost = writes && self.world.lock().has(FaultKind::StoreLosesAnswers, "");
        if writes {
            self.world.take_time().await;
            self.world.sit_out(FaultKind::StoreSilent, "", None).await;
        }
        if telling {
            self.world.lock().ledger.store_known_broken = lost;
        }
        self.life.step(&format!("store.{place} after")).await;
        if lost { Err(StoreError::Unavailable("the connection broke".to_owned())) } else { result }
    }

    async fn watched_commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let before = self.before(commit);
        self.inner.commit(commit).await?;
        invariants::committed(&mut self.world.lock(), &before, commit);
        Ok(())
    }

    /// What the commit changes, as it stands.
    fn before(&self, commit: &Commit) -> Before {
        self.inner.inspect(|data| Before {
            target: commit.target.as_ref().and_then(|target| data.targets.get(&target.name).cloned()),
            rollout: commit
                .rollout
                .as_ref()
                .and_then(|rollout| data.rollouts.get(&rollout.id).map(|data| data.rollout.clone())),
            commands: commit
                .commands
                .iter()
                .filter_map(|(key, _)| data.inbox.values().find(|entry| entry.command.key == *key).cloned())
                .collect(),
            commanded: commit
                .commands
                .iter()
                .filter_map(|(key, _)| data.inbox.values().find(|entry| entry.command.key == *key))
                .filter_map(|entry| Some(data.rollouts.get(&entry.rollout)?.rollout.target.clone()))
                .collect(),
            active_of: commit
                .target
                .as_ref()
                .and_then(|target| Some(data.rollouts.get(target.active.as_ref()?)?.rollout.target.clone())),
            open: commit.target.as_ref().map_or_else(Vec::new, |target| {
                let open = data.rollouts.values().map(|data| &data.rollout);
                open.filter(|r| r.target == target.name && !r.phase.is_terminal())
                    .map(|r| (r.id.clone(), r.phase.name()))
                    .collect()
            }),
        })
    }
}

#[async_trait]
impl Commits for WatchedStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.call("ping", false, self.inner.ping()).await
    }

    async fn own_targets(&self, names: &[String]) -> Result<Vec<Target>, StoreError> {
        self.call("own_targets", true, self.inner.own_targets(names)).await
    }

    async fn target(&self, name: &str) -> Result<Target, StoreError> {
        self.call("target", false, self.inner.target(name)).await
    }

    async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        self.call("targets", false, self.inner.targets()).await
    }

    async fn create_rollout(
        &self,
        rollout: Rollout,
        first: EventRecord,
        key: Option<&str>,
        supersede: bool,
    ) -> Result<Rollout, StoreError> {
        self.call("create_rollout", true, self.inner.create_rollout(rollout, first, key, supersede)).await
    }

    async fn load(&self, id: &RolloutId) -> Result<StoredRollout, StoreError> {
        self.call("load", false, self.inner.load(id)).await
    }

    async fn scheduled(&self, target: &str) -> Result<Vec<RolloutId>, StoreError> {
        self.call("scheduled", false, self.inner.scheduled(target)).await
    }

    async fn enqueue(
        &self,
        rollout: &RolloutId,
        command: Command,
        at: Timestamp,
    ) -> Result<InboxEntry, StoreError> {
        self.call("enqueue", true, self.inner.enqueue(rollout, command, at)).await
    }

    async fn pending(&self, rollouts: &[RolloutId]) -> Result<Vec<InboxEntry>, StoreError> {
        self.call("pending", false, self.inner.pending(rollouts)).await
    }

    async fn command(&self, key: &str) -> Result<InboxEntry, StoreError> {
        self.call("command", false, self.inner.command(key)).await
    }

    async fn commit_all(&self, commits: &[Commit]) -> Vec<Result<(), StoreError>> {
        if let [only] = commits {
            return vec![self.call("commit", true, self.watched_commit(only)).await];
        }
        let all = async {
            let mut done = Vec::new();
            for commit in commits {
                done.push(self.watched_commit(commit).await);
            }
            Ok(done)
        };
        match self.call("commit", true, all).await {
            Ok(done) => done,
            Err(error) => commits.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Time stands still while Serin works: there is no patience to wait for.
    async fn news(
        &self,
        after: Position,
        _patience: Duration,
    ) -> Result<(Position, Vec<String>), StoreError> {
        self.call("news", false, self.inner.news(after, Duration::ZERO)).await
    }

    async fn load_target(
        &self,
        name: &str,
        known: Option<u64>,
        keys: &[String],
    ) -> Result<Loaded, StoreError> {
        self.call("load_target", false, self.inner.load_target(name, known, keys)).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.call("prune", true, self.inner.prune(retention, now, limit)).await
    }
}

#[async_trait]
impl Queries for WatchedStore {
    async fn rollout(&self, id: &RolloutId) -> Result<Rollout, StoreError> {
        self.call("rollout", false, self.inner.rollout(id)).await
    }

    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<Rollout>, StoreError> {
        self.call("rollouts", false, self.inner.rollouts(filter)).await
    }

    async fn events(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.call("events", false, self.inner.events(id, after, limit)).await
    }

    async fn events_since(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RolloutId, EventRecord)>, StoreError> {
        self.call("events_since", false, self.inner.events_since(position, limit)).await
    }

    async fn newest_position(&self) -> Result<u64, StoreError> {
        self.call("newest_position", false, self.inner.newest_position()).await
    }

    async fn observations(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(TickObservation, Assessment)>, StoreError> {
        self.call("observations", false, self.inner.observations(id, after, limit)).await
    }
}

#[async_trait]
impl Outbox for WatchedStore {
    async fn outbox_due(
        &self,
        now: Timestamp,
        limit: usize,
        without: &[String],
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        self.call("outbox_due", false, self.inner.outbox_due(now, limit, without)).await
    }

    async fn outbox_group(
        &self,
        queue: &str,
        due: Timestamp,
        limit: usize,
    ) -> Result<OutboxGroup, StoreError> {
        self.call("outbox_group", false, self.inner.outbox_group(queue, due, limit)).await
    }

    async fn outbox_settle(&self, id: i64, delivery: &Delivery) -> Result<(), StoreError> {
        self.call("outbox_settle", true, self.inner.outbox_settle(id, delivery)).await
    }

    async fn outbox_settle_group(
        &self,
        queue: &str,
        due: Timestamp,
        last: i64,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let settled = self.inner.outbox_settle_group(queue, due, last, delivery);
        self.call("outbox_settle_group", true, settled).await
    }

    async fn outbox_begin(&self, id: i64) -> Result<(), StoreError> {
        self.call("outbox_begin", true, self.inner.outbox_begin(id)).await
    }

    async fn outbox_list(&self, filter: OutboxFilter) -> Result<Vec<OutboxRecord>, StoreError> {
        self.call("outbox_list", false, self.inner.outbox_list(filter)).await
    }

    async fn outbox_requeue(&self, id: i64, now: Timestamp) -> Result<OutboxRecord, StoreError> {
        self.call("outbox_requeue", true, self.inner.outbox_requeue(id, now)).await
    }

    async fn outbox_counts(&self, now: Timestamp) -> Result<OutboxCounts, StoreError> {
        self.call("outbox_counts", false, self.inner.outbox_counts(now)).await
    }
}

#[async_trait]
impl Accounts for WatchedStore {
    async fn create_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.call("create_token", true, self.inner.create_token(token)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.call("tokens", false, self.inner.tokens()).await
    }

    async fn token(&self, hash: &TokenHash) -> Result<TokenRecord, StoreError> {
        self.call("token", false, self.inner.token(hash)).await
    }

    async fn revoke_token(&self, name: &str, at: Timestamp) -> Result<TokenRecord, StoreError> {
        self.call("revoke_token", true, self.inner.revoke_token(name, at)).await
    }

    async fn add_audit(&self, record: &AuditRecord) -> Result<(), StoreError> {
        self.call("add_audit", true, self.inner.add_audit(record)).await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        self.call("audit", false, self.inner.audit(before, limit)).await
    }
}

#[async_trait]
impl Declarations for WatchedStore {
    async fn put_declaration(&self, declaration: &StoredDeclaration) -> Result<(), StoreError> {
        self.call("put_declaration", true, self.inner.put_declaration(declaration)).await
    }

    async fn delete_declaration(&self, kind: DeclarationKind, name: &str) -> Result<(), StoreError> {
        self.call("delete_declaration", true, self.inner.delete_declaration(kind, name)).await
    }

    async fn declarations(&self) -> Result<Vec<StoredDeclaration>, StoreError> {
        self.call("declarations", false, self.inner.declarations()).await
    }
}

#[async_trait]
impl Signals for WatchedStore {
    async fn receive_alerts(&self, target: &str, alerts: &[Alert]) -> Result<(), StoreError> {
        self.call("receive_alerts", true, self.inner.receive_alerts(target, alerts)).await
    }

    async fn alerts(&self, target: &str) -> Result<Vec<AlertRecord>, StoreError> {
        self.call("alerts", false, self.inner.alerts(target)).await
    }

    async fn put_freeze(&self, freeze: &Freeze) -> Result<(), StoreError> {
        self.call("put_freeze", true, self.inner.put_freeze(freeze)).await
    }

    async fn freezes(&self, open: bool, limit: usize) -> Result<Vec<Freeze>, StoreError> {
        self.call("freezes", false, self.inner.freezes(open, limit)).await
    }
}
