//! The stored state of a rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{EnumDiscriminants, IntoStaticStr, VariantArray, VariantNames};

use super::alerts::Alerts;
use super::data::DataState;
use super::hold::{Held, Hold};
use super::stable::StablePool;
use super::verify::Verification;
use crate::core::gate::Gates;
use crate::core::ids::RolloutId;
use crate::core::judge::{Assessment, History, JudgeState};
use crate::core::policy::Policy;
use crate::core::reason::Reason;
use crate::core::spec::TargetSpec;
use crate::core::split::Weight;
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// What a rollout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutKind {
    /// A new version.
    Release,
    /// Back to an earlier version after a success.
    Revert,
}

/// What is fixed of a rollout from its beginning on. Shared between the copies of its state, and stored
/// once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub id: RolloutId,
    /// The target's name.
    pub target: String,
    /// The version that is released.
    pub version: String,
    /// Release or revert.
    pub kind: RolloutKind,
    /// The policy as it was at the start.
    pub policy: Policy,
    /// The version of the judge's method, so that stored observations are judged by the same one.
    pub method: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// The rollout that this one takes the target from.
    pub supersedes: Option<RolloutId>,
    /// It does not begin before; `None`: at once.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// What the metrics' pasts told when it started; `None` before that is asked. The only part that
    /// comes later than the rest, once.
    #[serde(default)]
    pub history: Option<History>,
    /// How the target was declared when it was asked for: what is judged and split stays so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<TargetSpec>,
}

/// One release on one target under one policy: the plan, which can be read as if its fields stood here, and
/// what moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// What is fixed.
    #[serde(flatten, serialize_with = "plan_as_it_is", deserialize_with = "shared_plan")]
    pub plan: Arc<Plan>,
    /// Counts the commits.
    pub revision: u64,
    /// Where it is.
    pub phase: Phase,
    /// Why it does not advance; judged on and rolled back all the same.
    pub holds: BTreeSet<Hold>,
    /// Who or what holds it, since when and why; one entry for each of several persons who paused it.
    #[serde(default)]
    pub held: Vec<Held>,
    /// Measured durations.
    pub timers: Timers,
    /// The sequence number of the last tick.
    pub tick_seq: u64,
    /// The sequence number of the last event.
    pub event_seq: u64,
    /// When the phase or step began (for people).
    pub phase_since: Timestamp,
    /// Whether the baseline was within each guardrail before the current step: by guardrail; absent
    /// where that was not known (invariant 12).
    pub baseline_was_healthy: BTreeMap<String, bool>,
    /// By metric: the end of the first window that was consumed since the split was seen (in observe
    /// mode: since the step began). Which windows are used does not hang on Serin's clock alone by this.
    #[serde(default)]
    pub first_ends: BTreeMap<String, Timestamp>,
    /// What the last tick was judged as.
    pub last: Option<Assessment>,
    /// The last comparison of both arms that had requests of the canary, of the step that was left: at
    /// 100%, and on the way back, nothing is compared any more.
    #[serde(default)]
    pub last_compared: Option<Compared>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// The announcements that were made: how long before the beginning.
    #[serde(default)]
    pub announced: Vec<Duration>,
    /// What the gates have said.
    #[serde(default)]
    pub gates: Gates,
    /// After a way back: what the service has shown since.
    #[serde(default)]
    pub verification: Verification,
    /// What is known of the alerts of its target.
    #[serde(default)]
    pub alerts: Alerts,
    /// What is known of the data that it is judged on.
    #[serde(default)]
    pub data: DataState,
    /// The servers that a rollback would go to.
    #[serde(default)]
    pub stable: StablePool,
    /// Why the arms' requests may differ from their weights, by the router.
    #[serde(default)]
    pub share_explained: Option<String>,
}

fn plan_as_it_is<S: Serializer>(plan: &Arc<Plan>, serializer: S) -> Result<S::Ok, S::Error> {
    plan.serialize(serializer)
}

fn shared_plan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Plan>, D::Error> {
    Plan::deserialize(deserializer).map(Arc::new)
}

