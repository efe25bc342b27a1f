//! One contract for every router, over real Envoy, real HAProxy and the split in the process; then what
//! only one of them can show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serin::core::target::{NodeRecord, ObservedSplit, Pool, Role, Split, Weight};
use serin::core::time::Timestamp;
use serin::ports::{Clock, Route, RouterError, TrafficRouter};
use serin::routers::envoy::{EnvoyConfig, EnvoyRouter};
use serin::routers::haproxy::{HaproxyConfig, KeptSessions};
use serin::routers::in_process::InProcessRouter;
use statrs::distribution::{Binomial, DiscreteCDF};
use tempfile::TempDir;

use crate::testkit::envoy::{Envoy, EnvoyOptions, EnvoyRoute, Link, Relay};
use crate::testkit::haproxy::{Haproxy, HaproxyBackend};
use crate::testkit::wait;

const DEADLINE: Duration = Duration::from_secs(60);

// ------------------------------------------------------------------------------------------ the parts

/// The real clock.
struct RealClock(tokio::time::Instant);

#[async_trait]
impl Clock for RealClock {
    #[allow(clippy::disallowed_methods)]
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(since.as_millis() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep_until(&self, until: Duration) {
        tokio::time::sleep_until(self.0 + until).await;
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(RealClock(tokio::time::Instant::now()))
}

/// A service that counts its requests.
struct Service {
    port: u16,
    count: Arc<AtomicU64>,
}

impl Service {
    async fn start() -> Service {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let app = axum::Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { "ok" }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Service { port, count }
    }

    fn take(&self) -> u64 {
        self.count.swap(0, Ordering::SeqCst)
    }
}

/// `n` requests, four at a time; all must succeed.
async fn load(url: &str, n: u64) {
    let client = reqwest::Client::new();
    let each = (0..4).map(|_| {
        let (client, url) = (client.clone(), url.to_owned());
        tokio::spawn(async move {
            for _ in 0..n / 4 {
                let answer = client.get(&url).send().await.unwrap().error_for_status().unwrap();
                answer.bytes().await.unwrap();
            }
        })
    });
    for task in each.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

fn canary(weight: u16) -> Split {
    Split::canary(Weight(weight), false)
}

/// A target with the pools `<target>-stable` and `<target>-canary`.
fn route(target: &str, split: Split, generation: u64) -> Route {
    let pool = |name: &str| Pool { backend: format!("{target}-{name}"), ..Pool::default() };
    Route {
        target: target.to_owned(),
        route: target.to_owned(),
        pools: BTreeMap::from([(Role::Stable, pool("stable")), (Role::Canary, pool("canary"))]),
        split,
        generation,
        nodes: BTreeMap::new(),
    }
}

/// The chance of a count at least so far out, on either side; all is well above 10⁻⁶.
fn assert_share(found: u64, of: u64, share: f64) {
    let binomial = Binomial::new(share, of).unwrap();
    let upper = if found == 0 { 1.0 } else { binomial.sf(found - 1) };
    let p = 2.0 * binomial.cdf(found).min(upper);
    assert!(p >= 1e-6, "{found} of {of} requests, where {share} was wanted: p = {p:e}");
}

/// A router under the contract, with the targets `shop` and `cart`, both at the canary's weight 0 and
/// generation 1.
#[async_trait]
trait Rig: Send + Sync {
    fn router(&self) -> &dyn TrafficRouter;
    /// Sends requests to a target; gives those that `stable` and `canary` got.
    async fn send(&self, target: &str, n: u64) -> (u64, u64);
    /// Changes the weights behind Serin's back; false if that cannot be done, or not be seen.
    async fn set_by_hand(&self, target: &str, stable: u16, canary: u16) -> bool;
}

async fn seen(router: &dyn TrafficRouter, route: &Route) -> ObservedSplit {
    let what = format!("{} of {}", route.split, route.target);
    wait::until(&what, DEADLINE, || async {
        let observed = router.observe(route).await.unwrap();
        (observed.split == Some(route.split)).then_some(observed)
    })
    .await
}

async fn drive(router: &dyn TrafficRouter, route: &Route) -> ObservedSplit {
    router.apply(route).await.unwrap();
    seen(router, route).await
}

// --------------------------------------------------------------------------------------- the contract

async fn what_is_applied_is_observed(rig: impl Rig) {
    for (generation, weight) in [(2, 500), (3, 2_500), (4, 10_000), (5, 0), (6, 100)] {
        drive(rig.router(), &route("shop", canary(weight), generation)).await;
    }
}

async fn applying_again_changes_nothing(rig: impl Rig) {
    let wanted = route("shop", canary(500), 2);
    let first = drive(rig.router(), &wanted).await;
    for _ in 0..3 {
        rig.router().apply(&wanted).await.unwrap();
        let again = rig.router().observe(&wanted).await.unwrap();
        assert_eq!(again, first);
    }
}

async fn an_older_generation_is_ignored(rig: impl Rig) {
    drive(rig.router(), &route("shop", canary(2_500), 2)).await;
    let newest = route("shop", Split::STABLE, 3);
    drive(rig.router(), &newest).await;
    rig.router().apply(&route("shop", canary(2_500), 2)).await.unwrap();
    assert_eq!(rig.router().observe(&newest).await.unwrap().split, Some(Split::STABLE));
    assert_eq!(rig.send("shop", 400).await, (400, 0));
}

async fn shares_follow_the_weights_and_zero_is_zero(rig: impl Rig) {
    assert_eq!(rig.send("shop", 400).await, (400, 0), "before any rollout");
    for (generation, weight) in [(2, 500), (3, 2_500)] {
        drive(rig.router(), &route("shop", canary(weight), generation)).await;
        let (stable, of_canary) = rig.send("shop", 4_000).await;
        assert_eq!(stable + of_canary, 4_000);
        assert_share(of_canary, 4_000, f64::from(weight) / 10_000.0);
    }
    drive(rig.router(), &route("shop", canary(10_000), 4)).await;
    assert_eq!(rig.send("shop", 400).await, (0, 400));
    drive(rig.router(), &route("shop", Split::STABLE, 5)).await;
    assert_eq!(rig.send("shop", 1_000).await, (1_000, 0));
}

async fn pools_that_change_roles_keep_their_traffic(rig: impl Rig) {
    drive(rig.router(), &route("shop", canary(10_000), 2)).await;
    let mut promoted = route("shop", Split::STABLE, 3);
    let pools = [(Role::Stable, Role::Canary), (Role::Canary, Role::Stable)];
    promoted.pools = pools.map(|(role, was)| (role, promoted.pools[&was].clone())).into();
    drive(rig.router(), &promoted).await;
    assert_eq!(rig.send("shop", 400).await, (0, 400));
}

async fn targets_do_not_disturb_each_other(rig: impl Rig) {
    let (shop, cart) = (route("shop", canary(2_500), 2), route("cart", Split::STABLE, 1));
    drive(rig.router(), &shop).await;
    seen(rig.router(), &cart).await;
    assert_eq!(rig.send("cart", 400).await, (400, 0));
    let cart = route("cart", canary(10_000), 7);
    drive(rig.router(), &cart).await;
    assert_eq!(rig.router().observe(&shop).await.unwrap().split, Some(shop.split));
    assert_eq!(rig.send("cart", 400).await, (0, 400));
    let (_, of_canary) = rig.send("shop", 4_000).await;
    assert_share(of_canary, 4_000, 0.25);
}

async fn weights_set_by_hand_are_seen_and_can_be_set_right(rig: impl Rig) {
    let wanted = route("shop", canary(2_500), 2);
    drive(rig.router(), &wanted).await;
    for (stable, of_canary, found) in [(19, 1, canary(500)), (1, 1, canary(5_000)), (1, 0, Split::STABLE)] {
        if !rig.set_by_hand("shop", stable, of_canary).await {
            return;
        }
        assert_eq!(rig.router().observe(&wanted).await.unwrap().split, Some(found));
        drive(rig.router(), &wanted).await;
    }
}

macro_rules! contract {
    ($($name:ident: $rig:path;)*) => { $(
        mod $name {
            contract!(@each $rig: what_is_applied_is_observed applying_again_changes_nothing
                an_older_generation_is_ignored shares_follow_the_weights_and_zero_is_zero
                pools_that_change_roles_keep_their_traffic targets_do_not_disturb_each_other
                weights_set_by_hand_are_seen_and_can_be_set_right);
        }
    )* };
    (@each $rig:path: $($check:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            super::$check($rig().await).await;
        }
    )* };
}

contract! {
    envoy: super::EnvoyRig::start;
    envoy_delta: super::EnvoyRig::start_delta;
    haproxy: super::HaproxyRig::start;
    in_process: super::InProcessRig::start;
}

// ------------------------------------------------------------------------------------------- the rigs

const TARGETS: [&str; 2] = ["shop", "cart"];

/// Two services for each target.
struct Services {
    all: BTreeMap<&'static str, [Service; 2]>,
}

impl Services {
    async fn start() -> Services {
        let mut all = BTreeMap::new();
        for target in TARGETS {
            all.insert(target, [Service::start().await, Service::start().await]);
        }
        Services { all }
    }

    /// The pools' names with the services' ports.
    fn ports(&self, target: &str) -> [(String, u16); 2] {
        let [stable, canary] = &self.all[target];
        [(format!("{target}-stable"), stable.port), (format!("{target}-canary"), canary.port)]
    }

    fn take(&self, target: &str) -> (u64, u64) {
        let [stable, canary] = &self.all[target];
        (stable.take(), canary.take())
    }
}

fn first_routes() -> [Route; 2] {
    TARGETS.map(|target| route(target, Split::STABLE, 1))
}

struct EnvoyRig {
    services: Services,
    router: Arc<EnvoyRouter>,
    envoy: Envoy,
    folder: TempDir,
}

async fn envoy_router() -> Arc<EnvoyRouter> {
    let config = EnvoyConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        layer: "serin".into(),
        forget_after: Duration::from_secs(3600),
    };
    EnvoyRouter::bind(&config, clock()).await.unwrap()
}

fn envoy_options(node: &str, rtds: SocketAddr, services: &Services) -> EnvoyOptions {
    let routes = TARGETS.map(|target| {
        let ports = services.ports(target);
        let clusters = ports.each_ref().map(|(name, port)| (name.as_str(), *port));
        EnvoyRoute::new(&format!("/{target}"), target, &clusters)
    });
    EnvoyOptions { routes: routes.into(), ..EnvoyOptions::new(node, rtds, "", &[]) }
}

impl EnvoyRig {
    async fn start() -> EnvoyRig {
        EnvoyRig::with(false).await
    }

