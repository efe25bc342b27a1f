//! A program on this machine: no shell, an environment of its own, its time and its output bounded.
//!
//! It runs in a process group of its own, which is killed whole when its time is over, when it has ended and
//! has left children behind, and when nobody waits for it any more.

use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use super::output::Output;
use super::text::{fill, placeholders, weight};
use super::webhook::occasion;
use crate::core::gate::{CommandCheck, GateAnswer};
use crate::ports::GateRequest;

/// What the program says by this exit code (`EX_TEMPFAIL`): ask again.
const NOT_YET: i32 = 75;
/// What was written before the end is there at once; a child that has left the group may keep the pipe open.
const READ_ON: Duration = Duration::from_secs(1);

/// How a run ended.
pub(super) enum Ended {
    /// It said so, with the last line of its output.
    Exit(i32, Option<String>),
    /// By a signal that was not Serin's.
    Signal(i32, Option<String>),
    /// It was killed after its time.
    Late(Option<String>),
    /// It was not begun.
    NotBegun(String),
}

pub(super) async fn ask(check: &CommandCheck, request: &GateRequest) -> GateAnswer {
    let known = [
        ("SERIN_KEY", request.key.clone()),
        ("SERIN_GATE", request.gate.name.clone()),
        ("SERIN_OCCASION", occasion(request.occasion).to_owned()),
        ("SERIN_ROLLOUT", request.rollout.0.clone()),
        ("SERIN_TARGET", request.target.clone()),
        ("SERIN_VERSION", request.version.clone()),
        ("SERIN_STABLE_VERSION", request.stable_version.clone().unwrap_or_default()),
        ("SERIN_POLICY", request.policy.clone()),
        ("SERIN_WEIGHT", weight(request.weight)),
        ("SERIN_STARTED_BY", request.started_by.clone()),
    ];
    let or = |line: Option<String>, other: &str| line.unwrap_or_else(|| other.to_owned());
    match run(check, &placeholders(request), &known).await {
        Ended::Exit(0, line) => GateAnswer::Yes(or(line, "exit code 0")),
        Ended::Exit(NOT_YET, line) => GateAnswer::NotYet(or(line, "exit code 75")),
        Ended::NotBegun(why) => GateAnswer::Fault(why),
        other => GateAnswer::No(other.words(check)),
    }
}

impl Ended {
    /// What happened, in words.
    pub fn words(&self, check: &CommandCheck) -> String {
        let with = |what: String, line: &Option<String>| match line {
            Some(line) => format!("{what}: {line}"),
            None => what,
        };
        match self {
            Ended::Exit(code, line) => with(format!("exit code {code}"), line),
            Ended::Signal(signal, line) => with(format!("ended by signal {signal}"), line),
            Ended::Late(line) => with(format!("killed after {:?}, its timeout", check.timeout), line),
            Ended::NotBegun(why) => why.clone(),
        }
    }
}

/// Runs it to its end, or for its time.
pub(super) async fn run(check: &CommandCheck, values: &[(&str, String)], known: &[(&str, String)]) -> Ended {
    let (mut child, group, pipe) = match begin(check, values, known) {
        Ok(begun) => begun,
        Err(why) => return Ended::NotBegun(why),
    };
    let mut output = Output::default();
    // A program that floods its output is read on, so that it is not held up by a full pipe.
    let ended = {
        let reading = output.read(pipe);
        tokio::pin!(reading);
        let deadline = tokio::time::sleep(check.timeout);
        tokio::pin!(deadline);
        let mut is_read = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break Some(status),
                () = &mut deadline => break None,
                () = &mut reading, if !is_read => is_read = true,
            }
        };
        drop(group);
        if status.is_none() {
            // It was killed: this takes no time. It must not stay behind as a dead child.
            let _ = child.wait().await;
        }
        if !is_read {
            let _ = tokio::time::timeout(READ_ON, &mut reading).await;
        }
        status
    };
    tracing::debug!(program = check.command.first(), output = output.text(), "a program has ended");
    let line = output.last_line();
    match ended {
        None => Ended::Late(line),
        Some(Ok(status)) => of_status(status, line),
        Some(Err(error)) => Ended::Exit(-1, Some(format!("it cannot be waited for: {error}"))),
    }
}

fn of_status(status: ExitStatus, line: Option<String>) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    match status.code() {
        Some(code) => Ended::Exit(code, line),
        None => Ended::Signal(status.signal().unwrap_or_default(), line),
    }
}

/// Starts it. One pipe takes both outputs, so that their lines keep their order.
fn begin(
    check: &CommandCheck,
    values: &[(&str, String)],
    known: &[(&str, String)],
) -> Result<(Child, Group, Receiver), String> {
    let (program, arguments) = check.command.split_first().ok_or("there is no program")?;
    let failed = |error: std::io::Error| format!("{program} cannot be started: {error}");
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    // Everything that can fail comes before it begins: what has begun must not be said not to have.
    let pipe = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|argument| fill(argument, values)));
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    for name in &check.environment {
        let value = std::env::var_os(name).ok_or(format!("the environment variable {name} is not set"))?;
        command.env(name, value);
    }
    command.envs(known.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &check.directory {
        command.current_dir(directory);
    }
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null());
    command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let child = command.spawn().map_err(failed)?;
    let group = Group::of(&child);
    // The command holds the writing ends; the reading end sees the end only without them.
    drop(command);
    Ok((child, group, pipe))
}

/// The process group of a child; killed whole when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Nobody may be left, which is what is wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
