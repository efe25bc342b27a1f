//! What is promised about data and time: told event by event, without engine and clock.

#[path = "data/missing.rs"]
mod missing;
#[path = "data/ready.rs"]
mod ready;
#[path = "data/restarts.rs"]
mod restarts;
#[path = "data/share.rs"]
mod share;

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::judge::JudgeState;
use serin::core::metric::{
    ACTIVE_REQUESTS, ArmNotes, BadSeries, Counts, MetricObservation, NoData, Notes, Reading, Unread, Usage,
    Window,
};
use serin::core::policy::{AtMax, Mode, Policy};
use serin::core::pools::{ObservedSplit, PoolState};
use serin::core::reason::ReasonCode;
use serin::core::rollout::{
    Action, Command, CommandKind, Event, EventKind, Hold, Phase, Rollout, State, Tick, transition,
};
use serin::core::split::{Role, Weight};

use crate::testkit::builders::{
    at, buckets, command, latency, percent, policy, proportion, rollout, secs, step, target,
};

/// A rollout with its target, told event by event.
pub struct Told {
    pub state: State,
    pub seconds: f64,
    pub log: Vec<(EventKind, String)>,
    pub notices: Vec<String>,
    pub notes: BTreeMap<String, Notes>,
    /// What the router says of the canary's servers.
    pub servers: Option<PoolState>,
    commands: u32,
}

impl Told {
    pub fn begin(policy: Policy) -> Told {
        let judge = std::sync::Arc::new(JudgeState::new(&policy));
        let mut target = target("shop");
        let rollout = rollout("r1", "shop", policy);
        target.active = Some(rollout.id.clone());
        let state = State { rollout, target, judge };
        let mut told = Told {
            state,
            seconds: 0.0,
            log: Vec::new(),
            notices: Vec::new(),
            notes: BTreeMap::new(),
            servers: None,
            commands: 0,
        };
        told.seen();
        told
    }

    pub fn take(&mut self, event: Event) {
        let outcome = transition(self.state.clone(), event, at(self.seconds)).expect("a legal event");
        for action in outcome.actions {
            match action {
                Action::Notify(notice) => self.notices.push(notice.sentence),
                Action::Record(record) => self.log.push((record.kind, record.sentence)),
                Action::Observe(_) => {}
            }
        }
        self.state = outcome.state;
    }

    pub fn command(&mut self, kind: CommandKind) {
        self.commands += 1;
        self.take(Event::Command(command(&format!("c{}", self.commands), kind)));
    }

    /// The router does what is wanted, and the workload is ready.
    pub fn seen(&mut self) {
        let observed = |told: &Told| {
            let mut split = ObservedSplit::of(Some(told.state.target.wanted));
            split.pools = told.servers.clone().map(|servers| (Role::Canary, servers)).into_iter().collect();
            Event::Observed { split, elapsed: secs(1) }
        };
        self.take(observed(self));
        if matches!(self.state.rollout.phase, Phase::Preparing { .. } | Phase::Finalizing) {
            self.take(Event::WorkloadReady);
            self.take(observed(self));
            if self.state.rollout.phase == Phase::Finalizing {
                self.take(Event::WorkloadReady);
            }
        }
    }

    /// A look after so many seconds at these metrics, in the policy's order.
    pub fn look_at(&mut self, seconds: u64, readings: Vec<(Reading<Counts>, Reading<Counts>, Usage)>) {
        if self.state.rollout.phase.is_terminal() {
            return;
        }
        let window = Window { start: at(self.seconds), end: at(self.seconds + seconds as f64) };
        self.seconds += seconds as f64;
        let names: Vec<String> = self.state.rollout.policy.metrics.iter().map(|m| m.name.clone()).collect();
        let metrics = names.into_iter().zip(readings).map(|(metric, (canary, baseline, usage))| {
            let window = (canary.is_ok() || baseline.is_ok()).then_some(window);
            MetricObservation { routes: BTreeMap::new(), metric, window, canary, baseline, usage }
        });
        let notes = self.notes.clone();
        self.take(Event::Tick(Tick {
            elapsed: secs(seconds),
            metrics: metrics.collect(),
            values: Vec::new(),
            notes,
        }));
        self.seen();
    }

