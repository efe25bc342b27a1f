//! The clock adapter: the only place that reads the machine's clocks.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

use crate::core::time::Timestamp;
use crate::ports::Clock;

/// The machine's clocks. The monotonic one counts from the making of this value.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    begun: Instant,
}

impl SystemClock {
    /// Begins to count.
    #[allow(clippy::disallowed_methods)] // This is the adapter that the ban points to.
    pub fn new() -> SystemClock {
        SystemClock { begun: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the adapter that the ban points to.
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn sleep_until(&self, until: Duration) {
        // `Duration::MAX` means: nothing is due. A day is as good, and cannot overflow.
        let wait = until.saturating_sub(self.monotonic()).min(Duration::from_secs(86_400));
        tokio::time::sleep(wait).await;
    }
}
