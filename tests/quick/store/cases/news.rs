//! What is new, what a target's engine loads, and many commits at once.

use std::time::Duration;

use serin::core::freeze::Freeze;
use serin::core::judge::JudgeState;
use serin::core::rollout::Rollout;
use serin::core::target::Target;
use serin::ports::{Commit, Position};

use super::super::samples::*;
use super::*;

const LONG: Duration = Duration::from_secs(60);

async fn news(store: &AnyStore, after: Position) -> (Position, Vec<String>) {
    store.news(after, Duration::ZERO).await.unwrap()
}

pub async fn what_is_new_is_told_by_target(store: AnyStore) {
    for name in ["checkout", "search", "shop"] {
        owned(&store, name).await;
    }
    let (start, _) = news(&store, Position(0)).await;
    store.create_rollout(rollout("r1", "search"), event(1), None, false).await.unwrap();
    let (begun, names) = news(&store, start).await;
    assert_eq!(names, ["search"]);
    assert!(begun > start);
    assert_eq!(news(&store, begun).await.1, Vec::<String>::new(), "told once to who has read so far");
    assert_eq!(news(&store, start).await.1, ["search"], "and again to who has not");
    store.enqueue(&id("r1"), command("k1"), at(1)).await.unwrap();
    store.create_rollout(rollout("r2", "checkout"), event(1), None, false).await.unwrap();
    let (commanded, names) = news(&store, begun).await;
    assert_eq!(names, ["checkout", "search"]);
    let freeze = Freeze {
        id: "f1".into(),
        targets: vec!["*".into()],
        from: at(0),
        until: None,
        why: "holidays".into(),
        by: "ana".into(),
        ended: None,
    };
    store.put_freeze(&freeze).await.unwrap();
    assert_eq!(news(&store, commanded).await.1, ["checkout", "search", "shop"]);
}

pub async fn own_commits_are_no_news(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    let (before, _) = news(&store, Position(0)).await;
    let commit = Commit {
        target: Some(store.target("checkout").await.unwrap()),
        rollout: Some(in_step(&made, 1)),
        events: vec![event(2)],
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap();
    let (after, names) = news(&store, before).await;
    assert!(names.is_empty() && after >= before, "{names:?}");
}

pub async fn who_waits_for_news_is_woken(store: AnyStore) {
    begun(&store, "r1", "checkout").await;
    let (before, _) = news(&store, Position(0)).await;
    let waiting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.news(before, LONG).await })
    };
    tokio::task::yield_now().await;
    store.enqueue(&id("r1"), command("k1"), at(1)).await.unwrap();
    let woken = tokio::time::timeout(LONG / 2, waiting).await.expect("long before its patience ends");
    assert_eq!(woken.unwrap().unwrap().1, ["checkout"]);
    let (now, _) = news(&store, before).await;
    let (position, names) = store.news(now, Duration::from_millis(1)).await.unwrap();
    assert_eq!((position, names), (now, Vec::new()), "patience ends");
}

pub async fn many_commits_are_each_all_or_nothing(store: AnyStore) {
    for (name, target) in [("r1", "checkout"), ("r2", "search"), ("r3", "shop")] {
        begun(&store, name, target).await;
    }
    let commit = async |name: &str, seq| {
        let rollout = store.rollout(&id(name)).await.unwrap();
        Commit {
            target: Some(store.target(&rollout.target).await.unwrap()),
            rollout: Some(in_step(&rollout, seq)),
            events: vec![event(seq + 1)],
            ..Commit::default()
        }
    };
    let good = commit("r1", 1).await;
    // Its log line is there already: the target and the rollout before it must not stay either.
    let twice = Commit { events: vec![event(1)], ..commit("r2", 1).await };
    let late = commit("r3", 1).await;
    let stale = Commit {
        target: late.target.clone().map(|target| Target { revision: 9, ..target }),
        ..Commit::default()
    };
    let before = store.target("search").await.unwrap();
    let done = store.commit_all(&[good.clone(), twice, stale, late, good]).await;
    assert_eq!(done.len(), 5);
    assert!(done[0].is_ok() && done[3].is_ok(), "{done:?}");
    conflict(done[1].clone(), "event 1 of rollout r2");
    conflict(done[2].clone(), "target shop");
    conflict(done[4].clone(), "checkout");
    assert_eq!(store.target("search").await.unwrap(), before);
    let revisions = async |name: &str| store.rollout(&id(name)).await.unwrap().revision;
    assert_eq!((revisions("r1").await, revisions("r2").await, revisions("r3").await), (1, 0, 1));
    assert_eq!(store.events(&id("r1"), 0, 9).await.unwrap(), [event(1), event(2)]);
    assert_eq!(store.events(&id("r2"), 0, 9).await.unwrap(), [event(1)]);
    assert!(store.commit_all(&[]).await.is_empty());
}

