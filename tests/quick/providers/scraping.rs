//! Reading metrics pages directly.

use std::sync::{Arc, Mutex};

use serin::ports::{MetricsProvider, ValueRequest};
use serin::providers::scrape::ScrapeConfig;

use super::server::{Reply, Server};
use super::*;
use crate::testkit::prometheus::Pages;

type Texts = Arc<Mutex<BTreeMap<&'static str, String>>>;

fn scrape() -> Arc<dyn MetricsProvider> {
    ScrapeConfig { deadline: Duration::from_secs(60), max_bytes: 10_000 }.build().unwrap()
}

/// Pages by path; a path without a text is answered with an error.
async fn pages(texts: &[(&'static str, String)]) -> (Texts, Pages) {
    let texts: Texts = Arc::new(Mutex::new(texts.iter().cloned().collect()));
    let shown = texts.clone();
    let pages = Pages::serve(move |path| shown.lock().unwrap().get(path).cloned()).await;
    (texts, pages)
}

fn endpoints(pages: &Pages, paths: &[&str]) -> ArmSelector {
    // Labels that no series has: they do not matter where each arm has pages of its own.
    ArmSelector {
        labels: labels(&[("version", "none")]),
        endpoints: paths.iter().map(|path| pages.url(path)).collect(),
    }
}

/// Code 200 and 500, and the process's start.
fn page(ok: u64, errors: u64, started: f64) -> String {
    format!(
        "# TYPE requests_total counter\nrequests_total{{code=\"200\"}} {ok}\nrequests_total{{code=\"500\"}} {errors}\n\
         process_start_time_seconds {}\nother{{a=\"b\"}} 1\n",
        at(started).seconds()
    )
}

fn by_code() -> MetricSource {
    MetricSource::Proportion {
        total: vec![selector_with("requests_total", "code", MatchOp::NotEqual, "499")],
        bad: vec![selector_with("requests_total", "code", MatchOp::Matches, "5..")],
        process_start: Some("process_start_time_seconds".to_owned()),
    }
}

fn of(
    canary: ArmSelector,
    baseline: ArmSelector,
    cursor: Option<MetricCursor>,
    second: f64,
) -> CountsRequest {
    CountsRequest { canary, baseline, ..request(by_code(), cursor, at(second)) }
}

#[tokio::test]
async fn pages_are_counted_over_restarts_and_dead_instances() {
    let (texts, pages) =
        pages(&[("/c1", page(0, 0, -5.0)), ("/b1", page(100, 1, -90.0)), ("/b2", page(200, 2, -90.0))]).await;
    let arms = || (endpoints(&pages, &["/c1"]), endpoints(&pages, &["/b1", "/b2"]));
    let provider = scrape();
    let look = |cursor, second| {
        let (canary, baseline) = arms();
        let provider = provider.clone();
        async move { provider.counts(&[of(canary, baseline, cursor, second)]).await.remove(0) }
    };
    let set = |path, text: Option<String>| match text {
        Some(text) => {
            texts.lock().unwrap().insert(path, text);
        }
        None => {
            texts.lock().unwrap().remove(path);
        }
    };
    let first = look(None, 0.0).await;
    assert_eq!(first.observation.baseline, counted(0, 0));
    set("/c1", Some(page(8, 1, -5.0)));
    set("/b1", Some(page(110, 1, -90.0)));
    // One instance of the baseline is dead: the other one counts.
    set("/b2", None);
    let second = look(first.cursor, 1.0).await;
    assert_eq!(second.observation.canary, counted(9, 1));
    assert_eq!(second.observation.baseline, counted(10, 0));
    // It is back with what it counted meanwhile; the other one was restarted and has passed its value.
    set("/b2", Some(page(230, 3, -90.0)));
    set("/b1", Some(page(120, 0, 1.5)));
    let third = look(second.cursor, 2.0).await;
    assert_eq!(third.observation.baseline, counted(31 + 120, 1));
    assert_eq!(third.observation.canary, counted(0, 0));
    // No page of the canary: it alone is unreachable.
    set("/c1", None);
    let fourth = look(third.cursor.clone(), 3.0).await;
    assert_reason(&fourth.observation.canary, &NoData::Unreachable("status 503".into()), "all dead");
    assert_eq!(fourth.observation.baseline, counted(0, 0));
    assert_eq!(fourth.cursor, None);
    // It crashed and is a new process now; nothing of the baseline is lost.
    set("/c1", Some(page(3, 3, 3.5)));
    set("/b2", Some(page(240, 3, -90.0)));
    let fifth = look(third.cursor, 4.0).await;
    assert_eq!((fifth.observation.canary, fifth.observation.baseline), (counted(6, 3), counted(10, 0)));
}

#[tokio::test]
async fn a_canary_that_is_not_up_yet_counts_from_zero_later() {
    let (texts, pages) = pages(&[("/b", page(100, 1, -90.0))]).await;
    let arms = || (endpoints(&pages, &["/c"]), endpoints(&pages, &["/b"]));
    let provider = scrape();
    let mut cursor = None;
    for second in 0..3 {
        let (canary, baseline) = arms();
        let answer = provider.counts(&[of(canary, baseline, cursor, f64::from(second))]).await.remove(0);
        assert_reason(&answer.observation.canary, &NoData::Unreachable(String::new()), "not up");
        assert!(answer.cursor.is_some(), "the baseline is consumed alone");
        cursor = answer.cursor;
    }
    texts.lock().unwrap().insert("/c", page(4, 1, 2.5));
    let (canary, baseline) = arms();
    let answer = provider.counts(&[of(canary, baseline, cursor, 3.0)]).await.remove(0);
    assert_eq!(answer.observation.canary, counted(5, 1));
}

#[tokio::test]
async fn a_page_of_both_arms_is_told_apart_by_labels() {
    let text = |new: u64| {
        format!(
            "rq{{version=\"new\",code=\"200\"}} {new}\nrq{{version=\"old\",code=\"200\"}} 10\nrq{{version=\"third\"}} 7\n"
        )
    };
    let (texts, pages) = pages(&[("/envoy", "rq{version=\"old\",code=\"200\"} 9\n".to_owned())]).await;
    let source = MetricSource::Proportion {
        total: vec![selector("rq")],
        bad: vec![selector_with("rq", "code", MatchOp::NotMatches, "200|")],
        process_start: None,
    };
    let side = |version| ArmSelector { endpoints: vec![pages.url("/envoy")], ..arm(version) };
    let look = |cursor, second| CountsRequest {
        canary: side("new"),
        baseline: side("old"),
        ..request(source.clone(), cursor, at(second))
    };
    let provider = scrape();
    let first = provider.counts(&[look(None, 0.0)]).await.remove(0);
    assert_eq!(first.observation.canary, Err(NoData::Empty));
    // The page was read before without the canary's series, so they count from zero.
    texts.lock().unwrap().insert("/envoy", text(3));
    let second = provider.counts(&[look(first.cursor, 1.0)]).await.remove(0);
    assert_eq!(second.observation.canary, counted(3, 0));
    assert_eq!(second.observation.baseline, counted(1, 0));
}

#[tokio::test]
async fn pages_that_cannot_be_used_are_reasons() {
    let length = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{text}");
    let cases = [
        ("an error", Reply::Whole(500, String::new()), "status 500"),
        ("a redirect", Reply::Whole(301, String::new()), "status 301"),
        ("no metrics", Reply::Whole(200, "<html>\n".to_owned()), "line 1"),
        ("not UTF-8", Reply::Whole(200, "no line end".to_owned()), "not complete"),
        ("large", Reply::Whole(200, "a 1\n".repeat(10_000)), "10000 bytes"),
        ("large, in chunks", large_in_chunks(), "10000 bytes"),
        ("truncated", Reply::Raw(length("requests_total 1\n")), "broke off"),
        ("hung up", Reply::Raw(String::new()), ""),
    ];
    let (_texts, pages) = pages(&[("/b", page(1, 0, -9.0))]).await;
    for (case, reply, expected) in cases {
        let server = Server::always(reply).await;
        let canary = ArmSelector { labels: labels(&[]), endpoints: vec![format!("{}/m", server.url)] };
        let answer =
            scrape().counts(&[of(canary, endpoints(&pages, &["/b"]), None, 0.0)]).await.remove(0).observation;
        assert_reason(&answer.canary, &NoData::Unreachable(String::new()), case);
        assert!(answer.canary.unwrap_err().to_string().contains(expected), "{case}");
        assert_eq!(answer.baseline, counted(0, 0), "{case}");
    }
}

fn large_in_chunks() -> Reply {
    let chunk = format!("3e8\r\n{}\r\n", "a 1\n".repeat(250));
    Reply::Raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(11)))
}

