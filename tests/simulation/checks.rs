//! The checks are checked: each violation that they are there for is found, and named.

use std::collections::BTreeMap;

use serin::core::arms::ArmSelector;
use serin::core::ids::RolloutId;
use serin::core::judge::{Advice, Assessment, JudgeState};
use serin::core::metric::{Cursor, MetricCursor};
use serin::core::notice::NoticeKind;
use serin::core::pools::ObservedSplit;
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{CommandKind, Ending, EventKind, EventRecord, Phase, Rollout, Stage};
use serin::core::split::{Role, Split};
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::ports::{Commit, InboxEntry, Outgoing, Route};

use crate::faults::{Fault, FaultKind};
use crate::invariants::{self, Back, Before, MARK};
use crate::testkit::builders::{
    T0, at, command, notice, percent, policy, rollout, target, target_spec, tick,
};
use crate::testkit::fakes::MemoryStore;
use crate::watch;
use crate::world::{Service, World, default_weights};

const NAME: &str = "shop";

fn world() -> World {
    let mut world = World::new(1);
    let spec = target_spec(NAME);
    world.ledger.target(NAME).committed.insert(1, default_weights(&spec));
    world.services.insert(NAME.to_owned(), Service::new(spec, 100.0, 1, true, [1000, 1000]));
    world
}

/// A rollout at 5%, in force, and its target.
fn at_five() -> (Rollout, Target) {
    let mut rollout = rollout("r1", NAME, policy().build());
    rollout.phase = Phase::Progressing { step: 0, stage: Stage::Analysing { since: T0 } };
    let mut target = target(NAME);
    target.active = Some(rollout.id.clone());
    target.want(Split::canary(percent(5.0), false));
    target.observe(&ObservedSplit::of(Some(target.wanted)), T0);
    (rollout, target)
}

/// A commit that changes nothing, of a rollout at 5%.
fn nothing() -> (Before, Commit) {
    let (rollout, target) = at_five();
    let before = Before {
        open: vec![(rollout.id.clone(), rollout.phase.name())],
        rollout: Some(rollout.clone()),
        target: Some(target.clone()),
        ..Before::default()
    };
    (before, Commit { target: Some(target), rollout: Some(rollout), ..Commit::default() })
}

fn event(commit: &mut Commit, kind: EventKind, sentence: &str) {
    let rollout = commit.rollout.as_mut().expect("a rollout");
    rollout.event_seq += 1;
    let sentence = sentence.to_owned();
    commit.events.push(EventRecord { seq: rollout.event_seq, at: T0, kind, by: None, sentence });
}

/// What is found wrong with a changed commit.
fn found(change: impl Fn(&mut World, &mut Before, &mut Commit)) -> Vec<String> {
    let mut world = world();
    let (mut before, mut commit) = nothing();
    change(&mut world, &mut before, &mut commit);
    invariants::committed(&mut world, &before, &commit);
    world.ledger.violations
}

fn expect(what: &str, change: impl Fn(&mut World, &mut Before, &mut Commit)) {
    let found = found(change);
    assert!(found.iter().any(|found| found.contains(what)), "{what:?} was not found, but {found:?}");
}

fn wants(commit: &mut Commit, weight: f64) {
    commit.target.as_mut().expect("a target").want(Split::canary(percent(weight), false));
}

#[test]
fn a_commit_that_changes_nothing_is_right() {
    assert_eq!(found(|_, _, _| {}), Vec::<String>::new());
}

#[test]
fn exposure_that_rises_without_a_decision_is_found() {
    expect("invariant 1: the canary of shop goes from 500 to 2500 without a line", |_, _, commit| {
        wants(commit, 25.0);
    });
    expect("opened is step 0", |_, _, commit| {
        wants(commit, 25.0);
        event(commit, EventKind::StepEntered, "25%");
        commit.rollout.as_mut().expect("a rollout").phase =
            Phase::Progressing { step: 1, stage: Stage::Settling };
    });
    expect("without a rollout", |_, before, commit| {
        wants(commit, 25.0);
        before.rollout = None;
        commit.rollout = None;
    });
    expect("invariant 2", |_, before, commit| {
        wants(commit, 25.0);
        let reason = Reason::new(ReasonCode::Command, "so");
        let phase = Phase::RollingBack { reason, ending: Ending::RolledBack };
        before.rollout.as_mut().expect("a rollout").phase = phase.clone();
        commit.rollout.as_mut().expect("a rollout").phase = phase;
    });
    expect("observe mode", |_, _, commit| {
        wants(commit, 0.0);
        commit.rollout.as_mut().expect("a rollout").plan_mut().policy = policy().observe_only().build();
    });
}

