//! `kill -9` of the daemon: at named places, and at random moments.

use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use serin::core::ids::RolloutId;
use serin::core::judge::JudgeState;
use serin::core::metric::Usage;
use serin::core::rollout::{EventKind, Rollout};
use serin::demo::fault::Fault;
use serin::ports::Queries;
use serin::store::SqliteStore;

use crate::testkit::stage::{Plan, Stage};
use crate::testkit::wait;

/// What must be true of every stored rollout: judged again it gives the same evidence bit for bit, and no
/// step was left before its minimum had been analysed.
pub async fn check_stored(folder: &Path, id: &str) -> Rollout {
    let store = SqliteStore::open(&folder.join("serin.db")).await.expect("the store opens");
    let id = RolloutId(id.to_owned());
    let rollout = store.rollout(&id).await.expect("the rollout is there");
    let stored = store.observations(&id, 0, 100_000).await.expect("its observations");
    assert!(!stored.is_empty());
    let mut judge = JudgeState::new(&rollout.policy);
    for (number, (tick, assessment)) in stored.iter().enumerate() {
        assert_eq!(tick.seq, number as u64 + 1, "a tick is missing or twice");
        assert_eq!(judge.observe(&rollout.policy, tick), *assessment, "tick {}", tick.seq);
    }
    let events = store.events(&id, 0, 100_000).await.expect("its log");
    let advanced = events.iter().filter(|e| e.by.is_none() && is_advance(e.kind)).count();
    for (step, plan) in rollout.policy.steps.iter().enumerate().take(advanced) {
        let in_step = stored.iter().filter(|(tick, _)| tick.step == step);
        let analysed: Duration = in_step
            .filter_map(|(tick, _)| {
                let used = tick.metrics.iter().filter(|m| m.usage == Usage::Used);
                used.filter_map(|m| m.window).map(|window| window.length()).min()
            })
            .sum();
        assert!(analysed >= plan.min, "step {step} was left after {analysed:?} of {:?}", plan.min);
    }
    rollout
}

fn is_advance(kind: EventKind) -> bool {
    matches!(kind, EventKind::Advanced | EventKind::Promoted)
}

/// Every notice came under one key, and the same key always said the same.
fn check_notices(stage: &Stage, id: &str) {
    for (key, bodies) in stage.hook.by_key() {
        assert!(key.starts_with(id), "{key}");
        assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{key} came with different bodies");
    }
    let kinds = stage.hook.kinds();
    for kind in ["started", "rollback_started", "rolled_back", "promoted", "succeeded"] {
        assert!(kinds.iter().filter(|k| *k == kind).count() <= 1, "{kind} came under two keys: {kinds:?}");
    }
}

async fn die_at(stage: &mut Stage, failpoint: &str) {
    stage.daemon.kill();
    stage.daemon.start_again(&[("SERIN_FAILPOINT", failpoint)]).await;
    let daemon = std::cell::RefCell::new(&mut stage.daemon);
    let died =
        wait::within(Duration::from_secs(120), async || (!daemon.borrow_mut().is_running()).then_some(()));
    died.await.unwrap_or_else(|| panic!("{failpoint} was never passed"));
    println!("died at {failpoint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_at_named_places_on_the_way_up_loses_nothing() {
    let mut stage = Stage::start(Plan { rate: 800.0, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    // Each life dies at one place and the next one goes on. What dies after the commit of a step leaves its
    // split to be applied and its notice to be delivered by the next.
    for place in [
        "before_commit:6",
        "tick_committed:3",
        "tick_committed:4",
        "step_committed",
        "before_apply",
        "applied",
        "before_deliver",
        "delivered",
    ] {
        die_at(&mut stage, place).await;
    }
    stage.daemon.start_again(&[]).await;
    let view = stage.daemon.ended(&id, 300).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    stage.daemon.kill();
    check_stored(stage.folder.path(), &id).await;
    check_notices(&stage, &id);
}

/// A rollback that was decided just before the process died reaches weight 0 all the same.
async fn rollback_survives(failpoint: &str) {
    let mut stage =
        Stage::start(Plan { rate: 800.0, canary: Fault::Errors { rate: 0.1 }, ..Plan::default() }).await;
    stage.daemon.kill();
    stage.daemon.start_again(&[("SERIN_FAILPOINT", failpoint)]).await;
    stage.daemon.ready().await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let daemon = std::cell::RefCell::new(&mut stage.daemon);
    wait::within(Duration::from_secs(120), async || (!daemon.borrow_mut().is_running()).then_some(()))
        .await
        .unwrap_or_else(|| panic!("{failpoint} was never passed"));
    stage.daemon.start_again(&[]).await;
    let view = stage.daemon.ended(&id, 120).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    let (arrivals, stable) = (stage.canary.arrivals(), stage.stable.requests());
    let moved = wait::within(Duration::from_secs(30), async || {
        (stage.stable.requests() > stable + 2_000).then_some(())
    });
    moved.await.expect("stable gets the traffic");
    assert_eq!(stage.canary.arrivals(), arrivals, "the canary still gets requests");
    let told = wait::within(Duration::from_secs(60), async || {
        stage.hook.kinds().contains(&"rolled_back".to_owned()).then_some(())
    });
    told.await.expect("the rollback is told");
    stage.daemon.kill();
    check_stored(stage.folder.path(), &id).await;
    check_notices(&stage, &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_between_the_commit_of_a_rollback_and_its_effect() {
    rollback_survives("rollback_committed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_after_the_commit_of_the_first_step() {
    rollback_survives("step_committed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_before_the_first_weight_is_applied() {
    rollback_survives("before_apply:2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_after_the_end_is_committed() {
    rollback_survives("end_committed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_after_a_delivery_that_is_not_written_down() {
    rollback_survives("delivered:3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_at_random_moments_of_one_rollout() {
    let mut stage = Stage::start(Plan { rate: 800.0, ..Plan::default() }).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let seed = 20_261;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut ended = false;
    let mut last: Option<Value> = None;
    for _ in 0..20 {
        let alive = Duration::from_millis(random.random_range(100..3_000));
        // Not a condition to wait for: the moment of the kill is what is drawn.
        let _ = wait::within(alive, async || None::<()>).await;
        let view = stage.daemon.try_get(&format!("/api/v1/rollouts/{id}")).await;
        stage.daemon.kill();
        if let (Some(before), Some(now)) = (&last, &view) {
            let canary = |view: &Value| view["wanted"]["canary_percent"].as_f64().unwrap_or(100.0);
            assert!(canary(now) >= canary(before), "a kill has lowered the weight");
        }
        ended |= view.as_ref().is_some_and(|view| view["ended"] == json!(true));
        last = view.or(last);
        stage.daemon.start_again(&[]).await;
    }
    stage.daemon.ready().await;
    println!("ended before the last kill: {ended}");
    let view = stage.daemon.ended(&id, 300).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    stage.daemon.kill();
    check_stored(stage.folder.path(), &id).await;
    check_notices(&stage, &id);
}
