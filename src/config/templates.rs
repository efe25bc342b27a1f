//! Metric templates: ready selectors for well-known exporters. Each says in words what it counts as an
//! error and what not; the words go into explanations and documents.
//!
//! The names and the behaviour of the Envoy and HAProxy templates were measured at Envoy 1.40 and
//! HAProxy 2.6, with servers that answered, refused, reset, broke off and timed out. Those of meshes and
//! ingresses follow the documentation of their metrics.

mod meshes;
mod outcomes;

use std::collections::BTreeMap;

use crate::core::policy::Direction;
use crate::core::source::{MatchOp, Matcher, MetricSource, Selector};

/// What kind of metric a template or selector makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Bad requests among all requests.
    Proportion,
    /// A histogram of durations.
    Latency,
    /// Events over time.
    Rate,
    /// The mean of a gauge.
    Mean,
    /// How full something is.
    Saturation,
}

impl MetricKind {
    /// The word in a policy's `type`.
    pub fn word(self) -> &'static str {
        match self {
            MetricKind::Proportion => "proportion",
            MetricKind::Latency => "latency",
            MetricKind::Rate => "rate",
            MetricKind::Mean => "mean",
            MetricKind::Saturation => "saturation",
        }
    }
}

/// A ready selector.
#[derive(Debug)]
pub struct Template {
    /// The word in a policy's `template`.
    pub name: &'static str,
    /// The kind of metric.
    pub kind: MetricKind,
    /// Which direction is better, where the policy says nothing.
    pub direction: Direction,
    /// What is counted.
    pub counts: &'static str,
    /// What counts as bad; the default of the metric's `bad_means`.
    pub bad_means: &'static str,
    /// What does not count as bad, and what the template cannot see.
    pub not_bad: &'static str,
    /// What may be set.
    pub parameters: &'static [Parameter],
    build: fn(&Arguments) -> MetricSource,
}

/// What may be set of a template.
#[derive(Debug)]
pub struct Parameter {
    /// Its field.
    pub name: &'static str,
    /// What it is.
    pub kind: ParameterKind,
    /// Its value where nothing is said.
    pub default: &'static str,
}

/// What a parameter is; values are checked by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// The name of a metric.
    MetricName,
    /// The name of a label.
    LabelName,
    /// A value of a label: letters, digits, `_`, `-` and `.`.
    LabelValue,
}

/// Values of parameters by name.
type Arguments = BTreeMap<&'static str, String>;

