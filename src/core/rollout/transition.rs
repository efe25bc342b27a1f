//! The one function that decides. It dispatches on the event; what each event does stands in `tick`,
//! `observed` and `commands`; the moves that they share in `change`.

use super::change::Change;
use super::{Event, Illegal, Outcome, Phase, State, commands, history, observed, tick};
use crate::core::policy::Severity;
use crate::core::rollout::{EventKind, NoticeKind};
use crate::core::target::{Proxies, Weight};
use crate::core::time::Timestamp;

/// Takes one event. `now` is for records only; measured time is in the events.
///
/// # Errors
/// [`Illegal`] if the event means nothing in this state; the state stays as it was.
pub fn transition(state: &State, event: Event, now: Timestamp) -> Result<Outcome, Illegal> {
    let mut change = Change::new(state.clone(), now);
    let illegal = Illegal::Phase { phase: state.rollout.phase.name(), event: event.name() };
    match event {
        Event::Begin if state.rollout.phase == Phase::Scheduled && state.target.active.is_none() => {
            begin(&mut change);
        }
        Event::History(found) if history::is_due(&state.rollout) => history::take(&mut change, found),
        Event::Tick(looked) if has_ticks(&state.rollout.phase) => tick::take(&mut change, looked)?,
        Event::Observed { split, elapsed } => observed::take(&mut change, &split, elapsed),
        Event::WorkloadReady => workload_ready(&mut change).ok_or(illegal)?,
        Event::Command(command) => commands::take(&mut change, &command)?,
        _ => return Err(illegal),
    }
    Ok(change.finish())
}

/// Ended and scheduled rollouts are not looked at.
fn has_ticks(phase: &Phase) -> bool {
    !phase.is_terminal() && *phase != Phase::Scheduled
}

fn begin(change: &mut Change) {
    let id = change.state.rollout.id.clone();
    change.state.target.active = Some(id);
    change.set_phase(Phase::Preflight);
    change.record(EventKind::Started, None, "The target is free: the rollout begins.".into());
}

/// The workload is ready for the exposure (preparing) or the new version is stable (finalizing). Held
/// rollouts stay where they are: the event comes again.
fn workload_ready(change: &mut Change) -> Option<()> {
    match change.state.rollout.phase {
        Phase::Preparing { step } => {
            if change.state.rollout.holds.is_empty() {
                change.enter_step(step);
            }
            Some(())
        }
        Phase::Finalizing => {
            let target = &change.state.target;
            if target.wanted.canary == Weight::FULL && target.in_force(Proxies::Reachable) {
                change.set_phase(Phase::Baking);
                let rollout = &change.state.rollout;
                let sentence = format!(
                    "{} has all traffic and is watched for {} more; there is no baseline left, so only {} \
                     act now.",
                    rollout.version,
                    super::change::time(rollout.policy.bake.duration),
                    match rollout.policy.bake.limits.len() {
                        0 => "the policy's guardrails".to_owned(),
                        1 => "the policy's guardrails and its absolute limit".to_owned(),
                        limits => format!("the policy's guardrails and its {limits} absolute limits"),
                    }
                );
                change.record(EventKind::BakeStarted, None, sentence.clone());
                change.notify(NoticeKind::Promoted, Severity::Low, sentence);
            }
            Some(())
        }
        _ => None,
    }
}
