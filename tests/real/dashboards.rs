//! Every query of every dashboard finds data in a Prometheus that has scraped a daemon at work; the alert
//! rules are what `promtool` says is right.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::Fault;

use crate::testkit::dashboards::{Query, all, fill, folder};
use crate::testkit::prometheus::{Job, Prometheus};
use crate::testkit::stage::{Plan, Stage, policy, policy_with};
use crate::testkit::wait;

/// Stat panels that show 0 where there is no series: what they count does not happen here.
const NEVER: &[&str] = &["API: server errors", "Alerts firing"];

const GUARDRAIL: &str = "guardrails:
  - {name: half-fail, metric: errors, stat: rate, above: 50%, for: 3s, over: 10s, min_requests: 50,
     severity: critical, action: roll_back}
";
const GAUGE: &str = "  - name: mean-time
    type: mean
    bad_means: slower requests
    query: 'sum(rate(http_request_duration_seconds_sum{$arm}[10s])) / \
            sum(rate(http_request_duration_seconds_count{$arm}[10s]))'
";

/// The policy of the rollout that goes back: it also looks at a gauge.
fn gauged() -> String {
    let text = policy_with("{after: 60s, then: hold}", "errors, latency", &format!("{GAUGE}{GUARDRAIL}"));
    text.replace("name: test\n", "name: gauged\n")
}

/// What a range of time showed.
struct Seen {
    prometheus: String,
    begun: f64,
    ended: f64,
    client: reqwest::Client,
}

impl Seen {
    async fn ask(&self, page: &str, parameters: &[(&str, &str)]) -> Value {
        let url = url::Url::parse_with_params(&format!("{}/api/v1/{page}", self.prometheus), parameters);
        let answer = self.client.get(url.expect("a URL")).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// The finite values of a query at every second of the time.
    async fn values(&self, expr: &str) -> Vec<f64> {
        let (start, end) = (self.begun.to_string(), self.ended.to_string());
        let parameters = [("query", expr), ("start", &start), ("end", &end), ("step", "1")];
        let data = self.ask("query_range", &parameters).await;
        let series = data["result"].as_array().cloned().expect("series");
        let points = series.iter().flat_map(|one| one["values"].as_array().cloned().unwrap_or_default());
        points.filter_map(|point| point[1].as_str()?.parse().ok()).filter(|v: &f64| v.is_finite()).collect()
    }

    /// The values of a label, as Grafana's `label_values(series, label)` asks for them.
    async fn label_values(&self, query: &str) -> Vec<String> {
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values(a, b)");
        let (start, end) = (self.begun.to_string(), self.ended.to_string());
        let parameters = [("match[]", series), ("start", start.as_str()), ("end", end.as_str())];
        let data = self.ask(&format!("label/{label}/values"), &parameters).await;
        serde_json::from_value(data).expect("a list of values")
    }
}

#[allow(clippy::disallowed_methods)] // The range of time that Prometheus is asked for.
fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}

/// A Prometheus that scrapes the daemon and the services.
async fn watch(stage: &Stage) -> Prometheus {
    let job = |name: &str, address: String| Job::new(name, Duration::from_secs(1), &[address]);
    let service = |name: &str, address: String| job(name, address).label("service", "shop");
    let jobs = [
        job("serin", format!("127.0.0.1:{}", stage.daemon.port)),
        service("stable", stage.stable.addr().to_string()),
        service("canary", stage.canary.addr().to_string()),
    ];
    Prometheus::start(&jobs).await
}

/// One rollout that goes back and one that is promoted, which is held for a while.
async fn work(stage: &Stage, seen: &Seen) {
    let id = stage.daemon.rollout("shop", "gauged", "v2").await;
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    stage.canary.set_fault(Fault::None).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let at_5 = |view: &Value| {
        view["seen"]["as_wanted"] == json!(true) && view["wanted"]["canary_percent"] == json!(5.0)
    };
    stage.daemon.until(&id, "5% in force", 120, at_5).await;
    stage.daemon.command(&id, "pause").await;
    wait::until("Prometheus knows of the hold", Duration::from_secs(30), async || {
        let held = [("query", "serin_rollout_hold{hold=\"user\"} == 1")];
        let data = seen.ask("query", &held).await;
        (!data["result"].as_array()?.is_empty()).then_some(())
    })
    .await;
    stage.daemon.command(&id, "resume").await;
    let view = stage.daemon.ended(&id, 300).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
}

