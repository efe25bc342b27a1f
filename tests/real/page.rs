//! The web page in a real browser: Chromium, on a daemon with two targets behind a real HAProxy.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::testkit::process::free_port;
use crate::testkit::serin::Daemon;
use crate::testkit::theatre::{ASKS, theatre};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_and_steers_rollouts_in_a_browser() {
    let mut theatre = theatre(ASKS).await;
    let operator = theatre.token("olga", "operator").await;
    let viewer = theatre.token("victor", "viewer").await;
    let approver = theatre.token("alan", "approver").await;
    let admin = theatre.token("anna", "admin").await;
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
        .env("SERIN_APPROVER_TOKEN", &approver)
        .env("SERIN_ADMIN_TOKEN", &admin)
        .env("SERIN_POLICY", "test")
        .env("SERIN_GATED_POLICY", "gated")
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
    for token in [&operator, &viewer, &approver, &admin] {
        assert!(!log.contains(token), "a token is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_says_that_a_reload_failed_and_what_needs_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let standard = include_str!("../../policies/standard.yaml");
    std::fs::write(folder.path().join("standard.yaml"), standard).expect("the policy");
    let daemon = Daemon::start(folder.path(), PLAIN).await;
    let file = folder.path().join("serin.yaml");
    let right = std::fs::read_to_string(&file).expect("the configuration");
    let wrong = right.replace("route: shop", "rute: shop");
    let moved = right.replace(&format!(":{}", daemon.port), &format!(":{}", free_port()));
    let mut script = Command::new("node")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/web"))
        .args(["e2e/configuration.mjs", &daemon.url("")])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node runs; `make parts page` installs it and what the page needs");
    let mut lines = BufReader::new(script.stdout.take().expect("its output")).lines();
    let mut told = Vec::new();
    let whole = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            let text = match line.as_str() {
                "WRONG NOW" => Some(&wrong),
                "RESTART NOW" => Some(&moved),
                "RIGHT NOW" => Some(&right),
                _ => None,
            };
            if let Some(text) = text {
                std::fs::write(&file, text).expect("the configuration is written");
            }
            told.push(line);
        }
        script.wait().await.expect("an end")
    };
    let ended = tokio::time::timeout(Duration::from_secs(300), whole).await.expect("the script has an end");
    assert!(ended.success(), "it broke off:\n{}\n{}", told.join("\n"), daemon.log());
    println!("{}", told.join("\n"));
}

/// Nothing of what is named has to answer.
const PLAIN: &str = "policies: [standard.yaml]
providers:
  prom: {type: prometheus, url: 'http://127.0.0.1:1'}
routers:
  edge: {type: haproxy, socket: /nowhere/haproxy.sock}
targets:
  shop:
    router: edge
    provider: prom
    route: shop
    stable_version: v1
    stable: {backend: a, labels: {version: '{version}'}}
    canary: {backend: b, labels: {version: '{version}'}}
";
