//! What of a changed configuration a running daemon can take, and what waits for its next start, with the reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::daemon::Config;
use super::references::{ProviderKind, RouterKind};
use crate::core::spec::TargetSpec;
use crate::routers::RouterConfig;
use crate::routers::envoy::EnvoyConfig;

/// A part of the configuration that is taken only at the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The field of the configuration.
    pub field: String,
    /// Why.
    pub why: String,
}

/// A new configuration as far as it can be taken while the daemon runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// What runs from now on: what waits for a restart is as it was. A provider or router that is new and has to
    /// wait is not in it.
    pub config: Config,
    /// What waits, and why.
    pub restarts: Vec<Restart>,
    /// Targets that wait with it: what they name that is not connected before, `provider` or `router`, and its name.
    pub targets: BTreeMap<String, (&'static str, String)>,
}

/// What of `new` can be taken by a daemon that runs `running`. The routers of `running` are all that run, also those
/// that an earlier reload has removed and a rollout still uses.
pub fn take(running: &Config, new: &Config) -> Taken {
    let mut config = new.clone();
    let mut restarts = Vec::new();
    fixed(running, &mut config, &mut restarts);
    let mut need = |field: String, why: String| restarts.push(Restart { field, why });
    for (name, provider) in &new.providers {
        let Some(known) = running.providers.get(name) else { continue };
        let (before, now) = (ProviderKind::of(known), ProviderKind::of(provider));
        if before != now {
            need(format!("providers.{name}"), other_type(before.name(), now.name()));
            config.providers.insert(name.clone(), known.clone());
        }
    }
    for (name, router) in &new.routers {
        match router_now(running, name, router, &mut need) {
            Some(router) => drop(config.routers.insert(name.clone(), router)),
            None => drop(config.routers.remove(name)),
        }
    }
    let targets =
        new.targets.values().filter_map(|spec| Some((spec.name.clone(), waits(spec, new, &config)?)));
    let targets = targets.collect();
    Taken { config, restarts, targets }
}

/// What a target names that is not as it says before the restart.
fn waits(spec: &TargetSpec, new: &Config, taken: &Config) -> Option<(&'static str, String)> {
    let provider = |config: &Config| config.providers.get(&spec.provider).map(ProviderKind::of);
    let router = |config: &Config| config.routers.get(&spec.router).map(RouterKind::of);
    if provider(new) != provider(taken) {
        return Some(("provider", spec.provider.clone()));
    }
    (router(new) != router(taken)).then(|| ("router", spec.router.clone()))
}

/// The parts that are set up once for a process.
fn fixed(running: &Config, config: &mut Config, restarts: &mut Vec<Restart>) {
    fn keep<T: PartialEq + Clone>(
        restarts: &mut Vec<Restart>,
        (field, why): (&str, &str),
        running: &T,
        new: &mut T,
    ) {
        if running != new {
            restarts.push(Restart { field: field.to_owned(), why: why.to_owned() });
            new.clone_from(running);
        }
    }
    let listen = ("listen", "the API's address is bound at the start");
    keep(restarts, listen, &running.listen, &mut config.listen);
    let tls = ("tls", "where the certificate is, is read at the start (its files are reloaded)");
    keep(restarts, tls, &running.tls, &mut config.tls);
    let authentication = ("authentication", "sessions and the issuer's keys belong to it");
    keep(restarts, authentication, &running.authentication, &mut config.authentication);
    keep(
        restarts,
        ("cors", "it is built into the API's routes"),
        &running.cors_origins,
        &mut config.cors_origins,
    );
    keep(restarts, ("store", "the database is opened at the start"), &running.store, &mut config.store);
    let retention = ("retention", "what is deleted is set at the start");
    keep(restarts, retention, &running.retention, &mut config.retention);
    let engine = ("engine", "deadlines and intervals of work that is under way are set at the start");
    keep(restarts, engine, &running.engine, &mut config.engine);
}

