//! Evidence of all metrics → verdicts → what the figures ask for, with reasons.
//!
//! [`JudgeState`] is a fold over [`TickObservation`](crate::core::metric::TickObservation)s: all it knows
//! comes from the policy and the ticks, so the same ticks give the same assessments bit for bit, from
//! wherever the state was stored.

mod assessment;
mod blocks;
mod carry;
mod combined;
mod comparison;
mod evidence;
mod explain;
mod fewer;
mod gauge;
mod guardrail;
mod harm;
mod history;
mod interval;
mod lane;
mod latency;
mod method;
mod reasons;
mod state;
mod strata;
mod stream;
mod tempered;
#[cfg(test)]
mod tests_support;
mod trailing;
pub(in crate::core) mod watch;
mod weighed;

pub use assessment::{
    Advice, Assessment, BlockAssessment, GuardrailAssessment, GuardrailStatus, MetricAssessment, Verdict,
};
pub use history::{BoundHistory, DispersionSource, History, MetricHistory, Recorded, RecordedWindow};
pub use method::{METHOD, METHOD_UNNAMED, NEXT_METHOD};
pub use state::JudgeState;
pub use stream::{Decision, Stream};
