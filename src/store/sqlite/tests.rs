//! Faults that need a hand on the connection: a full disk, a read-only file, a lock.

use std::path::Path;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::*;
use crate::core::limit::Severity;
use crate::core::notice::{Notice, NoticeKind};
use crate::ports::{OutboxState, Outgoing};

/// A store that owns the target `checkout`, and its folder.
async fn store() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.own_targets(&["checkout".into()]).await.unwrap();
    (store, folder)
}

async fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(&folder.join("serin.db")).await.unwrap()
}

/// Runs a statement on the connection that writes.
async fn on_writer(store: &SqliteStore, statement: &str) {
    let mut connection = store.database.writer.acquire().await.unwrap();
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *connection).await.unwrap();
}

async fn pages(store: &SqliteStore) -> i64 {
    let mut connection = store.database.writer.acquire().await.unwrap();
    sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.unwrap()
}

/// A commit of the target and of `count` notices of 1 kB.
async fn commit(store: &SqliteStore, count: u64) -> Commit {
    let notice = |number| Notice {
        rollout: "r1".into(),
        target: "checkout".into(),
        version: "v2".into(),
        ..Notice::new(
            format!("r1/{number}"),
            NoticeKind::Alert,
            Severity::Low,
            Timestamp(0),
            "x".repeat(1000),
        )
    };
    Commit {
        target: Some(store.target("checkout").await.unwrap()),
        outbox: (0..count).map(|number| Outgoing::at_once("log", notice(number))).collect(),
        ..Commit::default()
    }
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::Unavailable(why)) => assert!(why.contains(what), "{why:?} does not say {what:?}"),
        other => panic!("{what:?} was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_full_disk_takes_nothing_rather_than_a_half() {
    let (store, folder) = store().await;
    let large = commit(&store, 200).await;
    for room in [0, 3, 30] {
        let limit = format!("PRAGMA max_page_count = {}", pages(&store).await + room);
        on_writer(&store, &limit).await;
        unavailable(store.commit(&large).await, "the disk is full");
        let target = store.target("checkout").await.unwrap();
        assert_eq!(Some(&target), large.target.as_ref());
        assert_eq!(store.outbox_counts(Timestamp(0)).await.unwrap(), OutboxCounts::default());
    }
    on_writer(&store, &format!("PRAGMA max_page_count = {}", pages(&store).await)).await;
    unavailable(store.ping().await, "the disk is full");
    // Room again: the same store goes on without being opened anew.
    on_writer(&store, "PRAGMA max_page_count = 1000000").await;
    store.ping().await.unwrap();
    store.commit(&large).await.unwrap();
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.outbox_counts(Timestamp(0)).await.unwrap().pending, 200);
}

#[tokio::test]
async fn a_read_only_database_is_read_and_not_written() {
    let (store, _folder) = store().await;
    let commit = commit(&store, 1).await;
    let refuse = "PRAGMA query_only = ON";
    on_writer(&store, refuse).await;
    unavailable(store.ping().await, "read-only");
    on_writer(&store, refuse).await;
    unavailable(store.commit(&commit).await, "read-only");
    on_writer(&store, refuse).await;
    unavailable(store.own_targets(&["checkout".into()]).await, "read-only");
    assert_eq!(Some(store.target("checkout").await.unwrap()), commit.target);
    on_writer(&store, "PRAGMA query_only = OFF").await;
    store.commit(&commit).await.unwrap();
}

#[tokio::test]
async fn a_notice_that_cannot_be_read_is_given_up_and_the_others_go_on() {
    let (store, _folder) = store().await;
    store.commit(&commit(&store, 3).await).await.unwrap();
    on_writer(&store, "UPDATE outbox SET body = X'00' WHERE key = 'r1/1'").await;
    let due = store.outbox_due(Timestamp(0), 9, &[]).await.unwrap();
    let keys: Vec<_> = due.iter().map(|entry| entry.notice.key.as_str()).collect();
    assert_eq!(keys, ["r1/0", "r1/2"]);
    let dead = OutboxFilter { state: OutboxState::Dead, after: None, limit: 9 };
    let dead = store.outbox_list(dead).await.unwrap();
    assert_eq!((dead.len(), dead[0].entry.notice.key.as_str()), (1, "r1/1"));
    assert!(dead[0].detail.as_deref().unwrap().contains("cannot be read"), "{dead:?}");
}

#[tokio::test]
async fn readers_cannot_write() {
    let (store, _folder) = store().await;
    let mut connection = store.database.readers.acquire().await.unwrap();
    let error = sqlx::query("DELETE FROM targets").execute(&mut *connection).await.unwrap_err();
    unavailable::<()>(Err(error.into()), "read-only");
}

#[tokio::test]
async fn another_process_that_holds_the_lock_is_told_of() {
    let (store, folder) = store().await;
    let other = open(folder.path()).await;
    let commit = commit(&store, 1).await;
    let lock = other.database.write().await.unwrap();
    on_writer(&store, "PRAGMA busy_timeout = 20").await;
    unavailable(store.commit(&commit).await, "locked by another process");
    assert_eq!(store.targets().await.unwrap().len(), 1, "reading goes on");
    drop(lock);
    store.commit(&commit).await.unwrap();
}

#[tokio::test]
async fn commits_wait_for_the_disk() {
    let (store, _folder) = store().await;
    let mut connection = store.database.writer.acquire().await.unwrap();
    let synchronous: i64 =
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await.unwrap();
    let journal: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
    let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut *connection).await.unwrap();
    assert_eq!((synchronous, journal.as_str(), keys), (2, "wal", 1));
}

#[tokio::test]
async fn a_long_rollout_is_pruned_in_several_calls() {
    let (store, _folder) = store().await;
    on_writer(
        &store,
        "INSERT INTO rollouts (id, target, revision, phase, ended, created_at, ended_at, body) \
         VALUES ('r1', 'checkout', 0, 'succeeded', 1, 0, 0, '{}')",
    )
    .await;
    let rows = prune::ROWS * 2 + prune::ROWS / 2;
    on_writer(
        &store,
        &format!(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {rows}) \
             INSERT INTO observations (rollout, seq, body, assessment) SELECT 'r1', n, '{{}}', '{{}}' FROM number"
        ),
    )
    .await;
    let retention = Retention { observations: Duration::ZERO, rollouts: Duration::ZERO };
    let mut left = Vec::new();
    for _ in 0..4 {
        let touched = store.prune(retention, Timestamp(1), 10).await.unwrap();
        let mut connection = store.database.writer.acquire().await.unwrap();
        let observations: i64 = sqlx::query_scalar("SELECT count(*) FROM observations")
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        left.push((touched, observations));
    }
    assert_eq!(left, [(1, 7_500), (1, 2_500), (1, 0), (0, 0)]);
    let gone = store.rollout(&RolloutId("r1".into())).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
}