#[tokio::test]
async fn a_page_that_hangs_ends_at_the_deadline_and_counters_must_be_numbers() {
    let provider = ScrapeConfig { deadline: Duration::from_millis(300), max_bytes: 10_000 }.build().unwrap();
    let server = Server::always(Reply::Hang("HTTP/1.1 200 OK\r\n".to_owned())).await;
    let hanging = ArmSelector { labels: labels(&[]), endpoints: vec![server.url.clone()] };
    let (_texts, pages) = pages(&[("/nan", page(1, 0, -9.0).replace("} 1\n", "} NaN\n"))]).await;
    let answer = provider.counts(&[of(hanging, endpoints(&pages, &["/nan"]), None, 0.0)]).await.remove(0);
    assert_reason(&answer.observation.canary, &NoData::Unreachable("in time".into()), "a hanging page");
    let (_texts, quick) = self::pages(&[("/nan", page(1, 0, -9.0).replace("} 1\n", "} NaN\n"))]).await;
    let nan = of(endpoints(&quick, &["/none"]), endpoints(&quick, &["/nan"]), None, 0.0);
    let answer = scrape().counts(&[nan]).await.remove(0);
    assert_eq!(answer.observation.baseline, Err(NoData::NotFinite));
}

#[tokio::test]
async fn expressions_that_are_none_and_queries_are_refused() {
    let (_texts, pages) = pages(&[("/a", page(1, 0, -9.0)), ("/b", page(1, 0, -9.0))]).await;
    let mut broken = of(endpoints(&pages, &["/a"]), endpoints(&pages, &["/b"]), None, 0.0);
    broken.source = MetricSource::Proportion {
        total: vec![selector_with("requests_total", "code", MatchOp::Matches, "(")],
        bad: Vec::new(),
        process_start: None,
    };
    let answer = scrape().counts(&[broken]).await.remove(0);
    assert_reason(&answer.observation.canary, &NoData::Refused("regular expression".into()), "(");
    let query = ValueRequest {
        guardrail: "g".to_owned(),
        query: "up".to_owned(),
        canary: arm("new"),
        baseline: arm("old"),
        now: NOW,
        lag: Duration::ZERO,
        stale_after: Duration::from_secs(30),
    };
    let value = scrape().values(&[query]).await.remove(0);
    assert_reason(&value.canary, &NoData::Refused("query language".into()), "a query");
}
