//! All rollouts at a glance.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use serin::core::ids::RolloutId;
use serin::core::metric::TickObservation;
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{EventKind, EventRecord, Hold, Phase, Rollout};
use serin::core::split::Weight;
use serin::core::target::Target;

use super::example::{NOW, assessment, rollout, steered};
use super::{World, world};

fn put(world: &World, id: &str, change: impl FnOnce(&mut Rollout)) {
    let mut rollout = rollout();
    rollout.plan_mut().id = RolloutId(id.to_owned());
    change(&mut rollout);
    world.store.change(|data| data.put(rollout));
}

fn ended(phase: Phase, ago: u64) -> impl FnOnce(&mut Rollout) {
    move |rollout| {
        rollout.phase = phase;
        rollout.ended_at = Some(NOW.minus(Duration::from_secs(ago)));
        rollout.plan_mut().created_at = NOW.minus(Duration::from_secs(ago + 1000));
    }
}

fn reason() -> Reason {
    Reason::new(ReasonCode::Harm, "It was worse.")
}

fn ids(view: &Value) -> Vec<&str> {
    view["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

const PATH: &str = "/api/v1/overview";

#[tokio::test]
async fn a_row_says_where_a_rollout_is() {
    let world = world().with_rollout();
    let view = world.get(PATH).await.json();
    assert_eq!(view["at"], NOW.to_string());
    let row = &view["items"][0];
    assert_eq!(
        (&row["id"], &row["target"], &row["policy"]),
        (&json!("0195c1a8"), &json!("checkout"), &json!("standard"))
    );
    assert_eq!(row["step"], json!({ "index": 2, "of": 3, "weight_percent": 25.0 }));
    assert_eq!((&row["wanted_percent"], &row["seen_percent"]), (&json!(25.0), &json!(25.0)));
    assert_eq!((&row["stage"], &row["needs_you"]), (&json!("analysing"), &json!(false)));
    assert_eq!(row["worst"]["metric"], "errors", "the most evidence of harm");
    assert_eq!(row["worst"]["ratio"], json!({ "low": 0.82, "estimate": 1.14, "high": 1.58 }));
    assert_eq!(row["spark"], json!([1.14]));
    assert_eq!(row["waiting_for"]["on"], "evidence");
    assert_eq!(view["counts"]["in_progress"], 1);
}

#[tokio::test]
async fn the_small_picture_has_the_last_looks_of_the_worst_metric() {
    let world = world().with_rollout();
    let look = |seq: u64| {
        let mut assessed = assessment();
        assessed.metrics[0].ratio = Some([0.5, seq as f64, 2.0]);
        let tick = TickObservation {
            seq,
            at: NOW,
            step: 1,
            weight: Weight(2_500),
            baseline_weight: Weight(7_500),
            metrics: Vec::new(),
            values: Vec::new(),
        };
        (seq, (tick, assessed))
    };
    world.store.change(|data| {
        data.rollouts.get_mut(&rollout().id).unwrap().observations = (1..=90).map(look).collect();
    });
    let view = world.get(PATH).await.json();
    let expected: Vec<f64> = (51..=90).map(f64::from).collect();
    assert_eq!(view["items"][0]["spark"], json!(expected));
    // The next look stands in the rollout itself.
    world.store.change(|data| {
        let rollout = &mut data.rollouts.get_mut(&rollout().id).unwrap().rollout;
        rollout.tick_seq = 91;
    });
    let view = world.get(PATH).await.json();
    assert_eq!(view["items"][0]["spark"].as_array().unwrap().last().unwrap(), 1.14);
    assert_eq!(view["items"][0]["spark"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn those_that_need_somebody_come_first_and_ended_ones_last() {
    let world = world();
    put(&world, "r1", |rollout| rollout.holds = BTreeSet::from([Hold::User]));
    put(&world, "r2", |_| {});
    put(&world, "r3", |rollout| rollout.phase = Phase::Baking);
    put(&world, "r4", ended(Phase::Succeeded, 100));
    put(&world, "r5", ended(Phase::RolledBack { reason: reason() }, 50));
    put(&world, "r6", ended(Phase::Succeeded, 90_000));
    let promoted =
        |at| EventRecord { seq: 1, at, kind: EventKind::Promoted, by: None, sentence: String::new() };
    world.store.change(|data| {
        let at = NOW.minus(Duration::from_secs(700));
        data.rollouts.get_mut(&RolloutId("r4".into())).unwrap().events.insert(1, promoted(at));
    });
    let view = world.get(PATH).await.json();
    assert_eq!(ids(&view), ["r1", "r3", "r2", "r5", "r4"]);
    let expected = json!({
        "needs_you": 1, "in_progress": 2, "baking": 1, "rolled_back_today": 1, "ended_today": 2,
        "median_seconds_to_promotion": 400.0,
    });
    assert_eq!(view["counts"], expected);
    assert_eq!(view["items"][0]["needs_you"], true);
    assert_eq!(view["items"][3]["reason"], "It was worse.");
    assert_eq!(ids(&world.get(&format!("{PATH}?ended_within=2d")).await.json()).len(), 6);
    assert_eq!(ids(&world.get(&format!("{PATH}?ended_within=60s")).await.json()), ["r1", "r3", "r2", "r5"]);
    assert_eq!(ids(&world.get(&format!("{PATH}?state=baking")).await.json()), ["r3"]);
    assert_eq!(ids(&world.get(&format!("{PATH}?q=R4")).await.json()), ["r4"]);
    let filtered = world.get(&format!("{PATH}?service=other&policy=standard")).await.json();
    assert_eq!((ids(&filtered).len(), &filtered["counts"]), (0, &expected), "counts are of all");
    for wrong in ["state=party", "ended_within=91d", "ended_within=1w", "ended_within=-1h", "limit=3"] {
        world.get(&format!("{PATH}?{wrong}")).await.problem(400, "invalid_parameter");
    }
}

/// The size is printed.
#[tokio::test]
async fn a_thousand_rollouts_are_small_when_compressed() {
    let world = world();
    world.store.change(|data| {
        for index in 0..1000_u64 {
            let mut rollout = rollout();
            rollout.plan_mut().id = RolloutId(format!("0195c1a8{:024x}", index * 7919));
            rollout.plan_mut().target = format!("service-{}", index % 331);
            rollout.plan_mut().version = format!("v1.{}.{}", index % 17, index);
            rollout.plan_mut().created_by = format!("ci-{}", index % 29);
            if index >= 200 {
                ended(Phase::RolledBack { reason: reason() }, index)(&mut rollout);
            } else {
                let mut target = Target { name: rollout.target.clone(), ..steered() };
                target.active = Some(rollout.id.clone());
                data.targets.insert(rollout.target.clone(), target);
            }
            let id = rollout.id.clone();
            data.put(rollout);
            if index < 200 {
                let looks = (51..=90).map(|seq: u64| {
                    let mut assessed = assessment();
                    assessed.metrics[0].ratio =
                        Some([0.5, 1.0 + ((seq * (index + 3)) % 997) as f64 / 1000.0, 2.0]);
                    let tick = TickObservation {
                        seq,
                        at: NOW,
                        step: 1,
                        weight: Weight(2_500),
                        baseline_weight: Weight(7_500),
                        metrics: Vec::new(),
                        values: Vec::new(),
                    };
                    (seq, (tick, assessed))
                });
                data.rollouts.get_mut(&id).unwrap().observations = looks.collect();
            }
        }
    });
    for encoding in ["identity", "gzip", "br"] {
        let request =
            Request::get(PATH).header(header::ACCEPT_ENCODING, encoding).body(Body::empty()).unwrap();
        let response = world.send(request).await;
        assert_eq!(response.status(), 200);
        let used =
            response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        println!("an overview of 1,000 rollouts: {} bytes as {used:?}", body.len());
        if encoding == "identity" {
            let view: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(ids(&view).len(), 1000);
            assert_eq!(view["items"][0]["spark"].as_array().unwrap().len(), 40);
        } else {
            assert_eq!(used.as_deref(), Some(encoding));
            assert!(body.len() < 300_000, "{} bytes", body.len());
        }
    }
}
