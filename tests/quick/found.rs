//! What a process finds at a router that its store knows nothing of.

use serin::core::found::{Decided, Decision};
use serin::core::idle::{Idle, idle};
use serin::core::incident::{IncidentCause, IncidentStep};
use serin::core::judge::JudgeState;
use serin::core::notice::NoticeKind;
use serin::core::pools::{ObservedSplit, Unstored};
use serin::core::reason::ReasonCode;
use serin::core::rollout::{Event, Hold, Outcome, Phase, Stage, State, transition};
use serin::core::split::{Split, Weight};
use serin::core::target::{Finding, SeenSplit, Target};

use crate::testkit::builders::{T0, at, policy, rollout, secs, target};

fn canary(percent: u16) -> Split {
    Split::canary(Weight(percent * 100), false)
}

fn observed(split: Split) -> ObservedSplit {
    ObservedSplit::of(Some(split))
}

/// A target that was released to before, and is settled.
fn settled() -> Target {
    let mut target = target("shop");
    target.generation = 7;
    target.seen = Some(SeenSplit { split: Split::STABLE, generation: 7, at: T0 });
    target
}

fn found(target: &Target, split: Split) -> Idle {
    idle(target, &observed(split), true, at(1.0))
}

fn decided(target: &Target, decision: Decision) -> Target {
    let mut target = target.clone();
    if let Some(found) = &mut target.found {
        found.decided = Some(Decided { decision, by: "erin".to_owned() });
    }
    target
}

#[test]
fn a_canary_that_the_store_knows_nothing_of_is_left_and_told() {
    // A new file, and an older one.
    for before in [target("shop"), settled()] {
        let after = found(&before, canary(25));
        assert_eq!((after.target.wanted, after.target.generation), (before.wanted, before.generation));
        assert_eq!(after.target.found.as_ref().map(|found| found.split), Some(canary(25)));
        assert!(!after.target.certain);
        let [notice] = &after.notices[..] else { panic!("{:?}", after.notices) };
        assert!(notice.sentence.contains("gives the canary 25%"), "{}", notice.sentence);
        assert!(notice.sentence.contains("serin target adopt shop"), "{}", notice.sentence);
        assert_eq!(notice.incident.as_ref().map(|change| change.step), Some(IncidentStep::Trigger));
        let again = idle(&after.target, &observed(canary(25)), false, at(9.0));
        assert_eq!((again.target, again.notices.len()), (after.target, 0), "it stays, and is told once");
    }
}

#[test]
fn what_is_on_its_way_lower_or_found_later_is_no_finding() {
    let mut on_its_way = settled();
    on_its_way.generation = 8;
    assert_eq!(found(&on_its_way, canary(25)).target.found, None);
    assert_eq!(found(&settled(), Split::STABLE).target.found, None);
    assert_eq!(idle(&settled(), &ObservedSplit::of(None), true, at(1.0)).target.found, None);
    // Behind the back of a process that has looked before: somebody's hand, and set right at once.
    let later = idle(&settled(), &observed(canary(25)), false, at(1.0));
    assert_eq!((later.target.found, later.finding), (None, Some(Finding::Raised { found: canary(25) })));
}

#[test]
fn adopting_wants_what_is_there() {
    let waiting = found(&settled(), canary(25)).target;
    let after = idle(&decided(&waiting, Decision::Adopt), &observed(canary(25)), false, at(9.0));
    assert_eq!((after.target.wanted, after.target.generation), (canary(25), 8));
    assert!(after.target.is_seen() && after.target.found.is_none() && after.target.incident.is_none());
    let [notice] = &after.notices[..] else { panic!("{:?}", after.notices) };
    assert_eq!(notice.kind, NoticeKind::Resolved);
    assert_eq!(notice.sentence, "erin adopted what the router of shop had: the canary keeps 25%.");
}

#[test]
fn adopting_a_canary_with_everything_makes_it_stable() {
    let waiting = found(&target("shop"), canary(100)).target;
    let after = idle(&decided(&waiting, Decision::Adopt), &observed(canary(100)), false, at(9.0)).target;
    assert_eq!((after.wanted, after.swapped, after.stable_version.as_deref()), (Split::STABLE, true, None));
    assert!(after.is_seen() && after.generation > 1);
}

#[test]
fn zero_drives_the_canary_down() {
    let waiting = found(&target("shop"), canary(25)).target;
    let after = idle(&decided(&waiting, Decision::Zero), &observed(canary(25)), false, at(9.0));
    assert_eq!((after.target.wanted, after.target.generation), (Split::STABLE, 2));
    assert!(!after.target.is_seen(), "it has to be seen again");
    assert_eq!(after.notices[0].sentence, "erin set the canary of shop to 0%; it had 25%.");
    assert_eq!(after.notices[0].incident.as_ref().map(|change| change.step), Some(IncidentStep::Resolve));
    let seen = idle(&after.target, &observed(Split::STABLE), false, at(19.0));
    assert_eq!(seen.finding, Some(Finding::AsWanted { newly: true }));
}

#[test]
fn what_goes_away_by_itself_is_over() {
    let waiting = found(&settled(), canary(25)).target;
    let after = idle(&waiting, &observed(Split::STABLE), false, at(9.0));
    assert_eq!((after.target.found, after.target.incident), (None, None));
    assert_eq!(after.notices.len(), 1);
}

