//! Both arms bad: not the canary's doing, unless it began with the step.

use std::time::Duration;

use serde_json::json;
use serin::demo::fault::Fault;

use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

const BAD: Fault = Fault::Errors { rate: 0.08 };

fn guarded(more: &str) -> String {
    policy(&format!(
        "preflight: {{healthy_baseline: false}}
guardrails:
  - name: errors-above-4-percent
    metric: errors
    stat: rate
    above: 4%
    for: 3s
    over: 6s
    min_requests: 30
    severity: critical
    action: roll_back
{more}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_before_the_step_holds_and_alerts_and_does_not_roll_back() {
    let stage = Stage::start(Plan { canary: BAD, stable: BAD, policy: guarded(""), ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let held = |view: &serde_json::Value| view["holds"].to_string().contains("both_bad");
    let first = stage.daemon.until(&id, "held because both arms are bad", 120, held).await;
    let told = wait::within(Duration::from_secs(30), async || {
        stage.hook.kinds().contains(&"held".to_owned()).then_some(())
    });
    told.await.expect("the hold is told");
    // A dozen more looks change nothing.
    let ticks = |view: &serde_json::Value| view["assessment"]["tick"].as_u64().unwrap_or(0);
    let from = ticks(&first);
    let later = stage.daemon.until(&id, "more looks", 120, |view| ticks(view) >= from + 12).await;
    assert_eq!(later["state"], "progressing", "{later:#}");
    assert_eq!(later["wanted"]["canary_percent"], json!(5.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guardrail_regardless_of_the_baseline_rolls_back() {
    let policy = guarded("    regardless_of_baseline: true\n");
    let stage = Stage::start(Plan { canary: BAD, stable: BAD, policy, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.ended(&id, 180).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    assert_eq!(view["reason"]["code"], "guardrail", "{view:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_before_and_broken_after_the_step_rolls_back() {
    let stage = Stage::start(Plan { policy: guarded(""), ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let analysing = |view: &serde_json::Value| view["stage"] == "analysing";
    stage.daemon.until(&id, "the first step", 120, analysing).await;
    stage.stable.set_fault(BAD).await;
    stage.canary.set_fault(BAD).await;
    let view = stage.daemon.ended(&id, 180).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    assert_eq!(view["reason"]["code"], "both_broke", "{view:#}");
}
