//! Reports, annotations, and what is said of policies.

use serde_json::{Value, json};
use serin::api::Limits;
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{Compared, EventKind, EventRecord, Phase, Rollout};
use serin::core::split::Weight;
use serin::core::time::Timestamp;

use super::example::{NOW, assessment, policy, rollout, seconds};
use super::{World, world, world_of};

const SCRIPT: &str = "v2<script>alert(1)</script>|`*_[x](y)";

fn event(seq: u64, seconds: i64, kind: EventKind, sentence: &str) -> EventRecord {
    let by = (kind == EventKind::Created).then(|| SCRIPT.to_owned());
    EventRecord { seq, at: Timestamp(NOW.0 + seconds * 1000), kind, by, sentence: sentence.to_owned() }
}

/// A rollout that went back in its second step.
fn rolled_back() -> World {
    let world = world();
    let events = [
        event(1, 0, EventKind::Created, "Release was asked for."),
        event(2, 1, EventKind::StepEntered, "Step 1 of 3: the canary gets 5% of the traffic."),
        event(3, 2, EventKind::SplitSeen, "The split is in force."),
        event(4, 601, EventKind::Advanced, "On to 25%: every metric is not worse."),
        event(5, 602, EventKind::StepEntered, "Step 2 of 3: the canary gets 25% of the traffic."),
        event(6, 700, EventKind::Alert, "Errors are up."),
        event(7, 702, EventKind::RollbackStarted, "The canary goes to 0%: errors ×2.7 [1.9 – 3.6]."),
        event(8, 735, EventKind::RolledBack, "The canary is at 0%."),
    ];
    world.store.change(|data| {
        let reason = Reason::new(ReasonCode::Harm, "errors ×2.7 [1.9 – 3.6]");
        let mut scripted = rollout();
        scripted.plan_mut().version = SCRIPT.to_owned();
        scripted.plan_mut().created_by = SCRIPT.to_owned();
        data.put(Rollout {
            phase: Phase::RolledBack { reason },
            last: None,
            last_compared: Some(Compared { weight: Weight(2_500), assessment: assessment() }),
            ended_at: Some(Timestamp(NOW.0 + 735_000)),
            ..scripted
        });
        let stored = data.rollouts.get_mut(&rollout().id).unwrap();
        stored.events = events.into_iter().map(|event| (event.seq, event)).collect();
    });
    world
}

const PATH: &str = "/api/v1/rollouts/0195c1a8/report";

#[tokio::test]
async fn a_report_says_how_long_what_and_why() {
    let world = rolled_back();
    let report = world.get(PATH).await.json();
    assert_eq!((&report["verdict"], &report["duration_seconds"]), (&json!("rolled back"), &json!(735.0)));
    assert_eq!(report["sentence"], "The canary is at 0%.");
    let step = |index: usize,
                weight: f64,
                seconds: f64,
                outcome: &str,
                from: i64,
                to: i64,
                sentence: &str| {
        json!({
            "index": index, "weight_percent": weight, "seconds": seconds, "outcome": outcome,
            "from": Timestamp(NOW.0 + from * 1000).to_string(), "to": Timestamp(NOW.0 + to * 1000).to_string(),
            "sentence": sentence,
        })
    };
    let expected = json!([
        step(1, 5.0, 601.0, "advanced", 1, 602, "On to 25%: every metric is not worse."),
        step(2, 25.0, 100.0, "rolled back", 602, 702, "The canary goes to 0%: errors ×2.7 [1.9 – 3.6]."),
    ]);
    assert_eq!(report["steps"], expected);
    let seqs = |list: &Value| {
        list.as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&report["decisions"]), [4, 7, 8]);
    assert_eq!(seqs(&report["alerts"]), [6]);
    assert_eq!(seqs(&report["log"]).len(), 8);
    let draft = report["post_mortem"].as_str().unwrap();
    for known in [
        "from the canary's first traffic to the decision to roll back: 11 min 41 s",
        "from the decision until the canary was seen without requests: 33 s",
        "| 2026-03-01 10:11:44 | Errors are up. |",
        "at most 25% of the traffic",
        "about 173 of the canary's 36140 requests",
    ] {
        assert!(draft.contains(known), "{known}\n{draft}");
    }
    world.get(&format!("{PATH}?form=pdf")).await.problem(400, "invalid_parameter");
    world.get("/api/v1/rollouts/nothing/report").await.problem(404, "not_found");
}