#[test]
fn an_incident_about_something_else_stays_open() {
    let mut before = found(&settled(), canary(25)).target;
    let incident = before.incident.as_mut().expect("open");
    incident.causes.insert(IncidentCause::NotVerified);
    let after = idle(&decided(&before, Decision::Zero), &observed(canary(25)), false, at(9.0));
    assert!(after.target.incident.is_some() && after.notices.is_empty());
}

/// What a router keeps in force, newer than what is stored.
fn unstored(split: Split) -> ObservedSplit {
    ObservedSplit { unstored: Some(Unstored { split, generation: 9 }), ..observed(split) }
}

#[test]
fn what_a_router_says_is_newer_than_the_store_is_found_at_any_look() {
    let mut on_its_way = settled();
    on_its_way.generation = 8;
    for before in [target("shop"), settled(), on_its_way] {
        for split in [canary(25), canary(100)] {
            let after = idle(&before, &unstored(split), false, at(1.0));
            assert_eq!(after.target.found.as_ref().map(|found| found.split), Some(split));
            assert_eq!(after.notices.len(), 1);
            assert_eq!((after.target.wanted, after.target.generation), (before.wanted, before.generation));
        }
        assert_eq!(idle(&before, &unstored(Split::STABLE), false, at(1.0)).target.found, None);
    }
    // While no proxy is there it stays what it was.
    let waiting = idle(&settled(), &unstored(canary(25)), false, at(1.0)).target;
    let away = ObservedSplit { unstored: None, ..ObservedSplit::of(None) };
    assert_eq!(idle(&waiting, &away, false, at(2.0)).target.found.map(|found| found.split), Some(canary(25)));
}

#[test]
fn what_is_adopted_from_a_router_that_keeps_it_has_to_be_given_to_it() {
    let waiting = idle(&settled(), &unstored(canary(25)), false, at(1.0)).target;
    let after = idle(&decided(&waiting, Decision::Adopt), &unstored(canary(25)), false, at(9.0)).target;
    assert_eq!((after.wanted, after.is_seen(), after.found), (canary(25), false, None));
    let waiting = idle(&settled(), &unstored(canary(100)), false, at(1.0)).target;
    let after = idle(&decided(&waiting, Decision::Adopt), &unstored(canary(100)), false, at(9.0)).target;
    assert_eq!((after.wanted, after.swapped, after.is_seen()), (Split::STABLE, true, false));
}

#[test]
fn zero_is_zero_also_where_an_older_weight_was_wanted() {
    let mut before = settled();
    before.wanted = canary(10);
    let waiting = idle(&before, &unstored(canary(25)), false, at(1.0)).target;
    let after = idle(&decided(&waiting, Decision::Zero), &unstored(canary(25)), false, at(9.0)).target;
    assert_eq!(after.wanted, Split::STABLE);
}

/// A rollout whose canary has 5%, and a router that keeps something newer.
fn told(phase: Phase, found: Split) -> Outcome {
    let policy = policy().build();
    let judge = std::sync::Arc::new(JudgeState::new(&policy));
    let mut rollout = rollout("r1", "shop", policy);
    let mut target = target("shop");
    target.active = Some(rollout.id.clone());
    if phase != Phase::Preflight {
        target.want(canary(5));
        target.seen = Some(SeenSplit { split: target.wanted, generation: target.generation, at: T0 });
        target.certain = true;
    }
    rollout.phase = phase;
    let state = State { rollout, target, judge };
    let event = Event::Observed { split: unstored(found), elapsed: secs(1) };
    transition(state, event, at(1.0)).expect("a legal event")
}

fn analysing() -> Phase {
    Phase::Progressing { step: 0, stage: Stage::Analysing { since: T0 } }
}

#[test]
fn a_rollout_whose_canary_an_earlier_process_took_to_zero_is_rolled_back() {
    let state = told(analysing(), Split::STABLE).state;
    assert!(
        matches!(&state.rollout.phase, Phase::RollingBack { reason, .. } if reason.code == ReasonCode::Router)
    );
    assert_eq!(state.target.wanted, Split::STABLE);
}

#[test]
fn a_rollout_from_an_older_backup_ends_where_its_canary_may_be_stable_by_now() {
    for (phase, found) in [(analysing(), canary(100)), (Phase::Preflight, canary(25))] {
        let outcome = told(phase, found);
        let state = outcome.state;
        assert!(matches!(state.rollout.phase, Phase::Cancelled { .. }), "{:?}", state.rollout.phase);
        assert_eq!((state.target.active, state.target.found.map(|found| found.split)), (None, Some(found)));
        let incident = state.target.incident.expect("open");
        assert!(incident.causes.contains(&IncidentCause::Found));
    }
}

#[test]
fn other_weights_of_a_rollout_are_treated_as_changed_by_hand() {
    let raised = told(analysing(), canary(25)).state;
    assert_eq!((raised.target.wanted, raised.rollout.holds.len()), (canary(5), 0));
    let lowered = told(analysing(), canary(1)).state;
    assert_eq!((lowered.target.wanted, lowered.target.is_seen()), (canary(1), false));
    assert!(lowered.rollout.holds.contains(&Hold::Drift));
}
