//! A release as people's guides tell it, with real parts: announced, in its window, after its migration,
//! smoke-tested, approved, released, baked, reported; and the same with errors at 25%.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use serin::clock::SystemClock;
use serin::demo::fault::Fault;
use serin::ports::Clock;

use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

/// A program that writes its name and its argument into the journal.
pub fn program(folder: &Path, name: &str, then: &str) -> PathBuf {
    let path = folder.join(name);
    let journal = folder.join("journal");
    std::fs::write(&path, format!("#!/bin/sh\necho {name} \"$1\" >> {}\n{then}\n", journal.display()))
        .expect("the program is written");
    let runnable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, runnable).expect("it can be run");
    path
}

pub fn journal(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("journal")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn around(folder: &Path) -> String {
    let run = |name: &str| program(folder, name, "exit 0").display().to_string();
    format!(
        "announce: [15m]
runbook: https://runbooks.example.com/shop
verify: {{within: 2m, hold_for: 3s, at_most_times: 2}}
gates:
  - {{name: window, before: start, window: {{time_zone: Europe/Berlin, open: [{{from: \"00:00\", until: \"24:00\"}}]}}}}
  - {{name: migrated, before: start, command: {{run: [{}, \"{{version}}\"], timeout: 30s}}}}
  - {{name: smoke, before: 25%, command: {{run: [{}, \"{{version}}\"], timeout: 30s}}}}
  - {{name: sure, before: 25%, approval: {{from: [{{team: release-lead}}]}}}}
  - {{name: quiet, before: during, alerts: {{match: {{service: \"{{target}}\"}}}}}}
hooks:
  - {{name: tag, on: [succeeded], command: {{run: [{}, \"{{version}}\"], timeout: 30s}}}}
",
        run("migrated"),
        run("smoke"),
        run("tag"),
    )
}

async fn start(folder: &Path) -> Stage {
    Stage::start(Plan {
        policy: policy(&around(folder)),
        sections: "teams: {release-lead: [lena, erin]}\n".to_owned(),
        rate: 800.0,
        ..Plan::default()
    })
    .await
}

fn at_gate(view: &Value, gate: &str) -> bool {
    let gates = view["gates"]["items"].as_array();
    gates.is_some_and(|gates| gates.iter().any(|g| g["name"] == gate && g["status"] == "waiting"))
}

/// Starts the release in some seconds; comes back when it waits for its approval at 5%.
async fn up_to_the_approval(stage: &Stage) -> String {
    let begins_at = SystemClock::new().wall().plus(Duration::from_secs(4)).to_string();
    let body = json!({
        "target": "shop", "policy": "test", "version": "v2", "by": "erin", "begins_at": begins_at,
    });
    let (status, view) = stage.daemon.post("/api/v1/rollouts", &body).await;
    assert_eq!((status, &view["state"]), (201, &json!("scheduled")), "{view}");
    let id = view["id"].as_str().expect("an id").to_owned();
    let waits = |view: &Value| at_gate(view, "sure");
    let view = stage.daemon.until(&id, "the approval is waited for", 120, waits).await;
    assert_eq!(view["gates"]["before"], "25%");
    assert!(view["holds"].as_array().expect("holds").contains(&json!("gate")), "{view:#}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_as_the_guides_tell_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = start(folder.path()).await;
    let id = up_to_the_approval(&stage).await;
    let refused = stage.daemon.at_gate(&id, "approve", "sure", "erin").await;
    assert_eq!(refused.0, 409, "who has started it: {}", refused.1);
    let refused = stage.daemon.at_gate(&id, "approve", "sure", "otto").await;
    assert!(refused.1["detail"].as_str().expect("why").contains("release-lead"), "{}", refused.1);
    let view = stage.daemon.get(&format!("/api/v1/rollouts/{id}")).await;
    assert_eq!(view["wanted"]["canary_percent"], json!(5.0), "{view:#}");
    let (status, answer) = stage.daemon.at_gate(&id, "approve", "sure", "lena").await;
    assert_eq!(status, 200, "{answer}");
    let view = stage.daemon.ended(&id, 240).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    let tagged = wait::within(Duration::from_secs(30), async || {
        (journal(folder.path()) == ["migrated v2", "smoke v2", "tag v2"]).then_some(())
    });
    tagged.await.unwrap_or_else(|| panic!("{:?}", journal(folder.path())));
    let told = wait::within(Duration::from_secs(30), async || {
        stage.hook.kinds().contains(&"succeeded".to_owned()).then(|| stage.hook.kinds())
    });
    let kinds = told.await.expect("everything is told");
    let order = ["announced", "gate", "started", "promoted", "succeeded"];
    let places: Vec<Option<usize>> =
        order.iter().map(|kind| kinds.iter().position(|told| told == kind)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{kinds:?}");
    let report = stage.daemon.get(&format!("/api/v1/rollouts/{id}/report?form=json")).await.to_string();
    for words in ["approved by lena", "Gate migrated says yes", "Gate smoke says yes", "as agreed"] {
        assert!(report.contains(words), "{words} is not in the report: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_at_the_second_step_are_taken_back_verified_and_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = start(folder.path()).await;
    let id = up_to_the_approval(&stage).await;
    let (status, answer) = stage.daemon.at_gate(&id, "approve", "sure", "lena").await;
    assert_eq!(status, 200, "{answer}");
    let at_25 =
        |view: &Value| view["wanted"]["canary_percent"] == json!(25.0) && view["stage"] == json!("analysing");
    stage.daemon.until(&id, "25% are seen", 60, at_25).await;
    stage.canary.set_fault(Fault::Errors { rate: 0.2 }).await;
    stage.daemon.until(&id, "it is verified", 120, |view| view["state"] == "verifying").await;
    let view = stage.daemon.ended(&id, 180).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    let told = wait::within(Duration::from_secs(30), async || {
        stage.hook.kinds().contains(&"verified".to_owned()).then(|| stage.hook.by_key())
    });
    let notices = told.await.expect("it is told");
    let mut incidents: Vec<(String, String)> = notices
        .values()
        .filter_map(|bodies| {
            let incident = &bodies[0]["incident"];
            Some((incident["step"].as_str()?.to_owned(), incident["key"].as_str()?.to_owned()))
        })
        .collect();
    incidents.sort();
    let steps: Vec<&str> = incidents.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(steps, ["resolve", "trigger"], "{incidents:?}");
    assert_eq!(incidents[0].1, incidents[1].1, "one incident");
    let report = stage.daemon.get(&format!("/api/v1/rollouts/{id}/report?form=json")).await;
    let draft = report["post_mortem"].as_str().expect("a draft");
    assert!(draft.contains("v2") && report.to_string().contains("verified"), "{report:#}");
    assert_eq!(journal(folder.path()), ["migrated v2", "smoke v2"], "no tag");
}
