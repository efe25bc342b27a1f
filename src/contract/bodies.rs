//! What requests bring along, for the description of the API. They are read field by field, so that
//! everything that is wrong is told at once.

// They are only described, never made.
#![allow(dead_code)]

use serde::Deserialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::vocabulary::RolloutKind;
use super::{SeriesRow, SeriesView};

/// Points in time that are taken as Unix milliseconds: of the years 1 to 9999.
pub(crate) const MILLISECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_207_200_000;

/// A new rollout.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartBody {
    /// The target's name.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    target: String,
    /// The policy's name.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    policy: String,
    /// The version to release.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    version: String,
    /// Release, if it is not there.
    kind: Option<RolloutKind>,
    /// Who asks, where nobody has to say who they are.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    by: Option<String>,
    /// Takes the target from a running rollout.
    supersede: Option<bool>,
    /// It does not begin before; at once, if it is not there.
    begins_at: Option<Moment>,
}

/// A command.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// What to do.
    command: CommandWord,
    /// Why, in their words.
    #[schema(min_length = 1, max_length = 2000, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    reason: Option<String>,
    /// The revision that was seen: refused if there is a newer one.
    #[schema(minimum = 0)]
    expected_revision: Option<u64>,
    /// The gate, for commands to gates.
    #[schema(min_length = 1, max_length = 63, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    gate: Option<String>,
    /// Who asks, where nobody has to say who they are.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    by: Option<String>,
    /// For `advance` and `promote`, with a reason: although somebody else has paused the rollout, or too few of the
    /// canary's instances are ready.
    #[serde(default)]
    r#override: bool,
    /// For `advance` and `promote`, with a reason: although a metric leans worse or a guardrail is broken.
    #[serde(default)]
    even_if_worse: bool,
}

/// A decision about what was found at a target's router.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionBody {
    /// Who decides; without authentication only.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    by: Option<String>,
}

/// What a command does.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandWord {
    /// Do not advance until resumed.
    Pause,
    /// Go on.
    Resume,
    /// To the next step without waiting for proof.
    Advance,
    /// To 100% without waiting for proof.
    Promote,
    /// Take the canary back.
    Rollback,
    /// Say yes at a gate.
    Approve,
    /// Say no at a gate.
    Refuse,
    /// Open a gate whatever it says; for administrators, with a reason.
    OverrideGate,
    /// Ask a gate anew that has said no, or whose program was lost.
    RetryGate,
    /// Take the target's incident over.
    Acknowledge,
}

/// A policy to check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    /// The policy's file.
    #[schema(max_length = 60_000)]
    yaml: String,
}

/// The name of a phase.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseWord {
    /// Waits for the target.
    Scheduled,
    /// The baseline must be seen.
    Preflight,
    /// The workload gets ready.
    Preparing,
    /// At a step below 100%.
    Progressing,
    /// On the way to 100%.
    Finalizing,
    /// At 100%, watched.
    Baking,
    /// On the way back.
    RollingBack,
    /// The new version has all traffic.
    Succeeded,
    /// The canary is at 0; the service must come back to what it was.
    Verifying,
    /// The old version has all traffic.
    RolledBack,
    /// Ended without a verdict.
    Cancelled,
    /// The router could not be brought to the safe split.
    Failed,
}

/// The form of a series.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeriesForm {
    /// Lists beside a list of times.
    Series,
    /// A row for each value.
    Rows,
}

/// The form of a report.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportForm {
    /// For programs.
    Json,
    /// For tickets and mails.
    Markdown,
    /// To print.
    Html,
}

/// A series in the form that was asked for.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SeriesOrRows {
    /// Lists beside a list of times.
    Series(SeriesView),
    /// A row for each value.
    Rows(Vec<SeriesRow>),
}

/// A point in time: RFC 3339, or Unix milliseconds.
#[derive(Deserialize)]
pub struct Moment;

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let milliseconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(*MILLISECONDS.start()))
            .maximum(Some(*MILLISECONDS.end()));
        let both = AnyOfBuilder::new().item(text).item(milliseconds);
        both.description(Some("A point in time: RFC 3339, or Unix milliseconds.")).into()
    }
}

impl ToSchema for Moment {}
