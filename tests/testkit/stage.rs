//! The whole stage of a rollout on real parts: two services, a router in front of them, a Prometheus that
//! scrapes them, a webhook receiver, bounded load, and the daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serin::demo::fault::{Behaviour, Fault};
use serin::demo::load::{Load, LoadOptions};
use serin::demo::service::{Service, ServiceOptions};
use tempfile::TempDir;

use super::envoy::{Envoy, EnvoyOptions};
use super::haproxy::{Haproxy, HaproxyBackend};
use super::process::free_port;
use super::prometheus::{Job, Prometheus};
use super::serin::{Daemon, Hook};
use super::wait::until;

/// What the stage is made of.
pub struct Plan {
    /// Requests per second.
    pub rate: f64,
    /// How a healthy version works.
    pub behaviour: Behaviour,
    /// What is wrong with the canary.
    pub canary: Fault,
    /// What is wrong with stable.
    pub stable: Fault,
    /// The policy `test`, whole.
    pub policy: String,
    /// Policies beside it, whole.
    pub more_policies: Vec<String>,
    /// Prometheus' scrape intervals of stable and canary, in seconds.
    pub scrape_seconds: [u32; 2],
    /// The canary is scraped so long after stable, as nearly as it can be had; `None`: whenever Prometheus does.
    pub scraped_later: Option<Duration>,
    /// HAProxy instead of Envoy.
    pub haproxy: bool,
    /// More servers of stable at HAProxy: other names of the same service.
    pub more_stable: Vec<String>,
    /// HAProxy's further words for a server, `shop-a` or `shop-b`.
    pub words: Vec<(String, String)>,
    /// HAProxy has a second server `shop-c` for the canary.
    pub second_canary: bool,
    /// Ports of the canary that Prometheus is to scrape too, and where nobody has to answer.
    pub silent_canaries: Vec<u16>,
    /// What the configuration calls the canary's pool; the proxies call it `shop-b`.
    pub canary_backend: String,
    /// Serin reads Envoy's admin interface.
    pub admin: bool,
    /// Envoy asks for changes instead of the state of the world.
    pub delta: bool,
    /// Traffic ends after this time at the latest.
    pub longest: Duration,
    /// More notifiers, indented by two.
    pub notifiers: String,
    /// More sections of the configuration.
    pub sections: String,
    /// Environment variables of the daemon, at every start.
    pub variables: Vec<(String, String)>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            rate: 600.0,
            behaviour: Behaviour { error_rate: 0.005, median: Duration::from_millis(10), sigma: 0.35 },
            canary: Fault::None,
            stable: Fault::None,
            policy: policy(""),
            more_policies: Vec::new(),
            scrape_seconds: [1, 1],
            scraped_later: None,
            haproxy: false,
            more_stable: Vec::new(),
            words: Vec::new(),
            second_canary: false,
            silent_canaries: Vec::new(),
            canary_backend: "shop-b".to_owned(),
            admin: false,
            delta: false,
            longest: Duration::from_secs(400),
            notifiers: String::new(),
            sections: String::new(),
            variables: Vec::new(),
        }
    }
}

/// The short policy of these tests: real tests with real bounds; what is short are the durations. The
/// load's requests are independent, so φ is 1; the floor of no harm fits this traffic.
pub fn policy(more: &str) -> String {
    policy_with("{after: 60s, then: hold}", "errors, latency", more)
}

/// The same, with what happens when blind, and which metrics.
pub fn policy_with(blind: &str, metrics: &str, more: &str) -> String {
    let mut text = format!(
        "name: test
description: For tests with real parts.
steps:
  - {{weight: 5%, min: 5s, max: 10m, at_max: hold}}
  - {{weight: 25%, min: 5s, max: 10m, at_max: hold}}
  - {{weight: 100%}}
analysis:
  interval: 1s
  lag: 0s
  warm_up: 2s
  dispersion: 1
  blind: {blind}
  silent: {{after: 8s, then: roll_back}}
  confirm_within: 10s
bake: {{duration: 4s}}
metrics:
"
    );
    for metric in metrics.split(", ") {
        let more = if metric == "latency" {
            "template: http_latency"
        } else {
            "template: http_errors, absent: zero"
        };
        text += &format!("  - {{name: {metric}, {more}, no_harm_floor: 0.8%}}\n");
    }
    text + more
}

