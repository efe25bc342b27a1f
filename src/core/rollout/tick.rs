//! One look at the metrics: mark the windows, judge them, and decide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::change::Change;
use super::door::{self, in_force, is_free, ready};
use super::sight::Seen;
use super::{
    Action, Ending, Hold, Illegal, Phase, Rollout, Stage, Tick, clocking, data, gates, missing, observed,
    preflight, restarts, servers, share, staged, verify,
};
use crate::core::gate::Occasion;
use crate::core::judge::watch::SHARE;
use crate::core::judge::{Advice, Assessment, GuardrailAssessment, GuardrailStatus};
use crate::core::limit::Severity;
use crate::core::metric::{Counts, MetricObservation, Notes, TickObservation, Usage, Window};
use crate::core::notice::NoticeKind;
use crate::core::policy::{AtMax, GuardrailAction, Mode, Step};
use crate::core::reason::{Reason, ReasonCode};
use crate::core::source::{Exposure, MetricSource};
use crate::core::split::{Split, Weight};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::core::words::duration;

/// Steps of this minimum and longer tell their progress.
const LONG_STEP: Duration = Duration::from_secs(600);

/// Takes in one look.
pub(super) fn take(change: &mut Change, looked: Tick) -> Result<(), Illegal> {
    fits(&change.state.rollout, &looked)?;
    let elapsed = looked.elapsed;
    let (mut tick, notes) = mark(change, looked);
    restarts::take(change, &mut tick, &notes);
    missing::note(change, &tick, &notes, elapsed);
    ready::hear_metrics(change, &notes, elapsed);
    let judge = Arc::make_mut(&mut change.state.judge);
    let assessment = judge.observe(&change.state.rollout.policy, &tick);
    let seen = Seen::of(&tick, &change.state.target, change.state.rollout.data.share.noise);
    clocking::count(change, &assessment, &seen, elapsed);
    share::measure_noise(change, &tick);
    let before = change.state.rollout.last.replace(assessment.clone());
    change.act(Action::Observe(tick.clone()));
    match change.state.rollout.phase {
        Phase::Preflight => {
            gates::wait(change, elapsed);
            // A deadline may have ended it.
            if change.state.rollout.phase == Phase::Preflight {
                preflight::take(change, &tick, &assessment, elapsed);
            }
        }
        Phase::RollingBack { .. } => {
            staged::go_on(change);
            observed::finish_way_back(change);
        }
        Phase::Verifying { .. } => verify::take(change, &tick, &assessment, elapsed),
        _ => {
            if !servers::ticked(change, &tick, &notes, elapsed) && !must_go_back(change, &assessment) {
                missing::watch(change, &tick, &seen, elapsed);
                guardrail_holds(change, &assessment, before.as_ref());
                share::take(change, &tick, elapsed);
                if matches!(change.state.rollout.phase, Phase::RollingBack { .. }) || is_over(change) {
                    return Ok(());
                }
                gates::wait(change, elapsed);
                go_on(change, &assessment);
            }
        }
    }
    Ok(())
}

fn fits(rollout: &Rollout, looked: &Tick) -> Result<(), Illegal> {
    let names = |tick: &Tick| tick.metrics.iter().map(|m| m.metric.clone()).collect::<Vec<_>>();
    let wanted: Vec<String> = rollout.policy.metrics.iter().map(|m| m.name.clone()).collect();
    if names(looked) == wanted {
        Ok(())
    } else {
        Err(Illegal::Observations(format!("metrics {:?} instead of {wanted:?}", names(looked))))
    }
}

/// Makes the stored form: the step, the weight in force, and whether each window is used.
fn mark(change: &mut Change, looked: Tick) -> (TickObservation, BTreeMap<String, Notes>) {
    change.state.rollout.tick_seq += 1;
    let rollout = &change.state.rollout;
    let target = &change.state.target;
    let step = match rollout.phase {
        Phase::Preparing { step } => step.saturating_sub(1),
        Phase::Progressing { step, .. } => step,
        Phase::Finalizing | Phase::Baking => rollout.policy.steps.len() - 1,
        _ => 0,
    };
    let mut metrics = looked.metrics;
    let mut first_ends = rollout.first_ends.clone();
    for (metric, policy) in metrics.iter_mut().zip(&rollout.policy.metrics) {
        if metric.usage != Usage::Pending {
            let first_end = first_ends.get(&metric.metric).copied();
            metric.usage = usage(rollout, target, metric.window, first_end, change.now);
            if let Some(window) = metric.window {
                first_ends.entry(metric.metric.clone()).or_insert(window.end);
            }
        }
        if matches!(policy.source, MetricSource::Rate { per: Exposure::Share, .. }) {
            share_exposure(metric, target.wanted);
        }
    }
    let mut tick = TickObservation {
        seq: rollout.tick_seq,
        at: change.now,
        step,
        weight: target.seen.map_or(Weight::ZERO, |seen| seen.split.canary),
        baseline_weight: target.seen.map_or(Weight::ZERO, |seen| seen.split.compared()),
        metrics,
        values: looked.values,
    };
    change.state.rollout.first_ends = first_ends;
    change.state.judge.carry(&mut tick);
    look_ahead(&change.state.rollout, &mut tick);
    (tick, looked.notes)
}

