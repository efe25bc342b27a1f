//! What routers prove: requests that nobody takes, and a stable pool that is too small for a rollback.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::incident::{IncidentCause, IncidentStep};
use serin::core::judge::JudgeState;
use serin::core::metric::{ArmNotes, Listed, MetricObservation, NoData, Notes, Usage, Window};
use serin::core::notice::Notice;
use serin::core::policy::SmallPool;
use serin::core::pools::{FrontState, ObservedSplit, PoolState};
use serin::core::reason::ReasonCode;
use serin::core::rollout::{
    Action, CommandKind, Event, EventKind, Hold, Phase, Stage, State, Tick, transition,
};
use serin::core::split::{Role, Split, Weight};
use serin::core::target::SeenSplit;

use crate::testkit::builders::{T0, at, command, policy, proportion, rollout, secs, target};

/// A rollout at a weight with its split in force, told event by event.
struct Told {
    state: State,
    at: f64,
    notices: Vec<Notice>,
    log: Vec<(EventKind, String)>,
    notes: BTreeMap<String, Notes>,
}

impl Told {
    fn at(phase: Phase, weight: u16) -> Told {
        let policy = policy().build();
        let judge = std::sync::Arc::new(JudgeState::new(&policy));
        let mut rollout = rollout("r1", "shop", policy);
        let mut target = target("shop");
        rollout.phase = phase;
        target.active = Some(rollout.id.clone());
        target.last_exposed = Some(rollout.id.clone());
        target.want(Split::canary(Weight(weight), false));
        target.seen = Some(SeenSplit { split: target.wanted, generation: target.generation, at: T0 });
        target.certain = true;
        Told {
            state: State { rollout, target, judge },
            at: 0.0,
            notices: Vec::new(),
            log: Vec::new(),
            notes: BTreeMap::new(),
        }
    }

    fn baking() -> Told {
        Told::at(Phase::Baking, 10_000)
    }

    fn analysing() -> Told {
        Told::at(Phase::Progressing { step: 0, stage: Stage::Analysing { since: T0 } }, 500)
    }

    fn take(&mut self, event: Event) -> &mut Told {
        self.at += 10.0;
        let outcome = transition(self.state.clone(), event, at(self.at)).expect("a legal event");
        for action in outcome.actions {
            match action {
                Action::Notify(notice) => self.notices.push(notice),
                Action::Record(record) => self.log.push((record.kind, record.sentence)),
                Action::Observe(_) => {}
            }
        }
        self.state = outcome.state;
        self
    }

    /// The router sees so many of so many servers of stable up.
    fn stable(&mut self, up: u32, servers: u32) -> &mut Told {
        self.observed(Some(pool(up, servers)), None)
    }

    fn observed(&mut self, stable: Option<PoolState>, front: Option<FrontState>) -> &mut Told {
        let pools = stable.into_iter().map(|pool| (Role::Stable, pool)).collect::<BTreeMap<_, _>>();
        let split = ObservedSplit { pools, front, ..ObservedSplit::of(Some(self.state.target.wanted)) };
        self.take(Event::Observed { split, elapsed: secs(10) })
    }

    fn look(&mut self, canary: Result<(u64, u64), NoData>, stable: Result<(u64, u64), NoData>) -> &mut Told {
        let read = |of: Result<(u64, u64), NoData>| of.and_then(|(all, bad)| proportion(all, bad));
        let metric = MetricObservation {
            routes: Default::default(),
            metric: "errors".to_owned(),
            window: Some(Window { start: at(self.at), end: at(self.at + 10.0) }),
            canary: read(canary),
            baseline: read(stable),
            usage: Usage::Outside,
        };
        self.take(Event::Tick(Tick {
            elapsed: secs(10),
            metrics: vec![metric],
            values: Vec::new(),
            notes: self.notes.clone(),
        }))
    }

