//! Requests as the backend of Grafana's Infinity data source sends them, and what it makes of the answers.
//! The settings of the queries stand in `dashboards/grafana/README.md`.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use serin::core::access::Role;
use serin::core::ids::RolloutId;
use serin::core::metric::{Counts, MetricObservation, TickObservation, Usage};
use serin::core::rollout::{EventKind, EventRecord};
use serin::core::split::Weight;
use serin::core::time::Timestamp;

use super::kit::{Answer, CHECKOUT, World, world};
use crate::api::example::{NOW, assessment};

/// What the settings in the README give: the address of a query, by its heading.
fn address(heading: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards/grafana/README.md");
    let text = std::fs::read_to_string(path).expect("the README of the dashboards");
    let part = text.split(&format!("### {heading}\n")).nth(1).expect("the heading");
    let line = part.lines().find_map(|line| line.strip_prefix("- URL: `")).expect("a URL");
    line.strip_suffix('`').expect("its end").to_owned()
}

/// A table of Grafana: columns with their names, and rows.
type Table = Vec<Vec<Value>>;

/// Asks as the plug-in does: variables and the range of time are put in before, the headers are its own.
async fn ask(world: &World, address: &str, token: &str, accept_encoding: bool) -> Answer {
    let address = address
        .replace("${__from}", &NOW.0.to_string())
        .replace("${__to}", &(NOW.0 + 600_000).to_string())
        .replace("${rollout}", CHECKOUT)
        .replace("${service}", "checkout");
    let path = address.strip_prefix("https://serin.example").expect("the address of the daemon");
    assert!(!path.contains('$'), "a variable is left in {path}");
    let mut request = Request::get(path)
        .header("host", "serin.example")
        .header("user-agent", "Grafana/12.2.0")
        .header("accept", "application/json;q=0.9,text/plain")
        .header("authorization", format!("Bearer {token}"))
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    if accept_encoding {
        request = request.header("accept-encoding", "gzip");
    }
    use tower::ServiceExt;
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    if accept_encoding {
        assert_eq!(response.headers()["content-encoding"], "gzip");
        return Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: String::new(),
        };
    }
    Answer::of(response).await
}

/// The parser "Backend" with an empty root selector: the rows of a list, a column for each selector.
fn table(answer: &Answer, columns: &[(&str, &str)]) -> Table {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
    let rows = answer.json().as_array().cloned().expect("a list at the root");
    let cell = |row: &Value, selector: &str, kind: &str| {
        let value = row.get(selector).unwrap_or_else(|| panic!("no `{selector}` in {row}")).clone();
        match (kind, &value) {
            (_, Value::Null) => {}
            ("timestamp", Value::String(text)) => drop(text.parse::<jiff::Timestamp>().expect("RFC 3339")),
            ("timestamp_epoch", Value::Number(number)) => assert!(number.is_i64(), "milliseconds: {number}"),
            ("number", Value::Number(_)) | ("string", Value::String(_)) => {}
            ("string", Value::Array(_)) => {}
            (kind, value) => panic!("`{selector}` is no {kind}: {value}"),
        }
        value
    };
    let line = |row: &Value| columns.iter().map(|(selector, kind)| cell(row, selector, kind)).collect();
    rows.iter().map(line).collect()
}

fn recorded() -> (World, String) {
    let world = world();
    let token = world.token("grafana", Role::Viewer, &["*"]);
    let tick = |seq: u64| TickObservation {
        seq,
        at: Timestamp(NOW.0 + seq as i64 * 10_000),
        step: 0,
        weight: Weight(500),
        baseline_weight: Weight(9_500),
        metrics: vec![MetricObservation {
            routes: Default::default(),
            metric: "errors".to_owned(),
            window: None,
            canary: Ok(Counts::Proportion { total: 200, bad: 1 }),
            baseline: Ok(Counts::Proportion { total: 600, bad: 3 }),
            usage: Usage::Used,
        }],
        values: Vec::new(),
    };
    world.store.change(|data| {
        let data = data.rollouts.get_mut(&RolloutId(CHECKOUT.into())).unwrap();
        data.observations.extend((1..=80).map(|seq| (seq, (tick(seq), assessment()))));
        data.rollout.plan_mut().created_at = NOW;
        let seq = data.events.keys().last().copied().unwrap_or(0);
        for (n, kind) in [(1, EventKind::StepEntered), (2, EventKind::RollbackStarted)] {
            let at = Timestamp(NOW.0 + n as i64 * 60_000);
            let event = EventRecord { seq: seq + n, at, kind, by: None, sentence: format!("Sentence {n}.") };
            data.events.insert(seq + n, event);
        }
    });
    (world, token)
}

#[tokio::test]
async fn infinity_reads_series_as_rows() {
    let (world, token) = recorded();
    let columns = [
        ("time", "timestamp"),
        ("metric", "string"),
        ("arm", "string"),
        ("value", "number"),
        ("requests", "number"),
    ];
    let rows = table(&ask(&world, &address("Series"), &token, false).await, &columns);
    // 60 looks lie in the ten minutes of the panel; each has both arms.
    assert_eq!(rows.len(), 120);
    let canary: Vec<&Vec<Value>> = rows.iter().filter(|row| row[2] == "canary").collect();
    assert_eq!(canary.len(), 60);
    assert!(canary.iter().all(|row| row[1] == "errors" && row[3] == 0.5 && row[4] == 200), "{canary:?}");
    assert_eq!(rows[0][0], Timestamp(NOW.0 + 10_000).to_string());
    ask(&world, &address("Series"), &token, true).await;
}

#[tokio::test]
async fn infinity_reads_annotations() {
    let (world, token) = recorded();
    let columns = [
        ("time", "timestamp_epoch"),
        ("time_end", "timestamp_epoch"),
        ("title", "string"),
        ("text", "string"),
        ("tags", "string"),
    ];
    let rows = table(&ask(&world, &address("Annotations"), &token, false).await, &columns);
    let titles: Vec<&str> = rows.iter().map(|row| row[2].as_str().unwrap()).collect();
    assert_eq!(titles.len(), 3, "{titles:?}");
    assert!(titles[0].starts_with("checkout "), "the rollout itself: {titles:?}");
    assert!(
        titles[1].starts_with("Step: checkout") && titles[2].starts_with("Rollback: checkout"),
        "{titles:?}"
    );
    assert_eq!(rows[1][0], NOW.0 + 60_000);
    assert_eq!(rows[2][3], "Sentence 2.");
}

#[tokio::test]
async fn a_wrong_token_is_told_as_json() {
    let (world, _) = recorded();
    let answer = ask(&world, &address("Annotations"), "serin_wrong", false).await;
    answer.problem(401, "invalid_credentials");
}