/// While both arms' fresh samples are waited for, guardrails go by what the canary alone has shown.
fn look_ahead(rollout: &Rollout, tick: &mut TickObservation) {
    let is_exposed = matches!(
        rollout.phase,
        Phase::Progressing { .. } | Phase::Preparing { step: 1.. } | Phase::Finalizing | Phase::Baking
    );
    for metric in tick.metrics.iter_mut().filter(|metric| is_exposed && metric.usage == Usage::Pending) {
        let requests = metric.canary.as_ref().ok().and_then(Counts::requests).unwrap_or(0);
        if requests > 0 && metric.window.is_some() {
            metric.usage = Usage::Ahead;
        }
    }
}

/// A rate per share of the traffic: the provider knows the time, the target the arms' shares.
fn share_exposure(metric: &mut MetricObservation, split: Split) {
    for (reading, weight) in [(&mut metric.canary, split.canary), (&mut metric.baseline, split.compared())] {
        if let Ok(Counts::Rate { exposure_millionths, .. }) = reading {
            *exposure_millionths = exposure_millionths.saturating_mul(u64::from(weight.0)) / 10_000;
        }
    }
}

/// Whether the tests use a consumed window. When the split was seen stands in Serin's time, windows in that
/// of the samples, and Serin's clock may have been wrong at that moment. So two things are taken from the
/// order in which windows come: the first one that was consumed since (it ends at `first_end`) began
/// before the split was seen, as windows follow each other without a gap; and, where the clock has gone back
/// since, its end was fresh when it was consumed, after the split was seen, so that what begins later than it
/// by the age of a stale sample is measured under the new split.
fn usage(
    rollout: &Rollout,
    target: &Target,
    window: Option<Window>,
    first_end: Option<Timestamp>,
    now: Timestamp,
) -> Usage {
    let since = match (&rollout.phase, rollout.policy.mode) {
        (Phase::Progressing { stage: Stage::Analysing { since }, .. }, Mode::Observe) => *since,
        // Not `in_force`: while a router does not answer, its proxies go on with the split that they have,
        // and evidence of harm cannot wait for it.
        (Phase::Progressing { .. } | Phase::Finalizing | Phase::Baking, Mode::Act) => match target.seen {
            Some(seen) if target.is_seen() && !target.raised => seen.at,
            _ => return Usage::Settling,
        },
        (Phase::Preparing { step: 1.. }, _) => match target.seen {
            Some(seen) if !target.raised => seen.at,
            _ => return Usage::Settling,
        },
        _ => return Usage::Outside,
    };
    if matches!(rollout.phase, Phase::Finalizing | Phase::Baking) {
        return Usage::Baking;
    }
    let Some(window) = window else { return Usage::Settling };
    // Serin's clock has gone back: by it the split would not be seen yet.
    let since = match first_end {
        Some(end) if now < since => since.min(end.plus(rollout.stale_at_most())),
        _ => since,
    };
    if window.end <= since {
        Usage::Settling
    } else if window.start < since || first_end.is_none() {
        Usage::Straddling
    } else if window.start < since.plus(rollout.policy.analysis.warm_up) {
        Usage::WarmUp
    } else {
        Usage::Used
    }
}

/// What takes the canary back, holds or not.
fn must_go_back(change: &mut Change, assessment: &Assessment) -> bool {
    let reason = match assessment.advice {
        Advice::RollBack => assessment.reasons.first().cloned(),
        _ => both_broke(&change.state.rollout, assessment),
    };
    let reason = reason.or_else(|| data::silent(&change.state.rollout));
    let reason = reason.or_else(|| restarts::rolls_back(&change.state.rollout));
    let Some(reason) = reason else { return false };
    change.roll_back(reason, Ending::RolledBack, None);
    true
}

