//! The hub: takes the engine's changes, reads what is stored, and makes frames of it, once for all
//! viewers. Without viewers it does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::frames;
use crate::api::overview::Sparks;
use crate::contract::RolloutView;
use crate::core::ids::RolloutId;
use crate::core::rollout::Rollout;
use crate::engine::Handle;
use crate::ports::{RolloutFilter, StoreError};

/// Messages that a viewer may be behind.
const BEHIND: usize = 1024;
/// Changes that are worked on at a time.
const AT_ONCE: usize = 256;
/// Log lines that are read at a time.
const LINES: usize = 500;
/// What other processes have stored is asked for this often.
const OTHERS: Duration = Duration::from_secs(5);

/// What has changed.
pub(super) struct Message {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its target: who may see it depends on that.
    pub target: String,
    /// What.
    pub what: What,
}

/// What has changed of a rollout.
pub(super) enum What {
    /// Its state: at a glance, and whole where somebody looks at it.
    State { row: Bytes, whole: Option<Bytes> },
    /// Its log has a new line.
    Log { position: u64, frame: Bytes },
}

/// The hub. Cheap to clone.
#[derive(Clone)]
pub(in crate::api) struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle,
    sparks: Sparks,
    messages: broadcast::Sender<Arc<Message>>,
    places: Arc<Semaphore>,
    /// How many viewers look at a rollout whole.
    watched: Mutex<BTreeMap<RolloutId, usize>>,
    /// The last log line that was sent.
    position: AtomicU64,
    running: AtomicBool,
    entering: tokio::sync::Mutex<()>,
}

/// Somebody looks at a rollout whole, until this is dropped.
pub(super) struct Watching {
    hub: Hub,
    id: RolloutId,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.hub.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = watched.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                watched.remove(&self.id);
            }
        }
    }
}

impl Hub {
    /// A hub for so many viewers.
    pub(in crate::api) fn new(handle: Handle, sparks: Sparks, viewers: usize) -> Hub {
        Hub {
            inner: Arc::new(Inner {
                handle,
                sparks,
                messages: broadcast::channel(BEHIND).0,
                places: Arc::new(Semaphore::new(viewers)),
                watched: Mutex::default(),
                position: AtomicU64::new(0),
                running: AtomicBool::new(false),
                entering: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// A place for a viewer, if there is one.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.places).try_acquire_owned().ok()
    }

    /// Makes whole views of a rollout too.
    pub(super) fn watch(&self, id: &RolloutId) -> Watching {
        let mut watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        *watched.entry(id.clone()).or_default() += 1;
        Watching { hub: self.clone(), id: id.clone() }
    }

    /// What changes from now on.
    pub(super) async fn subscribe(&self) -> Result<broadcast::Receiver<Arc<Message>>, StoreError> {
        let _entering = self.inner.entering.lock().await;
        if self.inner.messages.receiver_count() == 0 {
            // Nobody has listened: lines until now are not news, viewers read what they have missed.
            let newest = self.inner.handle.store().newest_position().await?;
            self.inner.position.store(newest, Ordering::SeqCst);
        }
        let receiver = self.inner.messages.subscribe();
        if !self.inner.running.swap(true, Ordering::SeqCst) {
            tokio::spawn(run(Arc::downgrade(&self.inner), self.inner.handle.changes()));
        }
        Ok(receiver)
    }
}

/// Works until the hub is gone.
async fn run(hub: Weak<Inner>, mut changes: broadcast::Receiver<RolloutId>) {
    loop {
        let first = tokio::time::timeout(OTHERS, changes.recv()).await;
        let Some(inner) = hub.upgrade() else { return };
        let mut ids = BTreeSet::new();
        let mut all = false;
        match first {
            Ok(Ok(id)) => drop(ids.insert(id)),
            Ok(Err(RecvError::Lagged(_))) => all = true,
            Ok(Err(RecvError::Closed)) => return,
            Err(_) => {}
        }
        while ids.len() < AT_ONCE {
            match changes.try_recv() {
                Ok(id) => drop(ids.insert(id)),
                Err(TryRecvError::Lagged(_)) => all = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if inner.messages.receiver_count() == 0 {
            continue;
        }
        if let Err(error) = inner.tell(ids, all).await {
            tracing::debug!(%error, "what has changed could not be read");
        }
    }
}

impl Inner {
    /// Tells all viewers what is new: log lines, then the states.
    async fn tell(&self, mut ids: BTreeSet<RolloutId>, all: bool) -> Result<(), StoreError> {
        let store = self.handle.store();
        if all {
            let limit = crate::api::overview::ROWS;
            let filter = RolloutFilter { active: Some(true), limit, ..RolloutFilter::default() };
            ids.extend(store.rollouts(&filter).await?.into_iter().map(|rollout| rollout.id.clone()));
        }
        let mut loaded: BTreeMap<RolloutId, Rollout> = BTreeMap::new();
        loop {
            let after = self.position.load(Ordering::SeqCst);
            let lines = store.events_since(after, LINES).await?;
            for (position, id, event) in &lines {
                // Read after the line was stored: what is told of it is at least as new.
                let rollout = match loaded.get(id) {
                    Some(rollout) => rollout.clone(),
                    None => store.rollout(id).await?,
                };
                let frame = frames::log(*position, &rollout, event);
                self.send(&rollout, What::Log { position: *position, frame });
                self.position.store(*position, Ordering::SeqCst);
                loaded.insert(id.clone(), rollout);
                ids.insert(id.clone());
            }
            if lines.len() < LINES {
                break;
            }
        }
        for id in ids {
            let rollout = match loaded.remove(&id) {
                Some(rollout) => rollout,
                None => match store.rollout(&id).await {
                    Err(StoreError::NotFound(_)) => continue,
                    rollout => rollout?,
                },
            };
            self.tell_state(&rollout).await?;
        }
        Ok(())
    }

    async fn tell_state(&self, rollout: &Rollout) -> Result<(), StoreError> {
        let store = self.handle.store();
        let target = store.target(&rollout.target).await.ok();
        let spark = self.sparks.of(store.as_ref(), rollout).await?;
        let is_watched = {
            let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.contains_key(&rollout.id)
        };
        let whole = is_watched.then(|| frames::whole(&RolloutView::new(rollout, target.as_ref())));
        self.send(rollout, What::State { row: frames::row(rollout, target.as_ref(), spark), whole });
        if rollout.phase.is_terminal() {
            self.sparks.ended(&rollout.id);
        }
        Ok(())
    }

    fn send(&self, rollout: &Rollout, what: What) {
        let message = Message { rollout: rollout.id.clone(), target: rollout.target.clone(), what };
        let _ = self.messages.send(Arc::new(message));
    }
}
