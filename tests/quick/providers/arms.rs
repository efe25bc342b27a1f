//! Both arms of a metric: what is fresh, what is consumed, which window it covers.

use serin::core::metric::{Cursor, RouteCounts, Window};
use serin::ports::{CountsAnswer, MetricsProvider};
use std::sync::Arc;

use super::server::{Database, Server};
use super::*;

pub struct Looks {
    provider: Arc<dyn MetricsProvider>,
    database: Database,
    cursor: Option<MetricCursor>,
    source: MetricSource,
    by_route: Option<String>,
    _server: Server,
}

impl Looks {
    pub async fn of(source: MetricSource) -> Looks {
        let database = Database::default();
        let server = database.serve().await;
        let provider = config(&server.url).build().unwrap();
        Looks { provider, database, cursor: None, source, by_route: None, _server: server }
    }

    /// A sample at so many seconds after `NOW`.
    pub fn add(&self, series: &str, seconds: f64, value: f64) {
        self.database.add(series, at(seconds).0, value);
    }

    /// Requests, errors and start of the process of an instance.
    pub fn scrape(&self, version: &str, seconds: f64, total: f64, bad: f64, started: f64) {
        let labels = format!("version={version},instance=i-{version},job=j");
        self.add(&format!("requests_total {labels}"), seconds, total);
        self.add(&format!("errors_total {labels}"), seconds, bad);
        self.idle(version, seconds, started);
    }

    /// A scrape of an instance that has no requests yet.
    pub fn idle(&self, version: &str, seconds: f64, started: f64) {
        let labels = format!("version={version},instance=i-{version},job=j");
        self.add(&format!("process_start_time_seconds {labels}"), seconds, at(started).seconds());
    }

    pub async fn look(&mut self, seconds: f64) -> CountsAnswer {
        let mut request = request(self.source.clone(), self.cursor.clone(), at(seconds));
        request.by_route.clone_from(&self.by_route);
        let answer = self.provider.counts(&[request]).await.remove(0);
        if answer.cursor.is_some() {
            self.cursor.clone_from(&answer.cursor);
        }
        answer
    }
}

