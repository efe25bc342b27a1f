//! What the API answers with: stable types, apart from the inner ones. Fields with a unit end in it.
//! The command line reads the same types.

pub mod access;
#[doc(hidden)]
pub mod bodies;
mod configuration;
mod evidence;
pub mod gates;
mod instances;
mod outbox;
mod overview;
mod plan;
pub mod problem;
mod report;
mod series;
#[doc(hidden)]
pub mod shapes;
mod stable;
#[doc(hidden)]
pub mod vocabulary;
mod waiting;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use configuration::{ConfigurationView, ReloadView, RestartView};
pub(crate) use evidence::wilson;
pub use evidence::{
    ArmView, AssessmentView, ComparedView, EvidenceView, GuardrailView, MetricView, QuantileView, RatioView,
    TickAssessmentView,
};
pub use instances::{InstancesView, RestartsView};
pub use outbox::OutboxView;
pub use overview::{CountsView, OverviewRow, OverviewView, RowStep, RowWaiting, WorstMetric, worst};
pub use plan::{
    FoundView, GuardrailPlanView, NodeView, PolicyMetricView, PolicyView, StepPlanView, TargetView,
};
pub use report::{AnnotationView, CheckView, PolicyProblem, ReportStep, ReportView};
pub(crate) use series::unit;
pub use series::{ArmSeries, LatencyView, MetricSeries, RatioSeries, SeriesRow, SeriesView};
pub use stable::StableView;
pub use waiting::{Awaited, WaitingFor};

use self::gates::GatesView;
use crate::core::judge::{History, METHOD_UNNAMED};
use crate::core::policy::Mode;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::rollout::{
    EventKind, EventRecord, Held, Hold, Phase, PhaseName, Rollout, RolloutKind, Stage,
};
use crate::core::split::{Split, Weight};
use crate::core::target::Target;
use crate::ports::InboxEntry;

/// The names of all phases, as `state` has them.
pub const PHASES: &[&str] = PhaseName::NAMES;

/// A part of a list. `next` is the value of `before` or `after` for the next part, where there may be
/// one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The part.
    pub items: Vec<T>,
    /// Where the next part begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// Its name; ids sort by the time of creation.
    pub id: String,
    /// The target's name.
    pub target: String,
    /// The version that is released.
    pub version: String,
    /// What runs as stable; known while the rollout has its target.
    pub stable_version: Option<String>,
    /// The policy as it was at the start.
    pub policy: PolicyName,
    /// Release or revert.
    #[schema(value_type = vocabulary::RolloutKind)]
    pub kind: RolloutKind,
    /// The phase's name; one of [`PHASES`].
    pub state: String,
    /// True at an end: nothing changes any more.
    pub ended: bool,
    /// The step, in the phases `preparing` and `progressing`.
    pub step: Option<StepView>,
    /// All steps of the policy.
    pub steps: Vec<StepPlanView>,
    /// `settling` or `analysing`, in the phase `progressing`.
    pub stage: Option<String>,
    /// Why it does not advance.
    #[schema(value_type = Vec<vocabulary::Hold>)]
    pub holds: Vec<Hold>,
    /// Who or what holds it, since when and why. A held rollout is monitored and can roll back all the same.
    #[serde(default)]
    pub held: Vec<HeldView>,
    /// What the router shall do; known while the rollout has its target.
    pub wanted: Option<SplitView>,
    /// What the data plane was last seen to do; known while the rollout has its target.
    pub seen: Option<SeenView>,
    /// Proxies that are not known to follow the wanted split.
    pub unconfirmed_nodes: Vec<String>,
    /// Measured durations.
    pub timers: TimersView,
    /// What the last tick was judged as.
    pub assessment: Option<AssessmentView>,
    /// What the last step with requests of the canary was judged as when it was left; `None` before. At
    /// 100%, on the way back and at the end this is what is known, as nothing is compared there.
    pub last_compared: Option<ComparedView>,
    /// The version of the judge's method that it is judged by from its beginning to its end.
    #[serde(default = "unnamed_method")]
    pub method: u32,
    /// What the metrics' pasts told when it started, where there was a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub history: Option<History>,
    /// The servers that a rollback would go to, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableView>,
    /// The canary's instances that are ready, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<InstancesView>,
    /// What comes next, and what it depends on; `None` at an end.
    pub waiting_for: Option<WaitingFor>,
    /// What must say yes before it goes on.
    #[serde(default)]
    pub gates: GatesView,
    /// Restarts of the arms' processes.
    #[serde(default)]
    pub restarts: RestartsView,
    /// It does not begin before (RFC 3339, UTC).
    #[serde(default)]
    pub begins_at: Option<String>,
    /// Why it goes, or went, back; `None` before and after a success.
    pub reason: Option<ReasonView>,
    /// The rollout that took the target over.
    pub superseded_by: Option<String>,
    /// The rollout that this one took the target from.
    pub supersedes: Option<String>,
    /// The number of the last log line; for `If-Match` and `expected_revision` of a command.
    pub revision: u64,
    /// When it was asked for (RFC 3339, UTC).
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When the phase or step began (RFC 3339, UTC).
    pub phase_since: String,
    /// When it came to its end (RFC 3339, UTC).
    pub ended_at: Option<String>,
}

