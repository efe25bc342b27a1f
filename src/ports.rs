//! What the engine asks of the world, in the words of the core. Adapters implement these traits; one
//! shared contract suite runs over every adapter and every fake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use thiserror::Error;

use crate::core::access::{AuditRecord, TokenHash, TokenRecord};
use crate::core::alert::{Alert, AlertRecord};
pub use crate::core::arms::ArmSelector;
use crate::core::declaration::{DeclarationKind, StoredDeclaration};
use crate::core::freeze::Freeze;
use crate::core::gate::{Gate, GateAnswer, Hook, Occasion};
use crate::core::judge::{Assessment, JudgeState, Recorded};
use crate::core::metric::{
    MetricCursor, MetricObservation, NoData, Notes, Reading, TickObservation, ValueObservation,
};
use crate::core::policy::{MetricSource, Severity};
use crate::core::rollout::{Command, EventRecord, Notice, NoticeKind, Rollout, RolloutId};
use crate::core::target::{NodeRecord, ObservedSplit, Pool, Role, Split, Target, Weight};
use crate::core::time::Timestamp;

// ---------------------------------------------------------------------------------------------- metrics

/// What a provider is asked for one metric of one rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct CountsRequest {
    /// The policy's name of the metric.
    pub metric: String,
    /// The counters.
    pub source: MetricSource,
    /// The canary.
    pub canary: ArmSelector,
    /// The baseline.
    pub baseline: ArmSelector,
    /// Where counting has come to; `None` at the first look, which only sets the base.
    pub cursor: Option<MetricCursor>,
    /// A label by whose values the counts are wanted too, as the policy's metric says.
    pub by_route: Option<String>,
    /// Which arms must have fresh samples for the counts to be consumed.
    pub required: Required,
    /// Processes that began after this count from zero.
    pub rollout_started: Timestamp,
    /// Serin's wall clock.
    pub now: Timestamp,
    /// Windows end this long before `now`.
    pub lag: Duration,
    /// A newest sample older than this (before `now`) is stale.
    pub stale_after: Duration,
}

/// Which arms must have fresh samples for counts to be consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// While the arms are compared.
    Both,
    /// Before the first step: the canary may not be there yet.
    Baseline,
    /// At 100% and on the way back: the other arm may be gone.
    Canary,
}

/// What a provider answers for one metric. If `cursor` is `None`, nothing was consumed and the counts
/// come again in the next window; counts are consumed only when the required arms have fresh samples.
#[derive(Clone, Debug, PartialEq)]
pub struct CountsAnswer {
    /// Counts of both arms, or reasons; `usage` is `Outside`, or `Pending` if nothing is consumed: a
    /// reading then only shows that the arm is seen.
    pub observation: MetricObservation,
    /// Where counting has come to, if the counts are consumed.
    pub cursor: Option<MetricCursor>,
    /// What was noticed besides.
    pub notes: Notes,
}

/// What a provider is asked for a guardrail's query.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRequest {
    /// The policy's name of the guardrail.
    pub guardrail: String,
    /// PromQL; `$arm` stands for the arm's matchers.
    pub query: String,
    /// The canary.
    pub canary: ArmSelector,
    /// The baseline.
    pub baseline: ArmSelector,
    /// Serin's wall clock.
    pub now: Timestamp,
    /// The query is evaluated this long before `now`.
    pub lag: Duration,
    /// A value older than this is stale.
    pub stale_after: Duration,
}

/// What a provider is asked of a metric's past, of the baseline alone.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRequest {
    /// The policy's name of the metric.
    pub metric: String,
    /// The counters.
    pub source: MetricSource,
    /// Whose past.
    pub baseline: ArmSelector,
    /// Serin's wall clock: the past ends here.
    pub now: Timestamp,
    /// How far back.
    pub over: Duration,
    /// The length of a window.
    pub window: Duration,
}

