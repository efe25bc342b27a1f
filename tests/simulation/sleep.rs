//! Calls that wait for a moment of the world's time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::faults::FaultKind;
use crate::world::Shared;

/// Who waits for which moment, in order.
#[derive(Default)]
pub struct Sleepers {
    waiting: BTreeMap<(i64, u64), Waker>,
    count: u64,
}

impl Sleepers {
    /// When the next one is over.
    pub fn next(&self) -> Option<i64> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes those whose moment has come.
    pub fn wake(&mut self, now: i64) {
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }
}

/// Is over at a true time, in milliseconds.
pub struct Until {
    world: Shared,
    at: i64,
    /// Peace ends it too.
    is_hostile: bool,
    key: Option<(i64, u64)>,
}

impl Shared {
    /// Waits for a true time.
    pub fn until(&self, at: i64) -> Until {
        Until { world: self.clone(), at, is_hostile: false, key: None }
    }

    /// The same; with the last fault it is over too.
    pub fn held_up(&self, at: i64) -> Until {
        Until { world: self.clone(), at, is_hostile: true, key: None }
    }

    /// Waits until a fault has ended, or until the time given for it.
    pub async fn sit_out(&self, kind: FaultKind, target: &str, longest: Option<i64>) {
        let end = {
            let world = self.lock();
            let end = world.end_of(kind, target);
            end.map(|end| longest.map_or(end, |longest| end.min(world.now + longest)))
        };
        if let Some(end) = end {
            self.held_up(end).await;
        }
    }

    /// A call takes its time, now and then.
    pub async fn take_time(&self) {
        let end = {
            let mut world = self.lock();
            let is_slow = world.hostile && world.rough && world.dice.chance(0.03);
            is_slow.then(|| world.now + world.dice.between(1, 4_000) as i64)
        };
        if let Some(end) = end {
            self.held_up(end).await;
        }
    }
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = self.world.clone();
        let mut world = shared.lock();
        if let Some(key) = self.key.take() {
            world.sleepers.waiting.remove(&key);
        }
        if world.now >= self.at || (self.is_hostile && !world.hostile) {
            return Poll::Ready(());
        }
        world.sleepers.count += 1;
        let key = (self.at, world.sleepers.count);
        self.key = Some(key);
        world.sleepers.waiting.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.world.lock().sleepers.waiting.remove(&key);
        }
    }
}