/// A policy's name and version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyName {
    /// Its name.
    pub name: String,
    /// The first 12 digits of its content's hash.
    pub version: String,
    /// Whether it moves traffic.
    #[schema(value_type = vocabulary::Mode)]
    pub mode: Mode,
}

/// Where in the steps a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Counts from 1.
    pub index: usize,
    /// How many there are.
    pub of: usize,
    /// The canary's weight in this step.
    pub weight_percent: f64,
    /// At least so much analysed time.
    pub min_seconds: f64,
    /// After so much analysed time without proof the policy's `at_max` applies; `None`: never.
    pub max_seconds: Option<f64>,
    /// Each arm must have had so many requests in the step.
    #[serde(default)]
    pub min_requests: u64,
    /// How many the arm with the fewest has had.
    #[serde(default)]
    pub requests: u64,
}

/// What is known of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldView {
    /// Which.
    #[schema(value_type = vocabulary::Hold)]
    pub hold: Hold,
    /// Who, where a person did it.
    pub by: Option<String>,
    /// Since when (RFC 3339, UTC).
    pub since: String,
    /// Why.
    pub why: String,
}

impl HeldView {
    fn new(held: &Held) -> HeldView {
        HeldView { hold: held.hold, by: held.by.clone(), since: held.at.to_string(), why: held.why.clone() }
    }
}

/// A split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SplitView {
    /// Of the new version.
    pub canary_percent: f64,
    /// Of the running version.
    pub stable_percent: f64,
    /// Of a fresh copy of the running version.
    pub baseline_percent: f64,
}

/// A split that was seen in the data plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeenView {
    /// The weights.
    #[serde(flatten)]
    pub split: SplitView,
    /// When they were first seen (RFC 3339, UTC).
    pub at: String,
    /// True if they are the wanted ones.
    pub as_wanted: bool,
}

/// Measured durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimersView {
    /// Analysed in the current step or bake, by the windows' own time.
    pub analysed_seconds: f64,
    /// Without data of either arm.
    pub blind_seconds: f64,
    /// Without data of the canary while the baseline is seen.
    pub silent_seconds: f64,
    /// In the current phase or step.
    pub in_phase_seconds: f64,
    /// While the wanted split was not seen.
    pub unseen_seconds: f64,
    /// While the canary was seen to get no request on the way back.
    pub quiet_seconds: f64,
}

/// Why something was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// The stable code.
    #[schema(value_type = vocabulary::ReasonCode)]
    pub code: ReasonCode,
    /// The sentence with its figures.
    pub sentence: String,
}

