//! What is written down of a rollout for people: reports, annotations of charts, checks of policies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EventView, PolicyView, RolloutView};

/// A rollout's report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// The rollout as it is, or as it ended.
    pub rollout: RolloutView,
    /// `promoted`, `rolled back`, `cancelled`, `failed` or `in progress`.
    pub verdict: String,
    /// What it came to, with its figures.
    pub sentence: String,
    /// From the request to the end, or until now.
    pub duration_seconds: f64,
    /// The steps that were entered.
    pub steps: Vec<ReportStep>,
    /// Log lines that decided something, with their evidence.
    pub decisions: Vec<EventView>,
    /// The whole log; of very long ones the first 5,000 lines.
    pub log: Vec<EventView>,
    /// What somebody was told of.
    pub alerts: Vec<EventView>,
    /// After a rollback: a draft in Markdown, with the timeline filled in.
    pub post_mortem: Option<String>,
}

/// A step that was entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportStep {
    /// Counts from 1.
    pub index: usize,
    /// The canary's weight.
    pub weight_percent: f64,
    /// When it was entered (RFC 3339, UTC).
    pub from: String,
    /// When it was left (RFC 3339, UTC).
    pub to: Option<String>,
    /// How long it lasted, until now if it still does.
    pub seconds: f64,
    /// `advanced`, `succeeded`, `rolled back`, `cancelled`, `failed` or `in progress`.
    pub outcome: String,
    /// Why, with the figures.
    pub sentence: Option<String>,
}

/// Something to mark in a chart of a dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnnotationView {
    /// Unix milliseconds.
    pub time: i64,
    /// Unix milliseconds, where it lasted.
    pub time_end: Option<i64>,
    /// What, in a few words.
    pub title: String,
    /// The sentence.
    pub text: String,
    /// The target, the policy and the kind.
    pub tags: Vec<String>,
    /// The rollout.
    pub rollout: String,
}

/// What is right and wrong with a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// True if it can be used.
    pub ok: bool,
    /// Everything that is wrong.
    pub problems: Vec<PolicyProblem>,
    /// What is legal, but perhaps not meant.
    pub warnings: Vec<PolicyProblem>,
    /// The policy, if it can be used.
    pub policy: Option<PolicyView>,
}

/// One thing that is wrong, or dubious.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyProblem {
    /// The line, from 1; `None` if it concerns no line.
    pub line: Option<usize>,
    /// The field, such as `steps[1].weight`.
    pub field: Option<String>,
    /// What is wrong, and what would be right.
    pub detail: String,
}
