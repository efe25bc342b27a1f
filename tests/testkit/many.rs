//! A daemon with many targets that have a canary at 50% behind a real HAProxy and a real Envoy, on a metrics source
//! that accepts and never answers. They begin so, from a store that was written before: no traffic is needed.
// What is measured is the daemon as a program; its clock is not these tests'.
#![allow(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use serin::clock::SystemClock;
use serin::core::access::{Role, TokenRecord};
use serin::core::policy::Policy;
use serin::core::rollout::{Phase, Stage};
use serin::core::split::{Split, Weight};
use serin::core::target::SeenSplit;
use serin::ports::{Accounts, Clock, Commit, Commits};
use serin::secrets::tokens;
use serin::store::SqliteStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::builders;
use super::ear::{Deaf, Ear, Side};
use super::envoy::{Envoy, EnvoyOptions, EnvoyRoute};
use super::haproxy::{Haproxy, HaproxyBackend};
use super::process::free_port;
use super::serin::Daemon;
use super::{stage, wait};

/// Where more is taken, the daemon's log of it is printed.
const PROMISED: Duration = Duration::from_millis(100);
/// What is measured never takes longer, or the test fails.
const LONGEST: Duration = Duration::from_secs(30);

/// Where the services would be: no request is sent to them.
const NOBODY: u16 = 9;

/// How a command comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Api,
    Alertmanager,
    Grafana,
}

/// The router that a target is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    Haproxy,
    Envoy,
    /// An HAProxy that accepts and never answers.
    Hanging,
}

/// What differs from situation to situation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Behind each of the two routers.
    pub behind: [usize; 2],
    /// Of the rollouts: in turn, where there are several.
    pub policies: Vec<Policy>,
    /// Behind a router that accepts and never answers.
    pub behind_hanging: usize,
    /// More sections of the configuration.
    pub sections: String,
    /// The daemon can be given a limit on the size of files.
    pub is_limited: bool,
    /// Authentication is on: requests have this token.
    pub token: Option<String>,
}

impl Plan {
    /// So many targets, half of them behind each router.
    pub fn of(targets: usize) -> Plan {
        Plan {
            behind: [targets.div_ceil(2), targets / 2],
            policies: vec![policy()],
            behind_hanging: 0,
            sections: String::new(),
            is_limited: false,
            token: None,
        }
    }
}

/// A step of 50% that does not end by itself, and 100%.
pub fn policy() -> Policy {
    let steps = vec![builders::step(50.0, 3600), builders::step(100.0, 60)];
    builders::policy().steps(steps).build()
}

/// Everything running.
pub struct Many {
    pub daemon: Daemon,
    pub folder: TempDir,
    pub plan: Plan,
    pub haproxy: Haproxy,
    pub envoy: Envoy,
    /// In front of HAProxy's socket, and of Serin's RTDS server.
    ears: [Ear; 2],
    /// The metrics source of all targets.
    pub source: Deaf,
    _hanging: Deaf,
}

/// The name of a target, and of its rollout.
fn name(router: Router, number: usize) -> String {
    match router {
        Router::Haproxy => format!("h{number:03}"),
        Router::Envoy => format!("e{number:03}"),
        Router::Hanging => format!("x{number:03}"),
    }
}

/// Where Envoy looks for the weight of a target's canary.
fn key(name: &str) -> String {
    format!("routing.{name}.{name}-b")
}

/// The id of the rollout that a target has.
pub fn rollout(router: Router, number: usize) -> String {
    format!("r{}", name(router, number))
}

impl Many {
    /// Starts everything; returns when the daemon is ready and every canary has its 50%.
    pub async fn start(plan: Plan) -> Many {
        let folder = tempfile::tempdir().expect("a folder");
        let source = Deaf::start().await;
        let hanging = Deaf::start().await;
        let backends: Vec<_> = (0..plan.behind[0].max(1)).map(backend).collect();
        let haproxy = Haproxy::start(folder.path(), &backends).await;
        let socket = SocketAddr::from(([127, 0, 0, 1], haproxy.socket_port));
        let rtds = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let ears = [
            Ear::start(socket, Side::Callers, &["set server"]).await,
            Ear::start(rtds, Side::Called, &["envoy.service.runtime.v3.Runtime"]).await,
        ];
        std::fs::write(folder.path().join("policy.yaml"), stage::policy("")).expect("a policy");
        let config = configuration(&plan, [source.address, hanging.address, ears[0].address, rtds]);
        let mut daemon = Daemon::prepare(folder.path(), &config);
        daemon.limit_files(plan.is_limited);
        populate(folder.path(), &plan).await;
        daemon.start_again(&[]).await;
        let route = |number| {
            let name = name(Router::Envoy, number);
            let [a, b] = ["a", "b"].map(|letter| format!("{name}-{letter}"));
            EnvoyRoute::new(&format!("/{name}"), &format!("routing.{name}"), &[(&a, NOBODY), (&b, NOBODY)])
        };
        let routes = (0..plan.behind[1].max(1)).map(route).collect();
        let options = EnvoyOptions { routes, ..EnvoyOptions::new("edge-1", ears[1].address, "", &[]) };
        let envoy = Envoy::start(folder.path(), &options).await;
        let many = Many { daemon, folder, plan, haproxy, envoy, ears, source, _hanging: hanging };
        many.settle().await;
        many
    }

