//! The web page in a real browser: Chromium, on a daemon with two targets behind a real HAProxy.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

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
