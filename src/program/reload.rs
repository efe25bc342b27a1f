//! The configuration file as a source of targets and policies: read at the start, and again when a file changes, at
//! SIGHUP, and when the API asks for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serin::config::{self, Config, ProviderKind, RouterKind, Stamps, load_config};
use serin::engine::{
    Declaration, Declared, Fault, Handle, Instances, Item, LastReload, Name, ReloadError, ReloadRequest,
    Reloaded, RestartNeeded, Source,
};
use serin::notifiers::{NotifierConfig, Surroundings, SwapNotifier};
use serin::ports::{ChannelMemory, Clock, MetricsProvider, Notifier};
use serin::providers::SwapProvider;
use serin::{api, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. A change is taken when they look the same twice, so that a file that is being
/// written is not read.
const LOOK: Duration = Duration::from_secs(1);

/// Providers and notifiers that can be replaced while they are in use.
#[derive(Default)]
pub struct Adapters {
    providers: BTreeMap<String, Arc<SwapProvider>>,
    notifiers: BTreeMap<String, Arc<SwapNotifier>>,
}

impl Adapters {
    /// Builds them as the configuration says.
    pub fn build(
        config: &Config,
        memory: &Arc<dyn ChannelMemory>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Adapters> {
        let mut adapters = Adapters::default();
        for (name, provider) in &config.providers {
            let built = provider.build().with_context(|| format!("provider {name}"))?;
            adapters.providers.insert(name.clone(), SwapProvider::new(built));
        }
        for (name, notifier) in &config.notifiers {
            let built = channel(config, name, notifier, memory, clock)?;
            adapters.notifiers.insert(name.clone(), SwapNotifier::new(built));
        }
        Ok(adapters)
    }

    /// For the engine.
    pub fn providers(&self) -> BTreeMap<String, Arc<dyn MetricsProvider>> {
        self.providers.iter().map(|(name, provider)| (name.clone(), Arc::clone(provider) as _)).collect()
    }

    /// For the engine.
    pub fn notifiers(&self) -> BTreeMap<String, Arc<dyn Notifier>> {
        self.notifiers.iter().map(|(name, notifier)| (name.clone(), Arc::clone(notifier) as _)).collect()
    }
}

fn channel(
    config: &Config,
    name: &str,
    notifier: &NotifierConfig,
    memory: &Arc<dyn ChannelMemory>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Notifier>> {
    let words = Arc::new(config.words(name));
    let around = Surroundings { words, memory: memory.clone(), clock: clock.clone() };
    notifier.build(name, &around).with_context(|| format!("notifier {name}"))
}

/// The configuration file, and what was made of it.
pub struct FileSource {
    path: PathBuf,
    /// What the daemon was started with, for what needs a restart.
    started: Config,
    adapters: Adapters,
    handle: Handle,
    memory: Arc<dyn ChannelMemory>,
    requests: mpsc::Receiver<ReloadRequest>,
    /// As the files looked when they were last read.
    stamps: Stamps,
}

impl FileSource {
    /// Takes over what was read at the start, and declares it. `stamps` are from before it was read.
    pub fn new(
        path: PathBuf,
        stamps: Stamps,
        config: Config,
        adapters: Adapters,
        handle: Handle,
        memory: Arc<dyn ChannelMemory>,
    ) -> FileSource {
        let configuration = handle.configuration();
        configuration.set_instances(Instances {
            providers: config
                .providers
                .iter()
                .map(|(n, p)| (n.clone(), ProviderKind::of(p).name()))
                .collect(),
            routers: config.routers.iter().map(|(n, r)| (n.clone(), RouterKind::of(r).name())).collect(),
        });
        let requests = configuration.requests();
        let source = FileSource { path, started: config, adapters, handle, memory, requests, stamps };
        let (declared, _) = source.declarations(&source.started);
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
    async fn release(&self) {
        if self.handle.declared().kept().is_empty() {
            return;
        }
        let _declaring = self.handle.configuration().declaring().await;
        match self.handle.release_kept().await {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                let names = changes.changed.iter().chain(&changes.removed).map(ToString::to_string);
                let names = names.collect::<Vec<_>>().join(", ");
                tracing::info!(names, "a changed declaration is in force now that the rollout has ended");
            }
            Err(error) => tracing::warn!(%error, "a changed declaration cannot be taken yet"),
        }
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
        let (faults, restart) = match &taken {
            Ok(reloaded) => (Vec::new(), reloaded.restart.clone()),
            Err(ReloadError::Wrong(faults)) => (faults.clone(), Vec::new()),
            Err(_) => return taken,
        };
        telemetry::config_reloaded(faults.is_empty(), seconds(&self.handle));
        match &taken {
            Ok(reloaded) => tell(why, reloaded),
            Err(_) => {
                tracing::error!(
                    why,
                    count = faults.len(),
                    "the configuration is not valid; the previous configuration stays in force"
                );
                faults.iter().for_each(|fault| tracing::error!("{fault}"));
            }
        }
        let at = self.handle.clock().wall();
        let file = self.path.display().to_string();
        self.handle.configuration().set_last(LastReload { at, file, faults, restart });
        taken
    }

    async fn take(&mut self) -> Result<Reloaded, ReloadError> {
        let _declaring = self.handle.configuration().declaring().await;
        let path = self.path.clone();
        let file = self.path.display().to_string();
        let read = tokio::task::spawn_blocking(move || load_config(&path)).await;
        let broken = |detail: String| vec![Fault { file: file.clone(), detail, ..Fault::default() }];
        let read = match read {
            Ok(Ok(config)) => Ok(config),
            Ok(Err(problems)) => Err(api::faults(&problems)),
            Err(error) => Err(broken(format!("it could not be read: {error}"))),
        };
        let built = read.and_then(|config| {
            let conflicts = api::conflicts(&self.handle, &config, &file);
            if !conflicts.is_empty() {
                return Err(conflicts);
            }
            let adapters = self.rebuild(&config).map_err(|error| broken(format!("{error:#}")))?;
            Ok((config, adapters))
        });
        let (config, new) = match built {
            Ok(built) => built,
            Err(faults) => {
                self.handle.declare(Source::File, Declared::Wrong(faults.clone()));
                return Err(ReloadError::Wrong(faults));
            }
        };
        let (declared, wrong) = self.declarations(&config);
        let changes = match self.handle.declare_kept(Source::File, Declared::Whole(declared)).await {
            Ok(changes) => changes,
            Err(error) => return Err(ReloadError::Wrong(broken(error.to_string()))),
        };
        let replaced = self.replace(new);
        self.handle.plan_freezes(config.freezes.clone());
        let restart = config::restarts(&self.started, &config).into_iter();
        let restart = restart.map(|r| RestartNeeded { field: r.field, why: r.why.to_owned() }).collect();
        Ok(Reloaded { changes, replaced, restart, wrong })
    }

    /// Everything that can be replaced is built before anything is: one that cannot be built keeps all as it was.
    fn rebuild(&self, config: &Config) -> Result<Rebuilt> {
        let mut new = Rebuilt::default();
        for (name, provider) in known(&config.providers, &self.adapters.providers) {
            let before = self.started.providers.get(name).map(ProviderKind::of);
            if before != Some(ProviderKind::of(provider)) {
                continue;
            }
            let built = provider.build().with_context(|| format!("providers.{name}"))?;
            new.providers.push((name.clone(), built));
        }
        for (name, notifier) in known(&config.notifiers, &self.adapters.notifiers) {
            let clock = self.handle.clock();
            new.notifiers.push((name.clone(), channel(config, name, notifier, &self.memory, clock)?));
        }
        Ok(new)
    }

    fn replace(&self, new: Rebuilt) -> Vec<String> {
        let mut replaced = Vec::new();
        for (name, provider) in new.providers {
            if let Some(place) = self.adapters.providers.get(&name) {
                place.replace(provider);
                replaced.push(format!("providers.{name}"));
            }
        }
        for (name, notifier) in new.notifiers {
            if let Some(place) = self.adapters.notifiers.get(&name) {
                place.replace(notifier);
                replaced.push(format!("notifiers.{name}"));
            }
        }
        replaced
    }

    /// What a configuration declares. Targets whose provider or router does not run yet, or runs as another kind, are
    /// not taken before the restart.
    fn declarations(&self, config: &Config) -> (Vec<Declaration>, Vec<(Name, Vec<Fault>)>) {
        let origin = self.path.display().to_string();
        let running = self.handle.configuration().instances();
        let mut wrong = Vec::new();
        let mut declared: Vec<Declaration> = Vec::new();
        for policy in config.policies.values() {
            let item = Item::Policy(Arc::new(policy.clone()));
            declared.push(Declaration::Good { item, origin: origin.clone() });
        }
        for spec in config.targets.values() {
            let provider =
                config.providers.get(&spec.provider).map(|provider| ProviderKind::of(provider).name());
            let router = config.routers.get(&spec.router).map(|router| RouterKind::of(router).name());
            let waits = if running.providers.get(&spec.provider).copied() != provider {
                Some(("provider", &spec.provider))
            } else if running.routers.get(&spec.router).copied() != router {
                Some(("router", &spec.router))
            } else {
                None
            };
            let Some((what, name)) = waits else {
                let item = Item::Target(Arc::new(spec.clone()));
                declared.push(Declaration::Good { item, origin: origin.clone() });
                continue;
            };
            let fault = Fault {
                file: origin.clone(),
                field: format!("targets.{}.{what}", spec.name),
                detail: format!(
                    "the {what} {name} is connected at the next start; restart Serin to apply this"
                ),
                ..Fault::default()
            };
            let target = Name::Target(spec.name.clone());
            wrong.push((target.clone(), vec![fault.clone()]));
            declared.push(Declaration::Wrong { name: target, faults: vec![fault] });
        }
        (declared, wrong)
    }
}

#[derive(Default)]
struct Rebuilt {
    providers: Vec<(String, Arc<dyn MetricsProvider>)>,
    notifiers: Vec<(String, Arc<dyn Notifier>)>,
}

/// Those of a new configuration that are running.
fn known<'c, C, R>(
    configured: &'c BTreeMap<String, C>,
    running: &'c BTreeMap<String, R>,
) -> impl Iterator<Item = (&'c String, &'c C)> {
    configured.iter().filter(move |(name, _)| running.contains_key(*name))
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
    for fault in reloaded.wrong.iter().flat_map(|(_, faults)| faults) {
        tracing::warn!("{fault}");
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of this era are exact")]
fn seconds(handle: &Handle) -> f64 {
    handle.clock().wall().0 as f64 / 1000.0
}
