//! What Serin says of itself: every metric of its own in one table, functions to record them, and the
//! set-up of the log.
//!
//! Labels are bounded: services and policies come from the configuration, everything else from closed
//! lists. A rollout's id is never a label.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in buckets; the bounds are in the metric's unit.
    Histogram(&'static [f64]),
}

/// One metric of Serin's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Definition {
    /// Its name: `serin_`, what, the base unit, and `_total` for counters.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

const fn definition(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind, help, labels }
}

const SHORT: Kind =
    Kind::Histogram(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
const LONG: Kind =
    Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]);
const SERVICE: &[&str] = &["service"];
const SERVICE_POLICY: &[&str] = &["service", "policy"];

/// The version that runs.
pub const BUILD_INFO: Definition =
    definition("serin_build_info", Kind::Gauge, &["version"], "Always 1; the label says which version runs.");
/// Looks at the metrics.
pub const TICKS: Definition =
    definition("serin_ticks_total", Kind::Counter, SERVICE_POLICY, "Looks at a rollout's metrics.");
/// How long looks take.
pub const TICK_DURATION: Definition = definition(
    "serin_tick_duration_seconds",
    SHORT,
    SERVICE_POLICY,
    "Time from the start of a look to its commit.",
);
/// Decisions.
pub const DECISIONS: Definition = definition(
    "serin_decisions_total",
    Kind::Counter,
    &["service", "policy", "decision"],
    "Decisions by kind: start, advance, promote, roll_back, hold, succeed, cancel, fail.",
);
/// Readings that gave nothing.
pub const COLLECT_FAULTS: Definition = definition(
    "serin_collect_faults_total",
    Kind::Counter,
    &["service", "policy", "reason"],
    "Readings of an arm that gave no data, by reason.",
);
/// Splits that could not be applied.
pub const SPLIT_APPLY_FAULTS: Definition = definition(
    "serin_split_apply_faults_total",
    Kind::Counter,
    SERVICE,
    "Attempts to set a split that the router did not take.",
);
/// From wanting a split to seeing it.
pub const SPLIT_CONFIRM: Definition = definition(
    "serin_split_confirm_seconds",
    LONG,
    SERVICE,
    "Time from wanting a split until the data plane was seen to have it.",
);
/// From deciding on a rollback to seeing weight 0.
pub const ROLLBACK_CONFIRM: Definition = definition(
    "serin_rollback_confirm_seconds",
    LONG,
    SERVICE,
    "Time from the decision to roll back until the data plane was seen to have the canary at 0.",
);
/// Rollouts that are not at an end.
pub const ROLLOUTS_ACTIVE: Definition = definition(
    "serin_rollouts_active",
    Kind::Gauge,
    &["phase"],
    "Rollouts that are not at an end, by phase.",
);
/// Notices on their way.
pub const OUTBOX_PENDING: Definition =
    definition("serin_outbox_pending", Kind::Gauge, &[], "Notices that are not delivered yet.");
/// Notices given up.
pub const OUTBOX_DEAD: Definition =
    definition("serin_outbox_dead", Kind::Gauge, &[], "Notices that were given up after the last attempt.");
/// Faults of the store.
pub const STORE_FAULTS: Definition = definition(
    "serin_store_faults_total",
    Kind::Counter,
    &["kind"],
    "Faults of the store: conflict, unavailable, corrupt.",
);
/// Whether the store takes writes.
pub const STORE_WRITABLE: Definition = definition(
    "serin_store_writable",
    Kind::Gauge,
    &[],
    "1 while the store takes writes, 0 while no exposure may rise for want of it.",
);
/// Requests at the API.
pub const HTTP_REQUESTS: Definition = definition(
    "serin_http_requests_total",
    Kind::Counter,
    &["route", "method", "status"],
    "Requests at Serin's own HTTP interface.",
);
/// How long requests at the API take.
pub const HTTP_DURATION: Definition = definition(
    "serin_http_request_duration_seconds",
    SHORT,
    &["route", "method"],
    "Time from a request's headers to its answer.",
);

