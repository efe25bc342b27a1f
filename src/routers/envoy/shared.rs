//! What the router and the streams of its server share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::earlier::Earlier;
use super::nodes::{Nodes, Now, State};
use super::snapshot::Snapshot;
use crate::core::pools::ObservedSplit;
use crate::ports::{Clock, Route, RouterError};

/// The routes, the layer made of them, and the proxies.
pub(super) struct Shared {
    layer: String,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// `None` before `load`.
    layers: watch::Sender<Option<Arc<Snapshot>>>,
    /// Raised with every change, to wake those who wait for one.
    pulse: watch::Sender<u64>,
}

struct Inner {
    loaded: bool,
    routes: BTreeMap<String, Route>,
    nodes: Nodes,
    earlier: Earlier,
    streams: u64,
    /// Cancelled when the store is lost; `Some` while it is there.
    held: Option<CancellationToken>,
    changes: BTreeMap<String, Changes>,
}

/// How often something changed for a target, and how much of it was looked at.
#[derive(Clone, Copy, Default)]
struct Changes {
    happened: u64,
    noticed: u64,
}

impl Shared {
    pub(super) fn new(layer: String, forget_after: Duration, clock: Arc<dyn Clock>) -> Shared {
        Shared {
            layer,
            clock,
            inner: Mutex::new(Inner {
                loaded: false,
                routes: BTreeMap::new(),
                nodes: Nodes::new(forget_after),
                earlier: Earlier::default(),
                streams: 0,
                held: Some(CancellationToken::new()),
                changes: BTreeMap::new(),
            }),
            layers: watch::Sender::new(None),
            pulse: watch::Sender::new(0),
        }
    }

    // ---------------------------------------------------------------------------- for the router

    /// Proxies that are cut off from now on are remembered for so long.
    pub(super) fn set_forget_after(&self, forget_after: Duration) {
        self.lock().nodes.forget_after = forget_after;
    }

    /// Takes all targets; from now on proxies are answered.
    pub(super) fn load(&self, routes: &[Route]) -> Result<(), RouterError> {
        let mut inner = self.lock();
        let mut wanted: BTreeMap<String, Route> = BTreeMap::new();
        for route in routes {
            let held = inner.routes.get(&route.target).filter(|held| held.generation > route.generation);
            wanted.insert(route.target.clone(), without_nodes(held.unwrap_or(route)));
        }
        Snapshot::keeping(&self.layer, wanted.values().map(|route| (route, None)))?;
        let now = self.now();
        for route in routes {
            inner.nodes.seed(&route.target, &route.nodes, now);
        }
        let new = inner.earlier.loaded(&wanted);
        inner.routes = wanted;
        inner.loaded = true;
        self.publish(&inner)?;
        self.wake(inner, new);
        Ok(())
    }

