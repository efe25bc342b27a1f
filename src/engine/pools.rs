//! How many checks of each gate are asked at a time. Sources and routers have their places in
//! [`Connections`](super::connections::Connections), receivers a queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks of one gate that are asked at a time: programs and other people's services are not made for thousands.
const GATE_PLACES: usize = 16;

/// The places of gates, by policy and gate; those that are in use.
#[derive(Default)]
pub(super) struct GatePools(Mutex<BTreeMap<(String, String), Arc<Semaphore>>>);

impl GatePools {
    /// A place for asking a policy's gate.
    pub async fn place(&self, policy: &str, gate: &str) -> Option<OwnedSemaphorePermit> {
        let pool = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody has a place of, or waits for, is made anew when it is wanted.
            gates.retain(|_, pool| Arc::strong_count(pool) > 1);
            let key = (policy.to_owned(), gate.to_owned());
            gates.entry(key).or_insert_with(|| Arc::new(Semaphore::new(GATE_PLACES))).clone()
        };
        pool.acquire_owned().await.ok()
    }
}