    /// A look at `errors` alone: (all, bad) of both arms.
    pub fn look(&mut self, canary: (u64, u64), baseline: (u64, u64)) {
        let usage = Usage::Outside;
        self.look_at(10, vec![(proportion(canary.0, canary.1), proportion(baseline.0, baseline.1), usage)]);
    }

    /// Healthy looks with much traffic, split as it is wanted.
    pub fn healthy(&mut self, looks: usize) {
        for _ in 0..looks {
            let canary = (20_000.0 * self.state.target.wanted.canary.share()) as u64;
            self.look((canary, canary / 1000), (20_000 - canary, (20_000 - canary) / 1000));
        }
    }

    pub fn until(&mut self, what: impl Fn(&State) -> bool) {
        for _ in 0..500 {
            if what(&self.state) {
                return;
            }
            self.healthy(1);
        }
        panic!("never came: {:?} {:?}", self.state.rollout.phase, self.log);
    }

    pub fn holds(&self, hold: Hold) -> bool {
        self.state.rollout.holds.contains(&hold)
    }

    pub fn logged(&self, words: &str) -> bool {
        self.log.iter().any(|(_, sentence)| sentence.contains(words))
    }

    fn weight(&self) -> Weight {
        self.state.target.wanted.canary
    }

    fn analysed(&self) -> Duration {
        self.state.rollout.timers.analysed
    }
}

fn analysing(state: &State) -> bool {
    matches!(state.rollout.phase, Phase::Progressing { step: 0, .. })
}

fn baking(state: &State) -> bool {
    state.rollout.phase == Phase::Baking
}

#[test]
fn a_canary_without_requests_at_100_percent_does_not_succeed_and_holds() {
    let mut told = Told::begin(policy().build());
    told.until(baking);
    // The policy bakes for 60 s and is blind after 300 s.
    for _ in 0..29 {
        told.look((0, 0), (0, 0));
    }
    assert_eq!(told.state.rollout.phase, Phase::Baking, "time without requests is not credited");
    assert_eq!(told.analysed(), Duration::ZERO);
    assert!(!told.holds(Hold::NoTraffic));
    told.look((0, 0), (0, 0));
    told.look((0, 0), (0, 0));
    assert!(told.holds(Hold::NoTraffic), "{:?}", told.log);
    assert!(told.notices.iter().any(|notice| notice.contains("no request for")), "{:?}", told.notices);
    for _ in 0..100 {
        told.look((0, 0), (0, 0));
    }
    assert_eq!(told.state.rollout.phase, Phase::Baking);
    // With requests it goes on.
    told.healthy(1);
    assert!(!told.holds(Hold::NoTraffic));
    told.healthy(7);
    assert_eq!(told.state.rollout.phase, Phase::Succeeded);
}

#[test]
fn a_service_with_little_traffic_is_not_held_at_100_percent_for_a_quiet_hour() {
    let quick = vec![step(5.0, 60), step(100.0, 0)];
    let mut told = Told::begin(policy().steps(quick).at_max(AtMax::PromoteUnproven).build());
    told.until(analysing);
    // Nine requests of the canary and nine of the baseline a minute: less than one a second.
    for _ in 0..700 {
        told.look((2, 0), (3, 0));
        if baking(&told.state) {
            break;
        }
    }
    assert!(baking(&told.state), "{:?}", told.state.rollout.phase);
    for _ in 0..360 {
        told.look((0, 0), (0, 0));
    }
    assert!(!told.holds(Hold::NoTraffic), "{:?}", told.log);
    assert_eq!(told.state.rollout.phase, Phase::Baking);
    // A quiet window counts over its whole length once a request comes, but for no more than `blind.after`.
    told.look((1, 0), (0, 0));
    assert_eq!(told.state.rollout.phase, Phase::Succeeded, "300 s of the quiet hour are more than the bake");
}

