//! Gates against a real Prometheus: an alert that fires, a metric that was held, an error budget.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serin::core::gate::{AlertsCheck, Before, Check, Gate, GateAnswer, GateOutcome, Occasion};
use serin::core::ids::RolloutId;
use serin::core::limit::{Breach, GuardrailLimit};
use serin::core::source::{MatchOp, Matcher};
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::gates::Gates;
use serin::ports::{ArmSelector, GateRequest, Gatekeeper};
use serin::providers::ProviderConfig;
use serin::providers::prometheus::PrometheusConfig;

use super::testkit::prometheus::{Job, Pages, Prometheus};
use super::testkit::wait::until;

const LONG: Duration = Duration::from_secs(120);
const RULES: &str = "\
groups:
- name: test
  interval: 1s
  rules:
  - alert: QueueIsFull
    expr: queue > 5
    labels: {severity: critical, service: shop}
  - alert: OfAnother
    expr: vector(1)
    labels: {severity: critical, service: other}
";

fn request(check: Check) -> GateRequest {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    GateRequest {
        key: "r1/start/it/1".to_owned(),
        gate: Gate {
            name: "it".to_owned(),
            before: Before::Start,
            check,
            deadline: None,
            at_deadline: GateOutcome::Hold,
            on_refusal: GateOutcome::Hold,
            point_of_no_return: false,
        },
        occasion: Occasion::Start,
        rollout: RolloutId("r1".to_owned()),
        target: "shop".to_owned(),
        provider: "prom".to_owned(),
        version: "1".to_owned(),
        stable_version: None,
        policy: "p".to_owned(),
        weight: Weight(500),
        started_by: "somebody".to_owned(),
        canary: ArmSelector { labels: [("job".to_owned(), "shop".to_owned())].into(), endpoints: Vec::new() },
        baseline: ArmSelector {
            labels: [("job".to_owned(), "none".to_owned())].into(),
            endpoints: Vec::new(),
        },
        now: Timestamp(i64::try_from(now).expect("a time")),
    }
}

fn alerts(quiet_seconds: u64) -> Check {
    let matcher = |label: &str, op, value: &str| Matcher { label: label.into(), op, value: value.into() };
    Check::Alerts(AlertsCheck {
        alertmanager: None,
        matchers: vec![
            matcher("service", MatchOp::Equal, "{target}"),
            matcher("severity", MatchOp::Matches, "critical|page"),
        ],
        quiet_for: Duration::from_secs(quiet_seconds),
    })
}

fn metric(query: &str, held: u64, breach: Breach) -> Check {
    Check::Metric {
        query: query.to_owned(),
        limit: GuardrailLimit::Absolute(5.0),
        breach,
        held_for: Duration::from_secs(held),
    }
}

#[tokio::test]
async fn alerts_metrics_and_budgets_of_a_real_prometheus() {
    let full = Arc::new(AtomicBool::new(false));
    let seen = full.clone();
    let pages = Pages::serve(move |_| {
        let queue = if seen.load(Ordering::Relaxed) { 9 } else { 1 };
        Some(format!("queue {queue}\nbad 2\nall 1000\nnothing NaN\n"))
    })
    .await;
    let job = Job::new("shop", Duration::from_secs(1), &[pages.address.to_string()]);
    let prometheus = Prometheus::start_with_rules(&[job], RULES).await;
    let provider = ProviderConfig::Prometheus(PrometheusConfig {
        url: prometheus.url(),
        deadline: Duration::from_secs(10),
        bearer_token: None,
        basic_auth: None,
        headers: BTreeMap::new(),
        ca_file: None,
        client_certificate_file: None,
        max_series: 1000,
        pin: BTreeMap::new(),
    });
    let provider = provider.build().expect("a provider");
    let gates = Gates::new(BTreeMap::from([("prom".to_owned(), provider)]));
    let ask = async |check: Check| gates.ask(&request(check)).await;

    // Held for 10 s needs 10 s of data, and is a yes only then.
    let first = ask(metric("queue{$arm}", 10, Breach::Above)).await;
    assert!(matches!(&first, GateAnswer::NotYet(_)), "{first:?}");
    let held = until("the queue was short for 10 s", LONG, async || {
        match ask(metric("queue{$arm}", 10, Breach::Above)).await {
            GateAnswer::Yes(detail) => Some(detail),
            GateAnswer::NotYet(_) => None,
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert!(held.starts_with("1 over the last 10s"), "{held}");
    for (query, held) in [
        ("there_is_no_such{$arm}", 0),
        ("there_is_no_such{$arm}", 10),
        ("nothing{$arm}", 0),
        ("nothing{$arm}", 10),
    ] {
        let found = ask(metric(query, held, Breach::Above)).await;
        assert!(matches!(&found, GateAnswer::NotYet(_)), "{query} {held}: {found:?}");
    }
    // A comment at the end of a query does not swallow what is put around it.
    let commented = ask(metric("queue{$arm} # the queue", 3, Breach::Above)).await;
    assert!(matches!(&commented, GateAnswer::Yes(_)), "{commented:?}");
    let wrong = ask(metric("queue{", 0, Breach::Above)).await;
    assert!(matches!(&wrong, GateAnswer::Fault(_)), "{wrong:?}");

    let slo = |objective| Check::Slo {
        bad_share: "sum(bad{$arm}) / sum(all{$arm})".to_owned(),
        objective,
        budget_left: 0.1,
    };
    assert_eq!(ask(slo(0.99)).await, GateAnswer::Yes("80.0% of the error budget is left".to_owned()));
    assert!(matches!(ask(slo(0.999)).await, GateAnswer::No(_)));

    assert_eq!(ask(alerts(0)).await, GateAnswer::Yes("no alert fires".to_owned()));
    full.store(true, Ordering::Relaxed);
    until("the alert fires", LONG, async || match ask(alerts(0)).await {
        GateAnswer::NotYet(detail) => {
            assert_eq!(detail, "1 alert fires");
            Some(())
        }
        GateAnswer::Yes(_) => None,
        other => panic!("{other:?}"),
    })
    .await;
    until("the queue is too long", LONG, async || {
        match ask(metric("queue{$arm}", 10, Breach::Above)).await {
            GateAnswer::NotYet(_) => Some(()),
            GateAnswer::Yes(_) => None,
            other => panic!("{other:?}"),
        }
    })
    .await;
    full.store(false, Ordering::Relaxed);
    until("the alert is over", LONG, async || match ask(alerts(0)).await {
        GateAnswer::Yes(_) => Some(()),
        _ => None,
    })
    .await;
    // It is over, and was there within the last minutes.
    assert_eq!(ask(alerts(300)).await, GateAnswer::NotYet("1 alert fires within 300s".to_owned()));
}