#[test]
fn a_step_without_evidence_or_too_early_is_found() {
    let open = |commit: &mut Commit, advice: Advice| {
        commit.rollout.as_mut().expect("a rollout").phase = Phase::Preparing { step: 1 };
        event(commit, EventKind::Advanced, "On to 25%");
        let assessment = Assessment { advice, ..Assessment::default() };
        commit.observation = Some((tick(1).errors((10, 0), (100, 0)).build(), assessment));
    };
    expect("without evidence", |_, _, commit| open(commit, Advice::Hold));
    expect("without evidence", |_, _, commit| open(commit, Advice::Advance));
    expect("invariant 5: r1 goes to step 1 after", |_, _, commit| open(commit, Advice::Advance));
    expect("invariant 9", |_, _, commit| open(commit, Advice::Advance));
}

#[test]
fn a_rollback_without_weight_zero_in_its_commit_is_found() {
    expect("invariant 2: r1 goes back without weight 0", |_, _, commit| {
        let reason = Reason::new(ReasonCode::Command, "so");
        commit.rollout.as_mut().expect("a rollout").phase =
            Phase::RollingBack { reason, ending: Ending::RolledBack };
        event(commit, EventKind::RollbackStarted, "0%");
    });
    expect("invariant 8", |_, _, commit| {
        let reason = Reason::new(ReasonCode::Command, "so");
        let rollout = commit.rollout.as_mut().expect("a rollout");
        rollout.phase = Phase::RolledBack { reason };
        rollout.ended_at = Some(T0);
        commit.target.as_mut().expect("a target").active = None;
        event(commit, EventKind::RolledBack, "0%");
    });
}

#[test]
fn targets_that_are_taken_twice_or_go_back_are_found() {
    expect("goes back to 1", |_, _, commit| {
        commit.target.as_mut().expect("a target").generation = 1;
    });
    expect("in the same generation", |_, _, commit| {
        commit.target.as_mut().expect("a target").wanted = Split::STABLE;
    });
    expect("invariant 6: shop goes from", |_, _, commit| {
        commit.target.as_mut().expect("a target").active = Some(RolloutId("r2".to_owned()));
    });
    expect("two active rollouts", |_, before, _| {
        before.open.push((RolloutId("r2".to_owned()), "preflight"));
    });
}

#[test]
fn silent_or_broken_logs_and_notices_are_found() {
    expect("invariant 11", |_, _, commit| event(commit, EventKind::Alert, " "));
    expect("goes on from 1 by []", |_, _, commit| commit.rollout.as_mut().expect("a rollout").event_seq = 3);
    expect("in silence", |_, _, commit| {
        commit.rollout.as_mut().expect("a rollout").phase = Phase::Baking;
    });
    expect("names no event", |_, _, commit| {
        let notice = notice(commit.rollout.as_ref().expect("a rollout"), 7, NoticeKind::Alert);
        commit.outbox.push(Outgoing::at_once("hook", notice));
    });
}

#[test]
fn commands_that_are_taken_twice_or_saw_an_older_state_are_found() {
    let take = |before: &mut Before, commit: &mut Commit, expected: Option<u64>| {
        let mut command = command("c1", CommandKind::Pause);
        command.expected_revision = expected;
        let rollout = RolloutId("r1".to_owned());
        before.commands.push(InboxEntry { rollout, at: T0, command, result: None });
        commit.commands.push(("c1".to_owned(), Ok(())));
    };
    expect("taken twice", |world, before, commit| {
        world.ledger.taken.insert("c1".to_owned());
        take(before, commit, None);
    });
    expect("older state", |_, before, commit| take(before, commit, Some(77)));
    expect("never asked for", |_, _, commit| commit.commands.push(("c9".to_owned(), Ok(()))));
}

