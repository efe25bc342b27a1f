//! Data that is missing: holds that name the metric, the arm and the reason, and how long is waited.

use super::*;

fn two_metrics() -> Policy {
    policy().metrics(vec![crate::testkit::builders::errors(), latency()]).build()
}

fn fast(requests: u64) -> Reading<Counts> {
    buckets(&[0.1, 1.0], &[requests, 0, 0])
}

#[test]
fn one_arm_of_one_metric_that_is_missing_holds_and_is_named() {
    let mut told = Told::begin(two_metrics());
    let good = |told: &mut Told| {
        let usage = Usage::Outside;
        told.look_at(10, vec![(proportion(50, 0), proportion(950, 0), usage), (fast(50), fast(950), usage)]);
    };
    good(&mut told);
    good(&mut told);
    assert!(analysing(&told.state), "{:?}", told.state.rollout.phase);
    for _ in 0..4 {
        let usage = Usage::Outside;
        told.look_at(
            10,
            vec![
                (proportion(50, 0), proportion(950, 0), usage),
                (Err(NoData::Empty), fast(950), Usage::Pending),
            ],
        );
    }
    assert!(told.holds(Hold::Blind), "{:?}", told.log);
    assert!(
        told.logged(
            "metric latency of the canary has had no reading for 30 s: no series matches the selector"
        ),
        "{:?}",
        told.log
    );
    assert!(told.notices.iter().any(|notice| notice.contains("metric latency of the canary")));
    good(&mut told);
    assert!(!told.holds(Hold::Blind), "{:?}", told.log);
}

#[test]
fn arms_that_never_have_fresh_samples_at_the_same_time_hold() {
    let mut told = Told::begin(policy().build());
    told.until(analysing);
    told.healthy(1);
    for look in 0..40 {
        let canary = look % 2 == 0;
        let fresh = |is_it: bool| if is_it { proportion(50, 50) } else { Err(NoData::Waiting) };
        told.look_at(10, vec![(fresh(canary), fresh(!canary), Usage::Pending)]);
    }
    assert!(told.holds(Hold::Blind), "{:?}", told.log);
    assert!(told.logged("nothing of metric errors could be compared for"), "{:?}", told.log);
}

#[test]
fn silence_and_blindness_last_three_sample_spacings() {
    let spaced = |seconds: Option<u64>| {
        let mut told = Told::begin(policy().build());
        told.until(analysing);
        let arm = ArmNotes { spacing: seconds.map(secs), ..ArmNotes::default() };
        told.notes.insert("errors".to_owned(), Notes { canary: arm.clone(), baseline: arm });
        let mut looks = 0;
        while !matches!(told.state.rollout.phase, Phase::RollingBack { .. }) {
            let stale = Err(NoData::Stale { age_seconds: 100 });
            told.look_at(10, vec![(stale, proportion(950, 0), Usage::Pending)]);
            looks += 1;
            assert!(looks < 100, "{:?}", told.log);
        }
        assert!(matches!(
            &told.state.rollout.phase,
            Phase::RollingBack { reason, .. } if reason.code == ReasonCode::Silent
        ));
        looks * 10
    };
    assert_eq!(spaced(None), 60, "the policy's time");
    assert_eq!(spaced(Some(10)), 60);
    assert_eq!(spaced(Some(60)), 180);
    // An hour between two samples is an outage of the scraping, not its interval.
    let mut rollout = rollout("r1", "shop", policy().build());
    rollout.data.canary_spacing = Some(secs(60));
    assert_eq!(rollout.stale_at_most(), secs(90));
    assert_eq!(rollout.blind_after(), secs(300));
    rollout.data.baseline_spacing = Some(secs(120));
    assert_eq!(rollout.blind_after(), secs(360));
}

#[test]
fn long_requests_give_the_canary_as_much_patience() {
    let mut told = Told::begin(two_metrics());
    let usage = Usage::Outside;
    // The baseline's polls last 100 s: some are in the bucket up to 120 s.
    let long = |n: u64| buckets(&[0.1, 120.0], &[n, n, 0]);
    for _ in 0..3 {
        told.look_at(10, vec![(proportion(50, 0), proportion(950, 0), usage), (long(50), long(950), usage)]);
    }
    assert!(analysing(&told.state));
    let mut looks = 0;
    while !matches!(told.state.rollout.phase, Phase::RollingBack { .. }) {
        let nothing = buckets(&[0.1, 120.0], &[0, 0, 0]);
        told.look_at(10, vec![(proportion(0, 0), proportion(950, 0), usage), (nothing, long(950), usage)]);
        looks += 1;
        assert!(looks < 100, "{:?}", told.log);
    }
    assert_eq!(looks * 10, 120, "as long as a request may last");
}

