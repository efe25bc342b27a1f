//! Every phase with every event and every command. Both are taken from the enumerations, so that a new one cannot
//! be forgotten: it has no column, or no row, until somebody says what is expected of it.

use std::time::Duration;

use serin::core::gate::{
    ApprovalRule, Before, Check, CommandCheck, Gate, GateAnswer, GateOutcome, GateState, GateStatus,
};
use serin::core::ids::RolloutId;
use serin::core::incident::{Incident, IncidentCause};
use serin::core::judge::JudgeState;
use serin::core::metric::NoData;
use serin::core::policy::Verify;
use serin::core::pools::ObservedSplit;
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{
    CommandKind, CommandName, Ending, Event, EventName, Gap, Phase, PhaseName, Stage, State, transition,
};
use serin::core::split::Split;
use serin::core::target::SeenSplit;

use super::{name, no_data};
use crate::testkit::builders::{T0, at, command, percent, policy, rollout, secs, target};

/// What is expected: `=` taken, the phase stays; a phase: taken, and that one follows; `-` a typed error. What an
/// event needs to mean something (a gate that waits, an incident that is open) is there in every column.
const TABLE: &str = "
                sched prefl prep  settl anal  final bake  back  verif succ  rback canc  fail
begin           prefl -     -     -     -     -     -     -     -     -     -     -     -
history         -     =     -     -     -     -     -     -     -     -     -     -     -
tick            -     =     =     =     =     =     =     =     =     -     -     -     -
observed        =     =     =     anal  =     =     =     =     =     =     =     =     =
workload_ready  -     -     settl -     -     bake  -     -     -     -     -     -     -
announce        =     -     -     -     -     -     -     -     -     -     -     -     -
freeze          -     =     =     =     =     =     =     =     =     -     -     -     -
away            -     =     =     =     =     =     =     =     =     -     -     -     -
still_owed      -     back  back  back  back  back  back  -     -     -     -     -     -
gate_begun      -     =     =     =     =     =     =     -     -     -     -     -     -
gate            -     =     =     =     =     =     =     -     -     -     -     -     -
pause           -     =     =     =     =     =     =     -     -     -     -     -     -
resume          -     =     =     =     =     =     =     -     -     -     -     -     -
advance         -     -     -     prep  prep  -     -     -     -     -     -     -     -
promote         -     -     =     prep  prep  -     succ  -     -     -     -     -     -
rollback        canc  back  back  back  back  back  back  -     -     -     -     -     -
supersede       canc  back  back  back  back  back  succ  =     rback -     -     -     -
approve         =     =     =     =     =     =     =     -     -     -     -     -     -
refuse          -     =     =     =     =     =     =     -     -     -     -     -     -
override_gate   -     =     =     =     =     =     =     -     -     -     -     -     -
retry_gate      -     =     =     =     =     =     =     -     -     -     -     -     -
acknowledge     =     =     =     =     =     =     =     =     =     =     =     =     =
alerts          =     =     =     =     =     =     =     =     =     -     -     -     -
hook_failed     -     =     =     =     =     =     =     =     =     =     =     =     =
";

/// A phase's column: a step is one whose split is on its way, or one that is analysed.
fn columns(phase: PhaseName) -> &'static [(&'static str, &'static str)] {
    match phase {
        PhaseName::Scheduled => &[("sched", "scheduled")],
        PhaseName::Preflight => &[("prefl", "preflight")],
        PhaseName::Preparing => &[("prep", "preparing")],
        PhaseName::Progressing => &[("settl", "settling"), ("anal", "analysing")],
        PhaseName::Finalizing => &[("final", "finalizing")],
        PhaseName::Baking => &[("bake", "baking")],
        PhaseName::RollingBack => &[("back", "rolling_back")],
        PhaseName::Verifying => &[("verif", "verifying")],
        PhaseName::Succeeded => &[("succ", "succeeded")],
        PhaseName::RolledBack => &[("rback", "rolled_back")],
        PhaseName::Cancelled => &[("canc", "cancelled")],
        PhaseName::Failed => &[("fail", "failed")],
    }
}

#[derive(Clone, Copy)]
enum Row {
    Event(EventName),
    Command(CommandName),
}

