//! Templates for what is neither a success nor the service's error: client errors, throttled requests, requests
//! that the client gave up, successes, and what a router retried. 429 and 499 are apart from the other client
//! errors: the first says how much is asked for, the second how patient clients are.

use super::{Arguments, MetricKind, Parameter, ParameterKind, Template, series};
use crate::core::policy::Direction;
use crate::core::source::{MatchOp, MetricSource, Selector};

/// The client's statuses, of which 429 and 499 are left out.
const CLIENT: &str = "4..";
const APART: &str = "429|499";
/// gRPC statuses that say that the call itself was wrong.
const GRPC_CLIENT: &str =
    "InvalidArgument|NotFound|AlreadyExists|PermissionDenied|FailedPrecondition|OutOfRange|Unauthenticated";

const CLIENT_ERRORS: &str = "requests that were answered with a status 4xx other than 429 and 499";
const THROTTLED: &str = "requests that were answered with the status 429, too many requests";
const CLOSED: &str = "requests with the status 499: the client had gone before the answer";
const SUCCESSES: &str = "requests that were answered with a status 2xx or 3xx (more of them is better)";

const METRIC: Parameter =
    Parameter { name: "metric", kind: ParameterKind::MetricName, default: "http_requests_total" };
const STATUS: Parameter = Parameter { name: "status_label", kind: ParameterKind::LabelName, default: "code" };
const REPORTER: Parameter =
    Parameter { name: "reporter", kind: ParameterKind::LabelValue, default: "destination" };
const GRPC_METRIC: Parameter =
    Parameter { name: "metric", kind: ParameterKind::MetricName, default: "grpc_server_handled_total" };

/// What of the requests is counted.
#[derive(Clone, Copy)]
enum Outcome {
    ClientErrors,
    Throttled,
    Closed,
    Successes,
}

impl Outcome {
    /// The matchers on the label that has the status.
    fn on(self, label: &str) -> Vec<(&str, MatchOp, &'static str)> {
        match self {
            Outcome::ClientErrors => {
                vec![(label, MatchOp::Matches, CLIENT), (label, MatchOp::NotMatches, APART)]
            }
            Outcome::Throttled => vec![(label, MatchOp::Equal, "429")],
            Outcome::Closed => vec![(label, MatchOp::Equal, "499")],
            Outcome::Successes => vec![(label, MatchOp::Matches, "2..|3..")],
        }
    }
}

