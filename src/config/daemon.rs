//! The daemon's configuration: what it listens on, stores in, measures with, steers and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::freeze::Freeze;
use crate::core::notice::NoticeKind;
use crate::core::policy::Policy;
use crate::core::routing::Routing;
use crate::core::spec::TargetSpec;
use crate::messages::{KindTemplates, Words};
use crate::notifiers::NotifierConfig;
use crate::ports::Retention;
use crate::providers::ProviderConfig;
use crate::routers::RouterConfig;

use super::access::{Authentication, TlsConfig};
use super::decode::Field;
use super::problem::{Problems, Report};
use super::readers::{by_name, file_path, named, plain};
use super::reading::read_file;
use super::references::References;
use super::teams::{self, Incoming};
use super::{access, adapters, files, freezes, notifiers, readers, routing, targets, yaml};
use crate::secrets::SecretSource;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Everything that `serin serve` is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the API listens; a loopback address where there is no `authentication`.
    pub listen: SocketAddr,
    /// How callers say who they are; `None`: nobody has to, and everybody may do everything.
    pub authentication: Option<Authentication>,
    /// The API's certificate; without it the API speaks plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Origins whose pages may call the API from a browser.
    pub cors_origins: Vec<String>,
    /// The database.
    pub store: StoreConfig,
    /// By name.
    pub policies: BTreeMap<String, Policy>,
    /// By name.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// By name.
    pub routers: BTreeMap<String, RouterConfig>,
    /// By name; their providers and routers exist.
    pub targets: BTreeMap<String, TargetSpec>,
    /// By name; the log alone where nothing is said.
    pub notifiers: BTreeMap<String, NotifierConfig>,
    /// Members by team, for approvals.
    pub teams: BTreeMap<String, BTreeSet<String>>,
    /// What approval links are signed with; without it there are none.
    pub approval_links: Option<SecretSource>,
    /// What incoming alerts do.
    pub incoming: Incoming,
    /// Freezes that are known beforehand.
    pub freezes: Vec<Freeze>,
    /// Who is told what, and when.
    pub routing: Routing,
    /// Own texts of messages.
    pub templates: BTreeMap<NoticeKind, KindTemplates>,
    /// Where people reach the daemon's page, without a slash at the end.
    pub public_url: Option<String>,
    /// What is kept of ended rollouts.
    pub retention: Retention,
    /// How the loop runs.
    pub engine: EngineConfig,
}

/// Where the daemon keeps what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The SQLite file; made if it is not there.
    pub path: PathBuf,
}

/// How the loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// At most so many targets are worked on at once.
    pub concurrency: usize,
    /// For each call to a provider, router or the store.
    pub call_deadline: Duration,
    /// Every target is driven towards its split at least so often.
    pub reconcile_interval: Duration,
    /// The canary must be seen without requests for so long before a rollback is at its end.
    pub drain: Duration,
    /// How long a stop waits for work in progress.
    pub shutdown_deadline: Duration,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            concurrency: 16,
            call_deadline: 10 * SECOND,
            reconcile_interval: 5 * SECOND,
            drain: 30 * SECOND,
            shutdown_deadline: 15 * SECOND,
        }
    }
}

impl Config {
    /// What makes the texts of a channel.
    pub fn words(&self, channel: &str) -> Words {
        let own = |(kind, templates): (&NoticeKind, &KindTemplates)| {
            let text = templates.channels.get(channel).or(templates.all.as_ref())?;
            Some((*kind, text.clone()))
        };
        Words {
            public_url: self.public_url.clone(),
            templates: self.templates.iter().filter_map(own).collect(),
        }
    }
}

/// Reads the daemon's configuration and the policies that it names. Relative paths start at the
/// file's directory. Secrets are named, not read.
///
/// # Errors
/// All problems of the file and of its policies.
pub fn load_config(path: impl AsRef<Path>) -> Result<Config, Problems> {
    let path = path.as_ref();
    let bytes = read_file(path)?;
    parse_config(path, &bytes)
}

/// Reads a configuration from bytes, as if they stood in the file `path`; policies are read from disk.
///
/// # Errors
/// All problems of the file and of its policies.
pub fn parse_config(path: &Path, bytes: &[u8]) -> Result<Config, Problems> {
    let report = Report::new(path.display().to_string());
    let base = path.parent().unwrap_or(Path::new(""));
    let node = yaml::read(bytes, &report);
    let config = node.and_then(|node| config(&Field::root(&node, &report), base));
    report.finish(config)
}

