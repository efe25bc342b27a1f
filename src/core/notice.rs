//! What people and programs are told.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::incident::IncidentChange;
use super::limit::Severity;
use super::reason::ReasonCode;
use super::split::Weight;
use super::time::Timestamp;

/// Something to tell people or programs. Its key names the event, so that a receiver sees it once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// `ROLLOUT/EVENT_SEQ`: the same over retries and restarts.
    pub key: String,
    /// What kind.
    pub kind: NoticeKind,
    /// How urgent.
    pub severity: Severity,
    /// The rollout.
    pub rollout: String,
    /// The target.
    pub target: String,
    /// The version that is released.
    pub version: String,
    /// When it came up.
    pub at: Timestamp,
    /// The sentence with its figures.
    pub sentence: String,
    /// The policy's name.
    #[serde(default)]
    pub policy: String,
    /// What runs as stable.
    #[serde(default)]
    pub stable_version: Option<String>,
    /// Who asked for the rollout.
    #[serde(default)]
    pub started_by: String,
    /// The step, counted from 1, of so many.
    #[serde(default)]
    pub step: Option<(usize, usize)>,
    /// The canary's wanted weight.
    #[serde(default)]
    pub weight: Weight,
    /// The stable code of the reason, where there is one.
    #[serde(default)]
    pub reason: Option<ReasonCode>,
    /// What the metrics showed.
    #[serde(default)]
    pub figures: Vec<Figure>,
    /// What it does to the target's incident.
    #[serde(default)]
    pub incident: Option<IncidentChange>,
    /// For announcements: when the rollout begins.
    #[serde(default)]
    pub begins_at: Option<Timestamp>,
    /// Where the target runs, as the configuration says: `production`, `staging`.
    #[serde(default)]
    pub environment: Option<String>,
    /// Where people look what to do.
    #[serde(default)]
    pub runbook: Option<String>,
    /// What the policy's own template made of it.
    #[serde(default)]
    pub message: Option<String>,
}

impl Notice {
    /// A notice without what may be left out.
    pub fn new(key: String, kind: NoticeKind, severity: Severity, at: Timestamp, sentence: String) -> Notice {
        Notice {
            key,
            kind,
            severity,
            rollout: String::new(),
            target: String::new(),
            version: String::new(),
            at,
            sentence,
            policy: String::new(),
            stable_version: None,
            started_by: String::new(),
            step: None,
            weight: Weight::ZERO,
            reason: None,
            figures: Vec::new(),
            incident: None,
            begins_at: None,
            environment: None,
            runbook: None,
            message: None,
        }
    }
}

/// What one metric showed, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The policy's metric.
    pub metric: String,
    /// Its verdict's stable name.
    pub verdict: String,
    /// Of the canary, with its unit: `2.7%`, `310 ms`.
    pub canary: Option<String>,
    /// Of the baseline, with its unit.
    pub baseline: Option<String>,
    /// Canary to baseline: the interval's low end, the estimate, the high end.
    pub ratio: Option<[f64; 3]>,
}

/// What a notice is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NoticeKind {
    /// It begins in so much time.
    Announced,
    /// It occupies the target.
    Started,
    /// A step was entered.
    Step,
    /// Its progress, at the middle of a long step.
    Progress,
    /// A gate waits for somebody, or has not said yes in time.
    Gate,
    /// It does not advance.
    Held,
    /// Told by a guardrail.
    Alert,
    /// A guardrail of the class `standard` is broken; the rollback follows if it stays so.
    Warning,
    /// The canary goes to 0.
    RollbackStarted,
    /// The rollback is not confirmed in time.
    Unconfirmed,
    /// The canary is at 0, and seen to be.
    RolledBack,
    /// After a rollback: the service is as it was before.
    Verified,
    /// After a rollback: the service is not as it was before.
    NotVerified,
    /// The new version has all traffic.
    Promoted,
    /// The bake is over.
    Succeeded,
    /// Ended without a verdict.
    Cancelled,
    /// The router could not be brought to the safe split.
    Failed,
    /// A person has taken an incident over.
    Acknowledged,
    /// The cause of an alert is gone.
    Resolved,
}

impl NoticeKind {
    /// All kinds, in the order of a rollout's life.
    pub const ALL: &'static [NoticeKind] = <NoticeKind as VariantArray>::VARIANTS;

    /// The stable name, as in the API and in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
