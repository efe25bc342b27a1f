//! The store in memory: the same semantics as a real one, cheap enough for thousands of simulated
//! rollouts. It outlives the engine that uses it, as a database outlives a killed process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use serin::core::judge::{Assessment, JudgeState};
use serin::core::metric::{MetricCursor, TickObservation};
use serin::core::rollout::{Command, CommandKind, EventRecord, Notice, Phase, Rollout, RolloutId};
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{
    Commit, Delivery, InboxEntry, OutboxEntry, Retention, RolloutFilter, Store, StoreError, StoredRollout,
};

/// Snapshots of the evidence that are kept of a rollout.
const SNAPSHOTS: usize = 2;

/// A store in memory. Clones share what is stored.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    data: Mutex<Data>,
    broken: AtomicBool,
    lose_next_answer: AtomicBool,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// By name.
    pub targets: BTreeMap<String, Target>,
    /// By id.
    pub rollouts: BTreeMap<RolloutId, RolloutData>,
    /// In the order of arrival; removed ones leave no gap in the keys.
    pub inbox: BTreeMap<u64, InboxEntry>,
    /// In the order of arrival.
    pub outbox: BTreeMap<i64, OutboxData>,
    /// Successful writes since the beginning, of all kinds.
    pub writes: u64,
    command_numbers: BTreeMap<String, u64>,
    pending_commands: BTreeMap<RolloutId, BTreeSet<u64>>,
    notice_keys: BTreeSet<(String, String)>,
    pending_notices: BTreeMap<String, BTreeSet<i64>>,
    next_command: u64,
    next_notice: i64,
}

/// A rollout with all that belongs to it.
#[derive(Clone, Debug)]
pub struct RolloutData {
    pub rollout: Rollout,
    pub key: Option<String>,
    pub cursors: BTreeMap<String, MetricCursor>,
    pub snapshots: BTreeMap<u64, JudgeState>,
    pub observations: BTreeMap<u64, (TickObservation, Assessment)>,
    pub events: BTreeMap<u64, EventRecord>,
    slim: bool,
}

/// A notice in the outbox.
#[derive(Clone, Debug)]
pub struct OutboxData {
    pub entry: OutboxEntry,
    pub state: OutboxState,
    /// What came back last.
    pub detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    Pending,
    Done,
    Dead,
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

    /// The next write that succeeds is kept, but its caller is told [`StoreError::Unavailable`], as after
    /// a connection that broke between the commit and its answer.
    pub fn lose_next_answer(&self) {
        self.shared.lose_next_answer.store(true, Ordering::SeqCst);
    }

    /// Looks at everything that is stored, without a copy.
    pub fn inspect<R>(&self, look: impl FnOnce(&Data) -> R) -> R {
        look(&self.lock())
    }

    /// A copy of everything that is stored.
    pub fn data(&self) -> Data {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.shared.data.lock().expect("no test panics while it holds the store")
    }

    fn read<R>(&self, look: impl FnOnce(&Data) -> Result<R, StoreError>) -> Result<R, StoreError> {
        if self.is_broken() {
            return Err(StoreError::Unavailable("the store was broken by the test".to_owned()));
        }
        look(&self.lock())
    }

    /// `change` must change nothing if it fails.
    fn write<R>(&self, change: impl FnOnce(&mut Data) -> Result<R, StoreError>) -> Result<R, StoreError> {
        if self.is_broken() {
            return Err(StoreError::Unavailable("the store was broken by the test".to_owned()));
        }
        let mut data = self.lock();
        let done = change(&mut data)?;
        data.writes += 1;
        if self.shared.lose_next_answer.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the answer was lost by the test".to_owned()));
        }
        Ok(done)
    }
}

impl Data {
    /// One rollout.
    pub fn rollout(&self, id: &RolloutId) -> Result<&RolloutData, StoreError> {
        self.rollouts.get(id).ok_or_else(|| StoreError::NotFound(format!("rollout {id}")))
    }

    fn target(&self, name: &str) -> Result<&Target, StoreError> {
        self.targets.get(name).ok_or_else(|| StoreError::NotFound(format!("target {name}")))
    }

    /// Rollouts of the target that are not at an end, oldest first.
    fn open<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Rollout> {
        self.rollouts
            .values()
            .map(|data| &data.rollout)
            .filter(move |rollout| rollout.target == target && !rollout.phase.is_terminal())
    }

