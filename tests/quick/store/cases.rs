//! What every store does. Each case gets an empty one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serin::core::judge::JudgeState;
use serin::core::rollout::{CommandKind, Phase, Rollout, RolloutId};
use serin::core::target::{NodeRecord, SeenSplit, Split, Target, Weight};
use serin::ports::{Commit, Delivery, OutboxEntry, Retention, RolloutFilter, Store, StoreError};

use super::samples::*;

type AnyStore = Arc<dyn Store>;

const HOUR: Duration = Duration::from_secs(3600);

fn id(text: &str) -> RolloutId {
    RolloutId(text.into())
}

fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::Conflict(name)) => assert!(name.contains(what), "{name:?} does not name {what:?}"),
        other => panic!("a conflict of {what} was expected, not {other:?}"),
    }
}

fn not_found<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::NotFound(name)) => assert!(name.contains(what), "{name:?} does not name {what:?}"),
        other => panic!("{what} should not be found, not {other:?}"),
    }
}

async fn owned(store: &AnyStore, name: &str) -> Target {
    store.own_targets(&[name.to_owned()]).await.unwrap().remove(0)
}

/// A stored rollout that occupies its new target.
async fn begun(store: &AnyStore, name: &str, target: &str) -> Rollout {
    owned(store, target).await;
    store.create_rollout(rollout(name, target), event(1), None, false).await.unwrap()
}

/// Ends the rollout at `seconds` and frees its target.
async fn end(store: &AnyStore, name: &str, seconds: i64) {
    let last = store.rollout(&id(name)).await.unwrap();
    let mut target = store.target(&last.target).await.unwrap();
    target.active = None;
    let commit =
        Commit { target: Some(target), rollout: Some(ended(&last, at(seconds))), ..Commit::default() };
    store.commit(&commit).await.unwrap();
}

async fn notify(store: &AnyStore, entries: &[(&str, u64)]) {
    let outbox = entries.iter().map(|(channel, seq)| ((*channel).to_owned(), notice("r1", *seq))).collect();
    store.commit(&Commit { outbox, ..Commit::default() }).await.unwrap();
}