/// A source of metrics. It takes requests of many rollouts at once and answers each, in order; a fault
/// is an answer, never an error. Every call ends within the provider's configured deadline.
#[async_trait]
pub trait MetricsProvider: Send + Sync {
    /// Counts of both arms since the cursors.
    async fn counts(&self, requests: &[CountsRequest]) -> Vec<CountsAnswer>;
    /// Values of queries. Providers without a query language answer `NoData::Refused`.
    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation>;
    /// What was recorded before, in order. Providers that keep nothing answer `NoData::Refused`.
    async fn history(&self, requests: &[HistoryRequest]) -> Vec<Reading<Recorded>> {
        let nothing = || Err(NoData::Refused("this provider keeps no history".to_owned()));
        requests.iter().map(|_| nothing()).collect()
    }
}

// ---------------------------------------------------------------------------------------------- routers

/// A target as a router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The target's name.
    pub target: String,
    /// Where the router finds it.
    pub route: String,
    /// The pools by the role that they play now.
    pub pools: BTreeMap<Role, Pool>,
    /// What it shall do.
    pub split: Split,
    /// Never goes back.
    pub generation: u64,
    /// Proxies that were there, for routers that count them.
    pub nodes: BTreeMap<String, NodeRecord>,
}

/// Why a router did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RouterError {
    /// It could not be reached.
    #[error("the router cannot be reached: {0}")]
    Unreachable(String),
    /// No answer within the deadline.
    #[error("the router did not answer in time")]
    Timeout,
    /// It refused.
    #[error("the router refused: {0}")]
    Refused(String),
    /// Its answer could not be read.
    #[error("the router's answer could not be read: {0}")]
    Malformed(String),
}

/// Something that splits traffic. `apply` is idempotent and cheap: it is called again and again.
#[async_trait]
pub trait TrafficRouter: Send + Sync {
    /// Called once with all targets before anything else; a router that serves proxies answers them only
    /// after it.
    async fn load(&self, routes: &[Route]) -> Result<(), RouterError>;
    /// Drives the route towards its split. Older generations than the last one are ignored.
    async fn apply(&self, route: &Route) -> Result<(), RouterError>;
    /// What is in force. `split` equals the route's split if the router has rounded to its granularity.
    async fn observe(&self, route: &Route) -> Result<ObservedSplit, RouterError>;
    /// The store is lost (`false`) or back (`true`); a router that serves proxies closes its streams.
    async fn authority(&self, held: bool);
    /// Resolves when something about the target may have changed (an ACK came); never, for routers that
    /// do not hear of it.
    async fn changed(&self, _target: &str) {
        std::future::pending::<()>().await;
    }
}

/// What runs behind the roles.
#[async_trait]
pub trait Workload: Send + Sync {
    /// True when the canary is ready for the exposure.
    async fn prepare(&self, target: &str, split: Split) -> Result<bool, String>;
    /// True when the new version has become stable (or nothing has to be done for it).
    async fn finalize(&self, target: &str) -> Result<bool, String>;
}

// ------------------------------------------------------------------------------------------ notifications

/// Why a notice was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct NotifyError {
    /// Whether it makes sense to try again.
    pub retry: bool,
    /// What came back.
    pub detail: String,
    /// Not before so much time, as the receiver asked for (`Retry-After`).
    pub after: Option<Duration>,
}

impl NotifyError {
    /// It makes sense to try again.
    pub fn again(detail: impl Into<String>) -> NotifyError {
        NotifyError { retry: true, detail: detail.into(), after: None }
    }

    /// It makes no sense to try again.
    pub fn never(detail: impl Into<String>) -> NotifyError {
        NotifyError { retry: false, detail: detail.into(), after: None }
    }
}

/// A channel to people or programs.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Delivers one notice, with its key as the idempotency key.
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError>;
    /// Delivers several notices as one, with the digest's key as the idempotency key.
    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.deliver(&digest.notice()).await
    }
    /// How long a delivery may take by the channel's own deadlines; zero if it has none.
    fn longest(&self) -> Duration {
        Duration::ZERO
    }
}

/// Notices that are told together.
#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    /// The same over retries and restarts.
    pub key: String,
    /// The newest ones, oldest first; not empty.
    pub notices: Vec<Notice>,
    /// So many older ones are not among them.
    pub more: u64,
    /// When it is told.
    pub at: Timestamp,
}

