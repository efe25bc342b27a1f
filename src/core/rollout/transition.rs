//! The one function that decides.

use super::{Event, Illegal, Outcome, State};
use crate::core::time::Timestamp;

/// Takes one event.
///
/// # Errors
/// [`Illegal`] if the event means nothing in this state; the state stays as it was.
pub fn transition(state: &State, event: Event, now: Timestamp) -> Result<Outcome, Illegal> {
    let _ = (event, now);
    Ok(Outcome { state: state.clone(), actions: Vec::new() })
}
