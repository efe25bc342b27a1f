//! The one function that decides. It dispatches on the event; what each event does stands in `tick`,
//! `observed` and `commands`; the moves that they share in `change`.

use super::change::Change;
use super::{
    CommandKind, Event, Hold, Illegal, Outcome, Phase, PhaseName, State, alerts, away, commands, door, gates,
    history, hooks, observed, tick,
};
use std::time::Duration;

use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::rollout::EventKind;
use crate::core::split::Weight;
use crate::core::target::Proxies;
use crate::core::time::Timestamp;
use crate::core::words::duration;

/// Takes one event. `now` is for records only; measured time is in the events. Who needs the state that was
/// before keeps a copy.
///
/// # Errors
/// [`Illegal`] if the event means nothing in this state.
pub fn transition(state: State, event: Event, now: Timestamp) -> Result<Outcome, Illegal> {
    let illegal = Illegal::Phase { phase: state.rollout.phase.name(), event: event.name() };
    let is_due = history::is_due(&state.rollout);
    let (has_ticks, has_gates) = (has_ticks(&state.rollout.phase), has_gates(&state.rollout.phase));
    let mut change = Change::new(state, now);
    match event {
        Event::Begin if may_begin(&change.state, now) => {
            begin(&mut change);
        }
        Event::History(found) if is_due => history::take(&mut change, found),
        Event::Tick(looked) if has_ticks => tick::take(&mut change, looked)?,
        Event::Observed { split, elapsed } => observed::take(&mut change, &split, elapsed),
        Event::WorkloadReady => workload_ready(&mut change).ok_or(illegal)?,
        Event::Command(command) => match &command.kind {
            CommandKind::Alerts { alerts } => alerts::take(&mut change, &command.by, alerts)?,
            CommandKind::HookFailed { sentence, .. } => hooks::failed(&mut change, sentence)?,
            _ => commands::take(&mut change, &command)?,
        },
        Event::Announce(lead) => announce(&mut change, lead).ok_or(illegal)?,
        Event::Freeze(why) if has_ticks => freeze(&mut change, why),
        Event::Away { since, gap } if has_ticks => away::take(&mut change, since, gap),
        Event::StillOwed { reason, ending } if has_gates => change.roll_back(reason, ending, None),
        Event::GateBegun { gate } if has_gates => gates::begun(&mut change, &gate)?,
        Event::Gate { gate, answer } if has_gates => {
            gates::answer(&mut change, &gate, answer)?;
        }
        _ => return Err(illegal),
    }
    Ok(change.finish())
}

/// Ended and scheduled rollouts are not looked at.
fn has_ticks(phase: &Phase) -> bool {
    !phase.is_terminal() && *phase != Phase::Scheduled
}

/// On the way back nothing is asked any more.
fn has_gates(phase: &Phase) -> bool {
    has_ticks(phase) && !PhaseName::from(phase).is_way_back()
}

fn may_begin(state: &State, now: Timestamp) -> bool {
    state.rollout.phase == Phase::Scheduled
        && state.target.active.is_none()
        && state.rollout.not_before.is_none_or(|not_before| now >= not_before)
}

/// Tells that it will begin, once for each time before.
fn announce(change: &mut Change, lead: Duration) -> Option<()> {
    let rollout = &mut change.state.rollout;
    let begins_at = rollout.not_before.filter(|_| rollout.phase == Phase::Scheduled)?;
    if rollout.announced.contains(&lead) {
        return None;
    }
    // Those that were missed are not made up for.
    let passed = rollout.plan.policy.announce.iter().copied().filter(|other| *other >= lead);
    rollout.announced.extend(passed);
    let minutes = begins_at.since(change.now).as_secs().div_ceil(60).max(1);
    let left = Duration::from_secs(minutes * 60);
    let sentence = format!(
        "In {}, at {begins_at}, {} will be released on {} under policy {}.",
        duration(left),
        rollout.version,
        rollout.target,
        rollout.policy.name
    );
    change.record(EventKind::Announced, None, sentence.clone());
    change.notify(NoticeKind::Announced, Severity::Low, sentence);
    Some(())
}

/// A freeze stops advancing, never a way back.
fn freeze(change: &mut Change, why: Option<String>) {
    match why {
        Some(why) if !PhaseName::from(&change.state.rollout.phase).is_way_back() => {
            change.hold(Hold::Freeze, None, Severity::Medium, why);
        }
        _ => change.unhold(Hold::Freeze, "the freeze is over."),
    }
}

fn begin(change: &mut Change) {
    let id = change.state.rollout.id.clone();
    change.state.target.active = Some(id);
    change.set_phase(Phase::Preflight);
    change.record(EventKind::Started, None, "The target is free: the rollout begins.".into());
}

/// The workload is ready for the exposure (preparing) or the new version is stable (finalizing). Held
/// rollouts stay where they are, also those whose gates do not say yes any more: the event comes again.
fn workload_ready(change: &mut Change) -> Option<()> {
    match change.state.rollout.phase {
        Phase::Preparing { step } => {
            if let Some(passage) = door::prepared(change, step) {
                change.enter_step(passage);
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
                    duration(rollout.policy.bake.duration),
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