impl Digest {
    /// All of it as one notice, which is of no one rollout.
    pub fn notice(&self) -> Notice {
        self.notice_within(|_| true)
    }

    /// The same with as many of the newest notices as `fits`; of the older ones only the number.
    pub fn notice_within(&self, fits: impl Fn(&str) -> bool) -> Notice {
        let mut from = 0;
        let mut sentence = self.sentence(from);
        while !fits(&sentence) && from < self.notices.len() {
            from += 1;
            sentence = self.sentence(from);
        }
        let severity = self.notices.iter().map(|notice| notice.severity).max().unwrap_or(Severity::Low);
        let mut notice = Notice::new(self.key.clone(), NoticeKind::Progress, severity, self.at, sentence);
        if let [only] = self.targets()[..] {
            notice.target = only.to_owned();
        }
        notice
    }

    fn targets(&self) -> Vec<&str> {
        let mut targets: Vec<&str> = self.notices.iter().map(|notice| notice.target.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// A head, a line a notice from that one on, and how many there are before these.
    fn sentence(&self, from: usize) -> String {
        let count = self.notices.len() as u64 + self.more;
        let targets = self.targets();
        let mut sentence = format!("{count} messages of {}", targets.join(", "));
        if targets.len() > 5 {
            sentence = format!("{count} messages of {} services", targets.len());
        }
        for notice in &self.notices[from..] {
            // Whole sentences of a hundred notices would be too much for most channels.
            let told: String = notice.sentence.chars().take(200).collect();
            let Notice { at, target, version, kind, .. } = notice;
            sentence.push_str(&format!("\n- {at} {target} {version}, {}: {told}", kind.name()));
        }
        match self.more + from as u64 {
            0 => {}
            more => sentence.push_str(&format!("\nand {more} more before these")),
        }
        sentence
    }
}

/// What channels keep over restarts: where a rollout's thread is, what an alert was opened as. Values are
/// some hundred bytes; they go with the rollouts' retention.
#[async_trait]
pub trait ChannelMemory: Send + Sync {
    /// What the channel has kept under this key.
    async fn recall(&self, channel: &str, key: &str) -> Result<Option<String>, StoreError>;
    /// Keeps a value, in place of the one that was there.
    async fn remember(&self, channel: &str, key: &str, value: &str, at: Timestamp) -> Result<(), StoreError>;
}

/// Keeps nothing: for a single test message.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

#[async_trait]
impl ChannelMemory for NoMemory {
    async fn recall(&self, _channel: &str, _key: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn remember(&self, _: &str, _: &str, _: &str, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

// ------------------------------------------------------------------------------------------------ gates

/// What a gate's check is asked with.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRequest {
    /// `ROLLOUT/OCCASION/GATE/TIMES_ASKED`: the same over retries of one question.
    pub key: String,
    /// The gate.
    pub gate: Gate,
    /// What it stands before.
    pub occasion: Occasion,
    /// The rollout's identity.
    pub rollout: RolloutId,
    /// The target's name.
    pub target: String,
    /// The configured provider that measures the target.
    pub provider: String,
    /// The version that is released.
    pub version: String,
    /// What runs as stable, as far as is known.
    pub stable_version: Option<String>,
    /// The policy's name.
    pub policy: String,
    /// The weight that the next step gives the canary.
    pub weight: Weight,
    /// Who asked for the rollout.
    pub started_by: String,
    /// The canary's series.
    pub canary: ArmSelector,
    /// The baseline's series.
    pub baseline: ArmSelector,
    /// Serin's wall clock.
    pub now: Timestamp,
}

/// Asks gates' checks and runs hooks. Every call ends within the check's own time; a fault is an answer.
#[async_trait]
pub trait Gatekeeper: Send + Sync {
    /// Asks once.
    async fn ask(&self, request: &GateRequest) -> GateAnswer;
    /// Does what a hook says, with the notice's key as the idempotency key.
    async fn run(&self, hook: &Hook, notice: &Notice) -> Result<(), NotifyError>;
}

/// Nobody who could ask: gates are faults, and hooks are never done.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGatekeeper;

#[async_trait]
impl Gatekeeper for NoGatekeeper {
    async fn ask(&self, request: &GateRequest) -> GateAnswer {
        GateAnswer::Fault(format!("nobody here can ask the gate {}", request.gate.name))
    }

    async fn run(&self, hook: &Hook, _notice: &Notice) -> Result<(), NotifyError> {
        Err(NotifyError::never(format!("nobody here can do the hook {}", hook.name)))
    }
}

// ------------------------------------------------------------------------------------------------ store

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// Somebody else has committed, or owns the target.
    #[error("{0} has changed meanwhile")]
    Conflict(String),
    /// The target has an active rollout.
    #[error("the target {target} is taken by rollout {active}")]
    Occupied {
        /// The target.
        target: String,
        /// Who has it.
        active: RolloutId,
    },
    /// Not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The database cannot be used now: full disk, read-only, locked, gone.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// What is stored cannot be read.
    #[error("the store holds something that cannot be read: {0}")]
    Corrupt(String),
}

/// One commit: all or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The target with `revision` and `epoch` as loaded; stored with `revision + 1`.
    pub target: Option<Target>,
    /// The rollout with `revision` as loaded; stored with `revision + 1`.
    pub rollout: Option<Rollout>,
    /// New cursors of the rollout, by metric.
    pub cursors: BTreeMap<String, MetricCursor>,
    /// The tick's observation, with its assessment for charts.
    pub observation: Option<(TickObservation, Assessment)>,
    /// A snapshot of the evidence after the tick of that sequence number.
    pub snapshot: Option<(u64, Arc<JudgeState>)>,
    /// New log lines.
    pub events: Vec<EventRecord>,
    /// New outbox entries.
    pub outbox: Vec<Outgoing>,
    /// Commands that came from memory: the inbox takes them first, unless it has their keys.
    pub asked: Vec<InboxEntry>,
    /// Commands that were carried out or refused (with the reason).
    pub commands: Vec<(String, Result<(), String>)>,
}

/// What is loaded of an active rollout.
#[derive(Clone, Debug)]
pub struct StoredRollout {
    /// Its state.
    pub rollout: Rollout,
    /// Its cursors, by metric.
    pub cursors: BTreeMap<String, MetricCursor>,
    /// The newest snapshot of the evidence, after the tick of that sequence number.
    pub snapshot: Option<(u64, JudgeState)>,
    /// The observations after the snapshot, in order.
    pub observations: Vec<TickObservation>,
}

impl StoredRollout {
    /// The evidence after the last tick: the newest snapshot, and the observations after it judged again.
    pub fn evidence(&self) -> JudgeState {
        let policy = &self.rollout.policy;
        let mut judge = match &self.snapshot {
            Some((_, judge)) => judge.clone(),
            None => JudgeState::with_history(policy, self.rollout.history.as_ref()),
        };
        for tick in &self.observations {
            judge.observe(policy, tick);
        }
        judge
    }
}

/// Everything that is stored of a target and that its engine needs to go on, of one moment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The target.
    pub target: Target,
    /// The rollout that has it.
    pub rollout: Option<StoredRollout>,
    /// Commands for its rollouts that are not taken yet, oldest first: of the active one, of those that wait,
    /// and of those that have just ended.
    pub inbox: Vec<InboxEntry>,
    /// The rollouts that wait for it, oldest first.
    pub scheduled: Vec<Rollout>,
}

/// How far somebody has read what is new. It rises with everything that is stored; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A command in the inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InboxEntry {
    /// The rollout that it is for.
    pub rollout: RolloutId,
    /// When it came in.
    pub at: Timestamp,
    /// The command.
    pub command: Command,
    /// `None`: not taken yet.
    pub result: Option<Result<(), String>>,
}