/// A router as far as it can be taken; `None` for a new one that has to wait.
fn router_now(
    running: &Config,
    name: &str,
    new: &RouterConfig,
    need: &mut impl FnMut(String, String),
) -> Option<RouterConfig> {
    match (running.routers.get(name), new) {
        (Some(RouterConfig::Envoy(known)), RouterConfig::Envoy(now)) => {
            if known.listen != now.listen {
                let why = format!("proxies are connected to {}", known.listen);
                need(format!("routers.{name}.listen"), why);
            }
            if known.layer != now.layer {
                let why = format!("proxies are subscribed to the layer {}", known.layer);
                need(format!("routers.{name}.layer"), why);
            }
            let taken =
                EnvoyConfig { listen: known.listen, layer: known.layer.clone(), ..EnvoyConfig::clone(now) };
            Some(RouterConfig::Envoy(taken))
        }
        (Some(RouterConfig::Haproxy(_)), RouterConfig::Haproxy(_)) => Some(new.clone()),
        (Some(known), now) => {
            let (before, after) = (RouterKind::of(known).name(), RouterKind::of(now).name());
            need(format!("routers.{name}"), other_type(before, after));
            Some(known.clone())
        }
        (None, RouterConfig::Envoy(now)) => match taken_by(running, now.listen) {
            Some(owner) => {
                let why = format!("{} is in use by {owner} until then", now.listen);
                need(format!("routers.{name}"), why);
                None
            }
            None => Some(new.clone()),
        },
        (None, RouterConfig::Haproxy(_)) => Some(new.clone()),
    }
}

fn other_type(before: &str, now: &str) -> String {
    format!("its type changes from {before} to {now}; under another name it would be connected at once")
}

/// What of the running daemon has an address already; port 0 takes a free one.
fn taken_by(running: &Config, address: SocketAddr) -> Option<String> {
    let same = |other: SocketAddr| {
        let is_same_ip =
            other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified();
        address.port() != 0 && other.port() == address.port() && is_same_ip
    };
    if same(running.listen) {
        return Some("the API".to_owned());
    }
    let routers: &BTreeMap<String, RouterConfig> = &running.routers;
    let owner = routers.iter().find(|(_, router)| match router {
        RouterConfig::Envoy(envoy) => same(envoy.listen),
        RouterConfig::Haproxy(_) => false,
    });
    owner.map(|(name, _)| format!("router {name}"))
}

/// What differs between two configurations besides targets and policies, such as `provider prom` or `routing`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Not there before.
    pub added: Vec<String>,
    /// There before, and different.
    pub changed: Vec<String>,
    /// Not there any more.
    pub removed: Vec<String>,
}

impl Differences {
    /// From what runs to what runs next.
    pub fn between(before: &Config, after: &Config) -> Differences {
        let mut all = Differences::default();
        all.note("provider", &before.providers, &after.providers);
        all.note("router", &before.routers, &after.routers);
        all.note("notifier", &before.notifiers, &after.notifiers);
        let sections = [
            ("routing", before.routing != after.routing),
            ("templates", before.templates != after.templates),
            ("public_url", before.public_url != after.public_url),
            ("teams", before.teams != after.teams),
            ("approval_links", before.approval_links != after.approval_links),
            ("incoming", before.incoming != after.incoming),
            ("freezes", before.freezes != after.freezes),
        ];
        let differ = sections.into_iter().filter(|(_, differs)| *differs);
        all.changed.extend(differ.map(|(section, _)| section.to_owned()));
        all
    }

    fn note<T: PartialEq>(&mut self, kind: &str, before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) {
        for (name, now) in after {
            match before.get(name) {
                None => self.added.push(format!("{kind} {name}")),
                Some(known) if known != now => self.changed.push(format!("{kind} {name}")),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        self.removed.extend(gone.map(|name| format!("{kind} {name}")));
    }
}
