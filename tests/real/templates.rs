//! Templates on the metrics of a real Envoy and a real HAProxy: what each status is counted as.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use serin::config::templates::template;
use serin::core::arms::ArmSelector;
use serin::core::metric::{Counts, MetricCursor};
use serin::ports::{CountsRequest, MetricsProvider, Required};
use serin::providers::scrape::ScrapeConfig;

use crate::providers::service::wall;
use crate::testkit::envoy::{Envoy, EnvoyOptions};
use crate::testkit::haproxy::{Haproxy, HaproxyBackend};
use crate::testkit::process::free_port;
use crate::testkit::wait::until;

/// How many requests get which status.
const SENT: [(u16, usize); 7] = [(200, 20), (302, 3), (401, 2), (404, 5), (429, 4), (499, 1), (503, 6)];
const ALL: u64 = 41;

/// A service that answers `/answer/404` with 404.
async fn service() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let answer = |Path(status): Path<u16>| async move { StatusCode::from_u16(status).expect("a status") };
    let app = Router::new().route("/answer/{status}", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn send(port: u16) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (status, times) in SENT {
        for _ in 0..times {
            let answer = client.get(format!("http://127.0.0.1:{port}/answer/{status}")).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
        }
    }
}

/// A template whose counts are read before and after the requests.
struct Reading {
    name: &'static str,
    cursor: Option<MetricCursor>,
    bad: u64,
    all: u64,
}

/// Reads all of them once; adds what is new since the last time.
async fn read(provider: &Arc<dyn MetricsProvider>, arms: &[ArmSelector; 2], readings: &mut [Reading]) {
    for reading in readings {
        let request = CountsRequest {
            by_route: None,
            required: Required::Both,
            metric: reading.name.to_owned(),
            source: template(reading.name).expect("a template").source(&BTreeMap::new()),
            canary: arms[1].clone(),
            baseline: arms[0].clone(),
            cursor: reading.cursor.take(),
            rollout_started: wall(),
            now: wall(),
            lag: Duration::ZERO,
            stale_after: Duration::from_secs(60),
        };
        let answer = provider.counts(std::slice::from_ref(&request)).await.remove(0);
        if let Ok(Counts::Proportion { total, bad }) = answer.observation.baseline {
            reading.all += total;
            reading.bad += bad;
        }
        reading.cursor = answer.cursor.or(request.cursor);
    }
}

/// Sends the requests to the baseline, and checks what each template counts of them.
async fn check(port: u16, arms: [ArmSelector; 2], expected: &[(&'static str, u64)]) {
    let provider = ScrapeConfig { deadline: Duration::from_secs(10), max_bytes: 1 << 20 }.build().unwrap();
    let new = |(name, _): &(&'static str, u64)| Reading { name, cursor: None, bad: 0, all: 0 };
    let mut readings: Vec<Reading> = expected.iter().map(new).collect();
    until("every template has a first reading", Duration::from_secs(60), async || {
        read(&provider, &arms, &mut readings).await;
        readings.iter().all(|reading| reading.cursor.is_some()).then_some(())
    })
    .await;
    send(port).await;
    until("every request is counted", Duration::from_secs(60), async || {
        read(&provider, &arms, &mut readings).await;
        readings.iter().all(|reading| reading.all >= ALL).then_some(())
    })
    .await;
    let counted: Vec<_> = readings.iter().map(|reading| (reading.name, reading.bad)).collect();
    assert_eq!(counted, expected);
    assert!(readings.iter().all(|reading| reading.all == ALL));
}

fn arm(label: &str, value: &str, endpoint: &str) -> ArmSelector {
    let labels = BTreeMap::from([(label.to_owned(), value.to_owned())]);
    ArmSelector { labels, endpoints: vec![endpoint.to_owned()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_at_an_envoy_is_counted_as_its_template_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = service().await.port();
    let rtds = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let clusters = [("shop-a", port), ("shop-b", port)];
    let envoy =
        Envoy::start(folder.path(), &EnvoyOptions::new("edge", rtds, "routing.shop", &clusters)).await;
    let pages = format!("http://127.0.0.1:{}/stats/prometheus", envoy.admin_port);
    let arms = ["shop-a", "shop-b"].map(|cluster| arm("envoy_cluster_name", cluster, &pages));
    let expected = [
        ("envoy_errors", 6),
        ("envoy_client_errors", 7),
        ("envoy_throttled", 4),
        ("envoy_successes", 23),
        ("envoy_retries", 0),
    ];
    check(envoy.port, arms, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_at_an_haproxy_is_counted_as_its_template_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = service().await.port();
    let backend = HaproxyBackend::new("/", "shop", &[("shop-a", port), ("shop-b", port)]);
    let haproxy = Haproxy::start(folder.path(), &[backend]).await;
    let arms = ["shop-a", "shop-b"].map(|server| arm("server", server, &haproxy.metrics_url()));
    let expected = [
        ("haproxy_errors", 6),
        ("haproxy_client_errors", 12),
        ("haproxy_successes", 23),
        ("haproxy_retries", 0),
    ];
    check(haproxy.port, arms, &expected).await;
}