/// A notice that is put into the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// The queue: a channel's name, `CHANNEL#page`, `CHANNEL#digest`, `CHANNEL#quiet` or `hook/NAME`.
    pub queue: String,
    /// What to deliver.
    pub notice: Notice,
    /// Not before; `None`: at once.
    pub due: Option<Timestamp>,
}

impl Outgoing {
    /// A notice that is delivered as soon as its queue comes to it.
    pub fn at_once(queue: impl Into<String>, notice: Notice) -> Outgoing {
        Outgoing { queue: queue.into(), notice, due: None }
    }
}

/// A notice on its way to a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxEntry {
    /// Its number; the order of a queue.
    pub id: i64,
    /// The queue.
    pub channel: String,
    /// What to deliver.
    pub notice: Notice,
    /// How often it was tried.
    pub attempts: u32,
    /// Not before.
    pub due: Timestamp,
    /// When it could first be delivered: its deadline counts from here.
    pub since: Timestamp,
}

/// The entries of a queue that are due at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutboxGroup {
    /// The lowest number of all of them.
    pub first: i64,
    /// How many there are.
    pub count: u64,
    /// The newest of them, oldest first.
    pub newest: Vec<OutboxEntry>,
}

/// Where an entry of the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum OutboxState {
    /// On its way.
    Pending,
    /// A command that was begun.
    Running,
    /// Delivered.
    Done,
    /// Given up.
    Dead,
}

