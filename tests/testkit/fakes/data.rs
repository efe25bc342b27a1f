//! What the store in memory holds, and the rules by which it changes.

use std::collections::{BTreeMap, BTreeSet};

use serin::core::access::{AuditRecord, TokenRecord};
use serin::core::alert::{Alert, AlertRecord, MOST_REMEMBERED};
use serin::core::declaration::{DeclarationKind, StoredDeclaration};
use serin::core::freeze::Freeze;
use serin::core::ids::RolloutId;
use serin::core::judge::{Assessment, JudgeState};
use serin::core::metric::{MetricCursor, TickObservation};
use serin::core::rollout::{Command, EventRecord, Phase, Rollout};
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{
    Commit, Delivery, InboxEntry, OutboxEntry, OutboxRecord, OutboxState, Outgoing, StoreError, StoredRollout,
};

/// Snapshots of the evidence that are kept of a rollout.
const SNAPSHOTS: usize = 2;

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
    /// In the order in which they were made.
    pub tokens: Vec<TokenRecord>,
    /// By number.
    pub audit: BTreeMap<u64, AuditRecord>,
    pub freezes: BTreeMap<String, Freeze>,
    /// What is remembered of alerts, by target and id.
    pub alerts: BTreeMap<(String, String), AlertRecord>,
    pub declarations: BTreeMap<(DeclarationKind, String), StoredDeclaration>,
    /// What channels keep, by channel and key.
    pub channel_memory: BTreeMap<(String, String), (String, Timestamp)>,
    /// Successful writes since the beginning, of all kinds.
    pub writes: u64,
    command_numbers: BTreeMap<String, u64>,
    pub(super) pending_commands: BTreeMap<RolloutId, BTreeSet<u64>>,
    notice_keys: BTreeSet<(String, String)>,
    pub(super) pending_notices: BTreeMap<String, BTreeSet<i64>>,
    /// Rises with every write that somebody is told of.
    pub position: u64,
    /// By target: the position of what it was last told.
    pub told: BTreeMap<String, u64>,
    /// Which rollout's line has which position, from 1; removed ones leave no gap in the keys.
    pub log: BTreeMap<u64, (RolloutId, u64)>,
    next_position: u64,
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
    pub(super) slim: bool,
}

/// A notice in the outbox.
#[derive(Clone, Debug)]
pub struct OutboxData {
    pub entry: OutboxEntry,
    pub state: OutboxState,
    /// What came back last.
    pub detail: Option<String>,
}

impl OutboxData {
    pub(super) fn record(&self) -> OutboxRecord {
        OutboxRecord { entry: self.entry.clone(), state: self.state, detail: self.detail.clone() }
    }
}

impl Data {
    /// Takes in an alert; the oldest beyond what is remembered are forgotten.
    pub(super) fn receive_alert(&mut self, target: &str, alert: &Alert) {
        let key = (target.to_owned(), alert.id.clone());
        match self.alerts.get_mut(&key) {
            Some(record) => record.receive(alert),
            None => {
                let record = AlertRecord::new(alert);
                record.map(|record| self.alerts.insert(key, record));
            }
        }
        for record in self.alerts_of(target).into_iter().skip(MOST_REMEMBERED) {
            self.alerts.remove(&(target.to_owned(), record.id));
        }
    }

    /// The newest first.
    pub(super) fn alerts_of(&self, target: &str) -> Vec<AlertRecord> {
        let all = self.alerts.iter().filter(|((of, _), _)| of == target);
        let mut all: Vec<AlertRecord> = all.map(|(_, record)| record.clone()).collect();
        all.sort_by(|a, b| b.last_at.cmp(&a.last_at).then(a.id.cmp(&b.id)));
        all
    }

    /// One rollout.
    pub fn rollout(&self, id: &RolloutId) -> Result<&RolloutData, StoreError> {
        self.rollouts.get(id).ok_or_else(|| StoreError::NotFound(format!("rollout {id}")))
    }

    /// Tells the target's engine that there is something to look at.
    pub(super) fn tell(&mut self, target: &str) {
        self.position += 1;
        self.told.insert(target.to_owned(), self.position);
    }

