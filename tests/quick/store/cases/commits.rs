//! Commits and what is loaded after them.

use std::collections::BTreeMap;

use serin::core::judge::JudgeState;
use serin::core::pools::NodeRecord;
use serin::core::rollout::{Phase, Rollout};
use serin::core::split::{Split, Weight};
use serin::core::target::{SeenSplit, Target};
use serin::ports::{Commit, InboxEntry, Outgoing};

use super::super::samples::*;
use super::*;

pub async fn a_commit_stores_everything_exactly(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    store.enqueue(&made.id, command("k1"), at(1)).await.unwrap();
    let mut target = store.target("checkout").await.unwrap();
    target.want(Split::canary(Weight(2_500), false));
    target.seen = Some(SeenSplit { split: target.wanted, generation: 2, at: at(2) });
    target.stable_version = Some("v1".into());
    let node = NodeRecord { generation: 2, last_seen: at(2), connected: true, refused: Some("no".into()) };
    target.nodes.insert("edge-1".into(), node);
    let judge = judged(1).0;
    let commit = Commit {
        asked: Vec::new(),
        target: Some(target.clone()),
        rollout: Some(in_step(&made, 1)),
        cursors: BTreeMap::from([("errors".into(), cursor(0.1)), ("latency".into(), cursor(f64::MAX))]),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, Arc::new(judge.clone()))),
        events: vec![event(2), event(3)],
        outbox: vec![Outgoing::at_once("log", notice("r1", 2)), Outgoing::at_once("hook", notice("r1", 2))],
        commands: vec![("k1".into(), Err("not now".into()))],
    };
    store.commit(&commit).await.unwrap();
    assert_eq!(store.target("checkout").await.unwrap(), Target { revision: target.revision + 1, ..target });
    let stored = Rollout { revision: 1, ..in_step(&made, 1) };
    assert_eq!(store.rollout(&made.id).await.unwrap(), stored);
    let loaded = store.load(&made.id).await.unwrap();
    assert_eq!(loaded.rollout, stored);
    assert_eq!(loaded.cursors, commit.cursors);
    assert_eq!(loaded.snapshot, Some((1, judge)));
    assert!(loaded.observations.is_empty());
    assert_eq!(store.events(&made.id, 0, 9).await.unwrap(), [event(1), event(2), event(3)]);
    assert_eq!(store.observations(&made.id, 0, 9).await.unwrap(), [(tick(1), assessment(1))]);
    assert_eq!(store.command("k1").await.unwrap().result, Some(Err("not now".into())));
    let due = store.outbox_due(at(0), 9, &[]).await.unwrap();
    assert_eq!(labels(&due), ["hook r1/2", "log r1/2"]);
    assert!(due.iter().all(|entry| entry.notice == notice("r1", 2) && entry.attempts == 0));
}

pub async fn a_commit_is_conditional_on_the_revisions(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    let target = store.target("checkout").await.unwrap();
    let of_both = Commit { target: Some(target.clone()), rollout: Some(made.clone()), ..Commit::default() };
    store.commit(&of_both).await.unwrap();
    conflict(store.commit(&of_both).await, "target checkout");
    let of_rollout = Commit { rollout: Some(made.clone()), ..Commit::default() };
    conflict(store.commit(&of_rollout).await, "rollout r1");
    let later = Rollout { revision: 2, ..made.clone() };
    conflict(store.commit(&Commit { rollout: Some(later), ..Commit::default() }).await, "rollout r1");
    let next = Commit {
        target: Some(store.target("checkout").await.unwrap()),
        rollout: Some(store.rollout(&made.id).await.unwrap()),
        ..Commit::default()
    };
    store.commit(&next).await.unwrap();
    assert_eq!(store.rollout(&made.id).await.unwrap().revision, 2);
    assert_eq!(store.target("checkout").await.unwrap().revision, target.revision + 2);
    let unknown = Commit { target: Some(Target::new("z")), ..Commit::default() };
    not_found(store.commit(&unknown).await, "target z");
    let unknown = Commit { rollout: Some(rollout("z", "checkout")), ..Commit::default() };
    not_found(store.commit(&unknown).await, "rollout z");
}

