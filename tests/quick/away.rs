//! Times in which no process worked on a rollout.

use serin::core::rollout::{Event, EventKind, transition};

use crate::testkit::builders::{T0, at, secs};
use crate::transition::table::state;

#[test]
fn a_rollout_says_for_how_long_nobody_worked_on_it() {
    let state = state("analysing");
    assert!(!state.rollout.was_left_alone(T0, at(20.0)), "an ordinary restart");
    assert!(!state.rollout.was_left_alone(at(60.0), T0), "a clock that was set back");
    let lines = |seconds: f64| {
        let away = transition(state.clone(), Event::Away { since: T0 }, at(seconds)).expect("legal here");
        away.state.rollout.event_seq - state.rollout.event_seq
    };
    assert_eq!((lines(20.0), lines(420.0)), (0, 1));
    let away = transition(state.clone(), Event::Away { since: T0 }, at(420.0)).expect("legal here");
    let [serin::core::rollout::Action::Record(line)] = &away.actions[..] else {
        panic!("{:?}", away.actions)
    };
    assert_eq!(line.kind, EventKind::Away);
    assert!(line.sentence.contains("not running for 7 min"), "{}", line.sentence);
    assert!(line.sentence.contains(&T0.to_string()), "{}", line.sentence);
    assert!(away.state.rollout.was_left_alone(T0, T0.plus(secs(7 * 60))));
}
