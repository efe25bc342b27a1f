//! The process that runs Serin: its clocks, and its death between any two steps.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serin::core::time::Timestamp;
use serin::ports::{Clock, Died, Failpoints};
use tokio::sync::Notify;

use crate::world::Shared;

/// One process. Every call through a port is a step; at a step of the seed's choosing it dies: the call
/// never returns, and the driver drops the whole engine.
#[derive(Clone)]
pub struct Life {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    death: Notify,
}

struct State {
    /// Steps that are left, where it dies at one.
    steps: Option<u64>,
    /// Failpoints that are left, where it dies at one.
    failpoints: Option<u64>,
    died_at: Option<String>,
    /// How often each failpoint was passed.
    passed: BTreeMap<&'static str, u64>,
}

impl Life {
    /// Dies at that step or failpoint, whichever comes first.
    pub fn new(steps: Option<u64>, failpoints: Option<u64>) -> Life {
        let state = State { steps, failpoints, died_at: None, passed: BTreeMap::new() };
        Life { inner: Arc::new(Inner { state: Mutex::new(state), death: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("one thread")
    }

    /// Where it died, if it did.
    pub fn died_at(&self) -> Option<String> {
        self.state().died_at.clone()
    }

    /// It does not die any more.
    pub fn spare(&self) {
        let mut state = self.state();
        state.steps = None;
        state.failpoints = None;
    }

    pub fn passed(&self) -> BTreeMap<&'static str, u64> {
        self.state().passed.clone()
    }

    /// Marks a step. Does not return in the one at which the process dies, nor after it.
    pub async fn step(&self, place: &str) {
        let dies = {
            let mut state = self.state();
            let dies = match &mut state.steps {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            };
            if dies && state.died_at.is_none() {
                state.died_at = Some(place.to_owned());
            }
            state.died_at.is_some()
        };
        if dies {
            self.inner.death.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Runs a part of the process until it is done; `None` if the process died on the way.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.died_at().is_some() {
            return None;
        }
        let done = tokio::select! {
            biased;
            done = work => Some(done),
            () = self.inner.death.notified() => None,
        };
        done.filter(|_| self.died_at().is_none())
    }
}

impl Failpoints for Life {
    fn pass(&self, name: &'static str) -> Result<(), Died> {
        let mut state = self.state();
        *state.passed.entry(name).or_default() += 1;
        if state.died_at.is_some() {
            return Err(Died(name));
        }
        match &mut state.failpoints {
            Some(0) => {}
            Some(left) => {
                *left -= 1;
                return Ok(());
            }
            None => return Ok(()),
        }
        state.died_at = Some(format!("failpoint {name}"));
        Err(Died(name))
    }
}

/// Serin's clocks over the world's time.
pub struct VirtualClock {
    pub world: Shared,
}

#[async_trait]
impl Clock for VirtualClock {
    fn wall(&self) -> Timestamp {
        self.world.lock().wall()
    }

    fn monotonic(&self) -> Duration {
        let world = self.world.lock();
        world.monotonic_offset + Duration::from_millis(world.now.unsigned_abs())
    }

    async fn sleep_until(&self, until: Duration) {
        let left = until.saturating_sub(self.monotonic()).as_millis();
        let end = i64::try_from(left).unwrap_or(i64::MAX).saturating_add(self.world.lock().now);
        self.world.until(end).await;
    }
}
