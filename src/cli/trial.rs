//! `serin plan` and `serin simulate`: policies tried out on made-up traffic.

mod args;
mod hostile;
mod options;
mod plan;
mod shapes;
mod simulate;

use std::path::Path;

pub use args::{PlanArgs, SimulateArgs};
pub(super) use plan::plan;
pub(super) use simulate::simulate;

use super::{Exit, complain};
use crate::config;
use crate::core::policy::Policy;
use crate::core::words::seconds;
use crate::montecarlo::Share;

/// Reads the policy, or says what is wrong with it.
fn policy(path: &Path) -> Result<Policy, Exit> {
    config::load_policy(path).map_err(|problems| {
        for line in problems.to_string().lines() {
            complain(line);
        }
        Exit::No
    })
}

/// Says what is wrong with what was asked for.
fn refuse(problems: &[String]) -> Exit {
    for problem in problems {
        complain(problem);
    }
    Exit::Usage
}

/// A time that not all runs have.
fn time(time: Option<f64>) -> String {
    time.map_or_else(|| "–".to_owned(), seconds)
}

/// `0.15%`, `52%`, `0.004%`.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = match percent {
        p if p >= 10.0 => format!("{p:.1}"),
        p if p >= 0.1 => format!("{p:.2}"),
        p => format!("{p:.4}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}%")
}

/// `[0.03% – 0.44%]`.
fn interval(share: &Share) -> String {
    format!("[{} – {}]", percent(share.low), percent(share.high))
}
