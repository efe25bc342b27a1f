use super::*;
use crate::core::spec::Pool;
use crate::core::split::{Role, Split, Weight};
use crate::routers::envoy::snapshot::Snapshot;

fn route(target: &str, canary: u16, generation: u64) -> Route {
    let pool = |name: &str| Pool { backend: name.to_owned(), ..Pool::default() };
    Route {
        target: target.to_owned(),
        route: target.to_owned(),
        pools: BTreeMap::from([(Role::Stable, pool("blue")), (Role::Canary, pool("green"))]),
        split: Split::canary(Weight(canary), false),
        generation,
        nodes: BTreeMap::new(),
    }
}

fn routes(routes: &[Route]) -> BTreeMap<String, Route> {
    routes.iter().map(|route| (route.target.clone(), route.clone())).collect()
}

/// What a proxy repeats that has accepted a layer of these.
fn version(routes: &[Route]) -> String {
    Snapshot::new("serin", routes).unwrap().version
}

fn kept(earlier: &Earlier, route: &Route) -> Option<(u64, u16)> {
    earlier.kept(route).map(|kept| (kept.generation, kept.split.canary.0))
}

#[test]
fn what_is_newer_than_the_store_is_kept_until_the_target_is_applied() {
    let stored = routes(&[route("a", 0, 1), route("b", 2_500, 7), route("c", 500, 9)]);
    let mut earlier = Earlier::default();
    assert!(earlier.loaded(&stored).is_empty());
    // An older backup of `a`; `b` is as stored, and the proxy lags behind in `c`.
    let held = version(&[route("a", 2_500, 6), route("b", 2_500, 7), route("c", 2_500, 8)]);
    assert_eq!(earlier.opened(1, &held, &stored), ["a"]);
    assert_eq!(kept(&earlier, &stored["a"]), Some((6, 2_500)));
    assert_eq!((kept(&earlier, &stored["b"]), kept(&earlier, &stored["c"])), (None, None));
    // What the engine has not been told of is no decision.
    assert!(!earlier.ends_with(&stored["a"]));
    assert_eq!(earlier.tell(&stored["a"]).map(|told| told.generation), Some(6));
    assert!(earlier.ends_with(&stored["a"]));
    let decided = route("a", 0, 7);
    assert_eq!(earlier.tell(&decided), None, "the engine has gone on");
    earlier.decide("a");
    assert_eq!(kept(&earlier, &decided), None);
    assert!(earlier.opened(2, &version(&[route("a", 5_000, 9)]), &stored).is_empty(), "it is decided");
}

#[test]
fn what_was_said_before_the_store_was_read_counts() {
    let mut earlier = Earlier::default();
    let none = BTreeMap::new();
    assert!(earlier.opened(1, &version(&[route("a", 10_000, 6)]), &none).is_empty());
    assert!(earlier.opened(2, &version(&[route("b", 500, 6)]), &none).is_empty());
    earlier.over(2);
    let stored = routes(&[route("a", 0, 1), route("b", 0, 1)]);
    assert_eq!(earlier.loaded(&stored), ["a"]);
    assert!(earlier.loaded(&stored).is_empty(), "nothing new");
}

#[test]
fn the_newest_counts_and_the_same_weights_are_nothing_new() {
    let stored = routes(&[route("a", 500, 3)]);
    let mut earlier = Earlier::default();
    earlier.loaded(&stored);
    assert!(earlier.opened(1, &version(&[route("a", 500, 5)]), &stored).is_empty());
    assert_eq!(earlier.opened(2, &version(&[route("a", 2_500, 6)]), &stored), ["a"]);
    assert!(earlier.opened(3, &version(&[route("a", 1_000, 4)]), &stored).is_empty());
    assert_eq!(kept(&earlier, &stored["a"]), Some((6, 2_500)));
    assert_eq!(earlier.opened(4, &version(&[route("a", 0, 8)]), &stored), ["a"]);
    assert_eq!(kept(&earlier, &stored["a"]), Some((8, 0)));
}

#[test]
fn a_version_that_cannot_be_read_matters_to_a_store_that_has_decided_nothing() {
    let fresh = routes(&[route("a", 0, 1)]);
    let now = version(&[route("a", 0, 1)]);
    let mut earlier = Earlier::default();
    earlier.loaded(&fresh);
    for (stream, held) in ["12-0a1b2c3d", "garbage", "12-0a1b2c3d/1/no/no"].iter().enumerate() {
        assert!(earlier.opened(stream as u64, held, &fresh).is_empty());
        assert_eq!(earlier.unknown(stream as u64, &now), Some(version::name_of(held)));
    }
    // An older Serin wrote the first part of the same layer.
    earlier.opened(7, version::name_of(&now), &fresh);
    assert_eq!(earlier.unknown(7, &now), None);
    earlier.opened(8, "", &fresh);
    assert_eq!(earlier.unknown(8, &now), None);
    // A store that has decided something is not lost: it is right, as before.
    let mut earlier = Earlier::default();
    let known = routes(&[route("a", 0, 1), route("b", 0, 2)]);
    earlier.loaded(&known);
    earlier.opened(1, "12-0a1b2c3d", &known);
    assert_eq!(earlier.unknown(1, &now), None);
}
