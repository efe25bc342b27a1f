//! Asks a source for the looks of many targets together. A source has a few places for calls; what comes while all
//! are taken waits, and whoever finds a place takes all who wait along, so that a source that is slow is asked less
//! often, and for more. A target whose queries are slow keeps no others waiting: it is asked alone until it is quick
//! again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::deadline::within;
use super::target::{LookRequest, Looked};
use crate::core::judge::Recorded;
use crate::core::metric::Reading;
use crate::ports::{Clock, HistoryRequest, MetricsProvider};

/// Calls for many targets that are under way at a source.
const PLACES: usize = 4;
/// Looks in one call.
const MOST: usize = 64;
/// A call that takes longer has a slow query in it.
const SLOW: Duration = Duration::from_secs(1);

/// The looks at one source.
pub(super) struct Collector {
    provider: Arc<dyn MetricsProvider>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Vec<Waiting>>,
    /// Targets that are asked for alone, as a call that they were in was slow.
    slow: Mutex<BTreeSet<String>>,
    shared: Semaphore,
    /// For targets that are asked for alone, and for metrics' pasts.
    single: Semaphore,
    /// A call that brings nothing for so long gives its place back.
    longest: Duration,
}

struct Waiting {
    request: LookRequest,
    answer: oneshot::Sender<Looked>,
}

impl Collector {
    /// A source with so many places for what is asked of it alone. It keeps deadlines of its own; a call that lasts
    /// longer than `longest` is given up.
    pub fn new(
        provider: Arc<dyn MetricsProvider>,
        clock: Arc<dyn Clock>,
        single: usize,
        longest: Duration,
    ) -> Arc<Collector> {
        Arc::new(Collector {
            provider,
            clock,
            waiting: Mutex::default(),
            slow: Mutex::default(),
            shared: Semaphore::new(PLACES),
            single: Semaphore::new(single),
            longest,
        })
    }

    /// The source itself.
    pub fn provider(&self) -> &Arc<dyn MetricsProvider> {
        &self.provider
    }

    /// Asks for metrics' pasts.
    pub async fn past(&self, requests: &[HistoryRequest]) -> Vec<Reading<Recorded>> {
        let _place = self.single.acquire().await.ok();
        self.provider.history(requests).await
    }

    /// What the source shows; `None` if its answers cannot be told apart.
    pub async fn look(self: &Arc<Self>, request: LookRequest) -> Option<Looked> {
        if lock(&self.slow).contains(&request.target) {
            let _place = self.single.acquire().await.ok();
            return self.ask(std::slice::from_ref(&request)).await?.pop();
        }
        let (answer, mut answered) = oneshot::channel();
        lock(&self.waiting).push(Waiting { request, answer });
        tokio::select! {
            biased;
            looked = &mut answered => return looked.ok(),
            place = self.shared.acquire() => place.ok()?.forget(),
        }
        // A target that does not want its look any more must not take the others' with it.
        let collector = self.clone();
        tokio::spawn(async move {
            let _place = Place(&collector.shared);
            collector.ask_all().await;
        });
        answered.await.ok()
    }

    /// One call for those who wait.
    async fn ask_all(&self) {
        let (requests, answers): (Vec<_>, Vec<_>) = {
            let mut waiting = lock(&self.waiting);
            waiting.retain(|waiting| !waiting.answer.is_closed());
            let count = waiting.len().min(MOST);
            waiting.drain(..count).map(|one| (one.request, one.answer)).unzip()
        };
        let asked = within(self.clock.as_ref(), self.longest, self.ask(&requests)).await;
        if asked.is_none() {
            self.note(&requests, self.longest);
        }
        for (answer, looked) in answers.into_iter().zip(asked.flatten().unwrap_or_default()) {
            // Who has gone does not hear of it.
            let _ = answer.send(looked);
        }
    }

    async fn ask(&self, requests: &[LookRequest]) -> Option<Vec<Looked>> {
        let begun = self.clock.monotonic();
        let counts: Vec<_> = requests.iter().flat_map(|one| one.counts.iter().cloned()).collect();
        let values: Vec<_> = requests.iter().flat_map(|one| one.values.iter().cloned()).collect();
        let mut counted = match counts.is_empty() {
            true => Vec::new(),
            false => self.provider.counts(&counts).await,
        };
        let mut valued = match values.is_empty() {
            true => Vec::new(),
            false => self.provider.values(&values).await,
        };
        self.note(requests, self.clock.monotonic().saturating_sub(begun));
        if counted.len() != counts.len() || valued.len() != values.len() {
            let (asked, answered) = (counts.len() + values.len(), counted.len() + valued.len());
            tracing::error!(asked, answered, "a source has not answered each request");
            return None;
        }
        let looked = requests.iter().map(|request| Looked {
            counts: counted.drain(..request.counts.len()).collect(),
            values: valued.drain(..request.values.len()).collect(),
        });
        Some(looked.collect())
    }

    /// Of a slow call nobody knows whose query it was: each is asked alone once, and so is found out.
    fn note(&self, requests: &[LookRequest], took: Duration) {
        let mut slow = lock(&self.slow);
        for request in requests {
            match took > SLOW {
                true => drop(slow.insert(request.target.clone())),
                false => drop(slow.remove(&request.target)),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a place back.
struct Place<'c>(&'c Semaphore);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

#[cfg(test)]
mod tests;
