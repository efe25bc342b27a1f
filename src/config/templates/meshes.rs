//! Templates for meshes and ingresses, by the names of their documented metrics.

use super::{MetricKind, Parameter, ParameterKind, Template, series};
use crate::core::policy::Direction;
use crate::core::source::{MatchOp, MetricSource};

/// gRPC statuses that are the server's: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS.
const SERVER_CODES: &str = "2|4|12|13|14|15";
const SERVER_CODE_NAMES: &str = "Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss";

const REPORTER: Parameter =
    Parameter { name: "reporter", kind: ParameterKind::LabelValue, default: "destination" };

pub(super) const ISTIO_ERRORS: Template = Template {
    name: "istio_errors",
    kind: MetricKind::Proportion,
    direction: Direction::LowerIsBetter,
    counts: "Requests in `istio_requests_total` as the proxies of the parameter `reporter` saw them: \
             `destination` (the default) the sidecar of the service, `source` the callers' sidecars or the \
             gateway, `waypoint` in ambient mode. Each attempt is counted, so a request that a caller's proxy \
             retries is there once more.",
    bad_means: "requests that ended with a status 5xx or without any (0), or with a gRPC status that is the \
                server's: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS",
    not_bad: "Statuses below 500, also 429; requests that the client gave up (499); other gRPC statuses. With \
              `destination`, requests that never reached the service are not seen: `source` sees them. Retries \
              hide errors from callers: look at the label `response_flags` (URX, UF) beside it.",
    parameters: &[REPORTER],
    build: |given| {
        let reporter = given["reporter"].as_str();
        let requests = |matchers: &[(&str, MatchOp, &str)]| {
            let own = [("reporter", MatchOp::Equal, reporter)];
            series("istio_requests_total", &[&own[..], matchers].concat())
        };
        MetricSource::Proportion {
            total: vec![requests(&[])],
            bad: vec![
                requests(&[("response_code", MatchOp::Matches, "5..|0")]),
                requests(&[
                    ("response_code", MatchOp::NotMatches, "5..|0"),
                    ("grpc_response_status", MatchOp::Matches, SERVER_CODES),
                ]),
            ],
            process_start: None,
        }
    },
};

pub(super) const ISTIO_LATENCY: Template = Template {
    name: "istio_latency",
    kind: MetricKind::Latency,
    direction: Direction::LowerIsBetter,
    counts: "`istio_request_duration_milliseconds` as the proxies of the parameter `reporter` saw it \
             (`destination` unless said otherwise).",
    bad_means: "requests that took longer than the baseline's",
    not_bad: "Failed requests have a duration too: fast failures make a canary look faster, so use it beside \
              `istio_errors`.",
    parameters: &[REPORTER],
    build: |given| MetricSource::Latency {
        histogram: series(
            "istio_request_duration_milliseconds",
            &[("reporter", MatchOp::Equal, given["reporter"].as_str())],
        ),
        unit_seconds: "0.001".to_owned(),
        process_start: None,
    },
};

pub(super) const LINKERD_ERRORS: Template = Template {
    name: "linkerd_errors",
    kind: MetricKind::Proportion,
    direction: Direction::LowerIsBetter,
    counts: "Responses in `response_total` of the service's own proxies (`direction=\"inbound\"`), by Linkerd's \
             classification. Retries of callers' proxies are counted as attempts.",
    bad_means: "responses that Linkerd classifies as a failure: statuses 5xx, gRPC statuses that are the \
                server's, and streams that were reset",
    not_bad: "Statuses below 500, also 429. What callers could not connect to is only in their outbound \
              metrics. Route-level classification (retryable, custom failures) is as the mesh has it.",
    parameters: &[],
    build: |_| {
        let inbound = ("direction", MatchOp::Equal, "inbound");
        MetricSource::Proportion {
            total: vec![series("response_total", &[inbound])],
            bad: vec![series("response_total", &[inbound, ("classification", MatchOp::Equal, "failure")])],
            process_start: Some("process_start_time_seconds".to_owned()),
        }
    },
};

