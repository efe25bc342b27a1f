//! What only a file can do: be shared, be reopened, be damaged, be gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serin::core::ids::RolloutId;
use serin::core::rollout::Rollout;
use serin::core::target::Target;
use serin::ports::{
    Commit, Commits, Outbox, OutboxFilter, OutboxState, Outgoing, Position, Queries, StoreError,
};
use serin::store::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};

use super::samples::*;

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).await.expect("the store opens")
}

/// The file, by hand.
async fn by_hand(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.expect("the file opens")
}

async fn run(path: &Path, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut by_hand(path).await).await.unwrap();
}

/// A store with rollout r1 on target checkout, with something in every table.
async fn filled(path: &Path) -> (SqliteStore, Rollout) {
    let store = open(path).await;
    store.own_targets(&["checkout".into()]).await.unwrap();
    let made = store.create_rollout(rollout("r1", "checkout"), event(1), Some("k"), false).await.unwrap();
    store.enqueue(&made.id, command("k1"), at(1)).await.unwrap();
    for seq in 1..=4 {
        let commit = Commit {
            target: Some(store.target("checkout").await.unwrap()),
            rollout: Some(in_step(&store.rollout(&made.id).await.unwrap(), seq)),
            cursors: BTreeMap::from([("errors".into(), cursor(0.1))]),
            observation: Some((tick(seq), assessment(seq))),
            snapshot: (seq < 4).then(|| (seq, Arc::new(judged(seq).0))),
            events: vec![event(seq + 1)],
            outbox: vec![Outgoing::at_once("log", notice("r1", seq + 1))],
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
    }
    let made = store.rollout(&made.id).await.unwrap();
    (store, made)
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &[&str]) {
    match result {
        Err(StoreError::Unavailable(why)) => {
            what.iter().for_each(|what| assert!(why.contains(what), "{why:?} does not say {what:?}"));
        }
        other => panic!("{what:?} was expected, not {other:?}"),
    }
}

fn corrupt<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::Corrupt(why)) => assert!(why.contains(what), "{why:?} does not say {what:?}"),
        other => panic!("{what} was expected to be unreadable, not {other:?}"),
    }
}

#[tokio::test]
async fn a_second_instance_takes_over_and_the_first_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (first, _) = filled(&path).await;
    let commit = async |store: &SqliteStore, target: &Target| {
        store.commit(&Commit { target: Some(target.clone()), ..Commit::default() }).await
    };
    let seen_by_first = first.target("checkout").await.unwrap();
    let second = open(&path).await;
    let owned = second.own_targets(&["checkout".into()]).await.unwrap().remove(0);
    assert_eq!(owned, Target { epoch: seen_by_first.epoch + 1, ..seen_by_first.clone() });
    match commit(&first, &seen_by_first).await {
        Err(StoreError::Conflict(what)) => assert_eq!(what, "the owner of target checkout"),
        other => panic!("{other:?}"),
    }
    commit(&second, &owned).await.unwrap();
    assert_eq!(first.target("checkout").await.unwrap(), second.target("checkout").await.unwrap());
}

#[tokio::test]
async fn what_another_process_stores_is_news_at_the_end_of_the_patience() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (first, made) = filled(&path).await;
    let second = open(&path).await;
    let soon = Duration::from_millis(10);
    let (seen, names) = second.news(Position(0), soon).await.unwrap();
    assert_eq!(names, ["checkout"]);
    assert_eq!(second.news(seen, soon).await.unwrap(), (seen, Vec::new()));
    let target = first.target("checkout").await.unwrap();
    first.commit(&Commit { target: Some(target), ..Commit::default() }).await.unwrap();
    let (committed, names) = second.news(seen, soon).await.unwrap();
    assert_eq!(names, ["checkout"], "a commit of the first is news to the second");
    assert!(first.news(seen, soon).await.unwrap().1.is_empty(), "and not to itself");
    second.own_targets(&["search".into()]).await.unwrap();
    second.enqueue(&made.id, command("k7"), at(1)).await.unwrap();
    let (_, names) = first.news(committed, soon).await.unwrap();
    assert_eq!(names, ["checkout", "search"], "a command, and a target that was taken over");
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(
        "EXPLAIN QUERY PLAN SELECT name FROM targets INDEXED BY targets_told WHERE told > 1 UNION ALL \
         SELECT name FROM targets INDEXED BY targets_changed WHERE changed > 1 AND changed_by <> 2",
    )
    .fetch_all(&mut by_hand(&path).await)
    .await
    .unwrap();
    let scans: Vec<&String> =
        plan.iter().map(|(.., what)| what).filter(|what| what.contains("SCAN")).collect();
    assert_eq!(scans, Vec::<&String>::new(), "by the indexes alone");
}