    /// What was told after a position.
    pub(super) fn news(&self, after: u64) -> (u64, Vec<String>) {
        let told = self.told.iter().filter(|(_, position)| **position > after);
        (self.position, told.map(|(name, _)| name.clone()).collect())
    }

    pub(super) fn target(&self, name: &str) -> Result<&Target, StoreError> {
        self.targets.get(name).ok_or_else(|| StoreError::NotFound(format!("target {name}")))
    }

    /// Rollouts of the target that are not at an end, oldest first.
    pub(super) fn open<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Rollout> {
        self.rollouts
            .values()
            .map(|data| &data.rollout)
            .filter(move |rollout| rollout.target == target && !rollout.phase.is_terminal())
    }

    pub(super) fn enqueue(&mut self, rollout: &RolloutId, command: Command, at: Timestamp) -> InboxEntry {
        let number = self.next_command;
        self.next_command += 1;
        self.command_numbers.insert(command.key.clone(), number);
        self.pending_commands.entry(rollout.clone()).or_default().insert(number);
        let entry = InboxEntry { rollout: rollout.clone(), at, command, result: None };
        self.inbox.insert(number, entry.clone());
        entry
    }

    pub(super) fn command(&self, key: &str) -> Option<&InboxEntry> {
        self.inbox.get(self.command_numbers.get(key)?)
    }

    pub(super) fn insert(&mut self, rollout: Rollout, first: EventRecord, key: Option<&str>) {
        let id = rollout.id.clone();
        self.put(rollout);
        if let Some(data) = self.rollouts.get_mut(&id) {
            data.key = key.map(str::to_owned);
            let seq = first.seq;
            data.events.insert(seq, first);
            self.append(&id, [seq]);
        }
    }

    fn append(&mut self, id: &RolloutId, lines: impl IntoIterator<Item = u64>) {
        for seq in lines {
            self.next_position += 1;
            self.log.insert(self.next_position, (id.clone(), seq));
        }
    }

    /// Puts a rollout there, or in the place of the one with its id, which keeps its history.
    pub fn put(&mut self, rollout: Rollout) {
        match self.rollouts.get_mut(&rollout.id) {
            Some(data) => data.rollout = rollout,
            None => {
                let data = RolloutData {
                    key: None,
                    cursors: BTreeMap::new(),
                    snapshots: BTreeMap::new(),
                    observations: BTreeMap::new(),
                    events: BTreeMap::new(),
                    slim: false,
                    rollout,
                };
                self.rollouts.insert(data.rollout.id.clone(), data);
            }
        }
    }

    pub(super) fn notify(&mut self, outgoing: &Outgoing) {
        let Outgoing { queue: channel, notice, due } = outgoing;
        if !self.notice_keys.insert((channel.to_owned(), notice.key.clone())) {
            return;
        }
        self.next_notice += 1;
        let id = self.next_notice;
        let entry = OutboxEntry {
            id,
            channel: channel.clone(),
            notice: notice.clone(),
            attempts: 0,
            due: due.unwrap_or(Timestamp(0)),
            since: due.unwrap_or(notice.at),
        };
        self.outbox.insert(id, OutboxData { entry, state: OutboxState::Pending, detail: None });
        self.pending_notices.entry(channel.to_owned()).or_default().insert(id);
    }

    pub(super) fn settle(&mut self, id: i64, delivery: &Delivery) {
        let Some(data) = self.outbox.get_mut(&id) else { return };
        if !matches!(data.state, OutboxState::Pending | OutboxState::Running) {
            return;
        }
        data.entry.attempts += 1;
        (data.state, data.detail) = match delivery {
            Delivery::Done => (OutboxState::Done, None),
            Delivery::Retry { due, detail } => {
                data.entry.due = *due;
                (OutboxState::Pending, Some(detail.clone()))
            }
            Delivery::Dead { detail } => (OutboxState::Dead, Some(detail.clone())),
        };
        self.index(id);
    }

