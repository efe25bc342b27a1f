//! Builds the one channel that `serin notify test` is to try.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serin::cli::{self, Output};
use serin::clock::SystemClock;
use serin::config::load_config;
use serin::notifiers::Surroundings;
use serin::ports::{Clock, NoMemory};

/// Sends a test message. Exit codes: 0 delivered, 1 refused, 2 wrong use, 3 not reached.
pub async fn test(path: &Path, channel: &str, output: Output) -> ExitCode {
    let config = match load_config(path) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    let Some(configured) = config.notifiers.get(channel) else {
        let known: Vec<&str> = config.notifiers.keys().map(String::as_str).collect();
        eprintln!("serin: there is no channel {channel:?}; the configuration has {}", known.join(", "));
        return ExitCode::from(2);
    };
    let clock = SystemClock::new();
    let around = Surroundings {
        words: Arc::new(config.words(channel)),
        memory: Arc::new(NoMemory),
        clock: Arc::new(clock),
    };
    let notifier = match configured.build(channel, &around) {
        Ok(notifier) => notifier,
        Err(error) => {
            eprintln!("serin: notifier {channel}: {error}");
            return ExitCode::from(2);
        }
    };
    let notices = configured.test_notices(channel, clock.wall());
    cli::notify_test(channel, notifier.as_ref(), &notices, output).await.into()
}
