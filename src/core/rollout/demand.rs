//! At 100% a service without requests may be one that nobody asks, or one that nobody can reach. Which of
//! them it is says the router: it counts the requests that it had nowhere to send.

use std::time::Duration;

use super::change::Change;
use super::{Ending, Phase, State};
use crate::core::policy::Mode;
use crate::core::pools::ObservedSplit;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::{Role, Weight};
use crate::core::words::duration;

/// At least so many in [`WINDOW`], and half of all.
const LEAST: f64 = 20.0;
const WINDOW: Duration = Duration::from_secs(30);

/// Rolls back what the router proves to be out of reach.
pub(super) fn take(change: &mut Change, observed: &ObservedSplit) {
    if let Some(sentence) = proven(&change.state, observed) {
        change.roll_back(Reason::new(ReasonCode::Unroutable, sentence), Ending::RolledBack, None);
    }
}

/// At 100%: at least half of the requests, and 20 in 30 s, were answered by the router as it had nowhere to
/// send them, and stable has a server up.
fn proven(state: &State, observed: &ObservedSplit) -> Option<String> {
    let at_full = matches!(state.rollout.phase, Phase::Finalizing | Phase::Baking)
        && state.rollout.policy.mode == Mode::Act
        && state.target.wanted.canary == Weight::FULL
        && state.target.is_seen();
    let front = observed.front.as_ref().filter(|_| at_full)?;
    let stable = observed.pools.get(&Role::Stable).filter(|pool| pool.up > 0)?;
    // Figures of a longer time need as many for each 30 s of it.
    let needed = LEAST * (front.over.as_secs_f64() / WINDOW.as_secs_f64()).max(1.0);
    if (front.unanswerable as f64) < needed || front.unanswerable.saturating_mul(2) < front.requests {
        return None;
    }
    Some(format!(
        "{} of {} requests in {} had nowhere to go: {}. Stable has {} of {} servers up.",
        front.unanswerable,
        front.requests,
        duration(front.over),
        front.how,
        stable.up,
        stable.servers
    ))
}
