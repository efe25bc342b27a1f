//! Envoy: Serin serves the weights by RTDS, the runtime discovery service, and hears from every proxy
//! whether it accepted them.
//!
//! A route of the proxies has `weighted_clusters` with `runtime_key_prefix` set to the target's `route`;
//! Envoy then reads the weight of cluster C from the runtime key `<route>.<C>`. All keys of all targets
//! are one resource, the layer, so that the weights of a route change in one step. Envoy takes shares of
//! the sum of the weights that it finds (seen with 1.40), and here they sum to 10,000.
//!
//! What the bootstrap of a proxy needs: a `node.id` of its own; an `rtds_layer` named as
//! [`EnvoyConfig::layer`] that comes after the static layers; an HTTP/2 cluster for Serin; weights of the
//! clusters that are safe without Serin (canary 0), for a proxy that is started while Serin is away has
//! no others; and a stream that is retried within seconds (`retry_back_off`).
//!
//! A proxy that loses Serin goes on with the weights that it has. It is remembered as cut off for
//! [`EnvoyConfig::forget_after`], does not hide what the others do, and has the newest weights as soon
//! as it is back.
//!
//! A proxy also says what it has from an earlier process, by the version that it repeats (`version`). What is newer
//! there than what is stored stays in force until somebody has decided (`earlier`).
//!
//! RTDS tells nothing of hosts and requests. Where [`EnvoyConfig::admin`] names the admin interfaces of the
//! proxies, those are read too.

mod admin;
mod earlier;
mod nodes;
mod server;
mod shared;
mod snapshot;
mod version;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use self::admin::Admin;
use self::shared::Shared;
use super::RouterBuildError;
use crate::core::pools::ObservedSplit;
use crate::ports::{Clock, Route, RouterError, TrafficRouter};

/// How Envoy proxies reach Serin.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvoyConfig {
    /// Where the RTDS server listens.
    pub listen: SocketAddr,
    /// The name of the runtime layer in the proxies' bootstrap.
    pub layer: String,
    /// A proxy whose stream has been closed for longer is taken for gone.
    pub forget_after: Duration,
    /// The base URLs of proxies' admin interfaces, `http://127.0.0.1:9901`; without, nothing is known of
    /// hosts and requests.
    pub admin: Vec<String>,
}

impl EnvoyConfig {
    /// Binds the server.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn build(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn TrafficRouter>, RouterBuildError> {
        Ok(EnvoyRouter::bind(self, clock).await?)
    }
}

/// Serves weights to Envoy proxies. The server ends, and all streams with it, when this is dropped.
pub struct EnvoyRouter {
    shared: Arc<Shared>,
    admin: RwLock<Option<Arc<Admin>>>,
    address: SocketAddr,
    _server: DropGuard,
}

impl EnvoyRouter {
    /// Binds the address and begins to take streams; nothing is answered before `load`.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(
        config: &EnvoyConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<EnvoyRouter>, RouterBuildError> {
        let unbound = |error: std::io::Error| {
            RouterBuildError(format!("the RTDS server cannot listen on {}: {error}", config.listen))
        };
        let admin = Admin::new(&config.admin)?;
        let listener = TcpListener::bind(config.listen).await.map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let shared = Arc::new(Shared::new(config.layer.clone(), config.forget_after, clock));
        let ended = CancellationToken::new();
        tokio::spawn(server::serve(listener, Arc::clone(&shared), ended.clone()));
        info!(%address, layer = config.layer, "serving weights to Envoy by RTDS");
        Ok(Arc::new(EnvoyRouter { shared, admin: RwLock::new(admin), address, _server: ended.drop_guard() }))
    }

    /// Makes ready what can change while proxies are connected: how long they are remembered, and which admin
    /// interfaces are read. Gives what puts it in force.
    ///
    /// # Errors
    /// If there is no HTTP client to be had.
    pub fn renew(
        self: &Arc<Self>,
        config: &EnvoyConfig,
    ) -> Result<impl FnOnce() + Send + use<>, RouterBuildError> {
        let (router, admin, forget_after) =
            (Arc::clone(self), Admin::new(&config.admin)?, config.forget_after);
        Ok(move || {
            *router.admin.write().unwrap_or_else(PoisonError::into_inner) = admin;
            router.shared.set_forget_after(forget_after);
        })
    }

    /// Where it listens; the port that was chosen, if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

#[async_trait]
impl TrafficRouter for EnvoyRouter {
    async fn load(&self, routes: &[Route]) -> Result<(), RouterError> {
        self.shared.load(routes)
    }

    async fn apply(&self, route: &Route) -> Result<(), RouterError> {
        self.shared.apply(route)
    }

    async fn observe(&self, route: &Route) -> Result<ObservedSplit, RouterError> {
        let mut observed = self.shared.observe(route);
        let admin = self.admin.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(admin) = admin {
            admin.refresh(self.shared.monotonic(), self.shared.clusters());
            observed.pools = admin.pools(route);
            observed.front = admin.front(route);
        }
        Ok(observed)
    }

    async fn authority(&self, held: bool) {
        self.shared.authority(held);
    }

    async fn changed(&self, target: &str) {
        self.shared.changed(target).await;
    }
}