#[tokio::test]
async fn everything_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (store, made) = filled(&path).await;
    let before = (store.load(&made.id).await.unwrap(), store.target("checkout").await.unwrap());
    for close in [false, true] {
        let store = open(&path).await;
        let loaded = store.load(&made.id).await.unwrap();
        assert_eq!(loaded.rollout, before.0.rollout);
        assert_eq!(loaded.cursors, before.0.cursors);
        assert_eq!(loaded.snapshot, before.0.snapshot);
        assert_eq!(loaded.observations, before.0.observations);
        assert_eq!(store.target("checkout").await.unwrap(), before.1);
        assert_eq!(store.pending(std::slice::from_ref(&made.id)).await.unwrap().len(), 1);
        assert_eq!(store.outbox_due(at(0), 9, &[]).await.unwrap().len(), 4);
        assert_eq!(store.events(&made.id, 0, 9).await.unwrap().len(), 5);
        let again = store.create_rollout(rollout("r9", "checkout"), event(1), Some("k"), false).await;
        assert_eq!(again.unwrap().id, made.id);
        if close {
            store.close().await;
            unavailable(store.ping().await, &["it was closed"]);
        }
    }
    let sound: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut by_hand(&path).await).await.unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
async fn bodies_are_json_that_agrees_with_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    filled(&path).await;
    let mut file = by_hand(&path).await;
    let agree: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM targets WHERE body ->> 'revision' = revision AND body ->> 'epoch' = epoch \
         AND body ->> 'active' = active AND revision = 5 AND epoch = 1",
    )
    .fetch_one(&mut file)
    .await
    .unwrap();
    assert_eq!(agree, 1);
    // The comparison of the samples holds infinite numbers, which JSON cannot.
    let kinds: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT DISTINCT typeof(p.body), typeof(r.body), typeof(r.compared), typeof(r.last) \
         FROM plans p JOIN rollouts r ON r.id = p.rollout JOIN progress g ON g.number = p.number \
         WHERE p.body ->> 'id' = r.id AND r.body ->> '$.phase.name' = r.phase AND g.revision = 4",
    )
    .fetch_all(&mut file)
    .await
    .unwrap();
    assert_eq!(kinds, [("text".into(), "text".into(), "blob".into(), "null".into())]);
}

#[tokio::test]
async fn many_may_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let opened = futures::future::join_all((0..6).map(|_| SqliteStore::open(&path))).await;
    for (number, store) in opened.into_iter().enumerate() {
        let store = store.unwrap();
        let target = store.own_targets(&["checkout".into()]).await.unwrap().remove(0);
        assert_eq!(target.epoch, number as u64 + 1);
    }
}

#[tokio::test]
async fn a_place_that_cannot_hold_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").join("serin.db");
    unavailable(SqliteStore::open(&missing).await, &["missing/serin.db", "folder", "does not exist"]);
    unavailable(SqliteStore::open(folder.path()).await, &["cannot be opened"]);
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "These are notes and no database. ".repeat(100)).unwrap();
    corrupt(SqliteStore::open(&text).await, "not a SQLite database");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_without_permission_to_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    open(&path).await.close().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    // A privileged user may write all the same; what happens then is told by the tests of the module,
    // which set the connection to refuse writes.
    let may_write = std::fs::OpenOptions::new().append(true).open(&path).is_ok();
    let opened = SqliteStore::open(&path).await;
    if may_write {
        opened.unwrap().ping().await.unwrap();
    } else {
        unavailable(opened, &["read-only"]);
    }
}