fn labels(entries: &[OutboxEntry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{} {}", entry.channel, entry.notice.key)).collect()
}

pub async fn owning_makes_targets_and_raises_the_epoch(store: AnyStore) {
    let names = ["search".to_owned(), "checkout".to_owned(), "search".to_owned()];
    let first = store.own_targets(&names).await.unwrap();
    let expected = |name: &str, epoch| Target { epoch, ..Target::new(name) };
    assert_eq!(first, [expected("search", 1), expected("checkout", 1)]);
    let second = store.own_targets(&names[1..2]).await.unwrap();
    assert_eq!(second, [expected("checkout", 2)]);
    assert_eq!(store.targets().await.unwrap(), [expected("checkout", 2), expected("search", 1)]);
    assert!(store.own_targets(&[]).await.unwrap().is_empty());
}

pub async fn targets_come_by_name_and_unknown_ones_are_not_found(store: AnyStore) {
    for name in ["b", "a", "ab"] {
        owned(&store, name).await;
    }
    let names: Vec<_> = store.targets().await.unwrap().into_iter().map(|target| target.name).collect();
    assert_eq!(names, ["a", "ab", "b"]);
    assert_eq!(store.target("ab").await.unwrap().name, "ab");
    not_found(store.target("c").await, "target c");
}

pub async fn a_rollout_takes_a_free_target(store: AnyStore) {
    let target = owned(&store, "checkout").await;
    let asked = rollout("r1", "checkout");
    let made = store.create_rollout(asked.clone(), event(1), None, true).await.unwrap();
    assert_eq!(made, asked, "supersede means nothing on a free target");
    assert_eq!(store.rollout(&id("r1")).await.unwrap(), asked);
    assert_eq!(store.events(&id("r1"), 0, 10).await.unwrap(), [event(1)]);
    let taken = store.target("checkout").await.unwrap();
    assert_eq!(taken, Target { active: Some(id("r1")), revision: 1, ..target });
    assert!(store.scheduled("checkout").await.unwrap().is_empty());
}

pub async fn a_second_rollout_is_refused_and_named(store: AnyStore) {
    begun(&store, "r1", "checkout").await;
    let before = store.target("checkout").await.unwrap();
    match store.create_rollout(rollout("r2", "checkout"), event(1), None, false).await {
        Err(StoreError::Occupied { target, active }) => {
            assert_eq!((target.as_str(), active), ("checkout", id("r1")));
        }
        other => panic!("{other:?}"),
    }
    not_found(store.rollout(&id("r2")).await, "rollout r2");
    assert!(store.events(&id("r2"), 0, 10).await.unwrap().is_empty());
    assert_eq!(store.target("checkout").await.unwrap(), before);
    begun(&store, "r2", "search").await;
}

pub async fn a_superseding_rollout_waits_and_tells_all_older_ones(store: AnyStore) {
    begun(&store, "r1", "checkout").await;
    begun(&store, "r0", "search").await;
    let before = store.target("checkout").await.unwrap();
    let second = store.create_rollout(rollout("r2", "checkout"), event(1), None, true).await.unwrap();
    assert_eq!((&second.phase, &second.supersedes), (&Phase::Scheduled, &Some(id("r1"))));
    assert_eq!(store.rollout(&id("r2")).await.unwrap(), second);
    let third = store.create_rollout(rollout("r3", "checkout"), event(1), None, true).await.unwrap();
    assert_eq!((&third.phase, &third.supersedes), (&Phase::Scheduled, &Some(id("r1"))));
    assert_eq!(store.target("checkout").await.unwrap(), before, "the target is not touched");
    assert_eq!(store.scheduled("checkout").await.unwrap(), [id("r2"), id("r3")]);
    let all = ["r0", "r1", "r2", "r3"].map(id);
    let told: Vec<_> = store
        .pending(&all)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| match entry.command.kind {
            CommandKind::Supersede { by } => (entry.rollout.0, by.0, entry.command.by, entry.at),
            other => panic!("{other:?}"),
        })
        .collect();
    let says = |to: &str, by: &str| (to.to_owned(), by.to_owned(), "ana".to_owned(), at(0));
    assert_eq!(told, [says("r1", "r2"), says("r1", "r3"), says("r2", "r3")]);
}

pub async fn an_idempotency_key_gives_the_first_rollout(store: AnyStore) {
    owned(&store, "checkout").await;
    let first = store.create_rollout(rollout("r1", "checkout"), event(1), Some("k"), false).await.unwrap();
    for supersede in [false, true] {
        let again = store.create_rollout(rollout("r2", "checkout"), event(1), Some("k"), supersede).await;
        assert_eq!(again.unwrap(), first);
    }
    not_found(store.rollout(&id("r2")).await, "r2");
    assert!(store.pending(&[id("r1")]).await.unwrap().is_empty());
    end(&store, "r1", 1).await;
    let again = store.create_rollout(rollout("r2", "checkout"), event(1), Some("k"), false).await.unwrap();
    assert!(again.id == id("r1") && again.phase.is_terminal(), "as it stands now, even at its end");
    store.create_rollout(rollout("r2", "checkout"), event(1), Some("other"), false).await.unwrap();
}

pub async fn a_rollout_without_its_target_or_with_a_known_id_is_refused(store: AnyStore) {
    not_found(
        store.create_rollout(rollout("r1", "checkout"), event(1), None, false).await,
        "target checkout",
    );
    begun(&store, "r1", "checkout").await;
    owned(&store, "search").await;
    conflict(store.create_rollout(rollout("r1", "search"), event(1), None, false).await, "rollout r1");
    assert_eq!(store.target("search").await.unwrap().active, None);
}

