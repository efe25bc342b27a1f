//! The configuration changes while the daemon runs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::testkit::serin::Daemon;
use crate::testkit::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// Two targets could be here; nothing of what is named has to answer.
fn config(targets: &[&str]) -> String {
    let mut text = String::from(
        "policies: [policies]\n\
         providers:\n  prom: {type: prometheus, url: 'http://127.0.0.1:1'}\n\
         routers:\n  edge: {type: haproxy, socket: /nowhere/haproxy.sock}\n\
         targets:\n",
    );
    for name in targets {
        text.push_str(&format!(
            "  {name}:\n    router: edge\n    provider: prom\n    route: {name}\n    stable_version: v1\n    \
             stable: {{backend: {name}-a, labels: {{version: '{{version}}'}}}}\n    \
             canary: {{backend: {name}-b, labels: {{version: '{{version}}'}}}}\n"
        ));
    }
    text
}

fn write_policy(folder: &Path, name: &str) {
    let standard = include_str!("../../policies/standard.yaml");
    std::fs::create_dir_all(folder.join("policies")).unwrap();
    let text = standard.replace("name: standard", &format!("name: {name}"));
    std::fs::write(folder.join(format!("policies/{name}.yaml")), text).unwrap();
}

async fn started(folder: &Path) -> (Daemon, String) {
    write_policy(folder, "standard");
    let daemon = Daemon::start(folder, &config(&["shop"])).await;
    let head = format!("listen: 127.0.0.1:{}\nstore: {{path: serin.db}}\n", daemon.port);
    (daemon, head)
}

async fn is_declared(daemon: &Daemon, path: &str) -> bool {
    let answer = daemon.try_get(path).await;
    answer.is_some_and(|answer| answer["declared_in"].is_string())
}

async fn until_declared(daemon: &Daemon, path: &str, wanted: bool) {
    let what = format!("{path} is declared: {wanted}");
    wait::until(&what, PATIENCE, || async { (is_declared(daemon, path).await == wanted).then_some(()) })
        .await;
}

async fn text(daemon: &Daemon, path: &str) -> String {
    reqwest::get(daemon.url(path)).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_changed_file_is_taken_and_a_wrong_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, head) = started(folder.path()).await;
    let file = folder.path().join("serin.yaml");
    assert!(is_declared(&daemon, "/api/v1/targets/shop").await);

    // Written in place.
    std::fs::write(&file, head.clone() + &config(&["shop", "cart"])).unwrap();
    until_declared(&daemon, "/api/v1/targets/cart", true).await;
    // A new policy in the directory.
    write_policy(folder.path(), "second");
    until_declared(&daemon, "/api/v1/policies/second", true).await;
    // As editors do it: another file that is renamed over it.
    std::fs::write(folder.path().join(".serin.new"), head.clone() + &config(&["cart"])).unwrap();
    std::fs::rename(folder.path().join(".serin.new"), &file).unwrap();
    until_declared(&daemon, "/api/v1/targets/shop", false).await;

    // A wrong file changes nothing, and everybody says so.
    std::fs::write(&file, head.clone() + &config(&["cart"]).replace("route:", "rute:")).unwrap();
    wait::until("the wrong file is noticed", PATIENCE, || async {
        text(&daemon, "/readyz").await.contains("not valid").then_some(())
    })
    .await;
    assert_eq!(daemon.status("/readyz").await, Some(200), "it can do its work");
    assert!(is_declared(&daemon, "/api/v1/targets/cart").await);
    let metrics = text(&daemon, "/metrics").await;
    assert!(metrics.contains("serin_config_last_reload_successful 0"), "{metrics}");
    assert!(metrics.contains("serin_config_reloads_total{result=\"failure\"} 1"), "{metrics}");
    let shown = daemon.get("/api/v1/reload").await;
    assert_eq!(shown["ok"], false);
    assert!(shown["problems"].to_string().contains("targets.cart.rute"), "{shown}");
    let (status, problem) = daemon.post("/api/v1/reload", &Value::Null).await;
    assert_eq!(status, 422, "{problem}");
    let place = &problem["problems"][0];
    assert!(place["file"].as_str().unwrap().ends_with("serin.yaml"), "{problem}");
    assert!(place["line"].as_u64().is_some() && place["field"].is_string(), "{problem}");
    assert!(daemon.log().contains("the previous configuration stays in force"));

    // Right again, by SIGHUP.
    std::fs::write(&file, head + &config(&["cart", "shop"])).unwrap();
    assert!(Command::new("kill").args(["-HUP", &daemon.pid().to_string()]).status().unwrap().success());
    until_declared(&daemon, "/api/v1/targets/shop", true).await;
    let metrics = text(&daemon, "/metrics").await;
    assert!(metrics.contains("serin_config_last_reload_successful 1"), "{metrics}");
}

#[tokio::test]
async fn a_reload_says_what_changed_and_what_needs_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, head) = started(folder.path()).await;
    let file = folder.path().join("serin.yaml");
    let more = config(&["shop", "cart"])
        .replace("url: 'http://127.0.0.1:1'", "url: 'http://127.0.0.1:2'")
        .replace("targets:\n", "  other: {type: haproxy, socket: /nowhere/other.sock}\ntargets:\n")
        .replace("cart:\n    router: edge", "cart:\n    router: other");
    std::fs::write(&file, head + &more + "retention: {observations: 1d}\n").unwrap();
    let (status, view) = daemon.post("/api/v1/reload", &Value::Null).await;
    assert_eq!(status, 200, "{view}");
    assert!(view["replaced"].as_array().unwrap().contains(&"providers.prom".into()), "{view}");
    let fields: Vec<&str> = view["restart_needed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|needed| needed["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["retention"], "{view}");
    assert_eq!(view["added"], serde_json::json!(["target cart", "router other"]), "{view}");
    assert_eq!(view["changed"], serde_json::json!(["provider prom"]), "{view}");
    assert_eq!(view["not_taken"], serde_json::json!([]), "{view}");
    assert!(is_declared(&daemon, "/api/v1/targets/cart").await);
    let ready = text(&daemon, "/readyz").await;
    assert!(ready.contains("restart needed for retention (what is deleted is set at the start)"), "{ready}");
}

