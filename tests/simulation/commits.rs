//! What must hold at every commit.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::judge::{Advice, JudgeState, Verdict};
use serin::core::metric::{Counts, NoData, Reading, TickObservation};
use serin::core::policy::{AtMax, Mode};
use serin::core::reason::ReasonCode;
use serin::core::rollout::{CommandKind, EventKind, Hold, Phase, Rollout};
use serin::core::split::{Role, Split, Weight};
use serin::core::target::Target;
use serin::ports::{Commit, Outgoing};

use crate::invariants::{Before, MARK, RolloutLedger, violated, wanted_weights};
use crate::observations::observation;
use crate::world::World;

/// Checks a commit that the store has just taken, and takes it into the ledger.
pub fn committed(world: &mut World, before: &Before, commit: &Commit) {
    if let (Some(target), Some(now)) = (&before.target, &commit.target) {
        target_moves(world, before, commit, target, now);
        let weights = wanted_weights(world, now, &now.wanted);
        let ledger = world.ledger.target(&now.name);
        if now.generation != target.generation {
            ledger.ahead_since = None;
            if now.wanted == Split::STABLE {
                // Nobody needs to hear any more that it was lowered.
                ledger.lowered_unheard = false;
            }
        }
        ledger.committed.insert(now.generation, weights);
    }
    commands(world, before, commit);
    notices(world, before, commit);
    only_its_own(world, before, commit);
    if let (Some(rollout), Some(now)) = (&before.rollout, &commit.rollout) {
        log(world, rollout, now, commit);
        if let Some((tick, assessment)) = &commit.observation {
            observation(world, before, commit, tick, assessment);
        }
        phase(world, before, commit, rollout, now);
    }
}

/// Whether the source has said anything of a metric; no answer in time is none.
fn shows_something(tick: &TickObservation) -> bool {
    let is_answer = |reading: &Reading<Counts>| !matches!(reading, Err(NoData::Timeout | NoData::Refused(_)));
    tick.metrics.iter().any(|metric| is_answer(&metric.canary) || is_answer(&metric.baseline))
}

/// A commit carries what is of its own target and rollout, and nothing else.
fn only_its_own(world: &mut World, before: &Before, commit: &Commit) {
    let target = commit.target.as_ref().map(|target| target.name.clone());
    let of_rollout = commit.rollout.as_ref().map(|rollout| rollout.target.clone());
    if let (Some(target), Some(of)) = (&target, &of_rollout)
        && target != of
    {
        violated(world, format!("a commit of {target} has a rollout of {of}"));
    }
    let Some(own) = target.or(of_rollout) else { return };
    for of in &before.commanded {
        if *of != own {
            violated(world, format!("a commit of {own} answers a command for {of}"));
        }
    }
    if let Some(active) = commit.target.as_ref().and_then(|target| target.active.as_ref())
        && before.active_of.as_ref().is_some_and(|of| *of != own)
    {
        violated(world, format!("{own} is had by {active}, which is another target's"));
    }
    if commit.observation.as_ref().is_some_and(|(tick, _)| shows_something(tick)) {
        world.ledger.target(&own).looked = world.now;
    }
    if let Some(rollout) = &commit.rollout
        && commit.target.as_ref().is_some_and(|target| target.active.as_ref() == Some(&rollout.id))
    {
        let mark = rollout.spec.as_ref().and_then(|spec| spec.labels.get(MARK).cloned());
        world.ledger.target(&own).began = mark;
    } else if commit.target.as_ref().is_some_and(|target| target.active.is_none()) {
        world.ledger.target(&own).began = None;
    }
}

/// What persons have said in this commit.
fn said(before: &Before, commit: &Commit) -> Vec<CommandKind> {
    let carried_out = |key: &String| commit.commands.iter().any(|(k, result)| k == key && result.is_ok());
    let asked = commit
        .asked
        .iter()
        .filter(|asked| !before.commands.iter().any(|known| known.command.key == asked.command.key));
    before
        .commands
        .iter()
        .chain(asked)
        .filter(|entry| carried_out(&entry.command.key))
        .map(|entry| entry.command.kind.clone())
        .collect()
}

fn has(commit: &Commit, kind: EventKind) -> bool {
    commit.events.iter().any(|event| event.kind == kind)
}

/// What is remembered of a rollout.
pub fn ledger<'w>(world: &'w mut World, rollout: &Rollout) -> &'w mut RolloutLedger {
    let now = world.now;
    world.ledger.rollouts.entry(rollout.id.clone()).or_insert_with(|| RolloutLedger {
        judge: JudgeState::new(&rollout.policy),
        windows: BTreeMap::new(),
        analysed: Duration::ZERO,
        since: now,
        opened: 0,
    })
}

