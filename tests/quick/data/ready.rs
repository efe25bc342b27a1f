//! How many of the canary's listed instances are ready, and what that bars.

use serin::core::metric::Listed;
use serin::core::rollout::{Force, Illegal};

use super::*;

fn servers(servers: u32, up: u32) -> Option<PoolState> {
    Some(PoolState { servers, up, ..PoolState::default() })
}

/// The pages, or targets, of the canary.
fn listed(ready: u32, of: u32) -> BTreeMap<String, Notes> {
    let listed = Listed { of, ready, never: Default::default() };
    let canary = ArmNotes { listed: Some(listed), ..ArmNotes::default() };
    BTreeMap::from([("errors".to_owned(), Notes { canary, ..Notes::default() })])
}

fn stepping() -> Told {
    let mut told = Told::begin(policy().build());
    told.until(analysing);
    told.healthy(1);
    told
}

/// What a person's command is answered; carried out if it is legal.
fn ask(told: &mut Told, kind: CommandKind, overrides: bool) -> Result<(), String> {
    let mut asked = command("by-hand", kind);
    asked.force = Force { overrides, even_if_worse: false };
    asked.reason = Some("two hosts are broken".to_owned());
    match transition(told.state.clone(), Event::Command(asked.clone()), at(told.seconds)) {
        Ok(_) => {
            told.take(Event::Command(asked));
            Ok(())
        }
        Err(Illegal::Refused(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

fn told_of(told: &Told) -> usize {
    told.notices.iter().filter(|notice| notice.contains("not_ready")).count()
}

#[test]
fn nothing_begins_while_too_few_of_the_canarys_servers_are_up() {
    let mut told = Told::begin(policy().build());
    told.servers = servers(5, 3);
    told.seen();
    told.healthy(20);
    assert_eq!(
        (&told.state.rollout.phase, told.weight()),
        (&Phase::Preflight, Weight::ZERO),
        "{:?}",
        told.log
    );
    let why = "Held (not_ready): 3 of 5 canary instances are ready: 2 do not start (by the router's health \
               checks), and at least 4 must be. No weight rises before that.";
    assert!(told.logged(why), "{:?}", told.log);
    assert!(!told.holds(Hold::Blind), "{:?}", told.log);
    assert_eq!(told_of(&told), 1, "{:?}", told.notices);
    told.servers = servers(5, 4);
    told.until(analysing);
    assert!(told.logged("No longer held (not_ready)"), "{:?}", told.log);
}

#[test]
fn a_step_is_not_left_while_too_few_answer_not_even_for_one_look() {
    let mut told = stepping();
    told.notes = listed(15, 20);
    told.healthy(1);
    assert!(told.holds(Hold::NotReady), "at once: {:?}", told.log);
    assert_eq!(told_of(&told), 0, "one look is no news: {:?}", told.notices);
    told.notes = listed(16, 20);
    told.healthy(1);
    assert!(!told.holds(Hold::NotReady), "{:?}", told.log);
    told.notes = listed(15, 20);
    told.healthy(100);
    assert_eq!(told.weight(), percent(5.0), "{:?}", told.log);
    assert!(told.logged("15 of 20 canary instances are ready: 5 do not start (by their metrics endpoints)"));
    assert_eq!(told_of(&told), 1, "{:?}", told.notices);
    told.notes = listed(20, 20);
    told.healthy(5);
    assert!(told.weight() > percent(5.0), "{:?}", told.log);
}

#[test]
fn a_prepared_step_is_not_entered_while_too_few_are_ready() {
    let mut told = stepping();
    for _ in 0..200 {
        if matches!(told.state.rollout.phase, Phase::Preparing { .. }) {
            break;
        }
        // As `healthy`, with a workload that is not ready yet.
        let window = Window { start: at(told.seconds), end: at(told.seconds + 10.0) };
        told.seconds += 10.0;
        let (canary, baseline) = (proportion(1_000, 1), proportion(19_000, 19));
        let metric = "errors".to_owned();
        let (window, usage, routes) = (Some(window), Usage::Outside, BTreeMap::new());
        let metrics = vec![MetricObservation { routes, metric, window, canary, baseline, usage }];
        told.take(Event::Tick(Tick { elapsed: secs(10), metrics, values: vec![], notes: BTreeMap::new() }));
    }
    assert_eq!(told.state.rollout.phase, Phase::Preparing { step: 1 }, "{:?}", told.log);
    told.servers = servers(20, 10);
    told.seen();
    assert_eq!((&told.state.rollout.phase, told.weight()), (&Phase::Preparing { step: 1 }, percent(5.0)));
    told.servers = servers(20, 20);
    told.seen();
    assert_eq!(told.weight(), percent(25.0), "{:?}", told.log);
}

#[test]
fn a_person_is_refused_with_everything_that_stands_against_it_and_may_override_it_for_a_step() {
    for kind in [CommandKind::Advance, CommandKind::Promote] {
        let mut told = stepping();
        told.servers = servers(20, 15);
        told.healthy(1);
        told.take(Event::Command(Command { by: "mara".to_owned(), ..command("c", CommandKind::Pause) }));
        let name = kind.name();
        let why = ask(&mut told, kind.clone(), false).expect_err("it is refused");
        for part in [
            "it was paused by mara",
            "15 of 20 canary instances are ready: 5 do not start (by the router's health checks)",
            &format!("`serin rollout {name} r1 --override --reason \"...\"` overrides this"),
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
        ask(&mut told, kind.clone(), true).expect("it is overridden");
        told.seen();
        let to = if kind == CommandKind::Advance { percent(25.0) } else { Weight::FULL };
        assert_eq!(told.weight(), to, "{:?}", told.log);
        told.seen();
        assert!(told.holds(Hold::NotReady), "the next one is barred again: {:?}", told.log);
        let why = ask(&mut told, CommandKind::Promote, false).expect_err("it is refused");
        assert!(why.contains("15 of 20 canary instances are ready"), "{why}");
    }
}

#[test]
fn a_resume_makes_no_instance_ready_and_raises_no_weight_that_was_lowered() {
    let mut told = stepping();
    told.servers = servers(20, 15);
    told.healthy(1);
    told.command(CommandKind::Pause);
    told.command(CommandKind::Resume);
    assert!(told.holds(Hold::NotReady) && !told.holds(Hold::User), "{:?}", told.log);
    // Somebody lowers it at the router.
    let mut split = ObservedSplit::of(Some(serin::core::split::Split::canary(percent(1.0), false)));
    split.pools = [(Role::Canary, told.servers.clone().unwrap())].into();
    told.take(Event::Observed { split, elapsed: secs(1) });
    assert!(told.holds(Hold::Drift), "{:?}", told.log);
    let why = ask(&mut told, CommandKind::Resume, false).expect_err("it would raise the weight");
    assert!(why.contains("the weight cannot rise again: 15 of 20 canary instances are ready"), "{why}");
}

#[test]
fn the_last_word_counts_until_nothing_has_been_said_for_a_while() {
    let mut told = stepping();
    told.notes = listed(15, 20);
    told.healthy(1);
    told.notes.clear();
    let no = || Err(NoData::Timeout);
    told.look_at(10, vec![(no(), no(), Usage::Pending)]);
    told.look_at(10, vec![(no(), no(), Usage::Pending)]);
    assert!(told.holds(Hold::NotReady), "{:?}", told.log);
    told.look_at(10, vec![(no(), no(), Usage::Pending)]);
    assert!(!told.holds(Hold::NotReady), "{:?}", told.log);
}

#[test]
fn servers_that_somebody_has_taken_out_are_not_listed() {
    let mut told = stepping();
    let pool = PoolState { servers: 20, up: 4, maintenance: 15, draining: 1, ..PoolState::default() };
    told.servers = Some(pool);
    told.healthy(2);
    assert!(!told.holds(Hold::NotReady), "{:?}", told.log);
}

#[test]
fn the_bake_does_not_end_while_too_few_are_ready() {
    let mut told = Told::begin(policy().build());
    told.until(baking);
    told.servers = servers(20, 10);
    told.healthy(50);
    assert_eq!(told.state.rollout.phase, Phase::Baking, "{:?}", told.log);
    assert!(told.logged("The bake does not end before that"), "{:?}", told.log);
    told.servers = servers(20, 20);
    told.healthy(2);
    assert_eq!(told.state.rollout.phase, Phase::Succeeded, "{:?}", told.log);
}

#[test]
fn a_rollback_waits_for_no_instance() {
    let mut told = stepping();
    told.servers = servers(20, 10);
    told.healthy(2);
    told.command(CommandKind::Rollback);
    assert_eq!(told.weight(), Weight::ZERO);
    assert!(told.state.rollout.holds.is_empty(), "{:?}", told.state.rollout.holds);
}
