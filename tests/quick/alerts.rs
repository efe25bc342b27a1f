//! Alerts that come in, and hooks that have failed: what they do to a rollout.

use std::time::Duration;

use serin::core::alert::{Alert, AlertRecord, AlertWish, FiringAlerts, is_own, names_canary};
use serin::core::incident::{IncidentCause, IncidentStep};
use serin::core::judge::JudgeState;
use serin::core::metric::{MetricObservation, NoData, Usage};
use serin::core::notice::NoticeKind;
use serin::core::policy::Policy;
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{
    Action, Alerts, Command, CommandKind, Event, Hold, Outcome, Phase, Stage, State, Tick, transition,
};
use serin::core::split::{Split, Weight};
use serin::core::target::SeenSplit;
use serin::core::time::Timestamp;

use crate::testkit::builders::{T0, at, command, percent, policy, rollout, target, target_spec};

const HOUR: f64 = 3600.0;

/// A rollout whose canary has had 5% since `T0`, with what is remembered of alerts.
fn running(policy: Policy, remembered: Vec<AlertRecord>) -> State {
    let judge = JudgeState::new(&policy);
    let (mut rollout, mut target) = (rollout("r1", "shop", policy), target("shop"));
    rollout.phase = Phase::Progressing { step: 0, stage: Stage::Analysing { since: T0 } };
    rollout.alerts = Alerts::remembered(remembered, T0);
    rollout.alerts.exposed_at = Some(T0);
    target.active = Some(rollout.id.clone());
    target.want(Split::canary(percent(5.0), false));
    target.seen = Some(SeenSplit { split: target.wanted, generation: target.generation, at: T0 });
    target.certain = true;
    State { rollout, target, judge: std::sync::Arc::new(judge) }
}

/// An alert that rolls back, as it comes in so many seconds after `T0`.
fn alert(id: &str, severity: &str, firing: bool, starts_at: f64, received_at: f64) -> Alert {
    Alert {
        id: id.to_owned(),
        name: format!("Alert{id}"),
        severity: Some(severity.to_owned()),
        firing,
        starts_at: Some(at(starts_at)),
        received_at: at(received_at),
        summary: "too many errors".to_owned(),
        wish: AlertWish::Rollback,
        names_canary: None,
    }
}

fn fires(id: &str, starts_at: f64, received_at: f64) -> Alert {
    alert(id, "critical", true, starts_at, received_at)
}

fn over(id: &str, starts_at: f64, received_at: f64) -> Alert {
    alert(id, "critical", false, starts_at, received_at)
}

fn receive(state: &State, alerts: Vec<Alert>) -> Outcome {
    let now = alerts.last().map_or(T0, |alert| alert.received_at);
    let command = Command {
        by: "alertmanager".to_owned(),
        ..command(&format!("alerts-{}", now.0), CommandKind::Alerts { alerts })
    };
    transition(state.clone(), Event::Command(command), now).expect("alerts are taken")
}

fn blind_look() -> Tick {
    let metric = MetricObservation {
        routes: Default::default(),
        metric: "errors".to_owned(),
        window: None,
        canary: Err(NoData::Timeout),
        baseline: Err(NoData::Timeout),
        usage: Usage::Outside,
    };
    Tick {
        elapsed: Duration::from_secs(10),
        metrics: vec![metric],
        values: Vec::new(),
        notes: Default::default(),
    }
}

