//! Deadlines by the engine's own clock, so that they hold on a virtual one too.

use std::time::Duration;

use crate::ports::Clock;

/// What a call brings within a time; `None` if it has brought nothing by then, and is dropped.
pub(super) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    call: impl Future<Output = T>,
) -> Option<T> {
    let end = clock.monotonic() + limit;
    tokio::select! {
        biased;
        brought = call => Some(brought),
        () = clock.sleep_until(end) => None,
    }
}