/// The router in front of the services.
pub enum Proxy {
    Envoy(Envoy),
    Haproxy(Haproxy),
}

/// A stage with everything running.
pub struct Stage {
    pub daemon: Daemon,
    pub stable: Service,
    pub canary: Service,
    pub proxy: Proxy,
    pub prometheus: Prometheus,
    pub hook: Hook,
    pub load: Load,
    pub rtds: SocketAddr,
    pub folder: TempDir,
}

impl Stage {
    /// Starts everything; returns when the daemon is ready, the proxy answers and Prometheus scrapes.
    pub async fn start(plan: Plan) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let service = |version: &str, seed, fault| {
            let options = ServiceOptions::new(version, seed);
            Service::start(ServiceOptions { fault, behaviour: plan.behaviour, ..options })
        };
        let stable = service("v1", 1, plan.stable).await.expect("a service");
        let canary = service("v2", 2, plan.canary).await.expect("a service");
        let hook = Hook::start().await;
        let prometheus = Prometheus::start(&jobs(&plan, &stable, &canary)).await;
        let canary_job = match plan.scraped_later {
            Some(later) => later_job(&plan, &prometheus, later).await,
            None => CANARY.to_owned(),
        };
        let rtds = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let policies = folder.path().join("policies");
        std::fs::create_dir(&policies).expect("a folder of policies");
        for (number, policy) in std::iter::once(&plan.policy).chain(&plan.more_policies).enumerate() {
            std::fs::write(policies.join(format!("{number}.yaml")), policy).expect("the policy is written");
        }
        let ports = [stable.addr().port(), canary.addr().port()];
        let (proxy, daemon) = if plan.haproxy {
            let mut servers = vec![("shop-a", ports[0]), ("shop-b", ports[1])];
            servers.extend(plan.more_stable.iter().map(|name| (name.as_str(), ports[0])));
            servers.extend(plan.second_canary.then_some(("shop-c", ports[1])));
            let words = plan.words.clone();
            let backend = HaproxyBackend { words, ..HaproxyBackend::new("/", "shop", &servers) };
            let haproxy = Haproxy::start(folder.path(), &[backend]).await;
            let router = format!("{{type: haproxy, socket: {}}}", haproxy.socket.display());
            let config = config(&plan, &canary_job, &prometheus.url(), &router, "shop", &hook.url);
            (Proxy::Haproxy(haproxy), Daemon::start_with(folder.path(), &config, &plan.variables).await)
        } else {
            let admin_port = plan.admin.then(free_port);
            let admin =
                admin_port.map_or(String::new(), |port| format!(", admin: [\"http://127.0.0.1:{port}\"]"));
            let router = format!("{{type: envoy, listen: \"{rtds}\", layer: serin{admin}}}");
            let config = config(&plan, &canary_job, &prometheus.url(), &router, "routing.shop", &hook.url);
            let daemon = Daemon::start_with(folder.path(), &config, &plan.variables).await;
            let clusters = [("shop-a", ports[0]), ("shop-b", ports[1])];
            let options = EnvoyOptions::new("edge-1", rtds, "routing.shop", &clusters);
            let options = EnvoyOptions { admin_port, delta: plan.delta, ..options };
            (Proxy::Envoy(Envoy::start(folder.path(), &options).await), daemon)
        };
        let entry = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
        let load = Load::start(LoadOptions {
            max_requests: (plan.rate * plan.longest.as_secs_f64()) as u64,
            max_duration: plan.longest,
            ..LoadOptions::new(entry, plan.rate)
        });
        Stage { daemon, stable, canary, proxy, prometheus, hook, load, rtds, folder }
    }

    /// Requests that stable and canary have counted so far.
    pub fn requests(&self) -> [u64; 2] {
        [self.stable.requests(), self.canary.requests()]
    }
}

impl Proxy {
    /// Where requests go in.
    pub fn port(&self) -> u16 {
        match self {
            Proxy::Envoy(envoy) => envoy.port,
            Proxy::Haproxy(haproxy) => haproxy.port,
        }
    }

