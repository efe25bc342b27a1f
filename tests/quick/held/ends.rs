//! Ends: incidents, verified rollbacks, warnings and announcements.

use serin::core::gate::Before;
use serin::core::ids::RolloutId;
use serin::core::incident::IncidentStep;
use serin::core::notice::NoticeKind;
use serin::core::policy::{GuardrailAction, Policy, Preflight, Verify};
use serin::core::rollout::{CommandKind, Event, Phase};
use serin::core::split::{Split, Weight};

use crate::testkit::builders::{at, error_guardrail, percent, policy, secs};

use super::told::{Told, approval, gate, with, yes};

fn rolled_back_under(verify: Option<Verify>) -> Told {
    let mut told = Told::begin(Policy { verify, ..policy().build() });
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    for _ in 0..60 {
        if !matches!(told.state.rollout.phase, Phase::Progressing { .. }) {
            break;
        }
        told.look((10_000, 2_000), (190_000, 190));
    }
    assert!(matches!(told.state.rollout.phase, Phase::RollingBack { .. }), "{:?}", told.state.rollout.phase);
    told
}

#[test]
fn an_incident_is_over_only_when_the_service_is_as_it_was() {
    let verify = Verify { within: secs(300), hold_for: secs(30), at_most_times: 1.5 };
    let mut told = rolled_back_under(Some(verify));
    told.look((0, 0), (200_000, 2_000));
    assert_eq!(told.state.rollout.phase.name(), "verifying");
    assert_eq!(told.state.target.active, Some(RolloutId("r1".to_owned())));
    told.look((0, 0), (200_000, 2_000));
    told.look((0, 0), (200_000, 2_000));
    told.look((0, 0), (200_000, 2_000));
    assert_eq!(told.state.rollout.phase.name(), "verifying", "ten times as many errors as before");
    assert!(told.state.target.incident.is_some());
    for _ in 0..3 {
        told.look((0, 0), (200_000, 200));
    }
    assert_eq!(told.state.rollout.phase.name(), "rolled_back");
    let incidents = told.incidents();
    assert_eq!(incidents.first().map(|(step, _)| *step), Some(IncidentStep::Trigger));
    assert_eq!(incidents.last().map(|(step, _)| *step), Some(IncidentStep::Resolve));
    assert!(incidents.iter().all(|(_, key)| *key == incidents[0].1), "{incidents:?}");
    let verified = told.notices.last().expect("a notice");
    assert_eq!(verified.kind, NoticeKind::Verified);
    assert!(verified.sentence.contains("errors 0.1%"), "{}", verified.sentence);
}

#[test]
fn a_service_that_does_not_come_back_escalates() {
    let verify = Verify { within: secs(60), hold_for: secs(30), at_most_times: 1.5 };
    let mut told = rolled_back_under(Some(verify));
    for _ in 0..8 {
        told.look((0, 0), (200_000, 2_000));
        if told.state.rollout.phase.is_terminal() {
            break;
        }
    }
    assert_eq!(told.state.rollout.phase.name(), "rolled_back");
    assert!(told.state.target.incident.is_some(), "a person must look");
    let last = told.notices.last().expect("a notice");
    assert_eq!(last.kind, NoticeKind::NotVerified);
    assert!(last.sentence.contains("errors 1%, before 0.1%"), "{}", last.sentence);
    // The next release that succeeds ends it; who looks at it says so before.
    assert!(told.command("lena", CommandKind::Pause).is_err(), "the release is over");
    told.command("lena", CommandKind::Acknowledge).expect("taken over");
    assert_eq!(told.incidents().last().map(|(step, _)| *step), Some(IncidentStep::Acknowledge));
    assert!(told.command("otto", CommandKind::Acknowledge).is_err(), "somebody has it");
}

#[test]
fn without_verification_the_end_resolves() {
    let mut told = rolled_back_under(None);
    told.look((0, 0), (200_000, 2_000));
    assert_eq!(told.state.rollout.phase.name(), "rolled_back");
    assert!(told.state.target.incident.is_none());
    assert_eq!(told.incidents().last().map(|(step, _)| *step), Some(IncidentStep::Resolve));
}