    async fn start_delta() -> EnvoyRig {
        EnvoyRig::with(true).await
    }

    async fn with(delta: bool) -> EnvoyRig {
        let (services, router) = (Services::start().await, envoy_router().await);
        let folder = TempDir::new().unwrap();
        router.load(&first_routes()).await.unwrap();
        let options = EnvoyOptions { delta, ..envoy_options("one", router.local_addr(), &services) };
        let envoy = Envoy::start(folder.path(), &options).await;
        let rig = EnvoyRig { services, router, envoy, folder };
        for route in &first_routes() {
            seen(&*rig.router, route).await;
        }
        rig
    }

    /// Another Envoy on the same services.
    async fn join(&self, node: &str, rtds: SocketAddr) -> Envoy {
        Envoy::start(self.folder.path(), &envoy_options(node, rtds, &self.services)).await
    }

    async fn send_to(&self, envoy: &Envoy, target: &str, n: u64) -> (u64, u64) {
        // Envoy's main thread accepts new weights and its workers take them over a moment later; some
        // requests that are not counted see to it that they have.
        load(&envoy.url(&format!("/{target}")), 40).await;
        self.services.take(target);
        load(&envoy.url(&format!("/{target}")), n).await;
        self.services.take(target)
    }
}

#[async_trait]
impl Rig for EnvoyRig {
    fn router(&self) -> &dyn TrafficRouter {
        &*self.router
    }

