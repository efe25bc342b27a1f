//! What one tick costs at the store: target, rollout, cursors, observation, a log line and a notice in
//! one commit that waits for the disk.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serin::ports::{Commit, Outgoing, Store};
use serin::store::SqliteStore;
use tokio::runtime::Runtime;

#[path = "../tests/quick/store/samples.rs"]
#[allow(dead_code)]
mod samples;

use samples::{assessment, cursor, event, in_step, notice, rollout, tick};

async fn begun(folder: &tempfile::TempDir) -> SqliteStore {
    let store = SqliteStore::open(&folder.path().join("serin.db")).await.unwrap();
    store.own_targets(&["checkout".into()]).await.unwrap();
    store.create_rollout(rollout("r1", "checkout"), event(1), None, false).await.unwrap();
    store
}

async fn next_tick(store: &SqliteStore) -> Commit {
    let before = store.rollout(&rollout("r1", "checkout").id).await.unwrap();
    let seq = before.tick_seq + 1;
    Commit {
        target: Some(store.target("checkout").await.unwrap()),
        rollout: Some(in_step(&before, seq)),
        cursors: BTreeMap::from([("errors".into(), cursor(0.1)), ("latency".into(), cursor(0.2))]),
        observation: Some((tick(seq), assessment(seq))),
        events: vec![event(seq + 1)],
        outbox: vec![Outgoing::at_once("log", notice("r1", seq + 1))],
        ..Commit::default()
    }
}

fn store(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(begun(&folder));
    criterion.bench_function("store/commit_of_a_tick", |bencher| {
        bencher.iter_batched(
            || runtime.block_on(next_tick(&store)),
            |commit| runtime.block_on(store.commit(&commit)).unwrap(),
            criterion::BatchSize::PerIteration,
        );
    });
    criterion.bench_function("store/ping", |bencher| {
        bencher.iter(|| runtime.block_on(store.ping()).unwrap());
    });
    criterion.bench_function("store/read_a_rollout", |bencher| {
        let id = rollout("r1", "checkout").id;
        bencher.iter(|| black_box(runtime.block_on(store.rollout(&id)).unwrap()));
    });
}

criterion_group!(benches, store);
criterion_main!(benches);
