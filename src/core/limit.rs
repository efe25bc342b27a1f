//! Limits and how urgent it is when one is passed.

use serde::{Deserialize, Serialize};

/// What a guardrail compares with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum GuardrailLimit {
    /// A fixed value in the signal's unit.
    Absolute(f64),
    /// A factor of the baseline's value.
    RatioToBaseline(f64),
    /// A difference to the baseline's value, in the signal's unit.
    DifferenceToBaseline(f64),
}

/// Which side of a limit is the bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// Values above the limit.
    Above,
    /// Values below the limit.
    Below,
}

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// P3.
    Low,
    /// P2.
    Medium,
    /// P1.
    High,
    /// P0: wakes somebody up.
    Critical,
}