#[tokio::test]
async fn a_file_that_is_gone_or_replaced_takes_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (store, made) = filled(&path).await;
    let aside = folder.path().join("aside.db");
    std::fs::rename(&path, &aside).unwrap();
    let commit = Commit { rollout: Some(made.clone()), ..Commit::default() };
    unavailable(store.commit(&commit).await, &["is gone"]);
    unavailable(store.ping().await, &["is gone"]);
    std::fs::write(&path, "").unwrap();
    unavailable(store.commit(&commit).await, &["replaced by another file"]);
    unavailable(store.ping().await, &["replaced by another file"]);
    std::fs::rename(&aside, &path).unwrap();
    store.commit(&commit).await.unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_damaged_body_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (store, made) = filled(&path).await;
    let id = &made.id;
    run(&path, "UPDATE inbox SET body = '{\"key\":'").await;
    corrupt(store.command("k1").await, "command k1: ");
    corrupt(store.pending(std::slice::from_ref(id)).await, "command k1: ");
    run(&path, "UPDATE outbox SET body = '{}' WHERE id = 2").await;
    // A notice that cannot be read keeps no other one waiting.
    assert_eq!(store.outbox_due(at(0), 9, &[]).await.unwrap().len(), 3);
    let dead = OutboxFilter { state: OutboxState::Dead, after: None, limit: 9 };
    let dead = store.outbox_list(dead).await.unwrap();
    let detail = dead[0].detail.clone().unwrap();
    assert!(dead.len() == 1 && detail.contains("outbox entry 2: missing field"), "{dead:?}");
    run(&path, "UPDATE cursor_numbers SET body = x'a1'").await;
    corrupt(store.load(id).await, "the cursor of metric errors of rollout r1: ");
    run(&path, "DELETE FROM cursor_names").await;
    run(&path, "DROP TRIGGER looks_are_append_only").await;
    run(&path, "UPDATE looks SET body = x'ff' WHERE seq = 4").await;
    corrupt(store.load(id).await, "table looks, tick 4 of rollout r1: version 255");
    corrupt(store.observations(id, 0, 9).await, "table looks, tick 4 of rollout r1: ");
    corrupt(open(&path).await.rollout(id).await, "table looks, tick 4 of rollout r1: ");
    run(&path, "DROP TRIGGER events_are_append_only").await;
    run(&path, "UPDATE events SET body = '' WHERE seq = 2").await;
    corrupt(store.events(id, 0, 9).await, "event 2 of rollout r1: ");
    run(&path, "UPDATE progress SET body = x'01'").await;
    corrupt(store.rollout(id).await, "table progress, rollout r1: it ends too early");
    run(&path, "UPDATE plans SET body = '{}'").await;
    corrupt(store.rollout(id).await, "table plans, rollout r1: missing field");
    run(&path, "DELETE FROM cursor_numbers; DELETE FROM progress; DELETE FROM looks; DELETE FROM plans")
        .await;
    run(&path, "UPDATE rollouts SET body = 'null'").await;
    corrupt(store.rollout(id).await, "rollout r1: ");
    corrupt(store.load(id).await, "rollout r1: ");
    run(&path, "UPDATE targets SET epoch = 9").await;
    corrupt(store.target("checkout").await, "target checkout: the body says checkout at revision 5");
    corrupt(store.targets().await, "target checkout: ");
    run(&path, "UPDATE targets SET body = json_set(body, '$.wanted', 'everything')").await;
    corrupt(store.own_targets(&["checkout".into()]).await, "target checkout: ");
}

#[tokio::test]
async fn an_unreadable_snapshot_costs_only_judging_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (store, made) = filled(&path).await;
    let kept: Vec<i64> = sqlx::query_scalar("SELECT seq FROM evidence ORDER BY seq")
        .fetch_all(&mut by_hand(&path).await)
        .await
        .unwrap();
    assert_eq!(kept, [2, 3]);
    run(&path, "UPDATE evidence SET body = x'ff00' WHERE seq = 3").await;
    let loaded = store.load(&made.id).await.unwrap();
    assert_eq!(loaded.snapshot.map(|(seq, _)| seq), Some(2));
    assert_eq!(loaded.observations, [tick(3), tick(4)]);
    run(&path, "UPDATE evidence SET body = x''").await;
    let loaded = store.load(&made.id).await.unwrap();
    assert!(loaded.snapshot.is_none());
    assert_eq!(loaded.observations, [1, 2, 3, 4].map(tick));
}