    fn enqueue(&mut self, rollout: &RolloutId, command: Command, at: Timestamp) -> InboxEntry {
        let number = self.next_command;
        self.next_command += 1;
        self.command_numbers.insert(command.key.clone(), number);
        self.pending_commands.entry(rollout.clone()).or_default().insert(number);
        let entry = InboxEntry { rollout: rollout.clone(), at, command, result: None };
        self.inbox.insert(number, entry.clone());
        entry
    }

    fn command(&self, key: &str) -> Option<&InboxEntry> {
        self.inbox.get(self.command_numbers.get(key)?)
    }

    fn insert(&mut self, rollout: Rollout, first: EventRecord, key: Option<&str>) {
        let data = RolloutData {
            key: key.map(str::to_owned),
            cursors: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            observations: BTreeMap::new(),
            events: BTreeMap::from([(first.seq, first)]),
            slim: false,
            rollout,
        };
        self.rollouts.insert(data.rollout.id.clone(), data);
    }

    fn notify(&mut self, channel: &str, notice: &Notice) {
        if !self.notice_keys.insert((channel.to_owned(), notice.key.clone())) {
            return;
        }
        self.next_notice += 1;
        let id = self.next_notice;
        let entry = OutboxEntry {
            id,
            channel: channel.to_owned(),
            notice: notice.clone(),
            attempts: 0,
            due: Timestamp(0),
        };
        self.outbox.insert(id, OutboxData { entry, state: OutboxState::Pending, detail: None });
        self.pending_notices.entry(channel.to_owned()).or_default().insert(id);
    }

    fn has_pending_notice(&self, rollout: &RolloutId) -> bool {
        self.pending_notices
            .values()
            .flatten()
            .any(|id| self.outbox.get(id).is_some_and(|data| data.entry.notice.rollout == rollout.0))
    }

    /// Every reason to refuse a commit, before anything is changed.
    fn check(&self, commit: &Commit) -> Result<(), StoreError> {
        if let Some(target) = &commit.target {
            let stored = self.target(&target.name)?;
            if stored.epoch != target.epoch {
                return Err(StoreError::Conflict(format!("the owner of target {}", target.name)));
            }
            if stored.revision != target.revision {
                return Err(StoreError::Conflict(format!("target {}", target.name)));
            }
        }
        if let Some(rollout) = &commit.rollout {
            self.check_rollout(rollout, commit)?;
        } else if !commit.events.is_empty()
            || !commit.cursors.is_empty()
            || commit.observation.is_some()
            || commit.snapshot.is_some()
        {
            return Err(StoreError::NotFound(
                "the rollout that a commit's events or observations are of".to_owned(),
            ));
        }
        let mut settled = BTreeSet::new();
        for (key, _) in &commit.commands {
            let entry = self.command(key).ok_or_else(|| StoreError::NotFound(format!("command {key}")))?;
            if entry.result.is_some() || !settled.insert(key) {
                return Err(StoreError::Conflict(format!("command {key}")));
            }
        }
        Ok(())
    }

    fn check_rollout(&self, rollout: &Rollout, commit: &Commit) -> Result<(), StoreError> {
        let id = &rollout.id;
        let stored = self.rollout(id)?;
        if stored.rollout.revision != rollout.revision {
            return Err(StoreError::Conflict(format!("rollout {id}")));
        }
        self.check_occupation(rollout)?;
        if let Some((tick, _)) = &commit.observation
            && stored.observations.contains_key(&tick.seq)
        {
            return Err(StoreError::Conflict(format!(
                "the observation of tick {} of rollout {id}",
                tick.seq
            )));
        }
        let mut seen = BTreeSet::new();
        for event in &commit.events {
            if stored.events.contains_key(&event.seq) || !seen.insert(event.seq) {
                return Err(StoreError::Conflict(format!("event {} of rollout {id}", event.seq)));
            }
        }
        Ok(())
    }

    /// At most one rollout occupies a target, whatever the caller believes.
    fn check_occupation(&self, rollout: &Rollout) -> Result<(), StoreError> {
        let occupies = |rollout: &Rollout| !rollout.phase.is_terminal() && rollout.phase != Phase::Scheduled;
        let mut others = self.open(&rollout.target).filter(|other| other.id != rollout.id);
        if occupies(rollout) && others.any(occupies) {
            return Err(StoreError::Conflict(format!("the occupation of target {}", rollout.target)));
        }
        Ok(())
    }

