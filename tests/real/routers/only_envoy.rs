//! What only proxies show that Serin serves: they restart, join, are cut off and refuse.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::envoy::service::runtime::v3::runtime_discovery_service_client::RuntimeDiscoveryServiceClient;
use envoy_types::pb::envoy::service::runtime::v3::runtime_discovery_service_server::{
    RuntimeDiscoveryService, RuntimeDiscoveryServiceServer,
};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Value};
use futures::{Stream, StreamExt};
use prost::Message;
use serin::core::pools::{NodeRecord, ObservedSplit};
use serin::core::split::{Role, Split};
use serin::ports::{Route, TrafficRouter};
use serin::routers::envoy::EnvoyRouter;
use tempfile::TempDir;
use tonic::{Request, Response, Status, Streaming};

use super::Rig;
use super::parts::{DEADLINE, Service as Backend, assert_share, canary, drive, route, seen};
use super::rigs::{EnvoyRig, Services, envoy_options, envoy_router, envoy_router_with, first_routes};
use crate::testkit::envoy::{Envoy, EnvoyOptions, Link, Relay};
use crate::testkit::wait;

/// Waits for a record of a proxy.
async fn node(
    router: &EnvoyRouter,
    route: &Route,
    id: &str,
    is: impl Fn(&NodeRecord) -> bool,
) -> ObservedSplit {
    wait::until(&format!("{id} as wanted"), DEADLINE, || async {
        let observed = router.observe(route).await.unwrap();
        observed.nodes.get(id).is_some_and(&is).then_some(observed)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_restarts_has_its_weights_again() {
    let mut rig = EnvoyRig::start().await;
    let wanted = route("shop", canary(2_500), 2);
    drive(&*rig.router, &wanted).await;
    rig.envoy.kill();
    let observed = node(&rig.router, &wanted, "one", |node| !node.connected).await;
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 2));
    rig.envoy.start_again().await;
    seen(&*rig.router, &wanted).await;
    assert_eq!(rig.envoy.runtime("shop.shop-canary").await, Some(2_500));
    let (_, of_canary) = rig.send("shop", 4_000).await;
    assert_share(of_canary, 4_000, 0.25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_joins_has_the_weights_and_counts() {
    let rig = EnvoyRig::start().await;
    let wanted = route("shop", canary(10_000), 2);
    drive(&*rig.router, &wanted).await;
    let second = rig.join("two", rig.router.local_addr()).await;
    let observed = node(&rig.router, &wanted, "two", |node| node.generation == 2).await;
    assert_eq!((observed.split, observed.nodes.len()), (Some(wanted.split), 2));
    assert_eq!(rig.send_to(&second, "shop", 400).await, (0, 400));
    let back = route("shop", Split::STABLE, 3);
    drive(&*rig.router, &back).await;
    for envoy in [&rig.envoy, &second] {
        assert_eq!(rig.send_to(envoy, "shop", 400).await, (400, 0));
    }
}

/// However the connection is lost, closed or silent, the proxy goes on with what it has, is reported,
/// hides nothing of the others, and follows as soon as it can.
async fn cut_off(link: Link) {
    let rig = EnvoyRig::start().await;
    let relay = Relay::start(rig.router.local_addr()).await;
    let second = rig.join("two", relay.address).await;
    let at_quarter = route("shop", canary(2_500), 2);
    drive(&*rig.router, &at_quarter).await;
    node(&rig.router, &at_quarter, "two", |node| node.generation == 2).await;
    relay.set(link);
    let back = route("shop", Split::STABLE, 3);
    let cut = node(&rig.router, &back, "two", |node| !node.connected).await;
    assert_eq!(cut.nodes["two"].generation, 2);
    let observed = drive(&*rig.router, &back).await;
    assert_eq!((observed.nodes["one"].generation, observed.nodes["two"].generation), (3, 2));
    assert_eq!(rig.send("shop", 400).await, (400, 0));
    let (_, of_canary) = rig.send_to(&second, "shop", 4_000).await;
    assert_share(of_canary, 4_000, 0.25);
    relay.set(Link::Whole);
    node(&rig.router, &back, "two", |node| node.connected && node.generation == 3).await;
    seen(&*rig.router, &back).await;
    assert_eq!(rig.send_to(&second, "shop", 400).await, (400, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_is_cut_off_is_reported() {
    cut_off(Link::Closed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_falls_silent_is_noticed() {
    cut_off(Link::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_envoy_is_answered_before_the_stored_state_is_loaded() {
    let (services, router) = (Services::start().await, envoy_router().await);
    let folder = TempDir::new().unwrap();
    let stored = route("shop", canary(2_500), 7);
    router.apply(&stored).await.unwrap();
    // It starts with the weights of its bootstrap, after it has waited for Serin in vain.
    let envoy = Envoy::start(folder.path(), &envoy_options("one", router.local_addr(), &services)).await;
    let observed = node(&router, &stored, "one", |node| node.connected).await;
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 0));
    assert_eq!(envoy.runtime("shop.shop-canary").await, None);
    router.load(&[stored.clone(), route("cart", Split::STABLE, 1)]).await.unwrap();
    seen(&*router, &stored).await;
    assert_eq!(envoy.runtime("shop.shop-canary").await, Some(2_500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_closes_streams_until_it_is_back() {
    let rig = EnvoyRig::start().await;
    let wanted = route("shop", canary(2_500), 2);
    drive(&*rig.router, &wanted).await;
    rig.router.authority(false).await;
    let observed = node(&rig.router, &wanted, "one", |node| !node.connected).await;
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 2));
    // It asks again and again, is refused, and goes on with what it has.
    let refusals =
        || async { (rig.envoy.stat("cluster.serin_rtds.upstream_rq_total").await >= 3).then_some(()) };
    wait::until("new streams are refused", DEADLINE, refusals).await;
    let observed = rig.router.observe(&wanted).await.unwrap();
    assert!(!observed.nodes["one"].connected);
    assert_eq!(rig.envoy.runtime("shop.shop-canary").await, Some(2_500));
    rig.router.authority(true).await;
    seen(&*rig.router, &wanted).await;
}

/// Envoy has no reason to refuse weights, so this stands between both and, while it spoils, adds a value
/// to the layer that Envoy does not take, a list. What Envoy answers goes to Serin as it is.
struct Spoiler {
    onward: RuntimeDiscoveryServiceClient<tonic::transport::Channel>,
    spoils: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl RuntimeDiscoveryService for Spoiler {
    type StreamRuntimeStream = Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;
    type DeltaRuntimeStream = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn stream_runtime(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamRuntimeStream>, Status> {
        let said = request.into_inner().take_while(|said| std::future::ready(said.is_ok()));
        let answers =
            self.onward.clone().stream_runtime(said.filter_map(|said| std::future::ready(said.ok()))).await?;
        let spoils = Arc::clone(&self.spoils);
        Ok(Response::new(Box::pin(answers.into_inner().map(move |answer| {
            let mut answer = answer?;
            if spoils.load(Ordering::SeqCst) {
                let resource = &mut answer.resources[0];
                let mut runtime = Runtime::decode(resource.value.as_slice()).expect("a runtime layer");
                let spoilt = Value { kind: Some(Kind::ListValue(ListValue::default())) };
                runtime.layer.get_or_insert_default().fields.insert("spoilt".into(), spoilt);
                resource.value = runtime.encode_to_vec();
            }
            Ok(answer)
        }))))
    }

    async fn delta_runtime(
        &self,
        _request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaRuntimeStream>, Status> {
        Err(Status::unimplemented("not spoilt"))
    }

    async fn fetch_runtime(
        &self,
        _request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("not spoilt"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_refuses_is_reported_with_its_reason_until_it_accepts() {
    let rig = EnvoyRig::start().await;
    let spoils = Arc::new(AtomicBool::new(false));
    let onward = RuntimeDiscoveryServiceClient::connect(format!("http://{}", rig.router.local_addr())).await;
    let spoiler = Spoiler { onward: onward.unwrap(), spoils: Arc::clone(&spoils) };
    let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(RuntimeDiscoveryServiceServer::new(spoiler));
    tokio::spawn(server.serve_with_incoming(incoming));

    let second = rig.join("two", address).await;
    let first = route("shop", canary(2_500), 2);
    drive(&*rig.router, &first).await;
    node(&rig.router, &first, "two", |node| node.generation == 2).await;
    spoils.store(true, Ordering::SeqCst);
    let back = route("shop", Split::STABLE, 3);
    rig.router.apply(&back).await.unwrap();
    let observed = node(&rig.router, &back, "two", |node| node.refused.is_some()).await;
    let why = observed.nodes["two"].refused.as_deref().unwrap();
    assert!(why.contains("Invalid runtime entry value") && why.contains("spoilt"), "{why}");
    assert_eq!((observed.split, observed.nodes["two"].generation), (None, 2));
    assert_eq!(second.runtime("shop.shop-canary").await, Some(2_500), "it goes on with what it has");
    let cart = route("cart", Split::STABLE, 1);
    assert_eq!(seen(&*rig.router, &cart).await.nodes["two"].refused, None, "the other target is as it was");

    // The reason goes away, and the same generation is applied again, as the engine does all the time.
    spoils.store(false, Ordering::SeqCst);
    wait::until("it accepts", DEADLINE, || async {
        rig.router.apply(&back).await.unwrap();
        let observed = rig.router.observe(&back).await.unwrap();
        (observed.split == Some(back.split) && observed.nodes["two"].refused.is_none()).then_some(())
    })
    .await;
    assert_eq!(second.runtime("shop.shop-canary").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_heard_of() {
    let rig = EnvoyRig::start().await;
    let wanted = route("shop", canary(500), 2);
    rig.router.observe(&wanted).await.unwrap();
    rig.router.apply(&wanted).await.unwrap();
    tokio::time::timeout(DEADLINE, async {
        while rig.router.observe(&wanted).await.unwrap().split != Some(wanted.split) {
            rig.router.changed("shop").await;
        }
    })
    .await
    .expect("the acceptance wakes whoever waits");
}

/// An Envoy whose admin interface Serin reads, with a canary's cluster that has no host.
async fn hostless() -> (EnvoyRig, Backend) {
    let service = Backend::start().await;
    let admin_port = crate::testkit::process::free_port();
    let router = envoy_router_with(vec![format!("http://127.0.0.1:{admin_port}/")]).await;
    router.load(&first_routes()).await.unwrap();
    let clusters = [("shop-stable", service.port), ("shop-canary", 0)];
    let options = EnvoyOptions {
        admin_port: Some(admin_port),
        ..EnvoyOptions::new("one", router.local_addr(), "shop", &clusters)
    };
    let rig = EnvoyRig::of(router, &options).await;
    (rig, service)
}

async fn unanswered(url: &str, status: u16, n: u64) {
    let client = reqwest::Client::new();
    for _ in 0..n {
        assert_eq!(client.get(url).send().await.unwrap().status(), status);
    }
}

async fn front(
    rig: &EnvoyRig,
    wanted: &Route,
    what: &str,
    is: impl Fn(&ObservedSplit) -> bool,
) -> ObservedSplit {
    wait::until(what, DEADLINE, || async {
        let observed = rig.router.observe(wanted).await.unwrap();
        is(&observed).then_some(observed)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_requests_without_one_are_told() {
    let (rig, _service) = hostless().await;
    let wanted = route("shop", canary(10_000), 2);
    drive(&*rig.router, &wanted).await;
    // The workers have the new weights once they have answered a few.
    let seen = front(&rig, &wanted, "two readings", |seen| seen.front.is_some()).await;
    assert_eq!((seen.pools[&Role::Stable].up, seen.pools[&Role::Canary].servers), (1, 0), "{seen:?}");
    let client = reqwest::Client::new();
    wait::until("no host any more", DEADLINE, || async {
        let answer = client.get(rig.envoy.url("/shop")).send().await.unwrap();
        (answer.status() == 503).then_some(())
    })
    .await;
    unanswered(&rig.envoy.url("/shop"), 503, 60).await;
    let told = |seen: &ObservedSplit| seen.front.as_ref().is_some_and(|front| front.unanswerable >= 60);
    let seen = front(&rig, &wanted, "60 requests without a host", told).await;
    let found = seen.front.unwrap();
    assert!(found.requests < 2 * found.unanswerable, "{found:?}");
    assert_eq!(found.how, "Envoy had no healthy host in the cluster shop-canary (503, UH)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_envoy_does_not_know_is_told() {
    let (rig, _service) = hostless().await;
    let mut wanted = route("shop", canary(10_000), 2);
    wanted.pools.get_mut(&Role::Canary).unwrap().backend = "shop-kanary".into();
    drive(&*rig.router, &wanted).await;
    front(&rig, &wanted, "two readings", |seen| seen.front.is_some()).await;
    let client = reqwest::Client::new();
    wait::until("no route any more", DEADLINE, || async {
        let answer = client.get(rig.envoy.url("/shop")).send().await.unwrap();
        (answer.status() == 404).then_some(())
    })
    .await;
    unanswered(&rig.envoy.url("/shop"), 404, 60).await;
    let told = |seen: &ObservedSplit| seen.front.as_ref().is_some_and(|front| front.unanswerable >= 60);
    let seen = front(&rig, &wanted, "60 requests without a route", told).await;
    assert_eq!(seen.explains().as_deref(), Some("the router does not know the cluster shop-kanary (canary)"));
    assert_eq!(seen.front.unwrap().how, "Envoy does not know the cluster shop-kanary (NC, NR)");
}