#[tokio::test]
async fn counts_come_route_by_route_where_a_label_is_named() {
    let mut looks = Looks::of(proportion()).await;
    let scrape = |looks: &Looks, version: &str, second: f64, counts: &[(&str, f64, f64)]| {
        for (route, total, bad) in counts {
            let labels = format!("version={version},instance=i-{version},job=j,route={route}");
            looks.add(&format!("requests_total {labels}"), second, *total);
            // A counter that comes with its first error.
            if *bad > 0.0 {
                looks.add(&format!("errors_total {labels}"), second, *bad);
            }
        }
        looks.idle(version, second, -500.0);
    };
    looks.by_route = Some("route".to_owned());
    scrape(&looks, "old", 0.0, &[("a", 100.0, 1.0), ("b", 10.0, 0.0)]);
    scrape(&looks, "new", 0.0, &[("a", 5.0, 0.0)]);
    looks.look(1.0).await;
    scrape(&looks, "old", 5.0, &[("a", 150.0, 2.0), ("b", 17.0, 3.0)]);
    scrape(&looks, "new", 5.0, &[("a", 9.0, 1.0), ("c", 4.0, 2.0)]);
    let seen = looks.look(6.0).await.observation;
    assert_eq!((&seen.canary, &seen.baseline), (&counted(8, 3), &counted(57, 4)));
    let route = |canary: Option<(u64, u64)>, baseline: Option<(u64, u64)>| {
        let counts = |arm: Option<(u64, u64)>| arm.map(|(total, bad)| counted(total, bad).unwrap());
        RouteCounts { canary: counts(canary), baseline: counts(baseline) }
    };
    let expected = [
        ("a".to_owned(), route(Some((4, 1)), Some((50, 1)))),
        ("b".to_owned(), route(None, Some((7, 3)))),
        ("c".to_owned(), route(Some((4, 2)), None)),
    ];
    assert_eq!(seen.routes, expected.into());
    // So many routes that the smallest are one.
    let many: Vec<(String, f64)> = (0..60).map(|i| (format!("r{i:02}"), 10.0 * f64::from(i))).collect();
    let with = |before: &[(&'static str, f64, f64)]| -> Vec<(String, f64, f64)> {
        let before = before.iter().map(|(name, total, bad)| ((*name).to_owned(), *total, *bad));
        before.chain(many.iter().map(|(name, total)| (name.clone(), *total, 0.0))).collect()
    };
    for (version, before) in
        [("old", &[("a", 151.0, 2.0), ("b", 17.0, 3.0)]), ("new", &[("a", 9.0, 1.0), ("c", 5.0, 2.0)])]
    {
        let all = with(before);
        let all: Vec<(&str, f64, f64)> =
            all.iter().map(|(n, total, bad)| (n.as_str(), *total, *bad)).collect();
        scrape(&looks, version, 10.0, &all);
    }
    let seen = looks.look(11.0).await.observation;
    assert_eq!(seen.routes.len(), 50, "{seen:?}");
    let sum = |arm: fn(&RouteCounts) -> Option<&Counts>| -> u64 {
        seen.routes.values().filter_map(arm).filter_map(Counts::requests).sum()
    };
    assert_eq!(Some(sum(|r| r.canary.as_ref())), seen.canary.as_ref().ok().and_then(Counts::requests));
    assert_eq!(Some(sum(|r| r.baseline.as_ref())), seen.baseline.as_ref().ok().and_then(Counts::requests));
    assert!(seen.routes.contains_key("(others)") && seen.routes.contains_key("r59"));
}

fn window(start: f64, end: f64) -> Option<Window> {
    Some(Window { start: at(start), end: at(end) })
}

#[tokio::test]
async fn counts_wait_until_both_arms_have_fresh_samples() {
    let mut looks = Looks::of(proportion()).await;
    looks.scrape("old", 0.0, 1000.0, 10.0, -500.0);
    looks.scrape("new", 0.5, 100.0, 0.0, -400.0);
    let first = looks.look(1.0).await;
    assert_eq!((&first.observation.canary, &first.observation.baseline), (&counted(0, 0), &counted(0, 0)));
    assert_eq!(first.observation.window, window(0.0, 0.0));
    assert!(first.cursor.is_some());

    // The baseline is scraped more often: it is seen, and not consumed.
    looks.scrape("old", 2.0, 1020.0, 11.0, -500.0);
    let second = looks.look(3.0).await;
    assert_eq!(second.observation.canary, Err(NoData::Waiting));
    assert_eq!(second.observation.baseline, counted(20, 1));
    assert_eq!(second.observation.window, window(0.0, 2.0));
    assert_eq!(second.cursor, None);

    looks.scrape("old", 4.0, 1050.0, 11.0, -500.0);
    looks.scrape("new", 5.5, 130.0, 2.0, -400.0);
    let third = looks.look(6.0).await;
    assert_eq!(third.observation.canary, counted(30, 2));
    assert_eq!(third.observation.baseline, counted(50, 1));
    assert_eq!(third.observation.window, window(0.0, 4.0));

    // Windows meet: this one begins where the last one ended.
    looks.scrape("old", 8.0, 1051.0, 11.0, -500.0);
    looks.scrape("new", 7.5, 131.0, 2.0, -400.0);
    let fourth = looks.look(9.0).await;
    assert_eq!(fourth.observation.window, window(4.0, 7.5));
    assert_eq!((fourth.observation.canary, fourth.observation.baseline), (counted(1, 0), counted(1, 0)));
}

#[tokio::test]
async fn old_samples_are_stale_and_come_again_when_fresh_ones_are_there() {
    let mut looks = Looks::of(proportion()).await;
    looks.scrape("old", 0.0, 1000.0, 10.0, -500.0);
    looks.scrape("new", 0.0, 100.0, 0.0, -400.0);
    looks.look(1.0).await;
    let both = looks.look(40.0).await.observation;
    assert_eq!(both.canary, Err(NoData::Stale { age_seconds: 40 }));
    assert_eq!(both.baseline, Err(NoData::Stale { age_seconds: 40 }));
    assert_eq!(both.window, None);
    // Out of the range of what is read, it is still known that the series were there.
    assert_eq!(looks.look(400.0).await.observation.canary, Err(NoData::Stale { age_seconds: 400 }));
    looks.scrape("old", 405.0, 1500.0, 12.0, -500.0);
    let silent = looks.look(410.0).await;
    assert_eq!(silent.observation.baseline, counted(500, 2));
    assert_eq!(silent.observation.canary, Err(NoData::Stale { age_seconds: 410 }));
    assert_eq!(silent.cursor, None);
    // The canary's process was replaced while nothing was seen.
    looks.scrape("new", 411.0, 7.0, 1.0, 300.0);
    let back = looks.look(412.0).await.observation;
    assert_eq!((back.canary, back.baseline), (counted(7, 1), counted(500, 2)));
}

#[tokio::test]
async fn a_canary_that_is_not_there_yet_does_not_hold_the_baseline_up_and_is_counted_from_its_first_request()
{
    let mut looks = Looks::of(proportion()).await;
    looks.scrape("old", 0.0, 1000.0, 10.0, -500.0);
    let first = looks.look(1.0).await.observation;
    assert_eq!((first.canary, first.baseline), (Err(NoData::Empty), counted(0, 0)));
    looks.scrape("old", 2.0, 1010.0, 10.0, -500.0);
    let second = looks.look(3.0).await;
    assert_eq!(second.observation.canary, Err(NoData::Empty));
    assert_eq!(second.observation.baseline, counted(10, 0));
    assert!(second.cursor.is_some(), "the baseline is consumed alone");
    // Its process began after the rollout started (at -1).
    looks.scrape("old", 4.0, 1030.0, 10.0, -500.0);
    looks.scrape("new", 4.5, 5.0, 2.0, 3.5);
    let third = looks.look(5.0).await.observation;
    assert_eq!((third.canary, third.baseline), (counted(5, 2), counted(20, 0)));
    assert_eq!(third.window, window(2.0, 4.0));
}

#[tokio::test]
async fn the_window_of_a_canary_begins_where_its_counting_does() {
    let mut looks = Looks::of(proportion()).await;
    looks.scrape("old", 0.0, 1000.0, 10.0, -500.0);
    looks.look(1.0).await;
    for second in [3.0, 5.0, 7.0] {
        looks.scrape("old", second, 1000.0 + second, 10.0, -500.0);
        looks.look(second + 0.5).await;
    }
    // It began at 2 and was not scraped before 8.5: its counts reach back behind the last window.
    looks.scrape("old", 8.0, 1010.0, 10.0, -500.0);
    looks.scrape("new", 8.5, 5.0, 2.0, 2.0);
    assert_eq!(looks.look(9.0).await.observation.window, window(2.0, 8.0));
}

#[tokio::test]
async fn an_old_process_that_was_scraped_before_its_first_request_is_counted_from_zero() {
    for is_scraped_idle in [true, false] {
        let mut looks = Looks::of(proportion()).await;
        looks.scrape("old", 0.0, 1000.0, 10.0, -500.0);
        if is_scraped_idle {
            looks.idle("new", 0.5, -300.0);
        }
        looks.look(1.0).await;
        looks.scrape("old", 2.0, 1010.0, 10.0, -500.0);
        looks.scrape("new", 2.5, 5.0, 2.0, -300.0);
        let canary = looks.look(3.0).await.observation.canary;
        assert_eq!(canary, if is_scraped_idle { counted(5, 2) } else { counted(0, 0) });
    }
}

#[tokio::test]
async fn the_page_of_a_proxy_serves_both_arms() {
    // No start of the process is known; the canary's series appear with its first request.
    let source = MetricSource::Proportion {
        total: vec![selector("rq_total")],
        bad: vec![selector_with("rq_total", "code", MatchOp::Equal, "503")],
        process_start: None,
    };
    let mut looks = Looks::of(source).await;
    let series = |version, code| format!("rq_total version={version},code={code},instance=envoy,job=j");
    looks.add(&series("old", 200), 0.0, 1000.0);
    looks.look(1.0).await;
    looks.add(&series("old", 200), 2.0, 1010.0);
    looks.add(&series("new", 200), 2.0, 3.0);
    looks.add(&series("new", 503), 2.0, 1.0);
    let answer = looks.look(3.0).await.observation;
    assert_eq!((answer.canary, answer.baseline), (counted(4, 1), counted(10, 0)));
}

#[tokio::test]
async fn starts_are_found_by_instance_where_the_gauge_has_no_version() {
    let mut looks = Looks::of(proportion()).await;
    let add = |looks: &Looks, version: &str, seconds: f64, total: f64, started: f64| {
        looks.add(&format!("requests_total version={version},instance=i.{version},job=j"), seconds, total);
        let gauge = format!("process_start_time_seconds instance=i.{version},job=j");
        looks.add(&gauge, seconds, at(started).seconds());
    };
    add(&looks, "old", 0.0, 1000.0, -500.0);
    looks.look(1.0).await;
    add(&looks, "old", 2.0, 1200.0, 1.5);
    add(&looks, "new", 2.0, 30.0, 0.0);
    let answer = looks.look(3.0).await.observation;
    assert_eq!((answer.canary, answer.baseline), (counted(30, 0), counted(1200, 0)));
}

/// Two services whose processes began a second ago, and one whose gauge has no version.
#[tokio::test]
async fn starts_are_asked_for_once_for_all_that_a_call_is_about() {
    let looks = Looks::of(proportion()).await;
    let mut requests = Vec::new();
    for (old, new, has_labels) in [("a1", "a2", true), ("b1", "b2", true), ("c1", "c2", false)] {
        for (version, started) in [(old, -500.0), (new, 0.5)] {
            let labels = format!("version={version},instance=i-{version},job=j");
            looks.add(&format!("requests_total {labels}"), 1.0, 100.0);
            let of_gauge = if has_labels { labels } else { format!("instance=i-{version},job=j") };
            looks.add(&format!("process_start_time_seconds {of_gauge}"), 1.0, at(started).seconds());
        }
        let cursor = || Cursor { until: at(0.0), ..Cursor::default() };
        let cursor = Some(MetricCursor { canary: cursor(), baseline: cursor() });
        for _ in 0..2 {
            let request = request(proportion(), cursor.clone(), at(2.0));
            requests.push(CountsRequest { canary: arm(new), baseline: arm(old), ..request });
        }
    }
    let answers = looks.provider.counts(&requests).await;
    for (request, answer) in requests.iter().zip(&answers) {
        let found = &answer.observation.canary;
        assert_eq!(*found, counted(100, 0), "{:?} began after the rollout: {answer:?}", request.canary);
    }
    let queries = looks.database.queries.lock().unwrap().clone();
    let of_gauge: Vec<_> = queries.iter().filter(|query| query.contains("process_start")).collect();
    // By the arms' labels, and by the instances where the gauge has no version.
    assert_eq!(of_gauge.len(), 2, "{of_gauge:#?}");
    assert!(of_gauge[0].contains(r#"version=~"a1|a2|b1|b2|c1|c2""#), "{of_gauge:#?}");
    assert!(of_gauge[1].contains(r#"instance=~"i\\-c1|i\\-c2",job="j""#), "{of_gauge:#?}");
}

#[tokio::test]
async fn without_a_baseline_no_base_is_set() {
    let mut looks = Looks::of(proportion()).await;
    looks.scrape("new", 0.0, 100.0, 0.0, -400.0);
    let answer = looks.look(1.0).await;
    assert_eq!(
        (&answer.observation.canary, &answer.observation.baseline),
        (&counted(0, 0), &Err(NoData::Empty))
    );
    assert_eq!(answer.cursor, None);
}

#[tokio::test]
async fn a_canary_with_old_series_at_the_first_look_goes_on_from_them() {
    let mut looks = Looks::of(proportion()).await;
    looks.scrape("old", -0.5, 1000.0, 10.0, -500.0);
    looks.scrape("new", -29.5, 100.0, 1.0, -400.0);
    let mut request = request(proportion(), None, at(1.0));
    request.lag = Duration::from_secs(1);
    let answer = looks.provider.counts(&[request]).await.remove(0);
    assert_eq!(answer.observation.canary, Err(NoData::Stale { age_seconds: 30 }));
    looks.cursor = answer.cursor;
    looks.scrape("old", 2.5, 1000.0, 10.0, -500.0);
    looks.scrape("new", 3.0, 104.0, 1.0, -400.0);
    assert_eq!(looks.look(4.0).await.observation.canary, counted(4, 0));
}

#[tokio::test]
async fn a_series_of_both_arms_is_refused() {
    let mut looks = Looks::of(proportion()).await;
    looks.add("requests_total instance=a", 0.0, 1.0);
    let mut both = request(proportion(), None, at(1.0));
    both.canary.labels = labels(&[("instance", "a")]);
    both.baseline.labels = labels(&[]);
    let answer = &looks.provider.counts(&[both]).await[0];
    let expected = Err(NoData::BothArms(r#"{instance="a"} requests_total{}"#.to_owned()));
    assert_eq!((&answer.observation.canary, &answer.observation.baseline), (&expected, &expected));
    assert_eq!(looks.look(1.0).await.observation.baseline, Err(NoData::Empty));
}

#[tokio::test]
async fn a_clock_that_jumps_is_no_data_and_loses_nothing() {
    let mut looks = Looks::of(proportion()).await;
    looks.scrape("old", 0.0, 1000.0, 10.0, -500.0);
    looks.scrape("new", 0.0, 100.0, 0.0, -400.0);
    looks.look(1.0).await;
    let back = looks.look(-3600.0).await;
    assert_reason(&back.observation.baseline, &NoData::Malformed(String::new()), "an hour back");
    let forward = looks.look(3600.0).await;
    assert_eq!(forward.observation.baseline, Err(NoData::Stale { age_seconds: 3600 }));
    assert!(back.cursor.is_none() && forward.cursor.is_none());
    looks.scrape("old", 2.0, 1010.0, 10.0, -500.0);
    looks.scrape("new", 2.0, 110.0, 1.0, -400.0);
    let again = looks.look(3.0).await.observation;
    assert_eq!((again.canary, again.baseline), (counted(10, 1), counted(10, 0)));
}

#[tokio::test]
async fn bad_requests_that_are_ahead_of_all_requests_wait_for_them() {
    let mut looks = Looks::of(proportion()).await;
    let step = |looks: &Looks, at, total, bad| {
        looks.scrape("old", at, 1000.0 + at, 10.0, -500.0);
        looks.scrape("new", at, total, bad, -400.0);
    };
    step(&looks, 0.0, 100.0, 0.0);
    looks.look(0.5).await;
    step(&looks, 2.0, 100.0, 1.0);
    let ahead = looks.look(2.5).await;
    assert_eq!(ahead.observation.canary, Err(NoData::Waiting));
    assert_eq!(ahead.cursor, None);
    step(&looks, 4.0, 103.0, 1.0);
    assert_eq!(looks.look(4.5).await.observation.canary, counted(3, 1));
    for second in 0..20 {
        step(&looks, 6.0 + 2.0 * f64::from(second), 103.0, 5.0);
    }
    let wrong = looks.look(44.5).await.observation.canary;
    assert_reason(&wrong, &NoData::Malformed("4 bad requests among 0 requests".into()), "not a part");
}

#[tokio::test]
async fn a_series_that_two_selectors_match_is_counted_once() {
    let source = MetricSource::Proportion {
        total: vec![
            selector_with("r", "code", MatchOp::Matches, "2..|5.."),
            selector_with("r", "code", MatchOp::Matches, "5..|4.."),
        ],
        bad: vec![selector_with("r", "code", MatchOp::Equal, "500")],
        process_start: None,
    };
    let mut looks = Looks::of(source).await;
    for (second, value) in [(0.0, 10.0), (2.0, 11.0)] {
        for code in [200, 404, 500] {
            looks.add(&format!("r version=old,code={code},instance=a"), second, value);
            looks.add(&format!("r version=new,code={code},instance=b"), second, value * 10.0);
        }
        looks.look(second + 1.0).await;
    }
    let mut request = request(looks.source.clone(), looks.cursor.take(), at(3.0));
    for code in [200, 404, 500] {
        looks.add(&format!("r version=old,code={code},instance=a"), 4.0, 13.0);
        looks.add(&format!("r version=new,code={code},instance=b"), 4.0, 113.0);
    }
    request.now = at(5.0);
    let answer = &looks.provider.counts(&[request]).await[0].observation;
    assert_eq!((&answer.canary, &answer.baseline), (&counted(9, 3), &counted(6, 2)));
}

// ------------------------------------------------------------------------------------------- histograms

fn histogram(looks: &Looks, version: &str, second: f64, buckets: &[(&str, f64)], sum: Option<f64>) {
    let labels = format!("version={version},instance=i-{version},job=j");
    for (le, value) in buckets {
        looks.add(&format!("duration_bucket {labels},le={le}"), second, *value);
    }
    if let Some(sum) = sum {
        looks.add(&format!("duration_sum {labels}"), second, sum);
    }
}

#[tokio::test]
async fn buckets_become_counts_of_their_own() {
    let mut looks = Looks::of(latency("0.001")).await;
    let both = |looks: &Looks, second, new: [f64; 3], sum| {
        histogram(looks, "old", second, &[("50", 0.0), ("300", 0.0), ("+Inf", second)], None);
        histogram(looks, "new", second, &[("300", new[1]), ("+Inf", new[2]), ("50", new[0])], Some(sum));
    };
    both(&looks, 0.0, [10.0, 20.0, 30.0], 4000.0);
    assert!(looks.look(1.0).await.cursor.is_some());
    both(&looks, 2.0, [11.0, 24.0, 39.0], 5500.0);
    let answer = looks.look(3.0).await.observation;
    let expected = Counts::Latency { le: vec![0.05, 0.3], counts: vec![1, 3, 5], sum: Some(1.5) };
    assert_eq!(answer.canary, Ok(expected));
    assert_eq!(
        answer.baseline,
        Ok(Counts::Latency { le: vec![0.05, 0.3], counts: vec![0, 0, 2], sum: None })
    );
}

#[tokio::test]
async fn histograms_that_cannot_be_compared_are_reasons() {
    let good = [("0.1", 1.0), ("+Inf", 1.0)];
    let text = str::to_owned;
    type Case<'a> = (&'a str, &'a [(&'a str, f64)], NoData);
    let cases: [Case; 6] = [
        ("no +Inf", &[("0.1", 1.0), ("0.2", 1.0)], NoData::Malformed(text("+Inf"))),
        ("no le", &[("", 1.0)], NoData::Malformed(text("no number"))),
        ("no number", &[("fast", 1.0)], NoData::Malformed(text("fast"))),
        ("twice", &[("0.1", 1.0), ("0.10", 1.0), ("+Inf", 1.0)], NoData::Malformed(text("two buckets"))),
        ("other bounds", &[("0.2", 1.0), ("+Inf", 1.0)], NoData::BoundsDiffer(text("[0.2]"))),
        ("one more", &[("0.1", 1.0), ("0.2", 1.0), ("+Inf", 1.0)], NoData::BoundsDiffer(text(""))),
    ];
    for (case, buckets, expected) in cases {
        let mut looks = Looks::of(latency("1")).await;
        histogram(&looks, "old", 0.0, &good, None);
        histogram(&looks, "new", 0.0, buckets, None);
        let answer = looks.look(1.0).await;
        assert_reason(&answer.observation.canary, &expected, case);
        assert_eq!(answer.cursor, None, "{case}");
    }
    let mut looks = Looks::of(latency("1")).await;
    histogram(&looks, "new", 0.0, &good, None);
    histogram(&looks, "old", 0.0, &good, None);
    looks.add("duration_bucket version=old,instance=second,le=0.5", 0.0, 1.0);
    looks.add("duration_bucket version=old,instance=second,le=+Inf", 0.0, 1.0);
    let answer = looks.look(1.0).await.observation;
    assert_reason(&answer.baseline, &NoData::BoundsDiffer("different buckets".into()), "within an arm");
    assert!(answer.canary.is_ok());
}

#[tokio::test]
async fn buckets_that_are_not_cumulative_are_malformed() {
    let mut looks = Looks::of(latency("1")).await;
    histogram(&looks, "old", 0.0, &[("0.1", 1.0), ("+Inf", 1.0)], None);
    histogram(&looks, "new", 0.0, &[("0.1", 5.0), ("+Inf", 5.0)], None);
    looks.look(1.0).await;
    histogram(&looks, "old", 2.0, &[("0.1", 1.0), ("+Inf", 1.0)], None);
    histogram(&looks, "new", 2.0, &[("0.1", 9.0), ("+Inf", 6.0)], None);
    let canary = looks.look(3.0).await.observation.canary;
    assert_reason(&canary, &NoData::Malformed("not cumulative".into()), "9 of 6");
}