impl OutboxState {
    /// The stable name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An entry with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRecord {
    /// The entry.
    pub entry: OutboxEntry,
    /// Where it is.
    pub state: OutboxState,
    /// What came back last.
    pub detail: Option<String>,
}

/// Which entries to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFilter {
    /// In this state.
    pub state: OutboxState,
    /// Only numbers above this one.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// How much is in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Not delivered and not given up, without those that wait for their time.
    pub pending: u64,
    /// Wait for their time: digests and quiet hours.
    pub waiting: u64,
    /// Given up.
    pub dead: u64,
    /// When the oldest of the pending ones could first be delivered.
    pub oldest: Option<Timestamp>,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Done,
    /// Again at that time.
    Retry {
        /// Not before.
        due: Timestamp,
        /// What came back.
        detail: String,
    },
    /// Given up.
    Dead {
        /// What came back.
        detail: String,
    },
}

/// Which rollouts to list.
#[derive(Clone, Debug, Default)]
pub struct RolloutFilter {
    /// Only of this target.
    pub target: Option<String>,
    /// Only of these targets, for those who may not see all of them.
    pub targets: Option<Vec<String>>,
    /// Only in this phase.
    pub phase: Option<String>,
    /// Only those that are not at an end (`true`) or are (`false`).
    pub active: Option<bool>,
    /// Only under this policy.
    pub policy: Option<String>,
    /// Only those that had not ended before this time.
    pub since: Option<Timestamp>,
    /// Only those that were asked for until this time.
    pub until: Option<Timestamp>,
    /// Only ids before this one, newest first.
    pub before: Option<RolloutId>,
    /// At most so many.
    pub limit: usize,
}

/// What is kept of ended rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rollouts that ended before now minus this lose observations, evidence and cursors.
    pub observations: Duration,
    /// Rollouts that ended before now minus this are removed whole.
    pub rollouts: Duration,
}

/// The database. Every method is one transaction. Several replicas may use one store: commits are
/// conditional on revisions and, for targets, on the owner's epoch.
#[async_trait]
pub trait Store: Send + Sync {
    /// Can it be written to?
    async fn ping(&self) -> Result<(), StoreError>;

    /// Makes targets that are not there, and raises the epoch of all by one: the caller owns them.
    async fn own_targets(&self, names: &[String]) -> Result<Vec<Target>, StoreError>;
    /// One target as it is.
    async fn target(&self, name: &str) -> Result<Target, StoreError>;
    /// All targets, by name.
    async fn targets(&self) -> Result<Vec<Target>, StoreError>;