/// Of a daemon that does not say which.
fn unnamed_method() -> u32 {
    METHOD_UNNAMED
}

impl RolloutView {
    /// The view of a rollout; `target` is what is stored of its target, where that is known.
    pub fn new(rollout: &Rollout, target: Option<&Target>) -> RolloutView {
        RolloutView {
            steps: rollout.policy.steps.iter().map(StepPlanView::new).collect(),
            assessment: rollout.last.as_ref().map(|last| AssessmentView::new(last, &rollout.policy)),
            history: rollout.history.clone().filter(|history| !history.metrics.is_empty()),
            last_compared: rollout.last_compared.as_ref().map(|c| ComparedView::new(c, &rollout.policy)),
            ..RolloutView::head(rollout, target)
        }
    }

    /// The same without what was judged, for lists that show none of it.
    pub(crate) fn head(rollout: &Rollout, target: Option<&Target>) -> RolloutView {
        let mine = target.filter(|target| target.active.as_ref() == Some(&rollout.id));
        let (reason, superseded_by) = why(&rollout.phase);
        RolloutView {
            id: rollout.id.0.clone(),
            target: rollout.target.clone(),
            version: rollout.version.clone(),
            stable_version: mine.and_then(|target| target.stable_version.clone()),
            policy: PolicyName {
                name: rollout.policy.name.clone(),
                version: rollout.policy.version.clone(),
                mode: rollout.policy.mode,
            },
            kind: rollout.kind,
            state: rollout.phase.name().to_owned(),
            ended: rollout.phase.is_terminal(),
            step: step(rollout),
            steps: Vec::new(),
            stage: match &rollout.phase {
                Phase::Progressing { stage: Stage::Settling, .. } => Some("settling".to_owned()),
                Phase::Progressing { stage: Stage::Analysing { .. }, .. } => Some("analysing".to_owned()),
                _ => None,
            },
            holds: rollout.holds.iter().copied().collect(),
            held: rollout.held.iter().map(HeldView::new).collect(),
            wanted: mine.map(|target| SplitView::new(target.wanted)),
            seen: mine.and_then(SeenView::of),
            unconfirmed_nodes: mine.map(unconfirmed).unwrap_or_default(),
            timers: TimersView {
                analysed_seconds: rollout.timers.analysed.as_secs_f64(),
                blind_seconds: rollout.timers.blind.as_secs_f64(),
                silent_seconds: rollout.timers.silent.as_secs_f64(),
                in_phase_seconds: rollout.timers.in_phase.as_secs_f64(),
                unseen_seconds: rollout.timers.unseen.as_secs_f64(),
                quiet_seconds: rollout.timers.quiet.as_secs_f64(),
            },
            assessment: None,
            method: rollout.method,
            history: None,
            last_compared: None,
            stable: StableView::of(rollout),
            instances: InstancesView::of(rollout).filter(|_| !rollout.phase.is_terminal()),
            waiting_for: waiting::waiting_for(rollout, target),
            gates: GatesView::new(rollout),
            restarts: RestartsView::of(rollout),
            begins_at: rollout.not_before.map(|at| at.to_string()),
            reason: reason.map(ReasonView::new),
            superseded_by,
            supersedes: rollout.supersedes.as_ref().map(|id| id.0.clone()),
            revision: rollout.event_seq,
            created_at: rollout.created_at.to_string(),
            created_by: rollout.created_by.clone(),
            phase_since: rollout.phase_since.to_string(),
            ended_at: rollout.ended_at.map(|at| at.to_string()),
        }
    }
}

fn why(phase: &Phase) -> (Option<&Reason>, Option<String>) {
    use crate::core::rollout::Ending;
    let superseded_by = match phase {
        Phase::RollingBack { ending: Ending::Cancelled { superseded_by }, .. }
        | Phase::Cancelled { superseded_by, .. } => superseded_by.as_ref().map(|id| id.0.clone()),
        _ => None,
    };
    (phase.reason(), superseded_by)
}

