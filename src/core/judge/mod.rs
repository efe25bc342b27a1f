//! Evidence of all metrics → verdicts → what the figures ask for, with reasons.

mod assessment;

pub use assessment::{Advice, Assessment, GuardrailAssessment, GuardrailStatus, MetricAssessment, Verdict};

use serde::{Deserialize, Serialize};

use crate::core::metric::TickObservation;
use crate::core::policy::Policy;

/// The version of the method. A change that can change a verdict raises it.
pub const METHOD: u32 = 1;

/// The running evidence of a rollout: a function of its policy and its observations in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeState {}

impl JudgeState {
    /// No evidence.
    pub fn new(_policy: &Policy) -> JudgeState {
        JudgeState {}
    }

    /// Takes in one tick.
    pub fn observe(&mut self, _policy: &Policy, _tick: &TickObservation) -> Assessment {
        Assessment::default()
    }
}
