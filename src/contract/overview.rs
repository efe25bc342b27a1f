//! All rollouts at a glance.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Awaited, RatioView, ReasonView, RolloutView};
use crate::core::judge::{MetricAssessment, Verdict};
use crate::core::rollout::{Hold, Phase, Rollout};
use crate::core::target::{Proxies, Target};

/// All rollouts at a glance: those that need somebody first, then what runs, newest first, then what has
/// ended, last first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverviewView {
    /// When this was true (RFC 3339, UTC).
    pub at: String,
    /// How many there are, of all that the viewer may see, whatever the filters.
    pub counts: CountsView,
    /// The rollouts.
    pub items: Vec<OverviewRow>,
}

/// How many rollouts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CountsView {
    /// Somebody has to do something.
    pub needs_you: usize,
    /// Not ended, and not in their bake.
    pub in_progress: usize,
    /// In their bake.
    pub baking: usize,
    /// Rolled back since midnight (UTC).
    pub rolled_back_today: usize,
    /// Ended since midnight (UTC).
    pub ended_today: usize,
    /// From the request to the decision for 100%, of those that have succeeded in the asked time.
    pub median_seconds_to_promotion: Option<f64>,
}

/// One rollout at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverviewRow {
    /// Its name.
    pub id: String,
    /// The target's name.
    pub target: String,
    /// The version that is released.
    pub version: String,
    /// What runs as stable; known while the rollout has its target.
    pub stable_version: Option<String>,
    /// The policy's name.
    pub policy: String,
    /// The phase's name.
    pub state: String,
    /// True at an end.
    pub ended: bool,
    /// Why it does not advance.
    #[schema(value_type = Vec<super::vocabulary::Hold>)]
    pub holds: Vec<Hold>,
    /// Somebody has to do something.
    pub needs_you: bool,
    /// The step, in the phases `preparing` and `progressing`.
    pub step: Option<RowStep>,
    /// `settling` or `analysing`, in the phase `progressing`.
    pub stage: Option<String>,
    /// The canary's weight that is wanted; known while the rollout has its target.
    pub wanted_percent: Option<f64>,
    /// The canary's weight that was last seen; known while the rollout has its target.
    pub seen_percent: Option<f64>,
    /// In the current phase or step.
    pub in_phase_seconds: f64,
    /// How long that will probably take, where it can be told.
    pub remaining_seconds: Option<f64>,
    /// What comes next, and what it depends on; `None` at an end.
    pub waiting_for: Option<RowWaiting>,
    /// The metric with the most evidence of harm.
    pub worst: Option<WorstMetric>,
    /// Canary over baseline of that metric at the last looks, at most 40.
    pub spark: Vec<f64>,
    /// Why it goes, or went, back.
    pub reason: Option<String>,
    /// When it was asked for (RFC 3339, UTC).
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When it came to its end (RFC 3339, UTC).
    pub ended_at: Option<String>,
    /// Counts the changes.
    pub revision: u64,
}

/// Where in the steps a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RowStep {
    /// Counts from 1.
    pub index: usize,
    /// How many there are.
    pub of: usize,
    /// The canary's weight in this step.
    pub weight_percent: f64,
}

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RowWaiting {
    /// Of what kind.
    pub on: Awaited,
    /// The sentence.
    pub sentence: String,
}

/// The metric with the most evidence of harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorstMetric {
    /// The policy's name.
    pub metric: String,
    /// The verdict.
    #[schema(value_type = super::vocabulary::Verdict)]
    pub verdict: Verdict,
    /// Canary over baseline in the step.
    pub ratio: RatioView,
}

/// The metric that looks worst now, or did when the last step was left: proven ones first, then by the
/// evidence of harm.
pub fn worst(rollout: &Rollout) -> Option<&MetricAssessment> {
    let compared = |metrics: &&Vec<MetricAssessment>| metrics.iter().any(|m| m.verdict != Verdict::NoData);
    let now = rollout.last.as_ref().map(|last| &last.metrics).filter(compared);
    let before = rollout.last_compared.as_ref().map(|compared| &compared.assessment.metrics);
    let seen = now.or(before)?.iter().filter(|metric| metric.verdict != Verdict::NoData);
    seen.max_by(|a, b| {
        let worse = |metric: &MetricAssessment| metric.verdict == Verdict::Worse;
        worse(a).cmp(&worse(b)).then(a.ln_e_harm.total_cmp(&b.ln_e_harm))
    })
}

impl OverviewRow {
    /// The row of a rollout; `target` is what is stored of its target, where that is known.
    pub fn new(rollout: &Rollout, target: Option<&Target>, spark: Vec<f64>) -> OverviewRow {
        let mine = target.filter(|target| target.active.as_ref() == Some(&rollout.id));
        let view = RolloutView::head(rollout, target);
        let waiting = view.waiting_for;
        let person = waiting.as_ref().is_some_and(|w| matches!(w.on, Awaited::Person | Awaited::Gate));
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        OverviewRow {
            needs_you: person || unsafe_end(rollout, target),
            step: view.step.map(|step| RowStep {
                index: step.index,
                of: step.of,
                weight_percent: step.weight_percent,
            }),
            wanted_percent: view.wanted.map(|wanted| wanted.canary_percent),
            seen_percent: mine.and_then(|t| t.seen).map(|seen| super::percent(seen.split.canary)),
            in_phase_seconds: view.timers.in_phase_seconds,
            remaining_seconds: waiting.as_ref().and_then(|waiting| waiting.remaining_seconds),
            waiting_for: waiting.map(|waiting| RowWaiting { on: waiting.on, sentence: waiting.sentence }),
            worst: worst(rollout).map(|metric| WorstMetric {
                metric: metric.name.clone(),
                verdict: metric.verdict,
                ratio: RatioView {
                    low: metric.ratio.and_then(|ratio| finite(ratio[0])),
                    estimate: metric.ratio.and_then(|ratio| finite(ratio[1])),
                    high: metric.ratio.and_then(|ratio| finite(ratio[2])),
                },
            }),
            spark,
            reason: view.reason.map(|reason: ReasonView| reason.sentence),
            id: view.id,
            target: view.target,
            version: view.version,
            stable_version: view.stable_version,
            policy: view.policy.name,
            state: view.state,
            ended: view.ended,
            holds: view.holds,
            stage: view.stage,
            created_at: view.created_at,
            created_by: view.created_by,
            ended_at: view.ended_at,
            revision: view.revision,
        }
    }
}

/// It ended with a router that could not be brought to the safe split, and still is not seen to have it.
fn unsafe_end(rollout: &Rollout, target: Option<&Target>) -> bool {
    matches!(rollout.phase, Phase::Failed { .. })
        && target.is_some_and(|target| {
            target.last_exposed.as_ref() == Some(&rollout.id) && !target.in_force(Proxies::All)
        })
}