pub async fn a_former_owner_cannot_commit(store: AnyStore) {
    let former = owned(&store, "checkout").await;
    let owner = owned(&store, "checkout").await;
    assert_eq!(former.revision, owner.revision, "only the epoch tells them apart");
    let commit = |target: &Target| Commit { target: Some(target.clone()), ..Commit::default() };
    conflict(store.commit(&commit(&former)).await, "the owner of target checkout");
    store.commit(&commit(&owner)).await.unwrap();
}

pub async fn of_two_commits_at_once_one_wins(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    let commits: Vec<_> = (0..8)
        .map(|number| Commit {
            rollout: Some(made.clone()),
            events: vec![event(2)],
            outbox: vec![Outgoing::at_once("log", notice("r1", number))],
            ..Commit::default()
        })
        .collect();
    let results = futures::future::join_all(commits.iter().map(|commit| store.commit(commit))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    results.into_iter().filter(Result::is_err).for_each(|result| conflict(result, "rollout r1"));
    assert_eq!(counts(&store).await, (1, 0));
}

pub async fn a_refused_commit_leaves_nothing_behind(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    store.enqueue(&made.id, command("k1"), at(1)).await.unwrap();
    let whole = Commit {
        asked: Vec::new(),
        target: Some(store.target("checkout").await.unwrap()),
        rollout: Some(in_step(&made, 1)),
        cursors: BTreeMap::from([("errors".into(), cursor(1.0))]),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, Arc::new(judged(1).0))),
        events: vec![event(2)],
        outbox: vec![Outgoing::at_once("log", notice("r1", 2))],
        commands: vec![("k1".into(), Ok(()))],
    };
    let before = store.target("checkout").await.unwrap();
    let refused = [
        (Commit { commands: vec![("k1".into(), Ok(())), ("k1".into(), Ok(()))], ..whole.clone() }, "k1"),
        (Commit { events: vec![event(2), event(1)], ..whole.clone() }, "event 1 of rollout r1"),
        (Commit { rollout: Some(Rollout { revision: 7, ..made.clone() }), ..whole.clone() }, "rollout r1"),
    ];
    for (commit, what) in refused {
        conflict(store.commit(&commit).await, what);
    }
    let unknown = Commit { commands: vec![("k1".into(), Ok(())), ("k2".into(), Ok(()))], ..whole.clone() };
    not_found(store.commit(&unknown).await, "command k2");
    assert_eq!(store.target("checkout").await.unwrap(), before);
    let loaded = store.load(&made.id).await.unwrap();
    assert_eq!(loaded.rollout, made);
    assert!(loaded.cursors.is_empty() && loaded.snapshot.is_none() && loaded.observations.is_empty());
    assert_eq!(store.events(&made.id, 0, 9).await.unwrap(), [event(1)]);
    assert_eq!(counts(&store).await, (0, 0));
    assert_eq!(store.command("k1").await.unwrap().result, None);
    store.commit(&whole).await.unwrap();
    let again = Commit {
        rollout: Some(store.rollout(&made.id).await.unwrap()),
        observation: Some((tick(1), assessment(1))),
        ..Commit::default()
    };
    conflict(store.commit(&again).await, "tick 1 of rollout r1");
}

pub async fn what_belongs_to_a_rollout_needs_it(store: AnyStore) {
    let none = Commit::default();
    for commit in [
        Commit { events: vec![event(1)], ..none.clone() },
        Commit { cursors: BTreeMap::from([("errors".into(), cursor(1.0))]), ..none.clone() },
        Commit { observation: Some((tick(1), assessment(1))), ..none.clone() },
        Commit { snapshot: Some((1, Arc::new(JudgeState::new(&policy())))), ..none.clone() },
    ] {
        not_found(store.commit(&commit).await, "the rollout that");
    }
    store.commit(&none).await.unwrap();
}

