//! How many calls each configured instance gets at a time, so that one that hangs takes no other with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Places of a router's pool that only a canary at 0 may take.
const RESERVE: usize = 4;
/// Checks of one gate that are asked at a time: programs and other people's services are not made for thousands.
const GATE_PLACES: usize = 16;

/// The places of routers and gates. Sources have a [`Collector`](super::collector::Collector) each, receivers a queue.
pub(super) struct Pools {
    routers: BTreeMap<String, Semaphore>,
    /// For weight 0 alone.
    reserves: BTreeMap<String, Semaphore>,
    /// By policy and gate; those that are in use.
    gates: Mutex<BTreeMap<(String, String), Arc<Semaphore>>>,
}

impl Pools {
    /// Pools of these routers, with so many places each.
    pub fn new<'n>(routers: impl Iterator<Item = &'n String> + Clone, places: usize) -> Pools {
        let pool =
            |places: usize| routers.clone().map(|name| (name.clone(), Semaphore::new(places))).collect();
        Pools { routers: pool(places), reserves: pool(RESERVE), gates: Mutex::default() }
    }

    /// A place for a call to a router; one that takes a canary to 0 finds one sooner.
    pub async fn router(&self, name: &str, is_back: bool) -> Option<SemaphorePermit<'_>> {
        let pool = self.routers.get(name)?;
        if !is_back {
            return pool.acquire().await.ok();
        }
        let reserve = self.reserves.get(name)?;
        tokio::select! {
            biased;
            permit = pool.acquire() => permit.ok(),
            permit = reserve.acquire() => permit.ok(),
        }
    }

    /// A place for asking a policy's gate.
    pub async fn gate(&self, policy: &str, gate: &str) -> Option<OwnedSemaphorePermit> {
        let pool = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody has a place of, or waits for, is made anew when it is wanted.
            gates.retain(|_, pool| Arc::strong_count(pool) > 1);
            let key = (policy.to_owned(), gate.to_owned());
            gates.entry(key).or_insert_with(|| Arc::new(Semaphore::new(GATE_PLACES))).clone()
        };
        pool.acquire_owned().await.ok()
    }
}
