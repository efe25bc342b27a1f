//! Gates, approval links, incoming hooks and freezes.

// Bodies are only described, never made.
#![allow(dead_code)]

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::freeze::Freeze;
use crate::core::gate::{Check, Gate, GateState, GateStatus, Occasion};
use crate::core::rollout::Rollout;
use crate::core::time::Timestamp;

use super::bodies::Moment;

/// The gates of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GatesView {
    /// What is waited for: `start`, the weight of a step such as `25%`, or `finish`.
    pub before: Option<String>,
    /// The gates that are waited for, or asked all along.
    pub items: Vec<GateView>,
    /// The gate behind which nothing is rolled back without a person.
    pub no_return: Option<String>,
    /// Who wants to go on as soon as the gates have said yes.
    pub insisted_by: Option<String>,
}

/// One gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateView {
    /// Its name.
    pub name: String,
    /// `approval`, `webhook`, `command`, `health`, `alerts`, `window`, `metric` or `slo`.
    pub kind: String,
    /// `waiting`, `running`, `open`, `refused` or `lost`.
    pub status: String,
    /// What it last said, or waits for.
    pub detail: String,
    /// Who opened or refused it, where a person did.
    pub by: Option<String>,
    /// When that was (RFC 3339, UTC).
    pub at: Option<String>,
    /// True if it is asked all along, not before something.
    pub during: bool,
    /// How long it has been waited for.
    pub waited_seconds: f64,
    /// When `at_deadline` follows, counted from when it was due.
    pub deadline_seconds: Option<f64>,
    /// `hold`, `roll_back` or `go_on`.
    pub at_deadline: String,
    /// Whether nothing is rolled back without a person once it has said yes.
    pub point_of_no_return: bool,
    /// Who has said yes so far.
    pub approvals: Vec<ApprovalView>,
}

/// A person's yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalView {
    /// Who.
    pub by: String,
    /// The teams that they were in.
    pub teams: Vec<String>,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

impl GatesView {
    /// The gates of a rollout.
    pub fn new(rollout: &Rollout) -> GatesView {
        let gates = &rollout.gates;
        let view = |during: bool| {
            move |(name, state): (&String, &GateState)| {
                let gate = rollout.policy.gates.iter().find(|gate| gate.name == *name)?;
                Some(GateView::new(rollout, gate, state, during))
            }
        };
        let pending = gates.states.iter().filter_map(view(false));
        GatesView {
            before: gates.occasion.map(|occasion| match occasion {
                Occasion::Start => "start".to_owned(),
                Occasion::Step(step) => {
                    rollout.policy.steps.get(step).map_or_else(String::new, |step| step.weight.to_string())
                }
                Occasion::Finish => "finish".to_owned(),
                Occasion::During => "during".to_owned(),
            }),
            items: pending.chain(gates.during.iter().filter_map(view(true))).collect(),
            no_return: gates.no_return.clone(),
            insisted_by: gates.insisted.as_ref().map(|wish| wish.by.clone()),
        }
    }
}

impl GateView {
    fn new(rollout: &Rollout, gate: &Gate, state: &GateState, during: bool) -> GateView {
        let (detail, by, at) = match &state.status {
            GateStatus::Waiting { detail } | GateStatus::Lost { detail } => (detail.clone(), None, None),
            GateStatus::Running => ("its program runs".to_owned(), None, None),
            GateStatus::Open { by, detail, at } | GateStatus::Refused { by, detail, at } => {
                (detail.clone(), by.clone(), Some(*at))
            }
        };
        let said = match &gate.check {
            Check::Approval { .. } => rollout.gates.approvals.get(&gate.name).cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        GateView {
            name: gate.name.clone(),
            kind: gate.check.kind().to_owned(),
            status: state.status.name().to_owned(),
            detail,
            by,
            at: at.map(|at| at.to_string()),
            during,
            waited_seconds: state.waited.as_secs_f64(),
            deadline_seconds: gate.deadline.map(|deadline| deadline.as_secs_f64()),
            at_deadline: gate.at_deadline.name().to_owned(),
            point_of_no_return: gate.point_of_no_return,
            approvals: said
                .into_iter()
                .map(|approval| ApprovalView {
                    by: approval.by,
                    teams: approval.teams,
                    at: approval.at.to_string(),
                    reason: approval.reason,
                })
                .collect(),
        }
    }
}

/// A link for one person and one gate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    /// The gate's name.
    #[schema(min_length = 1, max_length = 63, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    gate: String,
    /// Who may use it.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    r#for: String,
    /// A day, if it is not there.
    #[schema(minimum = 60, maximum = 1_209_600)]
    expires_in_seconds: Option<u64>,
}

/// A link.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkView {
    /// Where its person says yes or no.
    pub url: String,
    /// When its time is over (RFC 3339, UTC).
    pub expires_at: String,
}

/// What an incoming hook has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct IncomingView {
    /// A line for each alert that does something to a rollout.
    pub items: Vec<IncomingItem>,
    /// Alerts that could not be followed, at most a hundred of them. They refuse nothing else.
    pub refused: Vec<RefusedAlert>,
    /// How many could not be followed.
    pub refused_count: u64,
}

/// An alert that could not be followed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedAlert {
    /// Its name, as far as it has one.
    pub alert: String,
    /// Why.
    pub why: String,
}

/// What an alert does to a rollout.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncomingItem {
    /// The rollout.
    pub rollout: String,
    /// `tell`, `hold` (while it fires), `release` (it is over), `pause` or `rollback`.
    pub command: String,
    /// The alert's name.
    pub alert: String,
}

/// A new freeze.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeBody {
    /// Patterns of targets; every target if they are not there.
    #[schema(min_items = 1, max_items = 100)]
    targets: Option<Vec<String>>,
    /// Why, for people.
    #[schema(min_length = 1, max_length = 500, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    why: String,
    /// Now, if it is not there.
    from: Option<Moment>,
    /// Until it is ended, if it is not there.
    until: Option<Moment>,
    /// Who asks, where nobody has to say who they are.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    by: Option<String>,
}

/// A freeze.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FreezeView {
    /// Its name.
    pub id: String,
    /// Patterns of targets.
    pub targets: Vec<String>,
    /// Since when (RFC 3339, UTC).
    pub from: String,
    /// Until when; until it is ended, if it is not there.
    pub until: Option<String>,
    /// Why.
    pub why: String,
    /// Who ordered it.
    pub by: String,
    /// Whether it holds now.
    pub active: bool,
    /// When it was ended before its time.
    pub ended_at: Option<String>,
    /// By whom.
    pub ended_by: Option<String>,
}

impl FreezeView {
    /// The view of a freeze.
    pub fn new(freeze: &Freeze, now: Timestamp) -> FreezeView {
        FreezeView {
            id: freeze.id.clone(),
            targets: freeze.targets.clone(),
            from: freeze.from.to_string(),
            until: freeze.until.map(|until| until.to_string()),
            why: freeze.why.clone(),
            by: freeze.by.clone(),
            active: freeze.is_active(now),
            ended_at: freeze.ended.as_ref().map(|(at, _)| at.to_string()),
            ended_by: freeze.ended.as_ref().map(|(_, by)| by.clone()),
        }
    }
}
