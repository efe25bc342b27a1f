//! The demo at work: the services, their traffic, and a whole Serin on its embedded default, in one
//! process. The only file of the demo that knows the engine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::load::{Load, LoadCounts, LoadOptions};
use super::scenario::{BASE, RATE, RUNNING, Release, Scenario, check};
use super::service::{Service, ServiceOptions};
use super::summary::{ReleaseReport, Report, Served};
use crate::config::parse_policy;
use crate::core::ids::RolloutId;
use crate::core::policy::Policy;
use crate::core::rollout::{EventRecord, Phase, Rollout, RolloutKind};
use crate::core::routing::Routing;
use crate::core::spec::{Pool, TargetSpec};
use crate::engine::{Engine, Handle, Options, Parts, StartRequest};
use crate::messages::Words;
use crate::notifiers::log::LogNotifier;
use crate::ports::{Clock, NoFailpoints, NoGatekeeper, Queries};
use crate::providers::scrape::ScrapeConfig;
use crate::routers::StaticPools;
use crate::routers::in_process::InProcessRouter;
use crate::store::SqliteStore;

/// The demo's policy as it is shipped.
pub const POLICY: &str = include_str!("../../policies/demo.yaml");

/// The name of the target.
const TARGET: &str = "shop";
/// The pools, as the router knows them.
const POOLS: [&str; 2] = ["pool-a", "pool-b"];
/// A rollout that is not at its end by then does not go as the scenario says.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the parts may take to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Time between two looks at whether a rollout is at its end.
const LOOK: Duration = Duration::from_millis(200);

