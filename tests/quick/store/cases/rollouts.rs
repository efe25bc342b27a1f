//! Targets and rollouts: owning, starting, superseding, listing.

use serin::core::rollout::{CommandKind, Phase};
use serin::core::target::Target;
use serin::ports::{Outgoing, RolloutFilter, StoreError};

use super::super::samples::*;
use super::*;

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
        (RolloutFilter { targets: Some(vec!["a".into(), "z\"]".into()]), ..all.clone() }, "r5 r4 r1"),
        (RolloutFilter { targets: Some(vec![]), ..all.clone() }, ""),
        (RolloutFilter { phase: Some("scheduled".into()), ..all.clone() }, "r5"),
        (RolloutFilter { phase: Some("rolled_back".into()), ..all.clone() }, "r1"),
        (RolloutFilter { active: Some(true), ..all.clone() }, "r5 r4 r3 r2"),
        (RolloutFilter { active: Some(false), ..all.clone() }, "r1"),
        (
            RolloutFilter {
                target: Some("a".into()),
                targets: None,
                phase: Some("preflight".into()),
                active: Some(true),
                before: Some(id("r5")),
                limit: 1,
                ..all.clone()
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

pub async fn names_like_statements_are_data(store: AnyStore) {
    let names = ["x'); DROP TABLE targets; --", "\"\\\u{0}%_?1", "[\"a\",\"b\"]", "ünïcödé 🐤", ""];
    for (number, name) in names.iter().enumerate() {
        let rollout_id = format!("{number}{name}");
        begun(&store, &rollout_id, name).await;
        store.enqueue(&id(&rollout_id), command(name), at(1)).await.unwrap();
        let entry = notice(&rollout_id, 1);
        let commit = Commit { outbox: vec![Outgoing::at_once(*name, entry)], ..Commit::default() };
        store.commit(&commit).await.unwrap();
        assert_eq!(store.target(name).await.unwrap().name, *name);
        assert_eq!(store.rollout(&id(&rollout_id)).await.unwrap().target, *name);
        assert_eq!(store.command(name).await.unwrap().command, command(name));
        assert_eq!(store.pending(&[id(&rollout_id)]).await.unwrap().len(), 1);
        let filter = RolloutFilter { target: Some((*name).to_owned()), limit: 9, ..RolloutFilter::default() };
        assert_eq!(store.rollouts(&filter).await.unwrap().len(), 1);
    }
    assert_eq!(store.targets().await.unwrap().len(), names.len());
    assert_eq!(store.outbox_due(at(0), 9, &[]).await.unwrap().len(), names.len());
}

pub async fn ping_says_that_it_can_be_written_to(store: AnyStore) {
    for _ in 0..3 {
        store.ping().await.unwrap();
    }
}

pub async fn log_lines_of_all_rollouts_come_in_the_order_of_their_commits(store: AnyStore) {
    assert_eq!(store.newest_position().await.unwrap(), 0);
    begun(&store, "r1", "a").await;
    begun(&store, "r2", "b").await;
    for (name, seq) in [("r2", 2), ("r1", 2), ("r1", 3), ("r2", 3)] {
        let rollout = Some(store.rollout(&id(name)).await.unwrap());
        let commit = Commit { rollout, events: vec![event(seq)], ..Commit::default() };
        store.commit(&commit).await.unwrap();
    }
    let lines = store.events_since(0, 100).await.unwrap();
    let names: Vec<_> = lines.iter().map(|(_, id, event)| (id.0.as_str(), event.seq)).collect();
    assert_eq!(names, [("r1", 1), ("r2", 1), ("r2", 2), ("r1", 2), ("r1", 3), ("r2", 3)]);
    assert!(lines.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(lines[2].2, event(2));
    assert_eq!(store.newest_position().await.unwrap(), lines[5].0);
    assert_eq!(store.events_since(lines[1].0, 2).await.unwrap(), lines[2..4]);
    assert!(store.events_since(lines[5].0, 9).await.unwrap().is_empty());
    assert!(store.events_since(u64::MAX, 9).await.unwrap().is_empty());
}

pub async fn rollouts_are_filtered_by_policy_and_time(store: AnyStore) {
    for (index, name) in ["r1", "r2", "r3"].into_iter().enumerate() {
        owned(&store, name).await;
        let mut made = rollout(name, name);
        made.plan_mut().created_at = at(index as i64 * 100);
        if name == "r2" {
            made.plan_mut().policy.name = "hotfix".to_owned();
        }
        store.create_rollout(made, event(1), None, false).await.unwrap();
    }
    end(&store, "r1", 50).await;
    end(&store, "r2", 150).await;
    let ids = async |filter: RolloutFilter| {
        let found = store.rollouts(&RolloutFilter { limit: 9, ..filter }).await.unwrap();
        found.into_iter().map(|rollout| rollout.id.0.clone()).collect::<Vec<_>>().join(" ")
    };
    let all = RolloutFilter::default;
    assert_eq!(ids(RolloutFilter { policy: Some("hotfix".into()), ..all() }).await, "r2");
    assert_eq!(ids(RolloutFilter { policy: Some("none".into()), ..all() }).await, "");
    assert_eq!(ids(RolloutFilter { since: Some(at(51)), ..all() }).await, "r3 r2");
    assert_eq!(ids(RolloutFilter { since: Some(at(50)), active: Some(false), ..all() }).await, "r2 r1");
    assert_eq!(ids(RolloutFilter { until: Some(at(199)), ..all() }).await, "r2 r1");
    let window = RolloutFilter { since: Some(at(151)), until: Some(at(300)), ..all() };
    assert_eq!(ids(window).await, "r3");
}