pub async fn rollouts_are_filtered_newest_first(store: AnyStore) {
    for (name, target) in [("r1", "a"), ("r2", "b"), ("r3", "c")] {
        begun(&store, name, target).await;
    }
    end(&store, "r1", 5).await;
    store.create_rollout(rollout("r4", "a"), event(1), None, false).await.unwrap();
    store.create_rollout(rollout("r5", "a"), event(1), None, true).await.unwrap();
    let all = RolloutFilter { limit: 100, ..RolloutFilter::default() };
    let cases = [
        (all.clone(), "r5 r4 r3 r2 r1"),
        (RolloutFilter { limit: 2, ..all.clone() }, "r5 r4"),
        (RolloutFilter { limit: 0, ..all.clone() }, ""),
        (RolloutFilter { before: Some(id("r4")), ..all.clone() }, "r3 r2 r1"),
        (RolloutFilter { target: Some("a".into()), ..all.clone() }, "r5 r4 r1"),
        (RolloutFilter { target: Some("z".into()), ..all.clone() }, ""),
        (RolloutFilter { phase: Some("scheduled".into()), ..all.clone() }, "r5"),
        (RolloutFilter { phase: Some("rolled_back".into()), ..all.clone() }, "r1"),
        (RolloutFilter { active: Some(true), ..all.clone() }, "r5 r4 r3 r2"),
        (RolloutFilter { active: Some(false), ..all.clone() }, "r1"),
        (
            RolloutFilter {
                target: Some("a".into()),
                phase: Some("preflight".into()),
                active: Some(true),
                before: Some(id("r5")),
                limit: 1,
            },
            "r4",
        ),
    ];
    for (filter, expected) in cases {
        let found = store.rollouts(&filter).await.unwrap();
        let ids: Vec<_> = found.iter().map(|rollout| rollout.id.0.as_str()).collect();
        assert_eq!(ids.join(" "), expected, "{filter:?}");
    }
}

pub async fn a_commit_stores_everything_exactly(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    store.enqueue(&made.id, command("k1"), at(1)).await.unwrap();
    let mut target = store.target("checkout").await.unwrap();
    target.want(Split::canary(Weight(2_500), false));
    target.seen = Some(SeenSplit { split: target.wanted, generation: 2, at: at(2) });
    target.stable_version = Some("v1".into());
    let node = NodeRecord { generation: 2, last_seen: at(2), connected: true, refused: Some("no".into()) };
    target.nodes.insert("edge-1".into(), node);
    let judge = JudgeState::new(&made.policy);
    let commit = Commit {
        target: Some(target.clone()),
        rollout: Some(in_step(&made, 1)),
        cursors: BTreeMap::from([("errors".into(), cursor(0.1)), ("latency".into(), cursor(f64::MAX))]),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, judge.clone())),
        events: vec![event(2), event(3)],
        outbox: vec![("log".into(), notice("r1", 2)), ("hook".into(), notice("r1", 2))],
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
    let due = store.outbox_due(at(0), 9).await.unwrap();
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
            outbox: vec![("log".into(), notice("r1", number))],
            ..Commit::default()
        })
        .collect();
    let results = futures::future::join_all(commits.iter().map(|commit| store.commit(commit))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    results.into_iter().filter(Result::is_err).for_each(|result| conflict(result, "rollout r1"));
    assert_eq!(store.outbox_counts().await.unwrap(), (1, 0));
}

pub async fn a_refused_commit_leaves_nothing_behind(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    store.enqueue(&made.id, command("k1"), at(1)).await.unwrap();
    let whole = Commit {
        target: Some(store.target("checkout").await.unwrap()),
        rollout: Some(in_step(&made, 1)),
        cursors: BTreeMap::from([("errors".into(), cursor(1.0))]),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, JudgeState::new(&made.policy))),
        events: vec![event(2)],
        outbox: vec![("log".into(), notice("r1", 2))],
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
    assert_eq!(store.outbox_counts().await.unwrap(), (0, 0));
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
        Commit { snapshot: Some((1, JudgeState::new(&policy()))), ..none.clone() },
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
            snapshot,
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
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