    /// Stores a new rollout with its first log line. One that begins later is stored as it is and takes no
    /// target. If its target is free it takes it (phase as given,
    /// `target.active` set, target revision raised). If not: with `supersede`, it is stored as
    /// `Scheduled` with `supersedes` set, and a supersede command for every rollout of the target that
    /// is not at an end goes into the inbox; else `Occupied`. The same idempotency `key` again gives the
    /// rollout that was made first.
    async fn create_rollout(
        &self,
        rollout: Rollout,
        first: EventRecord,
        key: Option<&str>,
        supersede: bool,
    ) -> Result<Rollout, StoreError>;
    /// One rollout.
    async fn rollout(&self, id: &RolloutId) -> Result<Rollout, StoreError>;
    /// Newest first.
    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<Rollout>, StoreError>;
    /// Everything of a target that its engine needs to go on, in one reading.
    async fn load_target(&self, name: &str) -> Result<Loaded, StoreError>;
    /// Everything of a rollout that the engine needs to go on.
    async fn load(&self, id: &RolloutId) -> Result<StoredRollout, StoreError>;
    /// Scheduled rollouts of all targets, oldest first, at most `limit`.
    async fn all_scheduled(&self, limit: usize) -> Result<Vec<Rollout>, StoreError> {
        let phase = Some("scheduled".to_owned());
        self.rollouts(&RolloutFilter { phase, limit, ..RolloutFilter::default() }).await
    }
    /// Scheduled rollouts of a target, oldest first.
    async fn scheduled(&self, target: &str) -> Result<Vec<RolloutId>, StoreError>;

    /// Puts a command into the inbox; the same key again gives what is there.
    async fn enqueue(
        &self,
        rollout: &RolloutId,
        command: Command,
        at: Timestamp,
    ) -> Result<InboxEntry, StoreError>;
    /// Commands that are not taken yet, oldest first, of these rollouts.
    async fn pending(&self, rollouts: &[RolloutId]) -> Result<Vec<InboxEntry>, StoreError>;
    /// One inbox entry.
    async fn command(&self, key: &str) -> Result<InboxEntry, StoreError>;

