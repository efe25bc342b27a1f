//! What a rollout learns from the past of its metrics, read from a real Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serin::core::judge::{DispersionSource, MetricHistory, Recorded};
use serin::core::metric::Counts;
use serin::core::policy::{Direction, Metric};
use serin::ports::{HistoryRequest, MetricsProvider};

use crate::providers::service::{Service, lives_of, raw, wall};
use crate::providers::{BASELINE, arm, job, prometheus_config, proportion};
use crate::testkit::prometheus::Prometheus;
use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait::until;

const DEADLINE: Duration = Duration::from_secs(120);

async fn past(provider: &dyn MetricsProvider) -> Recorded {
    let request = HistoryRequest {
        metric: "errors".to_owned(),
        source: proportion(),
        baseline: arm(BASELINE, &[]),
        now: wall(),
        over: Duration::from_secs(600),
        window: Duration::from_secs(1),
    };
    provider.history(&[request]).await.remove(0).expect("the past of the baseline")
}

fn sums(recorded: &Recorded) -> BTreeMap<String, [u64; 2]> {
    let mut sums: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for (instance, counts) in recorded.windows.iter().flat_map(|window| &window.instances) {
        let Counts::Proportion { total, bad } = counts else { panic!("{counts:?}") };
        let sum = sums.entry(instance.clone()).or_default();
        sum[0] += total;
        sum[1] += bad;
    }
    sums
}

/// Two instances of the baseline; one of them fails in bursts. The recorded windows add up to what
/// Prometheus has, and the bursts show as dispersion between the instances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_what_was_scraped_and_bursts_of_one_instance_are_dispersion() {
    let services = [Service::start(true).await, Service::start(true).await];
    // Series of which the first sample is known: what comes later is a rise.
    for service in &services {
        service.request(200, 1);
        service.request(500, 1);
    }
    let jobs = [job("one", 1, BASELINE, &[&services[0]]), job("two", 1, BASELINE, &[&services[1]])];
    let prometheus = Prometheus::start(&jobs).await;
    let series = async || raw(&prometheus.url(), "requests_total[10m]").await.len();
    until("the first scrape of both", DEADLINE, async || (series().await == 4).then_some(())).await;

    let provider = prometheus_config(&prometheus.url()).build().expect("the provider");
    for round in 0..24_u64 {
        let before = scraped(&prometheus, &services).await;
        for (index, service) in services.iter().enumerate() {
            service.request(200, 400);
            service.request(500, if index == 0 && round % 6 == 0 { 60 } else { 2 });
        }
        until("the round is scraped", DEADLINE, async || {
            (scraped(&prometheus, &services).await > before).then_some(())
        })
        .await;
    }

    let expected: u64 = services.len() as u64 * 24 * 400 + 4 * 58 + 48 * 2;
    let recorded = until("all rounds are recorded", DEADLINE, async || {
        let recorded = past(provider.as_ref()).await;
        (sums(&recorded).values().map(|sum| sum[0]).sum::<u64>() == expected).then_some(recorded)
    })
    .await;
    let bad: u64 = sums(&recorded).values().map(|sum| sum[1]).sum();
    assert_eq!(bad, 4 * 58 + 48 * 2);
    let found = MetricHistory::measure(&errors(), &recorded).expect("enough to measure");
    assert_eq!(found.source, DispersionSource::Instances);
    assert!(found.dispersion > 3.0, "{found:?}");
}

async fn scraped(prometheus: &Prometheus, services: &[Service; 2]) -> u64 {
    let mut sum = u64::MAX;
    for service in services {
        sum = sum.min(lives_of(&prometheus.url(), BASELINE, &service.address()).await.total);
    }
    sum
}

fn errors() -> Metric {
    let policy = serin::config::parse_policy("test.yaml", policy("").as_bytes()).expect("the policy");
    let metric = policy.metrics.into_iter().find(|metric| metric.name == "errors").expect("errors");
    Metric { source: proportion(), direction: Direction::LowerIsBetter, ..metric }
}

/// A rollout on real parts: with enough past its dispersion is measured, frozen, and told.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_measures_its_dispersion_and_says_from_what() {
    let measured = policy("").replace("  dispersion: 1\n", "  dispersion: 7\n  history: 30s\n");
    let stage = Stage::start(Plan { policy: measured, ..Plan::default() }).await;
    let query = "http_requests_total{version=\"v1\",code=~\"5..\"}[5m]";
    until("half a minute of the past, and errors in it", DEADLINE, async || {
        let series = raw(&stage.prometheus.url(), query).await;
        let (first, last) = (series.first()?.1.first()?.clone(), series.first()?.1.last()?.clone());
        (last.0 - first.0 > 31_000).then_some(())
    })
    .await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let judged = |view: &Value| {
        let metrics = view["assessment"]["metrics"].as_array();
        metrics.is_some_and(|all| {
            !all.is_empty() && all.iter().all(|m| m["canary"]["requests"].as_u64() > Some(0))
        })
    };
    let view = stage.daemon.until(&id, "the canary's first counts", 120, judged).await;
    for (metric, name) in [(0, "errors"), (1, "latency")] {
        let kept = &view["history"][name];
        assert_eq!(kept["source"], "over_time", "{view:#}");
        let phi = kept["dispersion"].as_f64().expect("a dispersion");
        // How long requests take hangs on the machine, which may stop for a moment; whether they fail does not.
        let most = if name == "errors" { 30.0 } else { f64::MAX };
        assert!((1.0..most).contains(&phi), "{name}: independent requests have hardly any: {phi}");
        let used = &view["assessment"]["metrics"][metric];
        assert_eq!((&used["name"], &used["dispersion_source"]), (&name.into(), &"over_time".into()));
        assert!(used["dispersion"].as_f64().expect("a dispersion") <= phi, "{used:#}");
    }
    let sentences = stage.daemon.sentences(&id).await;
    let told = sentences.iter().find(|sentence| sentence.contains("Dispersion for this rollout: errors "));
    let told = told.unwrap_or_else(|| panic!("{sentences:#?}"));
    assert!(told.contains("measured over the baseline's own past"), "{told}");
    println!("{told}");
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
}
