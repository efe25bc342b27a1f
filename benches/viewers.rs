//! What viewers of the event stream cost: how late the looks at 20 rollouts come without viewers, with 200
//! that read, and with 200 of which 50 do not; and the memory of the process.
//!
//!   cargo bench --bench viewers
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../tests/testkit/mod.rs"]
mod testkit;

use std::time::Duration;

use testkit::viewers::{House, INTERVAL, rest};

const TARGETS: usize = 20;
const LOOKS: usize = 40;

/// Memory of this process in MiB, as the kernel counts it; the viewers' ends are in it too.
fn memory() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// Measures, and prints a line.
async fn measure(house: &House, what: &str, before: Option<f64>) -> f64 {
    let late = house.lateness(LOOKS).await;
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    let mean = late.iter().sum::<i64>() as f64 / late.len() as f64;
    let cadence = mean + INTERVAL.as_millis() as f64;
    let ratio =
        before.map_or(String::new(), |before| format!(", {:.3} times the time without", cadence / before));
    println!(
        "{what:<34} {} looks: late by {mean:.1} ms on average{ratio}; p50 {} ms, p99 {} ms, most {} ms; {:.0} MiB",
        late.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        memory()
    );
    cadence
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let house = House::open(TARGETS).await;
    println!("{TARGETS} rollouts, a look at each every {} ms", INTERVAL.as_millis());
    let alone = measure(&house, "no viewer", None).await;
    let mut prompt = house.take(200).await;
    measure(&house, "200 viewers", Some(alone)).await;
    for viewer in prompt.drain(150..) {
        viewer.task.abort();
    }
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(house.slow().await);
    }
    let full = || async { house.prompt().await.is_none().then_some(()) };
    testkit::wait::until("all places are taken", Duration::from_secs(60), full).await;
    measure(&house, "200 viewers, 50 of them slow", Some(alone)).await;
    // They have had time enough to be cut off; what is left of them is what the buffers held.
    prompt.extend(house.take(50).await);
    let (mut most, mut cut) = (0, 0);
    for stream in &mut slow {
        let (bytes, ended) = rest(stream).await;
        most = most.max(bytes);
        cut += usize::from(ended);
    }
    println!(
        "{cut} of 50 slow viewers were cut off; at most {:.0} KiB were held for one",
        most as f64 / 1024.0
    );
    assert_eq!(cut, 50, "a slow viewer was not cut off");
    house.close().await;
}