fn step(rollout: &Rollout) -> Option<StepView> {
    let index = rollout.phase.step()?;
    let step = rollout.policy.steps.get(index)?;
    Some(StepView {
        index: index + 1,
        of: rollout.policy.steps.len(),
        weight_percent: percent(step.weight),
        min_seconds: step.min.as_secs_f64(),
        max_seconds: step.max.map(|max| max.as_secs_f64()),
        min_requests: step.min_requests,
        requests: requests(rollout),
    })
}

/// Requests in the step of the arm that has had the fewest; none before its traffic split is confirmed.
pub(crate) fn requests(rollout: &Rollout) -> u64 {
    match (&rollout.phase, &rollout.last) {
        (Phase::Progressing { stage: Stage::Analysing { .. }, .. }, Some(last)) => {
            last.requests().into_iter().min().unwrap_or(0)
        }
        _ => 0,
    }
}

pub(crate) fn unconfirmed(target: &Target) -> Vec<String> {
    target.unconfirmed_nodes().into_iter().map(str::to_owned).collect()
}

/// A weight as percent.
pub(crate) fn percent(weight: Weight) -> f64 {
    f64::from(weight.0) / 100.0
}

impl SplitView {
    /// The view of a split.
    pub fn new(split: Split) -> SplitView {
        SplitView {
            canary_percent: percent(split.canary),
            stable_percent: percent(split.stable),
            baseline_percent: percent(split.baseline),
        }
    }
}

impl SeenView {
    /// What was last seen of a target.
    pub fn of(target: &Target) -> Option<SeenView> {
        target.seen.map(|seen| SeenView {
            split: SplitView::new(seen.split),
            at: seen.at.to_string(),
            as_wanted: target.is_seen(),
        })
    }
}

impl ReasonView {
    /// The view of a reason.
    pub fn new(reason: &Reason) -> ReasonView {
        ReasonView { code: reason.code, sentence: reason.sentence.clone() }
    }
}

/// One line of a rollout's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Counts from 1 in each rollout.
    pub seq: u64,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// What kind.
    #[schema(value_type = vocabulary::EventKind)]
    pub kind: EventKind,
    /// Who, where a person did it.
    pub by: Option<String>,
    /// The sentence with its figures.
    pub sentence: String,
}

impl EventView {
    /// The view of a log line.
    pub fn new(event: &EventRecord) -> EventView {
        EventView {
            seq: event.seq,
            at: event.at.to_string(),
            kind: event.kind,
            by: event.by.clone(),
            sentence: event.sentence.clone(),
        }
    }
}

/// A command in the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandView {
    /// Its idempotency key.
    pub key: String,
    /// The rollout that it is for.
    pub rollout: String,
    /// `pause`, `resume`, `advance`, `promote`, `rollback` (or `supersede`, by a newer rollout).
    pub command: String,
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When it came in (RFC 3339, UTC).
    pub at: String,
    /// `done`, `refused`, `in_force` while the store has not taken it yet, or `pending` while the engine has not.
    pub result: String,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// What is to be known besides, such as a store that takes nothing.
    pub note: Option<String>,
}

impl CommandView {
    /// The view of an inbox entry.
    pub fn new(entry: &InboxEntry) -> CommandView {
        let (result, refusal) = match &entry.result {
            None => ("pending", None),
            Some(Ok(())) => ("done", None),
            Some(Err(reason)) => ("refused", Some(reason.clone())),
        };
        CommandView {
            key: entry.command.key.clone(),
            rollout: entry.rollout.0.clone(),
            command: entry.command.kind.name().to_owned(),
            by: entry.command.by.clone(),
            reason: entry.command.reason.clone(),
            at: entry.at.to_string(),
            result: result.to_owned(),
            refusal,
            note: None,
        }
    }
}
