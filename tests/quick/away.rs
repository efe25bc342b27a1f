//! Times in which no process worked on a rollout.

use std::time::Duration;

use serin::core::rollout::{EventKind, Phase};

use crate::api::example::{NOW, rollout};

#[test]
fn a_rollout_says_for_how_long_nobody_worked_on_it() {
    let mut rollout = rollout();
    let before = rollout.event_seq;
    let seconds = |seconds| NOW.plus(Duration::from_secs(seconds));
    assert_eq!(rollout.away(NOW, seconds(20)), None, "an ordinary restart");
    assert_eq!(rollout.away(seconds(60), NOW), None, "a clock that was set back");
    let line = rollout.away(NOW, seconds(420)).expect("a line");
    assert_eq!((line.seq, rollout.event_seq, line.kind), (before + 1, before + 1, EventKind::Away));
    assert!(line.sentence.contains("not running for 7 min"), "{}", line.sentence);
    rollout.phase = Phase::Scheduled;
    assert_eq!(rollout.away(NOW, seconds(420)), None, "there was nothing to do");
}
