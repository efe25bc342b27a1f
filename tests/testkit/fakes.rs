//! The store in memory: the same semantics as a real one, cheap enough for thousands of simulated
//! rollouts. It outlives the engine that uses it, as a database outlives a killed process.

mod accounts;
pub mod data;
pub mod notifiers;
mod outbox;
mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serin::core::ids::RolloutId;
use serin::core::judge::Assessment;
use serin::core::metric::TickObservation;
use serin::core::rollout::{Command, CommandKind, EventRecord, Force, Giver, Phase, Rollout};
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{
    ChannelMemory, Commit, Commits, InboxEntry, LATELY, Loaded, Position, Queries, Retention, RolloutFilter,
    StoreError, StoredRollout,
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
impl Commits for MemoryStore {
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
        let mut end = std::pin::pin!(tokio::time::sleep(patience));
        let mut is_over = false;
        loop {
            let (position, names) = self.read(|data| Ok(data.news(after.0))).await?;
            if !names.is_empty() || is_over || patience.is_zero() {
                return Ok((Position(position), names));
            }
            tokio::select! {
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
        self.read(|data| {
            let target = data.target(name)?.clone();
            let is_known = known == Some(target.revision);
            let rollout = || target.active.as_ref().map(|id| data.load(id)).transpose();
            let rollout = if is_known { None } else { Some(rollout()?) };
            let of_it = |entry: &&InboxEntry| {
                let rollout = data.rollouts.get(&entry.rollout);
                entry.result.is_none() && rollout.is_some_and(|data| data.rollout.target == name)
            };
            let waits = |rollout: &&Rollout| rollout.phase == Phase::Scheduled;
            let inbox: Vec<InboxEntry> = data.inbox.values().filter(of_it).cloned().collect();
            let ended = data.rollouts.values().rev().map(|data| &data.rollout);
            let ended = ended.filter(|rollout| rollout.target == name && rollout.phase.is_terminal());
            let is_named = |rollout: &Rollout| inbox.iter().any(|entry| entry.rollout == rollout.id);
            let ended = ended.enumerate().filter(|(place, rollout)| *place < LATELY || is_named(rollout));
            let done = |key: &String| Some((key.clone(), data.command(key)?.result.clone()?));
            Ok(Loaded {
                rollout,
                scheduled: data.open(name).filter(waits).cloned().collect(),
                ended: ended.map(|(_, rollout)| rollout.clone()).collect(),
                done: keys.iter().filter_map(done).collect(),
                inbox,
                target,
            })
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
impl Queries for MemoryStore {
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