#[tokio::test]
async fn text_from_outside_is_text_in_every_form() {
    let world = rolled_back();
    let html = world.get(&format!("{PATH}?form=html")).await;
    assert_eq!(html.kind, "text/html; charset=utf-8");
    assert!(!html.text.contains("<script"), "{}", html.text);
    assert!(html.text.contains("v2&lt;script&gt;alert(1)&lt;/script&gt;"), "{}", html.text);
    assert!(!html.text.contains("http://") && !html.text.contains("src="), "it loads nothing");
    let markdown = world.get(&format!("{PATH}?form=markdown")).await;
    assert_eq!(markdown.kind, "text/markdown; charset=utf-8");
    assert!(!markdown.text.contains("<script") && !markdown.text.contains("[x](y)"), "{}", markdown.text);
    assert!(markdown.text.contains("\\[x\\](y)"), "{}", markdown.text);
    // No row of a table has more cells than its head.
    for line in markdown.text.lines().filter(|line| line.starts_with("| 2026")) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 4, "{line}");
    }
}

#[tokio::test]
async fn a_rollout_that_runs_has_a_report_without_a_post_mortem() {
    let world = world().with_rollout();
    let report = world.get(PATH).await.json();
    assert_eq!((&report["verdict"], &report["post_mortem"]), (&json!("in progress"), &Value::Null));
    assert_eq!(report["sentence"], report["rollout"]["waiting_for"]["sentence"]);
}

#[tokio::test]
async fn annotations_are_spans_and_points() {
    let world = rolled_back();
    let path = |query: &str| format!("/api/v1/annotations?to={}&{query}", NOW.0 + 3_600_000);
    let marks = world.get(&path("")).await.json();
    let titles: Vec<&str> = marks.as_array().unwrap().iter().map(|m| m["title"].as_str().unwrap()).collect();
    assert_eq!(titles.len(), 5, "{titles:?}");
    assert!(
        titles[0].starts_with("checkout v2") && titles[4].starts_with("Rollback: checkout"),
        "{titles:?}"
    );
    assert_eq!((&marks[0]["time"], &marks[0]["time_end"]), (&json!(NOW.0), &json!(NOW.0 + 735_000)));
    assert_eq!(marks[4]["tags"], json!(["checkout", "standard", "rollback"]));
    assert_eq!(world.get(&path("limit=1")).await.json().as_array().unwrap().len(), 1);
    assert_eq!(world.get(&path("service=other")).await.json(), json!([]));
    let after = NOW.0 + 800_000;
    assert_eq!(world.get(&path(&format!("from={after}"))).await.json(), json!([]));
    world.get(&path("limit=0")).await.problem(400, "invalid_parameter");
}

#[tokio::test]
async fn a_policy_is_checked_with_all_its_problems() {
    let world = world();
    let check =
        async |yaml: &str| world.post("/api/v1/policies/check", None, &json!({ "yaml": yaml })).await.json();
    let good = include_str!("../../policies/standard.yaml");
    let answer = check(good).await;
    assert_eq!((&answer["ok"], &answer["problems"]), (&json!(true), &json!([])), "{answer}");
    assert_eq!(answer["policy"]["name"], "standard");
    let answer = check("name: x\nsteps:\n  - {weight: 50%}\n  - {weight: 5%}\nmetrics: []\n").await;
    assert_eq!((&answer["ok"], &answer["policy"]), (&json!(false), &Value::Null));
    let problems = answer["problems"].as_array().unwrap();
    assert!(problems.len() >= 2, "{answer}");
    assert!(
        problems.iter().any(|p| p["line"] == 4 && p["field"].as_str().unwrap().starts_with("steps[1]")),
        "{answer}"
    );
    assert_eq!(check("").await["ok"], false);
    let problem = world.post("/api/v1/policies/check", None, &json!({ "yaml": 5, "more": 1 })).await;
    assert_eq!(problem.problem(422, "invalid_field")["errors"].as_array().unwrap().len(), 2);
    let long = json!({ "yaml": "x".repeat(60_001) });
    world.post("/api/v1/policies/check", None, &long).await.problem(422, "invalid_field");
}

#[tokio::test]
async fn a_plan_is_made_once_and_kept() {
    let limits = Limits { request: std::time::Duration::from_secs(600), ..Limits::default() };
    let mut short = policy();
    for step in &mut short.steps {
        (step.min, step.max) = (seconds(60), step.max.map(|_| seconds(120)));
    }
    let world = world_of(limits, short);
    let path = "/api/v1/policies/standard/plan?rps=50&error_rate_percent=1";
    let first = world.get(path).await;
    assert_eq!(first.status, 200, "{first:?}");
    let plan = first.json();
    assert_eq!((&plan["policy"], &plan["requests_per_second"]), (&json!("standard"), &json!(50.0)));
    assert_eq!(plan["steps"].as_array().unwrap().len(), 2);
    assert_eq!(world.get(path).await.text, first.text);
    let wrong = "/api/v1/policies/standard/plan?rps=0&latency_sigma=1&dispersion=NaN&runs=9";
    let problem = world.get(wrong).await.problem(400, "invalid_parameter");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["rps", "dispersion", "latency_sigma", "runs"]);
    world.get("/api/v1/policies/nothing/plan").await.problem(404, "unknown_policy");
}
