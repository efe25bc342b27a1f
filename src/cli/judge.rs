//! `serin judge`: recorded data in, decisions out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::judged::{Judged, Streams};
use super::{Exit, JudgeArgs, complain};
use crate::config;
use crate::core::judge::History;
use crate::core::policy::Policy;

/// The policy that is used where none is named.
const STANDARD: &str = include_str!("../../policies/standard.yaml");
/// Longer lines are refused.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

pub(super) fn run(args: &JudgeArgs) -> Exit {
    let set_up = policy(args).and_then(|policy| Ok((policy, history(args)?)));
    let (policy, history) = match set_up {
        Ok(both) => both,
        Err(problems) => {
            problems.lines().for_each(complain);
            return Exit::Usage;
        }
    };
    let input: Box<dyn Read> = match args.input.as_deref() {
        Some(path) if path != Path::new("-") => match File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                complain(&format!("{} cannot be read: {error}", path.display()));
                return Exit::Usage;
            }
        },
        _ => Box::new(io::stdin()),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let streams = Streams::new(policy, history);
    match judge(args, streams, BufReader::new(input), &mut out) {
        Ok(exit) => exit,
        // A reader that went away (`| head`) is no fault.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            complain(&error.to_string());
            Exit::Unreachable
        }
    }
}

fn policy(args: &JudgeArgs) -> Result<Policy, String> {
    let read = match &args.policy {
        Some(path) => config::load_policy(path),
        None => config::parse_policy("standard.yaml", STANDARD.as_bytes()),
    };
    let mut policy = read.map_err(|problems| problems.to_string())?;
    if let Some(phi) = args.phi {
        if !(1.0..=1000.0).contains(&phi) {
            return Err(format!("--phi is {phi}; a dispersion is between 1 and 1000"));
        }
        policy.analysis.dispersion = phi;
    }
    Ok(policy)
}

fn history(args: &JudgeArgs) -> Result<Option<History>, String> {
    let Some(path) = &args.history else { return Ok(None) };
    let text = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let history: History = serde_json::from_slice(&text).map_err(|error| {
        format!(
            "{}: {error}; a history is the field `history` of an exported rollout's first line",
            path.display()
        )
    })?;
    let wrong = history.metrics.iter().find(|(_, past)| {
        let all = past.bounds.iter().map(|bound| bound.dispersion).chain([past.dispersion]);
        all.into_iter().any(|dispersion| !(1.0..=1e6).contains(&dispersion))
    });
    match wrong {
        Some((metric, _)) => Err(format!("{}: the dispersion of {metric} is not at least 1", path.display())),
        None => Ok(Some(history)),
    }
}

fn judge(
    args: &JudgeArgs,
    mut streams: Streams,
    mut input: impl BufRead,
    out: &mut impl Write,
) -> io::Result<Exit> {
    let mut wrong = 0_u64;
    let mut number = 0_u64;
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match streams.take(&line) {
            Ok(Judged::Tick(judged)) if !args.final_decisions => {
                serde_json::to_writer(&mut *out, &judged)?;
                out.write_all(b"\n")?;
            }
            Ok(Judged::Gap(stream)) => {
                out.flush()?;
                complain(&format!(
                    "line {number}: stream {stream}: more than ten intervals since its last tick; the window \
                     between is not tested"
                ));
            }
            Ok(Judged::Tick(_) | Judged::Over) => {}
            Err(error) => {
                out.flush()?;
                complain(&format!("line {number}: {error}"));
                wrong += 1;
                if !args.keep_going {
                    return Ok(Exit::Usage);
                }
            }
        }
    }
    if args.final_decisions {
        for end in streams.ends() {
            serde_json::to_writer(&mut *out, &end)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    if wrong > 0 {
        complain(&format!("{wrong} lines were wrong; their streams were not judged on"));
        return Ok(Exit::Usage);
    }
    Ok(Exit::Done)
}
