//! Rows that an older version wrote: whole values, with an assessment beside every observation.

use std::collections::BTreeMap;

use serin::core::rollout::Rollout;
use serin::ports::{Commit, Commits, Queries, Retention, RolloutFilter};
use serin::store::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use super::samples::*;

/// The fields of a rollout as they always stood in a body, in exports and in answers.
const FIELDS: [&str; 31] = [
    "alerts",
    "announced",
    "baseline_was_healthy",
    "created_at",
    "created_by",
    "data",
    "ended_at",
    "event_seq",
    "first_ends",
    "gates",
    "held",
    "history",
    "holds",
    "id",
    "kind",
    "last",
    "last_compared",
    "method",
    "not_before",
    "phase",
    "phase_since",
    "policy",
    "revision",
    "share_explained",
    "stable",
    "supersedes",
    "target",
    "tick_seq",
    "timers",
    "verification",
    "version",
];

#[test]
fn a_rollout_is_written_in_one_piece() {
    let whole = Rollout { last_compared: None, ..in_step(&rollout("r1", "checkout"), 2) };
    let json = serde_json::to_value(&whole).unwrap();
    let fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, FIELDS);
    assert_eq!(serde_json::from_value::<Rollout>(json).unwrap(), whole);
    let mut bytes = Vec::new();
    ciborium::into_writer(&in_step(&whole, 3), &mut bytes).unwrap();
    assert_eq!(ciborium::from_reader::<Rollout, _>(bytes.as_slice()).unwrap(), in_step(&whole, 3));
}

async fn put(file: &mut SqliteConnection, statement: &'static str, columns: &[&str], body: &[u8]) {
    let mut query = sqlx::query(statement);
    for column in columns {
        query = query.bind(*column);
    }
    query.bind(body).execute(file).await.unwrap();
}

/// A rollout in the third look of its step, as an older version left it.
async fn old(file: &mut SqliteConnection, body: &[u8], revision: u64) {
    sqlx::query(
        "INSERT INTO rollouts (id, target, revision, phase, ended, created_at, policy, body) \
         VALUES ('r1', 'checkout', ?, 'progressing', 0, 0, 'standard', ?)",
    )
    .bind(revision.cast_signed())
    .bind(body)
    .execute(&mut *file)
    .await
    .unwrap();
    let with_seq = "INSERT INTO observations (rollout, seq, assessment, body) VALUES ('r1', ?, ?, ?)";
    for seq in 1..=3 {
        sqlx::query(with_seq)
            .bind(seq)
            .bind(serde_json::to_string(&assessment(seq as u64)).unwrap())
            .bind(serde_json::to_string(&tick(seq as u64)).unwrap())
            .execute(&mut *file)
            .await
            .unwrap();
    }
    let mut evidence = Vec::new();
    ciborium::into_writer(&judged(2).0, &mut evidence).unwrap();
    put(file, "INSERT INTO evidence (rollout, seq, body) VALUES ('r1', 2, ?)", &[], &evidence).await;
    let cursor = serde_json::to_vec(&cursor(0.1)).unwrap();
    put(file, "INSERT INTO cursors (rollout, metric, body) VALUES ('r1', ?, ?)", &["errors"], &cursor).await;
    let event = serde_json::to_vec(&event(1)).unwrap();
    put(file, "INSERT INTO events (rollout, seq, body) VALUES ('r1', 1, ?)", &[], &event).await;
}

#[tokio::test]
async fn old_rows_are_read_and_converted_by_the_next_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.own_targets(&["checkout".into()]).await.unwrap();
    let whole = Rollout { revision: 3, ..in_step(&rollout("r1", "checkout"), 3) };
    let mut body = Vec::new();
    ciborium::into_writer(&whole, &mut body).unwrap();
    let mut file = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    old(&mut file, &body, 3).await;
    let expected = |until: u64| (1..=until).map(|seq| (tick(seq), assessment(seq))).collect::<Vec<_>>();
    let loaded = store.load(&whole.id).await.unwrap();
    assert_eq!(loaded.rollout, whole);
    assert_eq!(loaded.cursors, BTreeMap::from([("errors".into(), cursor(0.1))]));
    assert_eq!(loaded.snapshot, Some((2, judged(2).0)));
    assert_eq!(loaded.observations, [tick(3)]);
    assert_eq!(store.observations(&whole.id, 0, 9).await.unwrap(), expected(3));
    let next = Rollout { revision: 3, ..in_step(&whole, 4) };
    let commit = Commit {
        rollout: Some(next.clone()),
        observation: Some((tick(4), assessment(4))),
        cursors: BTreeMap::from([("latency".into(), cursor(7.0))]),
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap();
    let now = Rollout { revision: 4, ..next };
    for store in [store, SqliteStore::open(&path).await.unwrap()] {
        let loaded = store.load(&whole.id).await.unwrap();
        assert_eq!(loaded.rollout, now);
        assert_eq!(loaded.observations, [tick(3), tick(4)]);
        let cursors = [("errors".to_owned(), cursor(0.1)), ("latency".to_owned(), cursor(7.0))];
        assert_eq!(loaded.cursors, BTreeMap::from(cursors));
        assert_eq!(loaded.evidence(), judged(4).0);
        assert_eq!(store.observations(&whole.id, 0, 9).await.unwrap(), expected(4));
        assert_eq!(store.observations(&whole.id, 2, 9).await.unwrap(), expected(4)[2..]);
        let filter = RolloutFilter { policy: Some("standard".into()), limit: 9, ..RolloutFilter::default() };
        assert_eq!(store.rollouts(&filter).await.unwrap(), std::slice::from_ref(&now));
    }
    let store = SqliteStore::open(&path).await.unwrap();
    let end = Commit { rollout: Some(ended(&now, at(100))), ..Commit::default() };
    store.commit(&end).await.unwrap();
    let stored = store.rollout(&whole.id).await.unwrap();
    assert_eq!(stored.last, Some(assessment(4)), "kept with a rollout that has ended");
    let gone = std::time::Duration::ZERO;
    store.prune(Retention { observations: gone, rollouts: gone }, at(9_999), 9).await.unwrap();
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM rollouts) + (SELECT count(*) FROM observations) \
         + (SELECT count(*) FROM looks) + (SELECT count(*) FROM plans) + (SELECT count(*) FROM progress) \
         + (SELECT count(*) FROM cursors) + (SELECT count(*) FROM cursor_names) \
         + (SELECT count(*) FROM cursor_numbers) + (SELECT count(*) FROM evidence)",
    )
    .fetch_one(&mut file)
    .await
    .unwrap();
    assert_eq!(left, 0);
}
