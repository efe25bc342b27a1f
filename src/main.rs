//! The program: parse, wire, run.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod program;

use std::process::ExitCode;

use clap::Parser;
use program::{check, demo, notify, serve, token};
use serin::cli::{Cli, Command, ConfigCommand, NotifyCommand};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("serin: the runtime cannot be started: {error}");
            return ExitCode::from(3);
        }
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) if args.check => {
                check::run(&[args.config], args.connect, cli.global.output).await
            }
            Command::Serve(args) => serve::serve(&args.config).await,
            Command::Config(ConfigCommand::Check { files, connect }) => {
                check::run(&files, connect, cli.global.output).await
            }
            Command::Config(ConfigCommand::Reload) => serin::cli::reload(&cli.global).await,
            Command::Demo(args) => demo::run(&args).await,
            Command::Token(command) => token::run(command, cli.global.output).await,
            Command::Notify(NotifyCommand::Test { channel, config }) => {
                notify::test(&config, &channel, cli.global.output).await
            }
            Command::Client(command) => serin::cli::run(command, &cli.global).await,
        }
    });
    // Work that was given up at its deadline must not keep the process.
    runtime.shutdown_background();
    code
}
