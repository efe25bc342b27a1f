//! How soon a rollback and a pause are in force while something hangs: from the request's first byte to the router's call,
//! with the real daemon, a real HAProxy and a real Envoy. `make bench-latency` prints the table.
// What is measured is the daemon as a program; its clock is not these tests'.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use serin::core::gate::{Before, Check, CommandCheck, Gate, GateOutcome, WebhookCheck, WebhookForm};
use serin::core::policy::Policy;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::testkit::ear::Deaf;
use crate::testkit::many::{By, Many, Plan, Router, command_path, policy, rollout};
use crate::testkit::process::Process;
use crate::testkit::wait;

/// What must hold also on a machine that has much else to do; an idle one is meant to keep 100 ms.
const BOUND: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);
const ROUTERS: [Router; 2] = [Router::Haproxy, Router::Envoy];
const WAYS: [By; 3] = [By::Api, By::Alertmanager, By::Grafana];

/// Trials of each way at each router: `SERIN_TRIALS`, or a few.
fn trials() -> usize {
    std::env::var("SERIN_TRIALS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Targets for that many trials, or `SERIN_TARGETS` if those are more.
fn targets() -> usize {
    let wanted = std::env::var("SERIN_TARGETS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    (trials() * WAYS.len() * ROUTERS.len()).max(wanted)
}

/// So long a situation lasts, for measuring it at different moments: `SERIN_SPREAD` in seconds, or no longer than it
/// takes.
fn spread() -> Duration {
    let wanted = std::env::var("SERIN_SPREAD").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(wanted.unwrap_or(0))
}

/// What was measured in one situation.
struct Table {
    situation: String,
    rows: Vec<(String, Vec<Duration>)>,
}

impl Table {
    fn of(situation: &str) -> Table {
        Table { situation: situation.to_owned(), rows: Vec::new() }
    }

    fn add(&mut self, what: String, took: Duration) {
        match self.rows.iter_mut().find(|(known, _)| *known == what) {
            Some((_, all)) => all.push(took),
            None => self.rows.push((what, vec![took])),
        }
    }

    /// Prints it; everything must be within the bound.
    fn close(mut self) {
        for (what, all) in &mut self.rows {
            all.sort();
            let at = |share: f64| all[((all.len() - 1) as f64 * share).ceil() as usize].as_secs_f64() * 1e3;
            println!(
                "latency | {:<42} | {what:<34} | n {:>3} | p50 {:>6.1} ms | p99 {:>6.1} ms | max {:>6.1} ms",
                self.situation,
                all.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
        for (what, all) in &self.rows {
            let most = all.iter().max().copied().unwrap_or_default();
            assert!(most < BOUND, "{}: {what} took {most:?}", self.situation);
        }
    }
}

/// A pause and then a rollback of each target, one after the other, in all ways. `numbers` are targets behind each
/// router.
async fn measure(many: &Many, table: &mut Table, numbers: impl ExactSizeIterator<Item = usize> + Clone) {
    let trials = u32::try_from(numbers.len() * ROUTERS.len()).expect("some");
    for router in ROUTERS {
        for (number, by) in numbers.clone().zip(WAYS.into_iter().cycle()) {
            tokio::time::sleep(spread() / trials).await;
            table.add(format!("pause, {router:?}"), many.pause(router, number).await);
            let took = many.roll_back(router, number, by).await;
            table.add(format!("rollback by {by:?}, {router:?}"), took);
        }
    }
}

async fn measure_all(many: &Many, situation: &str) {
    let mut table = Table::of(situation);
    measure(many, &mut table, 0..trials() * WAYS.len()).await;
    table.close();
}

// ------------------------------------------------------------------------------------------------ sources

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_and_one_target() {
    let mut table = Table::of("hung source, 1 target");
    for (router, behind) in [(Router::Haproxy, [1, 0]), (Router::Envoy, [0, 1])] {
        let mut many = Many::start(Plan { behind, ..Plan::of(1) }).await;
        for number in 0..trials() {
            if number > 0 {
                many.start_again().await;
            }
            let by = WAYS[number % WAYS.len()];
            table.add(format!("pause, {router:?}"), many.pause(router, 0).await);
            table.add(format!("rollback, {router:?}"), many.roll_back(router, 0, by).await);
        }
    }
    table.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_and_300_targets() {
    let many = Many::start(Plan::of(300.max(targets()))).await;
    measure_all(&many, "hung source, 300 targets").await;
}

// -------------------------------------------------------------------------------------- gates and receivers

fn gate(name: &str, before: Before, check: Check) -> Gate {
    let (at_deadline, on_refusal) = (GateOutcome::Hold, GateOutcome::Hold);
    Gate {
        name: name.into(),
        before,
        check,
        deadline: None,
        at_deadline,
        on_refusal,
        point_of_no_return: false,
    }
}

/// Asked all along, and never answers.
fn webhook(deaf: &Deaf) -> Gate {
    let check = WebhookCheck {
        url: format!("http://{}/gate", deaf.address),
        allow_private: true,
        form: WebhookForm::Serin,
        metadata: BTreeMap::new(),
        headers: BTreeMap::new(),
        secret: None,
        timeout: Duration::from_secs(600),
        poll: Duration::from_secs(1),
        most_faults: 100,
    };
    gate("asked", Before::During, Check::Webhook(check))
}

/// Stands before 100%, and never ends.
fn program() -> Gate {
    let check = CommandCheck {
        command: vec!["/bin/sleep".to_owned(), "1000".to_owned()],
        directory: None,
        environment: Vec::new(),
        timeout: Duration::from_secs(3600),
    };
    gate("run", Before::Promotion, Check::Command(check))
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_that_hang() {
    let deaf = Deaf::start().await;
    let policies = [webhook(&deaf), program()].map(|gate| Policy { gates: vec![gate], ..policy() }).into();
    let many = Many::start(Plan { policies, ..Plan::of(targets()) }).await;
    let taken = async || (deaf.taken() > 0).then_some(());
    wait::until("the webhook is asked", LONG, taken).await;
    // Whoever wants to go on waits for the gate, whose program begins.
    let measured = |(_, number): &(Router, usize)| number % 2 == 1 && *number < trials() * WAYS.len();
    for (router, number) in many.plan.all().into_iter().filter(measured) {
        let advance = json!({"command": "advance", "by": "erin"});
        let (status, answer) = many.daemon.post(&command_path(router, number), &advance).await;
        assert!([200, 202].contains(&status), "{answer}");
        let runs = |view: &Value| view["gates"].to_string().contains("running");
        many.daemon.until(&rollout(router, number), "the gate's program runs", 60, runs).await;
    }
    measure_all(&many, "hung webhook and command gates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs() {
    let deaf = Deaf::start().await;
    let sections = format!("notifiers:\n  hook: {{type: webhook, url: \"http://{}/hook\"}}\n", deaf.address);
    let many = Many::start(Plan { sections, ..Plan::of(targets()) }).await;
    measure_all(&many, "hung webhook receiver").await;
    let taken = async || (deaf.taken() > 0).then_some(());
    wait::until("the receiver is told", LONG, taken).await;
}

// ------------------------------------------------------------------------------------------------ the store

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    let many = Many::start(Plan { is_limited: true, ..Plan::of(targets()) }).await;
    // No file may grow beyond its first bytes: what is written beyond fails, as on a full disk.
    let pid = many.daemon.pid().to_string();
    let limited =
        Command::new("prlimit").args(["--pid", &pid, "--fsize=512"]).status().expect("prlimit runs");
    assert!(limited.success());
    let refused = async || (many.daemon.status("/readyz").await != Some(200)).then_some(());
    wait::until("nothing can be stored", LONG, refused).await;
    measure_all(&many, "full disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_locked() {
    let many = Many::start(Plan::of(targets())).await;
    let path = many.folder.path().join("serin.db");
    let options = SqliteConnectOptions::new().filename(&path).busy_timeout(LONG);
    let mut holder: SqliteConnection = options.connect().await.expect("the file opens");
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut holder).await.expect("the lock");
    measure_all(&many, "store locked by another writer").await;
    holder.close().await.expect("it ends");
}

/// Neither reads nor writes come back: not even who asks can be looked up.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs() {
    let token = Some("serin_test-erin-0123456789abcdefghijklmnopqrstuvwxyz".to_owned());
    let sections = "authentication: {tokens: true}\n".to_owned();
    let many = Many::start(Plan { token, sections, ..Plan::of(targets()) }).await;
    let _holder = hold_index(many.folder.path());
    measure_all(&many, "store hangs for readers too, with tokens").await;
}

/// Holds the locks of the write-ahead log's index, as a machine does that has lost its disk.
fn hold_index(folder: &Path) -> Process {
    const HOLD: &str = "import fcntl, sys, time\n\
                        index = open(sys.argv[1], 'r+b')\n\
                        fcntl.lockf(index, fcntl.LOCK_EX, 8, 120)\n\
                        print('held', flush=True)\n\
                        time.sleep(600)\n";
    let log = folder.join("holder.log");
    let mut command = Command::new("python3");
    command.args(["-c", HOLD]).arg(folder.join("serin.db-shm"));
    let holder = Process::start(&mut command, &log);
    let begun = std::time::Instant::now();
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("held") {
        assert!(begun.elapsed() < LONG, "the locks were not given");
        std::thread::sleep(Duration::from_millis(20));
    }
    holder
}

// ------------------------------------------------------------------------------------------------ routers

#[tokio::test(flavor = "multi_thread")]
async fn a_router_of_other_targets_that_hangs() {
    let many = Many::start(Plan { behind_hanging: 40, ..Plan::of(targets()) }).await;
    measure_all(&many, "hung router of 40 other targets").await;
}
