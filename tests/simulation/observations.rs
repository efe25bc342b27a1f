//! What must hold of every observation that is stored: its windows, its counts, and the evidence made of it.
use serin::core::arms::arms;
use serin::core::judge::Assessment;
use serin::core::metric::{MetricObservation, TickObservation, Usage};
use serin::core::rollout::{Phase, Rollout};
use serin::core::time::Timestamp;
use serin::ports::Commit;

use crate::commits::ledger;
use crate::invariants::{Before, violated};
use crate::provider::{backend, counts_of};
use crate::testkit::builders::T0;
use crate::world::World;

pub fn observation(
    world: &mut World,
    before: &Before,
    commit: &Commit,
    tick: &TickObservation,
    assessment: &Assessment,
) {
    let (Some(was), Some(now)) = (&before.rollout, &commit.rollout) else { return };
    let id = &now.id;
    if tick.seq != was.tick_seq + 1 || now.tick_seq != tick.seq {
        violated(world, format!("tick {} of {id} comes after tick {}", tick.seq, was.tick_seq));
    }
    let again = {
        let ledger = ledger(world, was);
        ledger.judge.observe(&was.policy, tick)
    };
    if bits(&again) != bits(assessment) || now.last.as_ref().is_none_or(|last| bits(last) != bits(&again)) {
        violated(
            world,
            format!("invariant 9: tick {} of {id}, judged again, gives something else", tick.seq),
        );
    }
    if let Some((seq, judge)) = &commit.snapshot {
        let same = *seq == tick.seq && bits(&**judge) == bits(&ledger(world, was).judge);
        if !same {
            violated(
                world,
                format!("invariant 9: the snapshot of {id} after tick {seq} is not its evidence"),
            );
        }
    }
    for metric in &tick.metrics {
        window(world, before, commit, tick, metric);
    }
    let length = |metric: &MetricObservation| metric.window.map(|window| window.length());
    let credit = match was.phase {
        Phase::Baking => {
            let counted = |m: &&MetricObservation| m.canary.is_ok() && !m.usage.is_pending();
            tick.metrics.iter().filter(counted).filter_map(length).max()
        }
        _ => {
            let used = |m: &&MetricObservation| matches!(m.usage, Usage::Used | Usage::Carried);
            tick.metrics.iter().filter(used).filter_map(length).max()
        }
    };
    let ledger = ledger(world, was);
    ledger.analysed += credit.unwrap_or_default();
    let (analysed, counted) = (ledger.analysed, now.timers.analysed);
    let running = matches!(now.phase, Phase::Progressing { .. } | Phase::Baking);
    if running && place_of(was) == place_of(now) && counted > analysed {
        violated(world, format!("invariant 5: {id} counts {counted:?} where {analysed:?} were analysed"));
    }
}

fn place_of(rollout: &Rollout) -> (&'static str, Option<usize>) {
    (rollout.phase.name(), rollout.phase.step())
}

/// The exact bits of a value.
fn bits<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("memory can be written to");
    bytes
}

/// Windows follow each other without a gap, each request is in one of them, and what the tests use was
/// measured under one split.
fn window(
    world: &mut World,
    before: &Before,
    commit: &Commit,
    tick: &TickObservation,
    metric: &MetricObservation,
) {
    // The roles as they were when Serin looked: a success changes them in the same commit.
    let (Some(rollout), Some(target)) = (&before.rollout, &before.target) else { return };
    let what = format!("tick {} of {}, {}", tick.seq, rollout.id, metric.metric);
    let consumed = commit.cursors.contains_key(&metric.metric);
    if consumed == metric.usage.is_pending() {
        return violated(world, format!("{what}: consumed {consumed}, but {:?}", metric.usage));
    }
    let Some(window) = metric.window.filter(|_| consumed) else { return };
    let source = rollout.policy.metric(&metric.metric).map(|metric| metric.source.clone());
    let Some(service) = world.services.get(&target.name) else { return };
    let selectors = arms(&service.spec, target, &rollout.version).expect("arms that can be told apart");
    let known = ledger(world, rollout).windows.get(&metric.metric).copied();
    if known.is_some_and(|(end, _)| end != window.start) || window.end < window.start {
        violated(
            world,
            format!("invariant 5: {what}: the window {window:?} follows one that ended {known:?}"),
        );
    }
    let mut ends = known.map_or([None, None], |(_, ends)| ends);
    let sides = [(&metric.canary, &selectors.0), (&metric.baseline, &selectors.1)];
    for (end, (reading, selector)) in ends.iter_mut().zip(sides) {
        let (Ok(counts), Some((_, backend)), Some(source)) = (reading, backend(selector), &source) else {
            continue;
        };
        let pool = world.services.get(&target.name).and_then(|service| service.pools.get(&backend));
        let from = end.replace(window.end).unwrap_or(window.end);
        let truth = pool.map(|pool| counts_of(&pool.truth(from, window.end), source));
        if truth.as_ref() != Some(counts) {
            violated(world, format!("{what}: {backend} has {counts:?} stored, and was sent {truth:?}"));
        }
    }
    ledger(world, rollout).windows.insert(metric.metric.clone(), (window.end, ends));
    // When a split was seen stands in Serin's own time: with a wall clock that was wrong since the change,
    // nobody can tell which samples came before it.
    let skewed = world.last_skewed;
    // What is changed and set right while no process looks is nobody's to know: a proxy that comes back to a
    // new process has the wanted split before it is looked at.
    let is_unwatched = world.starts.iter().any(|start| {
        let at = Timestamp(T0.0 + *start);
        window.start < at && at < window.end
    });
    let inside = |change: &i64| {
        let at = Timestamp(T0.0 + *change);
        window.start < at && at < window.end && skewed < *change && !is_unwatched
    };
    let changes = world.services.get(&target.name).map(|service| service.changes.clone()).unwrap_or_default();
    if metric.usage == Usage::Used && changes.iter().any(inside) {
        violated(world, format!("{what}: a window is used though the split changed in it"));
    }
}
