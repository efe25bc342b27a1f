//! The inbox of commands and the outbox of notices.

use serin::core::rollout::CommandKind;
use serin::core::time::Timestamp;
use serin::ports::{Commit, Delivery, OutboxCounts, OutboxFilter, OutboxState, Outgoing};

use super::super::samples::*;
use super::*;

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
    let due = store.outbox_due(at(0), 9, &[]).await.unwrap();
    assert_eq!(labels(&due), ["hook r1/1", "log r1/1", "log r1/2"]);
    store.outbox_settle(due[1].id, &Delivery::Done).await.unwrap();
    notify(&store, &[("log", 1)]).await;
    let due = store.outbox_due(at(0), 9, &[]).await.unwrap();
    assert_eq!(labels(&due), ["hook r1/1", "log r1/2"], "nor after it was delivered");
}

pub async fn the_oldest_notice_of_a_channel_blocks_the_later_ones(store: AnyStore) {
    notify(&store, &[("hook", 1), ("hook", 2), ("hook", 3), ("log", 1), ("hook", 4)]).await;
    let due = async |seconds, limit| store.outbox_due(at(seconds), limit, &[]).await.unwrap();
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
    assert_eq!(counts(&store).await, (4, 1));
}

pub async fn a_settled_delivery_stays_settled(store: AnyStore) {
    notify(&store, &[("hook", 1), ("hook", 2)]).await;
    let entries = store.outbox_due(at(0), 9, &[]).await.unwrap();
    store.outbox_settle(entries[0].id, &Delivery::Done).await.unwrap();
    store.outbox_settle(entries[1].id, &Delivery::Dead { detail: "gone".into() }).await.unwrap();
    let retry = Delivery::Retry { due: at(0), detail: "late".into() };
    for entry in &entries {
        store.outbox_settle(entry.id, &retry).await.unwrap();
        store.outbox_settle(entry.id, &Delivery::Done).await.unwrap();
    }
    assert!(store.outbox_due(at(999), 9, &[]).await.unwrap().is_empty());
    assert_eq!(counts(&store).await, (0, 1));
    not_found(store.outbox_settle(999, &Delivery::Done).await, "outbox entry 999");
}

async fn put(store: &AnyStore, queue: &str, seq: u64, due: Option<i64>) {
    let outgoing = Outgoing { queue: queue.into(), notice: notice("r1", seq), due: due.map(at) };
    store.commit(&Commit { outbox: vec![outgoing], ..Commit::default() }).await.unwrap();
}

pub async fn what_waits_for_its_time_is_a_queue_of_its_own(store: AnyStore) {
    put(&store, "mail#digest", 1, Some(100)).await;
    put(&store, "mail", 2, None).await;
    put(&store, "mail#quiet", 3, Some(50)).await;
    let due = async |seconds, without: &[&str]| {
        let without: Vec<String> = without.iter().map(|name| (*name).to_owned()).collect();
        labels(&store.outbox_due(at(seconds), 9, &without).await.unwrap())
    };
    assert_eq!(due(49, &[]).await, ["mail r1/2"]);
    assert_eq!(due(50, &[]).await, ["mail r1/2", "mail#quiet r1/3"]);
    assert_eq!(due(100, &["mai", "log"]).await, ["mail r1/2", "mail#digest r1/1", "mail#quiet r1/3"]);
    assert!(due(100, &["mail"]).await.is_empty(), "all queues of a channel that is worked on");
    let counts = store.outbox_counts(at(60)).await.unwrap();
    let oldest = Some(at(50).min(notice("r1", 2).at));
    assert_eq!(counts, OutboxCounts { pending: 2, waiting: 1, dead: 0, oldest });
    let all = store.outbox_due(at(100), 9, &[]).await.unwrap();
    assert_eq!((all[1].due, all[1].since), (at(100), at(100)));
    assert_eq!((all[0].due, all[0].since), (Timestamp(0), notice("r1", 2).at), "at once");
}