fn config(root: &Field<'_>, base: &Path) -> Option<Config> {
    let fields = root.fields("a mapping with `store`, `policies`, `providers`, `routers` and `targets`")?;
    let listen =
        fields.or("listen", SocketAddr::from(([127, 0, 0, 1], 7423)), |f| readers::socket_address(&f));
    let authentication = fields.maybe("authentication", |f| access::authentication(&f, base));
    let tls = fields.maybe("tls", |f| access::tls(&f, base));
    let cors_origins = fields.or("cors", Vec::new(), |f| access::cors(&f));
    if let (Some(listen), Some(None)) = (listen, &authentication) {
        check_reach(root, listen);
    }
    let store = fields.need("store", "where to keep state: `store: {path: serin.db}`").and_then(|f| {
        let fields = f.fields("a mapping with `path`")?;
        let path = fields.need("path", "the SQLite file, such as serin.db").and_then(|f| file_path(&f, base));
        fields.close();
        Some(StoreConfig { path: path? })
    });
    let policies = fields
        .need("policies", "a list of policy files or directories, such as `[policies/]`")
        .and_then(|f| policies(&f, base));
    let providers =
        named(&fields, "providers", "sources of metrics by name", |f| adapters::provider(f, base));
    let routers = named(&fields, "routers", "routers by name", adapters::router);
    let targets = match fields.need("targets", "what is steered, by name") {
        Some(field) => targets::targets(&field, &References::reading(providers.as_ref(), routers.as_ref())),
        None => None,
    };
    let notifiers = match fields.get("notifiers") {
        Some(field) => by_name(&field, "channels by name", |f| notifiers::notifier(f, base)),
        None => Some([("log".to_owned(), Some(NotifierConfig::Log))].into()),
    };
    let teams = fields.or("teams", BTreeMap::new(), |f| teams::teams(&f));
    let approval_links = fields.maybe("approval_links", |f| {
        let fields = f.fields("a mapping with `secret`")?;
        let secret = fields
            .need("secret", "`{env: NAME}` or `{file: PATH}` with at least 32 characters")
            .and_then(|f| readers::secret(&f, base));
        fields.close();
        secret
    });
    let incoming = fields.or("incoming", Incoming::default(), |f| teams::incoming(&f));
    let freezes = fields.or("freezes", Vec::new(), |f| freezes::freezes(&f));
    let channels: Vec<String> = notifiers.iter().flatten().map(|(name, _)| name.clone()).collect();
    let routes =
        fields.or("routing", Routing::everything(channels.clone()), |f| routing::routing(&f, &channels));
    let changes = notifiers
        .iter()
        .flatten()
        .filter(|(_, notifier)| matches!(notifier, Some(NotifierConfig::Pagerduty(_))));
    let changes: Vec<String> = changes.map(|(name, _)| name.clone()).collect();
    let routes = routes.map(|routes| Routing { changes, ..routes });
    let templates = fields.or("templates", BTreeMap::new(), |f| routing::templates(&f, &channels));
    let public_url = fields.maybe("public_url", |f| routing::public_url(&f));
    let usual = Retention { observations: 30 * DAY, rollouts: 365 * DAY };
    let retention = fields.or("retention", usual, |f| retention(&f, usual));
    let engine = fields.or("engine", EngineConfig::default(), |f| engine(&f));
    fields.close();
    let (providers, routers) = (providers.map(plain), routers.map(plain));
    if let (Some(listen), Some(routers)) = (listen, &routers) {
        adapters::check_addresses(root, listen, routers);
    }
    Some(Config {
        listen: listen?,
        authentication: authentication?,
        tls: tls?,
        cors_origins: cors_origins?,
        store: store?,
        policies: policies?,
        providers: providers?,
        routers: routers?,
        targets: targets?,
        notifiers: notifiers.map(plain)?,
        routing: routes?,
        templates: templates?,
        public_url: public_url?,
        teams: teams?,
        approval_links: approval_links?,
        incoming: incoming?,
        freezes: freezes?,
        retention: retention?,
        engine: engine?,
    })
}

/// Without authentication everybody who reaches the API may do everything.
fn check_reach(root: &Field<'_>, listen: SocketAddr) {
    if !listen.ip().is_loopback() {
        root.at_path(&["listen"]).problem(
            format!("{listen} can be reached from other machines, and there is no `authentication`"),
            "an `authentication` section such as `{tokens: true}`, or a loopback address such as 127.0.0.1:7423",
        );
    }
}

fn policies(field: &Field<'_>, base: &Path) -> Option<BTreeMap<String, Policy>> {
    let items = field.list(1000, "a list of policy files or directories")?;
    if items.is_empty() {
        field.problem("there is no policy", "at least one file or directory");
        return None;
    }
    let paths = super::decode::all(items.iter().map(|item| file_path(item, base)))?;
    let mut read = BTreeMap::new();
    let mut good = true;
    for (_, result) in files::check_policies(&paths) {
        match result {
            Ok(policy) => {
                read.insert(policy.name.clone(), policy);
            }
            Err(problems) => {
                field.report.extend(problems);
                good = false;
            }
        }
    }
    good.then_some(read)
}

fn retention(field: &Field<'_>, usual: Retention) -> Option<Retention> {
    let fields = field.fields("a mapping with `observations` and `rollouts`")?;
    let range = 60 * SECOND..=3650 * DAY;
    let observations = fields.or("observations", usual.observations, |f| f.duration(range.clone()));
    let rollouts = fields.or("rollouts", usual.rollouts, |f| f.duration(range.clone()));
    fields.close();
    let retention = Retention { observations: observations?, rollouts: rollouts? };
    if retention.rollouts < retention.observations {
        field.problem(
            "`rollouts` is shorter than `observations`, but a rollout takes its observations with it",
            "`rollouts` at least as long as `observations`",
        );
        return None;
    }
    Some(retention)
}

fn engine(field: &Field<'_>) -> Option<EngineConfig> {
    let usual = EngineConfig::default();
    let fields = field.fields("a mapping with `concurrency`, `call_deadline` and more")?;
    let minutes = |n: u32| n * 60 * SECOND;
    let concurrency = fields.or("concurrency", usual.concurrency as u64, |f| f.integer(1..=1024));
    let call_deadline =
        fields.or("call_deadline", usual.call_deadline, |f| f.duration(SECOND / 10..=minutes(5)));
    let reconcile_interval =
        fields.or("reconcile_interval", usual.reconcile_interval, |f| f.duration(SECOND / 10..=minutes(60)));
    let drain = fields.or("drain", usual.drain, |f| f.duration(Duration::ZERO..=minutes(60)));
    let shutdown_deadline =
        fields.or("shutdown_deadline", usual.shutdown_deadline, |f| f.duration(SECOND..=minutes(10)));
    fields.close();
    Some(EngineConfig {
        concurrency: usize::try_from(concurrency?).ok()?,
        call_deadline: call_deadline?,
        reconcile_interval: reconcile_interval?,
        drain: drain?,
        shutdown_deadline: shutdown_deadline?,
    })
}