pub async fn a_target_is_loaded_whole(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    let mut judge = JudgeState::new(&made.policy);
    for seq in 1..=3 {
        let assessment = judge.observe(&made.policy, &tick(seq));
        let now = store.rollout(&made.id).await.unwrap();
        let commit = Commit {
            rollout: Some(Rollout { last: Some(assessment.clone()), ..in_step(&now, seq) }),
            cursors: [("errors".to_owned(), cursor(seq as f64))].into(),
            observation: Some((tick(seq), assessment)),
            snapshot: (seq == 2).then(|| (seq, Arc::new(judge.clone()))),
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
    }
    store.create_rollout(rollout("r2", "checkout"), event(1), None, true).await.unwrap();
    store.enqueue(&id("r2"), command("k2"), at(2)).await.unwrap();
    begun(&store, "r8", "search").await;
    store.enqueue(&id("r8"), command("k8"), at(2)).await.unwrap();
    let loaded = store.load_target("checkout", None, &[]).await.unwrap();
    assert_eq!(loaded.target, store.target("checkout").await.unwrap());
    let active = loaded.rollout.flatten().unwrap();
    assert_eq!(active.rollout, store.rollout(&made.id).await.unwrap());
    assert_eq!(active.cursors["errors"], cursor(3.0));
    assert_eq!(active.observations, [tick(3)]);
    assert_eq!(active.evidence(), judge);
    let keys: Vec<_> = loaded.inbox.iter().map(|entry| entry.command.key.as_str()).collect();
    assert_eq!(keys, ["supersede/r2/r1", "k2"]);
    assert_eq!(loaded.scheduled, [store.rollout(&id("r2")).await.unwrap()]);
    // The one that had it has ended: its command still waits for an answer.
    end(&store, "r1", 10).await;
    let loaded = store.load_target("checkout", None, &[]).await.unwrap();
    assert!(loaded.rollout.unwrap().is_none());
    assert_eq!(loaded.inbox.len(), 2);
    assert_eq!(loaded.ended, [store.rollout(&id("r1")).await.unwrap()]);
    // A rollout that is known is not read again; what became of commands is told by their keys.
    let settled =
        Commit { commands: vec![("k2".to_owned(), Err("too late".to_owned()))], ..Commit::default() };
    store.commit(&settled).await.unwrap();
    let known = Some(loaded.target.revision);
    let keys = ["k2", "supersede/r2/r1", "k9"].map(str::to_owned);
    let again = store.load_target("checkout", known, &keys).await.unwrap();
    assert!(again.rollout.is_none());
    assert_eq!(again.done, [("k2".to_owned(), Err("too late".to_owned()))]);
    assert_eq!(
        store.load_target("checkout", Some(0), &[]).await.unwrap().rollout.map(|r| r.is_some()),
        Some(false)
    );
    not_found(store.load_target("nothing", None, &[]).await, "target nothing");
}

pub async fn a_rollout_that_ended_long_ago_is_loaded_with_its_command(store: AnyStore) {
    for name in ["r1", "r2", "r3", "r4", "r5"] {
        begun(&store, name, "checkout").await;
        end(&store, name, 10).await;
    }
    let ended = async |name: &str| store.load_target(name, None, &[]).await.unwrap().ended;
    let ids =
        |rollouts: Vec<Rollout>| rollouts.iter().map(|rollout| rollout.id.0.clone()).collect::<Vec<_>>();
    assert_eq!(ids(ended("checkout").await), ["r5", "r4", "r3"]);
    let before = store.news(Position::default(), Duration::ZERO).await.unwrap().0;
    store.enqueue(&id("r1"), command("k1"), at(20)).await.unwrap();
    assert_eq!(store.news(before, Duration::ZERO).await.unwrap().1, ["checkout"]);
    assert_eq!(ids(ended("checkout").await), ["r5", "r4", "r3", "r1"]);
}
