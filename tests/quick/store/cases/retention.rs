//! What is removed, and what never is.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::ports::{Commit, Delivery, Outgoing, Retention, RolloutFilter};

use super::super::samples::*;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A rollout with something in every table, ended at `seconds`.
async fn full(store: &AnyStore, name: &str, target: &str, seconds: i64) {
    let made = begun(store, name, target).await;
    store.enqueue(&made.id, command(&format!("{name}-k")), at(1)).await.unwrap();
    let commit = Commit {
        rollout: Some(in_step(&made, 1)),
        cursors: BTreeMap::from([("errors".into(), cursor(1.0))]),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, Arc::new(judged(1).0))),
        events: vec![event(2)],
        outbox: vec![Outgoing::at_once("log", notice(name, 2))],
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap();
    let due = store.outbox_due(at(0), 99, &[]).await.unwrap();
    for entry in due.iter().filter(|entry| entry.notice.rollout == name) {
        store.outbox_settle(entry.id, &Delivery::Dead { detail: "no receiver".into() }).await.unwrap();
    }
    end(store, name, seconds).await;
}

pub async fn retention_removes_what_is_old_and_ended(store: AnyStore) {
    full(&store, "r1", "a", 100).await;
    full(&store, "r2", "b", 200).await;
    full(&store, "r3", "c", 300).await;
    let retention = Retention { observations: HOUR, rollouts: HOUR * 2 };
    let prune = async |seconds| store.prune(retention, at(seconds), 100).await.unwrap();
    assert_eq!(prune(3_600 + 100).await, 0, "not yet before the limit");
    assert_eq!(prune(3_600 + 201).await, 2);
    assert_eq!(prune(3_600 + 201).await, 0, "what is gone is not removed again");
    let slim = store.load(&id("r1")).await.unwrap();
    assert!(slim.snapshot.is_none() && slim.cursors.is_empty() && slim.observations.is_empty());
    assert!(store.observations(&id("r2"), 0, 9).await.unwrap().is_empty());
    assert_eq!(store.events(&id("r1"), 0, 9).await.unwrap().len(), 2, "the log stays");
    assert_eq!(store.observations(&id("r3"), 0, 9).await.unwrap().len(), 1);
    assert_eq!(prune(7_200 + 101).await, 2, "r1 goes whole, r3 loses its observations");
    not_found(store.rollout(&id("r1")).await, "rollout r1");
    not_found(store.command("r1-k").await, "command r1-k");
    assert!(store.events(&id("r1"), 0, 9).await.unwrap().is_empty());
    assert_eq!(counts(&store).await, (0, 2));
    assert_eq!(store.load(&id("r3")).await.unwrap().rollout.id, id("r3"));
    assert_eq!(prune(100_000).await, 2);
    assert_eq!(counts(&store).await, (0, 0));
    assert_eq!(store.targets().await.unwrap().len(), 3, "targets outlive their rollouts");
    let filter = RolloutFilter { limit: 9, ..RolloutFilter::default() };
    assert!(store.rollouts(&filter).await.unwrap().is_empty());
}

pub async fn retention_never_touches_what_is_active_or_held(store: AnyStore) {
    let active = begun(&store, "r1", "a").await;
    let commit = Commit {
        rollout: Some(in_step(&active, 1)),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, Arc::new(judged(1).0))),
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap();
    store.create_rollout(rollout("r2", "a"), event(1), None, true).await.unwrap();
    // At its end, but the target is still driven for it.
    let held = begun(&store, "r3", "b").await;
    let commit = Commit {
        rollout: Some(ended(&held, at(1))),
        observation: Some((tick(1), assessment(1))),
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap();
    let retention = Retention { observations: Duration::ZERO, rollouts: Duration::ZERO };
    assert_eq!(store.prune(retention, at(10_000_000), 100).await.unwrap(), 0);
    assert!(store.load(&id("r1")).await.unwrap().snapshot.is_some());
    assert_eq!(store.observations(&id("r1"), 0, 9).await.unwrap().len(), 1);
    assert_eq!(store.observations(&id("r3"), 0, 9).await.unwrap().len(), 1);
    assert_eq!(store.scheduled("a").await.unwrap(), [id("r2")]);
    assert_eq!(store.pending(&[id("r1")]).await.unwrap().len(), 1);
}

pub async fn retention_keeps_rollouts_with_undelivered_notices(store: AnyStore) {
    begun(&store, "r1", "a").await;
    notify(&store, &[("hook", 1)]).await;
    end(&store, "r1", 1).await;
    let retention = Retention { observations: HOUR, rollouts: HOUR };
    assert_eq!(store.prune(retention, at(9_999), 100).await.unwrap(), 1, "its observations may go");
    assert_eq!(store.rollout(&id("r1")).await.unwrap().id, id("r1"));
    let due = store.outbox_due(at(9_999), 9, &[]).await.unwrap();
    store.outbox_settle(due[0].id, &Delivery::Done).await.unwrap();
    assert_eq!(store.prune(retention, at(9_999), 100).await.unwrap(), 1);
    not_found(store.rollout(&id("r1")).await, "r1");
}

pub async fn retention_is_bounded(store: AnyStore) {
    for number in 0..5 {
        full(&store, &format!("r{number}"), &format!("t{number}"), number).await;
    }
    let retention = Retention { observations: HOUR, rollouts: HOUR };
    let left = async || {
        let filter = RolloutFilter { limit: 9, ..RolloutFilter::default() };
        let left = store.rollouts(&filter).await.unwrap();
        left.into_iter().map(|rollout| rollout.id.0.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 2);
    assert_eq!(left().await, "r4 r3 r2", "those that ended first go first");
    assert_eq!(store.prune(retention, at(9_999), 0).await.unwrap(), 0);
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 2);
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 1);
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 0);
    assert_eq!(left().await, "");
}

pub async fn a_position_is_never_used_again(store: AnyStore) {
    begun(&store, "r1", "a").await;
    end(&store, "r1", 1).await;
    let newest = store.newest_position().await.unwrap();
    let retention = Retention { observations: HOUR, rollouts: HOUR };
    while store.prune(retention, at(9_999), 100).await.unwrap() > 0 {}
    not_found(store.rollout(&id("r1")).await, "r1");
    assert!(store.events_since(0, 9).await.unwrap().is_empty());
    begun(&store, "r2", "a").await;
    let lines = store.events_since(newest, 9).await.unwrap();
    assert_eq!(lines.len(), 1, "whoever has seen the removed lines hears of the new one: {lines:?}");
}
