//! The transition: every phase with every event (`table`), and invariants over random sequences of events.

mod random;
pub mod table;

use std::time::Duration;

use serin::core::judge::{Assessment, MetricAssessment};
use serin::core::metric::{Counts, MetricObservation, NoData, Reading, Usage, Window};
use serin::core::policy::LimitOutcome;
use serin::core::pools::{NodeRecord, ObservedSplit};
use serin::core::reason::ReasonCode;
use serin::core::rollout::{
    Action, CommandKind, Compared, Event, EventKind, Hold, Outcome, Phase, Stage, State, Tick, transition,
};
use serin::core::split::Split;
use serin::core::target::SeenSplit;

use self::table::state;
use crate::testkit::builders::{T0, at, command, percent, policy, proportion, secs};

fn no_data(why: NoData, elapsed: Duration) -> Tick {
    let metric = MetricObservation {
        routes: Default::default(),
        metric: "errors".to_owned(),
        window: None,
        canary: Err(why.clone()),
        baseline: Err(why),
        usage: Usage::Outside,
    };
    Tick { elapsed, metrics: vec![metric], values: Vec::new(), notes: Default::default() }
}

/// The phase's name, with the stage of a step.
fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Progressing { stage: Stage::Settling, .. } => "settling",
        Phase::Progressing { stage: Stage::Analysing { .. }, .. } => "analysing",
        other => other.name(),
    }
}

#[test]
fn a_command_on_a_state_that_was_not_seen_is_refused() {
    let before = state("analysing");
    let mut stale = command("k", CommandKind::Advance);
    stale.expected_revision = Some(before.rollout.event_seq + 1);
    let refused = transition(before.clone(), Event::Command(stale), at(60.0)).unwrap_err();
    assert_eq!(refused.to_string(), "the rollout has changed: expected revision 2, it is at 1");
}

#[test]
fn a_rollback_waits_for_no_hold() {
    let mut before = state("analysing");
    before.rollout.holds.extend([Hold::User, Hold::Freeze, Hold::Gate, Hold::Drift]);
    let after = take(&before, Event::Command(command("k", CommandKind::Rollback)));
    assert_eq!(after.state.target.wanted, Split::STABLE);
    assert_eq!(name(&after.state.rollout.phase), "rolling_back");
}

#[test]
fn the_canarys_silence_takes_it_back_and_blindness_does_not() {
    let silent = |elapsed| {
        let metric = MetricObservation {
            routes: Default::default(),
            metric: "errors".to_owned(),
            window: Some(Window { start: T0, end: at(10.0) }),
            canary: Err(NoData::Stale { age_seconds: 40 }),
            baseline: proportion(1000, 1),
            usage: Usage::Pending,
        };
        Event::Tick(Tick { elapsed, metrics: vec![metric], values: Vec::new(), notes: Default::default() })
    };
    let mut now = state("analysing");
    for _ in 0..5 {
        now = take(&now, silent(secs(10))).state;
        assert_eq!(name(&now.rollout.phase), "analysing");
    }
    let after = take(&now, silent(secs(10))).state;
    assert!(
        matches!(&after.rollout.phase, Phase::RollingBack { reason, .. } if reason.code == ReasonCode::Silent),
        "{:?}",
        after.rollout.phase
    );

    let mut now = state("analysing");
    for _ in 0..100 {
        now = take(&now, Event::Tick(no_data(NoData::Timeout, secs(10)))).state;
    }
    assert_eq!(name(&now.rollout.phase), "analysing");
    assert!(now.rollout.holds.contains(&Hold::Blind));
}

#[test]
fn blind_for_longer_than_the_policy_allows_does_what_it_says() {
    let mut now = state("analysing");
    now.rollout.plan_mut().policy = policy().blind(secs(30), LimitOutcome::RollBack).build();
    for _ in 0..2 {
        now = take(&now, Event::Tick(no_data(NoData::Timeout, secs(10)))).state;
        assert_eq!(name(&now.rollout.phase), "analysing");
    }
    now = take(&now, Event::Tick(no_data(NoData::Timeout, secs(10)))).state;
    assert_eq!(name(&now.rollout.phase), "rolling_back");
}