/// Every metric of Serin's own.
pub const METRICS: &[Definition] = &[
    BUILD_INFO,
    TICKS,
    TICK_DURATION,
    DECISIONS,
    COLLECT_FAULTS,
    SPLIT_APPLY_FAULTS,
    SPLIT_CONFIRM,
    ROLLBACK_CONFIRM,
    ROLLOUTS_ACTIVE,
    OUTBOX_PENDING,
    OUTBOX_DEAD,
    STORE_FAULTS,
    STORE_WRITABLE,
    HTTP_REQUESTS,
    HTTP_DURATION,
];

/// Phases that are not an end, for [`rollouts_active`].
pub const ACTIVE_PHASES: &[&str] =
    &["scheduled", "preflight", "preparing", "progressing", "finalizing", "baking", "rolling_back"];

// --------------------------------------------------------------------------------------------- recording

/// A look at a rollout's metrics has been committed after `seconds`.
pub fn tick(service: &str, policy: &str, seconds: f64) {
    counter!(TICKS.name, "service" => service.to_owned(), "policy" => policy.to_owned()).increment(1);
    histogram!(TICK_DURATION.name, "service" => service.to_owned(), "policy" => policy.to_owned())
        .record(seconds);
}

/// A decision was committed; `decision` is one of the words in [`DECISIONS`]' help.
pub fn decision(service: &str, policy: &str, decision: &'static str) {
    counter!(DECISIONS.name, "service" => service.to_owned(), "policy" => policy.to_owned(),
        "decision" => decision)
    .increment(1);
}

/// A reading of an arm gave no data; `reason` is the stable name of the reason, without its detail.
pub fn collect_fault(service: &str, policy: &str, reason: &'static str) {
    counter!(COLLECT_FAULTS.name, "service" => service.to_owned(), "policy" => policy.to_owned(),
        "reason" => reason)
    .increment(1);
}

/// A router did not take a split.
pub fn split_apply_fault(service: &str) {
    counter!(SPLIT_APPLY_FAULTS.name, "service" => service.to_owned()).increment(1);
}

/// A wanted split was seen in force `seconds` after it was wanted.
pub fn split_confirmed(service: &str, seconds: f64) {
    histogram!(SPLIT_CONFIRM.name, "service" => service.to_owned()).record(seconds);
}

/// Weight 0 was seen in force `seconds` after the decision to roll back.
pub fn rollback_confirmed(service: &str, seconds: f64) {
    histogram!(ROLLBACK_CONFIRM.name, "service" => service.to_owned()).record(seconds);
}

/// How many rollouts are in which phase; phases that are not named are at 0.
pub fn rollouts_active(by_phase: &BTreeMap<&'static str, u64>) {
    for phase in ACTIVE_PHASES {
        let count = by_phase.get(phase).copied().unwrap_or(0);
        gauge!(ROLLOUTS_ACTIVE.name, "phase" => *phase).set(count as f64);
    }
}

/// How many notices are on their way, and how many were given up.
pub fn outbox(pending: u64, dead: u64) {
    gauge!(OUTBOX_PENDING.name).set(pending as f64);
    gauge!(OUTBOX_DEAD.name).set(dead as f64);
}

/// The store did not do what it was asked; `kind` is one of the words in [`STORE_FAULTS`]' help.
pub fn store_fault(kind: &'static str) {
    counter!(STORE_FAULTS.name, "kind" => kind).increment(1);
}

/// Whether the store takes writes.
pub fn store_writable(writable: bool) {
    gauge!(STORE_WRITABLE.name).set(if writable { 1.0 } else { 0.0 });
}

/// A request at the API was answered. `route` is the pattern, never the path that was asked for.
pub fn http_request(route: &str, method: &'static str, status: u16, seconds: f64) {
    counter!(HTTP_REQUESTS.name, "route" => route.to_owned(), "method" => method,
        "status" => status.to_string())
    .increment(1);
    histogram!(HTTP_DURATION.name, "route" => route.to_owned(), "method" => method).record(seconds);
}

// -------------------------------------------------------------------------------------------------- set-up

/// Why the metrics or the log could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// There is a recorder already, or the table is wrong.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(String),
    /// The filter cannot be read, or there is a log already.
    #[error("the log cannot be set up: {0}")]
    Log(String),
}

