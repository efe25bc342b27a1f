//! What Serin says of itself: every metric of its own in one table, functions to record them, and the
//! set-up of the log.
//!
//! Labels are bounded: services, policies, metrics, providers, routers and channels come from the
//! configuration, everything else from closed lists; of versions there are those that are released now. A
//! rollout's id is never a label. The table is in `table`; what is there only while a rollout is, in `current`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

mod current;
mod table;

pub use current::Current;
pub use table::*;

// --------------------------------------------------------------------------------------------- recording

/// A look at a rollout's metrics has been committed after `seconds`.
pub fn tick(service: &str, policy: &str, seconds: f64) {
    counter!(TICKS.name, "service" => service.to_owned(), "policy" => policy.to_owned()).increment(1);
    histogram!(TICK_DURATION.name, "service" => service.to_owned(), "policy" => policy.to_owned())
        .record(seconds);
}

/// A decision was committed; `decision` is one of [`DECISION_WORDS`], `at` is in seconds since the epoch.
pub fn decision(service: &str, policy: &str, decision: &'static str, at: f64) {
    counter!(DECISIONS.name, "service" => service.to_owned(), "policy" => policy.to_owned(),
        "decision" => decision)
    .increment(1);
    gauge!(DECISION_TIME.name, "service" => service.to_owned(), "policy" => policy.to_owned(),
        "decision" => decision)
    .set(at);
}

/// A provider has answered, or not, after `seconds`. Of the reasons those count that are in
/// [`PROVIDER_FAULT_WORDS`], each once.
pub fn provider_answered(provider: &str, seconds: f64, reasons: &BTreeSet<&'static str>) {
    histogram!(PROVIDER_DURATION.name, "provider" => provider.to_owned()).record(seconds);
    for reason in PROVIDER_FAULT_WORDS.iter().filter(|reason| reasons.contains(*reason)) {
        counter!(PROVIDER_FAULTS.name, "provider" => provider.to_owned(), "reason" => *reason).increment(1);
    }
}

/// A router has answered, or not, after `seconds`; `call` is one of [`ROUTER_CALL_WORDS`].
pub fn router_answered(router: &str, call: &'static str, seconds: f64, is_fault: bool) {
    histogram!(ROUTER_DURATION.name, "router" => router.to_owned(), "call" => call).record(seconds);
    if is_fault {
        counter!(ROUTER_FAULTS.name, "router" => router.to_owned(), "call" => call).increment(1);
    }
}

/// The store has answered a commit, well or not, after `seconds`.
pub fn store_answered(seconds: f64) {
    histogram!(COMMIT_DURATION.name).record(seconds);
}

/// A notice was tried; `outcome` is one of [`NOTICE_WORDS`].
pub fn notice(channel: &str, outcome: &'static str) {
    counter!(NOTICES.name, "channel" => channel.to_owned(), "outcome" => outcome).increment(1);
}