    /// Only from the one state into the other.
    pub(super) fn change_state(
        &mut self,
        id: i64,
        from: OutboxState,
        to: OutboxState,
    ) -> Result<&mut OutboxData, StoreError> {
        match self.outbox.get_mut(&id) {
            None => return Err(StoreError::NotFound(format!("outbox entry {id}"))),
            Some(data) if data.state != from => {
                return Err(StoreError::Conflict(format!("outbox entry {id}")));
            }
            Some(data) => data.state = to,
        }
        self.index(id);
        self.outbox.get_mut(&id).ok_or_else(|| StoreError::NotFound(format!("outbox entry {id}")))
    }

    fn index(&mut self, id: i64) {
        let Some(data) = self.outbox.get(&id) else { return };
        let queue = self.pending_notices.entry(data.entry.channel.clone()).or_default();
        if data.state == OutboxState::Pending {
            queue.insert(id);
        } else {
            queue.remove(&id);
        }
    }

    pub(super) fn has_pending_notice(&self, rollout: &RolloutId) -> bool {
        let is_open = |data: &OutboxData| matches!(data.state, OutboxState::Pending | OutboxState::Running);
        self.outbox.values().any(|data| is_open(data) && data.entry.notice.rollout == rollout.0)
    }

    /// Every reason to refuse a commit, before anything is changed.
    pub(super) fn check(&self, commit: &Commit) -> Result<(), StoreError> {
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
            let is_asked = commit.asked.iter().any(|entry| entry.command.key == *key);
            let entry = self.command(key);
            if entry.is_none() && !is_asked {
                return Err(StoreError::NotFound(format!("command {key}")));
            }
            if entry.is_some_and(|entry| entry.result.is_some()) || !settled.insert(key) {
                return Err(StoreError::Conflict(format!("command {key}")));
            }
        }
        Ok(())
    }

    pub(super) fn check_rollout(&self, rollout: &Rollout, commit: &Commit) -> Result<(), StoreError> {
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
    pub(super) fn check_occupation(&self, rollout: &Rollout) -> Result<(), StoreError> {
        let occupies = |rollout: &Rollout| !rollout.phase.is_terminal() && rollout.phase != Phase::Scheduled;
        let mut others = self.open(&rollout.target).filter(|other| other.id != rollout.id);
        if occupies(rollout) && others.any(occupies) {
            return Err(StoreError::Conflict(format!("the occupation of target {}", rollout.target)));
        }
        Ok(())
    }

    /// Everything of a rollout that the engine needs to go on.
    pub(super) fn load(&self, id: &RolloutId) -> Result<StoredRollout, StoreError> {
        let data = self.rollout(id)?;
        let snapshot = data.snapshots.last_key_value().map(|(seq, state)| (*seq, state.clone()));
        let after = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        let later = data.observations.range(after.saturating_add(1)..);
        Ok(StoredRollout {
            rollout: data.rollout.clone(),
            cursors: data.cursors.clone(),
            snapshot,
            observations: later.map(|(_, (tick, _))| tick.clone()).collect(),
            looked_at: data.observations.last_key_value().map(|(_, (tick, _))| tick.at),
        })
    }

    /// All or nothing.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.check(commit)?;
        self.apply(commit);
        Ok(())
    }

    /// Carries out a commit that [`Data::check`] has let pass.
    pub(super) fn apply(&mut self, commit: &Commit) {
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
                data.snapshots.insert(*seq, JudgeState::clone(state));
                while data.snapshots.len() > SNAPSHOTS {
                    data.snapshots.pop_first();
                }
            }
            data.events.extend(commit.events.iter().map(|event| (event.seq, event.clone())));
            self.append(&rollout.id, commit.events.iter().map(|event| event.seq));
        }
        for outgoing in &commit.outbox {
            self.notify(outgoing);
        }
        for entry in &commit.asked {
            if self.command(&entry.command.key).is_none() {
                self.enqueue(&entry.rollout, entry.command.clone(), entry.at);
            }
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
    pub(super) fn ended_before(&self, before: Timestamp) -> Vec<RolloutId> {
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

    pub(super) fn remove(&mut self, id: &RolloutId) {
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