/// Invariant 12: both arms were within a critical limit before the step and break it after.
fn both_broke(rollout: &Rollout, assessment: &Assessment) -> Option<Reason> {
    let broke = assessment.guardrails.iter().find(|guardrail| {
        guardrail.status == GuardrailStatus::BothBreach
            && guardrail.action == GuardrailAction::RollBack
            && guardrail.severity == Severity::Critical
            && rollout.baseline_was_healthy.get(&guardrail.name) == Some(&true)
    })?;
    Some(Reason::new(
        ReasonCode::BothBroke,
        format!(
            "both arms were healthy before this step and both break a critical limit after it: {}",
            broke.sentence
        ),
    ))
}

/// Alerts and holds of guardrails, each told once while it lasts.
fn guardrail_holds(change: &mut Change, now: &Assessment, before: Option<&Assessment>) {
    if matches!(change.state.rollout.phase, Phase::RollingBack { .. }) || is_over(change) {
        return;
    }
    let was = |name: &str| {
        before.and_then(|b| b.guardrails.iter().find(|g| g.name == name)).map(|guardrail| guardrail.status)
    };
    for guardrail in now.guardrails.iter().filter(|guardrail| guardrail.name != SHARE) {
        let newly = was(&guardrail.name) != Some(guardrail.status);
        match (guardrail.status, guardrail.action) {
            (GuardrailStatus::Fired, GuardrailAction::Alert) if newly => {
                change.alert(NoticeKind::Alert, guardrail.severity, guardrail.sentence.clone());
            }
            (GuardrailStatus::Breaching, GuardrailAction::RollBack) => warn(change, guardrail, before),
            (GuardrailStatus::Fired, GuardrailAction::Hold) => {
                let why = guardrail.sentence.clone();
                change.hold(Hold::Guardrail, None, guardrail.severity, why);
            }
            _ => {}
        }
    }
    let find = |wanted: fn(&GuardrailAssessment) -> bool| {
        now.guardrails.iter().find(|g| g.name != SHARE && wanted(g))
    };
    match find(|g| g.status == GuardrailStatus::BothBreach && g.action != GuardrailAction::Alert) {
        Some(both) => {
            let why = format!("both arms are bad, so it is not the canary's doing: {}", both.sentence);
            change.hold(Hold::BothBad, None, both.severity.max(Severity::High), why);
        }
        None => change.unhold(Hold::BothBad, "no limit is broken by both arms any more."),
    }
    if find(|g| g.status == GuardrailStatus::Fired && g.action == GuardrailAction::Hold).is_none() {
        change.unhold(Hold::Guardrail, "the limit is kept again.");
    }
}

/// A guardrail of the class `standard` is told before it acts.
fn warn(change: &mut Change, guardrail: &GuardrailAssessment, before: Option<&Assessment>) {
    let policy = &change.state.rollout.policy;
    let Some(rail) = policy.guardrails.iter().find(|rail| rail.name == guardrail.name) else { return };
    let Some(warn_after) = rail.warn_after else { return };
    let was = before
        .and_then(|before| before.guardrails.iter().find(|g| g.name == guardrail.name))
        .map_or(Duration::ZERO, |guardrail| guardrail.breaching_for);
    let now = guardrail.breaching_for;
    if now >= warn_after && (was < warn_after || was > now) {
        let left = duration(rail.hold_for.saturating_sub(now));
        let sentence = format!("{} It is rolled back in {left} if that lasts.", guardrail.sentence);
        change.alert(NoticeKind::Warning, Severity::High, sentence);
    }
}

fn is_over(change: &Change) -> bool {
    change.state.rollout.phase.is_terminal()
}