    /// The Envoy.
    pub fn envoy(&mut self) -> &mut Envoy {
        match self {
            Proxy::Envoy(envoy) => envoy,
            Proxy::Haproxy(_) => panic!("the stage has an HAProxy"),
        }
    }

    /// The HAProxy.
    pub fn haproxy(&mut self) -> &mut Haproxy {
        match self {
            Proxy::Haproxy(haproxy) => haproxy,
            Proxy::Envoy(_) => panic!("the stage has an Envoy"),
        }
    }
}

/// The job of the canary.
const CANARY: &str = "canary";
/// Where it matters when the canary is scraped, so many jobs scrape it: each at a time of its own, which
/// Prometheus derives from the job's labels.
const PHASES: usize = 48;

fn jobs(plan: &Plan, stable: &Service, canary: &Service) -> Vec<Job> {
    let job = |name: &str, seconds: u32, service: &Service, silent: &[u16]| {
        let interval = Duration::from_secs(u64::from(seconds));
        let silent = silent.iter().map(|port| format!("127.0.0.1:{port}"));
        let targets: Vec<String> = std::iter::once(service.addr().to_string()).chain(silent).collect();
        Job::new(name, interval, &targets).label("service", "shop")
    };
    let [a, b] = plan.scrape_seconds;
    let mut jobs = vec![job("stable", a, stable, &[])];
    match plan.scraped_later {
        Some(_) => jobs.extend((0..PHASES).map(|phase| job(&format!("{CANARY}-{phase}"), b, canary, &[]))),
        None => jobs.push(job(CANARY, b, canary, &plan.silent_canaries)),
    }
    jobs
}

/// The job that scrapes the canary nearest to `later` after stable.
async fn later_job(plan: &Plan, prometheus: &Prometheus, later: Duration) -> String {
    let interval = f64::from(plan.scrape_seconds[1]);
    let url = format!("{}/api/v1/query", prometheus.url());
    let client = reqwest::Client::new();
    let times = until("every job has been scraped", Duration::from_secs(240), async || {
        let request = client.get(&url).query(&[("query", "timestamp(up)")]).timeout(Duration::from_secs(5));
        let answer: serde_json::Value = request.send().await.ok()?.json().await.ok()?;
        let series = answer["data"]["result"].as_array()?;
        let time = |one: &serde_json::Value| {
            let seconds: f64 = one["value"][1].as_str()?.parse().ok()?;
            Some((one["metric"]["job"].as_str()?.to_owned(), seconds))
        };
        let times: BTreeMap<String, f64> = series.iter().filter_map(time).collect();
        (times.len() == PHASES + 1).then_some(times)
    })
    .await;
    let stable = times["stable"];
    let off = |time: f64| {
        let apart = (time - stable - later.as_secs_f64()).rem_euclid(interval);
        apart.min(interval - apart)
    };
    let canaries = times.into_iter().filter(|(job, _)| job != "stable");
    let (job, time) = canaries.min_by(|a, b| off(a.1).total_cmp(&off(b.1))).expect("jobs");
    assert!(off(time) < interval / 8.0, "the nearest is {} s from {later:?}", off(time));
    job
}

fn config(plan: &Plan, canary_job: &str, prometheus: &str, router: &str, route: &str, hook: &str) -> String {
    let stable = [&["shop-a".to_owned()], plan.more_stable.as_slice()].concat().join(",");
    format!(
        "policies: [policies]
providers:
  prometheus: {{type: prometheus, url: \"{prometheus}\", deadline: 3s}}
routers:
  edge: {router}
targets:
  shop:
    router: edge
    provider: prometheus
    route: {route}
    labels: {{service: shop}}
    stable: {{backend: \"{stable}\", labels: {{version: \"{{version}}\"}}}}
    canary: {{backend: {}, labels: {{version: \"{{version}}\", job: {canary_job}}}}}
    stable_version: v1
notifiers:
  log: {{type: log}}
  hook: {{type: webhook, url: \"{hook}\", deadline: 5s}}
{}engine: {{reconcile_interval: 1s, call_deadline: 5s, drain: 1s}}
{}",
        plan.canary_backend, plan.notifiers, plan.sections
    )
}
