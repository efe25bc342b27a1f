//! Restarts of the canary's processes.

use serin::core::metric::{Listed, Processes};

use super::*;

fn stepping() -> Told {
    let mut told = Told::begin(policy().steps(vec![step(25.0, 600), step(100.0, 0)]).build());
    told.until(analysing);
    told.healthy(3);
    told
}

/// A look with so many instances of both arms, of which these are new.
fn look(told: &mut Told, canary: &[&str], baseline: &[&str], bad: u64) {
    look_at(told, (&["a", "b", "c"], canary), (&["x", "y", "z"], baseline), bad);
}

/// The same with these instances.
fn look_at(told: &mut Told, canary: (&[&str], &[&str]), baseline: (&[&str], &[&str]), bad: u64) {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let arm = |(instances, renewed): (&[&str], &[&str])| ArmNotes {
        processes: Some(Processes {
            instances: names(instances),
            renewed: names(renewed),
            ..Processes::default()
        }),
        ..ArmNotes::default()
    };
    let notes = Notes { canary: arm(canary), baseline: arm(baseline) };
    told.notes.insert("errors".to_owned(), notes);
    told.look((5_000, bad), (15_000, 15));
    told.notes.clear();
}

fn quiet(told: &mut Told, looks: usize) {
    for _ in 0..looks {
        look(told, &[], &[], 5);
    }
}

fn evidence(told: &Told) -> (f64, f64, u64) {
    let last = told.state.rollout.last.as_ref().expect("a look");
    (last.metrics[0].ln_e_harm, last.metrics[0].ln_e_no_harm, last.metrics[0].canary_requests)
}

#[test]
fn one_instance_that_restarts_is_counted_and_changes_nothing() {
    let mut told = stepping();
    let before = told.analysed();
    look(&mut told, &["a"], &[], 5);
    assert_eq!(told.state.rollout.data.restarts.canary.total, 1);
    assert_eq!(told.analysed(), before + secs(10));
}

#[test]
fn when_all_instances_are_new_the_step_begins_anew_and_evidence_of_a_regression_is_kept() {
    let mut told = stepping();
    look(&mut told, &[], &[], 25);
    let (harm, _, requests) = evidence(&told);
    assert!(requests > 10_000 && told.analysed() >= secs(30));
    look(&mut told, &["a", "b"], &[], 5);
    look(&mut told, &["c"], &[], 5);
    assert!(told.logged("All 3 instances of the canary are new in this step"), "{:?}", told.log);
    let (kept, safe, anew) = evidence(&told);
    assert_eq!(anew, 0, "the evidence of safety begins again");
    assert_eq!(safe, 0.0);
    assert!(kept != 0.0 && (kept - harm).abs() < harm.abs() + 5.0, "{harm} and now {kept}");
    quiet(&mut told, 1);
    assert_eq!(told.analysed(), secs(10));
    assert_eq!(evidence(&told).2, 5_000);
}

#[test]
fn the_third_time_holds_and_rolls_back_where_the_baseline_does_not_restart() {
    let mut told = stepping();
    for _ in 0..2 {
        look(&mut told, &["a", "b", "c"], &[], 5);
        quiet(&mut told, 5);
    }
    assert!(!told.holds(Hold::Restarts), "{:?}", told.log);
    look(&mut told, &["a", "b", "c"], &[], 5);
    quiet(&mut told, 1);
    assert!(
        matches!(&told.state.rollout.phase, Phase::RollingBack { reason, .. } if reason.code == ReasonCode::Restarts),
        "{:?} {:?}",
        told.state.rollout.phase,
        told.log
    );
    assert!(told.logged("restarted 9 times in 15 min, the baseline's 3 instances 0 times"), "{:?}", told.log);
}

