//! The RTDS server after a store was lost or restored: what proxies have from an earlier process.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use serin::core::pools::Unstored;
use serin::core::split::{Role, Split};
use serin::ports::{Route, TrafficRouter};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::rtds::{Proxy, Rtds, hello, shop, weights};
use super::{canary, route};

/// The version that a proxy has of a process with these routes.
async fn version(routes: &[Route]) -> String {
    Rtds::loaded(routes).await.join("one").await.layer().await.version_info
}

async fn back(rtds: &Rtds, id: &str, version: &str) -> Proxy {
    rtds.open(DiscoveryRequest { version_info: version.into(), ..hello(id) }).await.unwrap()
}

fn fresh() -> Route {
    route("shop", Split::STABLE, 1)
}

#[tokio::test]
async fn what_a_proxy_has_stays_until_the_target_is_applied() {
    let held = version(&[route("shop", canary(2_500), 6)]).await;
    let rtds = Rtds::loaded(&[fresh()]).await;
    let mut new = rtds.join("new").await;
    assert_eq!(
        weights(&new.layer().await),
        shop(10_000.0, 0.0),
        "a proxy without anything is not kept waiting"
    );
    let mut one = back(&rtds, "one", &held).await;
    let layer = one.layer().await;
    assert_eq!(weights(&layer), shop(7_500.0, 2_500.0));
    assert_eq!(weights(&new.layer().await), shop(7_500.0, 2_500.0), "and then has what the others have");
    drop(new);
    one.answer(&layer, None).await;
    let observed = rtds.until("accepted", &fresh(), |o| o.split.is_some() && o.nodes.len() == 2).await;
    assert_eq!(observed.split, Some(canary(2_500)));
    assert_eq!(observed.unstored, Some(Unstored { split: canary(2_500), generation: 6 }));
    assert_eq!(observed.nodes["one"].generation, 0, "nobody has confirmed what is stored");

    // The next process finds the same.
    let again = Rtds::loaded(&[fresh()]).await;
    let mut same = back(&again, "one", &layer.version_info).await;
    assert_eq!(weights(&same.layer().await), shop(7_500.0, 2_500.0));
    assert_eq!(again.router.observe(&fresh()).await.unwrap().unstored, observed.unstored);

    let zero = route("shop", Split::STABLE, 7);
    let before = rtds.router.observe(&zero).await.unwrap();
    assert_eq!((before.split, before.unstored), (None, None), "decided, and not applied yet");
    rtds.router.apply(&zero).await.unwrap();
    let layer = one.layer().await;
    assert_eq!(weights(&layer), shop(10_000.0, 0.0));
    one.answer(&layer, None).await;
    rtds.until("accepted", &zero, |o| o.split == Some(Split::STABLE) && o.unstored.is_none()).await;
    let mut late = back(&rtds, "late", &held).await;
    assert_eq!(weights(&late.layer().await), shop(10_000.0, 0.0), "it is decided");
}

#[tokio::test]
async fn other_targets_are_rolled_back_meanwhile() {
    let cart = |split, generation| route("cart", split, generation);
    let held = version(&[route("shop", canary(2_500), 6), cart(canary(500), 3)]).await;
    let rtds = Rtds::loaded(&[fresh(), cart(canary(500), 3)]).await;
    let mut one = back(&rtds, "one", &held).await;
    let layer = one.layer().await;
    one.answer(&layer, None).await;
    rtds.until("accepted", &cart(canary(500), 3), |o| o.split == Some(canary(500))).await;
    rtds.router.apply(&cart(Split::STABLE, 4)).await.unwrap();
    let mut wanted = shop(7_500.0, 2_500.0);
    wanted.extend([("cart.stable".to_owned(), 10_000.0), ("cart.canary".to_owned(), 0.0)]);
    assert_eq!(weights(&one.layer().await), wanted);
}

#[tokio::test]
async fn applying_what_is_stored_before_anything_was_told_is_no_decision() {
    let held = version(&[route("shop", canary(2_500), 6)]).await;
    let rtds = Rtds::loaded(&[route("shop", Split::STABLE, 3)]).await;
    let stored = route("shop", Split::STABLE, 3);
    rtds.router.apply(&stored).await.unwrap();
    let mut one = back(&rtds, "one", &held).await;
    rtds.router.apply(&stored).await.unwrap();
    assert_eq!(weights(&one.layer().await), shop(7_500.0, 2_500.0));
    // A rollout that has the target, and is told: what it wants is driven.
    assert!(rtds.router.observe(&stored).await.unwrap().unstored.is_some());
    rtds.router.apply(&stored).await.unwrap();
    assert_eq!(weights(&one.layer().await), shop(10_000.0, 0.0));
}

