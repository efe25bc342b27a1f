//! Builds the parts that the configuration names, and runs them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use serin::api::{Access, Limits, People, Tls};
use serin::clock::SystemClock;
use serin::config::{Config, load_config};
use serin::engine::{Engine, Handle, Options, Parts};
use serin::gates::Gates;
use serin::messages::Words;
use serin::notifiers::Surroundings;
use serin::ports::{ChannelMemory, Clock, Failpoints, NoFailpoints, Store};
use serin::routers::StaticPools;
use serin::store::SqliteStore;
use serin::{api, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failpoints::FromEnvironment;

/// Runs the daemon until it is told to stop.
pub async fn serve(path: &Path) -> ExitCode {
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
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("serin: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(config: Config) -> Result<()> {
    let metrics = telemetry::install_metrics().context("own metrics")?;
    let shutdown = CancellationToken::new();
    let listener = api::listen(config.listen).with_context(|| format!("listening on {}", config.listen))?;
    let access = Access::new(config.authentication.as_ref(), config.tls.is_some(), &config.cors_origins)
        .context("authentication")?;
    let tls = config.tls.as_ref().map(Tls::load).transpose().context("tls")?;
    let people = people(&config)?;
    tell_access(&config);
    let database = SqliteStore::open(&config.store.path)
        .await
        .with_context(|| format!("opening the store {}", config.store.path.display()))?;
    let memory: Arc<dyn ChannelMemory> = Arc::new(database.clone());
    let store: Arc<dyn Store> = Arc::new(database);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let parts = build(&config, store, memory, clock).await?;
    let handle = parts.handle.clone();
    let engine = Arc::new(Engine::load(parts).await.context("loading what is stored")?);
    let renderer = metrics.renderer();
    tokio::spawn(async move { metrics.upkeep().await });
    let api = {
        let shutdown = shutdown.clone();
        let router = api::router_for(handle, renderer, Limits::default(), access, people);
        tokio::spawn(api::serve_tls(listener, router, tls, async move { shutdown.cancelled().await }))
    };
    let engine = tokio::spawn(engine.run(shutdown.clone()));
    stop_signal(&shutdown).await?;
    tracing::info!("stopping: the work at hand is finished, the traffic stays as it is");
    shutdown.cancel();
    let ended = tokio::time::timeout(config.engine.shutdown_deadline, async {
        let (engine, api) = tokio::join!(engine, api);
        engine.context("the engine's task")?.context("the engine")?;
        api.context("the API's task")?.context("the API")
    });
    match ended.await {
        Ok(result) => result,
        Err(_) => {
            tracing::warn!("not everything ended in time; what was stored goes on at the next start");
            Ok(())
        }
    }
}

fn people(config: &Config) -> Result<People> {
    let secret = config.approval_links.as_ref().map(|source| source.read()).transpose();
    let secret = secret.context("approval_links")?;
    if secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < 32) {
        anyhow::bail!("approval_links: the secret has fewer than 32 characters, so that it could be guessed");
    }
    Ok(People::new(config.teams.clone(), secret, config.public_url.clone(), config.incoming.clone()))
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

async fn build(
    config: &Config,
    store: Arc<dyn Store>,
    memory: Arc<dyn ChannelMemory>,
    clock: Arc<dyn Clock>,
) -> Result<Parts> {
    let mut providers = BTreeMap::new();
    for (name, provider) in &config.providers {
        let built = provider.build().with_context(|| format!("provider {name}"))?;
        providers.insert(name.clone(), built);
    }
    let mut routers = BTreeMap::new();
    for (name, router) in &config.routers {
        let built = router.build(clock.clone()).await.with_context(|| format!("router {name}"))?;
        routers.insert(name.clone(), built);
    }
    let mut notifiers = BTreeMap::new();
    for (name, notifier) in &config.notifiers {
        let words = Arc::new(config.words(name));
        let around = Surroundings { words, memory: memory.clone(), clock: clock.clone() };
        let built = notifier.build(name, &around).with_context(|| format!("notifier {name}"))?;
        notifiers.insert(name.clone(), built);
    }
    let failpoints: Arc<dyn Failpoints> = match FromEnvironment::read() {
        Some(failpoints) => Arc::new(failpoints),
        None => Arc::new(NoFailpoints),
    };
    let gatekeeper = Arc::new(Gates::new(providers.clone()));
    let handle = Handle::new(store, clock, config.policies.clone(), config.targets.clone());
    handle.plan_freezes(config.freezes.clone());
    Ok(Parts {
        handle,
        providers,
        routers,
        workload: Arc::new(StaticPools),
        notifiers,
        routing: config.routing.clone(),
        words: Words { public_url: config.public_url.clone(), ..Words::default() },
        gatekeeper,
        failpoints,
        options: Options {
            concurrency: config.engine.concurrency,
            call_deadline: config.engine.call_deadline,
            reconcile_interval: config.engine.reconcile_interval,
            drain: config.engine.drain,
            retention: config.retention,
            ..Options::default()
        },
    })
}
