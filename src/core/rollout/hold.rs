//! What keeps a rollout where it is.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::core::time::Timestamp;

/// Why a rollout does not advance.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Hold {
    /// A person paused it.
    User,
    /// Somebody changed the weights.
    Drift,
    /// There is no data.
    Blind,
    /// Outside the deployment window.
    Window,
    /// A gate has not said yes.
    Gate,
    /// The step has lasted its maximum and the plan says to wait.
    Plan,
    /// Both arms are bad.
    BothBad,
    /// A guardrail says to hold.
    Guardrail,
    /// Nothing may advance.
    Freeze,
    /// It is past the point of no return, and would be rolled back if it were not.
    NoReturn,
    /// An alert fires that had fired before the canary got traffic.
    Alert,
    /// At 100% no request is seen, where the last step had many.
    NoTraffic,
    /// The canary does not get the share of the requests that was set.
    TrafficShare,
    /// All of the canary's processes were replaced again and again.
    Restarts,
    /// Too few servers of stable are up for a rollback.
    StableSmall,
    /// Too few of the canary's instances are ready.
    NotReady,
}

impl Hold {
    /// All of them.
    pub const ALL: &'static [Hold] = <Hold as VariantArray>::VARIANTS;

    /// The stable name, as in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What is known of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub hold: Hold,
    /// Who, where a person did it.
    pub by: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}
