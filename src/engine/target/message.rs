//! What can come to a target, and what it asks of the world. Closed on both sides: nothing else reaches a
//! target, and nothing that it holds is shared.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::gate::GateAnswer;
use crate::core::ids::RolloutId;
use crate::core::judge::{JudgeState, Recorded};
use crate::core::metric::{MetricCursor, Reading, ValueObservation};
use crate::core::pools::ObservedSplit;
use crate::core::rollout::{Event, Rollout};
use crate::core::split::Split;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::ports::{
    Commit, CountsAnswer, CountsRequest, GateRequest, HistoryRequest, InboxEntry, Route, RouterError,
    StoreError, ValueRequest,
};

/// The time, read once for each message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now {
    /// The wall clock, for records.
    pub wall: Timestamp,
    /// Time since an arbitrary point that never goes back; everything that is measured.
    pub monotonic: Duration,
}

/// Kinds of jobs. A target has at most one job of a kind, which bounds its mailbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Read what the store holds of it.
    Load,
    /// Store what was decided.
    Commit,
    /// Read its metrics.
    Look,
    /// Read its metrics' pasts.
    Past,
    /// Read the split from its router.
    Observe,
    /// Drive its router.
    Apply,
    /// Get its workload ready.
    Workload,
    /// Ask the gate of that name.
    Gate(String),
}

/// Names one job. A result whose ticket is not the newest of its kind is dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// What kind of job.
    pub kind: JobKind,
    /// Counts the jobs of a target.
    pub number: u64,
}

/// Everything that can come to a target.
#[derive(Debug)]
pub enum Message {
    /// A command that was handed over in memory; it is on its way to the store too.
    Command(Box<InboxEntry>),
    /// The store may hold something new: commands, rollouts, commits of others.
    News,
    /// Something else than a command that happens to a rollout of this target.
    Happened(RolloutId, Box<Event>),
    /// The split may have changed at the router.
    Changed,
    /// The time that [`Actor::due`](super::Actor::due) gave has come, or a freeze has changed.
    Due,
    /// What a job has brought.
    Result(Ticket, Outcome),
}

/// What a job has brought. A fault is an outcome.
#[derive(Debug)]
pub enum Outcome {
    /// What the store holds.
    Loaded(Result<Box<Loaded>, StoreError>),
    /// What became of the commit.
    Stored(Result<(), StoreError>),
    /// What the metrics show; `None` if the source kept no deadline.
    Looked(Option<Looked>),
    /// What the metrics' pasts show, by request.
    Past(Vec<Reading<Recorded>>),
    /// The split at the router.
    Observed(Result<ObservedSplit, RouterError>),
    /// Whether the router took the split.
    Applied(Result<(), ApplyError>),
    /// What a gate's check said.
    Asked(GateAnswer),
    /// Whether the workload is ready.
    Drove(Result<bool, String>),
}

/// Why a split was not applied.
#[derive(Debug)]
pub enum ApplyError {
    /// The router's fault.
    Router(RouterError),
    /// Nothing rises without a working store.
    Store(StoreError),
}

/// Answers of a source to one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// One for each counter.
    pub counts: Vec<CountsAnswer>,
    /// One for each query: the gauges first, then the guardrails.
    pub values: Vec<ValueObservation>,
}

/// What is asked at one look.
#[derive(Clone, Debug, PartialEq)]
pub struct LookRequest {
    /// The target that it is for.
    pub target: String,
    /// The configured source.
    pub source: String,
    /// Counters of both arms.
    pub counts: Vec<CountsRequest>,
    /// Queries: the gauges first, then the guardrails.
    pub values: Vec<ValueRequest>,
}

/// A rollout at work, with its evidence.
#[derive(Clone, Debug)]
pub struct Active {
    /// Its state, as stored.
    pub rollout: Rollout,
    /// The evidence.
    pub judge: std::sync::Arc<JudgeState>,
    /// Where counting has come to, by metric.
    pub cursors: BTreeMap<String, MetricCursor>,
}

/// What the store holds of a target.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The target.
    pub target: Target,
    /// The rollout that has it. The outer `None`: not read, as the target has not changed.
    pub active: Option<Option<Box<Active>>>,
    /// When a process has last worked on that.
    pub last_work: Option<Timestamp>,
    /// Rollouts that wait for the target, oldest first.
    pub waiting: Vec<Rollout>,
    /// Those that have ended lately: commands for them are refused, not left without an answer.
    pub ended: Vec<Rollout>,
    /// Commands that are not taken yet, oldest first.
    pub inbox: Vec<InboxEntry>,
    /// What became of commands that were asked for, by key, where that is stored.
    pub done: Vec<(String, Result<(), String>)>,
}

/// What a target asks of the world.
#[derive(Clone, Debug)]
pub enum Job {
    /// Read what the store holds; the active rollout only if the target is not at this revision any more.
    Load {
        /// The revision that is known.
        known: Option<u64>,
        /// Keys of commands from memory of which it is not known whether they are stored.
        keys: Vec<String>,
    },
    /// Store what was decided.
    Commit(Box<Commit>),
    /// Read the metrics.
    Look(Box<LookRequest>),
    /// Read the metrics' pasts.
    Past {
        /// The configured source.
        source: String,
        /// One for each metric.
        requests: Vec<HistoryRequest>,
    },
    /// Read the split.
    Observe {
        /// The configured router.
        router: String,
        /// The target as its router sees it.
        route: Box<Route>,
    },
    /// Drive the router to a split.
    Apply {
        /// The configured router.
        router: String,
        /// The target as its router sees it.
        route: Box<Route>,
        /// More than what is in force: the store is asked first, and a place of the way back is not used.
        raises: bool,
    },
    /// Ask a gate's check.
    Ask(Box<GateRequest>),
    /// Get the workload ready for a split.
    Prepare(Split),
    /// Make the new version the stable one.
    Finalize,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in force, and the store has not taken it yet.
    InForce,
    /// It was carried out or refused, and that is stored.
    Stored(Result<(), String>),
}

/// What a message leads to. Jobs beside a commit do not wait for it: they only lower the canary.
#[derive(Debug, Default)]
pub struct Decision {
    /// What is asked of the world.
    pub jobs: Vec<(Ticket, Job)>,
    /// What is not wanted any more.
    pub cancel: Vec<Ticket>,
    /// What became of commands, by key.
    pub answers: Vec<(String, Answer)>,
    /// Rollouts of which something was stored.
    pub changed: Vec<RolloutId>,
    /// What the store's last answer says of it.
    pub storing: Option<bool>,
    /// Another process owns the target.
    pub is_lost: bool,
    /// There is something new to show.
    pub shows: bool,
}
