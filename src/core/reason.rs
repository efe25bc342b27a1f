//! Why something was decided.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// Why something was decided, in a sentence with its figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stable code.
    pub code: ReasonCode,
    /// The sentence.
    pub sentence: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: ReasonCode, sentence: impl Into<String>) -> Reason {
        Reason { code, sentence: sentence.into() }
    }
}

/// Kinds of reasons.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ReasonCode {
    /// The tests found the canary worse.
    Harm,
    /// The catastrophe lane found it much worse.
    Catastrophe,
    /// A guardrail fired.
    Guardrail,
    /// Both arms were healthy before the step and broke after it.
    BothBroke,
    /// Both arms are bad, and it is not the canary's doing.
    BothBad,
    /// The canary's own data is missing.
    Silent,
    /// There is no data.
    Blind,
    /// The step's maximum has passed without proof.
    Undecided,
    /// The tests found it not worse.
    NotWorse,
    /// A person said so.
    Command,
    /// A newer rollout takes over.
    Superseded,
    /// It could not begin.
    Preflight,
    /// The router could not be brought to the split.
    Router,
    /// A gate has said no, or not yes in time.
    Gate,
    /// An alert of another system says so.
    Alert,
    /// The canary gets far more of the requests than was set.
    TrafficShare,
    /// The canary goes on restarting.
    Restarts,
    /// The router had nowhere to send the requests.
    Unroutable,
}

impl ReasonCode {
    /// All of them.
    pub const ALL: &'static [ReasonCode] = <ReasonCode as VariantArray>::VARIANTS;

    /// The stable name, as in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