#[test]
fn a_rollback_by_a_person_pages_nobody() {
    let mut told = Told::begin(policy().build());
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.command("lena", CommandKind::Rollback).expect("a rollback");
    for _ in 0..3 {
        told.look((0, 0), (200_000, 200));
    }
    assert!(told.state.rollout.phase.is_terminal(), "{:?}", told.state.rollout.phase);
    assert_eq!(told.incidents(), []);
}

#[test]
fn a_baseline_that_breaks_a_guardrail_is_not_released_on() {
    let rail = error_guardrail(0.05);
    assert_eq!(rail.action, GuardrailAction::RollBack);
    let begin = |healthy_baseline| {
        let preflight = Preflight { healthy_baseline, ..Preflight::default() };
        let mut told = Told::begin(Policy { guardrails: vec![rail.clone()], preflight, ..policy().build() });
        for _ in 0..60 {
            told.look((0, 0), (200_000, 20_000));
        }
        told
    };
    let told = begin(true);
    assert_eq!(told.state.rollout.phase.name(), "cancelled");
    let reason = told.state.rollout.phase.reason().expect("a reason");
    assert!(reason.sentence.contains("already breaks the guardrail"), "{reason:?}");
    assert_eq!(told.state.target.wanted, Split::STABLE);
    assert!(begin(false).logged("the rollout begins"), "a hotfix may");
}

#[test]
fn a_guardrail_of_the_class_standard_warns_before_it_acts() {
    let rail = serin::core::policy::Guardrail {
        hold_for: secs(60),
        over: secs(10),
        warn_after: Some(secs(20)),
        min_requests: 1,
        ..error_guardrail(0.5)
    };
    // The tests are kept out of it: they would be sooner.
    let mut base = policy().build();
    base.analysis.warm_up = secs(600);
    let mut told = Told::begin(Policy { guardrails: vec![rail], ..base });
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    let mut warned_at = None;
    let mut acted_at = None;
    for look in 0..20 {
        told.look((10_000, 9_000), (190_000, 190));
        if told.notices.iter().any(|notice| notice.kind == NoticeKind::Warning) {
            warned_at.get_or_insert(look);
        }
        if told.weight() == Weight::ZERO {
            acted_at.get_or_insert(look);
        }
    }
    let (warned, acted) = (warned_at.expect("a warning"), acted_at.expect("a rollback"));
    assert!(warned < acted, "warned at look {warned}, acted at look {acted}");
    assert_eq!(told.notices.iter().filter(|notice| notice.kind == NoticeKind::Warning).count(), 1);
}

#[test]
fn a_rollout_that_begins_later_is_announced_once_for_each_time() {
    let policy = Policy { announce: vec![secs(3600), secs(900)], ..policy().build() };
    let mut told = Told::begin(policy);
    told.state.target.active = None;
    told.state.rollout.phase = Phase::Scheduled;
    told.state.rollout.plan_mut().not_before = Some(at(3600.0));
    assert!(told.try_take(Event::Begin).is_err(), "not before its time");
    told.take(Event::Announce(secs(3600)));
    assert!(told.try_take(Event::Announce(secs(3600))).is_err(), "once");
    told.seconds = 2700.0;
    told.take(Event::Announce(secs(900)));
    let texts: Vec<&str> = told.notices.iter().map(|notice| notice.sentence.as_str()).collect();
    assert!(texts[0].starts_with("In 1 h") && texts[1].starts_with("In 15 min"), "{texts:?}");
    told.seconds = 3600.0;
    told.take(Event::Begin);
    assert_eq!(told.state.rollout.phase, Phase::Preflight);
}

#[test]
fn a_yes_may_be_said_early() {
    let mut told =
        Told::begin(with(vec![gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.command("lena", yes("sure", &["lead"])).expect("before it is due");
    told.until(|state| state.target.wanted.canary == percent(25.0));
    assert!(told.logged("Gate sure: approved by lena"), "{:?}", told.log);
    assert!(told.command("lena", yes("sure", &["lead"])).is_err(), "it has passed");
}
