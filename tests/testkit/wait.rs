//! Waiting for conditions, with a deadline that says what was waited for.

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks `check` every 50 ms until it gives a value.
pub async fn until<T, F, Fut>(what: &str, deadline: Duration, mut check: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        if let Some(value) = check().await {
            return value;
        }
        assert!(begun.elapsed() < deadline, "not seen within {deadline:?}: {what}");
    }
}