pub async fn commands_are_stored_once_and_come_in_order(store: AnyStore) {
    begun(&store, "r1", "a").await;
    begun(&store, "r2", "b").await;
    let first = store.enqueue(&id("r1"), command("k2"), at(9)).await.unwrap();
    assert_eq!((first.at, &first.result, &first.command), (at(9), &None, &command("k2")));
    store.enqueue(&id("r2"), command("k1"), at(8)).await.unwrap();
    store.enqueue(&id("r1"), command("k3"), at(7)).await.unwrap();
    let other = serin::core::rollout::Command { kind: CommandKind::Rollback, ..command("k2") };
    assert_eq!(store.enqueue(&id("r2"), other, at(10)).await.unwrap(), first, "the key decides");
    assert_eq!(store.command("k2").await.unwrap(), first);
    let keys = async |ids: &[&str]| {
        let ids: Vec<_> = ids.iter().map(|text| id(text)).collect();
        let pending = store.pending(&ids).await.unwrap();
        pending.into_iter().map(|entry| entry.command.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&["r2", "r1", "r1", "z"]).await, ["k2", "k1", "k3"], "by arrival, not by clock or key");
    assert_eq!(keys(&["r1"]).await, ["k2", "k3"]);
    assert!(keys(&[]).await.is_empty());
    not_found(store.enqueue(&id("z"), command("k9"), at(1)).await, "rollout z");
    not_found(store.command("k9").await, "command k9");
}

pub async fn a_command_is_marked_once(store: AnyStore) {
    begun(&store, "r1", "checkout").await;
    store.enqueue(&id("r1"), command("k1"), at(1)).await.unwrap();
    store.enqueue(&id("r1"), command("k2"), at(2)).await.unwrap();
    let mark = |key: &str, result| Commit { commands: vec![(key.into(), result)], ..Commit::default() };
    store.commit(&mark("k1", Ok(()))).await.unwrap();
    conflict(store.commit(&mark("k1", Err("twice".into()))).await, "command k1");
    assert_eq!(store.command("k1").await.unwrap().result, Some(Ok(())));
    let again = store.enqueue(&id("r1"), command("k1"), at(3)).await.unwrap();
    assert_eq!(again.result, Some(Ok(())), "the same key gives what is there");
    let pending = store.pending(&[id("r1")]).await.unwrap();
    assert_eq!(pending.iter().map(|entry| entry.command.key.as_str()).collect::<Vec<_>>(), ["k2"]);
}

pub async fn a_notice_is_put_in_once_per_channel(store: AnyStore) {
    notify(&store, &[("log", 1), ("hook", 1), ("log", 1)]).await;
    notify(&store, &[("log", 1), ("log", 2)]).await;
    let due = store.outbox_due(at(0), 9).await.unwrap();
    assert_eq!(labels(&due), ["hook r1/1", "log r1/1", "log r1/2"]);
    store.outbox_settle(due[1].id, &Delivery::Done).await.unwrap();
    notify(&store, &[("log", 1)]).await;
    let due = store.outbox_due(at(0), 9).await.unwrap();
    assert_eq!(labels(&due), ["hook r1/1", "log r1/2"], "nor after it was delivered");
}

pub async fn the_oldest_notice_of_a_channel_blocks_the_later_ones(store: AnyStore) {
    notify(&store, &[("hook", 1), ("hook", 2), ("hook", 3), ("log", 1), ("hook", 4)]).await;
    let due = async |seconds, limit| store.outbox_due(at(seconds), limit).await.unwrap();
    let first = due(0, 3).await;
    assert_eq!(labels(&first), ["hook r1/1", "hook r1/2", "hook r1/3", "log r1/1"], "a limit per channel");
    assert!(due(0, 0).await.is_empty());
    let retry = Delivery::Retry { due: at(60), detail: "status 503".into() };
    store.outbox_settle(first[0].id, &retry).await.unwrap();
    assert_eq!(labels(&due(59, 9).await), ["log r1/1"], "the whole channel waits for its oldest");
    let again = due(60, 2).await;
    assert_eq!(labels(&again), ["hook r1/1", "hook r1/2", "log r1/1"]);
    assert_eq!((again[0].attempts, again[0].due, again[1].attempts), (1, at(60), 0));
    store.outbox_settle(first[0].id, &Delivery::Dead { detail: "given up".into() }).await.unwrap();
    assert_eq!(labels(&due(0, 9).await), ["hook r1/2", "hook r1/3", "hook r1/4", "log r1/1"]);
    assert_eq!(store.outbox_counts().await.unwrap(), (4, 1));
}