/// All of them.
pub(super) const OUTCOMES: [Template; 24] = [
    http("http_client_errors", CLIENT_ERRORS, |given| of_http(given, Outcome::ClientErrors)),
    http("http_throttled", THROTTLED, |given| of_http(given, Outcome::Throttled)),
    http("http_client_closed", CLOSED, |given| of_http(given, Outcome::Closed)),
    good(http("http_successes", SUCCESSES, |given| of_http(given, Outcome::Successes))),
    envoy("envoy_client_errors", CLIENT_ERRORS, |_| of_envoy(Outcome::ClientErrors)),
    envoy("envoy_throttled", THROTTLED, |_| of_envoy(Outcome::Throttled)),
    good(envoy("envoy_successes", SUCCESSES, |_| of_envoy(Outcome::Successes))),
    share(
        "envoy_retries",
        "Attempts that Envoy made again at the arm's cluster, to all requests that it finished there. One \
         request can be retried several times; more retries than requests count as all requests.",
        "requests that Envoy had to try again",
        "Retries that a budget or a circuit breaker refused. Clients of a service whose errors are retried see \
         fewer errors than the service makes: judge this beside `envoy_errors`.",
        &[],
        |_| envoy_share(vec![series("envoy_cluster_upstream_rq_retry", &[])]),
    ),
    haproxy("haproxy_client_errors", "requests that were answered with a status 4xx", |_| of_haproxy("4xx")),
    good(share(
        "haproxy_successes",
        HAPROXY,
        SUCCESSES,
        "HAProxy counts classes of statuses only. Connections that failed are not among the responses.",
        &[],
        |_| haproxy_share(["2xx", "3xx"].map(responses).to_vec()),
    )),
    share(
        "haproxy_retries",
        "Connections that HAProxy tried again at the arm's servers, to all responses of those servers. More \
         retries than responses count as all.",
        "connections that HAProxy had to try again",
        "Attempts that HAProxy then sent to another server are counted at the server that failed.",
        &[],
        |_| haproxy_share(vec![series("haproxy_server_retry_warnings_total", &[])]),
    ),
    istio("istio_client_errors", CLIENT_ERRORS, |given| of_istio(given, Outcome::ClientErrors)),
    istio("istio_throttled", THROTTLED, |given| of_istio(given, Outcome::Throttled)),
    istio("istio_client_closed", CLOSED, |given| of_istio(given, Outcome::Closed)),
    good(istio("istio_successes", SUCCESSES, |given| of_istio(given, Outcome::Successes))),
    linkerd("linkerd_client_errors", CLIENT_ERRORS, |_| of_linkerd(Outcome::ClientErrors)),
    linkerd("linkerd_throttled", THROTTLED, |_| of_linkerd(Outcome::Throttled)),
    good(linkerd("linkerd_successes", SUCCESSES, |_| of_linkerd(Outcome::Successes))),
    ingress("nginx_ingress_client_errors", CLIENT_ERRORS, |_| of_ingress(Outcome::ClientErrors)),
    ingress("nginx_ingress_throttled", THROTTLED, |_| of_ingress(Outcome::Throttled)),
    ingress("nginx_ingress_client_closed", CLOSED, |_| of_ingress(Outcome::Closed)),
    good(ingress("nginx_ingress_successes", SUCCESSES, |_| of_ingress(Outcome::Successes))),
    grpc("grpc_client_errors", "calls with a status that says that the call itself was wrong", |given| {
        of_grpc(given, MatchOp::Matches, GRPC_CLIENT)
    }),
    grpc("grpc_throttled", "calls with the status RESOURCE_EXHAUSTED", |given| {
        of_grpc(given, MatchOp::Equal, "ResourceExhausted")
    }),
];

const HAPROXY: &str = "Responses of the arm's servers by the class of their status, interim 1xx responses left \
                       out. The arms are told apart by the labels `proxy` and `server`.";

type Build = fn(&Arguments) -> MetricSource;

const fn share(
    name: &'static str,
    counts: &'static str,
    bad_means: &'static str,
    not_bad: &'static str,
    parameters: &'static [Parameter],
    build: Build,
) -> Template {
    let (kind, direction) = (MetricKind::Proportion, Direction::LowerIsBetter);
    Template { name, kind, direction, counts, bad_means, not_bad, parameters, build }
}

/// What it counts is good.
const fn good(template: Template) -> Template {
    Template { direction: Direction::HigherIsBetter, ..template }
}

const fn http(name: &'static str, bad_means: &'static str, build: Build) -> Template {
    let counts = "Requests that the service itself has counted in `http_requests_total` (or the parameter \
                  `metric`), by the status in the label `code` (or the parameter `status_label`).";
    let not_bad = "Every other status. Requests that never reached the service are not seen.";
    share(name, counts, bad_means, not_bad, &[METRIC, STATUS], build)
}

const fn envoy(name: &'static str, bad_means: &'static str, build: Build) -> Template {
    let counts = "Requests that Envoy finished on the arm's cluster, by their final status: retries that Envoy \
                  makes itself are not counted again. The arms are told apart by the label `envoy_cluster_name`.";
    let not_bad = "Every other status. Requests that the client gave up have no status and are not counted.";
    share(name, counts, bad_means, not_bad, &[], build)
}

const fn haproxy(name: &'static str, bad_means: &'static str, build: Build) -> Template {
    let not_bad = "HAProxy counts classes of statuses only, so 429 is among them; what HAProxy itself refuses \
                   or denies is not.";
    share(name, HAPROXY, bad_means, not_bad, &[], build)
}