impl Deref for Rollout {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

/// What a step that was left was judged as at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The canary's weight in it.
    pub weight: Weight,
    /// What its last tick was judged as.
    pub assessment: Assessment,
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, EnumDiscriminants)]
#[serde(tag = "name", rename_all = "snake_case")]
#[strum_discriminants(
    name(PhaseName),
    doc = "The name of a phase, without what it holds.",
    derive(PartialOrd, Ord, IntoStaticStr, VariantArray, VariantNames),
    strum(serialize_all = "snake_case")
)]
pub enum Phase {
    /// Waits for the target; does not occupy it.
    Scheduled,
    /// Occupies the target; the baseline must be seen before anything rises.
    Preflight,
    /// The workload gets ready for the step.
    Preparing {
        /// Index into the policy's steps.
        step: usize,
    },
    /// At a step below 100%.
    Progressing {
        /// Index into the policy's steps.
        step: usize,
        /// Whether the split is in force.
        stage: Stage,
    },
    /// At 100%: the split is on its way, then the new version becomes stable.
    Finalizing,
    /// At 100%, watched.
    Baking,
    /// The canary is taken to 0 and driven until that is seen.
    RollingBack {
        /// Why.
        reason: Reason,
        /// What it ends as.
        ending: Ending,
    },
    /// The canary is at 0 and seen to be; the service must come back to what it was before.
    Verifying {
        /// Why it was rolled back.
        reason: Reason,
    },
    /// The new version has all traffic.
    Succeeded,
    /// The old version has all traffic.
    RolledBack {
        /// Why.
        reason: Reason,
    },
    /// Ended without a verdict, the old version has all traffic.
    Cancelled {
        /// Why.
        reason: Reason,
        /// The rollout that took over.
        superseded_by: Option<RolloutId>,
    },
    /// The router could not be brought to the safe split; it is driven on.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// Whether a step's split is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The split is wanted and not seen yet.
    Settling,
    /// The split is seen; windows count.
    Analysing {
        /// Since when.
        since: Timestamp,
    },
}

/// What a way back ends as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Ending {
    /// The release was bad, or a person said so.
    RolledBack,
    /// It never had a verdict.
    Cancelled {
        /// The rollout that takes over.
        superseded_by: Option<RolloutId>,
    },
}

impl Rollout {
    /// What is known of a hold; nothing of one that was added by an earlier version.
    pub fn held_by(&self, hold: Hold) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(move |held| held.hold == hold && self.holds.contains(&hold))
    }

    /// A rollout that was just asked for: it waits where it begins later, and else has the target. Its log
    /// has one line.
    pub fn new(plan: Plan) -> Rollout {
        Rollout {
            revision: 0,
            phase: if plan.not_before.is_some() { Phase::Scheduled } else { Phase::Preflight },
            holds: BTreeSet::new(),
            timers: Timers::default(),
            tick_seq: 0,
            event_seq: 1,
            phase_since: plan.created_at,
            baseline_was_healthy: BTreeMap::new(),
            first_ends: BTreeMap::new(),
            last: None,
            last_compared: None,
            ended_at: None,
            announced: Vec::new(),
            gates: Gates::default(),
            verification: Verification::default(),
            alerts: Alerts::default(),
            data: DataState::default(),
            held: Vec::new(),
            stable: StablePool::default(),
            share_explained: None,
            plan: Arc::new(plan),
        }
    }

    /// The plan, to be changed: of this copy of the rollout alone.
    pub fn plan_mut(&mut self) -> &mut Plan {
        Arc::make_mut(&mut self.plan)
    }

    /// A sample older than this is stale, and no window that ends with it is consumed. Half the silent
    /// limit, so that a crash is acted on in one and a half times the limit, and scrape intervals of up to
    /// one and a half times the limit give no alarm.
    pub fn stale_after(&self) -> Duration {
        (self.policy.analysis.interval * 3).max(self.policy.analysis.silent.after / 2)
    }

    /// The same of an arm whose samples are further apart.
    pub fn stale_at_most(&self) -> Duration {
        self.stale_after().max(self.spacing() * 3 / 2)
    }

    /// For how long the canary must be seen without requests before a way back is over: what the
    /// target asks for, and one look at least.
    pub fn quiet_needed(&self, target: &Target) -> Duration {
        target.drain.max(self.policy.analysis.interval)
    }
}

