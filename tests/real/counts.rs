//! Counts are exact over restarts of the services and staggered scrapes.

use std::time::Duration;

use serin::core::metric::{Counts, Usage};
use serin::core::rollout::RolloutId;
use serin::demo::load::{Load, LoadOptions};
use serin::demo::service::Service;
use serin::ports::Store;
use serin::store::SqliteStore;

use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

/// Sum over the lives of what was scraped last: all requests, and those with a status 5xx.
fn scraped(service: &Service) -> (u64, u64) {
    let mut sums = (0, 0);
    for life in service.lives() {
        let page = life.last_page.unwrap_or_default();
        for line in page.lines().filter(|line| line.starts_with("http_requests_total{")) {
            let value: f64 = line.rsplit(' ').next().expect("a value").parse().expect("a number");
            sums.0 += value as u64;
            if line.contains("code=\"5") {
                sums.1 += value as u64;
            }
        }
    }
    sums
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
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let analysing = |view: &serde_json::Value| view["stage"] == "analysing";
    stage.daemon.until(&id, "the first step", 120, analysing).await;
    // Without traffic this is what the first looks have found: the base.
    let base = [scraped(&stage.stable), scraped(&stage.canary)];
    let entry = ([127, 0, 0, 1], stage.proxy.port()).into();
    let busy = LoadOptions { max_requests: 60_000, max_duration: longest, ..LoadOptions::new(entry, 400.0) };
    stage.load = Load::start(busy);
    for round in 1..=3u64 {
        let canary = stage.canary.requests();
        let enough = wait::within(Duration::from_secs(60), async || {
            (stage.canary.requests() > canary + 100).then_some(())
        });
        enough.await.expect("the canary gets requests");
        stage.canary.restart().await.expect("a new life");
        stage.stable.restart().await.expect("a new life");
        assert!(stage.canary.lives().len() as u64 > round);
    }
    std::mem::replace(
        &mut stage.load,
        Load::start(LoadOptions { max_requests: 0, ..LoadOptions::new(entry, 1.0) }),
    )
    .stop()
    .await;
    let mut last = None;
    let equal = wait::within(Duration::from_secs(60), async || {
        let counted = stored(&stage, &id).await;
        let expected = [0, 1].map(|arm| {
            let now = scraped([&stage.stable, &stage.canary][arm]);
            (now.0 - base[arm].0, now.1 - base[arm].1)
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