/// Every event; in the place of commands as such, every command.
fn rows() -> Vec<(&'static str, Row)> {
    let events = EventName::ALL.iter().filter(|event| **event != EventName::Command);
    let events = events.map(|event| ((*event).into(), Row::Event(*event)));
    events.chain(CommandName::ALL.iter().map(|command| (command.name(), Row::Command(*command)))).collect()
}

fn reason() -> Reason {
    Reason::new(ReasonCode::Harm, "errors: canary 5% against baseline 1%.")
}

/// A state in that phase (`settling` and `analysing` are the stages of a step), with the split that belongs to it
/// in force.
pub fn state(case: &str) -> State {
    let policy = policy().build();
    let judge = std::sync::Arc::new(JudgeState::new(&policy));
    let mut rollout = rollout("r1", "shop", policy);
    let mut target = target("shop");
    let settling = case == "settling";
    let phase = match case {
        "settling" | "analysing" => Some(PhaseName::Progressing),
        other => PhaseName::all().find(|phase| phase.name() == other),
    };
    let (phase, canary) = match phase.unwrap_or_else(|| panic!("no phase {case}")) {
        PhaseName::Scheduled => (Phase::Scheduled, 0.0),
        PhaseName::Preflight => (Phase::Preflight, 0.0),
        PhaseName::Preparing => (Phase::Preparing { step: 1 }, 5.0),
        PhaseName::Progressing => {
            let stage = if settling { Stage::Settling } else { Stage::Analysing { since: T0 } };
            (Phase::Progressing { step: 0, stage }, 5.0)
        }
        PhaseName::Finalizing => (Phase::Finalizing, 100.0),
        PhaseName::Baking => (Phase::Baking, 100.0),
        PhaseName::RollingBack => (Phase::RollingBack { reason: reason(), ending: Ending::RolledBack }, 0.0),
        PhaseName::Verifying => {
            let verify = Verify { within: secs(600), hold_for: secs(60), at_most_times: 1.5 };
            rollout.plan_mut().policy.verify = Some(verify);
            (Phase::Verifying { reason: reason() }, 0.0)
        }
        PhaseName::Succeeded => (Phase::Succeeded, 0.0),
        PhaseName::RolledBack => (Phase::RolledBack { reason: reason() }, 0.0),
        PhaseName::Cancelled => (Phase::Cancelled { reason: reason(), superseded_by: None }, 0.0),
        PhaseName::Failed => (Phase::Failed { reason: reason() }, 0.0),
    };
    if phase != Phase::Scheduled && !phase.is_terminal() {
        target.active = Some(rollout.id.clone());
        target.last_exposed = Some(rollout.id.clone());
    }
    target.want(Split::canary(percent(canary), false));
    target.seen = Some(SeenSplit { split: target.wanted, generation: target.generation, at: T0 });
    target.certain = true;
    if settling {
        target.generation += 1;
    }
    rollout.phase = phase;
    State { rollout, target, judge }
}

/// A gate that waits, or has said no.
fn with_gate(state: &mut State, check: Check, status: GateStatus) -> String {
    let name = "sure".to_owned();
    let gate = Gate {
        name: name.clone(),
        before: Before::Finish,
        check,
        deadline: None,
        at_deadline: GateOutcome::Hold,
        on_refusal: GateOutcome::Hold,
        point_of_no_return: false,
    };
    state.rollout.plan_mut().policy.gates.push(gate);
    let waits = GateState { status, waited: Duration::ZERO, asked: 0, faults: 0, is_late: false };
    state.rollout.gates.states.insert(name.clone(), waits);
    name
}

fn approval() -> Check {
    Check::Approval { rules: vec![ApprovalRule { team: None, count: 1 }], by_starter: true }
}

fn program() -> Check {
    Check::Command(CommandCheck {
        command: vec!["/bin/true".to_owned()],
        directory: None,
        environment: Vec::new(),
        timeout: secs(60),
    })
}

fn waiting() -> GateStatus {
    GateStatus::Waiting { detail: "not asked yet".to_owned() }
}

