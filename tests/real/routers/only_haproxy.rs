//! What only HAProxy shows: its refusals, its own weights after a restart, and kept sessions.

use serin::core::pools::ObservedSplit;
use serin::core::split::{Role, Split};
use serin::ports::{Route, RouterError, TrafficRouter};
use serin::routers::haproxy::KeptSessions;
use tempfile::TempDir;

use super::Rig;
use super::parts::{DEADLINE, Service, assert_share, canary, drive, load, route};
use super::rigs::{HaproxyRig, haproxy_router};
use crate::testkit::haproxy::{Haproxy, HaproxyBackend};
use crate::testkit::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_is_driven_over_tcp_too() {
    let rig = HaproxyRig::start().await;
    let router = haproxy_router(&format!("tcp:127.0.0.1:{}", rig.haproxy.socket_port), KeptSessions::Drain);
    drive(&*router, &route("shop", canary(500), 2)).await;
    let text = rig.haproxy.ask("get weight shop/shop-canary").await;
    assert!(text.starts_with("1 (initial 0)"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_haproxy_refuses_is_said_with_what_would_be_right() {
    let rig = HaproxyRig::start().await;
    let refused = async |router: &dyn TrafficRouter, route: &Route| match router.apply(route).await {
        Err(RouterError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let mut nowhere = route("shop", canary(500), 2);
    nowhere.route = "shopp".into();
    let why = refused(&*rig.router, &nowhere).await;
    assert!(why.contains("no backend `shopp`; there are: shop, cart"), "{why}");
    let mut unknown = route("shop", canary(500), 2);
    unknown.pools.get_mut(&Role::Canary).unwrap().backend = "shop-canary,other".into();
    let why = refused(&*rig.router, &unknown).await;
    assert!(why.contains("no server `other`; it has: shop-stable, shop-canary"), "{why}");
    let why = refused(&*rig.router, &route("shop", canary(1), 2)).await;
    assert!(why.contains("the smallest canary with these servers is 0.39%"), "{why}");
    let user = haproxy_router(rig.haproxy.user_socket.to_str().unwrap(), KeptSessions::Drain);
    let why = refused(&*user, &route("shop", canary(500), 2)).await;
    assert!(why.contains("Permission denied") && why.contains("level admin"), "{why}");
    let fixed = HaproxyRig::with(KeptSessions::Drain, &["balance static-rr"]).await;
    let why = refused(&*fixed.router, &route("shop", canary(500), 2)).await;
    assert!(why.contains("static LB algorithm") && why.contains("balance roundrobin"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_haproxy_that_is_away_is_unreachable_and_found_again_with_its_own_weights() {
    let mut rig = HaproxyRig::start().await;
    let wanted = route("shop", canary(2_500), 2);
    drive(&*rig.router, &wanted).await;
    rig.haproxy.kill();
    for outcome in [rig.router.apply(&wanted).await, rig.router.observe(&wanted).await.map(|_| ())] {
        assert!(matches!(outcome, Err(RouterError::Unreachable(_))), "{outcome:?}");
    }
    rig.haproxy.start_again().await;
    assert_eq!(rig.router.observe(&wanted).await.unwrap().split, Some(Split::STABLE));
    drive(&*rig.router, &wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_of_several_servers_gets_its_share_of_the_traffic() {
    let services =
        [Service::start().await, Service::start().await, Service::start().await, Service::start().await];
    let names = ["a", "b", "c", "d"];
    let servers: Vec<(&str, u16)> = names.iter().zip(&services).map(|(name, s)| (*name, s.port)).collect();
    let folder = TempDir::new().unwrap();
    let haproxy = Haproxy::start(folder.path(), &[HaproxyBackend::new("/", "shop", &servers)]).await;
    let router = haproxy_router(haproxy.socket.to_str().unwrap(), KeptSessions::Drain);
    let mut wanted = route("shop", canary(2_000), 2);
    wanted.pools.get_mut(&Role::Stable).unwrap().backend = "a,b,c".into();
    wanted.pools.get_mut(&Role::Canary).unwrap().backend = "d".into();
    drive(&*router, &wanted).await;
    load(&haproxy.url("/"), 4_000).await;
    let counts = services.each_ref().map(Service::take);
    assert_eq!(counts.iter().sum::<u64>(), 4_000);
    assert_share(counts[3], 4_000, 0.2);
    for count in &counts[..3] {
        assert_share(*count, 4_000, 0.8 / 3.0);
    }
}

/// A client with the canary's cookie: what it meets when the canary is taken to 0.
async fn kept(rig: &HaproxyRig) -> (u64, u64) {
    drive(rig.router(), &route("shop", Split::STABLE, 9)).await;
    rig.services.take("shop");
    let client = reqwest::Client::new();
    for _ in 0..20 {
        let request = client.get(rig.haproxy.url("/shop")).header("cookie", "SERVER=shop-canary");
        request.send().await.unwrap().error_for_status().unwrap();
    }
    rig.services.take("shop")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_sessions_reach_a_drained_canary_but_not_one_that_is_shut_down() {
    let lines = ["balance roundrobin", "cookie SERVER insert"];
    let drained = HaproxyRig::with(KeptSessions::Drain, &lines).await;
    drive(drained.router(), &route("shop", canary(5_000), 2)).await;
    assert_eq!(kept(&drained).await, (0, 20), "HAProxy honours the cookie at weight 0");

    let shut = HaproxyRig::with(KeptSessions::Shutdown, &lines).await;
    drive(shut.router(), &route("shop", canary(5_000), 2)).await;
    assert_eq!(kept(&shut).await, (20, 0));
    drive(shut.router(), &route("shop", canary(5_000), 10)).await;
    let (stable, of_canary) = shut.send("shop", 400).await;
    assert_eq!((stable, of_canary), (200, 200), "the canary is ready again");
}

/// Requests that nobody answers but HAProxy.
async fn refused(url: &str, n: u64) {
    let client = reqwest::Client::new();
    for _ in 0..n {
        assert_eq!(client.get(url).send().await.unwrap().status(), 503);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_the_servers_and_requests_that_none_took_are_told() {
    let service = Service::start().await;
    let nobody = crate::testkit::process::free_port();
    let servers = [("a", service.port), ("b", nobody), ("c", nobody)];
    let folder = TempDir::new().unwrap();
    let lines = ["balance roundrobin", "default-server check inter 100ms fall 1 rise 1"];
    let lines = lines.map(str::to_owned).into();
    let backend = HaproxyBackend { lines, ..HaproxyBackend::new("/", "shop", &servers) };
    let haproxy = Haproxy::start(folder.path(), &[backend]).await;
    let router = haproxy_router(haproxy.socket.to_str().unwrap(), KeptSessions::Drain);
    let mut wanted = route("shop", canary(10_000), 2);
    wanted.pools.get_mut(&Role::Stable).unwrap().backend = "a".into();
    wanted.pools.get_mut(&Role::Canary).unwrap().backend = "b,c".into();
    drive(&*router, &wanted).await;
    let until = async |what: &str, is: fn(&ObservedSplit) -> bool| {
        wait::until(what, DEADLINE, || async {
            let observed = router.observe(&wanted).await.unwrap();
            is(&observed).then_some(observed)
        })
        .await
    };
    until("the canary down", |seen| seen.pools[&Role::Canary].down() == 2 && seen.front.is_some()).await;
    refused(&haproxy.url("/"), 60).await;
    let seen = until("60 requests", |seen| seen.front.as_ref().is_some_and(|f| f.unanswerable == 60)).await;
    assert_eq!(seen.front.as_ref().map(|front| front.requests), Some(60));
    assert_eq!((seen.pools[&Role::Stable].servers, seen.pools[&Role::Stable].up), (1, 1), "{seen:?}");
    assert_eq!(seen.explains().as_deref(), Some("2 of 2 canary servers are down"));

    haproxy.ask("set server shop/a state drain").await;
    until("drained", |seen| seen.pools[&Role::Stable].draining == 1).await;
    haproxy.ask("set server shop/a state maint").await;
    until("in maintenance", |seen| seen.pools[&Role::Stable].maintenance == 1).await;
    haproxy.ask("set server shop/a state ready").await;
    until("up again", |seen| seen.pools[&Role::Stable].up == 1).await;
}
