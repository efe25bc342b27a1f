//! A rollout told event by event, and the gates that stand in its way.

use std::sync::Arc;
use std::time::Duration;

use serin::core::gate::{
    AlertsCheck, ApprovalRule, Before, Check, CommandCheck, Gate, GateAnswer, GateOutcome,
};
use serin::core::incident::IncidentStep;
use serin::core::judge::JudgeState;
use serin::core::metric::{MetricObservation, Usage, Window};
use serin::core::notice::Notice;
use serin::core::policy::Policy;
use serin::core::pools::ObservedSplit;
use serin::core::rollout::{
    Action, Command, CommandKind, Event, EventKind, Hold, Phase, State, Tick, transition,
};
use serin::core::split::Weight;

use crate::testkit::builders::{at, command, policy, proportion, rollout, secs, target};

/// A rollout with its target, told event by event; everything that it does is kept.
pub struct Told {
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

pub fn gate(name: &str, before: Before, check: Check) -> Gate {
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

pub fn approval(rules: &[(&str, u32)], by_starter: bool) -> Check {
    let rule = |(team, count): &(&str, u32)| ApprovalRule { team: Some((*team).to_owned()), count: *count };
    Check::Approval { rules: rules.iter().map(rule).collect(), by_starter }
}

pub fn program() -> Check {
    Check::Command(CommandCheck {
        command: vec!["/bin/true".to_owned()],
        directory: None,
        environment: Vec::new(),
        timeout: secs(60),
    })
}

pub fn quiet() -> Check {
    Check::Alerts(AlertsCheck { alertmanager: None, matchers: Vec::new(), quiet_for: Duration::ZERO })
}

pub fn with(gates: Vec<Gate>) -> Policy {
    Policy { gates, ..policy().build() }
}

pub fn yes(gate: &str, teams: &[&str]) -> CommandKind {
    let teams = teams.iter().map(|team| (*team).to_owned()).collect();
    CommandKind::Approve { gate: gate.to_owned(), teams }
}

pub fn no(gate: &str, teams: &[&str]) -> CommandKind {
    let teams = teams.iter().map(|team| (*team).to_owned()).collect();
    CommandKind::Refuse { gate: gate.to_owned(), teams }
}

pub fn detail(answer: fn(String) -> GateAnswer) -> GateAnswer {
    answer("it says so".to_owned())
}