/// Whether Serin can do its work, as `/readyz` says.
pub fn ready(ready: bool) {
    gauge!(READY.name).set(if ready { 1.0 } else { 0.0 });
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

/// How many rollouts are in which phase. All phases that are not an end must be named, those without a
/// rollout with 0.
pub fn rollouts_active(by_phase: &BTreeMap<&'static str, u64>) {
    for (phase, count) in by_phase {
        gauge!(ROLLOUTS_ACTIVE.name, "phase" => *phase).set(*count as f64);
    }
}

/// How many notices are on their way, how many were given up, and for how long the oldest has been on its
/// way.
pub fn outbox(pending: u64, dead: u64, oldest_seconds: f64) {
    gauge!(OUTBOX_PENDING.name).set(pending as f64);
    gauge!(OUTBOX_DEAD.name).set(dead as f64);
    gauge!(OUTBOX_OLDEST.name).set(oldest_seconds);
}

/// The configuration was read, at that time; `good` if it is the one that runs now.
pub fn config_reloaded(good: bool, at_seconds: f64) {
    gauge!(CONFIG_RELOAD_OK.name).set(if good { 1.0 } else { 0.0 });
    if good {
        gauge!(CONFIG_RELOAD_TIME.name).set(at_seconds);
    }
    counter!(CONFIG_RELOADS.name, "result" => if good { "success" } else { "failure" }).increment(1);
}

/// The configuration that the daemon was started with is valid.
pub fn config_loaded(at_seconds: f64) {
    gauge!(CONFIG_RELOAD_OK.name).set(1.0);
    gauge!(CONFIG_RELOAD_TIME.name).set(at_seconds);
    for result in RELOAD_WORDS {
        counter!(CONFIG_RELOADS.name, "result" => *result).absolute(0);
    }
}

/// The store did not do what it was asked; `kind` is one of [`STORE_FAULT_WORDS`].
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

// ------------------------------------------------------------------------------- counters that begin at 0
//
// A counter that appears with its first event shows no increase: the event would not be seen.

/// A target whose counters are to be there from the start.
pub fn begin_target(service: &str) {
    counter!(SPLIT_APPLY_FAULTS.name, "service" => service.to_owned()).absolute(0);
    let _ = histogram!(SPLIT_CONFIRM.name, "service" => service.to_owned());
    let _ = histogram!(ROLLBACK_CONFIRM.name, "service" => service.to_owned());
}

/// A provider.
pub fn begin_provider(provider: &str) {
    let _ = histogram!(PROVIDER_DURATION.name, "provider" => provider.to_owned());
    for reason in PROVIDER_FAULT_WORDS {
        counter!(PROVIDER_FAULTS.name, "provider" => provider.to_owned(), "reason" => *reason).absolute(0);
    }
}

/// A router.
pub fn begin_router(router: &str) {
    for call in ROUTER_CALL_WORDS {
        let _ = histogram!(ROUTER_DURATION.name, "router" => router.to_owned(), "call" => *call);
        counter!(ROUTER_FAULTS.name, "router" => router.to_owned(), "call" => *call).absolute(0);
    }
}

/// A channel of notices.
pub fn begin_channel(channel: &str) {
    for outcome in NOTICE_WORDS {
        counter!(NOTICES.name, "channel" => channel.to_owned(), "outcome" => *outcome).absolute(0);
    }
}

/// A target on which a rollout goes under a policy.
pub fn begin_rollout(service: &str, policy: &str) {
    counter!(TICKS.name, "service" => service.to_owned(), "policy" => policy.to_owned()).absolute(0);
    for decision in DECISION_WORDS {
        counter!(DECISIONS.name, "service" => service.to_owned(), "policy" => policy.to_owned(),
            "decision" => *decision)
        .absolute(0);
    }
    for reason in COLLECT_FAULT_WORDS {
        counter!(COLLECT_FAULTS.name, "service" => service.to_owned(), "policy" => policy.to_owned(),
            "reason" => *reason)
        .absolute(0);
    }
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
        self.handle.render() + &current::render()
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
    for kind in STORE_FAULT_WORDS {
        counter!(STORE_FAULTS.name, "kind" => *kind).absolute(0);
    }
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
    use super::*;

    fn record_everything() -> String {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            tick("checkout", "standard", 0.2);
            decision("checkout", "standard", "advance", 1.9e9);
            provider_answered("prometheus", 0.2, &BTreeSet::from(["empty", "timeout"]));
            router_answered("edge", "apply", 0.004, true);
            store_answered(0.004);
            notice("hook", "delivered");
            ready(true);
            collect_fault("checkout", "standard", "timeout");
            split_apply_fault("checkout");
            split_confirmed("checkout", 0.004);
            rollback_confirmed("checkout", 0.004);
            rollouts_active(&BTreeMap::from([("baking", 2), ("progressing", 0)]));
            outbox(3, 1, 2.5);
            store_fault("unavailable");
            store_writable(true);
            config_loaded(1.9e9);
            config_reloaded(true, 1.9e9);
            http_request("/api/v1/rollouts", "GET", 200, 0.001);
        });
        let mut current = Current::new("checkout");
        for metric in METRICS.iter().filter(|metric| is_current(metric)) {
            current.add(*metric, &vec!["x"; metric.labels.len() - 1], 1.0);
        }
        current.publish();
        handle.render() + &current::render()
    }

    fn is_current(metric: &Definition) -> bool {
        metric.name.starts_with("serin_rollout_") || metric.name.starts_with("serin_target_")
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
    fn counters_are_there_before_anything_has_happened() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            begin_target("checkout");
            begin_provider("prometheus");
            begin_router("edge");
            begin_channel("hook");
            begin_rollout("checkout", "standard");
            decision("checkout", "standard", "roll_back", 1.9e9);
            begin_rollout("checkout", "standard");
        });
        let text = handle.render();
        for line in [
            "serin_split_apply_faults_total{service=\"checkout\"} 0",
            "serin_provider_faults_total{provider=\"prometheus\",reason=\"too_large\"} 0",
            "serin_router_faults_total{router=\"edge\",call=\"observe\"} 0",
            "serin_notices_total{channel=\"hook\",outcome=\"given_up\"} 0",
            "serin_decisions_total{service=\"checkout\",policy=\"standard\",decision=\"fail\"} 0",
            "serin_decisions_total{service=\"checkout\",policy=\"standard\",decision=\"roll_back\"} 1",
            "serin_collect_faults_total{service=\"checkout\",policy=\"standard\",reason=\"stale\"} 0",
            "serin_store_faults_total{kind=\"corrupt\"} 0",
            "serin_rollback_confirm_seconds_bucket{service=\"checkout\",le=\"+Inf\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_words_of_the_labels_are_in_the_help() {
        let lists = [
            (DECISIONS, DECISION_WORDS),
            (ROUTER_FAULTS, ROUTER_CALL_WORDS),
            (NOTICES, NOTICE_WORDS),
            (STORE_FAULTS, STORE_FAULT_WORDS),
            (CONFIG_RELOADS, RELOAD_WORDS),
        ];
        for (metric, words) in lists {
            for word in words {
                assert!(metric.help.contains(word), "{word} is not in the help of {}", metric.name);
            }
        }
    }

    #[test]
    fn phases_without_a_rollout_are_at_zero() {
        let text = record_everything();
        assert!(text.contains("serin_rollouts_active{phase=\"baking\"} 2"), "{text}");
        assert!(text.contains("serin_rollouts_active{phase=\"progressing\"} 0"), "{text}");
        assert!(text.contains("# HELP serin_ticks_total Looks at a rollout's metrics."), "{text}");
        assert!(text.contains("serin_tick_duration_seconds_bucket"), "{text}");
    }
}