#[test]
fn requests_that_are_lost_or_counted_twice_are_found() {
    let count = |commit: &mut Commit, canary: (u64, u64), window: (f64, u64)| {
        let tick = tick(1).window(at(window.0), window.1).errors(canary, (0, 0)).build();
        let mut judge = JudgeState::new(&policy().build());
        let assessment = judge.observe(&policy().build(), &tick);
        let rollout = commit.rollout.as_mut().expect("a rollout");
        rollout.tick_seq = 1;
        rollout.last = Some(assessment.clone());
        let cursor = Cursor { until: at(window.0), ..Cursor::default() };
        let cursors = MetricCursor { canary: cursor.clone(), baseline: cursor };
        commit.cursors.insert("errors".to_owned(), cursors);
        commit.observation = Some((tick, assessment));
    };
    let known = |world: &mut World, before: &Before, end: Timestamp| {
        let rollout = before.rollout.as_ref().expect("a rollout");
        let ledger = invariants::RolloutLedger {
            judge: JudgeState::new(&rollout.policy),
            windows: BTreeMap::from([("errors".to_owned(), (end, [Some(end), Some(end)]))]),
            analysed: Default::default(),
            since: 0,
            opened: 0,
        };
        world.ledger.rollouts.insert(rollout.id.clone(), ledger);
    };
    let right = found(|world, before, commit| {
        known(world, before, at(0.0));
        count(commit, (0, 0), (10.0, 10));
    });
    assert_eq!(right, Vec::<String>::new());
    expect("stored, and was sent", |world, before, commit| {
        known(world, before, at(0.0));
        count(commit, (7, 0), (10.0, 10));
    });
    expect("follows one that ended", |world, before, commit| {
        known(world, before, at(5.0));
        count(commit, (0, 0), (10.0, 10));
    });
    expect("the split changed in it", |world, before, commit| {
        known(world, before, at(0.0));
        world.services.get_mut(NAME).expect("a service").changes.push(4000);
        count(commit, (0, 0), (10.0, 10));
    });
}

#[test]
fn splits_that_were_never_stored_go_back_or_rise_are_found() {
    let route = |weight: f64, generation: u64| {
        let spec = target_spec(NAME);
        Route {
            target: NAME.to_owned(),
            route: NAME.to_owned(),
            pools: BTreeMap::from([(Role::Stable, spec.stable), (Role::Canary, spec.canary)]),
            split: Split::canary(percent(weight), false),
            generation,
            nodes: BTreeMap::new(),
        }
    };
    let expect = |what: &str, act: &dyn Fn(&mut World)| {
        let mut world = world();
        let five = BTreeMap::from([("shop-a".to_owned(), 9500), ("shop-b".to_owned(), 500)]);
        world.ledger.target(NAME).committed.insert(2, five);
        act(&mut world);
        let found = world.ledger.violations;
        match what {
            "" => assert!(found.is_empty(), "{found:?}"),
            _ => assert!(found.iter().any(|f| f.contains(what)), "{what:?} was not found, but {found:?}"),
        }
    };
    expect("", &|world| invariants::handed_to_router(world, &route(5.0, 2), "apply"));
    expect("", &|world| invariants::handed_to_router(world, &route(0.0, 3), "apply"));
    expect("never stored", &|world| invariants::handed_to_router(world, &route(25.0, 3), "apply"));
    expect("never stored", &|world| invariants::handed_to_router(world, &route(25.0, 2), "apply"));
    expect("not what is stored", &|world| invariants::handed_to_router(world, &route(0.0, 3), "load"));
    expect("after generation 2", &|world| {
        invariants::handed_to_router(world, &route(5.0, 2), "apply");
        invariants::handed_to_router(world, &route(0.0, 1), "apply");
    });
    expect("invariant 14", &|world| {
        world.ledger.store_known_broken = true;
        invariants::asked_of_router(world, &route(5.0, 2));
    });
    expect("invariant 13", &|world| {
        world.ledger.target(NAME).lowered_unheard = true;
        let split = Some(Split::canary(percent(1.0), false));
        let observed = ObservedSplit::of(split);
        invariants::reported_by_router(world, &route(5.0, 2), &observed);
        invariants::handed_to_router(world, &route(5.0, 2), "apply");
    });
}

