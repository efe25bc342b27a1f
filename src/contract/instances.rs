//! The canary's instances: how many are ready, and how often those of both arms restart.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::vocabulary;
use crate::core::rollout::{Rollout, Witness};

/// The canary's instances that are listed, and those that are ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstancesView {
    /// So many are ready.
    pub ready: u32,
    /// So many are listed.
    pub listed: u32,
    /// The least number that must be ready before the canary's weight rises.
    pub least: u32,
    /// By whose word: the router's health checks, or the metrics endpoints.
    #[schema(value_type = vocabulary::Witness)]
    pub by: Witness,
    /// A person lets the next step begin although too few are ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overridden: bool,
}

impl InstancesView {
    /// By the witness that sees fewer of them ready; `None` if nothing is known.
    pub(super) fn of(rollout: &Rollout) -> Option<InstancesView> {
        let readiness = &rollout.data.readiness;
        let (by, word) = readiness.worst()?;
        Some(InstancesView {
            ready: word.ready,
            listed: word.of,
            least: word.least(),
            by,
            overridden: readiness.overridden,
        })
    }

    /// `17 of 20 ready: 3 do not start`.
    pub fn words(&self) -> String {
        let InstancesView { ready, listed, .. } = self;
        match listed.saturating_sub(*ready) {
            0 => format!("{ready} of {listed} ready"),
            1 => format!("{ready} of {listed} ready: 1 does not start"),
            missing => format!("{ready} of {listed} ready: {missing} do not start"),
        }
    }
}

/// Restarts of the arms' processes since the rollout began; those that are the platform's doing do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartsView {
    /// Of the canary.
    pub canary: u64,
    /// Of what it is compared with.
    pub baseline: u64,
    /// Of the canary, in the last 15 minutes.
    #[serde(default)]
    pub canary_recent: u64,
    /// Of what it is compared with, in the last 15 minutes.
    #[serde(default)]
    pub baseline_recent: u64,
    /// The canary's instances at the last look.
    #[serde(default)]
    pub canary_instances: u32,
    /// The instances of what it is compared with.
    #[serde(default)]
    pub baseline_instances: u32,
}

impl RestartsView {
    pub(super) fn of(rollout: &Rollout) -> RestartsView {
        let state = &rollout.data.restarts;
        RestartsView {
            canary: state.canary.total,
            baseline: state.baseline.total,
            canary_recent: state.canary.recent.len() as u64,
            baseline_recent: state.baseline.recent.len() as u64,
            canary_instances: state.canary.instances,
            baseline_instances: state.baseline.instances,
        }
    }

    /// `canary 4 (3 in 15 min on 2 instances), baseline 0 (0 in 15 min on 20 instances)`; `None` without any.
    pub fn words(&self) -> Option<String> {
        if self.canary + self.baseline + self.canary_recent + self.baseline_recent == 0 {
            return None;
        }
        let arm = |name: &str, all: u64, recent: u64, instances: u32| {
            let plural = if instances == 1 { "" } else { "s" };
            format!("{name} {all} ({recent} in 15 min on {instances} instance{plural})")
        };
        Some(format!(
            "{}, {}",
            arm("canary", self.canary, self.canary_recent, self.canary_instances),
            arm("baseline", self.baseline, self.baseline_recent, self.baseline_instances)
        ))
    }
}
