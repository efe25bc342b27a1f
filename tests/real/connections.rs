//! Ten thousand connections at once, half of them in the middle of a request: the daemon takes so many as
//! it has places for, goes on looking at its rollouts, and answers again when they are gone.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::testkit::theatre::theatre;
use crate::testkit::wait;

/// Opens connections without waiting for them, sends a part of a request on each that stands, says how
/// many there are, and keeps them until its input ends.
const CROWD: &str = r#"
import resource, select, socket, sys, time
port, wanted = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
files = wanted + 100 if hard == resource.RLIM_INFINITY else min(wanted + 100, hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
opened, sent = [], 0
poll = select.poll()
for number in range(min(wanted, files - 50)):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", port))
    opened.append(one)
    poll.register(one, select.POLLOUT)
parts = [b"GET /api/v1/rollouts HTTP/1.1\r\nHost: 127.0.0.1\r\n",
         b"POST /api/v1/rollouts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
         b""]
by_file = {one.fileno(): one for one in opened}
until = time.monotonic() + 3
while time.monotonic() < until and by_file:
    for file, events in poll.poll(200):
        poll.unregister(file)
        one = by_file.pop(file)
        if not events & select.POLLERR:
            try:
                one.send(parts[sent % 3])
                sent += 1
            except OSError:
                pass
print(len(opened), sent, flush=True)
sys.stdin.read()
"#;

/// A process with connections; they end with it.
struct Crowd {
    _process: Child,
    opened: u64,
    standing: u64,
}

async fn crowd(port: u16, wanted: u64) -> Crowd {
    let mut command = Command::new("python3");
    command.args(["-c", CROWD, &port.to_string(), &wanted.to_string()]);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 runs; `make parts` installs it");
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let line = tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await.expect("in time");
    let line = line.expect("text").expect("how many there are");
    let (opened, standing) = line.split_once(' ').expect("two numbers");
    Crowd {
        _process: process,
        opened: opened.parse().expect("a number"),
        standing: standing.parse().expect("a number"),
    }
}

/// Open files of a process.
fn files(pid: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_are_bounded_and_looks_go_on() {
    let theatre = theatre("").await;
    let id = theatre.rollout("", "search", "v2").await;
    let looked_at = |view: &Value| view["assessment"]["tick"].as_u64().unwrap_or(0) >= 3;
    theatre.daemon.until(&id, "three looks", 120, looked_at).await;
    // Paused, it is looked at and goes nowhere.
    theatre.daemon.command(&id, "pause").await;

    // One viewer was there before; it tells how the looks go on.
    let ticks = Arc::new(AtomicU64::new(0));
    let seen = ticks.clone();
    let url = theatre.daemon.url(&format!("/api/v1/stream?rollout={id}"));
    let stream = reqwest::Client::new().get(url).send().await.expect("the stream");
    assert_eq!(stream.status(), 200);
    let viewer = tokio::spawn(async move {
        let mut chunks = stream.bytes_stream();
        let mut text = String::new();
        while let Some(Ok(chunk)) = chunks.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk));
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let view: Option<Value> = data.and_then(|data| serde_json::from_str(data).ok());
                if let Some(tick) = view.and_then(|view| view["assessment"]["tick"].as_u64()) {
                    seen.store(tick, Ordering::SeqCst);
                }
            }
        }
    });
    let more = async |looks: u64, seconds: u64| {
        let before = ticks.load(Ordering::SeqCst);
        wait::until("looks go on", Duration::from_secs(seconds), async || {
            (ticks.load(Ordering::SeqCst) >= before + looks).then_some(())
        })
        .await;
    };
    more(2, 60).await;

    let pid = theatre.daemon.pid();
    let before = files(pid);
    let port = theatre.daemon.port;
    let crowds = tokio::join!(crowd(port, 3_400), crowd(port, 3_400), crowd(port, 3_400));
    let opened = crowds.0.opened + crowds.1.opened + crowds.2.opened;
    let standing = crowds.0.standing + crowds.1.standing + crowds.2.standing;
    let during = files(pid);
    println!(
        "{opened} connections were tried, {standing} stood; the daemon has {during} open files, {before} before"
    );
    assert!(opened >= 3_000, "this machine lets a process have too few files for this test: {opened}");
    assert!(during <= 2_048 + before + 100, "{during} open files are more than the bound of connections");
    assert!(during >= before + 500, "hardly any connection was taken: {during} open files");
    more(5, 60).await;
    assert!(!viewer.is_finished(), "the viewer that was there before was thrown out");

    drop(crowds);
    let begun = tokio::time::Instant::now();
    wait::until("it answers again", Duration::from_secs(30), || async {
        (theatre.daemon.status("/readyz").await? == 200).then_some(())
    })
    .await;
    println!("it answers {:.1?} after they have gone", begun.elapsed());
    // Some of the crowd's requests may still be answered: until then the API says that it is busy.
    let goes_on = |view: &Value| view["state"] == json!("progressing");
    theatre.daemon.until(&id, "the rollout goes on", 60, goes_on).await;
    more(3, 60).await;
    let left = async || (files(pid) <= before + 100).then_some(());
    wait::until("their files are closed", Duration::from_secs(60), left).await;
    let log = theatre.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    viewer.abort();
}
