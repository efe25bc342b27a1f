//! The words of the core's enumerations, for the description of the API. The core itself knows nothing of
//! that description; a test keeps both the same.

// They are only described, never made.
#![allow(dead_code, missing_docs)]

use utoipa::ToSchema;

macro_rules! words {
    ($($name:ident { $($word:ident),* $(,)? })*) => {
        $(
            #[derive(serde::Deserialize, ToSchema)]
            #[serde(rename_all = "snake_case")]
            pub enum $name { $($word),* }
        )*

        #[cfg(test)]
        mod tests {
            use crate::core::{judge::*, limit::*, policy::*, reason::*, rollout::*};

            #[test]
            fn every_word_is_one_of_the_core() {
                $(
                    let mut all: Vec<String> = Vec::new();
                    $(
                        let word = serde_json::to_value($name::$word).unwrap();
                        all.push(word.as_str().unwrap().to_owned());
                    )*
                    let schema = <super::$name as utoipa::PartialSchema>::schema();
                    let schema = serde_json::to_value(schema).unwrap();
                    assert_eq!(schema["enum"], serde_json::json!(all), "{}", stringify!($name));
                    // A word that the core has and this list has not would make this match not complete.
                    let _ = |word: $name| match word { $($name::$word => {}),* };
                )*
            }
        }
    };
}

words! {
    Mode { Act, Observe }
    RolloutKind { Release, Revert }
    Hold { User, Drift, Blind, Window, Gate, Plan, BothBad, Guardrail, Freeze, NoReturn, Alert, NoTraffic, TrafficShare, Restarts, StableSmall, NotReady }
    Witness { Router, Metrics }
    ReasonCode {
        Harm, Catastrophe, Guardrail, BothBroke, BothBad, Silent, Blind, Undecided, NotWorse, Command, Superseded,
        Preflight, Router, Gate, Alert, TrafficShare, Restarts, Unroutable,
    }
    EventKind {
        Created, Started, HistoryTaken, Advanced, StepEntered, SplitSeen, HoldAdded, HoldRemoved, Alert, WouldHave,
        Command, CommandRefused, Promoted, BakeStarted, RollbackStarted, Unconfirmed, Succeeded, RolledBack,
        Cancelled, Failed, Announced, GateDue, GateBegun, GateOpened, GateRefused, Approved, Verified,
        Away,
    }
    AtMax { Hold, RollBack, PromoteUnproven }
    LimitOutcome { Hold, RollBack }
    Direction { LowerIsBetter, HigherIsBetter }
    Breach { Above, Below }
    Severity { Low, Medium, High, Critical }
    GuardrailAction { Alert, Hold, RollBack }
    GuardrailStatus { NoData, Clear, Breaching, Fired, BothBreach }
    Verdict { Worse, NotWorse, Undecided, NoData }
    Advice { Hold, Advance, RollBack }
}