#[test]
fn a_pause_is_no_time_of_a_step() {
    let mut told = Told::begin(policy().steps(vec![step(5.0, 600), step(100.0, 0)]).build());
    told.until(analysing);
    told.healthy(3);
    let before = told.analysed();
    told.command(CommandKind::Pause);
    told.healthy(30);
    assert_eq!(told.analysed(), before);
    told.command(CommandKind::Resume);
    told.healthy(2);
    assert_eq!(told.analysed(), before + secs(20));
}

#[test]
fn what_a_window_covers_of_a_pause_is_no_time_of_a_step() {
    let mut told = Told::begin(policy().steps(vec![step(5.0, 600), step(100.0, 0)]).build());
    told.until(analysing);
    told.healthy(3);
    let before = told.analysed();
    // Paused and resumed between two looks, 4 s before the second one.
    told.command(CommandKind::Pause);
    told.seconds += 6.0;
    told.command(CommandKind::Resume);
    told.seconds -= 6.0;
    told.healthy(1);
    assert_eq!(told.analysed(), before + secs(4));
    // What was carried over meanwhile counts from the end of the pause on.
    told.command(CommandKind::Pause);
    for _ in 0..10 {
        told.look((5, 0), (0, 0));
    }
    told.command(CommandKind::Resume);
    told.look((5, 0), (40, 0));
    assert_eq!(told.analysed(), before + secs(14));
    told.healthy(1);
    assert_eq!(told.analysed(), before + secs(24));
}

#[test]
fn time_without_fresh_readings_is_not_credited_with_the_window_that_covers_it() {
    let mut told = Told::begin(policy().steps(vec![step(5.0, 3600), step(100.0, 0)]).build());
    told.until(|state| state.rollout.timers.analysed > Duration::ZERO);
    let before = told.analysed();
    // The source does not answer for 200 s; then one window covers all of it.
    for _ in 0..20 {
        let no = || Err(NoData::Timeout);
        told.look_at(10, vec![(no(), no(), Usage::Pending)]);
    }
    let window = Some(Window { start: at(told.seconds - 200.0), end: at(told.seconds + 10.0) });
    told.seconds += 10.0;
    let (metric, usage, routes) = ("errors".to_owned(), Usage::Outside, BTreeMap::new());
    let (canary, baseline) = (proportion(10_000, 10), proportion(190_000, 190));
    let metrics = vec![MetricObservation { routes, metric, window, canary, baseline, usage }];
    told.take(Event::Tick(Tick { elapsed: secs(10), metrics, values: vec![], notes: BTreeMap::new() }));
    let credited = told.analysed() - before;
    assert!(credited <= secs(30), "{credited:?}: at most three intervals");
    // The other arm alone makes no time either, though the canary's is seen.
    for _ in 0..5 {
        told.look_at(10, vec![(proportion(100, 0), Err(NoData::Stale { age_seconds: 60 }), Usage::Pending)]);
    }
    assert_eq!(told.analysed() - before, credited);
}

#[test]
fn a_window_in_which_one_arm_has_no_requests_is_carried_over_and_counts_whole() {
    let mut told = Told::begin(policy().steps(vec![step(5.0, 600), step(100.0, 0)]).build());
    told.until(|state| state.rollout.timers.analysed > Duration::ZERO);
    let before = told.analysed();
    let requests = |told: &Told| told.state.rollout.last.as_ref().expect("a look").requests();
    let had = requests(&told);
    for canary in [true, false, true] {
        let (one, other) = if canary { ((3, 3), (0, 0)) } else { ((0, 0), (0, 0)) };
        told.look(one, other);
        assert_eq!(told.analysed(), before, "nothing can be compared yet");
        assert_eq!(requests(&told), had);
    }
    told.look((0, 0), (4, 0));
    assert_eq!(told.analysed(), before + secs(40), "all four windows");
    let now = requests(&told);
    assert_eq!([now[0] - had[0], now[1] - had[1]], [6, 4], "nothing is thrown away");
    assert!(told.state.rollout.last.as_ref().unwrap().metrics[0].canary_share.unwrap() > 0.0);
}

