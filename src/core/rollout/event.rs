//! What can happen to a rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumDiscriminants, EnumString, IntoStaticStr, VariantArray};
use thiserror::Error;

use super::Ending;
use crate::core::alert::{Alert, AlertWish};
use crate::core::gate::GateAnswer;
use crate::core::ids::RolloutId;
use crate::core::judge::History;
use crate::core::metric::{MetricObservation, Notes, ValueObservation};
use crate::core::pools::ObservedSplit;
use crate::core::reason::Reason;
use crate::core::time::Timestamp;

/// What can happen to a rollout.
#[derive(Clone, Debug, PartialEq, EnumDiscriminants)]
#[strum_discriminants(
    name(EventName),
    doc = "The name of an event, without what it holds.",
    derive(PartialOrd, Ord, IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum Event {
    /// The target is free: a scheduled rollout begins.
    Begin,
    /// What the metrics' pasts tell, before the first look.
    History(History),
    /// Time to look: what the provider gave.
    Tick(Tick),
    /// What the router says.
    Observed {
        /// The split in force and the proxies.
        split: ObservedSplit,
        /// Measured since the last event of this kind by this process; zero for the first.
        elapsed: Duration,
    },
    /// The workload is ready for the step, or for being the stable version.
    WorkloadReady,
    /// A person, or a newer rollout, wants something.
    Command(Command),
    /// The time of an announcement has come: so long before the beginning.
    Announce(Duration),
    /// Whether the target is frozen, and why.
    Freeze(Option<String>),
    /// Nothing of it was stored since then.
    Away {
        /// When something was last stored.
        since: Timestamp,
        /// What is known of the time since.
        gap: Gap,
    },
    /// A rollback that the evidence decided was in force, and the store has another state than the one it was decided
    /// in: it is not given up.
    StillOwed {
        /// Why it rolls back.
        reason: Reason,
        /// What it ends as.
        ending: Ending,
    },
    /// A gate's program begins; stored before it does.
    GateBegun {
        /// The gate's name.
        gate: String,
    },
    /// What a gate's check said.
    Gate {
        /// The gate's name.
        gate: String,
        /// What it said.
        answer: GateAnswer,
    },
}

/// What is known of a time in which nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// It lies before the start of the process that tells it.
    BeforeStart,
    /// The process was running all along, and its store took nothing.
    Unstored,
}

/// One look at the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Measured by the monotonic clock since the last tick of this process; zero for the first.
    pub elapsed: Duration,
    /// All metrics of the policy, in its order.
    pub metrics: Vec<MetricObservation>,
    /// All query guardrails of the policy, in its order.
    pub values: Vec<ValueObservation>,
    /// What the source noticed besides, by metric.
    pub notes: BTreeMap<String, Notes>,
}

/// A command as it stands in the inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Idempotency key: the same key is carried out once.
    pub key: String,
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The revision of the rollout that they saw.
    pub expected_revision: Option<u64>,
    /// What.
    pub kind: CommandKind,
    /// Who or what gives it.
    #[serde(default)]
    pub giver: Giver,
    /// What it overrides.
    #[serde(default)]
    pub force: Force,
}

/// Who or what gives a command. Some are a person's alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Giver {
    /// A person, or a program that acts for one.
    #[default]
    Person,
    /// A person, by an approval link that was sent to them.
    Link,
    /// An alert that fires.
    Alert,
    /// Serin itself: a newer rollout.
    Program,
}

impl Giver {
    /// True if a person decides.
    pub fn is_person(self) -> bool {
        matches!(self, Giver::Person | Giver::Link)
    }
}

/// What a person's `advance` or `promote` overrides. Never a freeze, never a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Force {
    /// The pause of another person, and that too few of the canary's instances are ready.
    #[serde(default, rename = "override")]
    pub overrides: bool,
    /// A metric that leans worse, or a broken guardrail.
    #[serde(default)]
    pub even_if_worse: bool,
}

/// What a command wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumDiscriminants)]
#[serde(tag = "name", rename_all = "snake_case")]
#[strum_discriminants(
    name(CommandName),
    doc = "The name of a command, without what it holds.",
    derive(PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum CommandKind {
    /// Do not advance until resumed.
    Pause,
    /// Drop the holds that a person can drop; after a drift, want the step's weight again.
    Resume,
    /// Go to the next step without waiting for proof.
    Advance,
    /// Go to 100% without waiting for proof.
    Promote,
    /// Take the canary back.
    Rollback,
    /// Give the target to a newer rollout.
    Supersede {
        /// The newer rollout.
        by: RolloutId,
    },
    /// Say yes at a gate.
    Approve {
        /// The gate's name.
        gate: String,
        /// The teams that the person is in, as known when the command came in.
        teams: Vec<String>,
    },
    /// Say no at a gate.
    Refuse {
        /// The gate's name.
        gate: String,
        /// The teams that the person is in.
        teams: Vec<String>,
    },
    /// Open a gate whatever it says. For administrators, with a reason.
    OverrideGate {
        /// The gate's name.
        gate: String,
    },
    /// Run a gate's program again whose outcome is not known, or ask a gate again that has said no.
    RetryGate {
        /// The gate's name.
        gate: String,
    },
    /// Take the target's incident over.
    Acknowledge,
    /// Alerts of other systems have come in, or are over.
    Alerts {
        /// Of the rollout's target.
        alerts: Vec<Alert>,
    },
    /// A hook has failed for good, or nobody knows what it did: somebody is paged.
    HookFailed {
        /// The hook's name.
        hook: String,
        /// What is told.
        sentence: String,
    },
}

impl CommandKind {
    /// Whether it may bring the canary down, or keep it where it is: it waits for nothing.
    pub fn is_urgent(&self) -> bool {
        matches!(self, CommandKind::Rollback | CommandKind::Pause | CommandKind::Alerts { .. })
    }

    /// Whether it may bring the canary down.
    pub fn may_lower(&self) -> bool {
        matches!(self, CommandKind::Rollback | CommandKind::Alerts { .. })
    }

    /// Whether it may keep the canary where it is: until it has been taken, nothing rises.
    pub fn may_hold(&self) -> bool {
        match self {
            CommandKind::Pause => true,
            CommandKind::Alerts { alerts } => {
                alerts.iter().any(|alert| alert.firing && alert.wish > AlertWish::Tell)
            }
            _ => false,
        }
    }

    /// The stable name, as in API and CLI.
    pub fn name(&self) -> &'static str {
        CommandName::from(self).name()
    }
}

impl CommandName {
    /// All of them.
    pub const ALL: &'static [CommandName] = <CommandName as VariantArray>::VARIANTS;

    /// The stable name, as in API and CLI.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why an event cannot be taken; the state stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Illegal {
    /// The event means nothing in this phase.
    #[error("`{event}` is not possible while the rollout is {phase}")]
    Phase {
        /// The phase's name.
        phase: &'static str,
        /// The event's or command's name.
        event: &'static str,
    },
    /// The person saw an older state.
    #[error("the rollout has changed: expected revision {expected}, it is at {actual}")]
    Revision {
        /// What the command says.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// The observations do not fit the policy.
    #[error("the observations do not fit the policy: {0}")]
    Observations(String),
    /// A gate is not there, or cannot take this.
    #[error("{0}")]
    Gate(String),
    /// Something stands against it.
    #[error("{0}")]
    Refused(String),
}

impl Event {
    /// The event's name, for errors and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Command(command) => command.kind.name(),
            other => EventName::from(other).into(),
        }
    }
}

impl EventName {
    /// All of them.
    pub const ALL: &'static [EventName] = <EventName as VariantArray>::VARIANTS;
}