#[tokio::test]
async fn what_is_judged_again_is_what_was_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (store, made) = filled(&path).await;
    let expected: Vec<_> = (1..=4).map(|seq| (tick(seq), assessment(seq))).collect();
    // As it comes, from page to page, and by a process that has judged nothing yet.
    assert_eq!(store.observations(&made.id, 0, 9).await.unwrap(), expected);
    for snapshots in [true, false] {
        if !snapshots {
            run(&path, "DELETE FROM evidence").await;
        }
        for (after, limit) in [(0, 2), (2, 1), (3, 9), (1, 2)] {
            let page = open(&path).await.observations(&made.id, after as u64, limit).await.unwrap();
            let upto = (after + limit).min(4);
            assert_eq!(page, expected[after..upto], "after {after}, {snapshots}");
        }
        let rollout = open(&path).await.rollout(&made.id).await.unwrap();
        assert_eq!(rollout.last, Some(assessment(4)));
        assert_eq!(rollout, made);
    }
    // The snapshot of the last look itself.
    let commit = Commit {
        rollout: Some(in_step(&made, 5)),
        observation: Some((tick(5), assessment(5))),
        snapshot: Some((5, Arc::new(judged(5).0))),
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap();
    assert_eq!(open(&path).await.rollout(&made.id).await.unwrap().last, Some(assessment(5)));
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    open(&path).await.close().await;
    run(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', true, x'00', 1)",
    )
    .await;
    unavailable(SqliteStore::open(&path).await, &["serin.db", "newer Serin", "version 9999", "restore"]);
    run(&path, "DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    open(&path).await.close().await;
    run(&path, "UPDATE _sqlx_migrations SET checksum = x'00'").await;
    corrupt(SqliteStore::open(&path).await, "not those of this program");
}

#[tokio::test]
async fn the_record_cannot_be_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    filled(&path).await;
    for statement in ["UPDATE events SET body = '{}'", "UPDATE looks SET seq = seq + 10"] {
        let error = sqlx::query(statement).execute(&mut by_hand(&path).await).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

/// A caller that stops waiting (a deadline) must find a commit done or not done, and a store that works.
#[tokio::test]
async fn a_commit_that_is_left_is_whole_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, made) = filled(&folder.path().join("serin.db")).await;
    let mut left_early = 0;
    for patience in 0..80 {
        let before = store.rollout(&made.id).await.unwrap();
        let seq = before.tick_seq + 1;
        let commit = Commit {
            target: Some(store.target("checkout").await.unwrap()),
            rollout: Some(in_step(&before, seq)),
            observation: Some((tick(seq), assessment(seq))),
            events: vec![event(seq + 1)],
            outbox: vec![Outgoing::at_once("log", notice("r1", seq + 1))],
            ..Commit::default()
        };
        let mut commit = store.commit(&commit);
        let mut answered = false;
        for _ in 0..patience {
            if let std::task::Poll::Ready(result) = futures::poll!(&mut commit) {
                result.unwrap();
                answered = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        // The next write waits for whatever the abandoned one still does.
        store.ping().await.unwrap();
        let after = store.rollout(&made.id).await.unwrap();
        let done = after.revision == before.revision + 1;
        assert!(done || after == before, "half a commit");
        assert!(done || !answered, "a commit that was answered is not there");
        let expected = if done { seq } else { seq - 1 };
        let id = RolloutId("r1".into());
        assert_eq!(after.tick_seq, expected);
        assert_eq!(store.observations(&id, 0, 999).await.unwrap().len() as u64, expected);
        assert_eq!(store.events(&id, 0, 999).await.unwrap().len() as u64, expected + 1);
        assert_eq!(store.outbox_due(at(0), 999, &[]).await.unwrap().len() as u64, expected);
        assert_eq!(store.target("checkout").await.unwrap().revision, after.revision + 1);
        left_early += u32::from(patience > 0 && !answered);
    }
    assert!(left_early > 0, "every commit was answered at once, so this has shown nothing");
}