// -------------------------------------------------------------------------------------------- the target

fn target_moves(world: &mut World, before: &Before, commit: &Commit, was: &Target, now: &Target) {
    let name = &now.name;
    if now.generation < was.generation {
        violated(world, format!("the generation of {name} goes back to {}", now.generation));
    }
    let changed = wanted_weights(world, was, &was.wanted) != wanted_weights(world, now, &now.wanted);
    if (changed || was.swapped != now.swapped) && now.generation == was.generation {
        violated(world, format!("{name} has another split in the same generation {}", now.generation));
    }
    let observes = commit.rollout.as_ref().is_some_and(|r| r.policy.mode == Mode::Observe);
    if changed && observes {
        violated(world, format!("observe mode has moved traffic of {name}"));
    }
    if was.active != now.active {
        let ends = commit.rollout.as_ref().filter(|r| was.active.as_ref() == Some(&r.id));
        match (&was.active, &now.active) {
            (Some(_), None) if ends.is_some_and(|r| r.phase.is_terminal()) => {}
            (None, Some(id)) if commit.rollout.as_ref().is_some_and(|r| r.id == *id) => {}
            (from, to) => {
                violated(world, format!("invariant 6: {name} goes from {from:?} to {to:?}"));
            }
        }
    }
    let occupying: Vec<_> = before.open.iter().filter(|(_, phase)| *phase != "scheduled").collect();
    if occupying.len() > 1 {
        violated(world, format!("invariant 6: {name} has two active rollouts: {occupying:?}"));
    }
    exposure(world, before, commit, was, now);
}

/// The canary's exposure rises only by a recorded decision or by a person.
fn exposure(world: &mut World, before: &Before, commit: &Commit, was: &Target, now: &Target) {
    let spec = world.services.get(&now.name).map(|service| service.spec.clone());
    let Some(canary) = spec.and_then(|spec| spec.pool(Role::Canary, was.swapped).cloned()) else { return };
    let weight = |world: &World, target: &Target| {
        wanted_weights(world, target, &target.wanted).get(&canary.backend).copied().unwrap_or(0)
    };
    let (from, to) = (weight(world, was), weight(world, now));
    if to <= from {
        return;
    }
    let what = format!("the canary of {} goes from {from} to {to}", now.name);
    let (Some(rollout), Some(after)) = (&before.rollout, &commit.rollout) else {
        return violated(world, format!("invariant 1: {what} without a rollout"));
    };
    let said = said(before, commit);
    let by_person = said.iter().any(|kind| matches!(kind, CommandKind::Resume | CommandKind::Promote));
    if matches!(rollout.phase, Phase::RollingBack { .. }) || rollout.phase.is_terminal() {
        return violated(world, format!("invariant 2: {what} after {}", rollout.phase.name()));
    }
    if !(has(commit, EventKind::StepEntered) || has(commit, EventKind::Succeeded)) {
        violated(world, format!("invariant 1: {what} without a line in the log"));
    }
    let step = match after.phase {
        Phase::Progressing { step, .. } => step,
        _ => after.policy.steps.len() - 1,
    };
    let planned = after.policy.steps.get(step).map_or(0, |step| step.weight.0);
    if to != planned {
        violated(world, format!("invariant 1: {what}; step {step} has {planned}"));
    }
    let opened = ledger(world, rollout).opened;
    if !by_person && (step > opened || !rollout.holds.is_empty()) {
        violated(world, format!("invariant 1: {what}; opened is step {opened}, held by {:?}", rollout.holds));
    }
}

// ------------------------------------------------------------------------------------ commands and notices

fn commands(world: &mut World, before: &Before, commit: &Commit) {
    for (key, result) in &commit.commands {
        if !world.ledger.taken.insert(key.clone()) {
            violated(world, format!("the command {key} was taken twice"));
        }
        // One from memory comes into the inbox with its commit.
        let mut known = before.commands.iter().chain(&commit.asked);
        let Some(entry) = known.find(|entry| entry.command.key == *key) else {
            violated(world, format!("the command {key} was never asked for"));
            continue;
        };
        if matches!(result, Err(why) if why.is_empty()) {
            violated(world, format!("invariant 11: the command {key} was refused without a reason"));
        }
        let (Some(expected), Some(rollout)) = (entry.command.expected_revision, &before.rollout) else {
            continue;
        };
        if result.is_ok() && expected != crate::drive::revision_for_people(rollout) {
            violated(world, format!("the command {key} was carried out though it saw an older state"));
        }
    }
    let person = said(before, commit).iter().any(|kind| !matches!(kind, CommandKind::Pause));
    if let Some(target) = commit.target.as_ref().filter(|_| person) {
        world.ledger.target(&target.name).lowered = None;
    }
}

