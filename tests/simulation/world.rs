//! The true state of everything outside of Serin: services, their requests and counters, proxies, clocks.
//! Time stands still unless `advance` is called.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serin::core::spec::{Pool, TargetSpec};
use serin::core::split::{Role, Split};
use serin::core::time::Timestamp;

use crate::dice::Dice;
use crate::faults::{Fault, FaultKind};
use crate::invariants::Ledger;
use crate::sleep::Sleepers;
use crate::testkit::builders::T0;

/// Bounds of the latency buckets, in seconds.
pub const BOUNDS: [f64; 5] = [0.05, 0.1, 0.25, 0.5, 1.0];
/// All, bad, and the requests in each latency bucket (the last one above every bound).
pub const COUNTERS: usize = 2 + BOUNDS.len() + 1;

/// The world, shared by the fakes, the checks and the driver. One thread uses it, so that a lock is never
/// waited for; it is never held over an await.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(world: World) -> Shared {
        Shared(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("one thread")
    }
}

pub struct World {
    /// Milliseconds of true time since the run began.
    pub now: i64,
    /// What Serin's wall clock is off by, in milliseconds.
    pub wall_offset: i64,
    /// When Serin's wall clock was last off.
    pub last_skewed: i64,
    /// When processes started.
    pub starts: Vec<i64>,
    /// What Serin's monotonic clock is off by; another value in each process.
    pub monotonic_offset: Duration,
    pub dice: Dice,
    pub services: BTreeMap<String, Service>,
    /// What is going wrong now, and until when.
    pub faults: Vec<Fault>,
    /// False from the moment that all faults end.
    pub hostile: bool,
    /// What the router of the process that runs serves to proxies: by target, generation and weights.
    pub served: BTreeMap<String, (u64, BTreeMap<String, u16>)>,
    /// Whether that router keeps its streams open.
    pub serving: bool,
    pub ledger: Ledger,
    /// No traffic and no scrapes any more: for waiting until the last notice is out.
    pub quiet: bool,
    /// Calls that wait for a time.
    pub sleepers: Sleepers,
    /// Calls take their time, and results are late, lost and doubled, while the world is hostile.
    pub rough: bool,
    /// A process that has been replaced goes on.
    pub is_replaced: bool,
    /// What happened, for the report of a failed run.
    pub story: Vec<String>,
}

/// A true service behind its proxies.
pub struct Service {
    pub spec: TargetSpec,
    /// Requests a second, all together.
    pub rate: f64,
    /// By backend.
    pub pools: BTreeMap<String, PoolTruth>,
    /// The router keeps its weights by itself: there is no stream that could break.
    pub external: bool,
    /// Each gets an equal part of the traffic.
    pub proxies: BTreeMap<String, Proxy>,
    /// When Serin's doing changed the shares in force (true time).
    pub changes: Vec<i64>,
}

/// A true pool of instances.
pub struct PoolTruth {
    pub behaviour: Behaviour,
    /// Counters of the process that runs now.
    counters: [u64; COUNTERS],
    /// Requests that are not scraped yet and still can be.
    unscraped: [u64; COUNTERS],
    /// When the process began.
    pub started: i64,
    pub scrape_every: i64,
    next_scrape: i64,
    pub samples: Vec<Sample>,
    /// Requests that it ever got.
    pub requests: u64,
}

/// How a version behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// Share of bad requests.
    pub errors: f64,
    /// Factor on the chance to leave each latency bucket: 1 is as the first version.
    pub slowness: f64,
    /// From this true time on, `errors` is the second value.
    pub turns: Option<(i64, f64)>,
    /// Breaks every pool of its service to this share of errors while it gets traffic as the canary.
    pub poisons: Option<f64>,
}

impl Behaviour {
    pub fn errors(share: f64) -> Behaviour {
        Behaviour { errors: share, slowness: 1.0, turns: None, poisons: None }
    }

    fn errors_at(&self, now: i64) -> f64 {
        match self.turns {
            Some((when, share)) if now >= when => share,
            _ => self.errors,
        }
    }
}

/// What a scrape saw.
#[derive(Clone, Debug)]
pub struct Sample {
    /// By the metrics system's own clock, which is right.
    pub at: Timestamp,
    /// When the process that was scraped began.
    pub started: i64,
    /// The counters as they stood.
    pub values: [u64; COUNTERS],
    /// The truth: requests since the last scrape of this process.
    pub gained: [u64; COUNTERS],
}

