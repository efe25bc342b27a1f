//! The providers against servers that answer rightly, wrongly, slowly or not at all.

#[path = "providers/arms.rs"]
mod arms;
#[path = "providers/faults.rs"]
mod faults;
#[path = "providers/noticed.rs"]
mod noticed;
#[path = "providers/scraping.rs"]
mod scraping;
#[path = "providers/server.rs"]
mod server;
#[path = "providers/texts.rs"]
mod texts;

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::arms::ArmSelector;
use serin::core::metric::{Counts, MetricCursor, NoData, Reading};
use serin::core::source::{MatchOp, Matcher, MetricSource, Selector};
use serin::core::time::Timestamp;
use serin::ports::{CountsRequest, Required};
use serin::providers::prometheus::PrometheusConfig;

/// 2023-11-14, in the past: nothing here reads the clock.
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn at(seconds: f64) -> Timestamp {
    Timestamp(NOW.0 + (seconds * 1000.0) as i64)
}

fn config(url: &str) -> PrometheusConfig {
    PrometheusConfig {
        url: url.to_owned(),
        // Nothing but the tests of slowness waits for it.
        deadline: Duration::from_secs(60),
        bearer_token: None,
        basic_auth: None,
        headers: BTreeMap::new(),
        ca_file: None,
        client_certificate_file: None,
        max_series: 100,
        pin: BTreeMap::new(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

fn arm(version: &str) -> ArmSelector {
    ArmSelector { labels: labels(&[("version", version)]), endpoints: Vec::new() }
}

fn selector(metric: &str) -> Selector {
    Selector { metric: metric.to_owned(), matchers: Vec::new() }
}

fn selector_with(metric: &str, label: &str, op: MatchOp, value: &str) -> Selector {
    let matcher = Matcher { label: label.to_owned(), op, value: value.to_owned() };
    Selector { metric: metric.to_owned(), matchers: vec![matcher] }
}

fn proportion() -> MetricSource {
    MetricSource::Proportion {
        total: vec![selector("requests_total")],
        bad: vec![selector("errors_total")],
        process_start: Some("process_start_time_seconds".to_owned()),
    }
}

fn latency(unit: &str) -> MetricSource {
    MetricSource::Latency {
        histogram: selector("duration"),
        unit_seconds: unit.to_owned(),
        process_start: None,
    }
}

fn request(source: MetricSource, cursor: Option<MetricCursor>, now: Timestamp) -> CountsRequest {
    CountsRequest {
        by_route: None,
        metric: "m".to_owned(),
        source,
        canary: arm("new"),
        baseline: arm("old"),
        cursor,
        required: Required::Both,
        rollout_started: at(-1.0),
        now,
        lag: Duration::ZERO,
        stale_after: Duration::from_secs(30),
    }
}

fn counted(total: u64, bad: u64) -> Reading<Counts> {
    Ok(Counts::Proportion { total, bad })
}

/// The reading is a reason of the expected kind, whose detail contains the expected one's.
fn assert_reason<T: std::fmt::Debug>(reading: &Reading<T>, expected: &NoData, case: &str) {
    let found = reading.as_ref().expect_err(case);
    let parts = |reason: &NoData| {
        let json = serde_json::to_value(reason).unwrap();
        let detail = json.get("detail").map_or(String::new(), |detail| match detail.as_str() {
            Some(text) => text.to_owned(),
            None => detail.to_string(),
        });
        (json["reason"].clone(), detail)
    };
    let ((kind, detail), (expected_kind, expected_detail)) = (parts(found), parts(expected));
    assert!(
        kind == expected_kind && detail.contains(&expected_detail),
        "{case}: expected {expected:?}, found {found:?}"
    );
}
