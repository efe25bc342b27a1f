//! A whole Serin in this process with many rollouts that are looked at every half second, its API on a
//! port, and viewers of its event stream: prompt ones, and slow ones that read nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serin::api::{Access, Limits, listen, router_for, serve};
use serin::clock::SystemClock;
use serin::config::parse_policy;
use serin::core::ids::RolloutId;
use serin::core::rollout::{Command, CommandKind, Force, Giver, RolloutKind};
use serin::core::routing::Routing;
use serin::core::spec::{Pool, TargetSpec};
use serin::core::split::Role;
use serin::demo::load::{Load, LoadOptions};
use serin::demo::service::{Service, ServiceOptions};
use serin::engine::{Engine, Handle, Options, Parts, StartRequest};
use serin::messages::Words;
use serin::ports::{NoFailpoints, NoGatekeeper, Notifier, Queries};
use serin::providers::scrape::ScrapeConfig;
use serin::routers::StaticPools;
use serin::routers::in_process::InProcessRouter;
use serin::store::SqliteStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::wait;

/// Time between two looks at a rollout.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// A viewer that takes nothing for so long is cut off.
pub const SLOW: Duration = Duration::from_secs(2);
/// How long a place is waited for: what a slow viewer is sent must fill its buffers first, and on a busy machine there
/// are few looks to send.
const PATIENCE: Duration = Duration::from_secs(480);
/// Viewers that there is a place for.
pub const PLACES: usize = 200;

/// Everything that runs.
pub struct House {
    pub address: SocketAddr,
    pub handle: Handle,
    pub store: SqliteStore,
    pub rollouts: Vec<RolloutId>,
    split: Arc<InProcessRouter>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _services: [Service; 2],
    _load: [Load; 2],
    _folder: TempDir,
}

/// One viewer: what it has read, and the task that reads until the end.
pub struct Viewer {
    pub bytes: Arc<AtomicU64>,
    pub task: JoinHandle<()>,
}

fn policy() -> String {
    // It is held at its step for as long as it is looked at: nothing is proven at so few requests.
    "name: looked-at
description: Looked at, and never through.
steps:
  - {weight: 5%, min: 10m, max: 1h, at_max: hold}
  - {weight: 100%}
analysis: {interval: 500ms, lag: 0s, warm_up: 1s, dispersion: 1, blind: {after: 60s, then: hold}, silent: {after: 1h, then: hold}, confirm_within: 10s}
bake: {duration: 4s}
metrics:
  - {name: errors, template: http_errors, absent: zero, no_harm_floor: 0.8%}
  - {name: latency, template: http_latency, no_harm_floor: 0.8%}
"
    .to_owned()
}

impl House {
    /// With so many targets, a rollout on each, all of them analysing.
    pub async fn open(targets: usize) -> House {
        House::open_with(targets, BTreeMap::new()).await
    }

