//! A store in memory that knows as much as the API asks of it, and fails when it is told to.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serin::core::judge::Assessment;
use serin::core::metric::TickObservation;
use serin::core::rollout::{Command, EventRecord, Rollout, RolloutId};
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{
    Clock, Commit, Delivery, InboxEntry, OutboxEntry, Retention, RolloutFilter, Store, StoreError,
    StoredRollout,
};

#[derive(Default)]
pub struct Memory {
    pub inner: Mutex<Inner>,
    pub broken: AtomicBool,
    pub stuck: AtomicBool,
}

#[derive(Default)]
pub struct Inner {
    pub targets: BTreeMap<String, Target>,
    pub rollouts: BTreeMap<String, Rollout>,
    pub keys: BTreeMap<String, String>,
    pub inbox: BTreeMap<String, InboxEntry>,
    pub events: BTreeMap<String, Vec<EventRecord>>,
    pub ticks: BTreeMap<String, Vec<(TickObservation, Assessment)>>,
    pub asked_for_events: u64,
}

impl Memory {
    pub fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap())
    }

    async fn usable(&self) -> Result<(), StoreError> {
        if self.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match self.broken.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("the disk is full".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn ping(&self) -> Result<(), StoreError> {
        self.usable().await
    }

    async fn own_targets(&self, _names: &[String]) -> Result<Vec<Target>, StoreError> {
        unimplemented!("the API does not own targets")
    }

    async fn target(&self, name: &str) -> Result<Target, StoreError> {
        self.usable().await?;
        self.with(|inner| inner.targets.get(name).cloned())
            .ok_or_else(|| StoreError::NotFound(format!("the target {name}")))
    }

    async fn targets(&self) -> Result<Vec<Target>, StoreError> {
        self.usable().await?;
        Ok(self.with(|inner| inner.targets.values().cloned().collect()))
    }

    async fn create_rollout(
        &self,
        mut rollout: Rollout,
        first: EventRecord,
        key: Option<&str>,
        supersede: bool,
    ) -> Result<Rollout, StoreError> {
        self.usable().await?;
        self.with(|inner| {
            if let Some(id) = key.and_then(|key| inner.keys.get(key)) {
                return Ok(inner.rollouts[id].clone());
            }
            let target = inner.targets.get_mut(&rollout.target).expect("a target");
            match target.active.clone() {
                Some(active) if !supersede => {
                    return Err(StoreError::Occupied { target: rollout.target.clone(), active });
                }
                Some(active) => {
                    rollout.phase = serin::core::rollout::Phase::Scheduled;
                    rollout.supersedes = Some(active);
                }
                None => target.active = Some(rollout.id.clone()),
            }
            if let Some(key) = key {
                inner.keys.insert(key.to_owned(), rollout.id.0.clone());
            }
            inner.events.insert(rollout.id.0.clone(), vec![first]);
            inner.rollouts.insert(rollout.id.0.clone(), rollout.clone());
            Ok(rollout)
        })
    }

    async fn rollout(&self, id: &RolloutId) -> Result<Rollout, StoreError> {
        self.usable().await?;
        self.with(|inner| inner.rollouts.get(&id.0).cloned())
            .ok_or_else(|| StoreError::NotFound(format!("the rollout {id}")))
    }

    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<Rollout>, StoreError> {
        self.usable().await?;
        Ok(self.with(|inner| {
            let fits = |rollout: &&Rollout| {
                filter.target.as_ref().is_none_or(|target| *target == rollout.target)
                    && filter.phase.as_deref().is_none_or(|phase| phase == rollout.phase.name())
                    && filter.active.is_none_or(|active| active != rollout.phase.is_terminal())
                    && filter.before.as_ref().is_none_or(|before| rollout.id < *before)
            };
            inner.rollouts.values().rev().filter(fits).take(filter.limit).cloned().collect()
        }))
    }

    async fn load(&self, _id: &RolloutId) -> Result<StoredRollout, StoreError> {
        unimplemented!("the API does not load for the engine")
    }

    async fn scheduled(&self, _target: &str) -> Result<Vec<RolloutId>, StoreError> {
        unimplemented!("the API does not schedule")
    }

    async fn enqueue(
        &self,
        rollout: &RolloutId,
        command: Command,
        at: Timestamp,
    ) -> Result<InboxEntry, StoreError> {
        self.usable().await?;
        Ok(self.with(|inner| {
            let entry = InboxEntry { rollout: rollout.clone(), at, command, result: None };
            inner.inbox.entry(entry.command.key.clone()).or_insert(entry).clone()
        }))
    }

    async fn pending(&self, _rollouts: &[RolloutId]) -> Result<Vec<InboxEntry>, StoreError> {
        unimplemented!("the API does not carry out commands")
    }

    async fn command(&self, key: &str) -> Result<InboxEntry, StoreError> {
        self.usable().await?;
        self.with(|inner| inner.inbox.get(key).cloned())
            .ok_or_else(|| StoreError::NotFound(format!("the command {key}")))
    }

    async fn commit(&self, _commit: &Commit) -> Result<(), StoreError> {
        unimplemented!("the API does not commit")
    }

    async fn events(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.usable().await?;
        let events = self.with(|inner| {
            inner.asked_for_events += 1;
            inner.events.get(&id.0).cloned().unwrap_or_default()
        });
        Ok(events.into_iter().filter(|event| event.seq > after).take(limit).collect())
    }

    async fn observations(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(TickObservation, Assessment)>, StoreError> {
        self.usable().await?;
        let ticks = self.with(|inner| inner.ticks.get(&id.0).cloned().unwrap_or_default());
        Ok(ticks.into_iter().filter(|(tick, _)| tick.seq > after).take(limit).collect())
    }

    async fn outbox_due(&self, _now: Timestamp, _limit: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        unimplemented!("the API does not deliver")
    }

    async fn outbox_settle(&self, _id: i64, _delivery: &Delivery) -> Result<(), StoreError> {
        unimplemented!("the API does not deliver")
    }

    async fn outbox_counts(&self) -> Result<(u64, u64), StoreError> {
        self.usable().await?;
        Ok((3, 1))
    }

    async fn prune(&self, _retention: Retention, _now: Timestamp, _limit: usize) -> Result<u64, StoreError> {
        unimplemented!("the API does not prune")
    }
}

/// A clock that stands.
pub struct Standing;

#[async_trait]
impl Clock for Standing {
    fn wall(&self) -> Timestamp {
        super::example::NOW
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep_until(&self, _until: Duration) {
        std::future::pending::<()>().await;
    }
}
