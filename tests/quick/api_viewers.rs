//! Many viewers of the event stream: the looks go on, and who does not read is dropped.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serin::ports::Outbox;

use crate::testkit::fakes::notifiers::unreachable;
use crate::testkit::viewers::{House, rest};
use crate::testkit::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_go_on_while_200_view_and_slow_ones_are_dropped() {
    let house = House::open(8).await;
    let mut prompt = house.take(150).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(house.slow().await);
    }
    until("no place is left", Duration::from_secs(60), || async {
        house.prompt().await.is_none().then_some(())
    })
    .await;
    let late = house.lateness(10).await;
    let middle = late[late.len() / 2];
    // Generous: the machine may be busy with other tests. A loop that waited for one of the slow ones would
    // be late by seconds every time.
    assert!(middle < 1_000, "half of the looks come more than {middle} ms late: {late:?}");
    // Every prompt one goes on getting what is new.
    for viewer in &prompt {
        let before = viewer.bytes.load(Ordering::Relaxed);
        let more = || async { (viewer.bytes.load(Ordering::Relaxed) > before).then_some(()) };
        until("a prompt viewer gets more", Duration::from_secs(60), more).await;
        assert!(!viewer.task.is_finished());
    }
    // A slow one holds what fits into buffers, and no place: there is one for somebody else, though nobody
    // has read a byte of it.
    let begun = house.count().await;
    prompt.extend(house.take(50).await);
    let (bytes, ended) = rest(&mut slow[0]).await;
    assert!(ended && bytes < 4 << 20, "{bytes} bytes were kept for it, ended: {ended}");
    assert!(house.count().await > begun, "the looks have stopped");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_waits_for_no_channel() {
    let house = House::open_with(2, unreachable()).await;
    let took = house.take_back(0).await;
    // Nothing of it is delivered, and the weight is 0 all the same.
    let counts = house.store.outbox_counts(house.handle.clock().wall()).await.expect("the outbox");
    assert!(counts.pending >= 2, "{counts:?}");
    // Generous: a loop that waited for the chat would be late by its whole deadline of ten seconds.
    assert!(took < Duration::from_secs(8), "{took:?}");
    house.close().await;
}
