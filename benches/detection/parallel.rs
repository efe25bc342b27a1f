//! Runs on all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// `work(0)` to `work(runs − 1)`, in this order, whatever the threads.
pub fn each<T: Send>(runs: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs {
                return done;
            }
            done.push((run, work(run)));
        }
    };
    let mut all: Vec<(u64, T)> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("a run panicked")).collect()
    });
    all.sort_by_key(|(run, _)| *run);
    all.into_iter().map(|(_, done)| done).collect()
}
