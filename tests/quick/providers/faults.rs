//! Every way in which an answer can be wrong is a reason of its own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use serin::core::metric::{NoData, Reading};
use serin::ports::ValueRequest;
use serin::secrets::SecretSource;
use tokio::sync::Barrier;

use super::server::{Reply, Server, json as answer_json, success};
use super::*;
use crate::testkit::process::free_port;

fn value_request() -> ValueRequest {
    ValueRequest {
        guardrail: "g".to_owned(),
        query: "sum(up{$arm})".to_owned(),
        canary: arm("new"),
        baseline: arm("old"),
        now: NOW,
        lag: Duration::from_secs(5),
        stale_after: Duration::from_secs(30),
    }
}

/// Faults that do not depend on what was asked for.
fn transport_faults() -> Vec<(&'static str, Reply, NoData)> {
    let error =
        |kind: &str, text: &str| json!({"status": "error", "errorType": kind, "error": text}).to_string();
    let text = str::to_owned;
    vec![
        (
            "a bad query",
            Reply::Whole(400, error("bad_data", "parse error")),
            NoData::Refused(text("parse error")),
        ),
        (
            "too costly",
            Reply::Whole(422, error("execution", "too many samples")),
            NoData::Refused(text("too many")),
        ),
        ("a slow query", Reply::Whole(503, error("timeout", "query timed out")), NoData::Timeout),
        ("not let in", Reply::Whole(401, text("who are you")), NoData::Status(401)),
        ("not found", Reply::Whole(404, text("<html>")), NoData::Status(404)),
        ("broken", Reply::Whole(500, error("internal", "oh")), NoData::Status(500)),
        ("a bad gateway", Reply::Whole(502, text("")), NoData::Status(502)),
        ("a redirect", Reply::Whole(302, text("")), NoData::Status(302)),
        ("not JSON", Reply::Whole(200, text("<html>hello</html>")), NoData::Malformed(text(""))),
        ("nothing", Reply::Whole(200, text("")), NoData::Malformed(text(""))),
        (
            "cut JSON",
            Reply::Whole(200, text(r#"{"status":"success","data":{"resultTy"#)),
            NoData::Malformed(text("")),
        ),
        ("no data", Reply::Whole(200, text(r#"{"status":"success"}"#)), NoData::Malformed(text("no data"))),
        ("an error with 200", Reply::Whole(200, error("internal", "oh")), NoData::Refused(text("oh"))),
        ("another type", success("string", json!([1, "x"])), NoData::WrongType(text(""))),
        ("an unknown type", success("table", json!([])), NoData::Malformed(text(""))),
        (
            "a truncated body",
            Reply::Raw(text("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"status\":")),
            NoData::Unreachable(text("the answer broke off")),
        ),
        (
            "a truncated chunked body",
            Reply::Raw(text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"status\":")),
            NoData::Unreachable(text("the answer broke off")),
        ),
        ("no HTTP", Reply::Raw(text("SSH-2.0-hello\r\n")), NoData::Unreachable(text(""))),
        ("hung up", Reply::Raw(text("")), NoData::Unreachable(text(""))),
        (
            "a huge body",
            Reply::Hang(text("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{")),
            NoData::TooLarge(text("")),
        ),
        (
            "a warning",
            answer_json(&json!({"status": "success", "warnings": ["store a is gone"],
                "data": {"resultType": "vector", "result": []}})),
            NoData::Partial(text("store a is gone")),
        ),
        (
            "a part is missing",
            answer_json(&json!({"status": "success", "isPartial": true,
                "data": {"resultType": "vector", "result": []}})),
            NoData::Partial(text("isPartial")),
        ),
    ]
}

#[tokio::test]
async fn faults_of_the_provider_are_reasons_for_both_arms() {
    for (case, reply, expected) in transport_faults() {
        let server = Server::always(reply).await;
        let provider = config(&server.url).build().unwrap();
        let [answer] = &provider.counts(&[request(proportion(), None, NOW)]).await[..] else { panic!() };
        assert_reason(&answer.observation.canary, &expected, case);
        assert_reason(&answer.observation.baseline, &expected, case);
        assert!(answer.cursor.is_none() && answer.observation.window.is_none(), "{case}");
        let [value] = &provider.values(&[value_request()]).await[..] else { panic!() };
        assert_reason(&value.canary, &expected, case);
        assert_reason(&value.baseline, &expected, case);
    }
}

#[tokio::test]
async fn what_hangs_ends_at_the_deadline() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned();
    for reply in [Reply::Hang(String::new()), Reply::Hang(head)] {
        let server = Server::always(reply).await;
        let config = PrometheusConfig { deadline: Duration::from_millis(300), ..config(&server.url) };
        let provider = config.build().unwrap();
        // More than are under way at once: the deadline holds for the call as a whole.
        let requests = vec![request(proportion(), None, NOW); 40];
        for answer in provider.counts(&requests).await {
            assert_eq!(answer.observation.canary, Err(NoData::Timeout));
            assert_eq!(answer.observation.baseline, Err(NoData::Timeout));
        }
        assert_eq!(provider.values(&[value_request()]).await[0].canary, Err(NoData::Timeout));
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let provider = config(&format!("http://user:hunter2@127.0.0.1:{}", free_port())).build().unwrap();
    let answer = &provider.counts(&[request(proportion(), None, NOW)]).await[0];
    let Err(reason @ NoData::Unreachable(_)) = &answer.observation.baseline else { panic!("{answer:?}") };
    assert!(!reason.to_string().contains("hunter2"), "{reason}");
}

#[tokio::test]
async fn samples_that_cannot_be_counted_are_reasons() {
    let series = |values: serde_json::Value| {
        let metric = json!({"__name__": "requests_total", "instance": "a"});
        success("matrix", json!([{"metric": metric, "values": values}]))
    };
    let now = NOW.seconds();
    let cases = [
        ("NaN", series(json!([[now, "NaN"]])), NoData::Empty),
        ("infinite", series(json!([[now, "+Inf"]])), NoData::NotFinite),
        ("negative", series(json!([[now, "-1"]])), NoData::Malformed("negative".into())),
        ("no number", series(json!([[now, "many"]])), NoData::Malformed("many".into())),
        ("a bare number", series(json!([[now, 5]])), NoData::Malformed(String::new())),
        ("no time", series(json!([["now", "5"]])), NoData::Malformed(String::new())),
        ("a vector", success("vector", json!([])), NoData::WrongType("matrix".into())),
        ("a scalar", success("scalar", json!([now, "1"])), NoData::WrongType(String::new())),
        ("no series", success("matrix", json!([])), NoData::Empty),
        (
            "a native histogram",
            success("matrix", json!([{"metric": {"__name__": "d"}, "histograms": [[now, {}]]}])),
            NoData::WrongType("native".into()),
        ),
    ];
    for (case, reply, expected) in cases {
        // Only the baseline has samples, so that the arms do not share series.
        let is_matrix = matches!(&reply, Reply::Whole(_, body) if body.contains("matrix"));
        let server = Server::start(move |call| {
            if is_matrix && !call.form["query"].contains(r#"version="old""#) {
                success("matrix", json!([]))
            } else {
                reply.clone()
            }
        })
        .await;
        let provider = config(&server.url).build().unwrap();
        let source = MetricSource::Proportion {
            total: vec![selector("requests_total")],
            bad: Vec::new(),
            process_start: None,
        };
        let answer = &provider.counts(&[request(source, None, NOW)]).await[0];
        assert_reason(&answer.observation.baseline, &expected, case);
        assert!(answer.cursor.is_none(), "{case}");
    }
}

#[tokio::test]
async fn too_many_series_are_refused() {
    let server = Server::start(|_| {
        let series = (0..101).map(|n| json!({"metric": {"n": n.to_string()}, "values": [[1, "1"]]}));
        success("matrix", series.collect())
    })
    .await;
    let provider = config(&server.url).build().unwrap();
    let answer = &provider.counts(&[request(proportion(), None, NOW)]).await[0];
    assert_reason(
        &answer.observation.baseline,
        &NoData::TooLarge("more than 100 series".into()),
        "101 series",
    );
}

#[tokio::test]
async fn values_are_one_finite_fresh_number() {
    let now = NOW.seconds();
    let one = |value: &str, at: f64| json!({"metric": {}, "value": [at, value]});
    let cases: [(&str, Reply, Reading<f64>); 9] = [
        ("a vector", success("vector", json!([one("0.25", now)])), Ok(0.25)),
        ("a scalar", success("scalar", json!([now, "-3e-2"])), Ok(-0.03)),
        ("NaN", success("vector", json!([one("NaN", now)])), Err(NoData::NotFinite)),
        ("-Inf", success("scalar", json!([now, "-Inf"])), Err(NoData::NotFinite)),
        ("nothing", success("vector", json!([])), Err(NoData::Empty)),
        ("two", success("vector", json!([one("1", now), one("2", now)])), Err(NoData::ManySeries(2))),
        ("old", success("vector", json!([one("1", now - 60.0)])), Err(NoData::Stale { age_seconds: 60 })),
        ("a range", success("matrix", json!([])), Err(NoData::WrongType("a range".into()))),
        (
            "a histogram",
            success("vector", json!([{"metric": {}, "histogram": [now, {}]}])),
            Err(NoData::WrongType("native histogram".into())),
        ),
    ];
    for (case, reply, expected) in cases {
        let server = Server::always(reply).await;
        let value = &config(&server.url).build().unwrap().values(&[value_request()]).await[0];
        match &expected {
            Ok(number) => assert_eq!(value.canary, Ok(*number), "{case}"),
            Err(reason) => assert_reason(&value.canary, reason, case),
        }
    }
}

#[tokio::test]
async fn each_arm_is_asked_for_with_its_labels_at_the_time_before_the_lag() {
    let server = Server::start(|call| {
        assert!(call.head.starts_with("POST /prefix/api/v1/query "), "{}", call.head);
        assert_eq!(call.form["time"], "1699999995.000");
        let value = if call.form["query"] == r#"sum(up{version="new",replica="a"})"# { "1" } else { "2" };
        success("scalar", json!([NOW.seconds(), value]))
    })
    .await;
    let mut config = config(&format!("{}/prefix/", server.url));
    config.pin = labels(&[("replica", "a")]);
    let value = &config.build().unwrap().values(&[value_request()]).await[0];
    assert_eq!((&value.canary, &value.baseline), (&Ok(1.0), &Ok(2.0)));
}

#[tokio::test]
async fn sixteen_calls_are_under_way_at_once_and_answers_keep_the_order() {
    // Each call is answered when sixteen are there: with fewer at once the test would not end.
    let barrier = Arc::new(Barrier::new(16));
    let server = Server::start(move |call| {
        let query = &call.form["query"];
        let number = query.trim_start_matches("sum(up{version=\"").split('"').next().unwrap();
        Reply::After(barrier.clone(), Box::new(success("scalar", json!([NOW.seconds(), number]))))
    })
    .await;
    let requests: Vec<ValueRequest> = (0..80)
        .map(|n| ValueRequest {
            canary: arm(&n.to_string()),
            baseline: arm(&(n + 1000).to_string()),
            ..value_request()
        })
        .collect();
    let values = config(&server.url).build().unwrap().values(&requests).await;
    for (n, value) in values.iter().enumerate() {
        assert_eq!(value.canary, Ok(n as f64));
        assert_eq!(value.baseline, Ok(n as f64 + 1000.0));
    }
    assert_eq!(server.most_under_way(), 16);
}

#[tokio::test]
async fn credentials_go_along_and_are_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        SecretSource::File(folder.path().join(name))
    };
    let server = Server::start(|call| {
        let is_let_in = call.head.contains("authorization: Bearer s3cret\r\n")
            && call.head.contains("x-scope-orgid: team\r\n");
        if is_let_in { success("scalar", json!([NOW.seconds(), "1"])) } else { Reply::Whole(401, call.head) }
    })
    .await;
    let mut bearer = config(&server.url);
    bearer.bearer_token = Some(file("token", "s3cret\n"));
    bearer.headers.insert("X-Scope-OrgID".to_owned(), file("tenant", "team"));
    assert_eq!(bearer.build().unwrap().values(&[value_request()]).await[0].canary, Ok(1.0));

    let server = Server::start(|call| match call.head.contains("authorization: Basic dXNlcjpwYXNz\r\n") {
        true => success("scalar", json!([NOW.seconds(), "1"])),
        false => Reply::Whole(401, String::new()),
    })
    .await;
    let mut basic = config(&server.url);
    basic.basic_auth = Some(("user".to_owned(), file("password", "pass\n")));
    assert_eq!(basic.build().unwrap().values(&[value_request()]).await[0].canary, Ok(1.0));

    let mut broken = config("http://user:hunter2@127.0.0.1:1");
    broken.bearer_token = Some(file("broken", "s3cret\nwith a line"));
    let error = broken.build().err().unwrap().to_string();
    assert!(error.contains("bearer_token has characters"), "{error}");
    assert!(!error.contains("s3cret") && !error.contains("hunter2"), "{error}");
}

#[test]
fn what_cannot_be_built_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let missing = folder.path().join("missing");
    let build = |change: &dyn Fn(&mut PrometheusConfig)| {
        let mut config = config("http://127.0.0.1:1");
        change(&mut config);
        config.build().err().expect("an error").to_string()
    };
    let cases: [(&str, String); 7] = [
        ("cannot be read", build(&|config| config.url = "no url".to_owned())),
        ("must begin with http", build(&|config| config.url = "ftp://example.org".to_owned())),
        ("is not set", build(&|c| c.bearer_token = Some(SecretSource::Env("SERIN_TEST_UNSET".to_owned())))),
        ("holds no certificate", build(&|config| config.ca_file = Some(empty.clone()))),
        ("cannot be read", build(&|config| config.ca_file = Some(missing.clone()))),
        ("certificate and its key", build(&|config| config.client_certificate_file = Some(empty.clone()))),
        (
            "not the name of a header",
            build(&|c| {
                c.headers.insert("a b".to_owned(), SecretSource::File(empty.clone()));
            }),
        ),
    ];
    for (expected, found) in cases {
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    }
}
