//! Restarts of the canary's processes.

use serin::core::metric::Processes;

use super::*;

fn stepping() -> Told {
    let mut told = Told::begin(policy().steps(vec![step(25.0, 600), step(100.0, 0)]).build());
    told.until(analysing);
    told.healthy(3);
    told
}

/// A look with so many instances of both arms, of which these are new.
fn look(told: &mut Told, canary: &[&str], baseline: &[&str], bad: u64) {
    let arm = |renewed: &[&str]| ArmNotes {
        processes: Some(Processes {
            instances: 3,
            renewed: renewed.iter().map(|name| (*name).to_owned()).collect(),
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
fn no_weight_rises_while_too_few_listed_instances_are_ready() {
    let mut told = stepping();
    let unread = Unread { pages: 5, of: 20, why: "connection refused".to_owned() };
    let canary = ArmNotes { unread: Some(unread), ..ArmNotes::default() };
    told.notes.insert("errors".to_owned(), Notes { canary, ..Notes::default() });
    told.healthy(4);
    assert!(told.logged("15 of 20 canary instances are ready: 5 do not start"), "{:?}", told.log);
    assert!(told.holds(Hold::Blind));
    told.notes.clear();
    told.healthy(2);
    assert!(!told.holds(Hold::Blind), "{:?}", told.log);
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
