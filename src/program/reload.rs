//! The configuration file as a source of targets and policies: read at the start, and again when a file changes, at
//! SIGHUP, and when the API asks for it.

pub mod connect;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serin::api::People;
use serin::config::{
    self, Config, Differences, Problem, ProviderKind, RouterKind, Stamps, Taken, load_config,
};
use serin::core::routing::channel_of;
use serin::core::spec::TargetSpec;
use serin::core::target::Target;
use serin::engine::{
    Declaration, Declared, Handle, Instances, Item, LastReload, Name, ReloadError, ReloadRequest, Reloaded,
    RestartNeeded, Source,
};
use serin::ports::{OutboxFilter, OutboxState};
use serin::{api, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use connect::{Built, Connected};

/// How often the files are looked at. A change is taken when they look the same twice, so that a file that is being
/// written is not read.
const LOOK: Duration = Duration::from_secs(1);
/// Notifications that are counted when their channel is removed.
const MOST_PENDING: usize = 10_000;

/// Targets that wait for a restart: what they name that is not connected before.
type Waits = BTreeMap<String, (&'static str, String)>;

/// The configuration file, and what was made of it.
pub struct FileSource {
    path: PathBuf,
    /// What runs: of what waits for a restart, what it was started with.
    config: Config,
    connected: Connected,
    people: People,
    handle: Handle,
    requests: mpsc::Receiver<ReloadRequest>,
    /// As the files looked when they were last read.
    stamps: Stamps,
}

impl FileSource {
    /// Takes over what was read and connected at the start, and declares it. `stamps` are from before it was read.
    pub fn new(
        path: PathBuf,
        (config, stamps): (Config, Stamps),
        connected: Connected,
        people: People,
        handle: Handle,
    ) -> FileSource {
        let requests = handle.configuration().requests();
        let source = FileSource { path, config, connected, people, handle, requests, stamps };
        source.set_instances();
        let (declared, _) = source.declarations(&source.config, &Waits::new());
        source.handle.declare(Source::File, Declared::Whole(declared));
        telemetry::config_loaded(seconds(&source.handle));
        source
    }

    /// Reloads when it is asked to, or a file has changed, until `shutdown`.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = self.stamps.clone();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(answer) = self.requests.recv() => {
                    let result = self.reload("the API").await;
                    let _ = answer.send(result);
                }
                Some(()) = hangup.recv() => drop(self.reload("SIGHUP").await),
                _ = look.tick() => {
                    self.release().await;
                    let now = self.look().await;
                    if now != self.stamps && now == last {
                        drop(self.reload("the files have changed").await);
                    }
                    last = now;
                }
            }
        }
    }

    /// Takes what has waited for rollouts that have ended since.
    async fn release(&mut self) {
        if self.handle.declared().kept().is_empty() {
            return self.release_adapters();
        }
        let declaring = self.handle.configuration().declaring().await;
        let released = self.handle.release_kept().await;
        drop(declaring);
        match released {
            Ok(changes) if changes.is_empty() => return,
            Ok(changes) => {
                let names = changes.changed.iter().chain(&changes.removed).map(ToString::to_string);
                let names = names.collect::<Vec<_>>().join(", ");
                tracing::info!(names, "a changed declaration is in force now that the rollout has ended");
            }
            Err(error) => return tracing::warn!(%error, "a changed declaration cannot be taken yet"),
        }
        self.release_adapters();
    }

    async fn look(&self) -> Stamps {
        let path = self.path.clone();
        let looked = tokio::task::spawn_blocking(move || Stamps::of(&config::watched(&path))).await;
        looked.unwrap_or_else(|_| self.stamps.clone())
    }

    /// Reads the configuration again. What is wrong with it changes nothing.
    async fn reload(&mut self, why: &str) -> Result<Reloaded, ReloadError> {
        // From before it is read: what changes meanwhile is read again.
        self.stamps = self.look().await;
        let taken = self.take().await;
        let (problems, restart) = match &taken {
            Ok(reloaded) => (Vec::new(), reloaded.restart.clone()),
            Err(ReloadError::Wrong(problems)) => (problems.clone(), Vec::new()),
            Err(_) => return taken,
        };
        telemetry::config_reloaded(problems.is_empty(), seconds(&self.handle));
        match &taken {
            Ok(reloaded) => tell(why, reloaded),
            Err(_) => {
                tracing::error!(
                    why,
                    count = problems.len(),
                    "the configuration is not valid; the previous configuration stays in force"
                );
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
            }
        }
        let at = self.handle.clock().wall();
        let file = self.path.display().to_string();
        self.handle.configuration().set_last(LastReload { at, file, problems, restart });
        taken
    }

    async fn take(&mut self) -> Result<Reloaded, ReloadError> {
        let _declaring = self.handle.configuration().declaring().await;
        let (taken, mut built) = match self.read().await {
            Ok(read) => read,
            Err(problems) => {
                self.handle.declare(Source::File, Declared::Wrong(problems.clone()));
                return Err(ReloadError::Wrong(problems));
            }
        };
        let config = taken.config;
        let differences = Differences::between(&self.config, &config);
        // What is new is there before the targets that name it; nothing else has changed until they are declared.
        self.connected.add(&mut built);
        self.connect();
        let (declared, wrong) = self.declarations(&config, &taken.targets);
        let changes = match self.handle.declare_kept(Source::File, Declared::Whole(declared)).await {
            Ok(changes) => changes,
            Err(error) => {
                self.release_adapters();
                return Err(ReloadError::Wrong(vec![self.problem("", error.to_string())]));
            }
        };
        let before = std::mem::replace(&mut self.config, config);
        self.people.replace(&built.people);
        let replaced = self.connected.take(&self.config, built);
        self.connect();
        self.release_adapters();
        self.handle.plan_freezes(self.config.freezes.clone());
        self.set_instances();
        self.tell_removed_channels(&before).await;
        let restart = taken.restarts.into_iter().map(|r| RestartNeeded { field: r.field, why: r.why });
        let Differences { added, changed, removed } = differences;
        let (restart, waiting) = (restart.collect(), self.waiting());
        Ok(Reloaded { changes, added, changed, removed, replaced, waiting, restart, wrong })
    }

    /// Reads the file and builds what it names; nothing is in force yet.
    async fn read(&self) -> Result<(Taken, Built), Vec<Problem>> {
        let (path, file) = (self.path.clone(), self.path.display().to_string());
        let read = tokio::task::spawn_blocking(move || load_config(&path)).await;
        let config = match read {
            Ok(Ok(config)) => config,
            Ok(Err(problems)) => return Err(problems.0),
            Err(error) => return Err(vec![self.problem("", format!("it could not be read: {error}"))]),
        };
        let mut problems = api::conflicts(&self.handle, &config, &file);
        let running = Config { routers: self.connected.routers(), ..self.config.clone() };
        let taken = config::take(&running, &config);
        let built = match self.connected.build(&taken.config).await {
            Ok(built) if problems.is_empty() => return Ok((taken, built)),
            Ok(_) => Vec::new(),
            Err(wrong) => wrong,
        };
        problems.extend(built.into_iter().map(|(field, what)| self.problem(&field, what)));
        Err(problems)
    }

    fn problem(&self, field: &str, what: String) -> Problem {
        Problem::of(self.path.display().to_string(), field, what)
    }

    fn connect(&self) {
        self.handle.connect(self.connected.adapters(&self.config));
    }

    /// Lets go of what is neither configured nor used by a target.
    fn release_adapters(&mut self) {
        let targets = self.handle.targets();
        let gone = self.connected.release(&self.config, targets.values().map(AsRef::as_ref));
        if !gone.is_empty() {
            tracing::info!(names = gone.join(", "), "not configured and not in use any more: disconnected");
            self.connect();
        }
    }

    /// What is applied when a rollout has ended.
    fn waiting(&self) -> Vec<String> {
        let declared = self.handle.declared();
        let mut waiting = Vec::new();
        for (target, kept) in declared.kept() {
            let (fields, rollout) = (kept.waiting.join(", "), &kept.rollout);
            waiting.push(format!("target {target}: {fields} (until rollout {rollout} has ended)"));
        }
        for (kind, name) in self.connected.left_over(&self.config) {
            let uses = |spec: &&Arc<TargetSpec>| match kind {
                "provider" => spec.provider == name,
                _ => spec.router == name,
            };
            let users: Vec<&str> =
                declared.targets().values().filter(uses).map(|t| t.name.as_str()).collect();
            waiting.push(format!("{kind} {name}: removal (still used by {})", users.join(", ")));
        }
        waiting
    }

    /// Says what is lost with channels that are not configured any more.
    async fn tell_removed_channels(&self, before: &Config) {
        let gone: Vec<&String> =
            before.notifiers.keys().filter(|name| !self.config.notifiers.contains_key(*name)).collect();
        if gone.is_empty() {
            return;
        }
        let store = self.handle.store();
        let pending = OutboxFilter { state: OutboxState::Pending, after: None, limit: MOST_PENDING };
        let pending = store.outbox_list(pending).await.unwrap_or_default();
        let targets = store.targets().await.unwrap_or_default();
        for channel in gone {
            let count = pending.iter().filter(|known| channel_of(&known.entry.channel) == channel).count();
            if count > 0 {
                tracing::warn!(
                    channel,
                    count,
                    "the channel is removed: notifications that wait for it are given up when they are due \
                     (`serin outbox`, retry once the channel is back)"
                );
            }
            let has = |target: &&Target| target.incident.as_ref().is_some_and(|i| i.told.contains(channel));
            for target in targets.iter().filter(has) {
                tracing::warn!(
                    channel,
                    target_name = target.name,
                    "the channel is removed: the incident that is open there is not resolved by Serin"
                );
            }
        }
    }

    /// Which providers and routers targets may name.
    fn set_instances(&self) {
        self.handle.configuration().set_instances(instances(&self.config));
    }

    /// What a configuration declares. Targets whose provider or router waits for a restart are not taken before.
    fn declarations(&self, config: &Config, waits: &Waits) -> (Vec<Declaration>, Vec<(Name, Vec<Problem>)>) {
        let origin = self.path.display().to_string();
        let mut wrong = Vec::new();
        let mut declared: Vec<Declaration> = Vec::new();
        for policy in config.policies.values() {
            let item = Item::Policy(Arc::new(policy.clone()));
            declared.push(Declaration::Good { item, origin: origin.clone() });
        }
        for spec in config.targets.values() {
            let Some((what, name)) = waits.get(&spec.name) else {
                let item = Item::Target(Arc::new(spec.clone()));
                declared.push(Declaration::Good { item, origin: origin.clone() });
                continue;
            };
            let field = format!("targets.{}.{what}", spec.name);
            let detail =
                format!("the {what} {name} is connected at the next start; restart Serin to apply this");
            let problem = self.problem(&field, detail);
            let target = Name::Target(spec.name.clone());
            wrong.push((target.clone(), vec![problem.clone()]));
            declared.push(Declaration::Wrong { name: target, problems: vec![problem] });
        }
        (declared, wrong)
    }
}

fn instances(config: &Config) -> Instances {
    let providers = config.providers.iter().map(|(n, p)| (n.clone(), ProviderKind::of(p).name()));
    let routers = config.routers.iter().map(|(n, r)| (n.clone(), RouterKind::of(r).name()));
    Instances { providers: providers.collect(), routers: routers.collect() }
}

fn tell(why: &str, reloaded: &Reloaded) {
    let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let changes = &reloaded.changes;
    tracing::info!(
        why,
        added = names(&changes.added),
        changed = names(&changes.changed),
        removed = names(&changes.removed),
        "the configuration was reloaded"
    );
    for needed in &reloaded.restart {
        tracing::warn!(field = needed.field, why = needed.why, "a restart is needed to apply this");
    }
    for problem in reloaded.wrong.iter().flat_map(|(_, problems)| problems) {
        tracing::warn!("{problem}");
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of this era are exact")]
fn seconds(handle: &Handle) -> f64 {
    handle.clock().wall().0 as f64 / 1000.0
}
