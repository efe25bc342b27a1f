//! Builds the parts that the configuration names, and runs them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serin::api::{Access, Limits, Tls};
use serin::clock::SystemClock;
use serin::config::{Config, Stamps, load_config, watched};
use serin::engine::{Adapters, Engine, Handle, Options, Parts};
use serin::gates::Gates;
use serin::ports::{ChannelMemory, Clock, Failpoints, NoFailpoints, RolloutFilter, Store};
use serin::routers::StaticPools;
use serin::store::SqliteStore;
use serin::{api, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failpoints::FromEnvironment;
use super::reload::FileSource;
use super::reload::connect::{Connected, Wrong};

/// Runs the daemon until it is told to stop.
pub async fn serve(path: &Path) -> ExitCode {
    // From before it is read: what changes meanwhile is read again.
    let stamps = Stamps::of(&watched(path));
    let config = match load_config(path) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    let format = match std::env::var("SERIN_LOG_FORMAT").as_deref() {
        Ok("json") => telemetry::LogFormat::Json,
        _ => telemetry::LogFormat::Text,
    };
    if let Err(error) = telemetry::init_log("info", format) {
        eprintln!("serin: {error}");
        return ExitCode::from(2);
    }
    match run(path, stamps, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("serin: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(path: &Path, stamps: Stamps, config: Config) -> Result<()> {
    let metrics = telemetry::install_metrics().context("own metrics")?;
    let shutdown = CancellationToken::new();
    let listener = api::listen(config.listen).with_context(|| format!("listening on {}", config.listen))?;
    let access = Access::new(config.authentication.as_ref(), config.tls.is_some(), &config.cors_origins)
        .context("authentication")?;
    let tls = config.tls.as_ref().map(Tls::load).transpose().context("tls")?;
    tell_access(&config);
    let database = SqliteStore::open(&config.store.path)
        .await
        .with_context(|| format!("opening the store {}", config.store.path.display()))?;
    let memory: Arc<dyn ChannelMemory> = Arc::new(database.clone());
    let store: Arc<dyn Store> = Arc::new(database);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut connected = Connected::nothing(memory, clock.clone());
    let mut built = connected.build(&config).await.map_err(all_wrong)?;
    let people = built.people.clone();
    connected.add(&mut built);
    connected.take(&config, built);
    let parts = parts(&config, connected.adapters(&config), store, clock);
    let handle = parts.handle.clone();
    let read = (config.clone(), stamps);
    let file = FileSource::new(path.to_owned(), read, connected, people.clone(), handle.clone());
    api::load_declarations(&handle).await.context("loading what the API has declared")?;
    // With all declarations there: what rollouts that were under way keep of their targets.
    handle.release_kept().await.context("loading which rollouts there are")?;
    let engine = Engine::load(parts).await.context("loading what is stored")?;
    let told = handle.clone();
    tokio::spawn(access.clone().remember(handle.clone()));
    let renderer = metrics.renderer();
    tokio::spawn(async move { metrics.upkeep().await });
    let api = {
        let shutdown = shutdown.clone();
        let router = api::router_for(handle, renderer, Limits::default(), access, people);
        tokio::spawn(api::serve_tls(listener, router, tls, async move { shutdown.cancelled().await }))
    };
    let engine = tokio::spawn(engine.run(shutdown.clone()));
    let file = tokio::spawn(file.run(shutdown.clone()));
    stop_signal(&shutdown).await?;
    tell_stop(&told, config.engine.shutdown_deadline).await;
    shutdown.cancel();
    let ended = tokio::time::timeout(config.engine.shutdown_deadline, async {
        let engine = async {
            let ended = engine.await;
            tracing::info!("stopping: the engine has stopped");
            ended
        };
        let api = async {
            let ended = api.await;
            tracing::info!("stopping: the API has stopped");
            ended
        };
        let (engine, api, file) = tokio::join!(engine, api, file);
        file.context("the configuration's task")?.context("the configuration")?;
        engine.context("the engine's task")?.context("the engine")?;
        api.context("the API's task")?.context("the API")
    });
    match ended.await {
        Ok(result) => result,
        Err(_) => {
            tracing::warn!(
                "stopping: not everything ended in time; the stored state is continued at the next start"
            );
            Ok(())
        }
    }
}

/// Everything that cannot be connected, a line each.
fn all_wrong(wrong: Wrong) -> anyhow::Error {
    let lines: Vec<String> = wrong.into_iter().map(|(field, what)| format!("{field}: {what}")).collect();
    anyhow::anyhow!(lines.join("\n"))
}

/// Says at the start who may reach the API.
fn tell_access(config: &Config) {
    let address = config.listen;
    match &config.authentication {
        None => tracing::info!(%address, "open to everybody on this machine: no authentication"),
        Some(told) => {
            let oidc = told.oidc.as_ref().map_or("none", |oidc| oidc.issuer.as_str());
            tracing::info!(%address, tokens = told.tokens, oidc, "callers must say who they are");
        }
    }
    if config.tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "tokens come over plain HTTP, where others may read them; set `tls`, or put a proxy with TLS in front"
        );
    }
}

/// Says what the stop waits for, and what happens to the traffic meanwhile.
async fn tell_stop(handle: &Handle, deadline: Duration) {
    tracing::info!(
        deadline_seconds = deadline.as_secs_f64(),
        "stopping: waiting for the engine to finish the work at hand, and for open API requests"
    );
    let filter = RolloutFilter { active: Some(true), limit: 20, ..RolloutFilter::default() };
    let active = tokio::time::timeout(Duration::from_secs(1), handle.store().rollouts(&filter)).await;
    let Ok(Ok(active)) = active else { return };
    for rollout in active {
        let target =
            tokio::time::timeout(Duration::from_secs(1), handle.store().target(&rollout.target)).await;
        let Ok(Ok(target)) = target else { continue };
        if target.active.as_ref() == Some(&rollout.id) {
            tracing::info!(target_name = rollout.target, version = rollout.version,
                state = rollout.phase.name(), split = %target.wanted,
                "stopping: the traffic stays as it is, and nobody judges this rollout until the next start");
        }
    }
}

/// Resolves at SIGTERM or SIGINT, or when the engine has stopped by itself.
async fn stop_signal(shutdown: &CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}

fn parts(config: &Config, adapters: Adapters, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Parts {
    let failpoints: Arc<dyn Failpoints> = match FromEnvironment::read() {
        Some(failpoints) => Arc::new(failpoints),
        None => Arc::new(NoFailpoints),
    };
    // What the file declares comes with its source.
    let handle = Handle::new(store, clock, BTreeMap::new(), BTreeMap::new());
    handle.plan_freezes(config.freezes.clone());
    let Adapters { providers, routers, notifiers, routing, words } = adapters;
    Parts {
        gatekeeper: Arc::new(Gates::new(handle.clone())),
        handle,
        providers,
        routers,
        workload: Arc::new(StaticPools),
        notifiers,
        routing,
        words,
        failpoints,
        options: Options {
            concurrency: config.engine.concurrency,
            call_deadline: config.engine.call_deadline,
            reconcile_interval: config.engine.reconcile_interval,
            drain: config.engine.drain,
            retention: config.retention,
            ..Options::default()
        },
    }
}