fn notices(world: &mut World, before: &Before, commit: &Commit) {
    for Outgoing { queue: channel, notice, .. } in &commit.outbox {
        let rollout = commit.rollout.as_ref();
        // What is found at a router is no rollout's.
        let target = commit.target.as_ref().filter(|_| rollout.is_none());
        let is_found =
            target.is_some_and(|target| notice.key.starts_with(&format!("{}/found/", target.name)));
        let seq = notice.key.rsplit_once('/').and_then(|(id, seq)| {
            let known = rollout.is_some_and(|rollout| rollout.id.0 == id);
            seq.parse::<u64>().ok().filter(|_| known)
        });
        // Nor is what an earlier one has opened, and what becomes of it later.
        let was = before.target.as_ref().and_then(|target| target.incident.as_ref());
        let is = target.and_then(|target| target.incident.as_ref());
        let mut incidents = was.into_iter().chain(is);
        let is_old = target.is_some() && incidents.any(|i| notice.key.starts_with(&format!("{}/", i.key)));
        if !is_found && !is_old && !seq.is_some_and(|seq| commit.events.iter().any(|event| event.seq == seq))
        {
            violated(world, format!("the notice {} names no event of its commit", notice.key));
        }
        if notice.sentence.trim().is_empty() {
            violated(world, format!("invariant 11: the notice {} says nothing", notice.key));
        }
        world.ledger.outbox.entry(channel.clone()).or_default().push(notice.clone());
    }
}

fn log(world: &mut World, was: &Rollout, now: &Rollout, commit: &Commit) {
    let id = &now.id;
    let numbers: Vec<u64> = commit.events.iter().map(|event| event.seq).collect();
    if numbers != (was.event_seq + 1..=now.event_seq).collect::<Vec<_>>() {
        violated(world, format!("the log of {id} goes on from {} by {numbers:?}", was.event_seq));
    }
    for event in &commit.events {
        world.tell(format!("{id}: {:?}: {}", event.kind, event.sentence));
        let figures = event.sentence.contains(|c: char| c.is_ascii_digit());
        let must = matches!(event.kind, EventKind::StepEntered | EventKind::Promoted | EventKind::Advanced);
        if event.sentence.trim().is_empty() || (must && !figures) {
            violated(world, format!("invariant 11: {id}: {:?} says {:?}", event.kind, event.sentence));
        }
    }
    let place = |rollout: &Rollout| (rollout.phase.name(), rollout.phase.step());
    if place(was) != place(now) && commit.events.is_empty() {
        violated(
            world,
            format!("invariant 11: {id} goes from {:?} to {:?} in silence", place(was), place(now)),
        );
    }
}

// ----------------------------------------------------------------------------------------------- the phase

fn phase(world: &mut World, before: &Before, commit: &Commit, was: &Rollout, now: &Rollout) {
    let id = now.id.clone();
    if was.phase.is_terminal() && was.phase != now.phase {
        violated(world, format!("{id} goes on after {}: {}", was.phase.name(), now.phase.name()));
    }
    if has(commit, EventKind::StepEntered) || has(commit, EventKind::BakeStarted) {
        let now_ms = world.now;
        let ledger = ledger(world, was);
        ledger.analysed = Duration::ZERO;
        ledger.since = now_ms;
    }
    let act = now.policy.mode == Mode::Act;
    match (&was.phase, &now.phase) {
        (Phase::RollingBack { .. }, Phase::RollingBack { .. }) => {}
        (from, Phase::RollingBack { reason, .. }) => {
            let zero = commit.target.as_ref().is_some_and(|target| target.wanted == Split::STABLE);
            if !zero || !has(commit, EventKind::RollbackStarted) {
                violated(world, format!("invariant 2: {id} goes back without weight 0 in the same commit"));
            }
            let figures = reason.sentence.contains(|c: char| c.is_ascii_digit());
            let needed = matches!(
                reason.code,
                ReasonCode::Harm | ReasonCode::Catastrophe | ReasonCode::Guardrail | ReasonCode::BothBroke
            );
            if reason.sentence.trim().is_empty() || (needed && !figures) {
                violated(world, format!("invariant 11: {id} goes back because {:?}", reason.sentence));
            }
            if !act || from.is_terminal() {
                violated(world, format!("{id} goes back from {}", from.name()));
            }
        }
        (Phase::RollingBack { .. }, to) if !to.is_terminal() => {
            violated(world, format!("invariant 2: {id} leaves the way back for {}", to.name()));
        }
        (from, Phase::Preparing { step }) if !matches!(from, Phase::Preparing { step: s } if s == step) => {
            decision(world, before, commit, was, now, *step);
        }
        _ => {}
    }
    if now.phase.is_terminal() && !was.phase.is_terminal() {
        ended(world, before, commit, was, now);
    }
}

