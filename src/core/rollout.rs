//! The rollout: its states, what can happen to it, what it asks for, and the one function that decides.

mod action;
mod alerts;
mod approvals;
mod away;
mod change;
mod clocking;
mod commands;
mod data;
mod demand;
mod door;
mod event;
mod gates;
mod history;
mod hold;
mod hooks;
mod observed;
mod obstacles;
mod preflight;
mod reason;
mod restarts;
mod share;
mod sight;
mod stable;
mod state;
mod tick;
mod told;
mod transition;
mod verify;

pub use action::{
    Action, EventKind, EventRecord, Figure, IncidentChange, IncidentStep, Notice, NoticeKind, Outcome,
};
pub use alerts::{AlertDecision, Alerts, KnownAlert, decision as alert_decision};
pub use data::{DataState, Missing};
pub use event::{Command, CommandKind, CommandName, Event, EventName, Force, Giver, Illegal, Tick};
pub use gates::{DueGate, due as due_gates, running as running_gates};
pub use history::is_due as history_is_due;
pub use hold::{Held, Hold};
pub use reason::{Reason, ReasonCode};
pub use stable::{Servers, StablePool, Waiting};
pub use state::{
    Compared, Ending, Phase, PhaseName, Plan, Rollout, RolloutId, RolloutKind, Stage, State, Timers,
};
pub use transition::transition;
pub use verify::Verification;