#[test]
fn weights_lowered_by_hand_are_adopted_until_a_person_resumes() {
    let found = |canary| Event::Observed {
        split: ObservedSplit::of(Some(Split::canary(percent(canary), false))),
        elapsed: secs(1),
    };
    let lowered = take(&state("analysing"), found(2.0)).state;
    assert_eq!(lowered.target.wanted.canary, percent(2.0));
    assert!(lowered.rollout.holds.contains(&Hold::Drift));
    let still = take(&lowered, found(2.0)).state;
    assert_eq!(still.target.wanted.canary, percent(2.0));
    let resumed = take(&still, Event::Command(command("k", CommandKind::Resume))).state;
    assert_eq!(resumed.target.wanted.canary, percent(5.0));
    assert!(resumed.rollout.holds.is_empty());

    let raised = take(&state("analysing"), found(50.0));
    assert_eq!(raised.state.target.wanted.canary, percent(5.0));
    assert!(raised.state.rollout.holds.is_empty());
    assert!(raised.actions.iter().any(|action| matches!(action, Action::Notify(_))));
}

#[test]
fn a_restarted_router_that_still_has_the_old_split_is_driven_up_not_adopted() {
    let before = state("settling");
    let old = Event::Observed {
        split: ObservedSplit::of(Some(before.target.seen.unwrap().split)),
        elapsed: secs(1),
    };
    let mut five = before.clone();
    five.target.seen = Some(SeenSplit { split: Split::STABLE, generation: 1, at: T0 });
    let still = Event::Observed { split: ObservedSplit::of(Some(Split::STABLE)), elapsed: secs(1) };
    let after = take(&five, still).state;
    assert_eq!(after.target.wanted.canary, percent(5.0));
    assert!(after.rollout.holds.is_empty());
    assert_eq!(name(&take(&before, old).state.rollout.phase), "analysing");
}

#[test]
fn a_way_back_is_over_when_the_canary_is_seen_to_get_nothing() {
    let before = state("rolling_back");
    let busy = take(&before, canary_had(proportion(3, 0))).state;
    assert_eq!(name(&busy.rollout.phase), "rolling_back");
    let after = take(&busy, canary_had(proportion(0, 0))).state;
    assert_eq!(name(&after.rollout.phase), "rolled_back");
    assert_eq!(after.target.active, None);
}

#[test]
fn a_way_back_waits_until_the_canary_was_quiet_for_the_drain_time() {
    let mut now = state("rolling_back");
    now.target.drain = secs(30);
    // A request in between begins the quiet time anew.
    for requests in [0, 0, 1, 0, 0] {
        now = take(&now, canary_had(proportion(requests, 0))).state;
        assert_eq!(name(&now.rollout.phase), "rolling_back", "{:?}", now.rollout.timers);
    }
    let outcome = take(&now, canary_had(proportion(0, 0)));
    assert_eq!(name(&outcome.state.rollout.phase), "rolled_back");
    assert!(last_sentence(&outcome).contains("no more requests for 30 s"), "{}", last_sentence(&outcome));
}

#[test]
fn a_canary_that_is_silent_or_counts_other_requests_does_not_keep_its_target_for_ever() {
    for (reading, words) in [
        (Err(NoData::Empty), "silent"),
        (proportion(2, 0), "after 1 min 30 s its own metrics still count requests"),
    ] {
        let mut now = state("rolling_back");
        now.target.drain = secs(30);
        // The policy's `confirm_within` is 60 s.
        for _ in 0..8 {
            now = take(&now, canary_had(reading.clone())).state;
            assert_eq!(name(&now.rollout.phase), "rolling_back", "{:?}", now.rollout.timers);
        }
        let outcome = take(&now, canary_had(reading));
        assert_eq!(name(&outcome.state.rollout.phase), "rolled_back");
        assert!(last_sentence(&outcome).contains(words), "{}", last_sentence(&outcome));
    }
}

