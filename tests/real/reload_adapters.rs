//! Providers, routers, channels and what the API knows of people change while the daemon runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::testkit::serin::Daemon;
use crate::testkit::stage::{Plan, Proxy, Stage};
use crate::testkit::wait;

const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon's file, as text that can be changed.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn of(daemon: &Daemon) -> File {
        let path = daemon.folder.join("serin.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        File { path, text }
    }

    fn write(&self, changes: &[(&str, &str)]) {
        let mut text = self.text.clone();
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?} is not in {text}");
            text = text.replace(from, to);
        }
        std::fs::write(&self.path, text).unwrap();
    }
}

async fn reload(daemon: &Daemon) -> Value {
    let (status, view) = daemon.post("/api/v1/reload", &Value::Null).await;
    assert_eq!(status, 200, "{view}");
    view
}

fn names(view: &Value, list: &str) -> Vec<String> {
    let items = view[list].as_array().unwrap_or_else(|| panic!("{list}: {view}"));
    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn write_policy(folder: &Path) {
    std::fs::create_dir_all(folder.join("policies")).unwrap();
    let standard = include_str!("../../policies/standard.yaml");
    std::fs::write(folder.join("policies/standard.yaml"), standard).unwrap();
}

/// Nothing of what is named has to answer.
const CONFIG: &str = "policies: [policies]
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
notifiers:
  log: {type: log}
";

async fn plain(more: &str) -> (Daemon, File, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write_policy(folder.path());
    let daemon = Daemon::start(folder.path(), &(CONFIG.to_owned() + more)).await;
    let file = File::of(&daemon);
    (daemon, file, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_connected_and_what_is_removed_goes_when_its_rollout_has_ended() {
    let stage = Stage::start(Plan { haproxy: true, ..Plan::default() }).await;
    let Proxy::Haproxy(haproxy) = &stage.proxy else { unreachable!() };
    let file = File::of(&stage.daemon);
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "the first step", 120, is_progressing).await;

    // The target moves to another provider and router, which come with it; the rollout keeps those that it began with.
    let socket = haproxy.socket.display().to_string();
    file.write(&[
        ("  prometheus: {type", "  other: {type"),
        ("provider: prometheus", "provider: other"),
        ("  edge: {type", "  second: {type"),
        ("router: edge", "router: second"),
        ("  log: {type: log}\n", "  log: {type: log}\n  more: {type: log}\n"),
    ]);
    let view = reload(&stage.daemon).await;
    assert_eq!(names(&view, "added"), ["provider other", "router second", "notifier more"], "{view}");
    assert_eq!(names(&view, "removed"), ["provider prometheus", "router edge"], "{view}");
    assert_eq!(view["restart_needed"], json!([]), "{view}");
    assert_eq!(view["not_taken"], json!([]), "{view}");
    let waiting = names(&view, "waiting");
    assert_eq!(waiting.len(), 3, "{view}");
    assert!(waiting[0].starts_with("target shop: router, provider (until rollout"), "{view}");
    assert!(waiting[1].starts_with("provider prometheus: removal (still used by shop)"), "{view}");
    assert!(waiting[2].starts_with("router edge: removal (still used by shop)"), "{view}");
    // It is still measured by the one, and driven by the other.
    let before = looks(&stage.daemon, &id).await;
    wait::until("more looks", PATIENCE, || async {
        (looks(&stage.daemon, &id).await > before).then_some(())
    })
    .await;
    stage.daemon.command(&id, "rollback").await;
    stage.daemon.until(&id, "its end", 120, |view| view["state"] == "rolled_back").await;

    // Then nothing needs them any more, and the next rollout has the new ones.
    wait::until("what is not used is let go of", PATIENCE, || async {
        let log = stage.daemon.log();
        log.contains("provider prometheus, router edge").then_some(())
    })
    .await;
    let target = stage.daemon.get("/api/v1/targets/shop").await;
    assert_eq!((target["router"].as_str(), target["provider"].as_str()), (Some("second"), Some("other")));
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "the first step", 120, is_progressing).await;
    assert!(std::fs::exists(socket).unwrap());
}

async fn looks(daemon: &Daemon, id: &str) -> usize {
    daemon.observations(id).await.len()
}

fn is_progressing(view: &Value) -> bool {
    view["state"] == "progressing"
}

#[tokio::test(flavor = "multi_thread")]
async fn an_haproxy_that_moves_under_a_rollout_is_driven_where_it_is_now() {
    let stage = Stage::start(Plan { haproxy: true, ..Plan::default() }).await;
    let Proxy::Haproxy(haproxy) = &stage.proxy else { unreachable!() };
    let file = File::of(&stage.daemon);
    let socket = haproxy.socket.display().to_string();
    let moved = stage.folder.path().join("moved.sock");
    // Reached by a link first, which is then taken away.
    let link = stage.folder.path().join("first.sock");
    std::os::unix::fs::symlink(&haproxy.socket, &link).unwrap();
    file.write(&[(socket.as_str(), link.to_str().unwrap())]);
    let view = reload(&stage.daemon).await;
    assert_eq!(names(&view, "changed"), ["router edge"], "{view}");
    assert!(names(&view, "replaced").contains(&"routers.edge".to_owned()), "{view}");
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    stage.daemon.until(&id, "the first step", 120, is_progressing).await;

    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&haproxy.socket, &moved).unwrap();
    file.write(&[(socket.as_str(), moved.to_str().unwrap())]);
    reload(&stage.daemon).await;
    stage.daemon.command(&id, "rollback").await;
    stage.daemon.until(&id, "its end", 120, |view| view["state"] == "rolled_back").await;
}

