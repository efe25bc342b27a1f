//! Commits of many targets: those that wait for each other are one transaction, each all or nothing by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serin::clock::SystemClock;
use serin::core::routing::Routing;
use serin::core::target::Target;
use serin::engine::{Engine, Handle, Job, Options, Outcome, Parts};
use serin::messages::Words;
use serin::ports::{Commit, Commits, NoFailpoints, NoGatekeeper, Position};
use serin::routers::StaticPools;
use serin::store::SqliteStore;

use crate::testkit::builders::target_spec;

async fn position(store: &SqliteStore) -> u64 {
    store.news(Position::default(), Duration::ZERO).await.unwrap().0.0
}

#[tokio::test]
async fn those_who_come_meanwhile_are_stored_together_and_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("serin.db")).await.unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("t{number:02}")).collect();
    let specs = names.iter().map(|name| (name.clone(), target_spec(name))).collect();
    let handle = Handle::new(Arc::new(store.clone()), Arc::new(SystemClock::new()), BTreeMap::new(), specs);
    let parts = Parts {
        handle,
        providers: BTreeMap::new(),
        routers: BTreeMap::new(),
        workload: Arc::new(StaticPools),
        notifiers: BTreeMap::new(),
        routing: Routing::everything([]),
        words: Words::default(),
        gatekeeper: Arc::new(NoGatekeeper),
        failpoints: Arc::new(NoFailpoints),
        options: Options::default(),
    };
    let engine = Engine::load(parts).await.unwrap();
    let before = position(&store).await;
    let commit = |mut target: Target| {
        target.stable_version = Some("v2".to_owned());
        // Somebody else has changed this one.
        target.revision += u64::from(target.name == "t07");
        let commit = Commit { target: Some(target), ..Commit::default() };
        engine.world.perform("any", Job::Commit(Box::new(commit)))
    };
    let results = join_all(store.targets().await.unwrap().into_iter().map(commit)).await;
    for (name, result) in names.iter().zip(results) {
        let Ok(Outcome::Stored(stored)) = result else { panic!("{name}: {result:?}") };
        assert_eq!(stored.is_err(), name == "t07", "{name}: {stored:?}");
    }
    // The first one waited for nobody, and all others for it.
    assert_eq!(position(&store).await - before, 2);
    let stored = store.targets().await.unwrap();
    assert_eq!(stored.iter().filter(|target| target.stable_version.as_deref() == Some("v2")).count(), 39);
    store.close().await;
}
