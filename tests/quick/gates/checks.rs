//! Health pages, alerts, windows, metrics and budgets.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::calendar::{Calendar, WeeklyWindow};
use serin::core::gate::{AlertsCheck, Check, HealthCheck};
use serin::core::limit::{Breach, GuardrailLimit};
use serin::core::metric::NoData;
use serin::core::source::{MatchOp, Matcher};

use super::kit::{Receiver, ask, ask_values, rude, said};

fn health(url: String) -> HealthCheck {
    HealthCheck {
        url,
        allow_private: true,
        status: 200,
        json: BTreeMap::new(),
        headers: BTreeMap::new(),
        timeout: Duration::from_secs(5),
    }
}

#[tokio::test]
async fn health_pages() {
    let page = r#"{"version": "1.4.3", "db": {"pending": 0, "ok": true}, "list": ["a"]}"#;
    let receiver = Receiver::answering(200, &[("content-type", "application/json")], page).await;
    for (json, says) in [
        (&[][..], "yes: status 200"),
        (&[("/version", "{version}"), ("/db/pending", "0"), ("/db/ok", "true")], "yes: status 200, and all"),
        (&[("/version", "1.4.2")], "not yet: /version is 1.4.3, where 1.4.2 is wanted"),
        (&[("/db/nothing", "0")], "not yet: there is no /db/nothing, where 0 is wanted"),
        (&[("/list/0", "a")], "yes: "),
    ] {
        let mut check = health(receiver.url("/ready/{version}?v={version}"));
        check.json = json.iter().map(|(pointer, text)| ((*pointer).to_owned(), (*text).to_owned())).collect();
        let found = said(&ask(Check::Health(check)).await);
        assert!(found.starts_with(says), "{json:?}: {found}");
    }
    assert_eq!(receiver.got()[0].uri, "/ready/1.4.3?v=1.4.3");
    let mut check = health(receiver.url("/"));
    check.status = 204;
    assert!(said(&ask(Check::Health(check)).await).starts_with("not yet: status 200"));
    let plain = Receiver::answering(200, &[], "fine").await;
    let mut check = health(plain.url("/"));
    check.json = [("/a".to_owned(), "b".to_owned())].into();
    assert_eq!(said(&ask(Check::Health(check)).await), "not yet: the page is not JSON");
    let (address, _task) = rude(b"", true).await;
    let mut check = health(format!("http://{address}/"));
    check.timeout = Duration::from_millis(300);
    assert!(said(&ask(Check::Health(check)).await).starts_with("fault: there was no"));
    let mut check = health(plain.url("/"));
    check.allow_private = false;
    assert!(said(&ask(Check::Health(check)).await).contains("is a loopback address"));
}

fn alerts(quiet_seconds: u64, alertmanager: Option<String>) -> Check {
    let matcher = |label: &str, op, value: &str| Matcher { label: label.into(), op, value: value.into() };
    Check::Alerts(AlertsCheck {
        alertmanager,
        matchers: vec![
            matcher("service", MatchOp::Equal, "{target}"),
            matcher("severity", MatchOp::Matches, "critical|\"page\""),
        ],
        quiet_for: Duration::from_secs(quiet_seconds),
    })
}