/// What nearly every policy judges.
static ERRORS_AND_LATENCIES: [Template; 13] = [
    Template {
        name: "envoy_errors",
        kind: MetricKind::Proportion,
        direction: Direction::LowerIsBetter,
        counts: "Requests that Envoy finished on the arm's cluster, by their final outcome: retries that \
                 Envoy makes itself are not counted again. The arms are told apart by the label \
                 `envoy_cluster_name`.",
        bad_means: "requests that ended with a status 5xx, which includes those without a response from the \
                    service (refused or reset connections, timeouts, no healthy host)",
        not_bad: "Statuses below 500, also 429; requests that the client gave up (they are not counted at \
                  all); a response that breaks off after its headers counts by its status; a gRPC status \
                  is not looked at.",
        parameters: &[],
        // `..._rq_total` counts attempts and leaves out requests for which no connection was had, so bad
        // requests could be more than all; `..._rq_completed` contains every one of `..._rq_xx`.
        build: |_| MetricSource::Proportion {
            total: vec![series("envoy_cluster_upstream_rq_completed", &[])],
            bad: vec![series(
                "envoy_cluster_upstream_rq_xx",
                &[("envoy_response_code_class", MatchOp::Equal, "5")],
            )],
            process_start: None,
        },
    },
    Template {
        name: "envoy_latency",
        kind: MetricKind::Latency,
        direction: Direction::LowerIsBetter,
        counts: "The time from the start of a request at Envoy until the arm's cluster has answered it, for \
                 requests that were answered. The arms are told apart by the label `envoy_cluster_name`.",
        bad_means: "responses that Envoy had to wait for longer than for the baseline's",
        not_bad: "Requests without a response from the service (refused, reset, timed out) have no time \
                  here; `envoy_errors` counts them as errors.",
        parameters: &[],
        build: |_| MetricSource::Latency {
            histogram: series("envoy_cluster_upstream_rq_time", &[]),
            unit_seconds: "0.001".to_owned(),
            process_start: None,
        },
    },
    Template {
        name: "haproxy_errors",
        kind: MetricKind::Proportion,
        direction: Direction::LowerIsBetter,
        counts: "Final outcomes at the arm's servers: responses (interim 1xx responses left out), failed \
                 connections and failed responses. Retries that HAProxy makes itself are not counted again. \
                 The arms are told apart by the labels `proxy` and `server`.",
        bad_means: "responses with a status 5xx, connections that failed, and responses that were invalid, \
                    broken off or timed out",
        not_bad: "Statuses below 500, also 429; what HAProxy itself refuses or denies, or answers while no \
                  server is up. A response that breaks off after its headers is in the sum twice, once as \
                  its status and once as bad; HAProxy 2.6 counts a connection that is reset before the \
                  response as two failed responses. HAProxy has no histogram of latencies: take the \
                  services' own, with `http_latency` or a selector.",
        parameters: &[],
        build: |_| {
            let bad = || {
                vec![
                    series("haproxy_server_connection_errors_total", &[]),
                    series("haproxy_server_response_errors_total", &[]),
                ]
            };
            let responses = "haproxy_server_http_responses_total";
            MetricSource::Proportion {
                total: [vec![series(responses, &[("code", MatchOp::NotEqual, "1xx")])], bad()].concat(),
                bad: [vec![series(responses, &[("code", MatchOp::Equal, "5xx")])], bad()].concat(),
                process_start: Some("haproxy_process_start_time_seconds".to_owned()),
            }
        },
    },
    Template {
        name: "http_errors",
        kind: MetricKind::Proportion,
        direction: Direction::LowerIsBetter,
        counts: "Requests that the service itself has counted in `http_requests_total` (or the parameter \
                 `metric`), with the status in the label `code` (or the parameter `status_label`).",
        bad_means: "requests that the service answered with a status 5xx",
        not_bad: "Statuses below 500, also 429 and 499 (the client has gone). Requests that never reached \
                  the service, or that it could not count because it died, are not seen: the policy's \
                  limit `silent` is for that.",
        parameters: &[
            Parameter { name: "metric", kind: ParameterKind::MetricName, default: "http_requests_total" },
            Parameter { name: "status_label", kind: ParameterKind::LabelName, default: "code" },
        ],
        build: |given| MetricSource::Proportion {
            total: vec![series(&given["metric"], &[])],
            bad: vec![series(&given["metric"], &[(&given["status_label"], MatchOp::Matches, "5..")])],
            process_start: Some("process_start_time_seconds".to_owned()),
        },
    },
    Template {
        name: "http_latency",
        kind: MetricKind::Latency,
        direction: Direction::LowerIsBetter,
        counts: "Durations that the service itself has counted in the classic histogram \
                 `http_request_duration_seconds` (or the parameter `metric`), in seconds.",
        bad_means: "requests that took the service longer than the baseline's",
        not_bad: "Time that a request waits before the service has it is not seen.",
        parameters: &[Parameter {
            name: "metric",
            kind: ParameterKind::MetricName,
            default: "http_request_duration_seconds",
        }],
        build: |given| MetricSource::Latency {
            histogram: series(&given["metric"], &[]),
            unit_seconds: "1".to_owned(),
            process_start: Some("process_start_time_seconds".to_owned()),
        },
    },
    meshes::ISTIO_ERRORS,
    meshes::ISTIO_LATENCY,
    meshes::LINKERD_ERRORS,
    meshes::LINKERD_LATENCY,
    meshes::NGINX_INGRESS_ERRORS,
    meshes::NGINX_INGRESS_LATENCY,
    meshes::GRPC_ERRORS,
    meshes::GRPC_LATENCY,
];