    async fn send(&self, target: &str, n: u64) -> (u64, u64) {
        self.send_to(&self.envoy, target, n).await
    }

    /// Proxies do not tell of weights that they have from elsewhere.
    async fn set_by_hand(&self, _target: &str, _stable: u16, _canary: u16) -> bool {
        false
    }
}

struct HaproxyRig {
    services: Services,
    router: Arc<dyn TrafficRouter>,
    haproxy: Haproxy,
    _folder: TempDir,
}

fn haproxy_router(socket: &str, sessions: KeptSessions) -> Arc<dyn TrafficRouter> {
    let config = HaproxyConfig { socket: socket.into(), deadline: Duration::from_secs(10), sessions };
    config.build().unwrap()
}

impl HaproxyRig {
    async fn start() -> HaproxyRig {
        HaproxyRig::with(KeptSessions::Drain, &["balance roundrobin"]).await
    }

    async fn with(sessions: KeptSessions, lines: &[&str]) -> HaproxyRig {
        let services = Services::start().await;
        let backends = TARGETS.map(|target| {
            let ports = services.ports(target);
            let servers = ports.each_ref().map(|(name, port)| (name.as_str(), *port));
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            HaproxyBackend { lines, ..HaproxyBackend::new(&format!("/{target}"), target, &servers) }
        });
        let folder = TempDir::new().unwrap();
        let haproxy = Haproxy::start(folder.path(), &backends).await;
        let router = haproxy_router(haproxy.socket.to_str().unwrap(), sessions);
        router.load(&first_routes()).await.unwrap();
        HaproxyRig { services, router, haproxy, _folder: folder }
    }
}

#[async_trait]
impl Rig for HaproxyRig {
    fn router(&self) -> &dyn TrafficRouter {
        &*self.router
    }