/// A true proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// By backend, in 1/10,000.
    pub in_force: BTreeMap<String, u16>,
    pub generation: u64,
    pub connected: bool,
    /// When its stream was last open.
    pub last_seen: Timestamp,
    pub refused: Option<String>,
    /// Its weights are not of Serin's doing: changed by hand, or as configured after a restart.
    pub tampered: bool,
    /// A split that comes into force after so many more looks at it.
    pub pending: Option<(u32, u64, BTreeMap<String, u16>)>,
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            now: 0,
            wall_offset: 0,
            last_skewed: -1,
            starts: Vec::new(),
            monotonic_offset: Duration::ZERO,
            dice: Dice::new(seed),
            services: BTreeMap::new(),
            faults: Vec::new(),
            hostile: true,
            served: BTreeMap::new(),
            serving: false,
            ledger: Ledger::default(),
            quiet: false,
            sleepers: Sleepers::default(),
            rough: false,
            is_replaced: false,
            story: Vec::new(),
        }
    }

    /// The time that metrics systems write on samples.
    pub fn true_wall(&self) -> Timestamp {
        Timestamp(T0.0 + self.now)
    }

    /// Serin's wall clock.
    pub fn wall(&self) -> Timestamp {
        Timestamp(T0.0 + self.now + self.wall_offset)
    }

    pub fn tell(&mut self, what: impl Into<String>) {
        self.story.push(format!("{:>9.3} s  {}", self.now as f64 / 1000.0, what.into()));
    }

    /// Moves true time on, with all requests and scrapes on the way.
    pub fn advance(&mut self, until: i64) {
        if self.quiet {
            self.now = self.now.max(until);
        }
        while self.now < until {
            let scrape = self.services.values().flat_map(|s| s.pools.values()).map(|p| p.next_scrape).min();
            let next = until.min(scrape.unwrap_or(until)).max(self.now + 1).min(until);
            self.draw(next - self.now);
            self.now = next;
            self.scrape();
        }
        let wrong = self.fault("", |kind| match kind {
            FaultKind::WallClock(offset) => Some(offset),
            _ => None,
        });
        self.wall_offset = wrong.unwrap_or(0);
        if wrong.is_some() {
            self.last_skewed = self.now;
        }
        self.settle_proxies();
        self.sleepers.wake(self.now);
    }

    /// All faults have ended, for good.
    pub fn make_peace(&mut self) {
        self.hostile = false;
        self.wall_offset = 0;
        self.tell("all faults have ended");
        self.sleepers.wake(i64::MAX);
    }

    fn draw(&mut self, milliseconds: i64) {
        let (now, dice) = (self.now, &mut self.dice);
        for service in self.services.values_mut() {
            let poison = service.poison();
            let shares: Vec<(String, f64)> =
                service.pools.keys().map(|backend| (backend.clone(), service.share(backend))).collect();
            for (backend, share) in shares {
                let rate = service.rate;
                let Some(pool) = service.pools.get_mut(&backend) else { continue };
                let requests = dice.poisson(rate * share * milliseconds as f64 / 1000.0);
                if requests == 0 {
                    continue;
                }
                let errors = poison.unwrap_or(0.0).max(pool.behaviour.errors_at(now));
                let mut drawn = [0; COUNTERS];
                drawn[0] = requests;
                drawn[1] = dice.binomial(requests, errors);
                let mut rest = requests;
                for bucket in drawn.iter_mut().skip(2).take(BOUNDS.len()) {
                    let stays = 1.0 - (0.35 * pool.behaviour.slowness).min(1.0);
                    *bucket = dice.binomial(rest, stays);
                    rest -= *bucket;
                }
                drawn[COUNTERS - 1] = rest;
                pool.requests += requests;
                for (index, count) in drawn.iter().enumerate() {
                    pool.counters[index] += count;
                    pool.unscraped[index] += count;
                }
            }
        }
    }

    fn scrape(&mut self) {
        let now = self.now;
        let stopped: Vec<bool> =
            self.services.keys().map(|name| self.has(FaultKind::ScrapesStop, name)).collect();
        let at = self.true_wall();
        for (service, stopped) in self.services.values_mut().zip(stopped) {
            for pool in service.pools.values_mut().filter(|pool| now >= pool.next_scrape) {
                pool.next_scrape = now + pool.scrape_every;
                if !stopped {
                    let (started, values) = (pool.started, pool.counters);
                    let gained = std::mem::take(&mut pool.unscraped);
                    pool.samples.push(Sample { at, started, values, gained });
                }
            }
        }
    }

    /// The processes of a pool begin anew: what was not scraped is lost to the counters.
    pub fn restart_pool(&mut self, target: &str, backend: &str) {
        let now = self.now;
        self.tell(format!("the processes of {backend} restart"));
        if let Some(pool) = self.services.get_mut(target).and_then(|s| s.pools.get_mut(backend)) {
            pool.counters = [0; COUNTERS];
            pool.unscraped = [0; COUNTERS];
            pool.started = now;
        }
    }

    /// Cut-off proxies lose their stream; the others have theirs back and are served at once what the
    /// process that runs has to serve.
    pub fn settle_proxies(&mut self) {
        let cut: Vec<bool> =
            self.services.keys().map(|name| self.has(FaultKind::ProxyCutOff, name)).collect();
        let wall = self.wall();
        for ((name, service), cut) in self.services.iter_mut().zip(cut) {
            if service.external {
                continue;
            }
            let served = self.served.get(name).filter(|_| self.serving);
            for (index, proxy) in service.proxies.values_mut().enumerate() {
                let was = std::mem::replace(&mut proxy.connected, !(cut && index == 0) && served.is_some());
                let Some((generation, weights)) = served.filter(|_| proxy.connected) else { continue };
                proxy.last_seen = wall;
                if !was {
                    proxy.come_into_force(*generation, weights.clone());
                }
            }
        }
    }
}