/// A look after ten seconds in which the canary had these requests.
fn canary_had(canary: Reading<Counts>) -> Event {
    let metric = MetricObservation {
        routes: Default::default(),
        metric: "errors".to_owned(),
        window: Some(Window { start: T0, end: at(10.0) }),
        canary,
        baseline: proportion(1000, 1),
        usage: Usage::Outside,
    };
    Event::Tick(Tick {
        elapsed: secs(10),
        metrics: vec![metric],
        values: Vec::new(),
        notes: Default::default(),
    })
}

fn last_sentence(outcome: &Outcome) -> String {
    let mut records = outcome.actions.iter().filter_map(|action| match action {
        Action::Record(record) => Some(record.sentence.clone()),
        _ => None,
    });
    records.next_back().unwrap_or_default()
}

#[test]
fn nothing_is_decided_about_a_split_while_the_router_does_not_answer() {
    let look = |split| Event::Observed { split: ObservedSplit::of(split), elapsed: secs(1) };
    let fresh = || {
        let metric = MetricObservation {
            routes: Default::default(),
            metric: "errors".to_owned(),
            window: Some(Window { start: T0, end: at(10.0) }),
            canary: Err(NoData::Empty),
            baseline: proportion(1000, 1),
            usage: Usage::Outside,
        };
        Event::Tick(Tick {
            elapsed: secs(10),
            metrics: vec![metric],
            values: Vec::new(),
            notes: Default::default(),
        })
    };
    let quiet = || canary_had(proportion(0, 0));
    let cases: [(&str, &dyn Fn() -> Event, &str); 3] = [
        ("preflight", &fresh, "preparing"),
        ("finalizing", &|| Event::WorkloadReady, "baking"),
        ("rolling_back", &quiet, "rolled_back"),
    ];
    for (phase, event, next) in cases {
        let silent = take(&state(phase), look(None)).state;
        let still = take(&silent, event()).state;
        assert_eq!(name(&still.rollout.phase), phase);
        let answered = take(&silent, look(Some(silent.target.wanted))).state;
        assert_eq!(name(&take(&answered, event()).state.rollout.phase), next);
    }
}

#[test]
fn a_proxy_that_is_cut_off_holds_up_the_way_back_only() {
    let cut_off = |mut state: State| {
        let node = NodeRecord { generation: 0, last_seen: T0, connected: false, refused: None };
        state.target.nodes.insert("edge-1".to_owned(), node);
        state
    };
    let up = take(&cut_off(state("finalizing")), Event::WorkloadReady).state;
    assert_eq!(name(&up.rollout.phase), "baking");
    let back = take(&cut_off(state("rolling_back")), canary_had(proportion(0, 0))).state;
    assert_eq!(name(&back.rollout.phase), "rolling_back");
}

#[test]
fn what_was_compared_is_kept_when_a_step_is_left() {
    let judged = |requests| Assessment {
        metrics: vec![MetricAssessment { canary_requests: requests, ..MetricAssessment::default() }],
        ..Assessment::default()
    };
    let mut five = state("preparing");
    five.rollout.last = Some(judged(700));
    let mut now = take(&five, Event::WorkloadReady).state;
    let kept = Compared { weight: percent(5.0), assessment: judged(700) };
    assert_eq!(now.rollout.last_compared, Some(kept.clone()));
    // A step in which the canary had no request yet replaces nothing.
    now.rollout.last = Some(judged(0));
    let back = take(&now, Event::Command(command("k", CommandKind::Rollback))).state;
    assert_eq!(back.rollout.last_compared, Some(kept));
    now.rollout.last = Some(judged(90));
    let back = take(&now, Event::Command(command("k", CommandKind::Rollback))).state;
    assert_eq!(back.rollout.last_compared, Some(Compared { weight: percent(25.0), assessment: judged(90) }));
    // At 100% nothing is compared.
    let mut baking = state("baking");
    baking.rollout.last = Some(judged(5));
    let back = take(&baking, Event::Command(command("k", CommandKind::Rollback))).state;
    assert_eq!(back.rollout.last_compared, None);
}