#[test]
fn restarts_long_apart_hold_and_do_not_roll_back() {
    let mut told = stepping();
    for _ in 0..3 {
        // One in ten minutes: never three within fifteen.
        for name in ["a", "b", "c"] {
            look(&mut told, &[name], &[], 5);
            told.command(CommandKind::Pause);
            quiet(&mut told, 60);
            told.command(CommandKind::Resume);
            quiet(&mut told, 2);
        }
    }
    assert!(told.logged("Held (restarts)"), "{:?}", told.log);
    assert_eq!(told.weight(), percent(25.0));
}

#[test]
fn a_platform_that_moves_pods_of_both_arms_is_told_and_not_counted() {
    let mut told = stepping();
    for _ in 0..4 {
        look(&mut told, &["a", "b", "c"], &["x", "y", "z"], 5);
        quiet(&mut told, 5);
    }
    assert!(told.logged("the platform moves pods"), "{:?}", told.log);
    assert!(!told.holds(Hold::Restarts), "{:?}", told.log);
    assert!(!told.logged("begin again"), "{:?}", told.log);
}

#[test]
fn a_platform_that_moves_the_baseline_later_takes_back_what_was_counted() {
    let mut told = stepping();
    look(&mut told, &["a", "b", "c"], &[], 5);
    let restarts = |told: &Told| told.state.rollout.data.restarts.clone();
    assert_eq!((restarts(&told).canary.total, restarts(&told).anew), (3, 1));
    quiet(&mut told, 20);
    look(&mut told, &[], &["x", "y", "z"], 5);
    assert!(
        told.logged("3 canary instances were replaced, and the baseline's in the same proportion"),
        "{:?}",
        told.log
    );
    assert_eq!((restarts(&told).canary.total, restarts(&told).anew), (0, 0), "not counted");
    assert_eq!(restarts(&told).canary.recent.len(), 0);
}

#[test]
fn one_place_whose_process_comes_anew_again_and_again_is_not_all_of_them() {
    let mut told = stepping();
    for name in ["d", "e", "f", "g", "h"] {
        look_at(&mut told, (&["a", "b", name], &[name]), (&["x", "y", "z"], &[]), 5);
        quiet_with(&mut told, name, 3);
    }
    assert_eq!(told.state.rollout.data.restarts.canary.total, 5);
    assert!(!told.logged("begin again"), "{:?}", told.log);
}

fn quiet_with(told: &mut Told, name: &str, looks: usize) {
    for _ in 0..looks {
        look_at(told, (&["a", "b", name], &[]), (&["x", "y", "z"], &[]), 5);
    }
}

#[test]
fn instances_that_come_one_after_the_other_are_all_new_once_the_last_one_is() {
    let mut told = stepping();
    look_at(&mut told, (&["a", "b", "d"], &["d"]), (&["x", "y", "z"], &[]), 5);
    // The old ones are seen for as long as their samples are fresh.
    look_at(&mut told, (&["a", "b", "d", "e", "f"], &["e", "f"]), (&["x", "y", "z"], &[]), 5);
    assert!(!told.logged("begin again"), "{:?}", told.log);
    look_at(&mut told, (&["d", "e", "f"], &[]), (&["x", "y", "z"], &[]), 5);
    assert!(told.logged("All 3 instances of the canary are new in this step"), "{:?}", told.log);
}

/// A look at which these instances of the canary are there, and those have been added.
fn scaled(told: &mut Told, canary: &[&str], added: &[&str]) {
    let names = |names: &[&str]| -> std::collections::BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let processes = Processes { instances: names(canary), renewed: names(added), added: names(added) };
    let canary = ArmNotes { processes: Some(processes), ..ArmNotes::default() };
    told.notes.insert("errors".to_owned(), Notes { canary, ..Notes::default() });
    told.healthy(1);
    told.notes.clear();
}