const fn istio(name: &'static str, bad_means: &'static str, build: Build) -> Template {
    let counts = "Requests in `istio_requests_total` as the proxies of the parameter `reporter` saw them \
                  (`destination` unless said otherwise). Each attempt is counted.";
    share(name, counts, bad_means, "Every other status, and gRPC statuses.", &[REPORTER], build)
}

const fn linkerd(name: &'static str, bad_means: &'static str, build: Build) -> Template {
    let counts = "Responses in `response_total` of the service's own proxies (`direction=\"inbound\"`), by the \
                  label `status_code`. Retries of callers' proxies are counted as attempts.";
    share(name, counts, bad_means, "Every other status, and gRPC statuses.", &[], build)
}

const fn ingress(name: &'static str, bad_means: &'static str, build: Build) -> Template {
    let counts = "Requests in `nginx_ingress_controller_requests`, by the status that the client got. The arms \
                  are told apart by the labels `service` or `canary`.";
    share(name, counts, bad_means, "Every other status.", &[], build)
}

const fn grpc(name: &'static str, bad_means: &'static str, build: Build) -> Template {
    let counts = "Calls that the service itself has finished, in `grpc_server_handled_total` (or the parameter \
                  `metric`), by the status in the label `grpc_code`.";
    share(name, counts, bad_means, "Every other status.", &[GRPC_METRIC], build)
}

/// Counted by a process that has `start`, if there is one.
fn proportion(total: Selector, bad: Vec<Selector>, start: Option<&str>) -> MetricSource {
    MetricSource::Proportion { total: vec![total], bad, process_start: start.map(str::to_owned) }
}

const PROCESS: Option<&str> = Some("process_start_time_seconds");

fn of_http(given: &Arguments, outcome: Outcome) -> MetricSource {
    let (metric, label) = (given["metric"].as_str(), given["status_label"].as_str());
    proportion(series(metric, &[]), vec![series(metric, &outcome.on(label))], PROCESS)
}

fn envoy_share(bad: Vec<Selector>) -> MetricSource {
    proportion(series("envoy_cluster_upstream_rq_completed", &[]), bad, None)
}

fn of_envoy(outcome: Outcome) -> MetricSource {
    envoy_share(vec![series("envoy_cluster_upstream_rq", &outcome.on("envoy_response_code"))])
}

const RESPONSES: &str = "haproxy_server_http_responses_total";

fn responses(class: &str) -> Selector {
    series(RESPONSES, &[("code", MatchOp::Equal, class)])
}

fn haproxy_share(bad: Vec<Selector>) -> MetricSource {
    let all = series(RESPONSES, &[("code", MatchOp::NotEqual, "1xx")]);
    proportion(all, bad, Some("haproxy_process_start_time_seconds"))
}

fn of_haproxy(class: &str) -> MetricSource {
    haproxy_share(vec![responses(class)])
}

fn of_istio(given: &Arguments, outcome: Outcome) -> MetricSource {
    let own = vec![("reporter", MatchOp::Equal, given["reporter"].as_str())];
    let requests = |matchers: &[(&str, MatchOp, &str)]| series("istio_requests_total", matchers);
    let bad = [own.clone(), outcome.on("response_code")].concat();
    proportion(requests(&own), vec![requests(&bad)], None)
}

fn of_linkerd(outcome: Outcome) -> MetricSource {
    let inbound = vec![("direction", MatchOp::Equal, "inbound")];
    let bad = [inbound.clone(), outcome.on("status_code")].concat();
    proportion(series("response_total", &inbound), vec![series("response_total", &bad)], PROCESS)
}

fn of_ingress(outcome: Outcome) -> MetricSource {
    let requests = "nginx_ingress_controller_requests";
    proportion(series(requests, &[]), vec![series(requests, &outcome.on("status"))], PROCESS)
}

fn of_grpc(given: &Arguments, op: MatchOp, codes: &str) -> MetricSource {
    let metric = given["metric"].as_str();
    proportion(series(metric, &[]), vec![series(metric, &[("grpc_code", op, codes)])], PROCESS)
}