    /// Starts the daemon again with a new store: every canary has its 50% again.
    pub async fn start_again(&mut self) {
        self.daemon.kill();
        // One that has newer weights than the new store would keep them.
        self.envoy.kill();
        for number in 0..self.plan.behind[0] {
            let name = name(Router::Haproxy, number);
            for server in ["a", "b"] {
                self.haproxy.ask(&format!("set server {name}/{server} weight 128")).await;
            }
        }
        for file in ["serin.db", "serin.db-wal", "serin.db-shm"] {
            let _ = std::fs::remove_file(self.folder.path().join(file));
        }
        populate(self.folder.path(), &self.plan).await;
        self.envoy.start_again().await;
        self.daemon.start_again(&[]).await;
        self.settle().await;
    }

    async fn settle(&self) {
        self.daemon.ready().await;
        if let Some(token) = &self.plan.token {
            let asked =
                || reqwest::Client::new().get(self.daemon.url("/api/v1/me")).bearer_auth(token).send();
            let known = async || asked().await.ok().filter(|answer| answer.status().is_success());
            wait::until("the token is known", Duration::from_secs(60), known).await;
        }
        if let Some(last) = self.plan.behind[1].checked_sub(1) {
            let key = key(&name(Router::Envoy, last));
            let has = async || (self.envoy.runtime(&key).await == Some(5000)).then_some(());
            wait::until("Envoy has the weights", Duration::from_secs(60), has).await;
        }
        self.ears.iter().for_each(Ear::forget);
    }

    /// From a request's first byte to the router's call that gives the canary nothing.
    pub async fn roll_back(&self, router: Router, number: usize, by: By) -> Duration {
        let name = name(router, number);
        let (path, body) = match by {
            By::Api => (command_path(router, number), json!({"command": "rollback", "by": "erin"})),
            By::Alertmanager => ("/api/v1/hooks/alertmanager".to_owned(), alert(&name, "4")),
            By::Grafana => ("/api/v1/hooks/alertmanager".to_owned(), alert(&name, "1")),
        };
        let (from, sent) = (self.daemon.log_length(), SystemTime::now());
        let begun = self.send(&path, &body).await;
        let (ear, what) = match router {
            Router::Haproxy => (&self.ears[0], format!("set server {name}/b weight 0")),
            Router::Envoy => (&self.ears[1], "envoy.service.runtime.v3.Runtime".to_owned()),
            Router::Hanging => panic!("it hangs"),
        };
        let Some(took) = ear.hears(&what, begun, LONGEST).await else {
            panic!("{name} was not rolled back in {LONGEST:?}: {}", self.daemon.log());
        };
        if took > PROMISED {
            let log = self.daemon.log_after(from);
            let of_it: Vec<&str> = log.lines().take(60).collect();
            let sent = jiff::Timestamp::try_from(sent).expect("a time");
            println!("{name} took {took:?}; the request was sent at {sent}: {of_it:#?}");
        }
        if router == Router::Envoy {
            let key = key(&name);
            let gone = async || (self.envoy.runtime(&key).await == Some(0)).then_some(());
            wait::until("what was pushed takes the weight", LONGEST, gone).await;
        }
        took
    }

    /// From a request's first byte to the moment from which nothing raises the canary, as the daemon's log says.
    pub async fn pause(&self, router: Router, number: usize) -> Duration {
        let id = rollout(router, number);
        let from = self.daemon.log_length();
        let (sent, begun) = (SystemTime::now(), Instant::now());
        self.send(&command_path(router, number), &json!({"command": "pause", "by": "erin"})).await;
        while begun.elapsed() < LONGEST {
            let log = self.daemon.log_after(from);
            let said =
                |line: &&str| line.contains("in force") && line.contains("pause") && line.contains(&id);
            if let Some(line) = log.lines().find(said) {
                let at = line.split_whitespace().next().unwrap_or_default();
                let at: jiff::Timestamp = at.parse().unwrap_or_else(|_| panic!("no time: {line}"));
                return SystemTime::from(at).duration_since(sent).unwrap_or_default();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{id} was not paused in {LONGEST:?}: {}", self.daemon.log());
    }

    /// Sends a request on a connection that is open; gives the moment before its first byte. Nobody waits for the
    /// answer.
    async fn send(&self, path: &str, body: &serde_json::Value) -> Instant {
        let body = body.to_string();
        let token = self.plan.token.iter().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            token.collect::<String>(),
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.daemon.port)).await.expect("the API listens");
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        tokio::spawn(async move {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        });
        begun
    }
}

