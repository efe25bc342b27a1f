//! What a transition asks for.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::state::State;
use crate::core::metric::TickObservation;
use crate::core::notice::Notice;
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
// A handful for each event: a box each would save nothing.
#[allow(clippy::large_enum_variant)]
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
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
    /// The rollback is not confirmed in time.
    Unconfirmed,
    /// The end: the new version has all traffic.
    Succeeded,
    /// The end: the old version has all traffic.
    RolledBack,
    /// The end without a verdict.
    Cancelled,
    /// The end with an unsafe router.
    Failed,
    /// It was announced before its beginning.
    Announced,
    /// A gate is waited for.
    GateDue,
    /// A gate's program begins.
    GateBegun,
    /// A gate has said yes.
    GateOpened,
    /// A gate has said no, or not yes in time.
    GateRefused,
    /// A person has said yes or no at a gate.
    Approved,
    /// After a rollback: whether the service is as it was before.
    Verified,
    /// No process has worked on it for a while.
    Away,
}

impl EventKind {
    /// All kinds.
    pub const ALL: &'static [EventKind] = <EventKind as VariantArray>::VARIANTS;

    /// The stable name, as in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
