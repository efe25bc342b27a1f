//! The RTDS server against a proxy that says what it likes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::envoy::service::runtime::v3::runtime_discovery_service_client::RuntimeDiscoveryServiceClient;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::rpc::Status as RpcStatus;
use prost::Message;
use serin::core::pools::{NodeRecord, ObservedSplit};
use serin::core::split::Split;
use serin::core::time::Timestamp;
use serin::ports::{Clock, Route, RouterError, TrafficRouter};
use serin::routers::RouterConfig;
use serin::routers::envoy::{EnvoyConfig, EnvoyRouter};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{DEADLINE, FORGET, HandClock, canary, route};
use crate::testkit::wait;

pub(super) struct Rtds {
    pub(super) router: Arc<EnvoyRouter>,
    clock: Arc<HandClock>,
}

impl Rtds {
    pub(super) async fn bound() -> Rtds {
        let clock = Arc::new(HandClock(AtomicI64::new(0)));
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = EnvoyConfig { listen, layer: "serin".into(), forget_after: FORGET, admin: Vec::new() };
        let router = EnvoyRouter::bind(&config, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        Rtds { router, clock }
    }

    pub(super) async fn loaded(routes: &[Route]) -> Rtds {
        let rtds = Rtds::bound().await;
        rtds.router.load(routes).await.unwrap();
        rtds
    }

    pub(super) async fn client(&self) -> RuntimeDiscoveryServiceClient<tonic::transport::Channel> {
        let address = format!("http://{}", self.router.local_addr());
        RuntimeDiscoveryServiceClient::connect(address).await.unwrap()
    }

    /// Opens a stream with this first message.
    pub(super) async fn open(&self, first: DiscoveryRequest) -> Result<Proxy, Status> {
        let (say, said) = mpsc::channel(16);
        say.send(first).await.unwrap();
        let answers = self.client().await.stream_runtime(ReceiverStream::new(said)).await?.into_inner();
        Ok(Proxy { say, answers })
    }

    pub(super) async fn join(&self, id: &str) -> Proxy {
        self.open(hello(id)).await.unwrap()
    }

    pub(super) async fn until(
        &self,
        what: &str,
        route: &Route,
        is: impl Fn(&ObservedSplit) -> bool,
    ) -> ObservedSplit {
        wait::until(what, DEADLINE, || async {
            let observed = self.router.observe(route).await.unwrap();
            is(&observed).then_some(observed)
        })
        .await
    }
}

pub(super) fn hello(id: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(Node { id: id.into(), ..Node::default() }),
        resource_names: vec!["serin".into()],
        type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".into(),
        ..DiscoveryRequest::default()
    }
}

/// A proxy by hand.
pub(super) struct Proxy {
    say: mpsc::Sender<DiscoveryRequest>,
    answers: Streaming<DiscoveryResponse>,
}

impl Proxy {
    pub(super) async fn hear(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        tokio::time::timeout(DEADLINE, self.answers.message()).await.expect("an answer comes")
    }

    /// The next layer.
    pub(super) async fn layer(&mut self) -> DiscoveryResponse {
        self.hear().await.unwrap().expect("the stream goes on")
    }

    pub(super) async fn answer(&self, to: &DiscoveryResponse, refused: Option<&str>) {
        let version = if refused.is_some() { String::new() } else { to.version_info.clone() };
        let error = |why: &str| RpcStatus { code: 13, message: why.into(), ..RpcStatus::default() };
        let request = DiscoveryRequest {
            version_info: version,
            resource_names: vec!["serin".into()],
            response_nonce: to.nonce.clone(),
            error_detail: refused.map(error),
            ..DiscoveryRequest::default()
        };
        self.say.send(request).await.unwrap();
    }
}

pub(super) fn weights(layer: &DiscoveryResponse) -> BTreeMap<String, f64> {
    let runtime = Runtime::decode(layer.resources[0].value.as_slice()).unwrap();
    assert_eq!((runtime.name.as_str(), layer.resources.len()), ("serin", 1));
    let number = |kind: Option<Kind>| match kind {
        Some(Kind::NumberValue(number)) => number,
        other => panic!("{other:?}"),
    };
    runtime.layer.unwrap().fields.into_iter().map(|(key, value)| (key, number(value.kind))).collect()
}

pub(super) fn shop(stable: f64, canary: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([("shop.canary".to_owned(), canary), ("shop.stable".to_owned(), stable)])
}

