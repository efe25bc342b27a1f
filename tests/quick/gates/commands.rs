//! Programs: what they get, what their ends mean, and that nothing of them stays behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serin::core::gate::{Check, CommandCheck};

use super::super::testkit::wait::until;
use super::kit::{ask, said};

fn command(run: &[&str]) -> CommandCheck {
    CommandCheck {
        command: run.iter().map(|word| (*word).to_owned()).collect(),
        directory: None,
        environment: Vec::new(),
        timeout: Duration::from_secs(60),
    }
}

fn shell(script: &str) -> CommandCheck {
    command(&["/bin/sh", "-c", script])
}

async fn end(check: CommandCheck) -> String {
    said(&ask(Check::Command(check)).await)
}

#[tokio::test]
async fn the_exit_code_is_the_answer() {
    for (script, says) in [
        ("exit 0", "yes: exit code 0"),
        ("echo one; echo all fine", "yes: all fine"),
        ("echo 3 of 12 >&2; exit 75", "not yet: 3 of 12"),
        ("exit 75", "not yet: exit code 75"),
        ("echo first; echo 'broken: x' >&2; exit 1", "no: exit code 1: broken: x"),
        ("exit 3", "no: exit code 3"),
        ("kill -9 $$", "no: ended by signal 9"),
    ] {
        assert_eq!(end(shell(script)).await, says, "{script}");
    }
}

#[tokio::test]
async fn there_is_no_shell_and_placeholders_are_arguments() {
    let words = [
        "/usr/bin/printf",
        "%s|",
        "{version}",
        "{stable_version}",
        "{target}",
        "{rollout}",
        "{weight}",
        "$HOME;x",
        "{other}",
    ];
    assert_eq!(end(command(&words)).await, "yes: 1.4.3|1.4.2|shop|r1|5|$HOME;x|{other}|");
}

#[tokio::test]
async fn the_environment_is_what_was_named() {
    // Cargo sets variables of its own for the test; only the named one goes on.
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok() && std::env::var("CARGO_PKG_NAME").is_ok());
    let folder = tempfile::tempdir().unwrap();
    let mut check = shell("env | sort > all; cat > /dev/null; pwd");
    check.environment = vec!["CARGO_PKG_NAME".to_owned()];
    check.directory = Some(folder.path().to_owned());
    assert_eq!(end(check.clone()).await, format!("yes: {}", folder.path().canonicalize().unwrap().display()));
    let all = std::fs::read_to_string(folder.path().join("all")).unwrap();
    let names: Vec<&str> =
        all.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // Those of the shell itself aside.
    let names: Vec<&str> =
        names.into_iter().filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)).collect();
    assert_eq!(
        names,
        [
            "CARGO_PKG_NAME",
            "PATH",
            "SERIN_GATE",
            "SERIN_KEY",
            "SERIN_OCCASION",
            "SERIN_POLICY",
            "SERIN_ROLLOUT",
            "SERIN_STABLE_VERSION",
            "SERIN_STARTED_BY",
            "SERIN_TARGET",
            "SERIN_VERSION",
            "SERIN_WEIGHT",
        ]
    );
    assert!(all.contains("SERIN_KEY=r1/start/it/1\n") && all.contains("SERIN_VERSION=1.4.3\n"), "{all}");

    check.environment = vec!["SERIN_TEST_IS_NOT_SET".to_owned()];
    std::fs::remove_file(folder.path().join("all")).unwrap();
    assert_eq!(end(check).await, "fault: the environment variable SERIN_TEST_IS_NOT_SET is not set");
    assert!(!folder.path().join("all").exists(), "it was run");
}

#[tokio::test]
async fn what_cannot_be_started_is_a_fault() {
    let found = end(command(&["/there/is/no/program"])).await;
    assert!(found.starts_with("fault: /there/is/no/program cannot be started: No such file"), "{found}");
    let mut check = shell("true");
    check.directory = Some(PathBuf::from("/there/is/no/folder"));
    assert!(end(check).await.starts_with("fault: /bin/sh cannot be started"));
    assert!(end(command(&["/bin/echo", "a\0b"])).await.starts_with("fault: "));
}

#[tokio::test]
async fn a_flood_of_output_is_read_and_dropped() {
    // 60 MB, which would be seen in the memory of the test.
    let before = peak();
    let found = end(shell("yes 'a flood of words' | head -c 60000000; echo; echo last words; exit 1")).await;
    assert_eq!(found, "no: exit code 1: last words");
    let grown = peak() - before;
    assert!(grown < 30_000, "the test has grown by {grown} kB");
    // Without an end it is killed, however much it has written.
    let mut check = shell("yes for ever");
    check.timeout = Duration::from_secs(1);
    let found = end(check).await;
    assert!(found.starts_with("no: killed after 1s, its timeout: "), "{found}");
}

/// The most memory that this process has had, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its peak");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
}

/// A script with a child and a grandchild, which write their process ids.
const FAMILY: &str =
    "sh -c 'sh -c \"echo \\$\\$ > c; exec sleep 1000\" & echo $$ > b; wait' & echo $$ > a; wait";

async fn family(folder: &Path) -> Vec<u32> {
    until("the family has begun", Duration::from_secs(20), async || {
        ["a", "b", "c"]
            .iter()
            .map(|name| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok())
            .collect::<Option<Vec<u32>>>()
    })
    .await
}

/// Waits until none of them runs any more; one that nobody has asked for its end is dead too.
async fn all_dead(ids: &[u32]) {
    until("all are dead", Duration::from_secs(20), async || {
        let runs = |id: &u32| match std::fs::read_to_string(format!("/proc/{id}/stat")) {
            Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => false,
        };
        (!ids.iter().any(runs)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn at_its_timeout_the_whole_family_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut check = shell(FAMILY);
    check.directory = Some(folder.path().to_owned());
    check.timeout = Duration::from_secs(3);
    let (found, ids) = tokio::join!(end(check), family(folder.path()));
    assert_eq!(found, "no: killed after 3s, its timeout");
    all_dead(&ids).await;
}

#[tokio::test]
async fn it_is_killed_when_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut check = shell(FAMILY);
    check.directory = Some(folder.path().to_owned());
    let task = tokio::spawn(end(check));
    let ids = family(folder.path()).await;
    task.abort();
    all_dead(&ids).await;
}

#[tokio::test]
async fn children_that_are_left_behind_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    // It ends at once; its child would run on, and holds the output open.
    let mut check = shell("sh -c 'echo $$ > a; exec sleep 1000' & until [ -s a ]; do :; done; echo done");
    check.directory = Some(folder.path().to_owned());
    let begun = tokio::time::Instant::now();
    assert_eq!(end(check).await, "yes: done");
    assert!(begun.elapsed() < Duration::from_secs(15), "it was waited for the child");
    let id = std::fs::read_to_string(folder.path().join("a")).unwrap().trim().parse().unwrap();
    all_dead(&[id]).await;
}
