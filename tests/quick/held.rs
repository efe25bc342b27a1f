//! Gates, approvals, freezes, the point of no return, verified rollbacks and incidents: rollouts told event
//! by event, without engine and clock.

use std::sync::Arc;
use std::time::Duration;

use serin::core::gate::{
    AlertsCheck, ApprovalRule, Before, Check, CommandCheck, Gate, GateAnswer, GateOutcome, GateStatus,
    Occasion,
};
use serin::core::judge::JudgeState;
use serin::core::metric::{MetricObservation, Usage, Window};
use serin::core::policy::{GuardrailAction, Policy, Preflight, Verify};
use serin::core::rollout::{
    Action, Command, CommandKind, Ending, Event, EventKind, Hold, IncidentStep, Notice, NoticeKind, Phase,
    RolloutId, State, Tick, due_gates, running_gates, transition,
};
use serin::core::target::{Incident, IncidentCause, ObservedSplit, Split, Weight};

use crate::testkit::builders::{
    at, command, error_guardrail, percent, policy, proportion, rollout, secs, target,
};

/// A rollout with its target, told event by event; everything that it does is kept.
pub(super) struct Told {
    pub state: State,
    pub seconds: f64,
    pub notices: Vec<Notice>,
    pub log: Vec<(EventKind, String)>,
    keys: u32,
}

impl Told {
    pub fn begin(policy: Policy) -> Told {
        let judge = Arc::new(JudgeState::new(&policy));
        let mut target = target("shop");
        let rollout = rollout("r1", "shop", policy);
        target.active = Some(rollout.id.clone());
        let state = State { rollout, target, judge };
        let mut told = Told { state, seconds: 0.0, notices: Vec::new(), log: Vec::new(), keys: 0 };
        told.seen();
        told
    }

    pub fn try_take(&mut self, event: Event) -> Result<(), String> {
        let outcome =
            transition(self.state.clone(), event, at(self.seconds)).map_err(|illegal| illegal.to_string())?;
        for action in outcome.actions {
            match action {
                Action::Notify(notice) => self.notices.push(notice),
                Action::Record(record) => self.log.push((record.kind, record.sentence)),
                Action::Observe(_) => {}
            }
        }
        self.state = outcome.state;
        Ok(())
    }

    pub fn take(&mut self, event: Event) {
        self.try_take(event).expect("a legal event");
    }

    /// The router does what is wanted.
    pub fn seen(&mut self) {
        let split = ObservedSplit::of(Some(self.state.target.wanted));
        self.take(Event::Observed { split, elapsed: secs(1) });
        if matches!(self.state.rollout.phase, Phase::Preparing { .. } | Phase::Finalizing) {
            self.take(Event::WorkloadReady);
            let split = ObservedSplit::of(Some(self.state.target.wanted));
            self.take(Event::Observed { split, elapsed: secs(1) });
            if self.state.rollout.phase == Phase::Finalizing {
                self.take(Event::WorkloadReady);
            }
        }
    }

    /// Ten seconds with these requests, all and bad.
    pub fn look(&mut self, canary: (u64, u64), baseline: (u64, u64)) {
        if self.state.rollout.phase.is_terminal() {
            return;
        }
        self.tick(canary, baseline);
        self.seen();
    }

    /// A healthy look at the metrics alone: neither the router nor the workload says anything.
    pub fn tick_alone(&mut self) {
        let canary = (200_000.0 * self.state.target.wanted.canary.share()) as u64;
        self.tick((canary, canary / 1000), (200_000 - canary, (200_000 - canary) / 1000));
    }

    fn tick(&mut self, canary: (u64, u64), baseline: (u64, u64)) {
        let window = Window { start: at(self.seconds), end: at(self.seconds + 10.0) };
        self.seconds += 10.0;
        let metric = MetricObservation {
            routes: Default::default(),
            metric: "errors".to_owned(),
            window: Some(window),
            canary: proportion(canary.0, canary.1),
            baseline: proportion(baseline.0, baseline.1),
            usage: Usage::Outside,
        };
        self.take(Event::Tick(Tick {
            elapsed: secs(10),
            metrics: vec![metric],
            values: Vec::new(),
            notes: Default::default(),
        }));
    }

