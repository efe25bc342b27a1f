//! The routers under the contract, each with its real parts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serin::core::split::{Split, Weight};
use serin::ports::{Route, TrafficRouter};
use serin::routers::envoy::{EnvoyConfig, EnvoyRouter};
use serin::routers::haproxy::{HaproxyConfig, KeptSessions};
use serin::routers::in_process::InProcessRouter;
use tempfile::TempDir;

use super::Rig;
use super::parts::{Service, clock, load, route, seen};
use crate::testkit::envoy::{Envoy, EnvoyOptions, EnvoyRoute};
use crate::testkit::haproxy::{Haproxy, HaproxyBackend};

pub const TARGETS: [&str; 2] = ["shop", "cart"];

/// Two services for each target.
pub struct Services {
    all: BTreeMap<&'static str, [Service; 2]>,
}

impl Services {
    pub async fn start() -> Services {
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

    pub fn take(&self, target: &str) -> (u64, u64) {
        let [stable, canary] = &self.all[target];
        (stable.take(), canary.take())
    }
}

pub fn first_routes() -> [Route; 2] {
    TARGETS.map(|target| route(target, Split::STABLE, 1))
}

pub struct EnvoyRig {
    pub services: Services,
    pub router: Arc<EnvoyRouter>,
    pub envoy: Envoy,
    folder: TempDir,
}

pub async fn envoy_router() -> Arc<EnvoyRouter> {
    envoy_router_with(Vec::new()).await
}

pub async fn envoy_router_with(admin: Vec<String>) -> Arc<EnvoyRouter> {
    let config = EnvoyConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        layer: "serin".into(),
        forget_after: Duration::from_secs(3600),
        admin,
    };
    EnvoyRouter::bind(&config, clock()).await.unwrap()
}

pub fn envoy_options(node: &str, rtds: SocketAddr, services: &Services) -> EnvoyOptions {
    let routes = TARGETS.map(|target| {
        let ports = services.ports(target);
        let clusters = ports.each_ref().map(|(name, port)| (name.as_str(), *port));
        EnvoyRoute::new(&format!("/{target}"), target, &clusters)
    });
    EnvoyOptions { routes: routes.into(), ..EnvoyOptions::new(node, rtds, "", &[]) }
}

impl EnvoyRig {
    pub async fn start() -> EnvoyRig {
        EnvoyRig::with(false).await
    }

    pub async fn start_delta() -> EnvoyRig {
        EnvoyRig::with(true).await
    }

    pub async fn with(delta: bool) -> EnvoyRig {
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

    /// The router with an Envoy of its own; the services are not behind it.
    pub async fn of(router: Arc<EnvoyRouter>, options: &EnvoyOptions) -> EnvoyRig {
        let folder = TempDir::new().unwrap();
        let envoy = Envoy::start(folder.path(), options).await;
        EnvoyRig { services: Services::start().await, router, envoy, folder }
    }

    /// Another Envoy on the same services.
    pub async fn join(&self, node: &str, rtds: SocketAddr) -> Envoy {
        Envoy::start(self.folder.path(), &envoy_options(node, rtds, &self.services)).await
    }

    pub async fn send_to(&self, envoy: &Envoy, target: &str, n: u64) -> (u64, u64) {
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

pub struct HaproxyRig {
    pub services: Services,
    pub router: Arc<dyn TrafficRouter>,
    pub haproxy: Haproxy,
    _folder: TempDir,
}

pub fn haproxy_router(socket: &str, sessions: KeptSessions) -> Arc<dyn TrafficRouter> {
    let config = HaproxyConfig { socket: socket.into(), deadline: Duration::from_secs(10), sessions };
    config.build().unwrap()
}

impl HaproxyRig {
    pub async fn start() -> HaproxyRig {
        HaproxyRig::with(KeptSessions::Drain, &["balance roundrobin"]).await
    }

    pub async fn with(sessions: KeptSessions, lines: &[&str]) -> HaproxyRig {
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

pub struct InProcessRig(Arc<InProcessRouter>);

impl InProcessRig {
    pub async fn start() -> InProcessRig {
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