#[tokio::test]
async fn a_rollback_is_not_kept_waiting_by_what_nobody_was_told_of() {
    let held = version(&[route("shop", canary(2_500), 6)]).await;
    let rtds = Rtds::loaded(&[route("shop", canary(500), 3)]).await;
    let mut one = back(&rtds, "one", &held).await;
    one.layer().await;
    rtds.router.apply(&route("shop", Split::STABLE, 4)).await.unwrap();
    assert_eq!(weights(&one.layer().await), shop(10_000.0, 0.0));
}

#[tokio::test]
async fn pools_that_have_changed_places_are_found_in_the_roles_that_the_store_knows() {
    let mut promoted = route("shop", Split::STABLE, 6);
    let pools = [(Role::Stable, Role::Canary), (Role::Canary, Role::Stable)];
    promoted.pools = pools.map(|(role, was)| (role, promoted.pools[&was].clone())).into();
    let held = version(std::slice::from_ref(&promoted)).await;
    let rtds = Rtds::bound().await;
    let mut one = back(&rtds, "one", &held).await;
    rtds.until("connected", &fresh(), |o| o.nodes.contains_key("one")).await;
    rtds.router.load(&[fresh()]).await.unwrap();
    assert_eq!(weights(&one.layer().await), shop(0.0, 10_000.0));
    let unstored = rtds.router.observe(&fresh()).await.unwrap().unstored;
    assert_eq!(unstored.map(|unstored| unstored.split), Some(canary(10_000)));
    // Adopted: the same weights in other roles.
    promoted.generation = 7;
    rtds.router.apply(&promoted).await.unwrap();
    let layer = one.layer().await;
    assert_eq!(weights(&layer), shop(0.0, 10_000.0));
    one.answer(&layer, None).await;
    rtds.until("accepted", &promoted, |o| o.split == Some(Split::STABLE)).await;
}

#[tokio::test]
async fn delta_streams_say_what_they_have() {
    let held = version(&[route("shop", canary(2_500), 6)]).await;
    let rtds = Rtds::loaded(&[fresh()]).await;
    let (say, said) = mpsc::channel(16);
    let hello = DeltaDiscoveryRequest {
        node: Some(Node { id: "one".into(), ..Node::default() }),
        resource_names_subscribe: vec!["serin".into()],
        initial_resource_versions: [("other".to_owned(), "5".to_owned()), ("serin".to_owned(), held)].into(),
        ..DeltaDiscoveryRequest::default()
    };
    say.send(hello).await.unwrap();
    let answers = rtds.client().await.delta_runtime(ReceiverStream::new(said)).await.unwrap();
    let layer = answers.into_inner().message().await.unwrap().unwrap();
    assert!(layer.resources[0].version.starts_with("6-"), "{}", layer.resources[0].version);
    let unstored = rtds.router.observe(&fresh()).await.unwrap().unstored;
    assert_eq!(unstored, Some(Unstored { split: canary(2_500), generation: 6 }));
}

#[tokio::test]
async fn a_version_that_cannot_be_read_changes_nothing_while_the_store_has_decided_nothing() {
    let rtds = Rtds::loaded(&[fresh()]).await;
    for held in ["7-0a1b2c3d", "garbage", "7-0a1b2c3d/1/6.xyz.1xc/wrong", "/1//"] {
        let one = back(&rtds, "one", held).await;
        let refused =
            |o: &serin::core::pools::ObservedSplit| o.nodes.get("one").is_some_and(|n| n.refused.is_some());
        let observed = rtds.until("not answered", &fresh(), refused).await;
        let why = observed.nodes["one"].refused.as_deref().unwrap_or_default();
        assert!(why.contains("cannot be read") && why.contains("restart it"), "{why}");
        assert_eq!((observed.split, observed.unstored), (None, None));
        // Whoever has nothing is answered, and a target that is given a new split is worth more than what is unknown.
        let mut new = rtds.join("new").await;
        assert_eq!(weights(&new.layer().await), shop(10_000.0, 0.0));
        drop(new);
        let other = Rtds::loaded(&[route("shop", canary(500), 3)]).await;
        let mut same = back(&other, "one", held).await;
        assert_eq!(weights(&same.layer().await), shop(9_500.0, 500.0), "a store that has decided is right");
        drop(one);
        rtds.until("gone", &fresh(), |o| !o.nodes["one"].connected).await;
    }
    // An older Serin wrote only the first part; with the same state it is the same layer.
    let now = version(&[fresh()]).await;
    let first = now.split('/').next().unwrap_or_default();
    let mut one = back(&rtds, "same", first).await;
    assert_eq!(weights(&one.layer().await), shop(10_000.0, 0.0));
}