#[test]
fn more_instances_are_no_restarts_and_those_that_replace_others_are() {
    let mut told = stepping();
    scaled(&mut told, &["a", "b"], &[]);
    scaled(&mut told, &["a", "b", "c", "d"], &["c", "d"]);
    scaled(&mut told, &["a", "b", "c", "d"], &[]);
    let total = |told: &Told| told.state.rollout.data.restarts.canary.total;
    assert_eq!(total(&told), 0, "there are more");
    // One goes: one of those that came has replaced it.
    scaled(&mut told, &["a", "c", "d"], &[]);
    assert_eq!(total(&told), 1);
    // Another one goes in the same look in which one comes.
    let mut told = stepping();
    scaled(&mut told, &["a", "b"], &[]);
    scaled(&mut told, &["a", "c"], &["c"]);
    assert_eq!(total(&told), 1);
    assert!(!told.logged("begin again"), "{:?}", told.log);
}

#[test]
fn what_was_replaced_before_anything_was_analysed_is_what_the_step_begins_with() {
    let mut told = Told::begin(policy().steps(vec![step(25.0, 600), step(100.0, 0)]).build());
    told.until(analysing);
    assert_eq!(told.analysed(), Duration::ZERO);
    look(&mut told, &["a", "b", "c"], &[], 5);
    quiet(&mut told, 10);
    assert!(!told.logged("begin again"), "{:?}", told.log);
}

/// Looks at which these instances of the canary are listed besides, and have never answered.
fn silent(told: &mut Told, never: &[&str], looks: usize) {
    let canary = ArmNotes {
        processes: Some(Processes { instances: ["a".to_owned()].into(), ..Processes::default() }),
        listed: Some(Listed {
            of: 1 + never.len() as u32,
            ready: 1,
            never: never.iter().map(|name| (*name).to_owned()).collect(),
        }),
        ..ArmNotes::default()
    };
    for _ in 0..looks {
        told.notes.insert("errors".to_owned(), Notes { canary: canary.clone(), ..Notes::default() });
        told.healthy(1);
        told.notes.clear();
    }
}

#[test]
fn instances_that_never_answered_count_as_restarting() {
    let mut told = stepping();
    let restarts = |told: &Told| told.state.rollout.data.restarts.canary.clone();
    silent(&mut told, &["b", "c"], 2);
    assert_eq!(restarts(&told).total, 0, "they may just be starting");
    silent(&mut told, &["b", "c"], 5);
    assert_eq!((restarts(&told).total, restarts(&told).instances), (2, 3));
    silent(&mut told, &["b", "c"], 60);
    assert_eq!(restarts(&told).total, 2, "each stands for one restart in 15 min");
    silent(&mut told, &["b", "c"], 40);
    assert_eq!(restarts(&told).total, 4);
}

#[test]
fn servers_that_the_router_has_never_seen_up_count_as_restarting() {
    let mut told = stepping();
    told.servers = Some(PoolState { servers: 4, up: 2, ..PoolState::default() });
    quiet(&mut told, 8);
    assert_eq!(told.state.rollout.data.restarts.canary.total, 2);
    // Those that were up before have not failed to start.
    let mut told = stepping();
    told.servers = Some(PoolState { servers: 4, up: 4, ..PoolState::default() });
    quiet(&mut told, 2);
    told.servers = Some(PoolState { servers: 4, up: 2, ..PoolState::default() });
    quiet(&mut told, 8);
    assert_eq!(told.state.rollout.data.restarts.canary.total, 0);
}

#[test]
fn half_of_an_arms_pages_that_cannot_be_read_are_told_once() {
    let mut told = stepping();
    let unread = Unread { pages: 2, of: 4, why: "http://10.0.0.1/metrics: connection refused".to_owned() };
    let baseline = ArmNotes { unread: Some(unread), ..ArmNotes::default() };
    told.notes.insert("errors".to_owned(), Notes { baseline, ..Notes::default() });
    told.healthy(20);
    let told_of = |told: &Told| {
        told.notices.iter().filter(|notice| notice.contains("2 of 4 metrics pages of the baseline")).count()
    };
    assert_eq!(told_of(&told), 1, "{:?}", told.notices);
}