impl Phase {
    /// The stable name, as in the API.
    pub fn name(&self) -> &'static str {
        PhaseName::from(self).name()
    }

    /// True at an end.
    pub fn is_terminal(&self) -> bool {
        PhaseName::from(self).is_terminal()
    }

    /// Why it is on its way back or has ended, where there is a reason.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Phase::RollingBack { reason, .. }
            | Phase::Verifying { reason }
            | Phase::RolledBack { reason }
            | Phase::Cancelled { reason, .. }
            | Phase::Failed { reason } => Some(reason),
            _ => None,
        }
    }

    /// The step's index, where there is one.
    pub fn step(&self) -> Option<usize> {
        match self {
            Phase::Preparing { step } | Phase::Progressing { step, .. } => Some(*step),
            _ => None,
        }
    }
}

impl PhaseName {
    /// All names, in the order of a rollout's life.
    pub const NAMES: &'static [&'static str] = <PhaseName as VariantNames>::VARIANTS;

    /// The stable name, as in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// True at an end.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            PhaseName::Succeeded | PhaseName::RolledBack | PhaseName::Cancelled | PhaseName::Failed
        )
    }

    /// True after the decision to roll back, until the end.
    pub fn is_way_back(self) -> bool {
        matches!(self, PhaseName::RollingBack | PhaseName::Verifying)
    }

    /// How many are in which phase, by name; phases that are not an end are all there.
    pub fn count(phases: impl IntoIterator<Item = PhaseName>) -> BTreeMap<&'static str, u64> {
        let mut counts: BTreeMap<&'static str, u64> =
            PhaseName::active().map(|phase| (phase.name(), 0)).collect();
        for phase in phases.into_iter().filter(|phase| !phase.is_terminal()) {
            *counts.entry(phase.name()).or_default() += 1;
        }
        counts
    }

    /// All phases, in the order of a rollout's life.
    pub fn all() -> impl Iterator<Item = PhaseName> {
        <PhaseName as VariantArray>::VARIANTS.iter().copied()
    }

    /// The phases that are not an end, in order.
    pub fn active() -> impl Iterator<Item = PhaseName> {
        PhaseName::all().filter(|phase| !phase.is_terminal())
    }
}

/// Durations that were measured, never read off a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timers {
    /// Analysed in the current step or bake, by the windows' own time.
    pub analysed: Duration,
    /// Without data of either arm.
    pub blind: Duration,
    /// Without data of the canary while the baseline is seen.
    pub silent: Duration,
    /// Requests that the canary should have had in `silent` by its weight, where it is seen to have none.
    pub missing_requests: f64,
    /// In the current phase or step, by the monotonic clock of the processes that ran.
    pub in_phase: Duration,
    /// While the wanted split was not seen.
    pub unseen: Duration,
    /// While the canary was seen to get no request on the way back.
    pub quiet: Duration,
    /// Since everything that preflight asks for was last as it should be.
    #[serde(default)]
    pub unready: Duration,
    /// Whether the canary had requests when it was last seen.
    #[serde(default)]
    pub is_busy: bool,
    /// By the monotonic clock, since time was last credited to `analysed`.
    #[serde(default)]
    pub uncredited: Duration,
    /// What the last look added to `analysed`.
    #[serde(default)]
    pub credited: Duration,
    /// At 100%: windows without requests of the canary, which count once it has some.
    #[serde(default)]
    pub idle: Duration,
    /// At 100%: since the canary last had a request.
    #[serde(default)]
    pub unrequested: Duration,
    /// When a pause has last ended, in this phase: what windows cover before that is not credited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaused_at: Option<Timestamp>,
}

/// Everything that a transition sees and changes.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The rollout.
    pub rollout: Rollout,
    /// Its target.
    pub target: Target,
    /// The evidence; a function of the stored observations. Only a look at the metrics copies it.
    pub judge: Arc<JudgeState>,
}