    /// The same with channels that are told everything.
    pub async fn open_with(targets: usize, notifiers: BTreeMap<String, Arc<dyn Notifier>>) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let service = |version: &str, seed| Service::start(ServiceOptions::new(version, seed));
        let services =
            [service("v1", 1).await.expect("a service"), service("v2", 2).await.expect("a service")];
        let load = [0, 1].map(|index: usize| {
            let requests =
                LoadOptions { max_requests: 1_000_000, ..LoadOptions::new(services[index].addr(), 20.0) };
            Load::start(requests)
        });
        let store = SqliteStore::open(&folder.path().join("serin.db")).await.expect("a store");
        let policy = parse_policy("policy.yaml", policy().as_bytes()).expect("the policy is right");
        let specs: BTreeMap<String, TargetSpec> = (0..targets)
            .map(|number| {
                let spec = target(&format!("shop-{number:02}"), &services);
                (spec.name.clone(), spec)
            })
            .collect();
        let handle = Handle::new(
            Arc::new(store.clone()),
            Arc::new(SystemClock::new()),
            BTreeMap::from([(policy.name.clone(), policy)]),
            specs.clone(),
        );
        let provider = ScrapeConfig { deadline: Duration::from_secs(3), max_bytes: 1 << 20 }.build();
        let split = InProcessRouter::new();
        let engine = Engine::load(Parts {
            handle: handle.clone(),
            providers: BTreeMap::from([("scrape".to_owned(), provider.expect("a provider"))]),
            routers: BTreeMap::from([("in-process".to_owned(), split.clone() as _)]),
            workload: Arc::new(StaticPools),
            routing: Routing::everything(notifiers.keys().cloned()),
            notifiers,
            words: Words::default(),
            gatekeeper: Arc::new(NoGatekeeper),
            failpoints: Arc::new(NoFailpoints),
            options: Options::default(),
        })
        .await
        .expect("the engine");
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let token = stop.clone();
        tasks.spawn(async move { engine.run(token).await.expect("no failpoint") });
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = listener.local_addr().expect("an address");
        let limits = Limits { slow_viewer: SLOW, viewers: PLACES, ..Limits::default() };
        let router =
            router_for(handle.clone(), Arc::new(String::new), limits, Access::open(), Default::default());
        let ended = stop.clone().cancelled_owned();
        tasks.spawn(async move { drop(serve(listener, router, ended).await) });
        let mut rollouts = Vec::new();
        for name in specs.keys() {
            let request = StartRequest {
                target: name.clone(),
                policy: "looked-at".to_owned(),
                version: "v2".to_owned(),
                kind: RolloutKind::Release,
                by: "erin".to_owned(),
                supersede: false,
                idempotency_key: None,
                not_before: None,
            };
            rollouts.push(handle.start(request).await.expect("a rollout").id.clone());
        }
        let house = House {
            address,
            handle: handle.clone(),
            split,
            store,
            rollouts,
            stop,
            tasks,
            _services: services,
            _load: load,
            _folder: folder,
        };
        for id in house.rollouts.clone() {
            let looked_at = async || (house.looks(&id).await.len() >= 4).then_some(());
            wait::until("four looks at each rollout", Duration::from_secs(120), looked_at).await;
        }
        house
    }

    /// Whether the canary of a target gets requests.
    pub fn has_canary(&self, target: &str) -> bool {
        // Every hundredth part of the range: the canary has 5%.
        (0..100).any(|part| self.split.pick(target, u64::MAX / 100 * part) == Role::Canary)
    }

    /// Takes a rollout back; gives how long it took from the command until its canary gets nothing.
    pub async fn take_back(&self, number: usize) -> Duration {
        let target = format!("shop-{number:02}");
        wait::until("the canary gets requests", Duration::from_secs(60), async || {
            self.has_canary(&target).then_some(())
        })
        .await;
        let command = Command {
            key: format!("back-{number}"),
            by: "erin".to_owned(),
            reason: None,
            expected_revision: None,
            kind: CommandKind::Rollback,
            giver: Giver::Person,
            force: Force::default(),
        };
        let begun = tokio::time::Instant::now();
        self.handle.command(&self.rollouts[number], command).await.expect("it is taken");
        while self.has_canary(&target) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the canary still gets requests");
            tokio::task::yield_now().await;
        }
        begun.elapsed()
    }

    /// When a rollout was looked at, in milliseconds.
    async fn looks(&self, id: &RolloutId) -> Vec<i64> {
        let mut times: Vec<(u64, i64)> = Vec::new();
        loop {
            let after = times.last().map_or(0, |(seq, _)| *seq);
            let page = self.store.observations(id, after, 500).await.expect("the looks");
            if page.is_empty() {
                return times.into_iter().map(|(_, at)| at).collect();
            }
            times.extend(page.iter().map(|(look, _)| (look.seq, look.at.0)));
        }
    }

    /// How many looks there were at all rollouts together.
    pub async fn count(&self) -> usize {
        let mut count = 0;
        for id in &self.rollouts {
            count += self.looks(id).await.len();
        }
        count
    }

    /// Waits until each rollout was looked at `looks` more times; gives how much later than the interval
    /// each of these looks came after the one before, in milliseconds, rising.
    pub async fn lateness(&self, looks: usize) -> Vec<i64> {
        let mut late = Vec::new();
        let mut before = Vec::new();
        for id in &self.rollouts {
            before.push(self.looks(id).await.len());
        }
        for (id, before) in self.rollouts.iter().zip(before) {
            let enough = async || {
                let times = self.looks(id).await;
                (times.len() >= before + looks).then_some(times)
            };
            let times = wait::until("more looks", Duration::from_secs(300), enough).await;
            let interval = INTERVAL.as_millis() as i64;
            late.extend(times[before - 1..].windows(2).map(|pair| pair[1] - pair[0] - interval));
        }
        late.sort_unstable();
        late
    }

    async fn connect(&self, small: bool) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        if small {
            // What lies in its buffers is the daemon's to write, and nobody's to read.
            socket.set_recv_buffer_size(4096).expect("a small buffer");
        }
        let mut stream = socket.connect(self.address).await.expect("a connection");
        let request = format!("GET /api/v1/stream HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        stream
    }

    /// A viewer that reads whatever comes; `None` if there is no place for it.
    pub async fn prompt(&self) -> Option<Viewer> {
        let mut stream = self.connect(false).await;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        match &first {
            b"HTTP/1.1 200" => {}
            b"HTTP/1.1 503" => return None,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = bytes.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                counted.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
        Some(Viewer { bytes, task })
    }

    /// A viewer that never reads. Its connection is open for as long as the daemon leaves it.
    pub async fn slow(&self) -> TcpStream {
        self.connect(true).await
    }

    /// Takes so many places as soon as they are free.
    pub async fn take(&self, places: usize) -> Vec<Viewer> {
        let mut viewers = Vec::new();
        for _ in 0..places {
            viewers.push(wait::until("a place is free", PATIENCE, || self.prompt()).await);
        }
        viewers
    }

    /// Stops everything.
    pub async fn close(mut self) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(20), all).await;
        self.store.close().await;
    }
}

/// Reads what has come for a slow viewer: how much it was, and whether the connection has ended then.
pub async fn rest(stream: &mut TcpStream) -> (u64, bool) {
    let mut buffer = vec![0; 64 * 1024];
    let mut all = 0;
    loop {
        match tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return (all, true),
            Ok(Ok(count)) => all += count as u64,
            Err(_) => return (all, false),
        }
    }
}

fn target(name: &str, services: &[Service; 2]) -> TargetSpec {
    let pool = |index: usize| Pool {
        backend: format!("{name}-{index}"),
        labels: BTreeMap::from([("version".to_owned(), "{version}".to_owned())]),
        endpoints: vec![services[index].url("/metrics")],
    };
    TargetSpec {
        name: name.to_owned(),
        router: "in-process".to_owned(),
        provider: "scrape".to_owned(),
        route: name.to_owned(),
        labels: BTreeMap::new(),
        stable: pool(0),
        canary: pool(1),
        baseline: None,
        stable_version: Some("v1".to_owned()),
        environment: None,
        split_by: Default::default(),
    }
}