/// The next step, the end of the bake, or the step's maximum.
fn go_on(change: &mut Change, assessment: &Assessment) {
    let rollout = &change.state.rollout;
    let analysed = rollout.timers.analysed;
    match rollout.phase {
        Phase::Progressing { step, .. } => {
            let Some(plan) = rollout.policy.steps.get(step).cloned() else { return };
            let proven = assessment.advice == Advice::Advance;
            let enough = assessment.requests().iter().all(|requests| *requests >= plan.min_requests);
            if proven {
                change.unhold(Hold::Plan, "the evidence is there.");
            }
            progress(change, &plan, assessment);
            let free = is_free(change) && in_force(change);
            let why = assessment.reasons.first().map(|r| r.sentence.clone()).unwrap_or_default();
            let insisted = change.state.rollout.gates.insisted.clone();
            if let Some(wish) = insisted.filter(|wish| free && wish.step > step) {
                if let Some(passage) = door::ask(change, Occasion::Step(wish.step)) {
                    change.advance_to(passage, &wish.why, Some(&wish.by));
                }
            } else if proven && free && enough && analysed >= plan.min {
                if let Some(passage) = door::ask(change, Occasion::Step(step + 1)) {
                    change.advance_to(passage, &why, None);
                }
            } else if !proven && plan.max.is_some_and(|max| analysed >= max) {
                at_max(change, step, &plan, free, &why);
            }
        }
        Phase::Baking => {
            let insisted = rollout.gates.insisted.is_some();
            let done = (insisted || analysed >= rollout.policy.bake.duration)
                && is_free(change)
                && change.state.target.wanted.canary == Weight::FULL
                && in_force(change);
            if done && let Some(passage) = door::ask(change, Occasion::Finish) {
                let rollout = &change.state.rollout;
                let sentence = format!(
                    "{} has all traffic and has been watched for {} without a broken limit.",
                    rollout.version,
                    duration(analysed)
                );
                change.succeed(passage, sentence, None);
            }
        }
        // Entered when the workload is ready; its gates are asked until then.
        Phase::Preparing { step } => {
            door::prepared(change, step);
        }
        _ => {}
    }
}

/// Tells the figures at the middle of a long step.
fn progress(change: &mut Change, plan: &Step, assessment: &Assessment) {
    let now = change.state.rollout.timers.analysed;
    let before = now.saturating_sub(change.state.rollout.timers.credited);
    let middle = plan.min / 2;
    if plan.min >= LONG_STEP && before < middle && now >= middle {
        let why = assessment.reasons.first().map(|reason| reason.sentence.as_str()).unwrap_or_default();
        let version = &change.state.rollout.version;
        let mut sentence =
            format!("{version} has been analysed at {} for {}. {why}", plan.weight, duration(now));
        if let Some(left) = change.state.rollout.undecided_until() {
            let max = format!(
                " It will not be decided within this step's maximum, which is in {}.",
                duration(left)
            );
            sentence.push_str(&max);
        }
        change.alert(NoticeKind::Progress, Severity::Low, sentence);
    }
}

/// Why a step at its maximum does not go on without proof.
fn hindered(change: &Change, plan: &Step) -> Option<String> {
    let rollout = &change.state.rollout;
    if let Some(metric) = change.state.judge.beyond_tolerance(&rollout.policy) {
        return Some(format!(
            "the canary is worse in {metric} than the policy tolerates, by the low end of its interval"
        ));
    }
    let requests = rollout.last.as_ref().map_or([0, 0], Assessment::requests);
    let short = ["canary", "baseline"].into_iter().zip(requests).find(|(_, had)| *had < plan.min_requests);
    let (arm, had) = short?;
    Some(format!("the {arm} has had {had} of the {} requests that the step needs", plan.min_requests))
}

fn at_max(change: &mut Change, step: usize, plan: &Step, free: bool, why: &str) {
    let lasted = duration(change.state.rollout.timers.analysed);
    if plan.at_max == AtMax::PromoteUnproven {
        // What hinders it holds, and no longer than it lasts.
        match hindered(change, plan) {
            Some(hindrance) => {
                let why = format!("the step has been analysed for {lasted}, its maximum: {hindrance}. {why}");
                change.hold(Hold::Plan, None, Severity::Medium, why);
                return;
            }
            None => change.unhold(Hold::Plan, "nothing stands against going on unproven any more."),
        }
    }
    match plan.at_max {
        _ if !free => {}
        AtMax::Hold => {
            let why = format!("the step has been analysed for {lasted}, its maximum, undecided. {why}");
            change.hold(Hold::Plan, None, Severity::Medium, why);
        }
        AtMax::RollBack => {
            let sentence = format!("nothing was proven within the step's maximum of {lasted}. {why}");
            let reason = Reason::new(ReasonCode::Undecided, sentence);
            change.roll_back(reason, Ending::RolledBack, None);
        }
        AtMax::PromoteUnproven => {
            let why = format!("UNPROVEN: the step has lasted its maximum of {lasted}. {why}");
            if let Some(passage) = door::ask(change, Occasion::Step(step + 1)) {
                change.advance_to(passage, &why, None);
            }
        }
    }
}
