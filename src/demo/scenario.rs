//! What the demo shows: which versions are released, what is wrong with them, and what must come of it.

use std::time::Duration;

use super::fault::{Behaviour, Fault};
use crate::core::reason::ReasonCode;
use crate::core::rollout::{Phase, Rollout};

/// Requests per second. With [`BASE`] it gives the tests what they need at each step: see
/// `policies/demo.yaml`.
pub const RATE: f64 = 5_000.0;

/// How every version works when nothing is wrong with it.
pub const BASE: Behaviour = Behaviour { error_rate: 0.02, median: Duration::from_millis(12), sigma: 0.35 };

/// What runs before the first release.
pub const RUNNING: &str = "v1";

/// A story in one or two releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A release that fails more often is rolled back, then its fix is promoted.
    Errors,
    /// A release that answers more slowly is rolled back, then its fix is promoted.
    Latency,
    /// A good release is promoted.
    Healthy,
}

/// One release of the story.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Release {
    /// Its version.
    pub version: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
    /// The same in words that follow the version.
    pub about: &'static str,
    /// What must come of it.
    pub expected: Expected,
}

/// What must come of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The tests find it worse in this metric, and it is rolled back.
    RolledBack {
        /// The policy's name of the metric.
        by: &'static str,
    },
    /// The tests find it not worse, and it gets all traffic.
    Promoted,
}

impl Scenario {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Errors => "errors",
            Scenario::Latency => "latency",
            Scenario::Healthy => "healthy",
        }
    }

    /// The releases, one after the other.
    pub fn releases(self) -> Vec<Release> {
        let good =
            |version, about| Release { version, fault: Fault::None, about, expected: Expected::Promoted };
        match self {
            Scenario::Errors => vec![
                Release {
                    version: "v2",
                    fault: Fault::Errors { rate: 0.08 },
                    about: "fails four times as many requests as v1 (8% instead of 2%)",
                    expected: Expected::RolledBack { by: "errors" },
                },
                good("v3", "is v2 with the bug fixed"),
            ],
            Scenario::Latency => vec![
                Release {
                    version: "v2",
                    fault: Fault::Latency { factor: 1.5 },
                    about: "takes half as long again for each request as v1 (a median of 18 ms instead of 12)",
                    expected: Expected::RolledBack { by: "latency" },
                },
                good("v3", "is v2 with the bug fixed"),
            ],
            Scenario::Healthy => vec![good("v2", "works as v1 does")],
        }
    }
}

/// Whether the release went as the story says.
///
/// # Errors
/// A sentence that says what went otherwise.
pub fn check(expected: Expected, rollout: &Rollout) -> Result<(), String> {
    let version = &rollout.version;
    match (expected, &rollout.phase) {
        (Expected::Promoted, Phase::Succeeded) => Ok(()),
        (Expected::RolledBack { by }, Phase::RolledBack { reason }) => {
            if !matches!(reason.code, ReasonCode::Harm | ReasonCode::Catastrophe) {
                Err(format!("{version} was rolled back, but not by the tests: {}", reason.sentence))
            } else if !reason.sentence.contains(&format!("{by}:")) {
                Err(format!("{version} was rolled back, but not for its {by}: {}", reason.sentence))
            } else {
                Ok(())
            }
        }
        (expected, phase) => {
            let wanted = match expected {
                Expected::Promoted => "promoted",
                Expected::RolledBack { .. } => "rolled back",
            };
            let became = phase.name().replace('_', " ");
            let why = match phase {
                Phase::RollingBack { reason, .. }
                | Phase::RolledBack { reason }
                | Phase::Cancelled { reason, .. }
                | Phase::Failed { reason } => format!(": {}", reason.sentence),
                _ => ".".to_owned(),
            };
            Err(format!("{version} should have been {wanted}, and is {became}{why}"))
        }
    }
}
