//! What every check uses: the clock, services that count, load, routes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serin::core::pools::ObservedSplit;
use serin::core::spec::Pool;
use serin::core::split::{Role, Split, Weight};
use serin::core::time::Timestamp;
use serin::ports::{Clock, Route, TrafficRouter};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::testkit::wait;

pub const DEADLINE: Duration = Duration::from_secs(60);

/// The real clock.
pub struct RealClock(tokio::time::Instant);

#[async_trait]
impl Clock for RealClock {
    #[allow(clippy::disallowed_methods)]
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(since.as_millis() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep_until(&self, until: Duration) {
        tokio::time::sleep_until(self.0 + until).await;
    }
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(RealClock(tokio::time::Instant::now()))
}

/// A service that counts its requests.
pub struct Service {
    pub port: u16,
    count: Arc<AtomicU64>,
}

impl Service {
    pub async fn start() -> Service {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let app = axum::Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { "ok" }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Service { port, count }
    }

    pub fn take(&self) -> u64 {
        self.count.swap(0, Ordering::SeqCst)
    }
}

/// `n` requests, four at a time; all must succeed.
pub async fn load(url: &str, n: u64) {
    let client = reqwest::Client::new();
    let each = (0..4).map(|_| {
        let (client, url) = (client.clone(), url.to_owned());
        tokio::spawn(async move {
            for _ in 0..n / 4 {
                let answer = client.get(&url).send().await.unwrap().error_for_status().unwrap();
                answer.bytes().await.unwrap();
            }
        })
    });
    for task in each.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

pub fn canary(weight: u16) -> Split {
    Split::canary(Weight(weight), false)
}

/// A target with the pools `<target>-stable` and `<target>-canary`.
pub fn route(target: &str, split: Split, generation: u64) -> Route {
    let pool = |name: &str| Pool { backend: format!("{target}-{name}"), ..Pool::default() };
    Route {
        target: target.to_owned(),
        route: target.to_owned(),
        pools: BTreeMap::from([(Role::Stable, pool("stable")), (Role::Canary, pool("canary"))]),
        split,
        generation,
        nodes: BTreeMap::new(),
    }
}

/// The chance of a count at least so far out, on either side; all is well above 10⁻⁶.
pub fn assert_share(found: u64, of: u64, share: f64) {
    let binomial = Binomial::new(share, of).unwrap();
    let upper = if found == 0 { 1.0 } else { binomial.sf(found - 1) };
    let p = 2.0 * binomial.cdf(found).min(upper);
    assert!(p >= 1e-6, "{found} of {of} requests, where {share} was wanted: p = {p:e}");
}

/// Waits until the route's split is in force.
pub async fn seen(router: &dyn TrafficRouter, route: &Route) -> ObservedSplit {
    let what = format!("{} of {}", route.split, route.target);
    let asked = AtomicU64::new(0);
    wait::until(&what, DEADLINE, || async {
        let observed = router.observe(route).await.unwrap();
        if asked.fetch_add(1, Ordering::Relaxed) == 400 {
            eprintln!("long not seen: {what}; there is {observed:?}");
        }
        (observed.split == Some(route.split)).then_some(observed)
    })
    .await
}

pub async fn drive(router: &dyn TrafficRouter, route: &Route) -> ObservedSplit {
    router.apply(route).await.unwrap();
    seen(router, route).await
}
