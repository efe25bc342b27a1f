//! Invariants over random sequences of events.

use std::sync::Arc;

use proptest::prelude::*;
use serin::core::ids::RolloutId;
use serin::core::judge::JudgeState;
use serin::core::metric::{MetricObservation, NoData, Usage, Window};
use serin::core::policy::{AtMax, LimitOutcome};
use serin::core::pools::ObservedSplit;
use serin::core::rollout::{Action, CommandKind, Event, EventKind, Outcome, Phase, State, Tick, transition};
use serin::core::split::{Split, Weight};
use serin::core::time::Timestamp;

use super::table::state;
use crate::testkit::builders::{at, command, error_guardrail, policy, proportion, secs};

#[derive(Clone, Debug)]
enum Step {
    Tick { canary: Option<(u64, u64)>, baseline: Option<(u64, u64)>, elapsed: u64 },
    Seen,
    Unknown,
    Found(u16),
    Workload,
    Command(usize),
    Begin,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let counts =
        |rate: u64| prop::option::weighted(0.85, (0u64..20_000).prop_map(move |n| (n, n * rate / 100)));
    let step = prop_oneof![
        8 => (0u64..8).prop_flat_map(move |rate| (counts(rate), counts(1), 0u64..30))
            .prop_map(|(canary, baseline, elapsed)| Step::Tick { canary, baseline, elapsed }),
        6 => Just(Step::Seen),
        1 => Just(Step::Unknown),
        1 => (0u16..=10_000).prop_map(Step::Found),
        4 => Just(Step::Workload),
        1 => (0usize..6).prop_map(Step::Command),
        1 => Just(Step::Begin),
    ];
    prop::collection::vec(step, 1..120)
}

fn to_event(step: &Step, now: &State, at: Timestamp) -> Event {
    let observed = |split| Event::Observed { split: ObservedSplit::of(split), elapsed: secs(5) };
    let reading = |counts: Option<(u64, u64)>| {
        counts.map_or(Err(NoData::Timeout), |(total, bad)| proportion(total, bad))
    };
    match step {
        Step::Tick { canary, baseline, elapsed } => {
            let both = canary.is_some() && baseline.is_some();
            let metric = MetricObservation {
                routes: Default::default(),
                metric: "errors".to_owned(),
                window: Some(Window { start: at.minus(secs(10)), end: at }),
                canary: reading(*canary),
                baseline: reading(*baseline),
                usage: if both { Usage::Outside } else { Usage::Pending },
            };
            let elapsed = secs(*elapsed);
            Event::Tick(Tick {
                elapsed,
                metrics: vec![metric],
                values: Vec::new(),
                notes: Default::default(),
            })
        }
        Step::Seen => observed(Some(now.target.wanted)),
        Step::Unknown => observed(None),
        Step::Found(canary) => observed(Some(Split::canary(Weight(*canary), false))),
        Step::Workload => Event::WorkloadReady,
        Step::Begin => Event::Begin,
        Step::Command(which) => Event::Command(command(
            "k",
            match which {
                0 => CommandKind::Pause,
                1 => CommandKind::Resume,
                2 => CommandKind::Advance,
                3 => CommandKind::Promote,
                4 => CommandKind::Rollback,
                _ => CommandKind::Supersede { by: RolloutId("r2".to_owned()) },
            },
        )),
    }
}

/// What must hold of every single transition.
fn check(before: &State, event: &Event, outcome: &Outcome) {
    let after = &outcome.state;
    let records: Vec<_> = outcome
        .actions
        .iter()
        .filter_map(|action| if let Action::Record(record) = action { Some(record) } else { None })
        .collect();
    // 1: the exposure rises only with a recorded step.
    if after.target.wanted.canary > before.target.wanted.canary {
        assert!(records.iter().any(|r| r.kind == EventKind::StepEntered), "{event:?}");
    }
    // A change of the split is a new generation, and only that.
    assert!(after.target.generation >= before.target.generation);
    if after.target.wanted != before.target.wanted {
        assert!(after.target.generation > before.target.generation);
    }
    // 2: a way back wants 0 in the same transition, and never anything else again.
    let back = matches!(
        after.rollout.phase,
        Phase::RollingBack { .. } | Phase::RolledBack { .. } | Phase::Cancelled { .. } | Phase::Failed { .. }
    );
    if back {
        assert_eq!(after.target.wanted.canary, Weight::ZERO, "{event:?}");
    }
    if matches!(before.rollout.phase, Phase::RollingBack { .. }) {
        assert!(back, "a way back ends in {}", after.rollout.phase.name());
    }
    // 6 and 8: a rollout at its end has let go of the target.
    if after.rollout.phase.is_terminal() {
        assert_eq!(after.target.active, None);
        assert!(before.rollout.phase.is_terminal() || after.rollout.ended_at.is_some());
    }
    if before.rollout.phase.is_terminal() {
        assert_eq!(before.rollout.phase, after.rollout.phase);
    }
    // 11: every record has a sentence, and they are numbered without gaps.
    for (number, record) in (before.rollout.event_seq + 1..).zip(&records) {
        assert_eq!(record.seq, number);
        assert!(record.sentence.len() > 10, "{record:?}");
    }
    // 5: minimum durations are never passed without the analysed time, but for a command.
    let advanced =
        records.iter().any(|r| matches!(r.kind, EventKind::Advanced | EventKind::Promoted) && r.by.is_none());
    if advanced && let Phase::Progressing { step, .. } = before.rollout.phase {
        let min = before.rollout.policy.steps[step].min;
        assert!(before.rollout.timers.analysed + secs(90) >= min);
        assert!(before.rollout.holds.is_empty() || before.rollout.holds.len() == 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_over_random_sequences(
        steps in steps(),
        at_max in prop_oneof![Just(AtMax::Hold), Just(AtMax::RollBack), Just(AtMax::PromoteUnproven)],
        guarded in any::<bool>(),
        observing in any::<bool>(),
    ) {
        let mut now = state("preflight");
        let mut builder = policy().at_max(at_max).blind(secs(60), LimitOutcome::RollBack);
        if guarded {
            builder = builder.guardrail(error_guardrail(0.05));
        }
        if observing {
            builder = builder.observe_only();
        }
        now.rollout.plan_mut().policy = builder.build();
        now.judge = Arc::new(JudgeState::new(&now.rollout.policy));
        for (index, step) in steps.iter().enumerate() {
            let time = at(10.0 * index as f64);
            let event = to_event(step, &now, time);
            if let Ok(outcome) = transition(now.clone(), event.clone(), time) {
                check(&now, &event, &outcome);
                if observing {
                    prop_assert_eq!(outcome.state.target.wanted.canary, Weight::ZERO);
                }
                now = outcome.state;
            }
        }
    }
}