    async fn send(&self, target: &str, n: u64) -> (u64, u64) {
        self.services.take(target);
        load(&self.haproxy.url(&format!("/{target}")), n).await;
        self.services.take(target)
    }

    async fn set_by_hand(&self, target: &str, stable: u16, canary: u16) -> bool {
        for (role, weight) in [("stable", stable), ("canary", canary)] {
            let command = format!("set server {target}/{target}-{role} weight {weight}");
            assert_eq!(self.haproxy.ask(&command).await, "\n");
        }
        true
    }
}

struct InProcessRig(Arc<InProcessRouter>);

impl InProcessRig {
    async fn start() -> InProcessRig {
        let router = InProcessRouter::new();
        router.load(&first_routes()).await.unwrap();
        InProcessRig(router)
    }
}

#[async_trait]
impl Rig for InProcessRig {
    fn router(&self) -> &dyn TrafficRouter {
        &*self.0
    }

    async fn send(&self, target: &str, n: u64) -> (u64, u64) {
        let picked = (0..n).map(|_| self.0.pick_backend(target, rand::random()).unwrap());
        let stable = picked.filter(|name| *name == format!("{target}-stable")).count() as u64;
        (stable, n - stable)
    }

    async fn set_by_hand(&self, target: &str, stable: u16, canary: u16) -> bool {
        let share = u32::from(canary) * 10_000 / u32::from(stable + canary);
        self.0.set_by_hand(target, Split::canary(Weight(share as u16), false))
    }
}

// -------------------------------------------------------------------------------------- only Envoy

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
    let refusals = || async {
        let count = rig.envoy.stat("runtime.rtds.serin.update_failure").await
            + rig.envoy.stat("runtime.update_failure").await
            + rig.envoy.stat("cluster.serin_rtds.upstream_rq_total").await;
        (count >= 3).then_some(())
    };
    wait::until("new streams are refused", DEADLINE, refusals).await;
    let observed = rig.router.observe(&wanted).await.unwrap();
    assert!(!observed.nodes["one"].connected);
    assert_eq!(rig.envoy.runtime("shop.shop-canary").await, Some(2_500));
    rig.router.authority(true).await;
    seen(&*rig.router, &wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_refuses_is_reported_with_its_reason() {
    let rig = EnvoyRig::start().await;
    // Envoy refuses a layer in which a runtime guard's name has a value that is none. That cannot come
    // from weights, so here a target's route makes such a key.
    let mut wrong = route("cart", Split::STABLE, 2);
    wrong.route = "envoy.reloadable_features".into();
    rig.router.apply(&wrong).await.unwrap();
    let observed = node(&rig.router, &wrong, "one", |node| node.refused.is_some()).await;
    println!("{observed:?}");
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 1));
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

// ------------------------------------------------------------------------------------ only HAProxy

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