    /// Looks with a canary of which nearly half fails, until something is done about it.
    fn bad(&mut self) -> &mut Told {
        for _ in 0..20 {
            if self.state.rollout.phase.is_terminal() || self.is_rolling_back() || self.waits() {
                break;
            }
            self.look(Ok((1_000, 600)), Ok((19_000, 19)));
        }
        self
    }

    fn is_rolling_back(&self) -> bool {
        matches!(self.state.rollout.phase, Phase::RollingBack { .. })
    }

    fn waits(&self) -> bool {
        self.state.rollout.stable.waiting.is_some()
    }

    fn held(&self) -> bool {
        self.state.rollout.holds.contains(&Hold::StableSmall)
    }

    fn incident(&self) -> bool {
        let incident = self.state.target.incident.as_ref();
        incident.is_some_and(|incident| incident.causes.contains(&IncidentCause::Stable))
    }

    fn last(&self) -> &str {
        self.log.last().map_or("", |(_, sentence)| sentence)
    }
}

fn pool(up: u32, servers: u32) -> PoolState {
    PoolState { up, servers, ..PoolState::default() }
}

fn front(unanswerable: u64, requests: u64, over: u64) -> Option<FrontState> {
    let how = "HAProxy could connect to no server of the backend shop (503, SC)".to_owned();
    Some(FrontState { over: Duration::from_secs(over), requests, unanswerable, how })
}

// ------------------------------------------------------------------------------------------------ demand

#[test]
fn at_full_weight_requests_that_the_router_had_nowhere_to_send_roll_back() {
    let mut told = Told::baking();
    told.observed(Some(pool(2, 2)), front(812, 830, 25));
    let Phase::RollingBack { reason, .. } = &told.state.rollout.phase else { panic!("{:?}", told.log) };
    assert_eq!(reason.code, ReasonCode::Unroutable);
    assert_eq!(
        reason.sentence,
        "812 of 830 requests in 25 s had nowhere to go: HAProxy could connect to no server of the backend shop \
         (503, SC). Stable has 2 of 2 servers up."
    );
    assert_eq!(told.state.target.wanted, Split::STABLE);
}

#[test]
fn fewer_than_half_or_than_twenty_in_thirty_seconds_prove_nothing() {
    let cases = [
        (front(19, 19, 30), false),
        (front(20, 20, 30), true),
        (front(20, 40, 30), true),
        (front(20, 41, 30), false),
        (front(39, 39, 60), false),
        (front(40, 40, 60), true),
        (None, false),
    ];
    for (figures, rolls_back) in cases {
        let mut told = Told::baking();
        told.observed(Some(pool(1, 1)), figures.clone());
        assert_eq!(told.is_rolling_back(), rolls_back, "{figures:?}");
    }
}

#[test]
fn nothing_is_proven_below_full_weight_or_without_a_stable_server() {
    let mut told = Told::analysing();
    told.observed(Some(pool(1, 1)), front(500, 500, 30));
    assert!(!told.is_rolling_back(), "the arms are compared there");
    let mut told = Told::baking();
    told.observed(Some(pool(0, 2)), front(500, 500, 30));
    assert!(!told.is_rolling_back(), "stable could not take them either");
    told.observed(None, front(500, 500, 30));
    assert!(!told.is_rolling_back(), "of stable nothing is known");
}

#[test]
fn a_pause_does_not_stop_it() {
    let mut told = Told::baking();
    told.take(Event::Command(command("k", CommandKind::Pause)));
    told.observed(Some(pool(1, 1)), front(500, 500, 30));
    assert!(told.is_rolling_back());
}

// ------------------------------------------------------------------------------------------------ stable

#[test]
fn what_is_up_when_a_step_begins_is_recorded_and_shown() {
    let mut told = Told::at(Phase::Preparing { step: 1 }, 500);
    told.stable(40, 41).take(Event::WorkloadReady);
    assert_eq!(told.state.rollout.stable.at_step, Some(40));
    let (kind, sentence) = told.log.last().expect("a line");
    assert_eq!(*kind, EventKind::StepEntered);
    assert!(sentence.ends_with("Stable has 40 of 41 servers up."), "{sentence}");
}

