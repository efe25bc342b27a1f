//! The outbox in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serin::core::routing::lane_of;
use serin::core::time::Timestamp;
use serin::ports::{
    Delivery, Outbox, OutboxCounts, OutboxEntry, OutboxFilter, OutboxGroup, OutboxRecord, OutboxState,
    StoreError,
};

use super::MemoryStore;

#[async_trait]
impl Outbox for MemoryStore {
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
}