#[test]
fn a_carried_window_counts_for_no_more_than_the_limit_of_blindness() {
    let mut told = Told::begin(policy().steps(vec![step(5.0, 3600), step(100.0, 0)]).build());
    told.until(|state| state.rollout.timers.analysed > Duration::ZERO);
    let before = told.analysed();
    for _ in 0..100 {
        told.look((0, 0), (1, 0));
    }
    told.look((1, 0), (1, 0));
    assert_eq!(told.analysed(), before + secs(300));
}

#[test]
fn a_step_needs_its_requests_and_not_only_its_time() {
    let few = |min_requests| {
        let mut steps = vec![step(5.0, 60), step(100.0, 0)];
        steps[0].min_requests = min_requests;
        steps[0].max = None;
        let mut told = Told::begin(policy().steps(steps).dispersion(1.0).build());
        told.until(analysing);
        for _ in 0..300 {
            if told.weight() == percent(5.0) {
                told.healthy(1);
            }
        }
        told
    };
    assert!(few(50).weight() > percent(5.0));
    let held = few(1_000_000);
    assert_eq!(held.weight(), percent(5.0), "proven, and its time is over, but not enough requests");
    assert_eq!(held.state.rollout.last.as_ref().unwrap().advice, serin::core::judge::Advice::Advance);
}

#[test]
fn nothing_is_promoted_unproven_without_requests() {
    let mut steps = vec![step(5.0, 60), step(100.0, 0)];
    steps[0].min_requests = 50;
    let mut told = Told::begin(policy().steps(steps).at_max(AtMax::PromoteUnproven).build());
    told.until(analysing);
    for _ in 0..500 {
        told.look((0, 0), (0, 0));
    }
    assert_eq!(told.weight(), percent(5.0));
    // A few are not enough either, and that is told.
    for _ in 0..80 {
        told.look((1, 0), (0, 0));
        told.look((0, 0), (1, 0));
        if told.holds(Hold::Plan) {
            break;
        }
    }
    assert!(told.logged("of the 50 requests that the step needs"), "{:?}", told.log);
    assert_eq!(told.weight(), percent(5.0));
    // When they are there it goes on, and the hold is gone.
    for _ in 0..80 {
        told.look((2, 0), (2, 0));
    }
    assert!(told.logged("No longer held (plan)") && told.logged("On to 100%: UNPROVEN"), "{:?}", told.log);
}

#[test]
fn what_is_surely_worse_is_not_promoted_unproven() {
    let mut steps = vec![step(5.0, 60), step(100.0, 0)];
    steps[0].at_max = AtMax::PromoteUnproven;
    steps[0].max = Some(secs(60));
    // The tests of harm are nearly switched off: what is left is the step's end.
    let mut policy = policy().steps(steps).false_rollback_rate(0.000_01).build();
    policy.metrics[0].tolerance = 0.1;
    let mut told = Told::begin(policy);
    told.until(analysing);
    for _ in 0..9 {
        told.look((100, 6), (1900, 19));
        if told.weight() != percent(5.0) || told.holds(Hold::Plan) {
            break;
        }
    }
    assert_eq!(told.weight(), percent(5.0), "{:?}", told.log);
    assert!(told.logged("worse in errors than the policy tolerates"), "{:?}", told.log);
}

#[test]
fn rollouts_that_were_stored_before_load() {
    let told = {
        let mut told = Told::begin(policy().build());
        told.until(analysing);
        told.healthy(2);
        told
    };
    let mut stored = serde_json::to_value(&told.state.rollout).unwrap();
    let rollout = stored.as_object_mut().unwrap();
    rollout.remove("data");
    let timers = rollout.get_mut("timers").unwrap().as_object_mut().unwrap();
    for new in ["uncredited", "credited", "idle", "unrequested"] {
        assert!(timers.remove(new).is_some(), "{new}");
    }
    for step in rollout["policy"]["steps"].as_array_mut().unwrap() {
        step.as_object_mut().unwrap().remove("min_requests");
    }
    let loaded: Rollout = serde_json::from_value(stored).unwrap();
    assert_eq!(loaded.policy.steps[0].min_requests, 50);
    assert_eq!(loaded.policy.mode, Mode::Act);
    assert_eq!(loaded.data, Default::default());
}