/// The recorded metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Everything as Prometheus text.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// As the function that the API wants.
    pub fn renderer(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let metrics = self.clone();
        Arc::new(move || metrics.render())
    }

    /// Folds recorded values into their buckets every five seconds, so that memory stays bounded
    /// while nobody scrapes. Runs until it is dropped.
    pub async fn upkeep(&self) {
        let mut every = tokio::time::interval(Duration::from_secs(5));
        loop {
            every.tick().await;
            self.handle.run_upkeep();
        }
    }
}

/// Makes this process record its metrics; call it once, early.
///
/// # Errors
/// [`TelemetryError::Metrics`] if a recorder is there already.
pub fn install_metrics() -> Result<Metrics, TelemetryError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|e| TelemetryError::Metrics(e.to_string()))?;
    describe();
    Ok(Metrics { handle })
}

fn recorder() -> Result<PrometheusRecorder, TelemetryError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                .map_err(|e| TelemetryError::Metrics(format!("{}: {e}", metric.name)))?;
        }
    }
    Ok(builder.build_recorder())
}

/// Registers the help texts and the values that are known from the start.
fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
    }
    gauge!(BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes the log to standard error. `filter` is as in `RUST_LOG` (`info`, `serin=debug,warn`); the
/// variable `RUST_LOG`, where it is set, wins.
///
/// # Errors
/// [`TelemetryError::Log`] if the filter cannot be read or a log is set up already.
pub fn init_log(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let text = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let text = text.as_deref().unwrap_or(filter);
    let filter = EnvFilter::try_new(text)
        .map_err(|e| TelemetryError::Log(format!("the filter {text:?} cannot be read: {e}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    result.map_err(|e| TelemetryError::Log(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn record_everything() -> String {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            tick("checkout", "standard", 0.2);
            decision("checkout", "standard", "advance");
            collect_fault("checkout", "standard", "timeout");
            split_apply_fault("checkout");
            split_confirmed("checkout", 0.004);
            rollback_confirmed("checkout", 0.004);
            rollouts_active(&BTreeMap::from([("baking", 2)]));
            outbox(3, 1);
            store_fault("unavailable");
            store_writable(true);
            http_request("/api/v1/rollouts", "GET", 200, 0.001);
        });
        handle.render()
    }

    #[test]
    fn every_metric_of_the_table_is_recorded_with_its_labels_and_no_other_is() {
        let text = record_everything();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let name = line.split(['{', ' ']).next().unwrap();
            let metric = METRICS
                .iter()
                .find(|metric| {
                    let suffixes: &[&str] = match metric.kind {
                        Kind::Histogram(_) => &["_bucket", "_sum", "_count"],
                        _ => &[""],
                    };
                    suffixes.iter().any(|suffix| format!("{}{suffix}", metric.name) == name)
                })
                .unwrap_or_else(|| panic!("not in the table: {line}"));
            seen.insert(metric.name);
            let labels: BTreeSet<&str> = match line.split_once('{') {
                Some((_, rest)) => rest
                    .split(',')
                    .filter_map(|pair| pair.split_once('=').map(|(label, _)| label))
                    .filter(|label| *label != "le")
                    .collect(),
                None => BTreeSet::new(),
            };
            assert_eq!(labels, metric.labels.iter().copied().collect(), "{line}");
        }
        let all: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn names_follow_the_rules() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            assert!(metric.name.starts_with("serin_"), "{}", metric.name);
            assert!(names.insert(metric.name), "{} is there twice", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(!metric.help.is_empty() && metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.labels.contains(&"rollout"), "{}: a rollout's id is not bounded", metric.name);
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(metric.name.ends_with("_seconds"), "{}", metric.name);
                assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
            }
        }
    }

    #[test]
    fn phases_that_are_not_named_are_at_zero() {
        let text = record_everything();
        assert!(text.contains("serin_rollouts_active{phase=\"baking\"} 2"), "{text}");
        assert!(text.contains("serin_rollouts_active{phase=\"progressing\"} 0"), "{text}");
        assert!(text.contains("# HELP serin_ticks_total Looks at a rollout's metrics."), "{text}");
        assert!(text.contains("serin_tick_duration_seconds_bucket"), "{text}");
    }
}
