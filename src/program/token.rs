//! Lends `serin token` the store that the configuration names, and the clock.

use std::process::ExitCode;

use serin::cli::{self, Output, TokenCommand};
use serin::clock::SystemClock;
use serin::config::load_config;
use serin::store::SqliteStore;

/// Carries out a command on tokens. Exit codes: 0 done, 1 refused, 2 wrong use, 3 the store cannot be used.
pub async fn run(command: TokenCommand, output: Output) -> ExitCode {
    let config = match load_config(command.config()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    let path = &config.store.path;
    let store = match SqliteStore::open(path).await {
        Ok(store) => store,
        Err(error) => {
            eprintln!("serin: opening the store {}: {error}", path.display());
            return ExitCode::from(3);
        }
    };
    let exit = cli::token(command, output, &store, &SystemClock::new()).await;
    store.close().await;
    exit.into()
}
