//! What a transition asks for.

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::core::metric::TickObservation;
use crate::core::policy::Severity;
use crate::core::time::Timestamp;

/// The result of a transition: the new state, and what is to be stored and done with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The state after the event.
    pub state: State,
    /// In the order in which they came up.
    pub actions: Vec<Action>,
}

/// What a transition asks for. The wanted split is not here: it is state, and is driven.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Append the observation of this tick.
    Observe(TickObservation),
    /// Append to the rollout's log.
    Record(EventRecord),
    /// Put into the outbox.
    Notify(Notice),
}

/// One line of a rollout's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Counts from 1 in each rollout.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: EventKind,
    /// Who, where a person did it.
    pub by: Option<String>,
    /// The sentence with its figures.
    pub sentence: String,
}

/// Kinds of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Asked for.
    Created,
    /// Occupies the target.
    Started,
    /// What the metrics' pasts tell was taken, for the whole rollout.
    HistoryTaken,
    /// The decision to go to the next step.
    Advanced,
    /// A step's weight is wanted.
    StepEntered,
    /// A wanted split is in force.
    SplitSeen,
    /// A hold came.
    HoldAdded,
    /// A hold went.
    HoldRemoved,
    /// Told, but not acted on.
    Alert,
    /// What observe mode would have done.
    WouldHave,
    /// A command was carried out.
    Command,
    /// A command was refused.
    CommandRefused,
    /// The decision to go to 100%.
    Promoted,
    /// The bake began.
    BakeStarted,
    /// The canary goes to 0.
    RollbackStarted,
    /// The way back is not seen in time.
    Unconfirmed,
    /// The end: the new version has all traffic.
    Succeeded,
    /// The end: the old version has all traffic.
    RolledBack,
    /// The end without a verdict.
    Cancelled,
    /// The end with an unsafe router.
    Failed,
}

/// Something to tell people or programs. Its key names the event, so that a receiver sees it once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// `ROLLOUT/EVENT_SEQ`: the same over retries and restarts.
    pub key: String,
    /// What kind.
    pub kind: NoticeKind,
    /// How urgent.
    pub severity: Severity,
    /// The rollout.
    pub rollout: String,
    /// The target.
    pub target: String,
    /// The version that is released.
    pub version: String,
    /// When it came up.
    pub at: Timestamp,
    /// The sentence with its figures.
    pub sentence: String,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// It occupies the target.
    Started,
    /// A step was entered.
    Step,
    /// It does not advance.
    Held,
    /// Told by a guardrail.
    Alert,
    /// The canary goes to 0.
    RollbackStarted,
    /// The way back is not seen in time.
    Unconfirmed,
    /// The canary is at 0, and seen to be.
    RolledBack,
    /// The new version has all traffic.
    Promoted,
    /// The bake is over.
    Succeeded,
    /// Ended without a verdict.
    Cancelled,
    /// The router could not be brought to the safe split.
    Failed,
}