#[tokio::test]
async fn a_split_is_seen_once_it_is_accepted() {
    let stored = route("shop", canary(500), 3);
    let rtds = Rtds::loaded(std::slice::from_ref(&stored)).await;
    let mut proxy = rtds.join("one").await;
    let layer = proxy.layer().await;
    assert_eq!(weights(&layer), shop(9_500.0, 500.0));
    assert!(layer.version_info.starts_with("3-"), "{}", layer.version_info);
    let observed = rtds.router.observe(&stored).await.unwrap();
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 0));
    proxy.answer(&layer, None).await;
    let observed = rtds.until("accepted", &stored, |o| o.split.is_some()).await;
    assert_eq!(observed.split, Some(stored.split));
    let record = NodeRecord { generation: 3, last_seen: rtds.clock.wall(), connected: true, refused: None };
    assert_eq!(observed.nodes, BTreeMap::from([("one".to_owned(), record)]));
}

#[tokio::test]
async fn nothing_is_answered_before_load_and_then_only_what_is_stored() {
    let rtds = Rtds::bound().await;
    let stored = route("shop", canary(500), 3);
    let mut proxy = rtds.join("one").await;
    rtds.until("connected", &stored, |o| o.nodes.contains_key("one")).await;
    // Even what is applied is not told to anybody yet.
    rtds.router.apply(&route("shop", canary(9_000), 2)).await.unwrap();
    rtds.router.load(&[stored]).await.unwrap();
    assert_eq!(weights(&proxy.layer().await), shop(9_500.0, 500.0));
}

#[tokio::test]
async fn an_older_generation_is_never_sent() {
    let rtds = Rtds::loaded(&[route("shop", canary(500), 3)]).await;
    let mut proxy = rtds.join("one").await;
    proxy.layer().await;
    rtds.router.apply(&route("shop", Split::STABLE, 5)).await.unwrap();
    assert_eq!(weights(&proxy.layer().await), shop(10_000.0, 0.0));
    rtds.router.apply(&route("shop", canary(500), 4)).await.unwrap();
    rtds.router.load(&[route("shop", canary(500), 4)]).await.unwrap();
    rtds.router.apply(&route("shop", canary(100), 6)).await.unwrap();
    assert_eq!(weights(&proxy.layer().await), shop(9_900.0, 100.0), "the next is the newer one");
}

#[tokio::test]
async fn the_same_again_is_not_sent_again() {
    let rtds = Rtds::loaded(&[route("shop", canary(500), 3)]).await;
    let mut proxy = rtds.join("one").await;
    let first = proxy.layer().await;
    proxy.answer(&first, None).await;
    for _ in 0..5 {
        rtds.router.apply(&route("shop", canary(500), 3)).await.unwrap();
    }
    rtds.router.apply(&route("shop", Split::STABLE, 4)).await.unwrap();
    assert_eq!(weights(&proxy.layer().await), shop(10_000.0, 0.0));
}

#[tokio::test]
async fn answers_count_for_what_they_answer() {
    let (old, new) = (route("shop", canary(500), 3), route("shop", Split::STABLE, 4));
    let rtds = Rtds::loaded(std::slice::from_ref(&old)).await;
    let mut proxy = rtds.join("one").await;
    let first = proxy.layer().await;
    rtds.router.apply(&new).await.unwrap();
    let second = proxy.layer().await;
    // An answer to nothing, then to the first, though the second is out already.
    let strange = DiscoveryResponse { nonce: "17-4".into(), ..first.clone() };
    proxy.answer(&strange, None).await;
    proxy.answer(&first, None).await;
    let observed = rtds.until("the first accepted", &new, |o| o.nodes["one"].generation == 3).await;
    assert_eq!(observed.split, None);
    proxy.answer(&second, None).await;
    rtds.until("the second accepted", &new, |o| o.split == Some(new.split)).await;
    // Late words about the first change nothing.
    proxy.answer(&first, Some("late")).await;
    rtds.router.apply(&route("shop", Split::STABLE, 5)).await.unwrap();
    let third = proxy.layer().await;
    proxy.answer(&third, None).await;
    let observed = rtds.until("the third accepted", &new, |o| o.nodes["one"].generation == 5).await;
    assert_eq!(observed.nodes["one"].refused, None);
}

#[tokio::test]
async fn a_refusal_is_reported_and_tried_again_with_apply() {
    let (old, new) = (route("shop", canary(500), 3), route("shop", Split::STABLE, 4));
    let rtds = Rtds::loaded(std::slice::from_ref(&old)).await;
    let mut proxy = rtds.join("one").await;
    let first = proxy.layer().await;
    proxy.answer(&first, None).await;
    rtds.until("accepted", &old, |o| o.split.is_some()).await;
    rtds.router.apply(&new).await.unwrap();
    let second = proxy.layer().await;
    proxy.answer(&second, Some("no such thing")).await;
    let observed = rtds.until("refused", &new, |o| o.nodes["one"].refused.is_some()).await;
    assert_eq!(observed.nodes["one"].refused.as_deref(), Some("no such thing"));
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 3));
    rtds.router.apply(&new).await.unwrap();
    let again = proxy.layer().await;
    assert_eq!((&again.version_info, weights(&again)), (&second.version_info, weights(&second)));
    assert_ne!(again.nonce, second.nonce);
    proxy.answer(&again, None).await;
    rtds.until("accepted", &new, |o| o.split == Some(new.split)).await;
}

