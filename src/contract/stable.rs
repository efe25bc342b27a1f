//! The servers that a rollback would go to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReasonView;
use crate::core::rollout::Rollout;

/// The servers of stable, as the router knows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StableView {
    /// All; absent while the router tells nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<u32>,
    /// Those that take requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<u32>,
    /// Those that did when the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_at_step: Option<u32>,
    /// The rollback goes in stages: the canary keeps this for now, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_percent: Option<f64>,
    /// Why it would be rolled back, while there is no server that it could be rolled back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_waits: Option<ReasonView>,
}

impl StableView {
    /// `None` if nothing is known.
    pub(super) fn of(rollout: &Rollout) -> Option<StableView> {
        let stable = &rollout.stable;
        let waits = stable.waiting.as_ref().map(|waiting| ReasonView::new(&waiting.reason));
        if (stable.now, stable.at_step) == (None, None) && waits.is_none() {
            return None;
        }
        Some(StableView {
            servers: stable.now.map(|now| now.all),
            up: stable.now.map(|now| now.up),
            up_at_step: stable.at_step,
            staged_percent: stable.staged.map(|staged| staged.weight.share() * 100.0),
            rollback_waits: waits,
        })
    }
}