/// The way to `step` was opened: by evidence over enough analysed time, by the policy, or by a person.
fn decision(world: &mut World, before: &Before, commit: &Commit, was: &Rollout, now: &Rollout, step: usize) {
    let id = now.id.clone();
    let analysed = ledger(world, was).analysed;
    ledger(world, was).opened = step;
    let said = said(before, commit);
    if said.iter().any(|kind| matches!(kind, CommandKind::Advance | CommandKind::Promote)) {
        return;
    }
    let observed = commit.observation.as_ref();
    if let Phase::Preflight = was.phase {
        let seen = observed.is_some_and(|(tick, _)| tick.metrics.iter().all(|m| m.baseline.is_ok()));
        if step != 0 || !seen {
            violated(world, format!("invariant 1: {id} begins at step {step}, baseline seen: {seen}"));
        }
        return;
    }
    let plan = step.checked_sub(1).and_then(|left| now.policy.steps.get(left));
    let Some(plan) = plan.filter(|_| was.phase.step() == Some(step - 1)) else {
        return violated(world, format!("invariant 1: {id} goes from {:?} to step {step}", was.phase));
    };
    let proven = observed.is_some_and(|(_, assessment)| {
        assessment.advice == Advice::Advance
            && !assessment.metrics.is_empty()
            && assessment.metrics.iter().all(|metric| metric.verdict == Verdict::NotWorse)
    });
    let unproven = plan.at_max == AtMax::PromoteUnproven && plan.max.is_some_and(|max| analysed >= max);
    if !proven && !unproven {
        violated(world, format!("invariant 1: {id} goes to step {step} without evidence"));
    }
    if analysed < plan.min {
        let min = plan.min;
        violated(world, format!("invariant 5: {id} goes to step {step} after {analysed:?} of {min:?}"));
    }
    let personal = [Hold::User, Hold::Drift].iter().any(|hold| was.holds.contains(hold));
    if personal || !now.holds.is_empty() {
        violated(world, format!("{id} goes to step {step} though held by {:?}", was.holds));
    }
}

fn ended(world: &mut World, before: &Before, commit: &Commit, was: &Rollout, now: &Rollout) {
    let id = now.id.clone();
    let Some(target) = &commit.target else {
        if was.phase != Phase::Scheduled {
            violated(world, format!("{id} ends without its target"));
        }
        return;
    };
    world.ledger.target(&target.name).lowered = None;
    if now.ended_at.is_none() || !now.holds.is_empty() {
        violated(world, format!("{id} ends without a time, or held"));
    }
    if was.phase == Phase::Scheduled || now.policy.mode == Mode::Observe {
        return;
    }
    if target.wanted != Split::STABLE {
        violated(world, format!("invariant 8: {id} ends as {} at {}", now.phase.name(), target.wanted));
    }
    if matches!(now.phase, Phase::Failed { .. }) {
        return;
    }
    if !target.is_seen() {
        violated(world, format!("invariant 8: {id} ends as {} unseen", now.phase.name()));
    }
    let wanted = wanted_weights(world, target, &target.wanted);
    let Some(service) = world.services.get(&target.name) else { return };
    let wrong = service
        .proxies
        .iter()
        .find(|(_, proxy)| proxy.connected && !proxy.tampered && proxy.in_force != wanted)
        .map(|(id, proxy)| format!("{id} has {:?}", proxy.in_force));
    if let Some(wrong) = wrong {
        violated(world, format!("invariant 8: {id} ends as {}, but {wrong}", now.phase.name()));
    }
    if now.phase == Phase::Succeeded {
        let swapped = before.target.as_ref().is_some_and(|before| before.swapped != target.swapped);
        let full = before.target.as_ref().is_some_and(|before| before.wanted.canary == Weight::FULL);
        if !swapped || target.stable_version.as_ref() != Some(&now.version) {
            violated(world, format!("invariant 8: {id} succeeds and its version is not stable"));
        }
        let by_person = !said(before, commit).is_empty();
        let true_time = Duration::from_millis((world.now - ledger(world, was).since).unsigned_abs());
        let watched = ledger(world, was).analysed.max(true_time);
        if !by_person && (watched < now.policy.bake.duration || !full) {
            violated(world, format!("{id} succeeds after a bake of {watched:?}"));
        }
    }
}