    /// Carries out a commit that [`Data::check`] has let pass.
    fn apply(&mut self, commit: &Commit) {
        if let Some(target) = &commit.target {
            let next = Target { revision: target.revision + 1, ..target.clone() };
            self.targets.insert(next.name.clone(), next);
        }
        if let Some(rollout) = &commit.rollout
            && let Some(data) = self.rollouts.get_mut(&rollout.id)
        {
            data.rollout = Rollout { revision: rollout.revision + 1, ..rollout.clone() };
            data.cursors.extend(commit.cursors.iter().map(|(name, cursor)| (name.clone(), cursor.clone())));
            if let Some((tick, assessment)) = &commit.observation {
                data.observations.insert(tick.seq, (tick.clone(), assessment.clone()));
            }
            if let Some((seq, state)) = &commit.snapshot {
                data.snapshots.insert(*seq, state.clone());
                while data.snapshots.len() > SNAPSHOTS {
                    data.snapshots.pop_first();
                }
            }
            data.events.extend(commit.events.iter().map(|event| (event.seq, event.clone())));
        }
        for (channel, notice) in &commit.outbox {
            self.notify(channel, notice);
        }
        for (key, result) in &commit.commands {
            let Some(number) = self.command_numbers.get(key) else { continue };
            let Some(entry) = self.inbox.get_mut(number) else { continue };
            entry.result = Some(result.clone());
            if let Some(pending) = self.pending_commands.get_mut(&entry.rollout) {
                pending.remove(number);
            }
        }
    }

    /// Ended before `before` and not held by its target.
    fn ended_before(&self, before: Timestamp) -> Vec<RolloutId> {
        let mut ended: Vec<_> = self
            .rollouts
            .values()
            .map(|data| &data.rollout)
            .filter(|rollout| rollout.phase.is_terminal())
            .filter_map(|rollout| Some((rollout.ended_at?, rollout)))
            .filter(|(at, rollout)| {
                let held = self.targets.get(&rollout.target).and_then(|target| target.active.as_ref());
                *at < before && held != Some(&rollout.id)
            })
            .map(|(at, rollout)| (at, rollout.id.clone()))
            .collect();
        ended.sort();
        ended.into_iter().map(|(_, id)| id).collect()
    }