impl Service {
    pub fn new(spec: TargetSpec, rate: f64, proxies: usize, external: bool, scrapes: [i64; 2]) -> Service {
        let configured = default_weights(&spec);
        let pools = [(&spec.stable, scrapes[0]), (&spec.canary, scrapes[1])]
            .map(|(pool, every)| (pool.backend.clone(), PoolTruth::new(every)))
            .into();
        let proxies = (0..proxies)
            .map(|n| (format!("{}-proxy-{n}", spec.name), Proxy::new(configured.clone())))
            .collect();
        Service { spec, rate, pools, external, proxies, changes: Vec::new() }
    }

    /// The true share of all requests that a backend gets.
    pub fn share(&self, backend: &str) -> f64 {
        let sum: f64 = self.proxies.values().map(|proxy| f64::from(proxy.weight(backend))).sum();
        sum / 10_000.0 / self.proxies.len() as f64
    }

    /// The share of errors that a canary with traffic brings upon everything.
    fn poison(&self) -> Option<f64> {
        self.pools
            .iter()
            .filter(|(backend, _)| self.share(backend) > 0.0)
            .filter_map(|(_, pool)| pool.behaviour.poisons)
            .next()
    }
}

impl PoolTruth {
    fn new(scrape_every: i64) -> PoolTruth {
        PoolTruth {
            behaviour: Behaviour::errors(0.0),
            counters: [0; COUNTERS],
            unscraped: [0; COUNTERS],
            started: -1_000_000,
            scrape_every,
            next_scrape: scrape_every / 3,
            samples: Vec::new(),
            requests: 0,
        }
    }

    /// The truth of the samples in (after, until]: requests, each of which was scraped once.
    pub fn truth(&self, after: Timestamp, until: Timestamp) -> [u64; COUNTERS] {
        let mut sum = [0; COUNTERS];
        let from = self.samples.partition_point(|sample| sample.at <= after);
        for sample in self.samples[from..].iter().take_while(|sample| sample.at <= until) {
            for (index, gained) in sample.gained.iter().enumerate() {
                sum[index] += gained;
            }
        }
        sum
    }
}

impl Proxy {
    fn new(in_force: BTreeMap<String, u16>) -> Proxy {
        Proxy {
            in_force,
            generation: 0,
            connected: true,
            last_seen: T0,
            refused: None,
            tampered: false,
            pending: None,
        }
    }

    /// Does from now on what Serin has said.
    pub fn come_into_force(&mut self, generation: u64, weights: BTreeMap<String, u16>) {
        self.in_force = weights;
        self.generation = generation;
        self.tampered = false;
        self.refused = None;
        self.pending = None;
    }

    pub fn weight(&self, backend: &str) -> u16 {
        self.in_force.get(backend).copied().unwrap_or(0)
    }
}

/// What a proxy does before anybody tells it otherwise: everything to the pool that is configured as
/// stable.
pub fn default_weights(spec: &TargetSpec) -> BTreeMap<String, u16> {
    BTreeMap::from([(spec.stable.backend.clone(), 10_000), (spec.canary.backend.clone(), 0)])
}

/// A split in the pools' own names.
pub fn weights(pools: &BTreeMap<Role, Pool>, split: &Split) -> BTreeMap<String, u16> {
    pools.iter().map(|(role, pool)| (pool.backend.clone(), split.weight(*role).0)).collect()
}
