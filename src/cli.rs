//! The commands. Everything but `serve` and `demo` is done here, as a client of a running daemon or
//! on files.
//!
//! Exit codes: 0 done; 1 the answer is no (rolled back, invalid policy, refused command); 2 wrong use;
//! 3 something could not be reached; 4 still undecided when the wait ended.

mod args;
mod client;
mod configure;
mod freeze;
mod judge;
pub mod judged;
mod notify;
mod policy;
pub mod record;
pub mod render;
mod rollout;
mod target;
pub mod text;
mod token;
mod trial;
mod watch;

use std::io::Write;
use std::process::ExitCode;

pub use args::{
    Cli, ClientCommand, Command, DemoArgs, DemoScenario, Global, JudgeArgs, NotifyCommand, Output,
    PolicyCommand, RoleName, RolloutCommand, ServeArgs, TargetCommand, TokenCommand,
};
pub use client::{Client, ClientError};
pub use configure::{ApplyArgs, Checked, ConfigCommand, DeleteArgs, config_checked};
pub use notify::notify_test;
pub use token::token;
pub use trial::{PlanArgs, SimulateArgs};

/// What a command ended as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or the answer is yes.
    Done,
    /// The answer is no: rolled back, invalid policy, refused command.
    No,
    /// Wrong use: what was asked for cannot be.
    Usage,
    /// Something could not be reached.
    Unreachable,
    /// Still undecided when the wait ended.
    Undecided,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Undecided => 4,
        })
    }
}

/// Carries out a command that needs no engine in this process. Errors go to standard error.
pub async fn run(command: ClientCommand, global: &Global) -> ExitCode {
    execute(command, global).await.into()
}

/// The same, with the exit code's meaning.
pub async fn execute(command: ClientCommand, global: &Global) -> Exit {
    let exit = match command {
        ClientCommand::Policy(command) => policy::run(command, global).await,
        ClientCommand::Rollout(command) => rollout::run(command, global).await,
        ClientCommand::Judge(args) => Ok(judge::run(&args)),
        ClientCommand::Target(command) => target::run(command, global).await,
        ClientCommand::Freeze(command) => freeze::run(command, global).await,
        ClientCommand::Plan(args) => Ok(trial::plan(&args, global.output)),
        ClientCommand::Simulate(args) => Ok(trial::simulate(&args, global.output)),
        ClientCommand::Completions { shell } => {
            let mut cli = <Cli as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli, "serin", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(Exit::Done)
        }
    };
    match exit {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error.to_string());
            error.exit()
        }
    }
}

/// Makes a running daemon reload its configuration file.
pub async fn reload(global: &Global) -> ExitCode {
    match configure::reload(global).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            complain(&error.to_string());
            error.exit().into()
        }
    }
}

/// Writes to standard output. A reader that went away (`| head`) is no fault.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Writes a line to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "serin: {}", text::clean(text));
}

/// Writes something as JSON: several lines for people, one line a thing in streams.
fn print_json<T: serde::Serialize>(value: &T, pretty: bool) {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    match text {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => complain(&format!("the answer cannot be written as JSON: {error}")),
    }
}