pub async fn one_rollout_occupies_a_target(store: AnyStore) {
    begun(&store, "r1", "checkout").await;
    let second = store.create_rollout(rollout("r2", "checkout"), event(1), None, true).await.unwrap();
    let begins = Rollout { phase: Phase::Preflight, ..second.clone() };
    let begin = Commit { rollout: Some(begins.clone()), ..Commit::default() };
    conflict(store.commit(&begin).await, "the occupation of target checkout");
    end(&store, "r1", 1).await;
    store.commit(&begin).await.unwrap();
    assert!(store.scheduled("checkout").await.unwrap().is_empty());
}

pub async fn a_load_has_the_newest_snapshot_and_what_follows(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    let mut judge = JudgeState::new(&made.policy);
    let mut expected = None;
    for seq in 1..=7 {
        judge.observe(&made.policy, &tick(seq));
        let snapshot = (seq % 2 == 0).then(|| (seq, judge.clone()));
        expected = snapshot.clone().or(expected);
        let commit = Commit {
            rollout: Some(in_step(&store.rollout(&made.id).await.unwrap(), seq)),
            observation: Some((tick(seq), assessment(seq))),
            snapshot: snapshot.map(|(seq, judge)| (seq, Arc::new(judge))),
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
        // Also right after a snapshot, when there is no observation behind it.
        assert_eq!(store.load(&made.id).await.unwrap().last_work(), tick(seq).at, "after look {seq}");
    }
    let loaded = store.load(&made.id).await.unwrap();
    assert_eq!(loaded.snapshot, expected);
    assert_eq!(loaded.observations, [tick(7)]);
    assert_eq!(loaded.rollout.tick_seq, 7);
    let mut judged_on = loaded.snapshot.unwrap().1;
    judged_on.observe(&made.policy, &loaded.observations[0]);
    assert_eq!(judged_on, judge, "evidence goes on where it was");
    assert_eq!(store.observations(&made.id, 0, 99).await.unwrap().len(), 7, "the record stays whole");
    not_found(store.load(&id("z")).await, "rollout z");
}

pub async fn events_and_observations_come_in_pages(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    for seq in 1..=5 {
        let commit = Commit {
            rollout: Some(in_step(&store.rollout(&made.id).await.unwrap(), seq)),
            observation: Some((tick(seq), assessment(seq))),
            events: vec![event(seq + 1)],
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
    }
    for (after, limit, expected) in [(0, 2, vec![1, 2]), (2, 2, vec![3, 4]), (4, 9, vec![5]), (0, 0, vec![])]
    {
        let page = store.observations(&made.id, after, limit).await.unwrap();
        assert_eq!(page.iter().map(|(tick, _)| tick.seq).collect::<Vec<_>>(), expected);
        let page = store.events(&made.id, after, limit).await.unwrap();
        assert_eq!(
            page.iter().map(|event| event.seq).take(9).collect::<Vec<_>>()[..expected.len()],
            expected
        );
    }
    assert_eq!(store.events(&made.id, 5, 9).await.unwrap(), [event(6)]);
    assert!(store.events(&made.id, u64::MAX, usize::MAX).await.unwrap().is_empty());
    assert!(store.observations(&made.id, u64::MAX, usize::MAX).await.unwrap().is_empty());
    assert!(store.events(&id("z"), 0, 9).await.unwrap().is_empty());
}

pub async fn a_command_from_memory_comes_in_with_its_commit(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    let entry = InboxEntry { rollout: made.id.clone(), at: at(1), command: command("k1"), result: None };
    let done =
        Commit { asked: vec![entry.clone()], commands: vec![("k1".into(), Ok(()))], ..Commit::default() };
    store.commit(&done).await.unwrap();
    let stored = store.command("k1").await.unwrap();
    assert_eq!(stored, InboxEntry { result: Some(Ok(())), ..entry });
    // The inbox's own copy comes later: it is the same command.
    assert_eq!(store.enqueue(&made.id, command("k1"), at(2)).await.unwrap(), stored);
    assert!(store.pending(std::slice::from_ref(&made.id)).await.unwrap().is_empty());
}