pub(super) const LINKERD_LATENCY: Template = Template {
    name: "linkerd_latency",
    kind: MetricKind::Latency,
    direction: Direction::LowerIsBetter,
    counts: "`response_latency_ms` of the service's own proxies (`direction=\"inbound\"`): from the request's \
             headers to the end of the response.",
    bad_means: "responses that took longer than the baseline's",
    not_bad: "Time between the caller's proxy and the service's is not seen.",
    parameters: &[],
    build: |_| MetricSource::Latency {
        histogram: series("response_latency_ms", &[("direction", MatchOp::Equal, "inbound")]),
        unit_seconds: "0.001".to_owned(),
        process_start: Some("process_start_time_seconds".to_owned()),
    },
};

pub(super) const NGINX_INGRESS_ERRORS: Template = Template {
    name: "nginx_ingress_errors",
    kind: MetricKind::Proportion,
    direction: Direction::LowerIsBetter,
    counts: "Requests in `nginx_ingress_controller_requests`, by the status that the client got: attempts at \
             further upstreams are not counted again. The arms are told apart by the labels `service` or \
             `canary`.",
    bad_means: "requests that were answered with a status 5xx, which includes 502, 503 and 504 of the ingress \
                itself when the service is not reached in time",
    not_bad: "Statuses below 500, also 429 and 499 (the client has gone).",
    parameters: &[],
    build: |_| {
        let requests = "nginx_ingress_controller_requests";
        MetricSource::Proportion {
            total: vec![series(requests, &[])],
            bad: vec![series(requests, &[("status", MatchOp::Matches, "5..")])],
            process_start: Some("process_start_time_seconds".to_owned()),
        }
    },
};

pub(super) const NGINX_INGRESS_LATENCY: Template = Template {
    name: "nginx_ingress_latency",
    kind: MetricKind::Latency,
    direction: Direction::LowerIsBetter,
    counts: "`nginx_ingress_controller_request_duration_seconds`: from the first byte of the request to the \
             last of the response, the client's own slowness included.",
    bad_means: "requests that took longer than the baseline's",
    not_bad: "Failed requests have a duration too; use it beside `nginx_ingress_errors`.",
    parameters: &[],
    build: |_| MetricSource::Latency {
        histogram: series("nginx_ingress_controller_request_duration_seconds", &[]),
        unit_seconds: "1".to_owned(),
        process_start: Some("process_start_time_seconds".to_owned()),
    },
};

pub(super) const GRPC_ERRORS: Template = Template {
    name: "grpc_errors",
    kind: MetricKind::Proportion,
    direction: Direction::LowerIsBetter,
    counts: "Calls that the service itself has finished, in `grpc_server_handled_total` (or the parameter \
             `metric`) with the status in the label `grpc_code`.",
    bad_means: "calls with a status that is the server's: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, \
                UNAVAILABLE, DATA_LOSS",
    not_bad: "All other statuses, also CANCELLED (the client has gone), RESOURCE_EXHAUSTED and ABORTED. Calls \
              that never reached the service are not seen.",
    parameters: &[Parameter {
        name: "metric",
        kind: ParameterKind::MetricName,
        default: "grpc_server_handled_total",
    }],
    build: |given| MetricSource::Proportion {
        total: vec![series(&given["metric"], &[])],
        bad: vec![series(&given["metric"], &[("grpc_code", MatchOp::Matches, SERVER_CODE_NAMES)])],
        process_start: Some("process_start_time_seconds".to_owned()),
    },
};

pub(super) const GRPC_LATENCY: Template = Template {
    name: "grpc_latency",
    kind: MetricKind::Latency,
    direction: Direction::LowerIsBetter,
    counts: "Durations of calls that the service itself has counted in `grpc_server_handling_seconds` (or the \
             parameter `metric`).",
    bad_means: "calls that took the service longer than the baseline's",
    not_bad: "Streams last as long as their clients want: leave them out with a selector of your own on \
              `grpc_type`.",
    parameters: &[Parameter {
        name: "metric",
        kind: ParameterKind::MetricName,
        default: "grpc_server_handling_seconds",
    }],
    build: |given| MetricSource::Latency {
        histogram: series(&given["metric"], &[]),
        unit_seconds: "1".to_owned(),
        process_start: Some("process_start_time_seconds".to_owned()),
    },
};