static OUTCOMES: [Template; 24] = outcomes::OUTCOMES;

/// All templates.
pub fn all() -> impl Iterator<Item = &'static Template> {
    ERRORS_AND_LATENCIES.iter().chain(&OUTCOMES)
}

/// The template of that name.
pub fn template(name: &str) -> Option<&'static Template> {
    all().find(|template| template.name == name)
}

impl Template {
    /// Whether no series of what it counts is more likely a mistake than a fact: the service names the metric
    /// and the label itself, and every service has some.
    pub fn is_absence_odd(&self) -> bool {
        ["http_errors", "grpc_errors", "http_successes"].contains(&self.name)
    }

    /// The selector, with the parameters that are given; others than the template's are ignored. The
    /// values are taken as they are: [`ParameterKind::accepts`] checks them.
    pub fn source(&self, given: &BTreeMap<String, String>) -> MetricSource {
        let argument = |parameter: &Parameter| {
            let value = given.get(parameter.name).cloned();
            (parameter.name, value.unwrap_or_else(|| parameter.default.to_owned()))
        };
        (self.build)(&self.parameters.iter().map(argument).collect())
    }
}

impl ParameterKind {
    /// True if the value can be used.
    pub fn accepts(self, value: &str) -> bool {
        match self {
            ParameterKind::MetricName => is_metric_name(value),
            ParameterKind::LabelName => is_label_name(value),
            ParameterKind::LabelValue => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
                !value.is_empty() && value.len() <= 200 && value.bytes().all(plain)
            }
        }
    }
}

/// True for names that Prometheus takes for metrics in its classic form.
pub fn is_metric_name(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b':';
    name.len() <= 200
        && name.bytes().next().is_some_and(first)
        && name.bytes().all(|b| first(b) || b.is_ascii_digit())
}

/// True for names that Prometheus takes for labels in its classic form, except the reserved `__…`.
pub fn is_label_name(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.len() <= 200
        && !name.starts_with("__")
        && name.bytes().next().is_some_and(first)
        && name.bytes().all(|b| first(b) || b.is_ascii_digit())
}

fn series(metric: &str, matchers: &[(&str, MatchOp, &str)]) -> Selector {
    let matcher = |(label, op, value): &(&str, MatchOp, &str)| Matcher {
        label: (*label).to_owned(),
        op: *op,
        value: (*value).to_owned(),
    };
    Selector { metric: metric.to_owned(), matchers: matchers.iter().map(matcher).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_builds_its_kind_with_names_that_prometheus_takes() {
        for template in all() {
            for parameter in template.parameters {
                assert!(parameter.kind.accepts(parameter.default), "{}", template.name);
            }
            let selectors = match template.source(&BTreeMap::new()) {
                MetricSource::Proportion { total, bad, .. } => {
                    assert_eq!(template.kind, MetricKind::Proportion, "{}", template.name);
                    assert!(!total.is_empty() && !bad.is_empty(), "{}", template.name);
                    [total, bad].concat()
                }
                MetricSource::Latency { histogram, .. } => {
                    assert_eq!(template.kind, MetricKind::Latency, "{}", template.name);
                    vec![histogram]
                }
                other => panic!("{}: {other:?}", template.name),
            };
            for selector in selectors {
                assert!(is_metric_name(&selector.metric), "{selector:?}");
                assert!(selector.matchers.iter().all(|m| is_label_name(&m.label)), "{selector:?}");
            }
        }
    }

    #[test]
    fn parameters_are_put_in() {
        let given = [("status_label".to_owned(), "status".to_owned())].into();
        let source = template("http_errors").unwrap().source(&given);
        let MetricSource::Proportion { total, bad, .. } = source else { panic!("{source:?}") };
        assert_eq!(total, vec![series("http_requests_total", &[])]);
        assert_eq!(bad, vec![series("http_requests_total", &[("status", MatchOp::Matches, "5..")])]);
    }
}