    /// Healthy looks with much traffic, split as it is wanted.
    pub fn healthy(&mut self, looks: usize) {
        for _ in 0..looks {
            let canary = (200_000.0 * self.state.target.wanted.canary.share()) as u64;
            self.look((canary, canary / 1000), (200_000 - canary, (200_000 - canary) / 1000));
        }
    }

    pub fn until(&mut self, what: impl Fn(&State) -> bool) {
        for _ in 0..500 {
            if what(&self.state) {
                return;
            }
            self.healthy(1);
        }
        panic!("never came: {:?} {:?}", self.state.rollout.phase, self.log);
    }

    pub fn command(&mut self, by: &str, kind: CommandKind) -> Result<(), String> {
        self.command_with(by, kind, |_| {})
    }

    /// A command that differs from a plain one.
    pub fn command_with(
        &mut self,
        by: &str,
        kind: CommandKind,
        change: impl FnOnce(&mut Command),
    ) -> Result<(), String> {
        self.keys += 1;
        let mut command = command(&format!("k{}", self.keys), kind);
        command.by = by.to_owned();
        command.reason = Some("they know why".to_owned());
        change(&mut command);
        self.try_take(Event::Command(command))
    }

    pub fn answer(&mut self, gate: &str, answer: GateAnswer) {
        self.take(Event::Gate { gate: gate.to_owned(), answer });
    }

    pub fn holds(&self, hold: Hold) -> bool {
        self.state.rollout.holds.contains(&hold)
    }

    pub fn weight(&self) -> Weight {
        self.state.target.wanted.canary
    }

    pub fn logged(&self, words: &str) -> bool {
        self.log.iter().any(|(_, sentence)| sentence.contains(words))
    }

    pub fn incidents(&self) -> Vec<(IncidentStep, String)> {
        let changes = self.notices.iter().filter_map(|notice| notice.incident.as_ref());
        changes.map(|change| (change.step, change.key.clone())).collect()
    }
}

pub(super) fn gate(name: &str, before: Before, check: Check) -> Gate {
    Gate {
        name: name.to_owned(),
        before,
        check,
        deadline: None,
        at_deadline: GateOutcome::Hold,
        on_refusal: GateOutcome::Hold,
        point_of_no_return: false,
    }
}

pub(super) fn approval(rules: &[(&str, u32)], by_starter: bool) -> Check {
    let rule = |(team, count): &(&str, u32)| ApprovalRule { team: Some((*team).to_owned()), count: *count };
    Check::Approval { rules: rules.iter().map(rule).collect(), by_starter }
}

pub(super) fn program() -> Check {
    Check::Command(CommandCheck {
        command: vec!["/bin/true".to_owned()],
        directory: None,
        environment: Vec::new(),
        timeout: secs(60),
    })
}

pub(super) fn quiet() -> Check {
    Check::Alerts(AlertsCheck { alertmanager: None, matchers: Vec::new(), quiet_for: Duration::ZERO })
}

pub(super) fn with(gates: Vec<Gate>) -> Policy {
    Policy { gates, ..policy().build() }
}

pub(super) fn yes(gate: &str, teams: &[&str]) -> CommandKind {
    let teams = teams.iter().map(|team| (*team).to_owned()).collect();
    CommandKind::Approve { gate: gate.to_owned(), teams }
}

pub(super) fn no(gate: &str, teams: &[&str]) -> CommandKind {
    let teams = teams.iter().map(|team| (*team).to_owned()).collect();
    CommandKind::Refuse { gate: gate.to_owned(), teams }
}

pub(super) fn detail(answer: fn(String) -> GateAnswer) -> GateAnswer {
    answer("it says so".to_owned())
}

#[test]
fn nothing_rises_before_the_gates_of_the_start_say_yes() {
    let mut told = Told::begin(with(vec![
        gate("window", Before::Start, quiet()),
        gate("migrated", Before::Start, program()),
    ]));
    told.healthy(3);
    assert!(told.holds(Hold::Gate));
    assert_eq!(told.weight(), Weight::ZERO);
    assert_eq!(told.state.rollout.gates.occasion, Some(Occasion::Start));
    told.answer("migrated", detail(GateAnswer::Yes));
    told.healthy(2);
    assert_eq!(told.weight(), Weight::ZERO, "one of two is not enough");
    told.answer("window", detail(GateAnswer::Yes));
    told.healthy(2);
    assert_eq!(told.weight(), percent(5.0));
    assert!(!told.holds(Hold::Gate));
}

