//! The inbox of commands and the outbox of notices.

use serin::core::rollout::CommandKind;
use serin::ports::{Commit, Delivery};

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
