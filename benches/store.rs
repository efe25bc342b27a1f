//! What one tick costs at the store: target, rollout, cursors, observation, a log line and a notice in
//! one commit that waits for the disk.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serin::core::judge::Assessment;
use serin::core::rollout::Rollout;
use serin::ports::{Commit, Commits, Outgoing, Queries};
use serin::store::SqliteStore;
use tokio::runtime::Runtime;

#[path = "../tests/quick/store/samples.rs"]
#[allow(dead_code)]
mod samples;

#[path = "../tests/quick/store/size.rs"]
#[allow(dead_code)]
mod size;
/// What the tests build their values with.
#[path = "../tests/testkit"]
mod testkit {
    #[allow(dead_code)]
    pub mod builders;
}

use samples::{cursor, event, in_step, notice, rollout, tick};

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
        rollout: Some(Rollout { tick_seq: seq, ..in_step(&before, 1) }),
        cursors: BTreeMap::from([("errors".into(), cursor(0.1)), ("latency".into(), cursor(0.2))]),
        observation: Some((tick(seq), Assessment::default())),
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
    let folder = tempfile::tempdir().unwrap();
    let bytes = runtime.block_on(size::measured(&folder.path().join("serin.db")));
    println!("store/bytes_of_a_look       {:.0} of at most 400: {bytes:?}", bytes.written());
    criterion.bench_function("store/ping", |bencher| {
        bencher.iter(|| runtime.block_on(store.ping()).unwrap());
    });
    criterion.bench_function("store/read_a_rollout", |bencher| {
        let id = rollout("r1", "checkout").id.clone();
        bencher.iter(|| black_box(runtime.block_on(store.rollout(&id)).unwrap()));
    });
}

criterion_group!(benches, store);
criterion_main!(benches);
