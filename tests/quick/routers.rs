//! Routers without their real counterparts.

mod earlier;
mod haproxy;
mod rtds;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serin::core::spec::Pool;
use serin::core::split::{Role, Split, Weight};
use serin::core::time::Timestamp;
use serin::ports::{Clock, Route, TrafficRouter};
use serin::routers::in_process::InProcessRouter;

const DEADLINE: Duration = Duration::from_secs(60);
const FORGET: Duration = Duration::from_secs(600);

/// A clock that is set by hand, in milliseconds.
struct HandClock(AtomicI64);

impl HandClock {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as i64, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn wall(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst) as u64)
    }

    async fn sleep_until(&self, _until: Duration) {
        std::future::pending::<()>().await;
    }
}

fn canary(weight: u16) -> Split {
    Split::canary(Weight(weight), false)
}

fn route(target: &str, split: Split, generation: u64) -> Route {
    let pool = |name: &str| Pool { backend: name.to_owned(), ..Pool::default() };
    Route {
        target: target.to_owned(),
        route: target.to_owned(),
        pools: BTreeMap::from([(Role::Stable, pool("stable")), (Role::Canary, pool("canary"))]),
        split,
        generation,
        nodes: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_split_in_the_process_is_heard_of_and_changed_by_hand() {
    let router = InProcessRouter::new();
    let stored = route("shop", canary(2_500), 2);
    assert_eq!(router.pick("shop", 0), Role::Stable, "before it is known");
    assert!(!router.set_by_hand("shop", Split::STABLE));
    router.load(std::slice::from_ref(&stored)).await.unwrap();
    assert_eq!((router.pick("shop", 0), router.pick("shop", u64::MAX)), (Role::Canary, Role::Stable));
    assert_eq!(router.pick_backend("shop", 0).as_deref(), Some("canary"));
    router.changed("shop").await;
    assert!(router.set_by_hand("shop", canary(500)));
    router.changed("shop").await;
    assert_eq!(router.observe(&stored).await.unwrap().split, Some(canary(500)));
    router.apply(&stored).await.unwrap();
    assert_eq!(router.observe(&stored).await.unwrap().split, Some(stored.split));
}