#[tokio::test]
async fn alerts_of_prometheus() {
    let (answer, asked) = ask_values(alerts(0, None), &[("ALERTS", Ok(0.0))]).await;
    assert_eq!(said(&answer), "yes: no alert fires");
    assert_eq!(
        asked,
        [r#"count(ALERTS{alertstate="firing",service="shop",severity=~"critical|\"page\""}) or vector(0)"#]
    );
    let (answer, asked) = ask_values(alerts(600, None), &[("ALERTS", Ok(2.0))]).await;
    assert_eq!(said(&answer), "not yet: 2 alerts fire within 600s");
    assert!(
        asked[0].starts_with("count(max_over_time(ALERTS{") && asked[0].contains("[600000ms]"),
        "{asked:?}"
    );
    let (answer, _) = ask_values(alerts(0, None), &[("ALERTS", Err(NoData::Timeout))]).await;
    assert_eq!(said(&answer), "fault: the provider did not answer in time");
    assert_eq!(said(&ask(alerts(0, None)).await), "fault: there is no provider prom");
}

#[tokio::test]
async fn alerts_of_alertmanager() {
    let alert =
        |name: &str| format!(r#"{{"labels":{{"alertname":"{name}","service":"shop"}},"fingerprint":"x"}}"#);
    for (status, body, says) in [
        (200, "[]".to_owned(), "yes: no alert fires"),
        (200, format!("[{}]", alert("HighErrors")), "not yet: 1 alert fires: HighErrors"),
        (200, format!("[{},{}]", alert("A"), alert("B")), "not yet: 2 alerts fire: A, B"),
        (200, "{}".to_owned(), "fault: Alertmanager's answer cannot be read"),
        (400, "bad filter".to_owned(), "fault: Alertmanager: status 400: bad filter"),
        (500, String::new(), "fault: Alertmanager: status 500"),
    ] {
        let receiver = Receiver::answering(status, &[], &body).await;
        let found = said(&ask(alerts(0, Some(receiver.url("/base/")))).await);
        assert!(found.starts_with(says), "{body}: {found}");
        let url = url::Url::parse(&receiver.url(&receiver.got()[0].uri)).unwrap();
        assert_eq!(url.path(), "/base/api/v2/alerts");
        let pairs: Vec<(String, String)> =
            url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let has = |name: &str, value: &str| pairs.contains(&(name.to_owned(), value.to_owned()));
        assert!(has("active", "true") && has("silenced", "false") && has("inhibited", "false"), "{pairs:?}");
        assert!(
            has("filter", r#"service="shop""#) && has("filter", r#"severity=~"critical|\"page\"""#),
            "{pairs:?}"
        );
    }
}

#[tokio::test]
async fn windows() {
    // The request's time is a Thursday, 20:26:40 UTC.
    let window = |from, until, refuse| Check::Window {
        calendar: Calendar {
            time_zone: "UTC".to_owned(),
            open: vec![WeeklyWindow { days: vec![4], from, until }],
            closed: Vec::new(),
        },
        refuse,
    };
    assert_eq!(said(&ask(window(1200, 1260, false)).await), "yes: open until 2026-05-28T21:00:00.000Z");
    let closed = "closed until 2026-06-04T09:00:00.000Z: outside the weekly windows";
    assert_eq!(said(&ask(window(540, 960, false)).await), format!("not yet: {closed}"));
    assert_eq!(said(&ask(window(540, 960, true)).await), format!("no: {closed}"));
}

fn metric(held: u64, breach: Breach) -> Check {
    Check::Metric {
        query: "sum(x{$arm})".to_owned(),
        limit: GuardrailLimit::Absolute(0.8),
        breach,
        held_for: Duration::from_secs(held),
    }
}

#[tokio::test]
async fn a_metric_against_its_limit() {
    use Breach::{Above, Below};
    for (held, breach, answers, says) in [
        (0, Above, vec![("x", Ok(0.8))], "yes: 0.8; the limit is 0.8"),
        (0, Above, vec![("x", Ok(0.81))], "not yet: 0.81 is above the limit of 0.8"),
        (0, Below, vec![("x", Ok(0.79))], "not yet: 0.79 is below the limit of 0.8"),
        (0, Below, vec![("x", Ok(0.8))], "yes: "),
        (0, Above, vec![], "not yet: there is no value: no series matches"),
        (0, Above, vec![("x", Err(NoData::NotFinite))], "not yet: there is no value"),
        (0, Above, vec![("x", Err(NoData::Stale { age_seconds: 400 }))], "not yet: there is no value"),
        (0, Above, vec![("x", Err(NoData::Refused("bad".into())))], "fault: the provider refused"),
        (0, Above, vec![("x", Err(NoData::ManySeries(3)))], "fault: 3 series came"),
        (600, Above, vec![("max_over", Ok(0.5)), ("count_over", Ok(20.0))], "yes: 0.5 over the last 600s"),
        (
            600,
            Above,
            vec![("max_over", Ok(0.9)), ("count_over", Ok(20.0))],
            "not yet: 0.9 over the last 600s is above",
        ),
        (600, Below, vec![("min_over", Ok(0.9)), ("count_over", Ok(21.0))], "yes: 0.9"),
        // It must have been there all of the time.
        (
            600,
            Above,
            vec![("max_over", Ok(0.5)), ("count_over", Ok(19.0))],
            "not yet: a value was there at only 19 of 20",
        ),
        (600, Above, vec![("max_over", Ok(0.5))], "not yet: there is no value"),
    ] {
        let (answer, asked) = ask_values(metric(held, breach), &answers).await;
        let found = said(&answer);
        assert!(found.starts_with(says), "{answers:?}: {found} ({asked:?})");
    }
    let relative = Check::Metric {
        query: "x".to_owned(),
        limit: GuardrailLimit::RatioToBaseline(2.0),
        breach: Above,
        held_for: Duration::ZERO,
    };
    assert!(said(&ask_values(relative, &[("x", Ok(1.0))]).await.0).starts_with("fault: "));
}

#[tokio::test]
async fn error_budgets() {
    let slo = |left| Check::Slo { bad_share: "bad".to_owned(), objective: 0.999, budget_left: left };
    for (bad, left, says) in [
        (Ok(0.0), 0.0, "yes: 100.0% of the error budget is left"),
        (Ok(0.0005), 0.1, "yes: 50.0% of the error budget is left"),
        (Ok(0.00095), 0.1, "no: 5.0% of the error budget is left; more than 10.0% is needed"),
        (Ok(0.0011), 0.0, "no: 0.0% of the error budget is left; more than 0.0% is needed"),
        (Ok(0.5), 0.0, "no: 0.0% of the error budget is left"),
        (Ok(1.5), 0.0, "fault: the query gave 1.5, which is no share"),
        (Ok(-0.1), 0.0, "fault: the query gave -0.1"),
        (Err(NoData::Empty), 0.0, "not yet: there is no value"),
    ] {
        let found = said(&ask_values(slo(left), &[("bad", bad.clone())]).await.0);
        assert!(found.starts_with(says), "{bad:?}: {found}");
    }
}