    fn remove(&mut self, id: &RolloutId) {
        self.rollouts.remove(id);
        self.pending_commands.remove(id);
        self.inbox.retain(|_, entry| entry.rollout != *id);
        let inbox = &self.inbox;
        self.command_numbers.retain(|_, number| inbox.contains_key(number));
        self.outbox.retain(|_, data| data.entry.notice.rollout != id.0);
        self.notice_keys =
            self.outbox.values().map(|d| (d.entry.channel.clone(), d.entry.notice.key.clone())).collect();
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|_| Ok(()))
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
    }

    async fn target(&self, name: &str) -> Result<Target, StoreError> {
        self.read(|data| data.target(name).cloned())
    }

    async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        self.read(|data| Ok(data.targets.values().cloned().collect()))
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
                rollout.supersedes = active;
                for id in older {
                    let command = Command {
                        key: format!("supersede/{}/{id}", rollout.id),
                        by: rollout.created_by.clone(),
                        reason: Some(format!("version {} is to be released instead", rollout.version)),
                        expected_revision: None,
                        kind: CommandKind::Supersede { by: rollout.id.clone() },
                    };
                    data.enqueue(&id, command, rollout.created_at);
                }
            } else if let Some(target) = data.targets.get_mut(&rollout.target) {
                target.active = Some(rollout.id.clone());
                target.revision += 1;
            }
            data.insert(rollout.clone(), first, key);
            Ok(rollout)
        })
    }

    async fn rollout(&self, id: &RolloutId) -> Result<Rollout, StoreError> {
        self.read(|data| Ok(data.rollout(id)?.rollout.clone()))
    }

    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<Rollout>, StoreError> {
        self.read(|data| {
            let newest_first = data.rollouts.values().rev().map(|data| &data.rollout);
            Ok(newest_first
                .filter(|rollout| filter.target.as_ref().is_none_or(|target| rollout.target == *target))
                .filter(|rollout| filter.phase.as_ref().is_none_or(|phase| rollout.phase.name() == phase))
                .filter(|rollout| filter.active.is_none_or(|active| rollout.phase.is_terminal() != active))
                .filter(|rollout| filter.before.as_ref().is_none_or(|before| rollout.id < *before))
                .take(filter.limit)
                .cloned()
                .collect())
        })
    }

    async fn load(&self, id: &RolloutId) -> Result<StoredRollout, StoreError> {
        self.read(|data| {
            let data = data.rollout(id)?;
            let snapshot = data.snapshots.last_key_value().map(|(seq, state)| (*seq, state.clone()));
            let after = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
            Ok(StoredRollout {
                rollout: data.rollout.clone(),
                cursors: data.cursors.clone(),
                snapshot,
                observations: after_key(&data.observations, after).map(|(tick, _)| tick.clone()).collect(),
            })
        })
    }

    async fn scheduled(&self, target: &str) -> Result<Vec<RolloutId>, StoreError> {
        self.read(|data| {
            let scheduled = data.open(target).filter(|rollout| rollout.phase == Phase::Scheduled);
            Ok(scheduled.map(|rollout| rollout.id.clone()).collect())
        })
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
            data.rollout(rollout)?;
            Ok(data.enqueue(rollout, command, at))
        })
    }

    async fn pending(&self, rollouts: &[RolloutId]) -> Result<Vec<InboxEntry>, StoreError> {
        self.read(|data| {
            let asked: BTreeSet<_> = rollouts.iter().collect();
            let numbers: BTreeSet<u64> =
                asked.into_iter().filter_map(|id| data.pending_commands.get(id)).flatten().copied().collect();
            Ok(numbers.iter().filter_map(|number| data.inbox.get(number).cloned()).collect())
        })
    }

    async fn command(&self, key: &str) -> Result<InboxEntry, StoreError> {
        self.read(|data| {
            data.command(key).cloned().ok_or_else(|| StoreError::NotFound(format!("command {key}")))
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.write(|data| {
            data.check(commit)?;
            data.apply(commit);
            Ok(())
        })
    }

    async fn events(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.read(|data| {
            let Some(data) = data.rollouts.get(id) else { return Ok(Vec::new()) };
            Ok(after_key(&data.events, after).take(limit).cloned().collect())
        })
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
    }

    async fn outbox_due(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        self.read(|data| {
            let due = |ids: &BTreeSet<i64>| {
                ids.iter()
                    .take(limit)
                    .filter_map(|id| data.outbox.get(id))
                    .map(|data| data.entry.clone())
                    .take_while(|entry| entry.due <= now)
                    .collect::<Vec<_>>()
            };
            Ok(data.pending_notices.values().flat_map(due).collect())
        })
    }

    async fn outbox_settle(&self, id: i64, delivery: &Delivery) -> Result<(), StoreError> {
        self.write(|data| {
            let entry = data.outbox.get_mut(&id);
            let entry = entry.ok_or_else(|| StoreError::NotFound(format!("outbox entry {id}")))?;
            if entry.state != OutboxState::Pending {
                return Ok(());
            }
            entry.entry.attempts += 1;
            (entry.state, entry.detail) = match delivery {
                Delivery::Done => (OutboxState::Done, None),
                Delivery::Retry { due, detail } => {
                    entry.entry.due = *due;
                    (OutboxState::Pending, Some(detail.clone()))
                }
                Delivery::Dead { detail } => (OutboxState::Dead, Some(detail.clone())),
            };
            if entry.state != OutboxState::Pending
                && let Some(pending) = data.pending_notices.get_mut(&entry.entry.channel)
            {
                pending.remove(&id);
            }
            Ok(())
        })
    }

    async fn outbox_counts(&self) -> Result<(u64, u64), StoreError> {
        self.read(|data| {
            let count = |state| data.outbox.values().filter(|data| data.state == state).count() as u64;
            Ok((count(OutboxState::Pending), count(OutboxState::Dead)))
        })
    }

    async fn prune(&self, retention: Retention, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.write(|data| {
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
    }
}

/// The values of a map whose keys are greater than `after`, in order.
fn after_key<V>(map: &BTreeMap<u64, V>, after: u64) -> impl Iterator<Item = &V> {
    use std::ops::Bound::{Excluded, Unbounded};
    map.range((Excluded(after), Unbounded)).map(|(_, value)| value)
}
