//! The command line.

mod rollout;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::rollout::{AdvanceArgs, CommandArgs, FreezeCommand, ListArgs, RolloutCommand, StartArgs};
use super::configure::{ApplyArgs, ConfigCommand, DeleteArgs};
use super::trial::{PlanArgs, SimulateArgs};
use crate::core::access::Role;
use crate::core::words::parse_duration;

/// Judges a new version against the running one on live metrics, and moves traffic by what it finds.
#[derive(Clone, Debug, Parser)]
#[command(name = "serin", version, arg_required_else_help = true)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The daemon's address
    #[arg(
        long,
        visible_alias = "url",
        global = true,
        env = "SERIN_SERVER",
        default_value = "http://127.0.0.1:7423",
        value_name = "URL"
    )]
    pub server: url::Url,
    /// A file with the token to send; else the variable SERIN_TOKEN has it, if one is needed
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates of authorities in PEM that are trusted for the daemon's address, beside the machine's own
    #[arg(long, global = true, env = "SERIN_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How to write what is found
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

impl Global {
    /// Of the daemon at `server`, without a token of its own.
    pub fn new(server: url::Url, output: Output) -> Global {
        Global { server, token_file: None, ca: None, output }
    }
}

/// How to write what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// All commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(ServeArgs),
    /// Show a bad release being rolled back and its fix being promoted, all in this process
    Demo(DemoArgs),
    /// Make, list and revoke the API's tokens, on the daemon's database
    #[command(subcommand)]
    Token(TokenCommand),
    /// Try out who is told
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Check configuration files, and make a running daemon reload its own
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Commands that need no engine in this process.
    #[command(flatten)]
    Client(ClientCommand),
}

/// Commands that need no engine in this process.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Check and show policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Start, watch and command rollouts
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Show what is steered
    #[command(subcommand)]
    Target(TargetCommand),
    /// Stop everything, or some targets, from advancing; never a way back
    #[command(subcommand)]
    Freeze(FreezeCommand),
    /// Judge recorded data: JSON lines in, JSON lines out
    Judge(JudgeArgs),
    /// Say what each step of a policy will find at a service's traffic, and how soon
    Plan(PlanArgs),
    /// Try a policy out on made-up traffic: false rollbacks, and how soon regressions are found
    Simulate(Box<SimulateArgs>),
    /// Write a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Options of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Validate the configuration and exit; exit 0 valid, 1 not valid, 2 wrong use
    #[arg(long)]
    pub check: bool,
    /// With --check: also connect to every provider, router and channel
    #[arg(long, requires = "check")]
    pub connect: bool,
}

/// Commands on channels.
#[derive(Clone, Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test message to a channel and say what came back; exit 0 delivered, 1 refused, 3 not reached
    Test {
        /// The channel's name in the configuration
        channel: String,
        /// The daemon's configuration file
        #[arg(long, env = "SERIN_CONFIG", default_value = "serin.yaml", value_name = "FILE")]
        config: PathBuf,
    },
}

/// Commands on the API's tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it; it is shown this once
    Create {
        /// The daemon's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The token's name, which stands in logs
        #[arg(long)]
        name: String,
        /// What its holder may do
        #[arg(long, value_enum)]
        role: RoleName,
        /// The targets that the role holds for, as patterns such as 'checkout*'; may be given several times
        #[arg(long = "service", value_name = "PATTERN", default_value = "*")]
        services: Vec<String>,
        /// The time after which it is worth nothing, such as 90d; without it, never
        #[arg(long, value_parser = duration, value_name = "TIME")]
        expires: Option<Duration>,
        /// Who makes it
        #[arg(long, env = "SERIN_BY", value_name = "NAME")]
        by: Option<String>,
    },
    /// All tokens, revoked ones too
    List {
        /// The daemon's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Take a token back: it is worth nothing from now on
    Revoke {
        /// Its name
        name: String,
        /// The daemon's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Who revokes it
        #[arg(long, env = "SERIN_BY", value_name = "NAME")]
        by: Option<String>,
    },
}

impl TokenCommand {
    /// The daemon's configuration file.
    pub fn config(&self) -> &std::path::Path {
        match self {
            TokenCommand::Create { config, .. }
            | TokenCommand::List { config }
            | TokenCommand::Revoke { config, .. } => config,
        }
    }
}

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Read
    Viewer,
    /// Read, and say yes or no at gates
    Approver,
    /// Read, start rollouts and give commands
    Operator,
    /// Everything
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Role {
        match name {
            RoleName::Viewer => Role::Viewer,
            RoleName::Approver => Role::Approver,
            RoleName::Operator => Role::Operator,
            RoleName::Admin => Role::Admin,
        }
    }
}