#[tokio::test]
async fn two_targets_travel_together_and_are_told_apart() {
    let (shop, cart) = (route("shop", canary(500), 3), route("cart", Split::STABLE, 8));
    let rtds = Rtds::loaded(&[shop.clone(), cart.clone()]).await;
    let mut proxy = rtds.join("one").await;
    let layer = proxy.layer().await;
    assert_eq!(weights(&layer).len(), 4);
    proxy.answer(&layer, None).await;
    rtds.until("shop", &shop, |o| o.split == Some(shop.split)).await;
    let next = route("shop", canary(2_500), 4);
    rtds.router.apply(&next).await.unwrap();
    proxy.layer().await;
    assert_eq!(rtds.router.observe(&next).await.unwrap().split, None);
    assert_eq!(rtds.router.observe(&cart).await.unwrap().split, Some(cart.split));
}

#[tokio::test]
async fn remembered_proxies_are_reported_until_they_are_forgotten() {
    let away =
        NodeRecord { generation: 2, last_seen: Timestamp(1_700_000_000_000), connected: true, refused: None };
    let mut stored = route("shop", canary(500), 3);
    stored.nodes.insert("away".into(), away.clone());
    let rtds = Rtds::loaded(std::slice::from_ref(&stored)).await;
    let mut proxy = rtds.join("one").await;
    let layer = proxy.layer().await;
    proxy.answer(&layer, None).await;
    let observed = rtds.until("accepted", &stored, |o| o.split.is_some()).await;
    assert_eq!(observed.nodes["away"], NodeRecord { connected: false, ..away });
    rtds.clock.pass(FORGET - Duration::from_millis(1));
    assert!(rtds.router.observe(&stored).await.unwrap().nodes.contains_key("away"));
    rtds.clock.pass(Duration::from_millis(1));
    let observed = rtds.router.observe(&stored).await.unwrap();
    assert_eq!(observed.nodes.keys().collect::<Vec<_>>(), ["one"], "a connected one is never forgotten");
    drop(proxy);
    let observed = rtds.until("gone", &stored, |o| !o.nodes["one"].connected).await;
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 3));
    assert_eq!(observed.nodes["one"].last_seen, rtds.clock.wall());
}

#[tokio::test]
async fn without_the_store_streams_are_closed_and_refused_and_nobody_is_forgotten() {
    let stored = route("shop", canary(500), 3);
    let rtds = Rtds::loaded(std::slice::from_ref(&stored)).await;
    let mut proxy = rtds.join("one").await;
    proxy.layer().await;
    rtds.router.authority(false).await;
    assert_eq!(proxy.hear().await.unwrap_err().code(), Code::Unavailable);
    let refused = rtds.open(hello("two")).await.err().expect("no stream is opened");
    assert_eq!(refused.code(), Code::Unavailable);
    rtds.until("closed", &stored, |o| !o.nodes["one"].connected).await;
    rtds.clock.pass(FORGET * 2);
    assert!(rtds.router.observe(&stored).await.unwrap().nodes.contains_key("one"));
    rtds.router.authority(true).await;
    rtds.clock.pass(FORGET - Duration::from_millis(1));
    assert!(rtds.router.observe(&stored).await.unwrap().nodes.contains_key("one"));
    assert_eq!(weights(&rtds.join("one").await.layer().await), shop(9_500.0, 500.0));
}

#[tokio::test]
async fn strangers_are_told_what_is_wrong() {
    let stored = route("shop", canary(500), 3);
    let rtds = Rtds::loaded(std::slice::from_ref(&stored)).await;
    let mut nameless = rtds.open(DiscoveryRequest { node: None, ..hello("") }).await.unwrap();
    let status = nameless.hear().await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("node.id"), "{status}");
    let mut long = rtds.join(&"x".repeat(300)).await;
    assert_eq!(long.hear().await.unwrap_err().code(), Code::InvalidArgument);
    let clusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    let mut other = rtds.open(DiscoveryRequest { type_url: clusters.into(), ..hello("x") }).await.unwrap();
    let status = other.hear().await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("Cluster"), "{status}");
    // One that asks for another layer is not counted, until it asks for this one.
    let elsewhere = DiscoveryRequest { resource_names: vec!["other".into()], ..hello("elsewhere") };
    let mut late = rtds.open(elsewhere).await.unwrap();
    let mut one = rtds.join("one").await;
    one.layer().await;
    assert_eq!(rtds.router.observe(&stored).await.unwrap().nodes.keys().collect::<Vec<_>>(), ["one"]);
    late.say.send(hello("elsewhere")).await.unwrap();
    assert_eq!(weights(&late.layer().await), shop(9_500.0, 500.0));
    assert_eq!(rtds.router.observe(&stored).await.unwrap().nodes.len(), 2);
    let unary = rtds.client().await.fetch_runtime(hello("one")).await.unwrap_err();
    assert_eq!(unary.code(), Code::Unimplemented);
}

