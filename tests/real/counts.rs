//! Counts are exact over restarts of the services and staggered scrapes.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::ids::RolloutId;
use serin::core::metric::{Counts, Usage};
use serin::demo::load::{Load, LoadOptions};
use serin::demo::service::Service;
use serin::ports::Queries;
use serin::store::SqliteStore;

use crate::providers::service::raw;
use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

/// Sum over the lives of the processes of what Prometheus scraped last, by its own account: all requests,
/// and those with a status 5xx.
async fn scraped(stage: &Stage, service: &Service) -> (u64, u64) {
    let instance = service.addr();
    let prometheus = stage.prometheus.url();
    // One query, so that both are there of each scrape.
    let query = format!(
        "{{__name__=~\"http_requests_total|process_start_time_seconds\",instance=\"{instance}\"}}[1h]"
    );
    let (requests, starts): (Vec<_>, Vec<_>) =
        raw(&prometheus, &query).await.into_iter().partition(|(code, _)| !code.is_empty());
    let start_at: BTreeMap<i64, String> = starts.into_iter().flat_map(|(_, samples)| samples).collect();
    let mut last: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (code, samples) in requests {
        for (at, value) in samples {
            // Later samples of the same life replace earlier ones.
            last.insert((code.clone(), start_at[&at].clone()), value.parse().expect("a number"));
        }
    }
    let bad = last.iter().filter(|((code, _), _)| code.starts_with('5')).map(|(_, value)| value).sum();
    (last.values().sum(), bad)
}

async fn stored(stage: &Stage, id: &str) -> [(u64, u64); 2] {
    let store = SqliteStore::open(&stage.folder.path().join("serin.db")).await.expect("the store opens");
    let rows = store.observations(&RolloutId(id.to_owned()), 0, 100_000).await.expect("observations");
    let mut sums = [(0, 0); 2];
    for metric in rows.iter().flat_map(|(tick, _)| &tick.metrics) {
        if metric.metric != "errors" || metric.usage == Usage::Pending {
            continue;
        }
        for (sum, reading) in sums.iter_mut().zip([&metric.baseline, &metric.canary]) {
            if let Ok(Counts::Proportion { total, bad }) = reading {
                sum.0 += total;
                sum.1 += bad;
            }
        }
    }
    sums
}

/// Waits until the canary has had a hundred more requests.
async fn busy_canary(stage: &Stage) {
    let before = stage.canary.requests();
    let enough = async || (stage.canary.requests() > before + 100).then_some(());
    wait::within(Duration::from_secs(60), enough).await.expect("the canary gets requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_counts_equal_what_was_scraped_over_all_lives() {
    let patient = policy("").replace("min: 5s", "min: 9m").replace("after: 8s", "after: 60s");
    let plan = Plan { rate: 1.0, policy: patient, scrape_seconds: [1, 5], ..Plan::default() };
    let longest = plan.longest;
    let mut stage = Stage::start(plan).await;
    // No traffic before both arms have their base: then everything that is scraped is counted.
    let idle = LoadOptions { max_requests: 0, ..LoadOptions::new(stage.stable.addr(), 1.0) };
    std::mem::replace(&mut stage.load, Load::start(idle)).stop().await;
    for service in [&stage.stable, &stage.canary] {
        reqwest::get(service.url("/")).await.expect("an answer");
    }
    // A process that is older than the rollout counts from its first scrape, so that one comes before.
    let both = async || {
        let seen = [scraped(&stage, &stage.stable).await, scraped(&stage, &stage.canary).await];
        seen.iter().all(|(all, _)| *all > 0).then_some(())
    };
    wait::until("both are scraped", Duration::from_secs(60), both).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let analysing = |view: &serde_json::Value| view["stage"] == "analysing";
    stage.daemon.until(&id, "the first step", 120, analysing).await;
    // Without traffic this is what the first look has found: the base.
    let base = [scraped(&stage, &stage.stable).await, scraped(&stage, &stage.canary).await];
    let entry = ([127, 0, 0, 1], stage.proxy.port()).into();
    let busy = LoadOptions { max_requests: 60_000, max_duration: longest, ..LoadOptions::new(entry, 400.0) };
    stage.load = Load::start(busy);
    for _ in 0..3 {
        busy_canary(&stage).await;
        stage.canary.restart().await.expect("a new life");
        stage.stable.restart().await.expect("a new life");
    }
    // The last lives too: an arm that shows nothing keeps the other's counts waiting.
    busy_canary(&stage).await;
    assert_eq!((stage.canary.lives().len(), stage.stable.lives().len()), (4, 4));
    std::mem::replace(
        &mut stage.load,
        Load::start(LoadOptions { max_requests: 0, ..LoadOptions::new(entry, 1.0) }),
    )
    .stop()
    .await;
    let mut last = None;
    let equal = wait::within(Duration::from_secs(60), async || {
        let counted = stored(&stage, &id).await;
        let now = [scraped(&stage, &stage.stable).await, scraped(&stage, &stage.canary).await];
        let expected = [0, 1].map(|arm| {
            let (now, base) = (now[arm], base[arm]);
            (now.0 - base.0, now.1 - base.1)
        });
        last = Some((counted, expected));
        (counted == expected).then_some(())
    });
    let equal = equal.await;
    let (counted, expected) = last.expect("looked");
    assert!(equal.is_some(), "stored {counted:?}, scraped {expected:?} (stable, canary: all, bad)");
    assert!(expected[0].0 > 1_000 && expected[1].0 > 50, "{expected:?}");
    println!("stored = scraped = {expected:?} (stable, canary: all, bad)");
}
