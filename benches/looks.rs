//! What a look costs: a daemon with 300 rollouts in observe mode on a real Prometheus, looked at every ten seconds by three
//! metrics, one of them a histogram of 12 buckets. Prints the daemon's processor time, the questions to Prometheus and
//! the bytes in the store, each per look.
//!
//!   cargo bench --bench looks          (LOOKS_TARGETS=300 LOOKS_MINUTES=3)
// What is measured is the daemon as a program; its clock is not this bench's.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../tests/testkit/mod.rs"]
mod testkit;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use testkit::process::free_port;
use testkit::prometheus::{Job, Pages, Prometheus};
use testkit::serin::Daemon;
use testkit::wait;

const LONG: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_secs(10);
const SCRAPES: Duration = Duration::from_secs(5);
const LE: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30"];
/// Of the processor time in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

const POLICY: &str = "name: looks
description: For measuring what a look costs.
mode: observe
steps:
  - {weight: 5%, min: 12h, max: 24h, at_max: hold}
  - {weight: 100%}
analysis:
  interval: 10s
  lag: 0s
  warm_up: 0s
  dispersion: 3
  blind: {after: 5m, then: hold}
  silent: {after: 5m, then: hold}
bake: {duration: 1m}
metrics:
  - {name: errors, template: http_errors, no_harm_floor: 0.8%}
  - {name: latency, template: http_latency, no_harm_floor: 0.8%}
  - name: timeouts
    type: proportion
    bad_means: requests that took too long
    selector: {total: [{metric: http_requests_total}], bad: [{metric: http_timeouts_total}]}
    no_harm_floor: 0.8%
";

fn wanted(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The page of all services: 950 requests a second by v1 and 50 by v2 of each, 1% of them bad.
fn page(services: usize, began: SystemTime) -> String {
    let up = began.elapsed().unwrap_or_default().as_secs_f64();
    let start = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut text = String::new();
    for service in 0..services {
        for (version, rate) in [("v1", 950.0), ("v2", 50.0)] {
            let labels = format!("service=\"s{service:03}\",version=\"{version}\"");
            let all = (up * rate * (1.0 + service as f64 / 1000.0)).floor();
            let bad = (all * 0.01).floor();
            let _ = writeln!(text, "http_requests_total{{{labels},code=\"200\"}} {}", all - bad);
            let _ = writeln!(text, "http_requests_total{{{labels},code=\"500\"}} {bad}");
            let _ = writeln!(text, "http_timeouts_total{{{labels}}} {}", (all * 0.003).floor());
            let _ = writeln!(text, "process_start_time_seconds{{{labels}}} {start}");
            let histogram = "http_request_duration_seconds";
            for (place, le) in LE.iter().enumerate() {
                let below = (all * (1.0 - 0.5_f64.powi(i32::try_from(place).unwrap_or(0) + 1))).floor();
                let _ = writeln!(text, "{histogram}_bucket{{{labels},le=\"{le}\"}} {below}");
            }
            let _ = writeln!(text, "{histogram}_bucket{{{labels},le=\"+Inf\"}} {all}");
            let _ = writeln!(text, "{histogram}_sum{{{labels}}} {}", all * 0.012);
            let _ = writeln!(text, "{histogram}_count{{{labels}}} {all}");
        }
    }
    text
}

fn configuration(targets: usize, prometheus: &str) -> String {
    let mut text = format!(
        "policies: [looks.yaml]\nproviders:\n  prometheus: {{type: prometheus, url: \"{prometheus}\"}}\nrouters:\n  edge: \
         {{type: envoy, listen: \"127.0.0.1:{}\", layer: serin}}\ntargets:\n",
        free_port()
    );
    for target in 0..targets {
        let name = format!("s{target:03}");
        let pool = |letter| format!("{{backend: {name}-{letter}, labels: {{version: \"{{version}}\"}}}}");
        let _ = writeln!(
            text,
            "  {name}: {{router: edge, provider: prometheus, route: {name}, labels: {{service: {name}}}, stable: {}, \
             canary: {}, stable_version: v1}}",
            pool("a"),
            pool("b")
        );
    }
    text
}

/// What has been counted so far.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Instant,
    looks: f64,
    questions: f64,
    processor_seconds: f64,
    written: f64,
    used: f64,
    rows: f64,
}

/// The sum of a metric's samples on a page; `handler` picks some of them.
fn sum(page: &str, metric: &str, picks: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(metric) && line.contains(picks));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn text(url: String) -> String {
    reqwest::get(url).await.expect("an answer").text().await.expect("text")
}

fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the daemon runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

fn written(pid: u32) -> f64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// Bytes of the pages in use (those in the write-ahead log count as they will stand in the file), and of the rows of
/// looks.
async fn stored(folder: &Path) -> (f64, f64) {
    let options = SqliteConnectOptions::new().filename(folder.join("serin.db")).read_only(true);
    let mut connection = options.connect().await.expect("the store opens");
    let mut number = async |question: &'static str| {
        let row = sqlx::query(question).fetch_one(&mut connection).await.expect("an answer");
        row.get::<i64, _>(0) as f64
    };
    let (pages, free) = (number("PRAGMA page_count").await, number("PRAGMA freelist_count").await);
    let size = number("PRAGMA page_size").await;
    let rows = number("SELECT COALESCE(SUM(LENGTH(body)), 0) FROM looks").await;
    ((pages - free) * size, rows)
}

async fn count(daemon: &Daemon, prometheus: &Prometheus) -> Counted {
    let own = text(daemon.url("/metrics")).await;
    let other = text(format!("{}/metrics", prometheus.url())).await;
    let (used, rows) = stored(&daemon.folder).await;
    Counted {
        at: Instant::now(),
        looks: sum(&own, "serin_ticks_total", ""),
        questions: sum(&other, "prometheus_http_requests_total", "handler=\"/api/v1/"),
        processor_seconds: processor_seconds(daemon.pid()),
        written: written(daemon.pid()),
        used,
        rows,
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let (targets, minutes) = (wanted("LOOKS_TARGETS", 300), wanted("LOOKS_MINUTES", 3));
    let began = SystemTime::now();
    let pages = Pages::serve(move |_| Some(page(targets, began))).await;
    let prometheus = Prometheus::start(&[Job::new("services", SCRAPES, &[pages.address.to_string()])]).await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("looks.yaml"), POLICY).expect("the policy");
    let log = [("RUST_LOG".to_owned(), "info".to_owned())];
    let daemon = Daemon::start_with(folder.path(), &configuration(targets, &prometheus.url()), &log).await;
    let scraped = async || {
        let asked = reqwest::Client::new().get(format!("{}/api/v1/query", prometheus.url()));
        let found = asked.query(&[("query", "count(http_timeouts_total)")]).send().await.ok()?;
        let found: Value = found.json().await.ok()?;
        found["data"]["result"][0]["value"][1].as_str().map(drop)
    };
    wait::until("Prometheus has scraped the services", LONG, scraped).await;
    for target in 0..targets {
        let body =
            json!({"target": format!("s{target:03}"), "policy": "looks", "version": "v2", "by": "erin"});
        let (status, answer) = daemon.post("/api/v1/rollouts", &body).await;
        assert_eq!(status, 201, "{answer}");
    }
    let all_in_step = async || {
        let page = daemon.try_get("/api/v1/rollouts?active=true&limit=200").await?;
        let items = page["items"].as_array()?;
        items.iter().all(|view| view["stage"] == "analysing").then_some(())
    };
    wait::until("every rollout is analysed", LONG, all_in_step).await;
    // Looks are stored before they are counted; the first ones are over.
    tokio::time::sleep(INTERVAL).await;
    let before = count(&daemon, &prometheus).await;
    tokio::time::sleep(Duration::from_secs(60) * u32::try_from(minutes).unwrap_or(1)).await;
    let after = count(&daemon, &prometheus).await;
    let looks = after.looks - before.looks;
    let took = after.at.duration_since(before.at).as_secs_f64();
    let expected = targets as f64 * took / INTERVAL.as_secs_f64();
    println!(
        "{targets} rollouts, {took:.0} s, {looks:.0} looks ({:.1}% of those that were due)",
        100.0 * looks / expected
    );
    let row = |what: &str, per: f64, unit: &str| println!("{what:<42} {per:>8.2} {unit}");
    row(
        "processor time of the daemon per look",
        (after.processor_seconds - before.processor_seconds) / looks * 1e3,
        "ms",
    );
    row("questions to Prometheus per look", (after.questions - before.questions) / looks, "");
    row("growth of the store per look", (after.used - before.used) / looks, "bytes");
    row("of that in the rows of looks", (after.rows - before.rows) / looks, "bytes");
    row("written to the disk per look", (after.written - before.written) / looks, "bytes");
}