fn sentences(outcome: &Outcome) -> String {
    let lines = outcome.actions.iter().filter_map(|action| match action {
        Action::Record(record) => Some(record.sentence.clone()),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn holds(outcome: &Outcome) -> Vec<Hold> {
    outcome.state.rollout.holds.iter().copied().collect()
}

fn is_on_its_way_back(outcome: &Outcome) -> bool {
    matches!(outcome.state.rollout.phase, Phase::RollingBack { .. })
        && outcome.state.target.wanted.canary == Weight::ZERO
}

#[test]
fn an_alert_that_begins_under_the_canary_rolls_back_and_pages() {
    let state = running(policy().build(), Vec::new());
    let outcome = receive(&state, vec![fires("a", 60.0, 65.0)]);
    assert!(is_on_its_way_back(&outcome));
    let Phase::RollingBack { reason, .. } = &outcome.state.rollout.phase else { panic!("not on its way") };
    assert_eq!(reason.code, ReasonCode::Alert);
    assert!(reason.sentence.contains("1 min after the canary got traffic: too many errors"), "{reason:?}");
    let incident = outcome.state.target.incident.expect("an incident");
    assert_eq!(incident.acknowledged_by, None, "an alert is no person");
}

#[test]
fn an_alert_acknowledges_nothing() {
    let state = running(policy().build(), Vec::new());
    let back = receive(&state, vec![fires("a", 60.0, 65.0)]).state;
    let again = receive(&back, vec![fires("b", 70.0, 75.0), over("a", 60.0, 75.0)]);
    assert_eq!(again.state.target.incident.unwrap().acknowledged_by, None);
    assert_eq!(again.actions, [], "on the way back nothing is left to do");
}

#[test]
fn an_alert_from_before_the_canary_holds_while_it_fires() {
    let state = running(policy().build(), Vec::new());
    // It says that it began before; or it says that it began later than it came in.
    for alert in [fires("a", -300.0, 30.0), fires("a", -1.0, 900.0)] {
        let held = receive(&state, vec![alert.clone()]);
        assert_eq!(holds(&held), [Hold::Alert]);
        assert!(sentences(&held).contains("Held (alert): alert Alerta fires since"), "{}", sentences(&held));
        let again = receive(&held.state, vec![Alert { received_at: at(1000.0), ..alert.clone() }]);
        assert_eq!(again.actions, [], "once is enough");
        let over = receive(&again.state, vec![over("a", -300.0, 1200.0)]);
        assert_eq!(holds(&over), []);
        assert!(sentences(&over).contains("alert Alerta is over"), "{}", sentences(&over));
    }
}

#[test]
fn an_alert_that_came_in_before_the_canary_is_not_new_because_its_clock_says_so() {
    let mut state = running(policy().build(), Vec::new());
    state.rollout.alerts.exposed_at = None;
    state.rollout.phase = Phase::Preparing { step: 0 };
    state.target.last_exposed = None;
    let held = receive(&state, vec![fires("a", 500.0, -60.0)]);
    assert_eq!(holds(&held), [Hold::Alert]);
    let mut state = held.state;
    state.rollout.alerts.exposed_at = Some(T0);
    let again = receive(&state, vec![over("a", 500.0, 20.0)]);
    let again = receive(&again.state, vec![fires("a", 500.0, 700.0)]);
    assert_eq!(holds(&again), [Hold::Alert], "the first receipt counts");
}

#[test]
fn what_fired_in_the_day_before_is_not_the_canarys() {
    let record = |hours_ago: f64| {
        let (from, until) = (-hours_ago * HOUR - 60.0, -hours_ago * HOUR);
        let mut record = AlertRecord::new(&fires("a", from, from)).expect("fires");
        record.receive(&over("a", from, until));
        record
    };
    let yesterday = running(policy().build(), vec![record(24.5)]);
    let held = receive(&yesterday, vec![fires("a", 60.0, 65.0)]);
    assert_eq!(holds(&held), [Hold::Alert]);
    assert!(sentences(&held).contains("it also fired in the 25 h before"), "{}", sentences(&held));
    let earlier = running(policy().build(), vec![record(25.5)]);
    assert!(is_on_its_way_back(&receive(&earlier, vec![fires("a", 60.0, 65.0)])));
}

#[test]
fn one_that_stops_and_fires_again_counts_from_its_first_start() {
    let mut state = running(policy().build(), Vec::new());
    for minute in 0..5 {
        let begun = f64::from(minute) * 600.0 - 60.0;
        let held = receive(&state, vec![fires("a", begun, begun + 90.0)]);
        assert_eq!(holds(&held), [Hold::Alert], "{minute}");
        state = receive(&held.state, vec![over("a", begun, begun + 200.0)]).state;
        assert!(state.rollout.holds.is_empty());
    }
}

#[test]
fn only_what_is_urgent_holds_and_a_policy_may_say_that_nothing_does() {
    let named = |policy: Policy, severity: &str| {
        let outcome = receive(&running(policy, Vec::new()), vec![alert("a", severity, true, -60.0, 5.0)]);
        assert!(sentences(&outcome).contains("Alerta"), "{}", sentences(&outcome));
        holds(&outcome)
    };
    assert_eq!(named(policy().build(), "page"), [Hold::Alert]);
    assert_eq!(named(policy().build(), "warning"), []);
    let tells = Policy { firing_alerts: FiringAlerts::Tell, ..policy().build() };
    assert_eq!(named(tells, "critical"), []);
}

#[test]
fn an_alert_that_names_the_canary_rolls_back_whenever_it_began() {
    let state = running(policy().build(), Vec::new());
    let held = receive(&state, vec![fires("a", -60.0, 5.0)]);
    let naming = Alert { names_canary: Some("version=\"v2\"".to_owned()), ..fires("a", -60.0, 10.0) };
    let back = receive(&held.state, vec![naming]);
    assert!(is_on_its_way_back(&back));
    assert!(sentences(&back).contains("names the canary (version=\"v2\")"), "{}", sentences(&back));
}

#[test]
fn the_start_names_what_fires_and_holds_for_it() {
    let remembered = ["a", "b"].map(|id| {
        let severity = if id == "a" { "critical" } else { "warning" };
        AlertRecord::new(&alert(id, severity, true, -600.0, -300.0)).expect("fires")
    });
    let mut state = running(policy().build(), remembered.into());
    state.rollout.phase = Phase::Preflight;
    state.rollout.alerts.exposed_at = None;
    state.target.last_exposed = None;
    let tick = blind_look();
    let outcome = transition(state.clone(), Event::Tick(tick.clone()), at(1.0)).expect("a look");
    let told = sentences(&outcome);
    assert!(told.contains("Firing at the start: Alertb (warning), since"), "{told}");
    assert!(told.contains("Held (alert): alert Alerta (critical), since"), "{told}");
    let again = transition(outcome.state.clone(), Event::Tick(tick), at(11.0)).expect("a look");
    assert!(!sentences(&again).contains("Alert"), "once");
}

#[test]
fn a_person_who_resumes_is_not_overruled_by_the_same_alert() {
    let state = running(policy().build(), Vec::new());
    let held = receive(&state, vec![fires("a", -60.0, 5.0)]).state;
    let resumed =
        transition(held.clone(), Event::Command(command("k", CommandKind::Resume)), at(20.0)).unwrap();
    assert_eq!(holds(&resumed), []);
    let again = receive(&resumed.state, vec![fires("a", -60.0, 30.0)]);
    assert_eq!(holds(&again), []);
    let other = receive(&again.state, vec![fires("b", -60.0, 40.0)]);
    assert_eq!(holds(&other), [Hold::Alert]);
    assert_eq!(holds(&receive(&other.state, vec![over("b", -60.0, 50.0)])), [], "a is not asked any more");
}

#[test]
fn past_the_point_of_no_return_an_alert_takes_nothing_back() {
    let mut state = running(policy().build(), Vec::new());
    state.rollout.gates.no_return = Some("migrated".to_owned());
    let outcome = receive(&state, vec![fires("a", 60.0, 65.0)]);
    assert_eq!(holds(&outcome), [Hold::NoReturn]);
    assert_eq!(outcome.state.target.wanted.canary, percent(5.0));
}

#[test]
fn more_alerts_than_are_kept_are_followed_all_the_same() {
    let state = running(policy().build(), Vec::new());
    let mut alerts: Vec<Alert> =
        (0..700).map(|n| alert(&format!("w{n}"), "warning", true, -60.0, 5.0)).collect();
    alerts.push(fires("last", 60.0, 65.0));
    let outcome = receive(&state, alerts);
    assert!(is_on_its_way_back(&outcome));
    assert!(outcome.state.rollout.alerts.known.len() <= 100);
}

#[test]
fn labels_that_name_the_canary() {
    let (mut spec, mut target) = (target_spec("shop"), target("shop"));
    target.stable_version = Some("v1".to_owned());
    spec.canary.backend = "shop-new".to_owned();
    spec.stable.backend = "shop".to_owned();
    spec.canary.labels.clear();
    spec.stable.labels.clear();
    spec.canary.endpoints = vec!["http://10.0.0.7:9100/metrics".to_owned()];
    let told = |label: &str, value: &str| {
        let labels = [(label.to_owned(), value.to_owned())].into();
        names_canary(&labels, &spec, &target, "v2")
    };
    assert_eq!(told("version", "v2").as_deref(), Some("version=\"v2\""));
    assert_eq!(told("pod", "shop-new-7d9f-x2").as_deref(), Some("pod=\"shop-new-7d9f-x2\""));
    assert_eq!(told("pool", "shop-new").as_deref(), Some("pool=\"shop-new\""));
    assert_eq!(told("instance", "10.0.0.7:9100").as_deref(), Some("instance=\"10.0.0.7:9100\""));
    for (label, value) in [
        ("version", "v1"),
        ("pod", "shop-77c-1"),
        ("pool", "shop"),
        ("instance", "10.0.0.8:9100"),
        ("service", "shop-new"),
    ] {
        assert_eq!(told(label, value), None, "{label}={value}");
    }
    spec.canary.labels = [("track".to_owned(), "canary".to_owned())].into();
    spec.stable.labels = [("track".to_owned(), "stable".to_owned())].into();
    let labels = |track: &str| {
        [("track".to_owned(), track.to_owned()), ("version".to_owned(), "v2".to_owned())].into()
    };
    assert!(names_canary(&labels("canary"), &spec, &target, "v2").is_some());
    assert_eq!(names_canary(&labels("stable"), &spec, &target, "v2"), None);
}

#[test]
fn serins_own_alerts_are_known() {
    let own = |label: &str, value: &str| is_own(&[(label.to_owned(), value.to_owned())].into(), "shop");
    assert!(own("alertname", "SerinRollback"));
    assert!(own("incident", "shop/r1/7"));
    assert!(!own("alertname", "Serine"));
    assert!(!own("incident", "shopping/1"));
    assert!(!own("alertname", "CheckoutErrors"));
}

#[test]
fn a_hook_that_has_failed_opens_the_targets_incident_also_after_the_end() {
    let mut state = running(policy().build(), Vec::new());
    state.rollout.phase =
        Phase::RolledBack { reason: Reason::new(ReasonCode::Harm, "errors: canary 5%.".to_owned()) };
    state.target.active = None;
    let failed = CommandKind::HookFailed {
        hook: "tag".to_owned(),
        sentence: "The hook tag has failed and is not run again: exit code 1".to_owned(),
    };
    let event = Event::Command(command("hook/1/0", failed));
    let outcome = transition(state.clone(), event, at(9.0)).expect("taken");
    let incident = outcome.state.target.incident.clone().expect("an incident");
    assert!(incident.causes.contains(&IncidentCause::Hook));
    assert_eq!(incident.acknowledged_by, None);
    let paged = outcome.actions.iter().any(|action| {
        matches!(action, Action::Notify(notice) if notice.kind == NoticeKind::Alert
            && notice.incident.as_ref().is_some_and(|change| change.step == IncidentStep::Trigger))
    });
    assert!(paged, "{:?}", outcome.actions);
}

#[test]
fn rollouts_of_older_releases_load_without_alerts() {
    let rollout = rollout("r1", "shop", policy().build());
    let mut stored = serde_json::to_value(&rollout).unwrap();
    stored.as_object_mut().unwrap().remove("alerts");
    let loaded: serin::core::rollout::Rollout = serde_json::from_value(stored).unwrap();
    assert_eq!(loaded, rollout);
    let record = AlertRecord::new(&fires("a", 0.0, 1.0)).unwrap();
    assert!(record.has_fired(T0, Timestamp(T0.0 + 1)));
    assert!(!record.has_fired(T0.minus(Duration::from_secs(9)), T0));
}