#[test]
fn notices_out_of_order_or_out_of_nowhere_are_found() {
    let rollout = rollout("r1", NAME, policy().build());
    let (first, second) = (notice(&rollout, 1, NoticeKind::Started), notice(&rollout, 2, NoticeKind::Step));
    let mut world = world();
    world.ledger.outbox.insert("hook".to_owned(), vec![first.clone(), second.clone()]);
    invariants::delivered(&mut world, "hook", &first);
    invariants::delivered(&mut world, "hook", &first);
    invariants::delivered(&mut world, "hook", &second);
    assert!(world.ledger.violations.is_empty(), "{:?}", world.ledger.violations);
    invariants::delivered(&mut world, "hook", &notice(&rollout, 3, NoticeKind::Alert));
    assert!(world.ledger.violations.iter().any(|found| found.contains("never stored")));
    world.ledger.delivered.clear();
    invariants::delivered(&mut world, "hook", &second);
    assert!(world.ledger.violations.iter().any(|found| found.contains("delivered before")));
}

#[test]
fn what_belongs_to_another_target_is_found() {
    expect("has a rollout of cart", |_, _, commit| {
        commit.rollout.as_mut().expect("a rollout").plan_mut().target = "cart".to_owned();
    });
    expect("answers a command for cart", |_, before, _| before.commanded.push("cart".to_owned()));
    expect("is had by r1, which is another target's", |_, before, _| {
        before.active_of = Some("cart".to_owned());
    });
    let mut world = world();
    let arm = |mark: &str| ArmSelector {
        labels: BTreeMap::from([("service".to_owned(), NAME.to_owned()), (MARK.to_owned(), mark.to_owned())]),
        endpoints: Vec::new(),
    };
    world.ledger.target(NAME).began = Some("first".to_owned());
    invariants::asked_of_source(&mut world, &arm("first"));
    assert!(world.ledger.violations.is_empty(), "{:?}", world.ledger.violations);
    invariants::asked_of_source(&mut world, &arm("second"));
    assert!(world.ledger.violations.iter().any(|found| found.contains("began with")));
}

#[test]
fn a_target_that_others_hold_up_is_found() {
    let found = |change: &dyn Fn(&mut World)| {
        let (rollout, target) = at_five();
        let store = MemoryStore::new();
        store.change(|data| {
            data.targets.insert(NAME.to_owned(), target);
            data.put(rollout);
        });
        let mut world = world();
        let service = world.services.get_mut(NAME).expect("a service");
        let five = BTreeMap::from([("shop-a".to_owned(), 9500), ("shop-b".to_owned(), 500)]);
        service.proxies.values_mut().for_each(|proxy| proxy.come_into_force(2, five.clone()));
        world.now = 500_000;
        world.ledger.target(NAME).looked = 499_000;
        change(&mut world);
        watch::targets(&mut world, &store);
        world.ledger.violations
    };
    assert_eq!(found(&|_| {}), Vec::<String>::new());
    let looks = found(&|world| world.ledger.target(NAME).looked = 100_000);
    assert!(looks.iter().any(|found| found.contains("the looks of shop have stopped")), "{looks:?}");
    let back = |world: &mut World| {
        world.ledger.target(NAME).back = Some(Back { since: 400_000, rollout: RolloutId("r1".to_owned()) });
    };
    let held_up = found(&back);
    assert!(held_up.iter().any(|found| found.contains("the canary has 500")), "{held_up:?}");
    let fault = |target: &str| Fault {
        from: 390_000,
        until: 510_000,
        target: Some(target.to_owned()),
        kind: FaultKind::RouterSilent,
    };
    let own = found(&|world| {
        back(world);
        world.faults.push(fault(NAME));
    });
    assert_eq!(own, Vec::<String>::new(), "its own router does not answer");
    let others = found(&|world| {
        back(world);
        world.faults.push(fault("cart"));
    });
    assert!(!others.is_empty(), "the router of another target is no excuse");
}
