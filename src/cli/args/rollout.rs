//! Commands on rollouts and freezes.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::duration;

/// Commands on rollouts.
#[derive(Clone, Debug, Subcommand)]
pub enum RolloutCommand {
    /// Start a rollout
    Start(StartArgs),
    /// List rollouts, newest first
    List(ListArgs),
    /// Show one rollout
    Show {
        /// Its id
        id: String,
        /// Write its stored observations as JSON lines, to be judged again
        #[arg(long)]
        observations: bool,
    },
    /// Follow a rollout to its end; exit 0 if it succeeded, 1 if it went back, 4 if the wait ended first
    Watch {
        /// Its id
        id: String,
        /// Wait no longer than this, such as 30m
        #[arg(long, value_parser = duration, value_name = "TIME")]
        wait_for: Option<Duration>,
    },
    /// Write a rollout's report: its steps, decisions and evidence; after a rollback with a draft of a post-mortem
    Report {
        /// Its id
        id: String,
        /// Which form
        #[arg(long, value_enum, default_value_t = ReportForm::Markdown)]
        form: ReportForm,
    },
    /// Do not advance until resumed; it is judged on and can roll back
    Pause(CommandArgs),
    /// Let it go on: drops the holds that a person can drop
    Resume(CommandArgs),
    /// Go to the next step without waiting for proof
    Advance(AdvanceArgs),
    /// Give the new version all traffic without waiting for proof
    Promote(AdvanceArgs),
    /// Take the canary back: its weight becomes 0 at once
    Rollback(CommandArgs),
    /// Say yes at a gate, or no with --refuse
    Approve {
        /// The gate's name
        #[arg(long, value_name = "NAME")]
        gate: String,
        /// Say no
        #[arg(long)]
        refuse: bool,
        /// Say what to do
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Ask a gate anew that has said no, or whose program was lost; or open it, as an administrator
    Gate {
        /// The gate's name
        #[arg(long, value_name = "NAME")]
        gate: String,
        /// Open it whatever it says; needs a reason
        #[arg(long = "override", requires = "reason")]
        force: bool,
        /// Say what to do
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Take the target's incident over
    Acknowledge(CommandArgs),
}

/// Subcommands of `freeze`.
#[derive(Clone, Debug, Subcommand)]
pub enum FreezeCommand {
    /// From now on, or from a set time, nothing of these targets advances
    Start {
        /// Patterns of targets; every target if there is none
        targets: Vec<String>,
        /// Why, for people
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// It begins then (RFC 3339)
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// It ends then (RFC 3339)
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Who orders it
        #[arg(long, env = "SERIN_BY", value_name = "NAME")]
        by: Option<String>,
    },
    /// List freezes, newest first
    List,
    /// End a freeze
    End {
        /// Its id
        id: String,
    },
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    /// For tickets and mails
    Markdown,
    /// A page to print
    Html,
    /// For programs
    Json,
}

impl ReportForm {
    /// As the API has it.
    pub fn word(self) -> &'static str {
        match self {
            ReportForm::Markdown => "markdown",
            ReportForm::Html => "html",
            ReportForm::Json => "json",
        }
    }
}

/// Options of `rollout start`.
#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// The target
    pub target: String,
    /// The policy's name
    #[arg(long, value_name = "NAME")]
    pub policy: String,
    /// The version to release
    #[arg(id = "release", long = "version", value_name = "VERSION")]
    pub version: String,
    /// Go back to an earlier version after a success
    #[arg(long)]
    pub revert: bool,
    /// Take the target from a running rollout; its canary goes to 0 first
    #[arg(long)]
    pub supersede: bool,
    /// Follow it to its end; exit 0 if it succeeded, 1 if it went back, 4 if the wait ended first
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this, such as 30m (implies --wait)
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub wait_for: Option<Duration>,
    /// It does not begin before this time (RFC 3339), and is announced as the policy says
    #[arg(long, value_name = "TIME", conflicts_with = "supersede")]
    pub at: Option<String>,
    /// Who starts it
    #[arg(long, env = "SERIN_BY", value_name = "NAME")]
    pub by: Option<String>,
    /// The same key again gives the same rollout, so that a job can be run again
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// Options of `rollout list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only of this target
    #[arg(long)]
    pub target: Option<String>,
    /// Only in this phase, such as progressing
    #[arg(long)]
    pub phase: Option<String>,
    /// Only those that are not at their end
    #[arg(long)]
    pub active: bool,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// Options of the commands that change a rollout.
#[derive(Clone, Debug, Args)]
pub struct CommandArgs {
    /// The rollout's id
    pub id: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who asks
    #[arg(long, env = "SERIN_BY", value_name = "NAME")]
    pub by: Option<String>,
    /// Refuse if the rollout has changed since this revision
    #[arg(long, value_name = "N")]
    pub expected_revision: Option<u64>,
    /// The same key again asks for the result of the same command
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// Options of the commands that raise the canary's exposure.
#[derive(Clone, Debug, Args)]
pub struct AdvanceArgs {
    /// Although somebody else has paused it (who is then notified) or too few of the canary's instances are ready; needs
    /// a reason, and passes no freeze or gate
    #[arg(long = "override", requires = "reason")]
    pub overrides: bool,
    /// Although a metric leans worse or a guardrail is broken; needs a reason
    #[arg(long, requires = "reason")]
    pub even_if_worse: bool,
    /// Say what to do
    #[command(flatten)]
    pub args: CommandArgs,
}