/// Both arms' notes about the series of bad requests.
fn bad_series(canary: Option<BadSeries>, baseline: Option<BadSeries>) -> BTreeMap<String, Notes> {
    let arm = |bad| ArmNotes { bad, ..ArmNotes::default() };
    BTreeMap::from([("errors".to_owned(), Notes { canary: arm(canary), baseline: arm(baseline) })])
}

#[test]
fn a_selector_of_bad_requests_that_never_matched_is_asked_about_before_traffic_moves() {
    let mut policy = policy().build();
    policy.metrics[0].absent_is_zero = false;
    let mut told = Told::begin(policy.clone());
    told.notes = bad_series(None, Some(BadSeries::Absent));
    told.healthy(10);
    assert_eq!(told.state.rollout.phase, Phase::Preflight);
    assert!(told.holds(Hold::Blind));
    let sentence = "no series matches the selector of its bad requests (http_requests_total{code=~\"5..\"})";
    assert!(told.logged(sentence) && told.logged("absent: zero"), "{:?}", told.log);
    let held = told.log.iter().filter(|(kind, _)| *kind == EventKind::HoldAdded).count();
    assert_eq!(held, 1, "told once: {:?}", told.log);
    // The first error shows that the selector is right.
    told.notes = bad_series(None, Some(BadSeries::Present));
    told.healthy(3);
    assert!(analysing(&told.state), "{:?}", told.state.rollout.phase);
    // A person knows better.
    policy.metrics[0].absent_is_zero = true;
    let mut told = Told::begin(policy.clone());
    told.notes = bad_series(None, Some(BadSeries::Absent));
    told.healthy(3);
    assert!(analysing(&told.state), "{:?}", told.log);
    // Without a correction it does not begin.
    policy.metrics[0].absent_is_zero = false;
    let mut told = Told::begin(policy);
    told.notes = bad_series(None, Some(BadSeries::Absent));
    told.healthy(200);
    assert!(told.state.rollout.phase.is_terminal() || told.weight() == Weight::ZERO);
    assert!(told.logged("not begun: metric errors"), "{:?}", told.log);
}

#[test]
fn a_canary_without_a_series_of_bad_requests_is_read_as_0_and_told_once() {
    let mut policy = policy().build();
    policy.metrics[0].absent_is_zero = false;
    let mut told = Told::begin(policy);
    told.notes = bad_series(None, Some(BadSeries::Present));
    told.until(analysing);
    told.notes = bad_series(Some(BadSeries::Absent), Some(BadSeries::Present));
    told.until(|state| state.rollout.phase == Phase::Succeeded);
    let zeros = told.log.iter().filter(|(_, sentence)| sentence.contains("read as 0")).count();
    assert_eq!(zeros, 1, "{:?}", told.log);
    assert!(!told.log.iter().any(|(kind, _)| *kind == EventKind::HoldAdded), "{:?}", told.log);
}

#[test]
fn a_guardrail_goes_by_the_canary_alone_while_the_pair_is_waited_for() {
    let rail = crate::testkit::builders::error_guardrail(0.05);
    let mut told = Told::begin(policy().guardrail(rail).build());
    told.until(analysing);
    told.healthy(1);
    // The baseline's next sample is not there yet; the canary's counts come again, larger each time.
    let from = told.seconds;
    for look in 1..=4 {
        if matches!(told.state.rollout.phase, Phase::RollingBack { .. }) {
            break;
        }
        let window = Some(Window { start: at(from), end: at(from + 10.0 * f64::from(look)) });
        told.seconds += 10.0;
        let all = 500 * look as u64;
        let metric = MetricObservation {
            routes: BTreeMap::new(),
            metric: "errors".to_owned(),
            window,
            canary: proportion(all, all),
            baseline: Err(NoData::Waiting),
            usage: Usage::Pending,
        };
        let notes = BTreeMap::new();
        told.take(Event::Tick(Tick { elapsed: secs(10), metrics: vec![metric], values: Vec::new(), notes }));
    }
    assert!(
        matches!(&told.state.rollout.phase, Phase::RollingBack { reason, .. } if reason.code == ReasonCode::Guardrail),
        "{:?}",
        told.log
    );
}

#[test]
fn a_canary_that_has_requests_under_way_is_not_silent() {
    let mut told = Told::begin(policy().build());
    told.until(analysing);
    let canary = ArmNotes { active: Some(12.0), ..ArmNotes::default() };
    told.notes.insert(ACTIVE_REQUESTS.to_owned(), Notes { canary, ..Notes::default() });
    for _ in 0..60 {
        told.look((0, 0), (950, 0));
    }
    assert!(analysing(&told.state), "{:?}", told.log);
    told.notes.clear();
    for _ in 0..6 {
        told.look((0, 0), (950, 0));
    }
    assert!(matches!(told.state.rollout.phase, Phase::RollingBack { .. }), "{:?}", told.log);
}