/// The event of a row, with what it needs put into the state.
fn event(row: Row, state: &mut State) -> Event {
    let name = match row {
        Row::Event(name) => name,
        Row::Command(name) => {
            let mut command = command("k", kind(name, state));
            command.reason = Some("they know why".to_owned());
            return Event::Command(command);
        }
    };
    match name {
        EventName::Begin => Event::Begin,
        EventName::History => Event::History(Default::default()),
        EventName::Tick => Event::Tick(no_data(NoData::Timeout, secs(10))),
        EventName::Observed => {
            Event::Observed { split: ObservedSplit::of(Some(state.target.wanted)), elapsed: secs(1) }
        }
        EventName::WorkloadReady => Event::WorkloadReady,
        EventName::Announce => {
            state.rollout.plan_mut().not_before = Some(at(120.0));
            Event::Announce(secs(60))
        }
        EventName::Freeze => Event::Freeze(Some("frozen by erin: the holidays".to_owned())),
        EventName::Away => Event::Away { since: T0, gap: Gap::BeforeStart },
        EventName::StillOwed => Event::StillOwed { reason: reason(), ending: Ending::RolledBack },
        EventName::GateBegun => Event::GateBegun { gate: with_gate(state, program(), waiting()) },
        EventName::Gate => {
            let gate = with_gate(state, program(), waiting());
            Event::Gate { gate, answer: GateAnswer::Yes("exit code 0".to_owned()) }
        }
        EventName::Command => panic!("every command has a row of its own"),
    }
}

fn kind(name: CommandName, state: &mut State) -> CommandKind {
    match name {
        CommandName::Pause => CommandKind::Pause,
        CommandName::Resume => CommandKind::Resume,
        CommandName::Advance => CommandKind::Advance,
        CommandName::Promote => CommandKind::Promote,
        CommandName::Rollback => CommandKind::Rollback,
        CommandName::Supersede => CommandKind::Supersede { by: RolloutId("r2".to_owned()) },
        CommandName::Approve => {
            CommandKind::Approve { gate: with_gate(state, approval(), waiting()), teams: Vec::new() }
        }
        CommandName::Refuse => {
            CommandKind::Refuse { gate: with_gate(state, approval(), waiting()), teams: Vec::new() }
        }
        CommandName::OverrideGate => {
            CommandKind::OverrideGate { gate: with_gate(state, program(), waiting()) }
        }
        CommandName::RetryGate => {
            let lost = GateStatus::Lost { detail: "nobody knows how it ended".to_owned() };
            CommandKind::RetryGate { gate: with_gate(state, program(), lost) }
        }
        CommandName::Acknowledge => {
            state.target.incident = Some(Incident {
                key: "shop/r1/7".to_owned(),
                opened_at: T0,
                rollout: state.rollout.id.clone(),
                causes: [IncidentCause::Rollback].into(),
                acknowledged_by: None,
                told: Default::default(),
            });
            CommandKind::Acknowledge
        }
        CommandName::Alerts => CommandKind::Alerts { alerts: Vec::new() },
        CommandName::HookFailed => CommandKind::HookFailed {
            hook: "tag".to_owned(),
            sentence: "The hook tag has failed.".to_owned(),
        },
    }
}

#[test]
fn every_phase_with_every_event() {
    let columns: Vec<_> = PhaseName::all().flat_map(columns).collect();
    let short = |phase: &Phase| {
        let found = columns.iter().find(|(_, case)| *case == name(phase));
        found.map_or("?", |(short, _)| short)
    };
    let line = |head: &str, cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:<6}")).collect();
        format!("{head:<16}{cells}").trim_end().to_owned()
    };
    let mut found = vec![line("", columns.iter().map(|(short, _)| *short).collect())];
    for (head, row) in rows() {
        let cells = columns.iter().map(|(_, case)| {
            let mut before = state(case);
            let event = event(row, &mut before);
            match transition(before.clone(), event, at(60.0)) {
                Err(_) => "-",
                Ok(outcome) if name(&outcome.state.rollout.phase) == *case => "=",
                Ok(outcome) => short(&outcome.state.rollout.phase),
            }
        });
        found.push(line(head, cells.collect()));
    }
    let found = found.join("\n");
    assert!(found == TABLE.trim_matches('\n'), "it is now:\n{found}\n");
}

#[test]
fn commands_are_taken_in_the_phases_that_they_say() {
    for command in CommandName::ALL {
        for phase in PhaseName::all() {
            for (_, case) in columns(phase) {
                let mut before = state(case);
                let event = event(Row::Command(*command), &mut before);
                let is_taken = transition(before.clone(), event, at(60.0)).is_ok();
                assert_eq!(is_taken, command.is_taken_in(phase), "{command:?} while {case}");
            }
        }
    }
}
