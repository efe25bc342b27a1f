//! Waiting for conditions, with a deadline that says what was waited for.

use std::time::Duration;

/// Asks `check` every 50 ms until it gives a value.
pub async fn until<T>(what: &str, deadline: Duration, check: impl AsyncFnMut() -> Option<T>) -> T {
    match within(deadline, check).await {
        Some(value) => value,
        None => panic!("not seen within {deadline:?}: {what}"),
    }
}

/// Asks `check` every 50 ms until it gives a value or the deadline has passed.
pub async fn within<T>(deadline: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let begun = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while begun.elapsed() < deadline {
        ticks.tick().await;
        if let Some(value) = check().await {
            return Some(value);
        }
    }
    None
}