#[tokio::test]
async fn delta_streams_are_served_too() {
    let stored = route("shop", canary(500), 3);
    let rtds = Rtds::loaded(std::slice::from_ref(&stored)).await;
    let (say, said) = mpsc::channel(16);
    let node = Some(Node { id: "one".into(), ..Node::default() });
    let hello = DeltaDiscoveryRequest {
        node,
        resource_names_subscribe: vec!["serin".into()],
        ..DeltaDiscoveryRequest::default()
    };
    say.send(hello).await.unwrap();
    let answers = rtds.client().await.delta_runtime(ReceiverStream::new(said)).await.unwrap();
    let mut answers = answers.into_inner();
    let layer = answers.message().await.unwrap().unwrap();
    assert_eq!((layer.resources.len(), layer.resources[0].name.as_str()), (1, "serin"));
    let accepted = DeltaDiscoveryRequest { response_nonce: layer.nonce, ..DeltaDiscoveryRequest::default() };
    say.send(accepted).await.unwrap();
    rtds.until("accepted", &stored, |o| o.split == Some(stored.split)).await;
}

#[tokio::test]
async fn a_change_wakes_whoever_waits_even_if_it_came_before() {
    let stored = route("shop", canary(500), 3);
    let rtds = Rtds::loaded(&[stored.clone(), route("cart", Split::STABLE, 1)]).await;
    let mut proxy = rtds.join("one").await;
    let layer = proxy.layer().await;
    let changed = || tokio::time::timeout(DEADLINE, rtds.router.changed("shop"));
    changed().await.expect("it came");
    proxy.answer(&layer, None).await;
    changed().await.expect("it accepted");
    rtds.router.observe(&stored).await.unwrap();
    let next = route("shop", Split::STABLE, 4);
    rtds.router.apply(&next).await.unwrap();
    let layer = proxy.layer().await;
    proxy.answer(&layer, None).await;
    wait::until("accepted", DEADLINE, || async {
        // Looking at the other target leaves this one's news.
        let observed = rtds.router.observe(&route("cart", Split::STABLE, 1)).await.unwrap();
        observed.split.map(|_| ())
    })
    .await;
    changed().await.expect("it accepted the next");
    rtds.until("accepted", &next, |o| o.split == Some(next.split)).await;
    drop(proxy);
    changed().await.expect("it left");
    let mut nothing = std::pin::pin!(rtds.router.changed("shop"));
    assert!(futures::poll!(&mut nothing).is_pending(), "each change is told once");
}

#[tokio::test]
async fn targets_that_would_share_a_key_are_refused() {
    let rtds = Rtds::bound().await;
    let mut other = route("other", Split::STABLE, 1);
    other.route = "shop".into();
    let outcome = rtds.router.load(&[route("shop", Split::STABLE, 1), other.clone()]).await;
    assert!(matches!(&outcome, Err(RouterError::Refused(why)) if why.contains("shop.")), "{outcome:?}");
    rtds.router.load(&[route("shop", Split::STABLE, 1)]).await.unwrap();
    assert!(matches!(rtds.router.apply(&other).await, Err(RouterError::Refused(_))));
    assert_eq!(weights(&rtds.join("one").await.layer().await), shop(10_000.0, 0.0));
}

#[tokio::test]
async fn the_server_ends_with_the_router() {
    let rtds = Rtds::loaded(&[route("shop", canary(500), 3)]).await;
    let address = rtds.router.local_addr();
    let taken = RouterConfig::Envoy(EnvoyConfig {
        listen: address,
        layer: "x".into(),
        forget_after: FORGET,
        admin: Vec::new(),
    });
    let error = taken.build(Arc::clone(&rtds.clock) as Arc<dyn Clock>).await.err().expect("it is taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let mut proxy = rtds.join("one").await;
    proxy.layer().await;
    drop(rtds);
    assert_eq!(proxy.hear().await.unwrap_err().code(), Code::Unavailable);
    drop(proxy);
    wait::until("the port is free", DEADLINE, || async {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
}
