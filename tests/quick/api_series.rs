//! Charts: what is stored of a rollout, in as many points as asked for.

use std::sync::Arc;

use serde_json::json;
use serin::core::metric::{Counts, MetricObservation, TickObservation, Usage};
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::ports::{Commit, Commits};
use serin::store::SqliteStore;
use tokio::time::Instant;

use super::example::{NOW, assessment, policy, rollout, spec, steered};
use super::{World, world};

fn tick(seq: u64) -> TickObservation {
    let observed = |metric: &str, canary, baseline| MetricObservation {
        routes: Default::default(),
        metric: metric.to_owned(),
        window: None,
        canary: Ok(canary),
        baseline: Ok(baseline),
        usage: Usage::Used,
    };
    let errors = |total, bad| Counts::Proportion { total, bad };
    let latency =
        |counts: [u64; 3]| Counts::Latency { le: vec![0.1, 0.25], counts: counts.to_vec(), sum: None };
    TickObservation {
        seq,
        at: Timestamp(NOW.0 + seq as i64 * 10_000),
        step: 1,
        weight: Weight(2_500),
        baseline_weight: Weight(7_500),
        metrics: vec![
            observed("errors", errors(200, 1), errors(600, 3)),
            observed("latency", latency([150, 40, 10]), latency([450, 120, 30])),
        ],
        values: Vec::new(),
    }
}

fn record(world: &World, ticks: std::ops::RangeInclusive<u64>) {
    world.store.change(|data| {
        let data = data.rollouts.get_mut(&rollout().id).unwrap();
        data.observations.extend(ticks.map(|seq| (seq, (tick(seq), assessment()))));
    });
}

const PATH: &str = "/api/v1/rollouts/0195c1a8/series";

#[tokio::test]
async fn counts_are_summed_and_new_ticks_are_added() {
    let world = world().with_rollout();
    let empty = world.get(PATH).await.json();
    assert_eq!((&empty["times"], &empty["metrics"][0]["canary"]["value"]), (&json!([]), &json!([])));
    record(&world, 1..=100);
    let view = world.get(&format!("{PATH}?points=10")).await.json();
    assert_eq!(view["times"].as_array().unwrap().len(), 10);
    let errors = &view["metrics"][0];
    assert_eq!(errors["name"], "errors");
    assert_eq!(errors["canary"]["requests"], json!(vec![2000; 10]));
    assert_eq!(errors["canary"]["value"], json!(vec![0.5; 10]));
    assert_eq!(errors["baseline"]["requests"], json!(vec![6000; 10]));
    assert_eq!(view["metrics"][1]["canary"]["value"], json!(vec![5.0; 10]), "10 of 200 above 0.25 s");
    assert_eq!(view["metrics"][1]["latency"]["baseline"], json!([45_000, 12_000, 3_000]));
    record(&world, 101..=103);
    let view = world.get(&format!("{PATH}?points=2000")).await.json();
    assert_eq!(view["times"].as_array().unwrap().len(), 103);
    assert_eq!(view["metrics"][0]["ratio"]["estimate"][102], 1.14);
}

#[tokio::test]
async fn a_part_and_rows() {
    let world = world().with_rollout();
    record(&world, 1..=100);
    let (from, to) = (Timestamp(NOW.0 + 200_000), NOW.0 + 290_000);
    let view = world.get(&format!("{PATH}?from={from}&to={to}&metric=errors")).await.json();
    assert_eq!(view["times"].as_array().unwrap().len(), 10);
    assert_eq!(view["from"], from.to_string());
    assert_eq!(view["metrics"].as_array().unwrap().len(), 1);
    let rows = world.get(&format!("{PATH}?from={from}&to={from}&form=rows")).await.json();
    assert_eq!(rows.as_array().unwrap().len(), 4);
    let row = json!({ "time": from.to_string(), "metric": "errors", "arm": "canary", "value": 0.5, "requests": 200 });
    assert_eq!(rows[0], row);
}

#[tokio::test]
async fn wrong_parameters_are_told_all_at_once() {
    let world = world().with_rollout();
    let problem = world.get(&format!("{PATH}?points=9&from=yesterday&form=cake&more=1")).await;
    let problem = problem.problem(400, "invalid_parameter");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["from", "points", "form", "more"]);
    world.get(&format!("{PATH}?from=2000&to=1000")).await.problem(400, "invalid_parameter");
    world.get(&format!("{PATH}?points=2001")).await.problem(400, "invalid_parameter");
    let problem = world.get(&format!("{PATH}?metric=cakes")).await.problem(404, "unknown_metric");
    assert!(problem["detail"].as_str().unwrap().contains("errors, latency"), "{problem}");
    world.get("/api/v1/rollouts/nothing/series").await.problem(404, "not_found");
}

/// A day at ten seconds, from a real store. The time is printed, and bounded by the time of a request.
#[tokio::test]
async fn a_day_is_read_in_the_time_of_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("serin.db")).await.unwrap());
    let mut target = store.own_targets(&["checkout".to_owned()]).await.unwrap().remove(0);
    target = serin::core::target::Target { revision: target.revision, epoch: target.epoch, ..steered() };
    let commit = Commit { target: Some(target), ..Commit::default() };
    store.commit(&commit).await.unwrap();
    let mut made = rollout();
    made.revision = 0;
    let mut target = store.target("checkout").await.unwrap();
    target.active = None;
    store.commit(&Commit { target: Some(target), ..Commit::default() }).await.unwrap();
    let first = serin::core::rollout::EventRecord {
        seq: 1,
        at: NOW,
        kind: serin::core::rollout::EventKind::Created,
        by: None,
        sentence: "made".into(),
    };
    let mut made = store.create_rollout(made, first, None, false).await.unwrap();
    for seq in 1..=8640 {
        let mut assessed = assessment();
        assessed.seq = seq;
        made.tick_seq = seq;
        let commit = Commit {
            rollout: Some(made.clone()),
            observation: Some((tick(seq), assessed)),
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
        made.revision += 1;
    }
    let handle = serin::engine::Handle::new(
        store,
        Arc::new(super::example::Standing),
        [("standard".to_owned(), policy())].into(),
        [("checkout".to_owned(), spec())].into(),
    );
    let world = World {
        store: crate::testkit::fakes::MemoryStore::new(),
        router: serin::api::router(handle.clone(), Arc::new(String::new)),
        handle,
    };
    let begun = Instant::now();
    let first = world.get(PATH).await;
    let cold = begun.elapsed();
    let again = world.get(PATH).await;
    let warm = begun.elapsed() - cold;
    println!("a day of ticks: {cold:?} the first time, {warm:?} again, {} bytes", first.text.len());
    assert_eq!((first.status, first.text == again.text), (200, true));
    let view = first.json();
    assert_eq!(view["times"].as_array().unwrap().len(), 400);
    let all: u64 = view["metrics"][0]["canary"]["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(all, 8640 * 200);
}