/// The split of the first step is seen when Serin's clock shows `clock`; then windows of ten seconds come
/// by the samples' own time, the first one from `from` on. How they are used:
fn used_after_a_split(clock: f64, from: f64, windows: usize) -> Vec<Usage> {
    let before = state("settling");
    let split = ObservedSplit::of(Some(before.target.wanted));
    let seen = Event::Observed { split, elapsed: secs(1) };
    let mut now = transition(before.clone(), seen, at(clock)).unwrap().state;
    let mut found = Vec::new();
    for index in 0..windows {
        let start = at(from + 10.0 * index as f64);
        let metric = MetricObservation {
            routes: Default::default(),
            metric: "errors".to_owned(),
            window: Some(Window { start, end: start.plus(secs(10)) }),
            canary: proportion(50, 0),
            baseline: proportion(950, 0),
            usage: Usage::Outside,
        };
        let tick = Event::Tick(Tick {
            elapsed: secs(10),
            metrics: vec![metric],
            values: Vec::new(),
            notes: Default::default(),
        });
        let outcome = transition(now.clone(), tick, start.plus(secs(11))).unwrap();
        let observed = outcome.actions.iter().find_map(|action| match action {
            Action::Observe(tick) => Some(tick.metrics[0].usage),
            _ => None,
        });
        found.push(observed.expect("an observation"));
        now = outcome.state;
    }
    found
}

#[test]
fn windows_are_used_from_the_split_on() {
    use Usage::{Settling, Straddling, Used};
    // Seen at 65 s. Windows arrive late: the first two end before that moment.
    assert_eq!(used_after_a_split(65.0, 40.0, 5), [Settling, Settling, Straddling, Used, Used]);
}

#[test]
fn a_clock_that_is_wrong_when_the_split_is_seen_spoils_one_window_and_stalls_for_a_bounded_time() {
    use Usage::{Settling, Straddling, Used};
    // Behind: by it, every window would be of the new split. The first one began under the old one.
    assert_eq!(used_after_a_split(-3600.0, 60.0, 3), [Straddling, Used, Used]);
    // Ahead: nothing would be used for an hour. The first window was fresh when the split was seen already,
    // and a stale sample is 30 s old.
    assert_eq!(used_after_a_split(3600.0, 60.0, 5), [Settling, Settling, Settling, Settling, Used]);
}

#[test]
fn an_unconfirmed_way_back_pages_once_and_fails_in_the_end() {
    let mut before = state("rolling_back");
    before.target.generation += 1;
    let unknown = || Event::Observed { split: ObservedSplit::of(None), elapsed: secs(10) };
    let mut pages = 0;
    let mut now = before;
    for _ in 0..200 {
        let outcome = take(&now, unknown());
        let is_page = |action: &&Action| matches!(action, Action::Record(record) if record.kind == EventKind::Unconfirmed);
        pages += outcome.actions.iter().filter(is_page).count();
        now = outcome.state;
    }
    assert_eq!(pages, 1);
    assert_eq!(name(&now.rollout.phase), "failed");
    assert_eq!(now.target.wanted, Split::STABLE);
}

fn take(state: &State, event: Event) -> Outcome {
    transition(state.clone(), event, at(60.0)).expect("legal here")
}

/// A raise that waits behind a pause is late for nobody; without the pause the same wait is told.
#[test]
fn nothing_is_unconfirmed_while_a_pause_keeps_the_weight_from_rising() {
    for (paused, told) in [(true, 0), (false, 1)] {
        let mut now = state("settling");
        now.target.want(Split::canary(percent(5.0), false));
        let before = SeenSplit { split: Split::STABLE, generation: now.target.generation - 1, at: T0 };
        now.target.seen = Some(before);
        if paused {
            now.rollout.holds.insert(Hold::User);
        }
        let late = Event::Observed { split: ObservedSplit::of(Some(Split::STABLE)), elapsed: secs(7200) };
        let outcome = take(&now, late);
        let unconfirmed = |action: &&Action| match action {
            Action::Record(record) => record.kind == EventKind::Unconfirmed,
            _ => false,
        };
        assert_eq!(outcome.actions.iter().filter(unconfirmed).count(), told, "paused: {paused}");
    }
}