    /// All or nothing; `Conflict` if a revision or epoch is not as loaded.
    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.commit_all(std::slice::from_ref(commit)).await.pop().unwrap_or(Ok(()))
    }
    /// Many commits, in order, that wait for the disk once. Each is all or nothing and conditional by itself:
    /// one that is refused keeps none of the others back. Where the store fails, none is stored.
    async fn commit_all(&self, commits: &[Commit]) -> Vec<Result<(), StoreError>>;

    /// Targets with something new after a position, by name, and the position that they are of: commands, new
    /// rollouts, freezes, and what other processes have committed; not the caller's own commits. Gives an
    /// answer at once where there is something. Else it waits: changes through this store object are told as
    /// they come, those of other processes at the end of `patience`, and then the list may be empty.
    async fn news(&self, after: Position, patience: Duration) -> Result<(Position, Vec<String>), StoreError>;

    /// Log lines after `after`, in order, at most `limit`.
    async fn events(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError>;
    /// Log lines of all rollouts after a position, in the order in which they were stored, at most
    /// `limit`. Positions rise, are never used twice, and begin at 1.
    async fn events_since(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RolloutId, EventRecord)>, StoreError>;
    /// The position of the newest log line that was ever stored and is there; 0 if there is none.
    async fn newest_position(&self) -> Result<u64, StoreError>;
    /// Observations with their assessments after tick `after`, in order, at most `limit`.
    async fn observations(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(TickObservation, Assessment)>, StoreError>;

    /// For each queue its oldest entries that are not delivered, up to the first that is not due; at most
    /// `limit` a queue. Queues of the lanes in `without` are left out.
    async fn outbox_due(
        &self,
        now: Timestamp,
        limit: usize,
        without: &[String],
    ) -> Result<Vec<OutboxEntry>, StoreError>;
    /// The entries of a queue that are due at exactly that time; at most `limit` of the newest are given.
    async fn outbox_group(
        &self,
        queue: &str,
        due: Timestamp,
        limit: usize,
    ) -> Result<OutboxGroup, StoreError>;
    /// Writes down what became of a delivery.
    async fn outbox_settle(&self, id: i64, delivery: &Delivery) -> Result<(), StoreError>;
    /// Writes down what became of the delivery of a group, of the entries with numbers up to `last` only:
    /// what came after the group was read was not in the delivery.
    async fn outbox_settle_group(
        &self,
        queue: &str,
        due: Timestamp,
        last: i64,
        delivery: &Delivery,
    ) -> Result<(), StoreError>;
    /// Marks an entry as running, before something that must not be done twice is begun; `Conflict` if it
    /// is not pending.
    async fn outbox_begin(&self, id: i64) -> Result<(), StoreError>;
    /// Entries in one state, by number.
    async fn outbox_list(&self, filter: OutboxFilter) -> Result<Vec<OutboxRecord>, StoreError>;
    /// Puts a dead entry on its way again; `Conflict` if it is not dead.
    async fn outbox_requeue(&self, id: i64, now: Timestamp) -> Result<OutboxRecord, StoreError>;
    /// How much is in it, for API and metrics.
    async fn outbox_counts(&self, now: Timestamp) -> Result<OutboxCounts, StoreError>;

    /// Stores a new token; `Conflict` if one of its name is there that is not revoked.
    async fn create_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
    /// All tokens by name, revoked ones too, the newest of a name last.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// The token of that hash, revoked or not.
    async fn token(&self, hash: &TokenHash) -> Result<TokenRecord, StoreError>;
    /// Revokes the token of that name; `NotFound` if there is none that is not revoked.
    async fn revoke_token(&self, name: &str, at: Timestamp) -> Result<TokenRecord, StoreError>;

    /// Adds a line to the audit log.
    async fn add_audit(&self, record: &AuditRecord) -> Result<(), StoreError>;
    /// Lines of the audit log with numbers below `before`, newest first, at most `limit`.
    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError>;

    /// Stores a freeze, new or ended.
    async fn put_freeze(&self, freeze: &Freeze) -> Result<(), StoreError>;
    /// Freezes, the newest first, at most `limit`; with `open` only those that nobody has ended.
    async fn freezes(&self, open: bool, limit: usize) -> Result<Vec<Freeze>, StoreError>;

    /// Takes in alerts of a target ([`AlertRecord::receive`]); the oldest beyond
    /// [`MOST_REMEMBERED`](crate::core::alert::MOST_REMEMBERED) are forgotten.
    async fn receive_alerts(&self, target: &str, alerts: &[Alert]) -> Result<(), StoreError>;
    /// What is remembered of the alerts of a target, the newest first.
    async fn alerts(&self, target: &str) -> Result<Vec<AlertRecord>, StoreError>;
    /// Stores what was declared through the API; one of the same kind and name is replaced.
    async fn put_declaration(&self, declaration: &StoredDeclaration) -> Result<(), StoreError>;
    /// Removes what was declared; `NotFound` if it is not there.
    async fn delete_declaration(&self, kind: DeclarationKind, name: &str) -> Result<(), StoreError>;
    /// Everything that was declared through the API, by kind and name.
    async fn declarations(&self) -> Result<Vec<StoredDeclaration>, StoreError>;

    /// Removes what retention no longer keeps, never of active rollouts; at most `limit` rollouts. Lines
    /// of the audit log are kept as long as rollouts.
    async fn prune(&self, retention: Retention, now: Timestamp, limit: usize) -> Result<u64, StoreError>;
}

// ------------------------------------------------------------------------------------------------ clock

/// The only source of time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// Time since an arbitrary point that never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits until the monotonic clock has reached `until`.
    async fn sleep_until(&self, until: Duration);
}

/// Places where a process may die or a store fail, for tests.
pub trait Failpoints: Send + Sync {
    /// Called at a named place. `Err` stops the work at hand as if the process had died there.
    fn pass(&self, name: &'static str) -> Result<(), Died>;
}

/// The process is to be taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("died at {0}")]
pub struct Died(pub &'static str);

/// No failpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFailpoints;

impl Failpoints for NoFailpoints {
    fn pass(&self, _name: &'static str) -> Result<(), Died> {
        Ok(())
    }
}
