//! `serin notify test CHANNEL`.

use std::path::Path;

use tokio::process::Command;

use super::Open;
use crate::testkit::channels::secret;
use crate::testkit::process::free_port;
use crate::testkit::receivers::Fault;
use crate::testkit::receivers::pagerduty::{Pagerduty, ROUTING_KEY, Stage};

/// A configuration with some channels.
fn write(folder: &Path, notifiers: &str) {
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/standard.yaml");
    let text = format!(
        "store: {{path: serin.db}}\npolicies: [{}]\nproviders: {{prom: {{type: scrape}}}}\n\
         routers: {{edge: {{type: envoy, listen: \"127.0.0.1:0\"}}}}\n\
         targets:\n  shop:\n    router: edge\n    provider: prom\n    route: r\n    \
         stable: {{backend: a, labels: {{c: a}}, endpoints: [\"http://127.0.0.1:1/m\"]}}\n    \
         canary: {{backend: b, labels: {{c: b}}, endpoints: [\"http://127.0.0.1:1/m\"]}}\nnotifiers:\n{notifiers}",
        policy.display()
    );
    std::fs::write(folder.join("serin.yaml"), text).unwrap();
}

/// Exit code, standard output, standard error.
async fn test(folder: &Path, channel: &str, more: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(folder).args(["notify", "test", channel]).args(more).env_remove("SERIN_TEST_NOT_SET");
    let done = command.output().await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().expect("an exit code"), text(&done.stdout), text(&done.stderr))
}

#[tokio::test]
async fn it_sends_one_and_says_what_came_back() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Open::start().await);
    let port = free_port();
    let notifiers = format!(
        "  hook: {{type: webhook, url: \"{}/x\"}}\n  gone: {{type: webhook, url: \"http://127.0.0.1:{port}\"}}\n  \
         bare: {{type: teams, webhook: {{env: SERIN_TEST_NOT_SET}}}}\n",
        at.running.url
    );
    write(folder.path(), &notifiers);
    let (code, out, _) = test(folder.path(), "hook", &[]).await;
    assert_eq!((code, &*out), (0, "hook: delivered\n"));
    assert!(at.desk.got()[0].body["sentence"].as_str().unwrap().starts_with("TEST"));
    at.desk.fail(&[Fault::Status(400), Fault::Busy(7)]);
    let (code, _, err) = test(folder.path(), "hook", &[]).await;
    assert!(code == 1 && err.contains("400") && err.contains("the test says so"), "{code} {err}");
    let (code, out, _) = test(folder.path(), "hook", &["--output", "json"]).await;
    let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &told["delivered"], &told["retry_after_seconds"]), (3, &false.into(), &7.into()));
    let (code, _, err) = test(folder.path(), "gone", &["--config", "serin.yaml"]).await;
    assert!(code == 3 && !err.is_empty(), "{code} {err}");
    let (code, _, err) = test(folder.path(), "bare", &[]).await;
    assert!(code == 2 && err.contains("bare") && err.contains("SERIN_TEST_NOT_SET"), "{code} {err}");
    let (code, _, err) = test(folder.path(), "nowhere", &[]).await;
    assert!(code == 2 && err.contains("bare, gone, hook"), "{code} {err}");
}

#[tokio::test]
async fn a_pager_gets_a_test_incident_that_ends_at_once() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Pagerduty::start().await);
    secret(folder.path(), "key", ROUTING_KEY);
    let pager = format!("  pager: {{type: pagerduty, url: \"{}\", routing_key: {{file: key}}}}\n", at.url());
    write(folder.path(), &pager);
    let (code, out, err) = test(folder.path(), "pager", &[]).await;
    assert_eq!((code, &*out), (0, "pager: delivered\n"), "{err}");
    let incidents: Vec<_> = at.incidents().into_values().collect();
    assert_eq!((incidents.len(), incidents[0].stage), (1, Stage::Resolved));
    assert_eq!(incidents[0].triggers[0]["payload"]["severity"], "info");
    assert_eq!(at.desk.complaints(), [""; 0]);
}
