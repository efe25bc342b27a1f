//! The store in memory: the same semantics as a real one, cheap enough for thousands of simulated
//! rollouts. It outlives the engine that uses it, as a database outlives a killed process.

pub mod data;
pub mod notifiers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serin::core::access::{AuditRecord, TokenHash, TokenRecord};
use serin::core::alert::{Alert, AlertRecord};
use serin::core::declaration::{DeclarationKind, StoredDeclaration};
use serin::core::freeze::Freeze;
use serin::core::judge::Assessment;
use serin::core::metric::TickObservation;
use serin::core::rollout::{Command, CommandKind, EventRecord, Force, Giver, Phase, Rollout, RolloutId};
use serin::core::routing::lane_of;
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{
    ChannelMemory, Commit, Delivery, InboxEntry, Loaded, OutboxCounts, OutboxEntry, OutboxFilter,
    OutboxGroup, OutboxRecord, OutboxState, Position, Retention, RolloutFilter, Store, StoreError,
    StoredRollout,
};
use tokio::sync::watch;

pub use self::data::Data;

/// A store in memory. Clones share what is stored.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    data: Mutex<Data>,
    broken: AtomicBool,
    stuck: AtomicBool,
    lose_next_answer: AtomicBool,
    asked_for_events: AtomicU64,
    asked_for_tokens: AtomicU64,
    largest_batch: AtomicU64,
    told: watch::Sender<u64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// While `true`, every method gives [`StoreError::Unavailable`] and changes nothing.
    pub fn set_broken(&self, broken: bool) {
        self.shared.broken.store(broken, Ordering::SeqCst);
    }

    /// Whether it is broken now.
    pub fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::SeqCst)
    }

    /// While `true`, no method gives an answer.
    pub fn set_stuck(&self, stuck: bool) {
        self.shared.stuck.store(stuck, Ordering::SeqCst);
    }

    /// How often log lines were asked for.
    pub fn asked_for_events(&self) -> u64 {
        self.shared.asked_for_events.load(Ordering::SeqCst)
    }

    /// How often it was asked whose token that is.
    pub fn asked_for_tokens(&self) -> u64 {
        self.shared.asked_for_tokens.load(Ordering::SeqCst)
    }

    /// The most outbox entries that were handed out by one call.
    pub fn largest_batch(&self) -> u64 {
        self.shared.largest_batch.load(Ordering::SeqCst)
    }

    fn handed_out(&self, entries: usize) {
        self.shared.largest_batch.fetch_max(entries as u64, Ordering::SeqCst);
    }

    /// The next write that succeeds is kept, but its caller is told [`StoreError::Unavailable`], as after
    /// a connection that broke between the commit and its answer.
    pub fn lose_next_answer(&self) {
        self.shared.lose_next_answer.store(true, Ordering::SeqCst);
    }

    /// Looks at everything that is stored, without a copy.
    pub fn inspect<R>(&self, look: impl FnOnce(&Data) -> R) -> R {
        look(&self.lock())
    }

    /// Changes what is stored by hand, past all rules.
    pub fn change<R>(&self, change: impl FnOnce(&mut Data) -> R) -> R {
        change(&mut self.lock())
    }

    /// A copy of everything that is stored.
    pub fn data(&self) -> Data {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.shared.data.lock().expect("no test panics while it holds the store")
    }

    async fn usable(&self) -> Result<(), StoreError> {
        if self.shared.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match self.is_broken() {
            true => Err(StoreError::Unavailable("the store was broken by the test".to_owned())),
            false => Ok(()),
        }
    }

    async fn read<R>(&self, look: impl FnOnce(&Data) -> Result<R, StoreError>) -> Result<R, StoreError> {
        self.usable().await?;
        look(&self.lock())
    }

    /// `change` must change nothing if it fails.
    async fn write<R>(
        &self,
        change: impl FnOnce(&mut Data) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.usable().await?;
        let mut data = self.lock();
        let done = change(&mut data)?;
        data.writes += 1;
        self.shared.told.send_if_modified(|told| std::mem::replace(told, data.position) != data.position);
        if self.shared.lose_next_answer.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the answer was lost by the test".to_owned()));
        }
        Ok(done)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|_| Ok(())).await
    }

    async fn own_targets(&self, names: &[String]) -> Result<Vec<Target>, StoreError> {
        self.write(|data| {
            let mut owned: Vec<Target> = Vec::new();
            for name in names {
                if owned.iter().any(|target| target.name == *name) {
                    continue;
                }
                let target = data.targets.entry(name.clone()).or_insert_with(|| Target::new(name));
                target.epoch += 1;
                owned.push(target.clone());
            }
            Ok(owned)
        })
        .await
    }

    async fn target(&self, name: &str) -> Result<Target, StoreError> {
        self.read(|data| data.target(name).cloned()).await
    }

    async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        self.read(|data| Ok(data.targets.values().cloned().collect())).await
    }

    async fn create_rollout(
        &self,
        mut rollout: Rollout,
        first: EventRecord,
        key: Option<&str>,
        supersede: bool,
    ) -> Result<Rollout, StoreError> {
        self.write(|data| {
            let made = data.rollouts.values().find(|made| key.is_some() && made.key.as_deref() == key);
            if let Some(made) = made {
                return Ok(made.rollout.clone());
            }
            let active = data.target(&rollout.target)?.active.clone();
            if rollout.not_before.is_some() && !data.rollouts.contains_key(&rollout.id) {
                data.insert(rollout.clone(), first, key);
                data.tell(&rollout.target);
                return Ok(rollout);
            }
            if let Some(active) = &active
                && !supersede
            {
                return Err(StoreError::Occupied { target: rollout.target.clone(), active: active.clone() });
            }
            if data.rollouts.contains_key(&rollout.id) {
                return Err(StoreError::Conflict(format!("rollout {}", rollout.id)));
            }
            if active.is_none() {
                data.check_occupation(&rollout)?;
            }
            if active.is_some() {
                let older: Vec<_> = data.open(&rollout.target).map(|rollout| rollout.id.clone()).collect();
                rollout.phase = Phase::Scheduled;
                rollout.plan_mut().supersedes = active;
                for id in older {
                    let command = Command {
                        key: format!("supersede/{}/{id}", rollout.id),
                        by: rollout.created_by.clone(),
                        reason: Some(format!("version {} is to be released instead", rollout.version)),
                        expected_revision: None,
                        kind: CommandKind::Supersede { by: rollout.id.clone() },
                        giver: Giver::Program,
                        force: Force::default(),
                    };
                    data.enqueue(&id, command, rollout.created_at);
                }
            } else if let Some(target) = data.targets.get_mut(&rollout.target) {
                target.active = Some(rollout.id.clone());
                target.revision += 1;
            }
            data.insert(rollout.clone(), first, key);
            data.tell(&rollout.target);
            Ok(rollout)
        })
        .await
    }

    async fn rollout(&self, id: &RolloutId) -> Result<Rollout, StoreError> {
        self.read(|data| Ok(data.rollout(id)?.rollout.clone())).await
    }

    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<Rollout>, StoreError> {
        self.read(|data| {
            let newest_first = data.rollouts.values().rev().map(|data| &data.rollout);
            Ok(newest_first
                .filter(|rollout| filter.target.as_ref().is_none_or(|target| rollout.target == *target))
                .filter(|rollout| {
                    filter.targets.as_ref().is_none_or(|targets| targets.contains(&rollout.target))
                })
                .filter(|rollout| filter.phase.as_ref().is_none_or(|phase| rollout.phase.name() == phase))
                .filter(|rollout| filter.active.is_none_or(|active| rollout.phase.is_terminal() != active))
                .filter(|rollout| filter.policy.as_ref().is_none_or(|name| rollout.policy.name == *name))
                .filter(|rollout| {
                    filter.since.is_none_or(|since| rollout.ended_at.is_none_or(|at| at >= since))
                })
                .filter(|rollout| filter.until.is_none_or(|until| rollout.created_at <= until))
                .filter(|rollout| filter.before.as_ref().is_none_or(|before| rollout.id < *before))
                .take(filter.limit)
                .cloned()
                .collect())
        })
        .await
    }

    async fn load(&self, id: &RolloutId) -> Result<StoredRollout, StoreError> {
        self.read(|data| data.load(id)).await
    }

    async fn scheduled(&self, target: &str) -> Result<Vec<RolloutId>, StoreError> {
        self.read(|data| {
            let scheduled = data.open(target).filter(|rollout| rollout.phase == Phase::Scheduled);
            Ok(scheduled.map(|rollout| rollout.id.clone()).collect())
        })
        .await
    }

    async fn enqueue(
        &self,
        rollout: &RolloutId,
        command: Command,
        at: Timestamp,
    ) -> Result<InboxEntry, StoreError> {
        self.write(|data| {
            if let Some(entry) = data.command(&command.key) {
                return Ok(entry.clone());
            }
            let target = data.rollout(rollout)?.rollout.target.clone();
            data.tell(&target);
            Ok(data.enqueue(rollout, command, at))
        })
        .await
    }

    async fn pending(&self, rollouts: &[RolloutId]) -> Result<Vec<InboxEntry>, StoreError> {
        self.read(|data| {
            let asked: BTreeSet<_> = rollouts.iter().collect();
            let numbers: BTreeSet<u64> =
                asked.into_iter().filter_map(|id| data.pending_commands.get(id)).flatten().copied().collect();
            Ok(numbers.iter().filter_map(|number| data.inbox.get(number).cloned()).collect())
        })
        .await
    }

    async fn command(&self, key: &str) -> Result<InboxEntry, StoreError> {
        self.read(|data| {
            data.command(key).cloned().ok_or_else(|| StoreError::NotFound(format!("command {key}")))
        })
        .await
    }

    async fn commit_all(&self, commits: &[Commit]) -> Vec<Result<(), StoreError>> {
        if let [only] = commits {
            return vec![self.write(|data| data.commit(only)).await];
        }
        let all = self.write(|data| Ok(commits.iter().map(|commit| data.commit(commit)).collect()));
        match all.await {
            Ok(done) => done,
            Err(error) => commits.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn news(&self, after: Position, patience: Duration) -> Result<(Position, Vec<String>), StoreError> {
        let mut told = self.shared.told.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(patience));
        let mut is_over = false;
        loop {
            let (position, names) = self.read(|data| Ok(data.news(after.0))).await?;
            if !names.is_empty() || is_over {
                return Ok((Position(position), names));
            }
            tokio::select! {
                _ = told.changed() => {}
                () = &mut patience => is_over = true,
            }
        }
    }

    async fn load_target(&self, name: &str) -> Result<Loaded, StoreError> {
        self.read(|data| {
            let target = data.target(name)?.clone();
            let rollout = target.active.as_ref().map(|id| data.load(id)).transpose()?;
            let of_it = |entry: &&InboxEntry| {
                let rollout = data.rollouts.get(&entry.rollout);
                entry.result.is_none() && rollout.is_some_and(|data| data.rollout.target == name)
            };
            let waits = |rollout: &&Rollout| rollout.phase == Phase::Scheduled;
            Ok(Loaded {
                rollout,
                inbox: data.inbox.values().filter(of_it).cloned().collect(),
                scheduled: data.open(name).filter(waits).cloned().collect(),
                target,
            })
        })
        .await
    }

    async fn events(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.shared.asked_for_events.fetch_add(1, Ordering::SeqCst);
        self.read(|data| {
            let Some(data) = data.rollouts.get(id) else { return Ok(Vec::new()) };
            Ok(after_key(&data.events, after).take(limit).cloned().collect())
        })
        .await
    }

    async fn events_since(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RolloutId, EventRecord)>, StoreError> {
        self.read(|data| {
            let lines = data.log.range(position.saturating_add(1)..);
            let line = |(position, (id, seq)): (&u64, &(RolloutId, u64))| {
                let event = data.rollouts.get(id)?.events.get(seq)?;
                Some((*position, id.clone(), event.clone()))
            };
            Ok(lines.filter_map(line).take(limit).collect())
        })
        .await
    }

    async fn newest_position(&self) -> Result<u64, StoreError> {
        self.read(|data| Ok(data.log.last_key_value().map_or(0, |(position, _)| *position))).await
    }

    async fn observations(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(TickObservation, Assessment)>, StoreError> {
        self.read(|data| {
            let Some(data) = data.rollouts.get(id) else { return Ok(Vec::new()) };
            Ok(after_key(&data.observations, after).take(limit).cloned().collect())
        })
        .await
    }

    async fn receive_alerts(&self, target: &str, alerts: &[Alert]) -> Result<(), StoreError> {
        self.write(|data| {
            for alert in alerts {
                data.receive_alert(target, alert);
            }
            Ok(())
        })
        .await
    }

    async fn alerts(&self, target: &str) -> Result<Vec<AlertRecord>, StoreError> {
        self.read(|data| Ok(data.alerts_of(target))).await
    }

    async fn outbox_due(
        &self,
        now: Timestamp,
        limit: usize,
        without: &[String],
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        self.read(|data| {
            let due = |(_, ids): (&String, &BTreeSet<i64>)| {
                ids.iter()
                    .take(limit)
                    .filter_map(|id| data.outbox.get(id))
                    .map(|data| data.entry.clone())
                    .take_while(|entry| entry.due <= now)
                    .collect::<Vec<_>>()
            };
            let queues = data.pending_notices.iter();
            let queues = queues.filter(|(queue, _)| !without.iter().any(|busy| busy == lane_of(queue)));
            let entries: Vec<_> = queues.flat_map(due).collect();
            self.handed_out(entries.len());
            Ok(entries)
        })
        .await
    }

    async fn outbox_group(
        &self,
        queue: &str,
        due: Timestamp,
        limit: usize,
    ) -> Result<OutboxGroup, StoreError> {
        self.read(|data| {
            let ids = data.pending_notices.get(queue).into_iter().flatten();
            let all: Vec<&OutboxEntry> = ids
                .filter_map(|id| data.outbox.get(id))
                .map(|data| &data.entry)
                .filter(|entry| entry.due == due)
                .collect();
            self.handed_out(all.len().min(limit));
            Ok(OutboxGroup {
                first: all.first().map_or(0, |entry| entry.id),
                count: all.len() as u64,
                newest: all[all.len().saturating_sub(limit)..].iter().map(|entry| (*entry).clone()).collect(),
            })
        })
        .await
    }

    async fn outbox_settle(&self, id: i64, delivery: &Delivery) -> Result<(), StoreError> {
        self.write(|data| {
            if !data.outbox.contains_key(&id) {
                return Err(StoreError::NotFound(format!("outbox entry {id}")));
            }
            data.settle(id, delivery);
            Ok(())
        })
        .await
    }

    async fn outbox_settle_group(
        &self,
        queue: &str,
        due: Timestamp,
        last: i64,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        self.write(|data| {
            let ids: Vec<i64> = data.pending_notices.get(queue).into_iter().flatten().copied().collect();
            for id in ids.into_iter().filter(|id| *id <= last) {
                if data.outbox.get(&id).is_some_and(|data| data.entry.due == due) {
                    data.settle(id, delivery);
                }
            }
            Ok(())
        })
        .await
    }

    async fn outbox_begin(&self, id: i64) -> Result<(), StoreError> {
        self.write(|data| data.change_state(id, OutboxState::Pending, OutboxState::Running).map(|_| ())).await
    }

    async fn outbox_list(&self, filter: OutboxFilter) -> Result<Vec<OutboxRecord>, StoreError> {
        self.read(|data| {
            let after = data.outbox.range(filter.after.map_or(0, |after| after + 1)..);
            let found = after.filter(|(_, data)| data.state == filter.state).take(filter.limit);
            Ok(found.map(|(_, data)| data.record()).collect())
        })
        .await
    }

    async fn outbox_requeue(&self, id: i64, now: Timestamp) -> Result<OutboxRecord, StoreError> {
        self.write(|data| {
            let entry = data.change_state(id, OutboxState::Dead, OutboxState::Pending)?;
            entry.entry.attempts = 0;
            (entry.entry.due, entry.entry.since) = (Timestamp(0), now);
            Ok(entry.record())
        })
        .await
    }

    async fn outbox_counts(&self, now: Timestamp) -> Result<OutboxCounts, StoreError> {
        self.read(|data| {
            let mut counts = OutboxCounts::default();
            for data in data.outbox.values() {
                let waits = data.entry.due > now && data.entry.attempts == 0;
                match data.state {
                    OutboxState::Done => {}
                    OutboxState::Dead => counts.dead += 1,
                    OutboxState::Running => counts.pending += 1,
                    OutboxState::Pending if waits => counts.waiting += 1,
                    OutboxState::Pending => {
                        counts.pending += 1;
                        let since = data.entry.since;
                        counts.oldest = Some(counts.oldest.map_or(since, |oldest| oldest.min(since)));
                    }
                }
            }
            Ok(counts)
        })
        .await
    }

    async fn create_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.write(|data| {
            let same = |other: &TokenRecord| {
                other.hash == token.hash || (other.name == token.name && other.revoked_at.is_none())
            };
            if data.tokens.iter().any(same) {
                return Err(StoreError::Conflict(format!("token {}", token.name)));
            }
            data.tokens.push(token.clone());
            Ok(())
        })
        .await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(|data| {
            let mut tokens = data.tokens.clone();
            tokens.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(tokens)
        })
        .await
    }

    async fn token(&self, hash: &TokenHash) -> Result<TokenRecord, StoreError> {
        self.shared.asked_for_tokens.fetch_add(1, Ordering::SeqCst);
        self.read(|data| {
            let token = data.tokens.iter().find(|token| token.hash == *hash).cloned();
            token.ok_or_else(|| StoreError::NotFound("this token".to_owned()))
        })
        .await
    }

    async fn revoke_token(&self, name: &str, at: Timestamp) -> Result<TokenRecord, StoreError> {
        self.write(|data| {
            let token = data.tokens.iter_mut().find(|token| token.name == name && token.revoked_at.is_none());
            let token = token.ok_or_else(|| StoreError::NotFound(format!("token {name}")))?;
            token.revoked_at = Some(at);
            Ok(token.clone())
        })
        .await
    }

    async fn put_freeze(&self, freeze: &Freeze) -> Result<(), StoreError> {
        self.write(|data| {
            data.freezes.insert(freeze.id.clone(), freeze.clone());
            for target in data.targets.keys().cloned().collect::<Vec<_>>() {
                data.tell(&target);
            }
            Ok(())
        })
        .await
    }

    async fn freezes(&self, open: bool, limit: usize) -> Result<Vec<Freeze>, StoreError> {
        self.read(|data| {
            let mut found: Vec<Freeze> =
                data.freezes.values().filter(|freeze| !open || freeze.ended.is_none()).cloned().collect();
            found.sort_by_key(|freeze| std::cmp::Reverse(freeze.from));
            found.truncate(limit);
            Ok(found)
        })
        .await
    }

    async fn put_declaration(&self, declaration: &StoredDeclaration) -> Result<(), StoreError> {
        self.write(|data| {
            let key = (declaration.kind, declaration.name.clone());
            data.declarations.insert(key, declaration.clone());
            Ok(())
        })
        .await
    }

    async fn delete_declaration(&self, kind: DeclarationKind, name: &str) -> Result<(), StoreError> {
        self.write(|data| {
            let gone = data.declarations.remove(&(kind, name.to_owned()));
            gone.map(|_| ()).ok_or_else(|| StoreError::NotFound(format!("the declaration of {name}")))
        })
        .await
    }

    async fn declarations(&self) -> Result<Vec<StoredDeclaration>, StoreError> {
        self.read(|data| Ok(data.declarations.values().cloned().collect())).await
    }

    async fn add_audit(&self, record: &AuditRecord) -> Result<(), StoreError> {
        self.write(|data| {
            let number = data.audit.last_key_value().map_or(1, |(number, _)| number + 1);
            data.audit.insert(number, record.clone());
            Ok(())
        })
        .await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        self.read(|data| {
            let lines = data.audit.range(..before.unwrap_or(u64::MAX)).rev().take(limit);
            Ok(lines.map(|(number, record)| (*number, record.clone())).collect())
        })
        .await
    }

    async fn prune(&self, retention: Retention, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.write(|data| {
            data.audit.retain(|_, record| record.at >= now.minus(retention.rollouts));
            data.channel_memory.retain(|_, (_, at)| *at >= now.minus(retention.rollouts));
            let mut removable = data.ended_before(now.minus(retention.rollouts));
            removable.retain(|id| !data.has_pending_notice(id));
            removable.truncate(limit);
            removable.iter().for_each(|id| data.remove(id));
            let mut slimmable = data.ended_before(now.minus(retention.observations));
            slimmable.retain(|id| data.rollouts.get(id).is_some_and(|data| !data.slim));
            slimmable.truncate(limit - removable.len());
            for id in &slimmable {
                if let Some(data) = data.rollouts.get_mut(id) {
                    data.observations.clear();
                    data.snapshots.clear();
                    data.cursors.clear();
                    data.slim = true;
                }
            }
            Ok((removable.len() + slimmable.len()) as u64)
        })
        .await
    }
}

#[async_trait]
impl ChannelMemory for MemoryStore {
    async fn recall(&self, channel: &str, key: &str) -> Result<Option<String>, StoreError> {
        let key = (channel.to_owned(), key.to_owned());
        self.read(|data| Ok(data.channel_memory.get(&key).map(|(value, _)| value.clone()))).await
    }

    async fn remember(&self, channel: &str, key: &str, value: &str, at: Timestamp) -> Result<(), StoreError> {
        self.write(|data| {
            data.channel_memory.insert((channel.to_owned(), key.to_owned()), (value.to_owned(), at));
            Ok(())
        })
        .await
    }
}

/// The values of a map whose keys are greater than `after`, in order.
fn after_key<V>(map: &BTreeMap<u64, V>, after: u64) -> impl Iterator<Item = &V> {
    use std::ops::Bound::{Excluded, Unbounded};
    map.range((Excluded(after), Unbounded)).map(|(_, value)| value)
}
