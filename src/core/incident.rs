//! The incident of a target: one at a time, whatever happens to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::ids::RolloutId;
use super::time::Timestamp;

/// An incident that was told to people and is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The same from the first trigger to the resolve.
    pub key: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The rollout that it is about.
    pub rollout: RolloutId,
    /// What it is about; it is over when nothing of it is left.
    pub causes: BTreeSet<IncidentCause>,
    /// Who has taken it over.
    pub acknowledged_by: Option<String>,
    /// The channels that were told that it was opened: its end goes there.
    #[serde(default)]
    pub told: BTreeSet<String>,
}

impl Incident {
    /// What happens to it, for a notice.
    pub fn change(&self, step: IncidentStep) -> IncidentChange {
        let told = self.told.iter().cloned().collect();
        IncidentChange { key: self.key.clone(), step, opened_at: self.opened_at, told }
    }
}

/// What an incident is about, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentCause {
    /// There is no data.
    Blind,
    /// A gate needs a person.
    Gate,
    /// A hook has failed, or nobody knows what it did.
    Hook,
    /// The split is not confirmed.
    Unconfirmed,
    /// The release was taken back, or ought to be.
    Rollback,
    /// The router could not be brought to the safe split.
    Failed,
    /// After a rollback the service is not as it was before.
    NotVerified,
    /// The canary gets far more of the requests than was set.
    TrafficShare,
    /// Too few servers of stable are up for a rollback.
    Stable,
    /// The router has a split that the store knows nothing of.
    Found,
}

/// What a notice does to the one incident of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentChange {
    /// The same from the first trigger to the resolve: `TARGET/ROLLOUT/EVENT_SEQ`.
    pub key: String,
    /// What.
    pub step: IncidentStep,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The channels that were told that it was opened. For routing only: receivers do not see it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

/// What happens to an incident.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum IncidentStep {
    /// It is opened, or something is added to it.
    Trigger,
    /// A person has taken it over.
    Acknowledge,
    /// It is over.
    Resolve,
}

impl IncidentStep {
    /// The stable name, as in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