/// Serves the API of an engine until the token is cancelled.
pub type ServeApi = Box<dyn FnOnce(Handle, TcpListener, CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Shows a rollout live until its end. It gets the API's URL and the rollout's id.
pub type Watch = Box<dyn Fn(String, RolloutId) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the rooms that the demo does not know lend it.
pub struct Surroundings {
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// The API.
    pub serve_api: ServeApi,
    /// The live view.
    pub watch: Watch,
    /// Writes a line for people.
    pub tell: Box<dyn Fn(&str) + Send + Sync>,
}

/// The policy of the demo.
///
/// # Errors
/// If the shipped file is wrong.
pub fn policy() -> Result<Policy> {
    parse_policy("policies/demo.yaml", POLICY.as_bytes()).map_err(|problems| anyhow::anyhow!("{problems}"))
}

/// Plays a scenario. However it ends, nothing runs on afterwards and no file is left.
///
/// # Errors
/// If a part cannot be started, or the demo is interrupted. A scenario that goes otherwise is not an
/// error: the report says so.
pub async fn run(scenario: Scenario, surroundings: Surroundings) -> Result<Report> {
    let folder = Folder::new()?;
    let stage = Stage::set(&folder.path, surroundings).await?;
    let report = tokio::select! {
        report = stage.play(scenario) => report,
        signal = interrupted() => Err(signal),
    };
    let stopped = stage.strike().await;
    let mut report = report?;
    report.traffic = stopped?;
    Ok(report)
}

/// Everything that runs.
struct Stage {
    /// By their index in [`POOLS`].
    services: [Service; 2],
    load: Load,
    begun: Instant,
    handle: Handle,
    store: SqliteStore,
    api: String,
    watch: Watch,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    shutdown: CancellationToken,
    engine: AbortHandle,
    /// The engine and the API.
    tasks: JoinSet<Result<()>>,
}

impl Stage {
    async fn set(folder: &Path, surroundings: Surroundings) -> Result<Stage> {
        let Surroundings { clock, serve_api, watch, tell } = surroundings;
        let services = [service(RUNNING, Fault::None).await?, service("none yet", Fault::Crash).await?];
        let store = SqliteStore::open(&folder.join("serin.db")).await.context("the demo's database")?;
        let policy = policy()?;
        let target = target(&services);
        let handle = Handle::new(
            Arc::new(store.clone()),
            clock,
            BTreeMap::from([(policy.name.clone(), policy)]),
            BTreeMap::from([(target.name.clone(), target)]),
        );
        let router = InProcessRouter::new();
        let provider = ScrapeConfig { deadline: Duration::from_millis(800), max_bytes: 1 << 20 }.build()?;
        let engine = Engine::load(Parts {
            handle: handle.clone(),
            providers: BTreeMap::from([("scrape".to_owned(), provider)]),
            routers: BTreeMap::from([("in-process".to_owned(), Arc::clone(&router) as _)]),
            workload: Arc::new(StaticPools),
            notifiers: BTreeMap::from([("log".to_owned(), Arc::new(LogNotifier) as _)]),
            routing: Routing::everything(["log".to_owned()]),
            words: Words::default(),
            gatekeeper: Arc::new(NoGatekeeper),
            failpoints: Arc::new(NoFailpoints),
            options: Options {
                reconcile_interval: Duration::from_secs(2),
                // Nobody keeps a session here, and nothing arrives late.
                drain: Duration::from_secs(1),
                ..Options::default()
            },
        })
        .await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for the API")?;
        let api = format!("http://{}", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let token = shutdown.clone();
        let engine = tasks.spawn(async move { Ok(engine.run(token).await?) });
        let serving = serve_api(handle.clone(), listener, shutdown.clone());
        tasks.spawn(async move {
            serving.await;
            Ok(())
        });
        let load = Load::start(LoadOptions {
            backends: services.iter().map(Service::addr).collect(),
            pick: Some(Arc::new(move |random| {
                let pool = router.pick_backend(TARGET, random);
                POOLS.iter().position(|name| pool.as_deref() == Some(*name)).unwrap_or(0)
            })),
            max_requests: 2_000_000,
            // Where the machine was too busy, the users of that moment are gone; they do not all come at
            // once afterwards.
            max_burst: (RATE / 20.0) as u64,
            seed: rand::random(),
            ..LoadOptions::new(services[0].addr(), RATE)
        });
        let begun = Instant::now();
        Ok(Stage { services, load, begun, handle, store, api, watch, tell, shutdown, engine, tasks })
    }

    async fn play(&self, scenario: Scenario) -> Result<Report> {
        (self.tell)(&format!(
            "One process, nothing to install: two versions of a small HTTP service, {RATE:.0} requests per \
             second for them, and Serin, which moves the traffic. Watch it in a browser, too: {}/ \
             (the API is under /api/v1 there).\n",
            self.api
        ));
        let mut report = Report { scenario, releases: Vec::new(), traffic: self.load.counts(), seconds: 0.0 };
        let mut running = 0;
        for release in scenario.releases() {
            let played = self.release(release, running).await?;
            let as_told = check(release.expected, &played.rollout).is_ok();
            if played.rollout.phase == Phase::Succeeded {
                running = 1 - running;
            }
            report.releases.push(played);
            if !as_told {
                break;
            }
        }
        report.seconds = self.begun.elapsed().as_secs_f64();
        Ok(report)
    }

    async fn release(&self, release: Release, running: usize) -> Result<ReleaseReport> {
        let (stable, canary) = (&self.services[running], &self.services[1 - running]);
        canary.deploy(release.version, release.fault).await?;
        (self.tell)(&format!("Releasing {}, which {}.\n", release.version, release.about));
        let before = (served(stable), served(canary));
        let request = StartRequest {
            target: TARGET.to_owned(),
            policy: self.handle.policies().keys().next().cloned().unwrap_or_default(),
            version: release.version.to_owned(),
            kind: RolloutKind::Release,
            by: "the demo".to_owned(),
            supersede: false,
            idempotency_key: None,
            not_before: None,
        };
        let id = self.handle.start(request).await?.id.clone();
        (self.tell)(&format!("Its page: {}/rollouts/{id}\n", self.api));
        let rollout = self.follow(&id).await?;
        Ok(ReleaseReport {
            release,
            rollout,
            events: self.events(&id).await?,
            stable: served(stable).since(before.0),
            canary: served(canary).since(before.1),
        })
    }

    /// Shows the rollout until it is at its end, or until patience is. The store says which, not the
    /// view, which may be lost with its terminal.
    async fn follow(&self, id: &RolloutId) -> Result<Rollout> {
        let view = (self.watch)(self.api.clone(), id.clone());
        let ended = tokio::time::timeout(PATIENCE, self.ended(id));
        tokio::pin!(view, ended);
        let ended = tokio::select! {
            () = &mut view => ended.await,
            ended = &mut ended => {
                // The view sees the end a moment later, and draws it.
                let _ = tokio::time::timeout(GRACE, view).await;
                ended
            }
        };
        match ended {
            Ok(rollout) => rollout,
            Err(_) => Ok(self.store.rollout(id).await?),
        }
    }

    async fn ended(&self, id: &RolloutId) -> Result<Rollout> {
        loop {
            let rollout = self.store.rollout(id).await?;
            if rollout.phase.is_terminal() {
                return Ok(rollout);
            }
            if self.engine.is_finished() {
                bail!("the engine has stopped");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn events(&self, id: &RolloutId) -> Result<Vec<EventRecord>> {
        Ok(self.store.events(id, 0, 1_000).await?)
    }

    /// Stops everything, in the order in which nothing is cut off; says what became of the traffic.
    async fn strike(mut self) -> Result<LoadCounts> {
        let counts = self.load.stop().await;
        self.shutdown.cancel();
        let mut result = Ok(counts);
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended.map_err(anyhow::Error::from).flatten() {
                    result = Err(error);
                }
            }
        };
        let _ = tokio::time::timeout(GRACE, all).await;
        for service in &self.services {
            service.stop().await;
        }
        self.store.close().await;
        result
    }
}

async fn service(version: &str, fault: Fault) -> Result<Service> {
    let options = ServiceOptions { behaviour: BASE, fault, ..ServiceOptions::new(version, rand::random()) };
    Service::start(options).await.context("the demo's service")
}

fn served(service: &Service) -> Served {
    Served { requests: service.requests(), errors: service.errors() }
}

fn target(services: &[Service; 2]) -> TargetSpec {
    let pool = |index: usize| Pool {
        backend: POOLS[index].to_owned(),
        labels: BTreeMap::from([("version".to_owned(), "{version}".to_owned())]),
        endpoints: vec![services[index].url("/metrics")],
    };
    TargetSpec {
        name: TARGET.to_owned(),
        router: "in-process".to_owned(),
        provider: "scrape".to_owned(),
        route: TARGET.to_owned(),
        labels: BTreeMap::new(),
        stable: pool(0),
        canary: pool(1),
        baseline: None,
        stable_version: Some(RUNNING.to_owned()),
        environment: None,
        split_by: Default::default(),
    }
}

/// Resolves when somebody wants the demo to end.
async fn interrupted() -> anyhow::Error {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        _ = interrupt => {}
        () = terminate => {}
    }
    anyhow::anyhow!("interrupted; nothing was left behind")
}

/// A folder of its own under the system's temporary one; removed when dropped.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("serin-demo-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&path).with_context(|| format!("a temporary folder {}", path.display()))?;
        Ok(Folder { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // There is nobody left to tell; the system cleans its temporary folder too.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_with_all_that_is_in_it() {
        let folder = Folder::new().unwrap();
        let path = folder.path.clone();
        std::fs::write(path.join("serin.db-wal"), b"something").unwrap();
        assert!(path.starts_with(std::env::temp_dir()));
        drop(folder);
        assert!(!path.exists());
    }
}