#[test]
fn no_weight_rises_while_fewer_than_half_are_up() {
    let mut told = Told::analysing();
    told.stable(40, 40).stable(20, 40);
    assert!(!told.held(), "half of them is enough");
    told.stable(2, 40).stable(2, 40).stable(3, 40);
    assert!(told.held() && told.incident());
    let told_it: Vec<&Notice> =
        told.notices.iter().filter(|notice| notice.sentence.contains("stable_small")).collect();
    assert_eq!(told_it.len(), 1, "once while it lasts");
    assert!(told_it[0].sentence.contains("stable has 2 of 40 servers up: a rollback would overload it"));
    assert_eq!(told_it[0].incident.as_ref().map(|change| change.step), Some(IncidentStep::Trigger));
    // Proven as it may be, it stays.
    for _ in 0..200 {
        told.look(Ok((10_000, 10)), Ok((190_000, 190))).stable(2, 40);
    }
    assert_eq!(told.state.target.wanted.canary, Weight(500), "{:?}", told.log);
    told.stable(20, 40);
    assert!(!told.held() && !told.incident(), "{:?}", told.log);
    told.look(Ok((10_000, 10)), Ok((190_000, 190)));
    assert!(matches!(told.state.rollout.phase, Phase::Preparing { step: 1 }), "{:?}", told.log);
}

#[test]
fn at_full_weight_a_small_pool_is_told_and_keeps_nothing_from_succeeding() {
    let mut told = Told::baking();
    told.stable(4, 4).stable(1, 4).stable(1, 4);
    assert!(!told.held() && told.incident());
    assert_eq!(told.last(), "Stable has 1 of 4 servers up: a rollback would overload it.");
    for _ in 0..200 {
        if !told.state.rollout.phase.is_terminal() {
            told.look(Ok((20_000, 20)), Err(NoData::Empty)).stable(1, 4);
        }
    }
    assert_eq!(told.state.rollout.phase, Phase::Succeeded, "{:?}", told.log);
    assert!(told.state.target.incident.is_none());
}

#[test]
fn a_bad_canary_is_kept_while_stable_has_no_server() {
    let mut told = Told::analysing();
    told.stable(4, 4).stable(0, 4).bad();
    assert!(told.waits() && told.held() && told.incident());
    assert_eq!(told.state.target.wanted.canary, Weight(500));
    let sentence = told.last();
    assert!(
        sentence.contains("stable has 0 of 4 servers up: there may be nothing to roll back to"),
        "{sentence}"
    );
    let told_so_far = told.notices.len();
    told.look(Ok((1_000, 600)), Ok((19_000, 19))).stable(0, 4);
    assert_eq!(told.notices.len(), told_so_far, "told once");
    // The first server that comes up is one to go to.
    told.stable(1, 4);
    assert!(told.is_rolling_back() && !told.waits());
    assert_eq!(told.state.target.wanted, Split::STABLE);
}

#[test]
fn series_that_are_absent_hold_a_rollback_and_series_that_are_still_do_not() {
    for (why, waits) in [(NoData::Empty, true), (NoData::Stale { age_seconds: 400 }, false)] {
        let mut told = Told::analysing();
        told.state.rollout.plan_mut().policy.analysis.blind.after = secs(60);
        for _ in 0..12 {
            if !told.is_rolling_back() && !told.waits() {
                told.look(Ok((50, 0)), Err(why.clone()));
            }
        }
        assert!(!told.is_rolling_back(), "{why:?}: {:?}", told.log);
        let gate = serin::core::rollout::Event::Command(command(
            "k",
            CommandKind::Supersede { by: serin::core::ids::RolloutId("r2".to_owned()) },
        ));
        told.take(gate);
        assert_eq!((told.waits(), told.is_rolling_back()), (waits, !waits), "{why:?}: {:?}", told.log);
    }
}

