//! What is asked together, who is asked alone, and that nobody takes others' looks with it.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::Notify;

use super::*;
use crate::core::metric::{NoData, ValueObservation};
use crate::core::time::Timestamp;
use crate::ports::{ArmSelector, CountsAnswer, CountsRequest, ValueRequest};

/// A source that answers each request with its own name, and takes as long as it is told.
#[derive(Default)]
struct Source {
    /// Of each call: how many requests it had.
    calls: Mutex<Vec<usize>>,
    held: std::sync::atomic::AtomicBool,
    go: Notify,
    /// Calls for this target take two seconds of the clock.
    slow: Mutex<Option<String>>,
    seconds: AtomicU64,
}

#[async_trait]
impl MetricsProvider for Source {
    async fn counts(&self, _: &[CountsRequest]) -> Vec<CountsAnswer> {
        Vec::new()
    }

    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation> {
        lock(&self.calls).push(requests.len());
        if requests.iter().any(|request| Some(&request.guardrail) == lock(&self.slow).as_ref()) {
            self.seconds.fetch_add(2, Ordering::SeqCst);
        }
        if self.held.load(Ordering::SeqCst) {
            self.go.notified().await;
        }
        let none = || Err(NoData::Empty);
        let answer = |r: &ValueRequest| ValueObservation {
            guardrail: r.guardrail.clone(),
            canary: none(),
            baseline: none(),
        };
        requests.iter().map(answer).collect()
    }
}

const LONGEST: Duration = Duration::from_secs(20);

struct SourceClock(Arc<Source>);

#[async_trait]
impl Clock for SourceClock {
    fn wall(&self) -> Timestamp {
        Timestamp::default()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.seconds.load(Ordering::SeqCst))
    }

    async fn sleep_until(&self, until: Duration) {
        while self.monotonic() < until {
            tokio::task::yield_now().await;
        }
    }
}

fn begin() -> (Arc<Source>, Arc<Collector>) {
    let source = Arc::new(Source::default());
    let collector = Collector::new(source.clone(), Arc::new(SourceClock(source.clone())), 8, LONGEST);
    (source, collector)
}

fn look(target: &str) -> LookRequest {
    let arm = || ArmSelector { labels: Default::default(), endpoints: Vec::new() };
    let value = ValueRequest {
        guardrail: target.to_owned(),
        query: "up".to_owned(),
        canary: arm(),
        baseline: arm(),
        now: Timestamp::default(),
        lag: Duration::ZERO,
        stale_after: Duration::from_secs(60),
    };
    LookRequest {
        target: target.to_owned(),
        source: "prometheus".to_owned(),
        counts: Vec::new(),
        values: vec![value],
    }
}

async fn answered(collector: &Arc<Collector>, target: &str) -> bool {
    collector.look(look(target)).await.is_some_and(|looked| looked.values[0].guardrail == target)
}

#[tokio::test]
async fn who_waits_for_a_place_is_asked_for_together() {
    let (source, collector) = begin();
    source.held.store(true, Ordering::SeqCst);
    let names: Vec<String> = (0..PLACES + 100).map(|n| format!("t{n}")).collect();
    let all = join_all(names.iter().map(|name| answered(&collector, name)));
    let release = async {
        while lock(&source.calls).is_empty() {
            tokio::task::yield_now().await;
        }
        source.held.store(false, Ordering::SeqCst);
        source.go.notify_waiters();
    };
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.iter().all(|own| *own), "each has the answer to its own request");
    let calls = lock(&source.calls).clone();
    assert_eq!(calls.iter().sum::<usize>(), PLACES + 100);
    assert!(calls.len() <= PLACES && calls.iter().all(|count| *count <= MOST), "{calls:?}");
}

#[tokio::test]
async fn a_target_whose_queries_are_slow_is_asked_alone_until_it_is_quick() {
    let (source, collector) = begin();
    *lock(&source.slow) = Some("heavy".to_owned());
    let both = async || tokio::join!(answered(&collector, "heavy"), answered(&collector, "light"));
    collector.note(&[look("heavy"), look("light")], Duration::from_secs(2));
    assert_eq!(both().await, (true, true));
    assert_eq!(lock(&collector.slow).iter().collect::<Vec<_>>(), ["heavy"]);
    *lock(&source.slow) = None;
    assert_eq!(both().await, (true, true));
    assert!(lock(&collector.slow).is_empty());
}

#[tokio::test]
async fn who_does_not_want_its_look_any_more_takes_nobody_elses_with_it() {
    let (source, collector) = begin();
    source.held.store(true, Ordering::SeqCst);
    let leader = tokio::spawn({
        let collector = collector.clone();
        async move { answered(&collector, "first").await }
    });
    let follower = tokio::spawn({
        let collector = collector.clone();
        async move { answered(&collector, "second").await }
    });
    while lock(&source.calls).is_empty() {
        tokio::task::yield_now().await;
    }
    leader.abort();
    let _ = leader.await;
    source.held.store(false, Ordering::SeqCst);
    source.go.notify_waiters();
    assert!(follower.await.unwrap());
}

#[tokio::test]
async fn calls_that_bring_nothing_give_their_places_back_and_are_made_alone_from_then_on() {
    let (source, collector) = begin();
    source.held.store(true, Ordering::SeqCst);
    let names: Vec<String> = (0..PLACES).map(|n| format!("t{n}")).collect();
    let hung = join_all(names.iter().map(|name| answered(&collector, name)));
    let later = async {
        while lock(&source.calls).is_empty() {
            tokio::task::yield_now().await;
        }
        source.seconds.fetch_add(LONGEST.as_secs(), Ordering::SeqCst);
    };
    let (answers, ()) = tokio::join!(hung, later);
    assert!(answers.iter().all(|answered| !answered));
    source.held.store(false, Ordering::SeqCst);
    assert_eq!(collector.shared.available_permits(), PLACES);
    assert!(names.iter().all(|name| lock(&collector.slow).contains(name)));
    assert!(answered(&collector, "other").await);
}