#[test]
fn a_held_rollout_is_judged_on_and_rolled_back() {
    let mut told = Told::begin(with(vec![gate("smoke", Before::Step(percent(25.0)), program())]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    for _ in 0..30 {
        told.look((10_000, 2_000), (190_000, 190));
        if matches!(told.state.rollout.phase, Phase::RollingBack { .. }) {
            break;
        }
    }
    assert_eq!(told.weight(), Weight::ZERO);
    assert!(told.state.rollout.gates.states.is_empty(), "nothing is asked on the way back");
    assert!(due_gates(&told.state.rollout).is_empty());
}

#[test]
fn a_yes_of_a_check_is_as_good_as_its_last_answer() {
    let mut told = Told::begin(with(vec![
        gate("quiet", Before::Promotion, quiet()),
        gate("sure", Before::Promotion, approval(&[("lead", 1)], true)),
    ]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(2)));
    told.answer("quiet", detail(GateAnswer::Yes));
    assert_eq!(due_gates(&told.state.rollout).len(), 1, "it is asked on while the other is waited for");
    told.answer("quiet", detail(GateAnswer::NotYet));
    told.command("lena", yes("sure", &["lead"])).expect("a yes");
    told.healthy(2);
    assert!(told.weight() < Weight::FULL);
    told.answer("quiet", detail(GateAnswer::Yes));
    told.healthy(1);
    assert_eq!(told.weight(), Weight::FULL);
}

#[test]
fn approvals_are_counted_by_team_and_person() {
    let rules = approval(&[("lead", 1), ("production", 2)], false);
    let mut told = Told::begin(with(vec![gate("sure", Before::Start, rules)]));
    let starter = told.state.rollout.created_by.clone();
    told.healthy(2);
    let refused = told.command(&starter, yes("sure", &["lead"])).expect_err("the starter");
    assert!(refused.contains("somebody else"), "{refused}");
    let refused = told.command("otto", yes("sure", &["kitchen"])).expect_err("another team");
    assert!(
        refused.contains("one of lead and two of production") && refused.contains("kitchen"),
        "{refused}"
    );
    let refused = told.command("otto", yes("nothing", &["lead"])).expect_err("no such gate");
    assert!(refused.contains("the policy has sure"), "{refused}");
    // Ada is in both teams: she counts where she is needed.
    told.command("ada", yes("sure", &["lead", "production"])).expect("a yes");
    assert!(told.command("ada", yes("sure", &["production"])).is_err(), "nobody counts twice");
    told.command("bob", yes("sure", &["production"])).expect("a yes");
    told.healthy(2);
    assert_eq!(told.weight(), Weight::ZERO);
    told.command("cy", yes("sure", &["production"])).expect("a yes");
    told.healthy(2);
    assert_eq!(told.weight(), percent(5.0));
    assert!(told.logged("approved by ada, bob, cy"), "{:?}", told.log);
    let late = told.command("dan", yes("sure", &["production"])).expect_err("it has passed");
    assert!(late.contains("does not wait for anybody any more"), "{late}");
}

#[test]
fn a_refusal_holds_or_takes_back_with_its_reason() {
    let before = |outcome| {
        let gate = Gate {
            on_refusal: outcome,
            ..gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
        };
        let mut told = Told::begin(with(vec![gate]));
        told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
        told.command("lena", no("sure", &["lead"])).expect("a no");
        told
    };
    let told = before(GateOutcome::RollBack);
    assert_eq!(told.weight(), Weight::ZERO);
    let reason = told.state.rollout.phase.reason().expect("a reason");
    assert!(reason.sentence.contains("they know why"), "{reason:?}");

    let mut told = before(GateOutcome::Hold);
    told.healthy(5);
    assert_eq!(told.weight(), percent(5.0));
    assert!(told.command("lena", yes("sure", &["lead"])).is_err(), "a no stands");
    told.command("root", CommandKind::RetryGate { gate: "sure".to_owned() }).expect("asked anew");
    told.command("lena", yes("sure", &["lead"])).expect("a yes");
    told.healthy(2);
    assert_eq!(told.weight(), percent(25.0));
}

#[test]
fn a_deadline_does_what_the_policy_says() {
    for (outcome, weight) in
        [(GateOutcome::Hold, 5.0), (GateOutcome::RollBack, 0.0), (GateOutcome::GoOn, 25.0)]
    {
        let gate = Gate {
            deadline: Some(secs(30)),
            at_deadline: outcome,
            ..gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
        };
        let mut told = Told::begin(with(vec![gate]));
        told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
        told.healthy(2);
        assert_eq!(told.weight(), percent(5.0), "before the deadline");
        told.healthy(3);
        assert_eq!(told.weight(), percent(weight), "{outcome:?}");
        let pages = told.incidents().into_iter().filter(|(step, _)| *step == IncidentStep::Trigger).count();
        assert_eq!(pages, usize::from(outcome != GateOutcome::GoOn), "{outcome:?}");
    }
}

#[test]
fn a_person_who_wants_to_go_on_waits_for_gates_but_not_for_proof() {
    let mut told = Told::begin(with(vec![gate("smoke", Before::Step(percent(25.0)), program())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.command("lena", CommandKind::Advance).expect("wanted");
    assert_eq!(told.weight(), percent(5.0));
    assert!(told.holds(Hold::Gate));
    told.answer("smoke", detail(GateAnswer::Yes));
    told.healthy(1);
    assert_eq!(told.weight(), percent(25.0));
    assert!(told.logged("lena said so"), "{:?}", told.log);
}

#[test]
fn who_jumps_over_steps_passes_their_gates_too() {
    let mut told = Told::begin(with(vec![gate("smoke", Before::Step(percent(25.0)), program())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.command("lena", CommandKind::Promote).expect("wanted");
    told.healthy(3);
    assert_eq!(told.weight(), percent(5.0));
    told.command("root", CommandKind::OverrideGate { gate: "smoke".to_owned() }).expect("overridden");
    assert!(told.logged("OVERRIDDEN by root: they know why"), "{:?}", told.log);
    told.healthy(2);
    assert_eq!(told.weight(), Weight::FULL);
}

#[test]
fn a_program_whose_outcome_is_not_known_holds_and_pages() {
    let mut told = Told::begin(with(vec![gate("migrate", Before::Start, program())]));
    told.healthy(2);
    assert_eq!(due_gates(&told.state.rollout).len(), 1);
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    assert!(due_gates(&told.state.rollout).is_empty(), "it is not begun twice");
    assert_eq!(running_gates(&told.state.rollout), ["migrate"]);
    told.answer("migrate", GateAnswer::Lost("Serin stopped meanwhile.".to_owned()));
    told.healthy(5);
    assert_eq!(told.weight(), Weight::ZERO);
    assert!(due_gates(&told.state.rollout).is_empty(), "it is not run again by itself");
    assert_eq!(
        told.state.target.incident.as_ref().map(|i| i.causes.clone()),
        Some([IncidentCause::Gate].into())
    );
    told.command("lena", CommandKind::RetryGate { gate: "migrate".to_owned() }).expect("asked anew");
    let due = due_gates(&told.state.rollout);
    assert_eq!((due.len(), due[0].asked), (1, 1), "another question, another key");
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", detail(GateAnswer::Yes));
    told.healthy(2);
    assert_eq!(told.weight(), percent(5.0));
    let steps: Vec<IncidentStep> = told.incidents().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [IncidentStep::Trigger, IncidentStep::Acknowledge, IncidentStep::Resolve]);
}

#[test]
fn faults_are_asked_again_and_are_no_verdict() {
    let mut told = Told::begin(with(vec![gate("quiet", Before::Start, quiet())]));
    told.healthy(2);
    for _ in 0..20 {
        told.answer("quiet", detail(GateAnswer::Fault));
        told.healthy(1);
    }
    assert_eq!(told.weight(), Weight::ZERO);
    assert!(matches!(told.state.rollout.gates.states["quiet"].status, GateStatus::Waiting { .. }));
    assert_eq!(due_gates(&told.state.rollout).len(), 1);
}

#[test]
fn a_gate_that_is_asked_all_along_holds_while_it_says_no() {
    let mut told = Told::begin(with(vec![gate("quiet", Before::During, quiet())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.healthy(1);
    assert_eq!(due_gates(&told.state.rollout)[0].occasion, Occasion::During);
    told.answer("quiet", detail(GateAnswer::NotYet));
    assert!(told.holds(Hold::Gate));
    told.healthy(30);
    assert_eq!(told.weight(), percent(5.0));
    told.answer("quiet", detail(GateAnswer::Yes));
    assert!(!told.holds(Hold::Gate));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    let roll_back = Gate { on_refusal: GateOutcome::RollBack, ..gate("quiet", Before::During, quiet()) };
    let mut told = Told::begin(with(vec![roll_back]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.healthy(1);
    told.answer("quiet", detail(GateAnswer::No));
    assert_eq!(told.weight(), Weight::ZERO);
}

#[test]
fn past_the_point_of_no_return_a_person_decides() {
    let migrate =
        Gate { point_of_no_return: true, ..gate("migrate", Before::Step(percent(25.0)), program()) };
    let mut told = Told::begin(with(vec![migrate]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", detail(GateAnswer::Yes));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    for _ in 0..30 {
        told.look((50_000, 10_000), (150_000, 150));
    }
    assert_eq!(told.weight(), percent(25.0), "it does not go back by itself");
    assert!(told.holds(Hold::NoReturn));
    let pages = told.incidents();
    assert_eq!(pages.iter().filter(|(step, _)| *step == IncidentStep::Trigger).count(), 1, "{pages:?}");
    told.command("lena", CommandKind::Rollback).expect("a person may");
    assert_eq!(told.weight(), Weight::ZERO);
}

#[test]
fn what_cannot_be_taken_back_is_asked_last_and_binds_from_its_yes() {
    let migrate =
        Gate { point_of_no_return: true, ..gate("migrate", Before::Step(percent(25.0)), program()) };
    let sure = gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true));
    let late = gate("late", Before::Promotion, approval(&[("lead", 1)], true));
    let mut told = Told::begin(with(vec![migrate, sure, late]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    assert!(due_gates(&told.state.rollout).is_empty(), "nobody has agreed yet");
    told.command("lena", yes("sure", &["lead"])).expect("a yes");
    assert_eq!(due_gates(&told.state.rollout)[0].gate.name, "migrate");
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", detail(GateAnswer::Yes));
    assert_eq!(told.state.rollout.gates.no_return.as_deref(), Some("migrate"));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    // A newer release is no person's word either.
    let newer = RolloutId("r2".to_owned());
    told.command("ci", CommandKind::Supersede { by: newer }).expect("taken");
    assert_eq!(told.weight(), percent(25.0));
    assert!(told.holds(Hold::NoReturn));
}

#[test]
fn two_deadlines_at_once_are_one_rollback() {
    let back = |name: &str| Gate {
        deadline: Some(secs(30)),
        at_deadline: GateOutcome::RollBack,
        ..gate(name, Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
    };
    let mut told = Told::begin(with(vec![back("one"), back("two")]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.healthy(4);
    let rolled_back = matches!(
        told.state.rollout.phase,
        Phase::RollingBack { ending: Ending::RolledBack, .. } | Phase::RolledBack { .. }
    );
    assert!(rolled_back, "{:?}", told.state.rollout.phase);
    // Before the start it is over with the first one, too.
    let early = |name: &str| Gate { before: Before::Start, ..back(name) };
    let mut told = Told::begin(with(vec![early("one"), early("two")]));
    told.until(|state| state.rollout.phase.is_terminal());
    assert_eq!(told.log.iter().filter(|(kind, _)| *kind == EventKind::GateDue).count(), 1, "{:?}", told.log);
}

#[test]
fn a_rollout_that_never_began_says_nothing_of_another_ones_incident() {
    let sure = Gate {
        on_refusal: GateOutcome::RollBack,
        ..gate("sure", Before::Start, approval(&[("lead", 1)], true))
    };
    let mut told = Told::begin(with(vec![sure]));
    told.state.target.incident = Some(Incident {
        key: "shop/r0/9".to_owned(),
        opened_at: at(0.0),
        rollout: RolloutId("r0".to_owned()),
        causes: [IncidentCause::NotVerified].into(),
        acknowledged_by: None,
        told: Default::default(),
    });
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Start));
    told.command("lena", no("sure", &["lead"])).expect("a no");
    told.until(|state| state.rollout.phase.is_terminal());
    assert_eq!(told.state.rollout.phase.name(), "cancelled");
    assert!(told.state.target.incident.is_some(), "the service is still not as it was");
}

#[test]
fn going_on_without_a_yes_is_not_going_on_against_a_no() {
    let sure = Gate {
        deadline: Some(secs(30)),
        at_deadline: GateOutcome::GoOn,
        ..gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true))
    };
    let mut told = Told::begin(with(vec![sure]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.command("lena", no("sure", &["lead"])).expect("a no");
    told.healthy(10);
    assert_eq!(told.weight(), percent(5.0));
    // A check that goes on without its yes is not asked any more, so it stays so.
    let check = Gate {
        deadline: Some(secs(30)),
        at_deadline: GateOutcome::GoOn,
        ..gate("quiet", Before::Step(percent(25.0)), quiet())
    };
    let waits = gate("sure", Before::Step(percent(25.0)), approval(&[("lead", 1)], true));
    let mut told = Told::begin(with(vec![check, waits]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.healthy(5);
    assert!(due_gates(&told.state.rollout).is_empty());
}

#[test]
fn a_program_is_not_run_again_because_somebody_jumps_over_steps() {
    let mut told = Told::begin(with(vec![gate("migrate", Before::Step(percent(25.0)), program())]));
    told.until(|state| state.rollout.gates.occasion == Some(Occasion::Step(1)));
    told.take(Event::GateBegun { gate: "migrate".to_owned() });
    told.answer("migrate", GateAnswer::Lost("Serin stopped meanwhile.".to_owned()));
    told.command("lena", CommandKind::Promote).expect("wanted");
    assert!(due_gates(&told.state.rollout).is_empty());
    assert!(matches!(told.state.rollout.gates.states["migrate"].status, GateStatus::Lost { .. }));
}

#[test]
fn no_person_and_no_silence_passes_a_gate_that_is_asked_all_along() {
    let mut told = Told::begin(with(vec![gate("quiet", Before::During, quiet())]));
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.healthy(1);
    told.answer("quiet", detail(GateAnswer::NotYet));
    told.answer("quiet", detail(GateAnswer::Fault));
    assert!(told.holds(Hold::Gate), "not to answer takes no word back");
    told.command("lena", CommandKind::Advance).expect("wanted");
    told.healthy(3);
    assert_eq!(told.weight(), percent(5.0));
    told.answer("quiet", detail(GateAnswer::Yes));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    assert!(told.logged("lena said so"), "{:?}", told.log);
}

#[test]
fn a_freeze_stops_advancing_and_no_way_back() {
    let mut told = Told::begin(policy().build());
    told.until(|state| matches!(state.rollout.phase, Phase::Progressing { .. }));
    told.take(Event::Freeze(Some("frozen by root: the holidays".to_owned())));
    told.healthy(60);
    assert_eq!(told.weight(), percent(5.0));
    let refused = told.command("lena", CommandKind::Promote).expect_err("frozen");
    assert!(refused.contains("frozen"), "{refused}");
    told.command("lena", CommandKind::Resume).expect("other holds go");
    assert!(told.holds(Hold::Freeze), "a freeze is not a person's to drop");
    told.take(Event::Freeze(None));
    told.until(|state| state.target.wanted.canary == percent(25.0));
    told.take(Event::Freeze(Some("frozen by root: the holidays".to_owned())));
    for _ in 0..30 {
        told.look((50_000, 10_000), (150_000, 150));
    }
    assert_eq!(told.weight(), Weight::ZERO);
}

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