#[test]
fn a_persons_rollback_goes_whole_and_says_first_what_was_done() {
    let mut told = Told::analysing();
    told.stable(4, 4).stable(0, 4).bad();
    assert!(told.waits());
    told.take(Event::Command(command("k", CommandKind::Rollback)));
    assert!(told.is_rolling_back());
    assert_eq!(told.state.target.wanted, Split::STABLE);
    let sentence = &told.log.iter().rev().find(|(kind, _)| *kind == EventKind::RollbackStarted).unwrap().1;
    assert!(sentence.starts_with("The canary goes to 0%: "), "{sentence}");
    assert!(sentence.ends_with("takes its traffic: stable has 0 of 4 servers up."), "{sentence}");
}

#[test]
fn a_person_who_resumes_drops_what_waited() {
    let mut told = Told::analysing();
    told.stable(4, 4).stable(0, 4);
    let superseded = CommandKind::Supersede { by: serin::core::ids::RolloutId("r2".to_owned()) };
    told.take(Event::Command(command("k", superseded)));
    assert!(told.waits());
    told.take(Event::Command(command("k2", CommandKind::Resume))).stable(4, 4);
    assert!(!told.waits() && !told.is_rolling_back(), "{:?}", told.log);
}

// ------------------------------------------------------------------------------------------------ in stages

/// At 50%, where each of ten servers of stable has carried 60 requests/s; then so many are left.
fn short(up: u32, small_pool: SmallPool) -> Told {
    let mut told = Told::at(Phase::Progressing { step: 0, stage: Stage::Analysing { since: T0 } }, 5_000);
    told.state.rollout.plan_mut().policy.small_pool = small_pool;
    let carried = PoolState { requests: Some(18_000), ..pool(10, 10) };
    told.observed(Some(carried), front(0, 30_000, 30)).stable(up, 10);
    for _ in 0..20 {
        if !told.is_rolling_back() {
            told.look(Ok((5_000, 3_000)), Ok((5_000, 5)));
        }
    }
    assert!(told.is_rolling_back(), "{:?}", told.log);
    told
}

/// 1,000 requests/s come in all.
const COMING: [(u32, u16); 3] = [(9, 4_600), (10, 4_000), (4, 5_000)];

#[test]
fn a_rollback_in_stages_lowers_as_far_as_stable_can_carry() {
    assert_eq!(short(9, SmallPool::All).state.target.wanted, Split::STABLE);
    let mut told = short(9, SmallPool::Staged);
    let (_, kept) = COMING[0];
    assert_eq!(told.state.target.wanted.canary, Weight(kept), "{:?}", told.log);
    let began = told.log.iter().find(|(kind, _)| *kind == EventKind::RollbackStarted).expect("a line");
    assert!(
        began.1.contains("In stages, as stable has 9 of 10 servers up, which can carry 540 of 1000"),
        "{began:?}"
    );
    // Less never becomes more.
    told.stable(4, 10);
    assert_eq!(told.state.target.wanted.canary, Weight(kept));
    told.stable(10, 10);
    assert_eq!(told.state.target.wanted, Split::STABLE);
    told.stable(10, 10);
    assert!(told.log.iter().any(|(_, sentence)| sentence.contains("enough servers of stable are up")));
}

#[test]
fn where_nothing_can_be_carried_it_waits_for_a_quarter_of_an_hour_at_most() {
    let mut told = short(4, SmallPool::Staged);
    assert_eq!(told.state.target.wanted.canary, Weight(COMING[2].1));
    for _ in 0..88 {
        told.stable(4, 10);
    }
    assert_eq!(told.state.target.wanted.canary, Weight(COMING[2].1));
    for _ in 0..4 {
        told.stable(4, 10);
    }
    assert_eq!(told.state.target.wanted, Split::STABLE);
    assert!(told.notices.iter().any(|notice| notice.sentence.contains("has waited for servers of stable")));
}

