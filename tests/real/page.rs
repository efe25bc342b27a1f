//! The web page in a real browser: Chromium, on a daemon with two targets behind a real HAProxy.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use serin::demo::fault::{Behaviour, Fault};
use serin::demo::load::{Load, LoadOptions};
use serin::demo::service::{Service, ServiceOptions};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::testkit::haproxy::{Haproxy, HaproxyBackend};
use crate::testkit::serin::Daemon;
use crate::testkit::stage::policy;

/// A daemon that wants to know who asks, and two services with traffic.
struct Theatre {
    daemon: Daemon,
    _services: Vec<Service>,
    _haproxy: Haproxy,
    _load: [Load; 2],
    folder: TempDir,
}

/// `shop`: its v2 fails a fifth of its requests. `search`: its v2 is as good as v1.
async fn theatre() -> Theatre {
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
        "policies: [policy.yaml]\nproviders:\n  pages: {{type: scrape, deadline: 3s}}\nrouters:\n  lb: {{type: haproxy, \
         socket: {}}}\ntargets:\n{}{}authentication: {{tokens: true}}\nengine: {{reconcile_interval: 1s, call_deadline: \
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

impl Theatre {
    /// Makes a token with `serin token create`.
    async fn token(&self, name: &str, role: &str) -> String {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_and_steers_rollouts_in_a_browser() {
    let mut theatre = theatre().await;
    let (operator, viewer) =
        (theatre.token("olga", "operator").await, theatre.token("victor", "viewer").await);
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/web");
    let pictures = std::env::var("SERIN_PICTURES")
        .map_or_else(|_| theatre.folder.path().join("pictures"), std::path::PathBuf::from);
    let mut command = Command::new("node");
    command
        .current_dir(&web)
        .args(["e2e/story.mjs", &theatre.daemon.url("")])
        .env("SERIN_BASE", theatre.daemon.url(""))
        .env("SERIN_OPERATOR_TOKEN", &operator)
        .env("SERIN_VIEWER_TOKEN", &viewer)
        .env("SERIN_POLICY", "test")
        .env("SERIN_TARGET", "shop")
        .env("SERIN_BAD_VERSION", "v2")
        .env("SERIN_TARGET2", "search")
        .env("SERIN_GOOD_VERSION", "v2")
        .env("SERIN_SHOTS", &pictures)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut story =
        command.spawn().expect("node runs; `make parts page` installs it and what the page needs");
    let mut lines = BufReader::new(story.stdout.take().expect("its output")).lines();
    let mut told = Vec::new();
    let whole = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            println!("{line}");
            if line.contains("RESTART NOW") {
                theatre.daemon.kill();
                theatre.daemon.start_again(&[]).await;
            }
            told.push(line);
        }
        story.wait().await.expect("an end")
    };
    let ended = tokio::time::timeout(Duration::from_secs(400), whole).await.expect("the story has an end");
    assert!(ended.success(), "the story broke off:\n{}\n{}", told.join("\n"), theatre.daemon.log());
    let log = theatre.daemon.log();
    assert!(!log.contains(&operator) && !log.contains(&viewer), "a token is in the log");
}