    /// Takes a route if it is not older than what is held, and sends what has changed. What a proxy
    /// refused is sent to it again, for the reason may have gone.
    pub(super) fn apply(&self, route: &Route) -> Result<(), RouterError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let held = inner.routes.get(&route.target);
        if held.is_some_and(|held| held.generation > route.generation) {
            return Ok(());
        }
        let wanted = without_nodes(route);
        let is_new = held != Some(&wanted);
        let ends = inner.loaded && inner.earlier.ends_with(&wanted);
        if is_new || (ends && inner.earlier.kept(&wanted).is_some()) {
            let kept = |route: &Route| inner.earlier.kept(route);
            let others = inner.routes.values().filter(|other| other.target != wanted.target);
            let all = others.map(|other| (other, kept(other)));
            let own = (&wanted, kept(&wanted).filter(|_| !ends));
            let snapshot = Snapshot::keeping(&self.layer, all.chain([own]))?;
            inner.routes.insert(wanted.target.clone(), wanted);
            if inner.loaded {
                self.layers.send_replace(Some(Arc::new(snapshot)));
            }
        } else if self.layers.borrow().as_ref().is_some_and(|layer| inner.nodes.refuses(&layer.version)) {
            self.layers.send_modify(|_| {});
        }
        if ends {
            inner.earlier.decide(&route.target);
        }
        let now = self.now();
        inner.nodes.seed(&route.target, &route.nodes, now);
        Ok(())
    }

    /// What the proxies do.
    pub(super) fn observe(&self, route: &Route) -> ObservedSplit {
        let mut inner = self.lock();
        let now = self.now();
        // While the store is lost no proxy can come back, so none is forgotten.
        if inner.held.is_some() {
            inner.nodes.forget(now);
        }
        inner.notice(&route.target);
        let unstored = inner.earlier.tell(route);
        let observed = inner.nodes.observe(&route.target, route.generation, unstored.is_some());
        ObservedSplit { unstored, ..observed }
    }

    /// Closes all streams, or takes streams again.
    pub(super) fn authority(&self, held: bool) {
        let mut inner = self.lock();
        match (held, inner.held.take()) {
            (false, Some(token)) => token.cancel(),
            (false, None) => {}
            (true, Some(token)) => inner.held = Some(token),
            (true, None) => {
                let now = self.now();
                inner.nodes.excuse(now);
                inner.held = Some(CancellationToken::new());
            }
        }
    }

    /// Resolves when something has changed that nobody has looked at.
    pub(super) async fn changed(&self, target: &str) {
        let mut pulse = self.pulse.subscribe();
        while !self.lock().notice(target) {
            if pulse.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Measured time.
    pub(super) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The clusters of all targets.
    pub(super) fn clusters(&self) -> BTreeSet<String> {
        let inner = self.lock();
        let pools = inner.routes.values().flat_map(|route| route.pools.values());
        pools.map(|pool| pool.backend.clone()).collect()
    }

    // --------------------------------------------------------------------------- for the streams

    /// The name of the layer.
    pub(super) fn layer_name(&self) -> &str {
        &self.layer
    }

    /// The newest layer; the current one counts as unseen.
    pub(super) fn layers(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        let mut layers = self.layers.subscribe();
        layers.mark_changed();
        layers
    }

    /// Cancelled when streams must close; `None` if none may be opened now.
    pub(super) fn streams_held(&self) -> Option<CancellationToken> {
        self.lock().held.clone()
    }

    /// Registers a stream and gives its number; `None` if there are `limit` already. `version`: of what the proxy
    /// has from an earlier stream.
    pub(super) fn opened(&self, node: &str, version: &str, limit: usize) -> Option<u64> {
        let now = self.now();
        let number = self.with(node, |inner| {
            if inner.nodes.open_streams() >= limit {
                return None;
            }
            inner.streams += 1;
            inner.nodes.open(node, inner.streams, version.is_empty(), now);
            Some(inner.streams)
        })?;
        let mut guard = self.lock();
        let inner = &mut *guard;
        let new = inner.earlier.opened(number, version, &inner.routes);
        if !new.is_empty() {
            warn!(node, targets = ?new, "a proxy has weights that the store knows nothing of; they stay in force");
            if let Err(error) = self.publish(inner) {
                warn!(%error, "what a proxy has cannot be kept in force");
            }
        }
        self.wake(guard, new);
        Some(number)
    }

    /// Whether a stream may be sent the first layer.
    pub(super) fn may_answer(&self, node: &str, stream: u64, layer: &Snapshot) -> bool {
        let unknown = self.lock().earlier.unknown(stream, &layer.version).map(str::to_owned);
        let Some(version) = unknown else { return true };
        let why = format!(
            "It has weights of version {version:?}, which cannot be read, and the store knows of no release: its file \
             may be lost. Nothing is sent to it, so its weights stay as they are; to give it the stored weights, \
             restart it."
        );
        if self.with(node, |inner| inner.nodes.leave(node, stream, why.clone())) {
            warn!(node, why, "a proxy is not answered");
        }
        false
    }

    /// The stream is closed.
    pub(super) fn closed(&self, node: &str, stream: u64) {
        let now = self.now();
        self.with(node, |inner| {
            inner.earlier.over(stream);
            inner.nodes.close(node, stream, now);
        });
    }

    /// The proxy accepted the layer.
    pub(super) fn acked(&self, node: &str, stream: u64, snapshot: &Arc<Snapshot>) {
        let now = self.now();
        self.with(node, |inner| {
            inner.earlier.over(stream);
            inner.nodes.ack(node, stream, snapshot, now);
        });
    }

    /// The proxy refused the layer.
    pub(super) fn nacked(&self, node: &str, stream: u64, snapshot: &Arc<Snapshot>, why: String) {
        let now = self.now();
        self.with(node, |inner| inner.nodes.nack(node, stream, snapshot, why, now));
    }

    // -------------------------------------------------------------------------------------- inside

    /// Does something to a node and wakes those who wait for the targets for which it made a difference.
    /// The same refusal again makes none, so waking cannot drive sending in a circle.
    fn with<T>(&self, node: &str, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let before = inner.states(node);
        let result = change(&mut inner);
        let after = inner.states(node);
        let differs = before.iter().zip(&after).map(|(before, after)| before != after);
        let targets: Vec<String> = std::iter::zip(inner.routes.keys(), differs)
            .filter(|(_, differs)| *differs)
            .map(|(target, _)| target.clone())
            .collect();
        self.wake(inner, targets);
        result
    }

    /// Wakes those who wait for these targets.
    fn wake(&self, mut inner: MutexGuard<'_, Inner>, targets: Vec<String>) {
        let woken = !targets.is_empty();
        for target in targets {
            inner.changes.entry(target).or_default().happened += 1;
        }
        drop(inner);
        if woken {
            self.pulse.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Makes the layer anew.
    fn publish(&self, inner: &Inner) -> Result<(), RouterError> {
        let all = inner.routes.values().map(|route| (route, inner.earlier.kept(route)));
        let snapshot = Snapshot::keeping(&self.layer, all)?;
        if inner.loaded {
            self.layers.send_replace(Some(Arc::new(snapshot)));
        }
        Ok(())
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), monotonic: self.clock.monotonic() }
    }

    /// Nothing in here panics while it holds the lock, and if it did the data would still be whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The node's state for each target, in the order of the routes.
    fn states(&self, node: &str) -> Vec<State> {
        self.routes.keys().map(|target| self.nodes.state(node, target)).collect()
    }

    /// True if something had changed for the target since this was asked last.
    fn notice(&mut self, target: &str) -> bool {
        let Some(changes) = self.changes.get_mut(target) else { return false };
        let news = changes.happened != changes.noticed;
        changes.noticed = changes.happened;
        news
    }
}

/// A route as it is kept: the proxies have their own place.
fn without_nodes(route: &Route) -> Route {
    Route { nodes: BTreeMap::new(), ..route.clone() }
}
