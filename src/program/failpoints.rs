//! Named places where a test build dies: `SERIN_FAILPOINT=NAME` or `NAME:K` (at the K-th pass).

use std::sync::atomic::{AtomicU64, Ordering};

use serin::ports::{Died, Failpoints};

/// Aborts the process at one named place.
pub struct FromEnvironment {
    name: String,
    left: AtomicU64,
}

impl FromEnvironment {
    /// `None` where the variable is not set, and in release builds.
    pub fn read() -> Option<FromEnvironment> {
        if !cfg!(debug_assertions) {
            return None;
        }
        let text = std::env::var("SERIN_FAILPOINT").ok()?;
        let (name, pass) = text.split_once(':').unwrap_or((&text, "1"));
        Some(FromEnvironment { name: name.to_owned(), left: AtomicU64::new(pass.parse().unwrap_or(1)) })
    }
}

impl Failpoints for FromEnvironment {
    fn pass(&self, name: &'static str) -> Result<(), Died> {
        if name == self.name && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // No destructor runs and nothing is flushed, as with `kill -9`.
            std::process::abort();
        }
        Ok(())
    }
}
