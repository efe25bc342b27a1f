//! Whether channels that hang or are down delay a rollback: the time from a person's word until the canary
//! gets nothing, of 40 rollouts, without channels and with a chat that never answers and a pager that is down.
//!
//!   cargo bench --bench notify
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../tests/testkit/mod.rs"]
mod testkit;

use std::collections::BTreeMap;
use std::time::Duration;

use testkit::fakes::notifiers::unreachable;
use testkit::viewers::House;

const ROLLOUTS: usize = 40;

/// The median and the 90th percentile, in milliseconds.
async fn measure(house: &House) -> [f64; 2] {
    let mut times = Vec::new();
    for number in 0..ROLLOUTS {
        times.push(house.take_back(number).await);
    }
    times.sort_unstable();
    [0.5, 0.9].map(|share| {
        let time: Duration = times[((times.len() - 1) as f64 * share) as usize];
        time.as_secs_f64() * 1000.0
    })
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let quiet = House::open_with(ROLLOUTS, BTreeMap::new()).await;
    let without = measure(&quiet).await;
    quiet.close().await;
    let told = House::open_with(ROLLOUTS, unreachable()).await;
    let with = measure(&told).await;
    told.close().await;
    println!("from the word until the canary gets nothing, {ROLLOUTS} rollouts, median and p90:");
    println!("  no channels                          {:.1} ms, {:.1} ms", without[0], without[1]);
    println!("  a chat that hangs, a pager that is down  {:.1} ms, {:.1} ms", with[0], with[1]);
    println!("  ratio of the medians                 {:.2}", with[0] / without[0]);
}