#[tokio::test]
async fn a_configuration_behind_links_is_followed_when_they_are_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, head) = started(folder.path()).await;
    daemon.kill();
    // As Kubernetes mounts a ConfigMap.
    let file = folder.path().join("serin.yaml");
    for (version, targets) in [("..v1", ["shop"].as_slice()), ("..v2", ["shop", "cart"].as_slice())] {
        write_policy(&folder.path().join(version), "standard");
        std::fs::write(folder.path().join(version).join("serin.yaml"), head.clone() + &config(targets))
            .unwrap();
    }
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    link("..v1", "..data");
    std::fs::remove_file(&file).unwrap();
    link("..data/serin.yaml", "serin.yaml");
    daemon.start_again(&[]).await;
    daemon.ready().await;
    link("..v2", "..tmp");
    std::fs::rename(folder.path().join("..tmp"), folder.path().join("..data")).unwrap();
    until_declared(&daemon, "/api/v1/targets/cart", true).await;
}

fn serin(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_serin")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn the_command_line_declares_and_removes_and_a_restart_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, _) = started(folder.path()).await;
    let server = daemon.url("");
    let path = folder.path().join("cart.yaml");
    let file = path.to_str().unwrap();
    let entry = "name: cart\nrouter: edge\nprovider: prom\nroute: cart\nstable_version: v1\n\
                 stable: {backend: a, labels: {version: '{version}'}}\n\
                 canary: {backend: b, labels: {version: '{version}'}}\n";
    std::fs::write(&path, entry).unwrap();
    assert_eq!(
        serin(&["target", "apply", "-f", file, "--server", &server]),
        (Some(0), "cart created\n".into())
    );
    assert_eq!(
        serin(&["target", "apply", "-f", file, "--server", &server]),
        (Some(0), "cart updated\n".into())
    );
    std::fs::write(&path, entry.replace("route: cart", "rute: cart")).unwrap();
    let (code, told) = serin(&["target", "apply", "-f", file, "--server", &server]);
    assert_eq!(code, Some(1));
    assert!(told.contains("cart.yaml:4:1: rute:"), "{told}");

    daemon.kill();
    daemon.start_again(&[]).await;
    daemon.ready().await;
    assert!(is_declared(&daemon, "/api/v1/targets/cart").await);
    let (code, told) = serin(&["target", "show", "cart", "--server", &server]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("Source    the API (api)"), "{told}");
    assert_eq!(serin(&["target", "delete", "cart", "--server", &server]), (Some(0), "cart deleted\n".into()));
    assert_eq!(serin(&["target", "delete", "shop", "--server", &server]).0, Some(1), "the file has it");
}

#[tokio::test]
async fn files_are_checked_without_starting_anything() {
    let folder = tempfile::tempdir().unwrap();
    write_policy(folder.path(), "standard");
    let path = folder.path().join("serin.yaml");
    let file = path.to_str().unwrap();
    std::fs::write(&path, "store: {path: serin.db}\n".to_owned() + &config(&["shop"])).unwrap();
    let (code, told) = serin(&["config", "check", file]);
    assert_eq!((code, told.as_str()), (Some(0), format!("{file}: ok (1 target, 1 policy)\n").as_str()));
    assert_eq!(serin(&["serve", "--check", "--config", file]).0, Some(0));
    assert!(!folder.path().join("serin.db").exists(), "nothing was started");

    let (code, told) = serin(&["config", "check", "--connect", file]);
    assert_eq!(code, Some(1));
    assert!(told.contains("providers.prom: error:") && told.contains("check `url`"), "{told}");
    assert!(told.contains("routers.edge: error: target shop:"), "{told}");
    assert!(told.contains("notifiers.log: ok:"), "{told}");

    std::fs::write(&path, config(&["shop"]).replace("route:", "rute:")).unwrap();
    let (code, told) = serin(&["config", "check", file]);
    assert_eq!(code, Some(1));
    assert!(told.contains("the field `store` is missing") && told.contains("rute"), "{told}");
    assert_eq!(serin(&["config", "check"]).0, Some(2));
}

#[tokio::test]
async fn a_stop_says_what_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, _) = started(folder.path()).await;
    daemon.rollout("shop", "standard", "v2").await;
    assert!(Command::new("kill").arg(daemon.pid().to_string()).status().unwrap().success());
    wait::until("the daemon has stopped", PATIENCE, || {
        let ended = !daemon.is_running();
        async move { ended.then_some(()) }
    })
    .await;
    let log = daemon.log();
    assert!(
        log.contains("waiting for the engine to finish the work at hand, and for open API requests"),
        "{log}"
    );
    assert!(log.contains("deadline_seconds="), "{log}");
    // What becomes of the traffic of a rollout meanwhile.
    let stays = "the traffic stays as it is, and nobody judges this rollout until the next start";
    let line = log.lines().find(|line| line.contains(stays)).expect("it is told");
    for part in ["target_name=\"shop\"", "version=\"v2\"", "state=\"preflight\"", "split="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(log.contains("the engine has stopped") && log.contains("the API has stopped"), "{log}");
}
