//! What the engine reaches the world through: providers and routers with the places that each has, channels, and who
//! is told what. One value that is replaced as a whole while the engine runs; what is under way ends with the value
//! that it began with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::collector::Collector;
use super::telling::Telling;
use super::{Options, Parts};
use crate::core::routing::Routing;
use crate::messages::Words;
use crate::ports::{Clock, MetricsProvider, Notifier, TrafficRouter};

/// Places of a router that only a canary at 0 may take.
const RESERVE: usize = 4;

/// What there is to be connected, by the names that targets and rules use.
#[derive(Clone, Default)]
pub struct Adapters {
    /// Sources of metrics.
    pub providers: BTreeMap<String, Arc<dyn MetricsProvider>>,
    /// Routers.
    pub routers: BTreeMap<String, Arc<dyn TrafficRouter>>,
    /// Channels.
    pub notifiers: BTreeMap<String, Arc<dyn Notifier>>,
    /// Which channels get what; those that are not among `notifiers` are passed over.
    pub routing: Routing,
    /// Makes the texts that policies have written.
    pub words: Words,
}

impl Adapters {
    /// Those of an engine.
    pub fn of(parts: &Parts) -> Adapters {
        Adapters {
            providers: parts.providers.clone(),
            routers: parts.routers.clone(),
            notifiers: parts.notifiers.clone(),
            routing: parts.routing.clone(),
            words: parts.words.clone(),
        }
    }
}

/// How much is asked of what is connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many calls each router gets at a time, and each source for what is asked of it alone.
    pub places: usize,
    /// A look that lasts longer is given up.
    pub longest: Duration,
}

impl Limits {
    pub fn of(options: &Options) -> Limits {
        Limits { places: options.concurrency, longest: options.call_deadline * 2 }
    }
}

/// What is connected now; never changed, only replaced.
#[derive(Default)]
pub struct Connections {
    /// By the name of the provider.
    pub(super) sources: BTreeMap<String, Arc<Collector>>,
    pub(super) routers: BTreeMap<String, Connected>,
    pub(super) notifiers: BTreeMap<String, Arc<dyn Notifier>>,
    pub(super) telling: Arc<Telling>,
}

/// One router, and how many calls it gets at a time: one that hangs takes no other with it.
#[derive(Clone)]
pub(super) struct Connected {
    pub adapter: Arc<dyn TrafficRouter>,
    places: Arc<Semaphore>,
    /// For weight 0 alone.
    reserve: Arc<Semaphore>,
    /// The newest hand-over of splits.
    pub handed: Arc<Mutex<u64>>,
}

impl Connected {
    /// A place for a call; one that takes a canary to 0 finds one sooner.
    pub async fn place(&self, goes_down: bool) -> Option<SemaphorePermit<'_>> {
        if !goes_down {
            return self.places.acquire().await.ok();
        }
        tokio::select! {
            biased;
            permit = self.places.acquire() => permit.ok(),
            permit = self.reserve.acquire() => permit.ok(),
        }
    }
}

impl Connections {
    /// These adapters, each with so many places. One that was there before keeps its places with what is under way in
    /// them; one that has come in the place of another has its own.
    pub(super) fn next(&self, adapters: Adapters, limits: Limits, clock: &Arc<dyn Clock>) -> Connections {
        let Limits { places, longest } = limits;
        let telling = Telling {
            routing: adapters.routing,
            words: adapters.words,
            channels: adapters.notifiers.keys().cloned().collect(),
        };
        let source = |(name, provider): (String, Arc<dyn MetricsProvider>)| {
            let known = self.sources.get(&name).filter(|known| Arc::ptr_eq(known.provider(), &provider));
            let source =
                known.cloned().unwrap_or_else(|| Collector::new(provider, clock.clone(), places, longest));
            (name, source)
        };
        let router = |(name, adapter): (String, Arc<dyn TrafficRouter>)| {
            let known = self.routers.get(&name).filter(|known| Arc::ptr_eq(&known.adapter, &adapter));
            let router = known.cloned().unwrap_or_else(|| Connected {
                adapter,
                places: Arc::new(Semaphore::new(places)),
                reserve: Arc::new(Semaphore::new(RESERVE)),
                handed: Arc::default(),
            });
            (name, router)
        };
        Connections {
            sources: adapters.providers.into_iter().map(source).collect(),
            routers: adapters.routers.into_iter().map(router).collect(),
            notifiers: adapters.notifiers,
            telling: Arc::new(telling),
        }
    }

    /// The routers that were not there before, or stand for something else now.
    pub(super) fn fresh_routers(&self, before: &Connections) -> Vec<String> {
        let is_same = |name: &String, now: &Connected| {
            before.routers.get(name).is_some_and(|old| Arc::ptr_eq(&old.adapter, &now.adapter))
        };
        let fresh = self.routers.iter().filter(|(name, now)| !is_same(name, now));
        fresh.map(|(name, _)| name.clone()).collect()
    }
}