#[test]
fn a_person_ends_the_stages() {
    let mut told = short(9, SmallPool::Staged);
    told.take(Event::Command(command("k", CommandKind::Rollback)));
    assert_eq!(told.state.target.wanted, Split::STABLE);
    let said = |(_, sentence): &(EventKind, String)| {
        sentence.starts_with("The canary goes to 0% at once, not in stages")
    };
    assert!(told.log.iter().any(said), "{:?}", told.log);
    // A person's own rollback never has any.
    let mut told = Told::at(Phase::Progressing { step: 0, stage: Stage::Analysing { since: T0 } }, 5_000);
    told.state.rollout.plan_mut().policy.small_pool = SmallPool::Staged;
    let carried = PoolState { requests: Some(18_000), ..pool(10, 10) };
    told.observed(Some(carried), front(0, 30_000, 30)).stable(2, 10);
    told.take(Event::Command(command("k", CommandKind::Rollback)));
    assert_eq!(told.state.target.wanted, Split::STABLE);
}

#[test]
fn instances_that_answer_stand_for_servers_where_the_router_says_nothing() {
    let mut told = Told::analysing();
    let answering = |told: &mut Told, ready: u32| {
        let baseline = ArmNotes {
            listed: Some(Listed { of: 40, ready, never: Default::default() }),
            ..ArmNotes::default()
        };
        let notes = Notes { baseline, ..Notes::default() };
        told.notes = BTreeMap::from([("errors".to_owned(), notes)]);
        told.look(Ok((1_000, 1)), Ok((19_000, 19)));
    };
    answering(&mut told, 40);
    assert_eq!(told.state.rollout.stable.now.map(|now| now.up), Some(40));
    answering(&mut told, 2);
    assert!(told.held() && told.incident());
    assert!(told.notices.iter().any(|notice| notice.sentence.contains("stable has 2 of 40 servers up")));
    // The router's word, once there is one, is the better one.
    told.stable(40, 40);
    answering(&mut told, 2);
    assert!(!told.held());
}

#[test]
fn servers_that_are_removed_explain_the_share() {
    let mut told = Told::analysing();
    let canary = |told: &mut Told, servers: u32| {
        let pools = BTreeMap::from([(Role::Stable, pool(4, 4)), (Role::Canary, pool(servers, servers))]);
        let split = ObservedSplit { pools, ..ObservedSplit::of(Some(told.state.target.wanted)) };
        told.take(Event::Observed { split, elapsed: secs(10) });
        told.state.rollout.share_explained.clone()
    };
    assert_eq!(canary(&mut told, 4), None);
    assert_eq!(canary(&mut told, 3).as_deref(), Some("1 of 4 canary servers was removed"));
    assert_eq!(canary(&mut told, 5), None, "more of them take no share away");
    assert_eq!(canary(&mut told, 2).as_deref(), Some("3 of 5 canary servers were removed"));
}

#[test]
fn a_rollout_that_was_stored_before_knows_nothing_of_stable() {
    let told = Told::analysing();
    let mut stored = serde_json::to_value(&told.state.rollout).unwrap();
    let fields = stored.as_object_mut().unwrap();
    assert!(fields.remove("stable").is_some() && fields.remove("share_explained").is_some());
    let loaded: serin::core::rollout::Rollout = serde_json::from_value(stored).unwrap();
    assert_eq!(loaded, told.state.rollout);
}

#[test]
fn why_the_share_may_be_wrong_is_kept_for_those_who_check_it() {
    let mut told = Told::analysing();
    let pools = BTreeMap::from([(Role::Stable, pool(4, 4)), (Role::Canary, pool(1, 2))]);
    let split = ObservedSplit { pools, ..ObservedSplit::of(Some(told.state.target.wanted)) };
    told.take(Event::Observed { split, elapsed: secs(10) });
    assert_eq!(told.state.rollout.share_explained.as_deref(), Some("1 of 2 canary servers is down"));
    told.observed(None, None);
    assert_eq!(told.state.rollout.share_explained, None);
}