pub async fn a_settled_delivery_stays_settled(store: AnyStore) {
    notify(&store, &[("hook", 1), ("hook", 2)]).await;
    let entries = store.outbox_due(at(0), 9).await.unwrap();
    store.outbox_settle(entries[0].id, &Delivery::Done).await.unwrap();
    store.outbox_settle(entries[1].id, &Delivery::Dead { detail: "gone".into() }).await.unwrap();
    let retry = Delivery::Retry { due: at(0), detail: "late".into() };
    for entry in &entries {
        store.outbox_settle(entry.id, &retry).await.unwrap();
        store.outbox_settle(entry.id, &Delivery::Done).await.unwrap();
    }
    assert!(store.outbox_due(at(999), 9).await.unwrap().is_empty());
    assert_eq!(store.outbox_counts().await.unwrap(), (0, 1));
    not_found(store.outbox_settle(999, &Delivery::Done).await, "outbox entry 999");
}

/// A rollout with something in every table, ended at `seconds`.
async fn full(store: &AnyStore, name: &str, target: &str, seconds: i64) {
    let made = begun(store, name, target).await;
    store.enqueue(&made.id, command(&format!("{name}-k")), at(1)).await.unwrap();
    let commit = Commit {
        rollout: Some(in_step(&made, 1)),
        cursors: BTreeMap::from([("errors".into(), cursor(1.0))]),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, JudgeState::new(&made.policy))),
        events: vec![event(2)],
        outbox: vec![("log".into(), notice(name, 2))],
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap();
    let due = store.outbox_due(at(0), 99).await.unwrap();
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
    assert_eq!(store.outbox_counts().await.unwrap(), (0, 2));
    assert_eq!(store.load(&id("r3")).await.unwrap().rollout.id, id("r3"));
    assert_eq!(prune(100_000).await, 2);
    assert_eq!(store.outbox_counts().await.unwrap(), (0, 0));
    assert_eq!(store.targets().await.unwrap().len(), 3, "targets outlive their rollouts");
    let filter = RolloutFilter { limit: 9, ..RolloutFilter::default() };
    assert!(store.rollouts(&filter).await.unwrap().is_empty());
}

pub async fn retention_never_touches_what_is_active_or_held(store: AnyStore) {
    let active = begun(&store, "r1", "a").await;
    let commit = Commit {
        rollout: Some(in_step(&active, 1)),
        observation: Some((tick(1), assessment(1))),
        snapshot: Some((1, JudgeState::new(&active.policy))),
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
    let due = store.outbox_due(at(9_999), 9).await.unwrap();
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
        left.into_iter().map(|rollout| rollout.id.0).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 2);
    assert_eq!(left().await, "r4 r3 r2", "those that ended first go first");
    assert_eq!(store.prune(retention, at(9_999), 0).await.unwrap(), 0);
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 2);
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 1);
    assert_eq!(store.prune(retention, at(9_999), 2).await.unwrap(), 0);
    assert_eq!(left().await, "");
}

pub async fn names_like_statements_are_data(store: AnyStore) {
    let names = ["x'); DROP TABLE targets; --", "\"\\\u{0}%_?1", "[\"a\",\"b\"]", "ünïcödé 🐤", ""];
    for (number, name) in names.iter().enumerate() {
        let rollout_id = format!("{number}{name}");
        begun(&store, &rollout_id, name).await;
        store.enqueue(&id(&rollout_id), command(name), at(1)).await.unwrap();
        let entry = notice(&rollout_id, 1);
        let commit = Commit { outbox: vec![((*name).to_owned(), entry)], ..Commit::default() };
        store.commit(&commit).await.unwrap();
        assert_eq!(store.target(name).await.unwrap().name, *name);
        assert_eq!(store.rollout(&id(&rollout_id)).await.unwrap().target, *name);
        assert_eq!(store.command(name).await.unwrap().command, command(name));
        assert_eq!(store.pending(&[id(&rollout_id)]).await.unwrap().len(), 1);
        let filter = RolloutFilter { target: Some((*name).to_owned()), limit: 9, ..RolloutFilter::default() };
        assert_eq!(store.rollouts(&filter).await.unwrap().len(), 1);
    }
    assert_eq!(store.targets().await.unwrap().len(), names.len());
    assert_eq!(store.outbox_due(at(0), 9).await.unwrap().len(), names.len());
}

pub async fn ping_says_that_it_can_be_written_to(store: AnyStore) {
    for _ in 0..3 {
        store.ping().await.unwrap();
    }
}