/// Where a target's rollout takes commands.
pub fn command_path(router: Router, number: usize) -> String {
    format!("/api/v1/rollouts/{}/commands", rollout(router, number))
}

/// A critical alert of a target, as Alertmanager (version 4) or Grafana (version 1) sends it.
fn alert(target: &str, version: &str) -> serde_json::Value {
    let now = SystemClock::new().wall();
    json!({
        "version": version, "status": "firing", "receiver": "serin", "groupKey": "{}:{}",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alerts",
        "alerts": [{
            "status": "firing",
            "labels": {"alertname": "TooManyErrors", "service": target, "severity": "critical"},
            "annotations": {"summary": "5% of the requests fail"},
            "startsAt": now.to_string(),
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": format!("{target}-{}", now.0),
        }],
    })
}

fn backend(number: usize) -> HaproxyBackend {
    let name = name(Router::Haproxy, number);
    let servers = ["a", "b"].map(|server| (server.to_owned(), NOBODY, 128)).into();
    HaproxyBackend { servers, ..HaproxyBackend::new(&format!("/{name}"), &name, &[]) }
}

fn configuration(plan: &Plan, [source, hanging, haproxy, rtds]: [SocketAddr; 4]) -> String {
    let mut text = format!(
        "policies: [policy.yaml]\nproviders:\n  hung: {{type: prometheus, url: \"http://{source}\", deadline: 3s}}\nrouters:\n  haproxy: {{type: \
         haproxy, socket: \"tcp:{haproxy}\"}}\n  envoy: {{type: envoy, listen: \"{rtds}\", layer: serin}}\n  hanging: {{type: haproxy, socket: \"tcp:{hanging}\"}}\ntargets:\n"
    );
    let pool = |prefix: &str, letter| format!("{{backend: {prefix}{letter}, labels: {{pool: {letter}}}}}");
    for (router, number) in plan.all() {
        let name = name(router, number);
        let (kind, route, prefix) = match router {
            Router::Haproxy => ("haproxy", name.clone(), String::new()),
            Router::Envoy => ("envoy", format!("routing.{name}"), format!("{name}-")),
            Router::Hanging => ("hanging", name.clone(), String::new()),
        };
        let _ = writeln!(
            text,
            "  {name}: {{router: {kind}, provider: hung, route: {route}, labels: {{service: {name}}}, stable: {}, \
             canary: {}, stable_version: v1}}",
            pool(&prefix, "a"),
            pool(&prefix, "b")
        );
    }
    text + "engine: {reconcile_interval: 5s, call_deadline: 5s, drain: 1s}\n" + &plan.sections
}

impl Plan {
    /// Every target.
    pub fn all(&self) -> Vec<(Router, usize)> {
        let [haproxy, envoy] = self.behind;
        let all =
            [(Router::Haproxy, haproxy), (Router::Envoy, envoy), (Router::Hanging, self.behind_hanging)];
        all.into_iter()
            .flat_map(|(router, targets)| (0..targets).map(move |number| (router, number)))
            .collect()
    }
}

/// Writes the store: each target has a rollout in its first step, seen at 50%.
async fn populate(folder: &Path, plan: &Plan) {
    let store = SqliteStore::open(&folder.join("serin.db")).await.expect("the store opens");
    let now = SystemClock::new().wall();
    let all = plan.all();
    let names: Vec<String> = all.iter().map(|(router, number)| name(*router, *number)).collect();
    store.own_targets(&names).await.expect("targets");
    if let Some(token) = &plan.token {
        store.create_token(&operator(token)).await.expect("a token");
    }
    let mut commits = Vec::new();
    for (name, (_, number)) in names.iter().zip(&all) {
        let policy = plan.policies[number % plan.policies.len()].clone();
        let mut rollout = builders::rollout(&format!("r{name}"), name, policy);
        rollout.plan_mut().created_at = now;
        let first = builders::created(&rollout);
        let mut rollout = store.create_rollout(rollout, first, None, false).await.expect("a rollout");
        rollout.phase = Phase::Progressing { step: 0, stage: Stage::Analysing { since: now } };
        let mut target = store.target(name).await.expect("the target");
        target.stable_version = Some("v1".to_owned());
        target.want(Split::canary(Weight(5000), false));
        target.seen = Some(SeenSplit { split: target.wanted, generation: target.generation, at: now });
        commits.push(Commit { target: Some(target), rollout: Some(rollout), ..Commit::default() });
    }
    for stored in store.commit_all(&commits).await {
        stored.expect("it is stored");
    }
    store.close().await;
}

fn operator(token: &str) -> TokenRecord {
    TokenRecord {
        name: "erin".to_owned(),
        hash: tokens::hash(token),
        role: Role::Operator,
        services: vec!["*".to_owned()],
        created_at: SystemClock::new().wall(),
        created_by: "anna".to_owned(),
        expires_at: None,
        revoked_at: None,
    }
}
