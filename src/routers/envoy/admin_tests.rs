//! Envoy's pages as they are read.

use super::*;
use crate::core::spec::Pool;
use crate::core::split::{Split, Weight};

fn route(canary: &str, weight: u16) -> Route {
    let pool = |name: &str| Pool { backend: name.to_owned(), ..Pool::default() };
    Route {
        target: "shop".into(),
        route: "routing.shop".into(),
        pools: BTreeMap::from([(Role::Stable, pool("shop-a")), (Role::Canary, pool(canary))]),
        split: Split::canary(Weight(weight), false),
        generation: 1,
        nodes: BTreeMap::new(),
    }
}

fn wanted() -> BTreeSet<String> {
    ["shop-a", "shop-b", "shop-x"].map(str::to_owned).into()
}

const CLUSTERS: &str = r#"{"cluster_statuses": [
    {"name": "shop-a", "host_statuses": [
        {"health_status": {"eds_health_status": "HEALTHY"}},
        {"health_status": {"eds_health_status": "HEALTHY", "failed_active_health_check": true}},
        {"health_status": {"eds_health_status": "DRAINING"}},
        {"health_status": {"eds_health_status": "UNHEALTHY"}},
        {"health_status": {"failed_outlier_check": true}},
        {}]},
    {"name": "shop-b"},
    {"name": "other", "host_statuses": [{}]}]}"#;

fn admin(proxies: Vec<Proxy>) -> Admin {
    let urls = proxies.iter().map(|_| String::new()).collect();
    let state = Mutex::new(State { asked_at: None, is_reading: false, proxies });
    Admin { urls, client: reqwest::Client::new(), state }
}

/// A proxy that was read twice, ten seconds apart.
fn proxy(clusters: &str, before: &str, after: &str) -> Proxy {
    let mut proxy =
        Proxy { clusters: hosts_of(clusters.as_bytes(), &wanted()).ok(), trail: Trail::default() };
    for (at, page) in [(0, before), (10, after)] {
        proxy.trail.add(Duration::from_secs(at), counters(page.as_bytes(), &wanted()));
    }
    proxy
}

fn page(a: u64, none_healthy: u64, unrouted: u64) -> String {
    format!(
        "cluster.other.upstream_rq_total: 9\ncluster.shop-a.lb_healthy_panic: 0\n\
         cluster.shop-a.upstream_rq_total: {a}\ncluster.shop-b.upstream_cx_none_healthy: {none_healthy}\n\
         cluster.shop-b.upstream_rq_total: 0\nhttp.admin.no_route: 77\nhttp.front.no_cluster: {unrouted}\n\
         http.front.no_route: 0\n"
    )
}

#[test]
fn hosts_are_counted_by_their_health() {
    let admin = admin(vec![proxy(CLUSTERS, &page(0, 0, 0), &page(100, 0, 0))]);
    let pools = admin.pools(&route("shop-b", 0));
    let stable = &pools[&Role::Stable];
    assert_eq!((stable.servers, stable.up, stable.draining, stable.down()), (6, 2, 1, 3));
    assert_eq!((stable.requests, stable.panic), (Some(100), false));
    assert_eq!(pools[&Role::Canary], PoolState { requests: Some(0), ..PoolState::default() });
    let missing = &admin.pools(&route("shop-x", 0))[&Role::Canary];
    assert_eq!(missing.missing.as_deref(), Some("the cluster shop-x"));
}

#[test]
fn requests_without_a_host_are_the_clusters_own() {
    let admin = admin(vec![proxy(CLUSTERS, &page(0, 0, 0), &page(5, 60, 1_000))]);
    let front = admin.front(&route("shop-b", 10_000)).unwrap();
    assert_eq!((front.requests, front.unanswerable, front.over), (65, 60, Duration::from_secs(10)));
    assert_eq!(front.how, "Envoy had no healthy host in the cluster shop-b (503, UH)");
}

#[test]
fn requests_without_a_route_count_only_where_the_targets_own_cluster_is_not_known() {
    let admin = admin(vec![proxy(CLUSTERS, &page(0, 0, 5), &page(0, 0, 45))]);
    let front = admin.front(&route("shop-x", 10_000)).unwrap();
    assert_eq!((front.requests, front.unanswerable), (40, 40));
    assert_eq!(front.how, "Envoy does not know the cluster shop-x (NC, NR)");
    // Somebody else's misspelling, or an unknown path.
    assert_eq!(admin.front(&route("shop-b", 10_000)).unwrap().unanswerable, 0);
    assert_eq!(admin.front(&route("shop-x", 0)).unwrap().unanswerable, 0, "it has no weight");
}

#[test]
fn proxies_that_cannot_be_read_prove_nothing() {
    let silent = || Proxy { clusters: None, ..proxy(CLUSTERS, &page(0, 0, 0), &page(0, 50, 0)) };
    let nothing = admin(vec![silent()]);
    assert_eq!((nothing.pools(&route("shop-b", 0)).len(), nothing.front(&route("shop-b", 0))), (0, None));
    let one = admin(vec![silent(), proxy(CLUSTERS, &page(0, 0, 0), &page(10, 0, 0))]);
    assert_eq!(one.pools(&route("shop-b", 0))[&Role::Stable].up, 2);
    assert_eq!(one.front(&route("shop-b", 0)).unwrap().requests, 10);
    assert!(hosts_of(b"<html>", &wanted()).is_err());
}