/// Options of `judge`.
///
/// A line is one tick of one stream: its name, the time in seconds, the canary's weight in percent (which says
/// the policy's step), and by metric what each arm counted since the tick before. An arm or a metric that is
/// left out has no data. The first window of a stream is taken to be one interval long; the policy's warm-up is
/// kept at the beginning of each step.
#[derive(Clone, Debug, Args)]
pub struct JudgeArgs {
    /// A file of JSON lines; without it, or `-`, standard input
    #[arg(value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The policy to judge by; without it, the standard one
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Dispersion instead of the policy's
    #[arg(long, value_name = "X")]
    pub phi: Option<f64>,
    /// What is known of the metrics' pasts, as JSON, for streams that do not bring their own
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// One line a stream, at the end, instead of one a tick
    #[arg(long = "final")]
    pub final_decisions: bool,
    /// When a line is wrong, give up its stream only and judge the others on; the exit code is 2 all the same
    #[arg(long)]
    pub keep_going: bool,
}

/// Options of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// What the first release does wrong
    #[arg(long, value_enum, default_value_t = DemoScenario::Errors)]
    pub scenario: DemoScenario,
}

/// What the demo's first release does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoScenario {
    /// It answers with more errors
    Errors,
    /// It answers more slowly
    Latency,
    /// Nothing
    Healthy,
}

/// Commands on policies.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check policy files and say everything that is wrong with them; exit 1 if anything is
    Check {
        /// Files, or folders of them
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// The JSON Schema of policies, for editors
    Schema,
    /// Show a policy in full, from a file or as the daemon has it
    Show {
        /// A file, or the name of a policy that the daemon has
        #[arg(value_name = "NAME_OR_PATH")]
        policy: String,
        /// A file as YAML, with everything that it extends laid over each other (the daemon's are always so)
        #[arg(long)]
        resolved: bool,
    },
    /// Declare policies, or change them, at the running daemon; rollouts keep the one that they began with
    Apply(ApplyArgs),
    /// Remove policies that were declared with `apply`
    Delete(DeleteArgs),
}

/// Commands on targets.
#[derive(Clone, Debug, Subcommand)]
pub enum TargetCommand {
    /// All targets
    List,
    /// One target with its proxies
    Show {
        /// Its name
        target: String,
    },
    /// Declare targets, or change them, at the running daemon
    Apply(ApplyArgs),
    /// Remove targets that were declared with `apply`
    Delete(DeleteArgs),
    /// Keep the traffic split that was found at the router and is not in the store
    Adopt(DecideArgs),
    /// Send all traffic to stable where the router has a split that is not in the store
    Zero(DecideArgs),
}

/// A decision about a split that is not in the store.
#[derive(Clone, Debug, Args)]
pub struct DecideArgs {
    /// The target's name
    pub target: String,
    /// Who decides; default: the user's name
    #[arg(long)]
    pub by: Option<String>,
}

/// Reads `30s`, `5m`, `1h30m` or `2d`: a time from a second to a year.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|(what, expected)| format!("{what}; write {expected}"))?;
    let is_usable = (Duration::from_secs(1)..=Duration::from_secs(31_536_000)).contains(&time);
    if is_usable { Ok(time) } else { Err(format!("{text:?} must be between 1s and 365d")) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "5", "m", "-5m", "5 m", "1.5h", "0s", "99999999999999999999d", "400d", "5ms", "5é"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn start_takes_what_the_interface_promises() {
        let cli = Cli::try_parse_from([
            "serin",
            "rollout",
            "start",
            "checkout",
            "--policy",
            "standard",
            "--version",
            "v2",
            "--supersede",
            "--wait",
            "--wait-for",
            "30m",
            "--by",
            "ci",
            "--idempotency-key",
            "k1",
            "--server",
            "http://127.0.0.1:1",
            "--output",
            "json",
        ])
        .unwrap();
        let Command::Client(ClientCommand::Rollout(RolloutCommand::Start(args))) = cli.command else {
            panic!("another command")
        };
        assert_eq!((args.target.as_str(), args.version.as_str()), ("checkout", "v2"));
        assert_eq!(args.wait_for, Some(Duration::from_secs(1800)));
        assert_eq!(cli.global.output, Output::Json);
    }

    #[test]
    fn wrong_use_is_told_with_exit_code_2() {
        for args in [
            vec!["serin", "rollout", "start", "checkout"],
            vec!["serin", "rollout", "explode", "r1"],
            vec!["serin", "rollout", "watch", "r1", "--wait-for", "soon"],
            vec!["serin", "--server", "not a url", "target", "list"],
            vec!["serin", "serve"],
        ] {
            let error = Cli::try_parse_from(&args).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{args:?}");
        }
    }
}
