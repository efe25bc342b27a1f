//! What gates and hooks are asked.

use async_trait::async_trait;

use super::notices::NotifyError;
use crate::core::arms::ArmSelector;
use crate::core::gate::{Gate, GateAnswer, Hook, Occasion};
use crate::core::ids::RolloutId;
use crate::core::notice::Notice;
use crate::core::split::Weight;
use crate::core::time::Timestamp;

/// What a gate's check is asked with.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRequest {
    /// `ROLLOUT/OCCASION/GATE/TIMES_ASKED`: the same over retries of one question.
    pub key: String,
    /// The gate.
    pub gate: Gate,
    /// What it stands before.
    pub occasion: Occasion,
    /// The rollout's identity.
    pub rollout: RolloutId,
    /// The target's name.
    pub target: String,
    /// The configured provider that measures the target.
    pub provider: String,
    /// The version that is released.
    pub version: String,
    /// What runs as stable, as far as is known.
    pub stable_version: Option<String>,
    /// The policy's name.
    pub policy: String,
    /// The weight that the next step gives the canary.
    pub weight: Weight,
    /// Who asked for the rollout.
    pub started_by: String,
    /// The canary's series.
    pub canary: ArmSelector,
    /// The baseline's series.
    pub baseline: ArmSelector,
    /// Serin's wall clock.
    pub now: Timestamp,
}

/// Asks gates' checks and runs hooks. Every call ends within the check's own time; a fault is an answer.
#[async_trait]
pub trait Gatekeeper: Send + Sync {
    /// Asks once.
    async fn ask(&self, request: &GateRequest) -> GateAnswer;
    /// Does what a hook says, with the notice's key as the idempotency key.
    async fn run(&self, hook: &Hook, notice: &Notice) -> Result<(), NotifyError>;
}

/// Nobody who could ask: gates are faults, and hooks are never done.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGatekeeper;

#[async_trait]
impl Gatekeeper for NoGatekeeper {
    async fn ask(&self, request: &GateRequest) -> GateAnswer {
        GateAnswer::Fault(format!("nobody here can ask the gate {}", request.gate.name))
    }

    async fn run(&self, hook: &Hook, _notice: &Notice) -> Result<(), NotifyError> {
        Err(NotifyError::never(format!("nobody here can do the hook {}", hook.name)))
    }
}
