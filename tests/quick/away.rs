//! Times in which nothing of a rollout was stored: nobody worked on it, or its store took nothing.

use std::collections::{BTreeSet, VecDeque};

use serin::core::rollout::{CommandKind, Event, EventKind, Gap, transition};
use serin::core::routing::Routing;
use serin::core::time::Timestamp;
use serin::engine::{Active, Actor, Freezes, Job, Loaded, Message, Now, Options, Outcome, Telling};
use serin::messages::Words;
use serin::ports::{InboxEntry, StoreError};

use crate::testkit::builders::{T0, at, command, secs, target_spec};
use crate::transition::table::state;

#[test]
fn a_rollout_says_for_how_long_nobody_worked_on_it() {
    let state = state("analysing");
    assert!(!state.rollout.was_left_alone(T0, at(20.0)), "an ordinary restart");
    assert!(!state.rollout.was_left_alone(at(60.0), T0), "a clock that was set back");
    let lines = |seconds: f64| {
        let away = transition(state.clone(), Event::Away { since: T0, gap: Gap::BeforeStart }, at(seconds))
            .expect("legal here");
        away.state.rollout.event_seq - state.rollout.event_seq
    };
    assert_eq!((lines(20.0), lines(420.0)), (0, 1));
    let away = transition(state.clone(), Event::Away { since: T0, gap: Gap::BeforeStart }, at(420.0))
        .expect("legal here");
    let [serin::core::rollout::Action::Record(line)] = &away.actions[..] else {
        panic!("{:?}", away.actions)
    };
    assert_eq!(line.kind, EventKind::Away);
    assert!(line.sentence.contains("not running for 7 min"), "{}", line.sentence);
    assert!(line.sentence.contains(&T0.to_string()), "{}", line.sentence);
    assert!(away.state.rollout.was_left_alone(T0, T0.plus(secs(7 * 60))));
}

/// What the store holds of a target with a rollout, which was last worked on at that time.
fn loaded(last_work: Option<Timestamp>) -> Loaded {
    let state = state("analysing");
    let active = Active { rollout: state.rollout, judge: state.judge, cursors: Default::default() };
    let mut target = state.target;
    target.active = Some(active.rollout.id.clone());
    Loaded {
        target,
        active: Some(Some(Box::new(active))),
        waiting: vec![],
        ended: vec![],
        inbox: vec![],
        done: vec![],
        last_work,
    }
}

fn actor(loaded: Loaded, now: Now) -> Actor {
    let telling =
        Telling { routing: Routing::everything([]), words: Words::default(), channels: BTreeSet::new() };
    let freezes = Freezes { is_known: true, ..Freezes::default() };
    let spec = target_spec(&loaded.target.name).into();
    Actor::new(spec, loaded, telling.into(), freezes.into(), Options::default(), now)
}

fn now(seconds: u64) -> Now {
    Now { wall: T0.plus(secs(seconds)), monotonic: secs(seconds) }
}

/// Lets it work for so many seconds with a store that takes something when it `is_there`; gives what it has
/// stored of kind `away`.
fn work(actor: &mut Actor, seconds: std::ops::Range<u64>, is_there: impl Fn(u64) -> bool) -> Vec<String> {
    let mut told = Vec::new();
    for second in seconds {
        let mut messages = VecDeque::from([Message::Due]);
        while let Some(message) = messages.pop_front() {
            for (ticket, job) in actor.take(message, now(second)).jobs {
                let away = || Err(StoreError::Unavailable("database is locked".to_owned()));
                let outcome = match job {
                    Job::Commit(commit) if is_there(second) => {
                        let lines = commit.events.iter().filter(|line| line.kind == EventKind::Away);
                        told.extend(lines.map(|line| line.sentence.clone()));
                        Outcome::Stored(Ok(()))
                    }
                    Job::Commit(_) => Outcome::Stored(away()),
                    // It has not stored anything: there is nothing new.
                    Job::Load { .. } if is_there(second) => {
                        Outcome::Loaded(Ok(Box::new(Loaded { active: None, ..loaded(None) })))
                    }
                    Job::Load { .. } => Outcome::Loaded(Err(StoreError::Unavailable("locked".to_owned()))),
                    _ => continue,
                };
                messages.push_back(Message::Result(ticket, outcome));
            }
        }
    }
    told
}

#[test]
fn a_process_that_takes_a_rollout_over_after_a_while_stores_that_as_its_first_line() {
    let start = |last_work| {
        let mut actor = actor(loaded(last_work), now(600));
        work(&mut actor, 600..602, |_| true)
    };
    let told = start(Some(at(180.0)));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Serin was not running for 7 min, or its store could not be"), "{told:?}");
    assert!(told[0].contains(&at(180.0).to_string()), "{told:?}");
    // An ordinary restart, and a rollout that nothing is known of.
    assert_eq!(start(Some(at(585.0))), [""; 0]);
    assert_eq!(start(None), [""; 0]);
}

#[test]
fn a_process_whose_store_took_nothing_does_not_say_that_it_was_away() {
    let outage = |seconds: u64| {
        let mut actor = actor(loaded(Some(T0)), now(0));
        let pause = command("pause", CommandKind::Pause);
        let rollout = actor.active().unwrap().id.clone();
        let entry = InboxEntry { rollout, at: T0, command: pause, result: None };
        let decision = actor.take(Message::Command(Box::new(entry)), now(0));
        let (ticket, _) = decision.jobs.into_iter().find(|(_, job)| matches!(job, Job::Commit(_))).unwrap();
        let failed = Outcome::Stored(Err(StoreError::Unavailable("database is locked".to_owned())));
        actor.take(Message::Result(ticket, failed), now(0));
        work(&mut actor, 1..seconds + 20, |second| second >= seconds)
    };
    let told = outage(300);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("The store could not be written to for 5 min"), "{told:?}");
    assert!(!told[0].contains("not running"), "{told:?}");
    assert_eq!(outage(15), [""; 0], "no news");
}
