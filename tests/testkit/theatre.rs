//! A daemon with two targets behind a real HAProxy, read by scraping, with traffic: what people look at.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use serin::demo::fault::{Behaviour, Fault};
use serin::demo::load::{Load, LoadOptions};
use serin::demo::service::{Service, ServiceOptions};
use tempfile::TempDir;
use tokio::process::Command;

use super::haproxy::{Haproxy, HaproxyBackend};
use super::serin::Daemon;
use super::stage::policy;

/// A daemon and two services with traffic.
pub struct Theatre {
    pub daemon: Daemon,
    _services: Vec<Service>,
    _haproxy: Haproxy,
    _load: [Load; 2],
    pub folder: TempDir,
}

/// `shop`: its v2 fails a fifth of its requests. `search`: its v2 is as good as v1.
/// `more` is added to the configuration.
pub async fn theatre(more: &str) -> Theatre {
    let folder = tempfile::tempdir().expect("a folder");
    let behaviour = Behaviour { error_rate: 0.01, median: Duration::from_millis(8), sigma: 0.4 };
    let mut services = Vec::new();
    for (version, seed, fault) in [
        ("v1", 1, Fault::None),
        ("v2", 2, Fault::Errors { rate: 0.2 }),
        ("v1", 3, Fault::None),
        ("v2", 4, Fault::None),
    ] {
        let options = ServiceOptions { fault, behaviour, ..ServiceOptions::new(version, seed) };
        services.push(Service::start(options).await.expect("a service"));
    }
    let port = |i: usize| services[i].addr().port();
    let mut backends = [
        HaproxyBackend::new("/shop", "shop", &[("shop1", port(0)), ("shop2", port(1))]),
        HaproxyBackend::new("/search", "search", &[("search1", port(2)), ("search2", port(3))]),
    ];
    backends.iter_mut().for_each(|backend| backend.lines.push("http-request set-path /".to_owned()));
    let haproxy = Haproxy::start(folder.path(), &backends).await;
    std::fs::write(folder.path().join("policy.yaml"), policy("")).expect("the policy");
    let gate = "gates: [{name: sure, before: start, approval: {from: [{count: 1}], by_starter: false}}]\n";
    let gated = policy(gate).replace("name: test", "name: gated");
    std::fs::write(folder.path().join("gated.yaml"), gated).expect("the policy with a gate");
    let target = |name: &str, first: usize| {
        let arm = |i: usize| {
            format!(
                "{{backend: {name}{}, labels: {{version: \"{{version}}\"}}, endpoints: [\"http://{}/metrics\"]}}",
                i - first + 1,
                services[i].addr()
            )
        };
        format!(
            "  {name}:\n    router: lb\n    provider: pages\n    route: {name}\n    stable: {}\n    canary: {}\n    \
             stable_version: v1\n",
            arm(first),
            arm(first + 1)
        )
    };
    let config = format!(
        "policies: [policy.yaml, gated.yaml]\nproviders:\n  pages: {{type: scrape, deadline: 3s}}\nrouters:\n  lb: {{type: haproxy, \
         socket: {}}}\ntargets:\n{}{}{more}\nengine: {{reconcile_interval: 1s, call_deadline: \
         5s, drain: 1s}}\n",
        haproxy.socket.display(),
        target("shop", 0),
        target("search", 2)
    );
    let daemon = Daemon::start(folder.path(), &config).await;
    let entry = SocketAddr::from(([127, 0, 0, 1], haproxy.port));
    let load = |path: &str| {
        let longest = Duration::from_secs(500);
        let options = LoadOptions {
            path: path.to_owned(),
            max_requests: 200_000,
            max_duration: longest,
            ..LoadOptions::new(entry, 300.0)
        };
        Load::start(options)
    };
    let load = [load("/shop"), load("/search")];
    Theatre { daemon, _services: services, _haproxy: haproxy, _load: load, folder }
}

/// With this in the configuration the daemon wants to know who asks.
pub const ASKS: &str = "authentication: {tokens: true}";

impl Theatre {
    /// Starts a rollout as somebody; gives its id.
    pub async fn rollout(&self, token: &str, target: &str, version: &str) -> String {
        let body = json!({"target": target, "policy": "test", "version": version});
        let request = reqwest::Client::new().post(self.daemon.url("/api/v1/rollouts")).json(&body);
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 201, "{answer:?}");
        let view: Value = answer.json().await.expect("JSON");
        view["id"].as_str().expect("an id").to_owned()
    }

    /// Makes a token with `serin token create`.
    pub async fn token(&self, name: &str, role: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(["--output", "json", "token", "create", "--name", name, "--role", role, "--config"]);
        let output =
            command.arg(self.folder.path().join("serin.yaml")).output().await.expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        made["token"].as_str().expect("a token").to_owned()
    }
}