pub async fn a_group_is_delivered_as_one(store: AnyStore) {
    for seq in 1..=5 {
        put(&store, "mail#digest", seq, Some(100)).await;
    }
    put(&store, "mail#digest", 6, Some(200)).await;
    put(&store, "chat#digest", 7, Some(100)).await;
    let group = store.outbox_group("mail#digest", at(100), 2).await.unwrap();
    assert_eq!(
        (group.count, labels(&group.newest)),
        (5, vec!["mail#digest r1/4".into(), "mail#digest r1/5".into()])
    );
    let first = store.outbox_due(at(100), 1, &["chat".into()]).await.unwrap()[0].id;
    assert_eq!(group.first, first);
    let retry = Delivery::Retry { due: at(130), detail: "503".into() };
    let last = group.newest[1].id;
    // Comes after the group was read, and was not in the delivery.
    put(&store, "mail#digest", 8, Some(100)).await;
    store.outbox_settle_group("mail#digest", at(100), last, &retry).await.unwrap();
    let late = store.outbox_group("mail#digest", at(100), 9).await.unwrap();
    assert_eq!(labels(&late.newest), ["mail#digest r1/8"]);
    let again = store.outbox_group("mail#digest", at(130), 9).await.unwrap();
    assert_eq!((again.count, again.first, again.newest[0].attempts), (5, first, 1));
    assert_eq!(again.newest[0].since, at(100), "its deadline counts from the first time");
    store.outbox_settle_group("mail#digest", at(130), last, &Delivery::Done).await.unwrap();
    let left = store.outbox_due(at(999), 9, &[]).await.unwrap();
    assert_eq!(labels(&left), ["chat#digest r1/7", "mail#digest r1/6", "mail#digest r1/8"]);
}

pub async fn a_dead_notice_is_listed_and_put_on_its_way_again(store: AnyStore) {
    notify(&store, &[("hook", 1), ("hook", 2), ("log", 3)]).await;
    let entries = store.outbox_due(at(0), 9, &[]).await.unwrap();
    let dead = Delivery::Dead { detail: "status 404".into() };
    for entry in &entries[..2] {
        store.outbox_settle(entry.id, &dead).await.unwrap();
    }
    let list = async |state, after, limit| {
        let records = store.outbox_list(OutboxFilter { state, after, limit }).await.unwrap();
        records.into_iter().map(|record| (record.entry.notice.key, record.detail)).collect::<Vec<_>>()
    };
    let gone = Some("status 404".to_owned());
    let both = [("r1/1".to_owned(), gone.clone()), ("r1/2".to_owned(), gone.clone())];
    assert_eq!(list(OutboxState::Dead, None, 9).await, both);
    assert_eq!(list(OutboxState::Dead, None, 1).await, both[..1]);
    assert_eq!(list(OutboxState::Dead, Some(entries[0].id), 9).await, both[1..]);
    assert_eq!(list(OutboxState::Pending, None, 9).await, [("r1/3".to_owned(), None)]);
    assert!(list(OutboxState::Done, None, 9).await.is_empty());
    let record = store.outbox_requeue(entries[0].id, at(500)).await.unwrap();
    assert_eq!((record.state, record.entry.attempts, record.entry.since), (OutboxState::Pending, 0, at(500)));
    assert_eq!(labels(&store.outbox_due(at(0), 9, &[]).await.unwrap()), ["hook r1/1", "log r1/3"]);
    conflict(store.outbox_requeue(entries[0].id, at(501)).await, "outbox entry");
    not_found(store.outbox_requeue(999, at(501)).await, "outbox entry 999");
}

pub async fn what_was_begun_is_not_begun_twice(store: AnyStore) {
    notify(&store, &[("hook/tag", 1), ("hook/tag", 2)]).await;
    let entries = store.outbox_due(at(0), 9, &[]).await.unwrap();
    store.outbox_begin(entries[0].id).await.unwrap();
    conflict(store.outbox_begin(entries[0].id).await, "outbox entry");
    not_found(store.outbox_begin(999).await, "outbox entry 999");
    assert_eq!(labels(&store.outbox_due(at(0), 9, &[]).await.unwrap()), ["hook/tag r1/2"]);
    let filter = OutboxFilter { state: OutboxState::Running, after: None, limit: 9 };
    let running = store.outbox_list(filter).await.unwrap();
    assert_eq!((running.len(), running[0].entry.id), (1, entries[0].id));
    assert_eq!(counts(&store).await, (2, 0));
    store.outbox_settle(entries[0].id, &Delivery::Done).await.unwrap();
    assert!(store.outbox_list(filter).await.unwrap().is_empty());
    assert_eq!(counts(&store).await, (1, 0));
}