#[tokio::test]
async fn one_fault_keeps_everything_and_all_faults_are_told() {
    let (daemon, file, _folder) = plain("").await;
    file.write(&[
        ("url: 'http://127.0.0.1:1'", "url: 'http://127.0.0.1:2', bearer_token: {file: nowhere.token}"),
        ("  edge: {type", "  second: {type: haproxy, socket: /nowhere/second.sock}\n  edge: {type"),
        (
            "  log: {type: log}\n",
            "  log: {type: log}\n  chat: {type: slack, webhook: {env: SERIN_TEST_NOT_SET}}\n\
             approval_links: {secret: {file: nowhere.secret}}\nteams: {lead: [anna]}\n",
        ),
    ]);
    let (status, problem) = daemon.post("/api/v1/reload", &Value::Null).await;
    assert_eq!(status, 422, "{problem}");
    let fields: Vec<&str> =
        problem["problems"].as_array().unwrap().iter().map(|p| p["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["providers.prom", "notifiers.chat", "approval_links.secret"], "{problem}");
    let metrics = reqwest::get(daemon.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("channel=\"chat\"") && !metrics.contains("router=\"second\""), "{metrics}");
    // Right again: all of it.
    file.write(&[
        ("  edge: {type", "  second: {type: haproxy, socket: /nowhere/second.sock}\n  edge: {type"),
        ("  log: {type: log}\n", "  log: {type: log}\n  chat: {type: log}\n"),
    ]);
    let view = reload(&daemon).await;
    assert_eq!(names(&view, "added"), ["router second", "notifier chat"], "{view}");
}

#[tokio::test]
async fn what_stays_until_the_next_start_says_why() {
    let (daemon, file, _folder) = plain("").await;
    let port = crate::testkit::process::free_port();
    let envoy = format!("  proxies: {{type: envoy, listen: \"127.0.0.1:{port}\"}}\n  edge: {{type");
    file.write(&[("  edge: {type", envoy.as_str())]);
    assert_eq!(names(&reload(&daemon).await, "added"), ["router proxies"]);
    let other = crate::testkit::process::free_port();
    let (listen, moved) =
        (format!("listen: 127.0.0.1:{}", daemon.port), format!("listen: 127.0.0.1:{other}"));
    let envoy = format!(
        "  proxies: {{type: envoy, listen: \"127.0.0.1:{}\", layer: other, forget_after: 1h}}\n  \
         taken: {{type: envoy, listen: \"127.0.0.1:{port}\"}}\n  edge: {{type",
        crate::testkit::process::free_port()
    );
    file.write(&[
        ("  edge: {type", envoy.as_str()),
        (listen.as_str(), moved.as_str()),
        ("store: {path: serin.db}", "store: {path: other.db}"),
        ("type: prometheus, url: 'http://127.0.0.1:1'", "type: scrape"),
        ("{backend: a, ", "{backend: a, endpoints: ['http://127.0.0.1:1/'], "),
        ("{backend: b, ", "{backend: b, endpoints: ['http://127.0.0.1:1/'], "),
    ]);
    let view = reload(&daemon).await;
    let needed: Vec<(&str, &str)> = view["restart_needed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|needed| (needed["field"].as_str().unwrap(), needed["why"].as_str().unwrap()))
        .collect();
    let fields: Vec<&str> = needed.iter().map(|(field, _)| *field).collect();
    assert_eq!(
        fields,
        [
            "listen",
            "store",
            "providers.prom",
            "routers.proxies.listen",
            "routers.proxies.layer",
            "routers.taken"
        ],
        "{view}"
    );
    assert!(needed[2].1.contains("under another name it would be connected at once"), "{view}");
    assert!(needed[5].1.contains("in use by router proxies"), "{view}");
    assert_eq!(names(&view, "changed"), ["router proxies"], "the rest of it is taken");
    let ready = reqwest::get(daemon.url("/readyz")).await.unwrap().text().await.unwrap();
    assert!(ready.contains("restart needed for listen (the API's address is bound at the start)"), "{ready}");
    assert_eq!(daemon.get("/api/v1/reload").await["restart_needed"], view["restart_needed"]);
    assert!(
        names(&view, "not_taken")[0].contains("the provider prom is connected at the next start"),
        "{view}"
    );
    // As it was: nothing needs a restart any more.
    file.write(&[]);
    let view = reload(&daemon).await;
    assert_eq!(view["restart_needed"], json!([]), "{view}");
    assert_eq!(names(&view, "removed"), ["router proxies"]);
}

#[tokio::test]
async fn routing_and_what_the_api_knows_of_people_are_taken_at_once() {
    let more = "public_url: http://one.example.com\nincoming: {alertmanager: {target_label: service}}\n";
    let (daemon, file, _folder) = plain(more).await;
    let alert = |label: &str| {
        json!({"version": "4", "alerts": [{
            "status": "firing", "labels": {"alertname": "Slow", label: "shop", "severity": "critical"},
            "annotations": {}, "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "f1"
        }]})
    };
    let id = daemon.rollout("shop", "standard", "v2").await;
    let handed = async |label: &str| {
        let (status, view) = daemon.post("/api/v1/hooks/alertmanager", &alert(label)).await;
        assert_eq!(status, 200, "{view}");
        view["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(handed("app").await, 0, "no target is named");
    std::fs::write(daemon.folder.join("link.secret"), "a secret of at least thirty-two characters").unwrap();
    file.write(&[
        ("http://one.example.com", "http://two.example.com"),
        ("target_label: service", "target_label: app"),
        ("notifiers:", "teams: {lead: [anna]}\napproval_links: {secret: {file: link.secret}}\nnotifiers:"),
        ("  log: {type: log}\n", "  log: {type: log}\nrouting: {rules: [{to: []}]}\n"),
    ]);
    let view = reload(&daemon).await;
    let sections = ["routing", "public_url", "teams", "approval_links", "incoming"];
    assert_eq!(names(&view, "changed"), sections, "{view}");
    assert_eq!(view["restart_needed"], json!([]), "{view}");
    assert_eq!(handed("app").await, 1, "the rollout {id} is named now");
    // Links are made now: the policy only has no gate for one.
    let (status, problem) = daemon
        .post(&format!("/api/v1/rollouts/{id}/approval-links"), &json!({"gate": "sure", "for": "anna"}))
        .await;
    assert_eq!(status, 404, "{problem}");
}

#[tokio::test]
async fn what_waits_for_a_removed_channel_is_told() {
    let more = "  down: {type: webhook, url: 'http://127.0.0.1:1/'}\n";
    let (daemon, file, _folder) = plain(more).await;
    let id = daemon.rollout("shop", "standard", "v2").await;
    daemon.command(&id, "rollback").await;
    wait::until("something waits for the channel", PATIENCE, || async {
        let page = daemon.get("/api/v1/outbox?state=pending").await;
        page.to_string().contains("\"down").then_some(())
    })
    .await;
    file.write(&[(more, "")]);
    assert_eq!(names(&reload(&daemon).await, "removed"), ["notifier down"]);
    let dead = wait::until("it is given up", PATIENCE, || async {
        let page = daemon.get("/api/v1/outbox").await;
        page["items"].as_array().filter(|items| !items.is_empty()).cloned()
    })
    .await;
    let told = dead[0].to_string();
    assert!(told.contains("the channel is not in the configuration any more"), "{told}");
    let log = daemon.log();
    assert!(log.contains("the channel is removed: notifications that wait for it are given up"), "{log}");
}
