//! schemathesis against the daemon: what the description says and what the code does are the same.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::testkit::theatre::{ASKS, Theatre, theatre};

/// Longest time for one run.
const LONGEST: Duration = Duration::from_secs(240);

/// The program: as `SERIN_SCHEMATHESIS` says, else the one that `make parts` installs.
fn program() -> String {
    std::env::var("SERIN_SCHEMATHESIS").unwrap_or_else(|_| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".parts/schemathesis/bin/schemathesis");
        own.to_string_lossy().into_owned()
    })
}

/// Any finding fails the test with its text.
async fn nothing_is_found(theatre: &Theatre, token: &str, examples: u32) {
    let program = program();
    let there = Command::new(&program).arg("--version").output().await;
    assert!(
        there.is_ok_and(|output| output.status.success()),
        "schemathesis is missing ({program}): `make parts` installs it, or SERIN_SCHEMATHESIS names it"
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis.sh");
    let begun = tokio::time::Instant::now();
    let run = Command::new(script)
        .arg(theatre.daemon.url(""))
        .current_dir(theatre.folder.path())
        .env("SERIN_SCHEMATHESIS", &program)
        .env("SERIN_TOKEN", token)
        .env("EXAMPLES", examples.to_string())
        .env("SEED", "1")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LONGEST, run).await.expect("schemathesis ends in time");
    let output = output.expect("bash runs tests/schemathesis.sh");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "schemathesis has found something:\n{text}");
    let tested = text.lines().find(|line| line.contains("Test cases:"));
    println!("{:.0?}: {}", begun.elapsed(), tested.unwrap_or("?").trim());
    let count = text.split("Test cases:").nth(1).and_then(|rest| {
        let digits: String =
            rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    assert!(count.is_some_and(|count| count > 300), "it has hardly tried anything:\n{text}");
    let log = theatre.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(token.is_empty() || !log.contains(token), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_where_one_must_say_who_one_is() {
    let theatre = theatre(ASKS).await;
    let token = theatre.token("root", "admin").await;
    theatre.rollout(&token, "search", "v2").await;
    nothing_is_found(&theatre, &token, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_where_everybody_may_do_everything() {
    let theatre = theatre("").await;
    theatre.rollout("", "search", "v2").await;
    nothing_is_found(&theatre, "", 3).await;
}
