//! Checks configuration files without starting anything, and on request whether what they name can be reached.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serin::cli::{self, Checked, Output};
use serin::clock::SystemClock;
use serin::config::{Config, load_config};
use serin::core::metric::NoData;
use serin::core::spec::TargetSpec;
use serin::core::split::{Role, Split};
use serin::notifiers::{NotifierConfig, Surroundings};
use serin::outbound::client::Builder;
use serin::ports::{ArmSelector, Clock, NoMemory, Route, ValueRequest};
use serin::providers::ProviderConfig;
use serin::routers::RouterConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// For each check.
const DEADLINE: Duration = Duration::from_secs(10);

/// Exit codes: 0 all is valid (and answers), 1 something is not, 2 wrong use.
pub async fn run(files: &[PathBuf], connect: bool, output: Output) -> ExitCode {
    let mut all_good = true;
    for file in files {
        let path = file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || load_config(&path)).await else {
            return ExitCode::from(3);
        };
        let checks = match &read {
            Ok(config) if connect => check(config).await,
            _ => Vec::new(),
        };
        all_good &= read.is_ok() && checks.iter().all(|check| check.result.is_ok());
        cli::config_checked(file, &read, &checks, output);
    }
    ExitCode::from(u8::from(!all_good))
}

/// Everything at once; the order is the file's names.
async fn check(config: &Config) -> Vec<Checked> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let providers =
        config.providers.iter().map(|(name, provider)| {
            let clock = clock.clone();
            async move {
                (format!("providers.{name}"), within(provider_answers(config, name, provider, clock)).await)
            }
        });
    let routers = config.routers.iter().map(|(name, router)| {
        let clock = clock.clone();
        async move { (format!("routers.{name}"), within(router_answers(config, name, router, clock)).await) }
    });
    let channels =
        config.notifiers.iter().map(|(name, channel)| {
            let clock = clock.clone();
            async move {
                (format!("notifiers.{name}"), within(channel_answers(config, name, channel, clock)).await)
            }
        });
    let (providers, routers, channels) = tokio::join!(
        futures::future::join_all(providers),
        futures::future::join_all(routers),
        futures::future::join_all(channels)
    );
    let all = providers.into_iter().chain(routers).chain(channels);
    all.map(|(field, result)| Checked { field, result }).collect()
}

async fn within(work: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    let late =
        || Err(format!("no answer within {} s; check the address and the network", DEADLINE.as_secs()));
    timeout(DEADLINE, work).await.unwrap_or_else(|_| late())
}

async fn provider_answers(
    config: &Config,
    name: &str,
    provider: &ProviderConfig,
    clock: Arc<dyn Clock>,
) -> Result<String, String> {
    let built = provider.build().map_err(|error| error.to_string())?;
    if matches!(provider, ProviderConfig::Scrape(_)) {
        return pages(config, name).await;
    }
    let nobody = ArmSelector { labels: BTreeMap::new(), endpoints: Vec::new() };
    let request = ValueRequest {
        guardrail: "check".to_owned(),
        query: "vector(1)".to_owned(),
        canary: nobody.clone(),
        baseline: nobody,
        now: clock.wall(),
        lag: Duration::ZERO,
        stale_after: Duration::from_secs(300),
    };
    match built.values(&[request]).await.into_iter().next().map(|answer| answer.canary) {
        Some(Ok(_)) => Ok("answers queries".to_owned()),
        Some(Err(reason)) => Err(format!("{reason}; {}", remedy(&reason))),
        None => Err("it gave no answer".to_owned()),
    }
}

fn remedy(reason: &NoData) -> &'static str {
    match reason {
        NoData::Unreachable(_) => "check `url`, and that it can be reached from here",
        NoData::Timeout => "check `url`, or raise `deadline`",
        NoData::Status(401 | 403) => "check `bearer_token`, `basic_auth` or `headers`",
        NoData::Status(404) => "check `url`: the Prometheus API is expected under it at /api/v1",
        _ => "a server with the Prometheus HTTP API is expected at `url`",
    }
}

/// The metrics pages of the targets that the provider measures.
async fn pages(config: &Config, provider: &str) -> Result<String, String> {
    let client = Builder::new(DEADLINE / 2).build().map_err(|error| error.to_string())?;
    let targets = config.targets.values().filter(|target| target.provider == provider);
    let endpoints: Vec<&String> =
        targets.flat_map(pools).flat_map(|(_, pool)| pool.endpoints.iter()).collect();
    let mut silent = Vec::new();
    for endpoint in &endpoints {
        match client.get(endpoint.as_str()).send().await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => silent.push(format!("{endpoint} answers {}", answer.status().as_u16())),
            Err(_) => silent.push(format!("{endpoint} cannot be reached")),
        }
    }
    match silent.len() {
        0 => Ok(format!("{} metrics pages answer", endpoints.len())),
        count => {
            Err(format!("{count} of {} metrics pages do not answer: {}", endpoints.len(), silent.join(", ")))
        }
    }
}

fn pools(target: &TargetSpec) -> impl Iterator<Item = (Role, &serin::core::spec::Pool)> {
    let roles = [Role::Stable, Role::Canary, Role::Baseline];
    roles.into_iter().filter_map(move |role| Some((role, target.pool(role, false)?)))
}

async fn router_answers(
    config: &Config,
    name: &str,
    router: &RouterConfig,
    clock: Arc<dyn Clock>,
) -> Result<String, String> {
    if let RouterConfig::Envoy(envoy) = router {
        // Proxies connect to Serin: that they can is all there is to see from here.
        return match TcpListener::bind(envoy.listen).await {
            Ok(_) => Ok(format!("can listen on {} for proxies", envoy.listen)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(format!("{} is in use, by a running Serin or another program", envoy.listen))
            }
            Err(error) => Err(format!("cannot listen on {}: {}", envoy.listen, error.kind())),
        };
    }
    let built = router.build(clock).await.map_err(|error| error.to_string())?.router();
    let targets: Vec<&TargetSpec> = config.targets.values().filter(|target| target.router == name).collect();
    let mut wrong = Vec::new();
    for target in &targets {
        let route = Route {
            target: target.name.clone(),
            route: target.route.clone(),
            pools: pools(target).map(|(role, pool)| (role, pool.clone())).collect(),
            split: Split::STABLE,
            generation: 1,
            nodes: BTreeMap::new(),
        };
        if let Err(error) = built.observe(&route).await {
            wrong.push(format!("target {}: {error}", target.name));
        }
    }
    match wrong.is_empty() {
        true => Ok(format!("answers for {} targets", targets.len())),
        false => Err(wrong.join("; ")),
    }
}

async fn channel_answers(
    config: &Config,
    name: &str,
    channel: &NotifierConfig,
    clock: Arc<dyn Clock>,
) -> Result<String, String> {
    let words = Arc::new(config.words(name));
    let around = Surroundings { words, memory: Arc::new(NoMemory), clock };
    channel.build(name, &around).map_err(|error| error.to_string())?;
    let Some((host, port)) = channel.endpoint().map_err(|error| error.to_string())? else {
        return Ok("needs no connection".to_owned());
    };
    match TcpStream::connect((host.as_str(), port)).await {
        Ok(_) => Ok(format!("{host}:{port} can be reached; `serin notify test {name}` sends a message")),
        Err(error) => Err(format!("{host}:{port} cannot be reached: {}; check the address", error.kind())),
    }
}
