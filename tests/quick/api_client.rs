//! The command line against a real listener with the fake store behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serin::api::{Limits, router_with, serve};
use serin::cli::{Cli, Command, Exit, execute};
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{Ending, Phase};
use serin::engine::Handle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::example::{Standing, policy, rollout, spec, steered};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::wait::until;

struct Daemon {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Daemon {
    async fn start(store: MemoryStore, address: &str) -> Daemon {
        let handle = Handle::new(
            Arc::new(store),
            Arc::new(Standing),
            BTreeMap::from([("standard".to_owned(), policy())]),
            BTreeMap::from([("checkout".to_owned(), spec())]),
        );
        handle.set_loaded();
        let limits = Limits { command_wait: Duration::from_millis(300), ..Limits::default() };
        let router = router_with(handle, Arc::new(String::new), limits);
        let bind = || async { TcpListener::bind(address).await.ok() };
        let listener = until("the port can be bound", Duration::from_secs(60), bind).await;
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, router, async {
            let _ = stopped.await;
        }));
        Daemon { address, stop: Some(stop), task }
    }

    async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap().unwrap();
    }
}

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    store.change(|data| {
        data.put(rollout());
        data.targets.insert("checkout".into(), steered());
    });
    store
}

fn phase(store: &MemoryStore, phase: Phase) {
    store.change(|data| {
        let rollout = &mut data.rollouts.get_mut(&rollout().id).unwrap().rollout;
        rollout.phase = phase;
        rollout.revision += 1;
    });
}

fn reason() -> Reason {
    Reason::new(ReasonCode::Command, "A person said so.")
}

async fn serin(server: SocketAddr, arguments: &[&str]) -> Exit {
    let server = format!("http://{server}");
    let arguments = [&["serin", "--output", "json", "--server", &server], arguments].concat();
    let cli = Cli::try_parse_from(arguments).unwrap();
    match cli.command {
        Command::Client(command) => execute(command, &cli.global).await,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn watching_ends_with_the_rollout() {
    let store = store();
    let daemon = Daemon::start(store.clone(), "127.0.0.1:0").await;
    let address = daemon.address;
    for (end, exit) in [
        (Phase::Succeeded, Exit::Done),
        (Phase::RolledBack { reason: reason() }, Exit::No),
        (Phase::Cancelled { reason: reason(), superseded_by: None }, Exit::No),
        (Phase::Failed { reason: reason() }, Exit::No),
    ] {
        phase(&store, rollout().phase);
        let watching = tokio::spawn(async move { serin(address, &["rollout", "watch", "0195c1a8"]).await });
        phase(&store, end.clone());
        let found = tokio::time::timeout(Duration::from_secs(60), watching).await.unwrap().unwrap();
        assert_eq!(found, exit, "{end:?}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_end_of_the_wait_is_not_a_verdict_unless_there_is_one() {
    let store = store();
    let daemon = Daemon::start(store.clone(), "127.0.0.1:0").await;
    let watch = ["rollout", "watch", "0195c1a8", "--wait-for", "1s"];
    assert_eq!(serin(daemon.address, &watch).await, Exit::Undecided);
    phase(&store, Phase::RollingBack { reason: reason(), ending: Ending::RolledBack });
    assert_eq!(serin(daemon.address, &watch).await, Exit::No);
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_that_restarts_is_waited_for() {
    let store = store();
    let daemon = Daemon::start(store.clone(), "127.0.0.1:0").await;
    let address = daemon.address;
    let watching = tokio::spawn(async move { serin(address, &["rollout", "watch", "0195c1a8"]).await });
    // The watcher asks for the log after the rollout: by then it has seen the daemon.
    let seen = || async { (store.asked_for_events() > 0).then_some(()) };
    until("the watcher has looked", Duration::from_secs(60), seen).await;
    daemon.stop().await;
    phase(&store, Phase::Succeeded);
    let daemon = Daemon::start(store, &address.to_string()).await;
    let found = tokio::time::timeout(Duration::from_secs(90), watching).await.unwrap().unwrap();
    assert_eq!(found, Exit::Done);
    daemon.stop().await;
}

#[tokio::test]
async fn exit_codes() {
    let store = store();
    let daemon = Daemon::start(store.clone(), "127.0.0.1:0").await;
    let address = daemon.address;
    let started = ["rollout", "start", "checkout", "--policy", "standard", "--version", "v2"];
    assert_eq!(serin(address, &started).await, Exit::No, "the target is taken");
    assert_eq!(serin(address, &[&started[..], &["--supersede"]].concat()).await, Exit::Done);
    let unknown = ["rollout", "start", "nothing", "--policy", "standard", "--version", "v2"];
    assert_eq!(serin(address, &unknown).await, Exit::Usage);
    assert_eq!(serin(address, &["rollout", "show", "nothing"]).await, Exit::Usage);
    assert_eq!(serin(address, &["rollout", "show", "0195c1a8"]).await, Exit::Done);
    assert_eq!(serin(address, &["rollout", "show", "0195c1a8", "--observations"]).await, Exit::Done);
    assert_eq!(serin(address, &["rollout", "report", "0195c1a8"]).await, Exit::Done);
    assert_eq!(serin(address, &["rollout", "report", "nothing", "--form", "html"]).await, Exit::Usage);
    assert_eq!(serin(address, &["rollout", "list", "--active", "--limit", "1"]).await, Exit::Done);
    assert_eq!(serin(address, &["target", "list"]).await, Exit::Done);
    assert_eq!(serin(address, &["target", "show", "checkout"]).await, Exit::Done);
    assert_eq!(serin(address, &["policy", "show", "standard"]).await, Exit::Done);
    assert_eq!(serin(address, &["rollout", "pause", "0195c1a8"]).await, Exit::Undecided, "not taken");
    phase(&store, Phase::Succeeded);
    assert_eq!(serin(address, &["rollout", "rollback", "0195c1a8"]).await, Exit::No, "refused");
    daemon.stop().await;
    assert_eq!(serin(address, &["rollout", "list"]).await, Exit::Unreachable);
    assert_eq!(serin(address, &["rollout", "watch", "0195c1a8"]).await, Exit::Unreachable);
}

#[tokio::test]
async fn a_stop_waits_for_the_request_under_way() {
    let store = store();
    let daemon = Daemon::start(store.clone(), "127.0.0.1:0").await;
    let address = daemon.address;
    let asking = tokio::spawn(async move { serin(address, &["rollout", "pause", "0195c1a8"]).await });
    let seen = || async { (!store.inspect(|data| data.inbox.is_empty())).then_some(()) };
    until("the command is in the inbox", Duration::from_secs(60), seen).await;
    daemon.stop().await;
    assert_eq!(asking.await.unwrap(), Exit::Undecided, "answered, though the daemon was asked to stop");
}

#[tokio::test]
async fn a_stop_ends_the_streams() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let daemon = Daemon::start(store(), "127.0.0.1:0").await;
    let mut viewer = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    viewer.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains("event: rollout") {
        let count = viewer.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the stream goes on: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    daemon.stop().await;
    viewer.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("0\r\n\r\n"), "the stream has a proper end");
}