/// The page of own metrics says nothing of a rollout any more.
async fn nothing_stays(stage: &Stage) {
    let url = stage.daemon.url("/metrics");
    let page = wait::within(Duration::from_secs(20), async || {
        let page = reqwest::get(&url).await.ok()?.text().await.ok()?;
        (!page.contains("\nserin_rollout_")).then_some(page)
    });
    let page = page.await.expect("the series of the ended rollout are gone");
    assert!(
        page.contains("\nserin_target_canary_weight_ratio{service=\"shop\",split=\"wanted\"} 0\n"),
        "{page}"
    );
    let promoted = "serin_decisions_total{service=\"shop\",policy=\"test\",decision=\"promote\"} 1";
    assert!(page.contains(promoted), "{page}");
}

/// Queries that find nothing. `or vector(0)` would hide that, so it is left out.
async fn without_data(seen: &Seen, queries: &[Query], values: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for query in queries {
        let mut expr = fill(&query.expr, values);
        if !NEVER.contains(&query.panel.as_str()) {
            expr = expr.replace(" or vector(0)", "");
        }
        if seen.values(&expr).await.is_empty() {
            found.push(format!("{}: {expr}", query.place));
        }
    }
    found
}

/// The times of the decisions stand in the annotations.
async fn annotations(seen: &Seen, queries: &[Query], values: &[(&str, &str)]) {
    for query in queries {
        let times = seen.values(&fill(&query.expr, values)).await;
        assert!(!times.is_empty(), "{}: nothing in {}", query.place, query.expr);
        for time in times {
            assert!((seen.begun..=seen.ended).contains(&(time / 1000.0)), "{}: {time}", query.place);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_finds_data() {
    let plan = Plan {
        rate: 1_000.0,
        canary: Fault::Errors { rate: 0.05 },
        policy: policy(GUARDRAIL),
        more_policies: vec![gauged()],
        longest: Duration::from_secs(700),
        ..Plan::default()
    };
    let stage = Stage::start(plan).await;
    let prometheus = watch(&stage).await;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
    let mut seen = Seen { prometheus: prometheus.url(), begun: now(), ended: now(), client };
    work(&stage, &seen).await;
    nothing_stays(&stage).await;
    seen.ended = now();
    let range = format!("{}s", (seen.ended - seen.begun).ceil());
    let from = format!("{:.0}", seen.begun * 1000.0);
    let values = [
        ("service", "shop"),
        ("metric", ".*"),
        ("before", "30s"),
        ("requests", "http_requests_total"),
        ("latency", "http_request_duration_seconds"),
        ("service_label", "service"),
        ("version_label", "version"),
        ("status_label", "code"),
        ("bad_status", "5.."),
        ("__rate_interval", "5s"),
        ("__interval", "1s"),
        ("__range", range.as_str()),
        ("__from", from.as_str()),
    ];
    let nothing = Query {
        place: String::new(),
        panel: "Rollbacks".to_owned(),
        expr: "serin_rollout_step{service=\"$before\"} or vector(0)".to_owned(),
    };
    assert_eq!(without_data(&seen, &[nothing], &values).await.len(), 1, "a query without data is not found");
    let (mut asked, mut empty) = (0, Vec::new());
    for dashboard in all() {
        let queries = dashboard.queries();
        asked += queries.len();
        empty.extend(without_data(&seen, &queries, &values).await);
        annotations(&seen, &dashboard.annotation_queries(), &values).await;
        for (name, query) in dashboard.variable_queries() {
            let found = seen.label_values(&fill(&query, &values)).await;
            let expected = if name == "service" { "shop" } else { "latency" };
            assert!(found.iter().any(|value| value == expected), "${name}: {query}: {found:?}");
        }
    }
    println!("{asked} queries over {range}");
    assert!(asked > 80, "only {asked} queries were found");
    assert!(empty.is_empty(), "{} of {asked} queries find nothing:\n{}", empty.len(), empty.join("\n"));
    for decision in ["roll_back", "promote"] {
        let expr = format!("round(sum(increase(serin_decisions_total{{decision=\"{decision}\"}}[{range}])))");
        assert_eq!(seen.values(&expr).await.last(), Some(&1.0), "{expr}");
    }
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests() {
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(folder()).output();
        let output = output.expect("promtool runs; it is in Debian's package prometheus");
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&text));
    }
}
