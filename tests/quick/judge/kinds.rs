//! Rates, means, saturations, the traffic share, limits at 100%, and who is named.

use serin::core::judge::{
    Advice, BoundHistory, DispersionSource, GuardrailStatus, History, JudgeState, MetricHistory, NEXT_METHOD,
    Verdict,
};
use serin::core::metric::{Counts, Reading, Usage};
use serin::core::policy::{BakeBound, BakeLimit, Direction, GuardrailAction, Policy, TrafficShare};
use serin::core::source::{Exposure, MetricSource};
use serin::core::time::Timestamp;
use serin::stats::histogram::Threshold;

use super::kit::{Bench, LE, Metric, Random, errors, latency, log_normal, policy, proportion};

fn rate() -> Metric {
    Metric {
        name: "restarts".to_owned(),
        source: MetricSource::Rate { events: vec![], per: Exposure::Instance, process_start: None },
        harm_floor: 0.0,
        no_harm_floor: 0.001,
        ..errors()
    }
}

fn cpu() -> Metric {
    Metric {
        name: "cpu".to_owned(),
        source: MetricSource::Saturation { query: "cpu{$arm}".to_owned() },
        harm_floor: 0.0,
        no_harm_floor: 0.0,
        ..errors()
    }
}

fn events(events: u64, seconds: u64) -> Reading<Counts> {
    Ok(Counts::Rate { events, exposure_millionths: seconds * 1_000_000 })
}

fn value(value: f64) -> Reading<Counts> {
    Ok(Counts::Value { value })
}

/// Ticks until the advice is not `Hold`, at most `most`.
fn run(
    bench: &mut Bench,
    most: usize,
    mut reading: impl FnMut(usize) -> Vec<(Reading<Counts>, Reading<Counts>)>,
) -> (Advice, usize, String) {
    for i in 0..most {
        let assessment = bench.tick(reading(i));
        if assessment.advice != Advice::Hold {
            return (assessment.advice, i, assessment.reasons[0].sentence.clone());
        }
    }
    (Advice::Hold, most, String::new())
}

#[test]
fn a_rate_is_judged_by_its_exposure() {
    // 20 instances against 380, restarts at 1 in 100 s of an instance.
    let ticks = |factor: f64, seed: u64| {
        let mut random = Random(seed);
        let mut bench = Bench::new(policy(vec![rate()]));
        run(&mut bench, 180, move |_| {
            let canary = random.binomial(200, 0.01 * factor);
            vec![(events(canary, 200), events(random.binomial(3_800, 0.01), 3_800))]
        })
    };
    let (advice, at, sentence) = ticks(4.0, 1);
    assert_eq!(advice, Advice::RollBack);
    assert!(at < 40, "{at}");
    assert!(sentence.contains("a second and instance"), "{sentence}");
    assert_eq!(ticks(1.0, 2).0, Advice::Advance);
    // A rate that is better when it is higher: a canary that gets less done.
    let mut random = Random(3);
    let higher = Metric { direction: Direction::HigherIsBetter, ..rate() };
    let mut bench = Bench::new(policy(vec![higher]));
    let (advice, ..) = run(&mut bench, 360, |_| {
        vec![(events(random.binomial(2_000, 0.02), 200), events(random.binomial(38_000, 0.05), 3_800))]
    });
    assert_eq!(advice, Advice::RollBack);
}

#[test]
fn a_rate_does_not_depend_on_the_unit_of_its_exposure() {
    let evidence = |unit: u64| {
        let metric = Metric { harm_floor: 0.001 / unit as f64, no_harm_floor: 0.01 / unit as f64, ..rate() };
        let mut bench = Bench::new(policy(vec![metric]));
        let mut random = Random(4);
        let mut last = (0.0, 0.0);
        for _ in 0..30 {
            let (x, y) = (random.binomial(200, 0.02), random.binomial(3_800, 0.01));
            let assessed = bench.tick(vec![(events(x, 200 * unit), events(y, 3_800 * unit))]);
            last = (assessed.metrics[0].ln_e_harm, assessed.metrics[0].ln_e_no_harm);
        }
        last
    };
    let (one, sixty) = (evidence(1), evidence(60));
    assert!((one.0 - sixty.0).abs() < 1e-9 && (one.1 - sixty.1).abs() < 1e-9, "{one:?} {sixty:?}");
}

/// Noise in (−1, 1) around 0.
fn noise(random: &mut Random) -> f64 {
    (random.binomial(400, 0.5) as f64 - 200.0) / 40.0
}

#[test]
fn a_gauge_that_is_fuller_is_found_and_one_that_is_not_advances() {
    let ticks = |metric: Metric, canary: f64, seed: u64| {
        let mut random = Random(seed);
        let mut bench = Bench::new(policy(vec![metric]));
        run(&mut bench, 180, move |_| {
            let shared = 0.02 * noise(&mut random);
            let mut arm = |mean: f64| value(mean + shared + 0.02 * noise(&mut random));
            vec![(arm(canary), arm(0.5))]
        })
    };
    let (advice, at, sentence) = ticks(cpu(), 0.7, 1);
    assert_eq!(advice, Advice::RollBack);
    assert!((9..60).contains(&at), "{at}");
    assert!(sentence.contains("against baseline") && sentence.contains("a gauge"), "{sentence}");
    assert_eq!(ticks(cpu(), 0.5, 2).0, Advice::Advance);
    let hits = Metric { direction: Direction::HigherIsBetter, ..cpu() };
    assert_eq!(ticks(hits.clone(), 0.3, 3).0, Advice::RollBack);
    assert_eq!(ticks(hits, 0.7, 4).0, Advice::Advance);
}

#[test]
fn the_same_gauge_in_both_arms_is_hardly_ever_rolled_back() {
    let mut rolled_back = 0;
    for seed in 0..300 {
        let mut random = Random(1_000 + seed);
        let mut bench = Bench::new(policy(vec![cpu()]));
        for _ in 0..180 {
            let tick = vec![(value(0.5 + 0.05 * noise(&mut random)), value(0.5 + 0.05 * noise(&mut random)))];
            if bench.tick(tick).advice == Advice::RollBack {
                rolled_back += 1;
                break;
            }
        }
    }
    // α is 1%, and the margin of 10% makes it rarer still.
    assert!(rolled_back <= 6, "{rolled_back} of 300");
}

#[test]
fn a_regression_of_a_gauge_that_begins_late_is_found() {
    let mut random = Random(9);
    let mut bench = Bench::new(policy(vec![cpu()]));
    let mut found = None;
    for i in 0..360 {
        let mean = if i < 180 { 0.5 } else { 0.65 };
        let tick = vec![(value(mean + 0.02 * noise(&mut random)), value(0.5 + 0.02 * noise(&mut random)))];
        if bench.tick(tick).advice == Advice::RollBack {
            found = Some(i);
            break;
        }
    }
    assert!(found.is_some_and(|i| (180..240).contains(&i)), "{found:?}");
}

#[test]
fn gauges_without_a_finite_value_say_nothing() {
    let mut bench = Bench::new(policy(vec![cpu()]));
    for reading in [f64::NAN, f64::INFINITY, 1e300, -1e300] {
        for _ in 0..20 {
            let assessed = bench.tick(vec![(value(reading), value(0.5))]);
            assert!(assessed.metrics[0].ln_e_harm.is_finite());
        }
    }
}

fn share(action: GuardrailAction) -> Policy {
    let mut policy = policy(vec![errors()]);
    policy.analysis.traffic_share = Some(TrafficShare { margin: 0.1, action });
    policy
}

#[test]
fn a_canary_with_another_share_than_was_set_holds() {
    let ticks = |canary: u64, bench: &mut Bench| {
        let tick = vec![(proportion(canary / 200, canary), proportion(48, 9_500))];
        let assessed = bench.tick(tick);
        let rail = assessed.guardrails.iter().find(|rail| rail.name == "traffic-share").unwrap().clone();
        (rail, assessed.advice)
    };
    let mut bench = Bench::new(share(GuardrailAction::Hold));
    for _ in 0..180 {
        let (rail, _) = ticks(500, &mut bench);
        assert_eq!(rail.status, GuardrailStatus::Clear, "{}", rail.sentence);
    }
    // Twice the share: found and told. What follows is the rollout's matter, over a trailing time.
    let mut bench = Bench::new(share(GuardrailAction::Hold));
    let mut fired = 0;
    for _ in 0..60 {
        let (rail, advice) = ticks(1_000, &mut bench);
        assert_ne!(advice, Advice::RollBack);
        if rail.status == GuardrailStatus::Fired {
            fired += 1;
            assert!(rail.sentence.contains("it should be 5%"), "{}", rail.sentence);
        }
    }
    assert!(fired > 40, "{fired}");
    // Another step begins anew.
    bench.step = 1;
    let tick = vec![(proportion(10, 2_500), proportion(30, 7_500))];
    assert_eq!(bench.tick(tick).guardrails[0].status, GuardrailStatus::Clear);
}

#[test]
fn scrapes_at_different_moments_are_no_wrong_share() {
    // The canary's counts always end 4 s before the baseline's: its first window is short.
    let mut bench = Bench::new(share(GuardrailAction::Hold));
    for i in 0..180 {
        let canary = if i == 0 { 300 } else { 500 };
        let assessed = bench.tick(vec![(proportion(2, canary), proportion(48, 9_500))]);
        assert_eq!(assessed.guardrails[0].status, GuardrailStatus::Clear, "{i}");
    }
}

fn with_limit(action: GuardrailAction) -> Policy {
    let mut policy = policy(vec![errors()]);
    policy.bake.limits =
        vec![BakeLimit { metric: "errors".to_owned(), limit: BakeBound::Above(0.01), action }];
    policy
}

#[test]
fn at_full_traffic_a_limit_of_the_policy_is_tested_by_one_arm() {
    let missing = || Err(serin::core::metric::NoData::Empty);
    let bake = |bad: u64, action| {
        let mut bench = Bench::new(with_limit(action));
        bench.step = 2;
        bench.usage = Usage::Baking;
        let mut last = None;
        for _ in 0..60 {
            last = Some(bench.tick(vec![(proportion(bad, 1_000), missing())]));
        }
        last.unwrap()
    };
    let worse = bake(20, GuardrailAction::RollBack);
    assert_eq!(worse.advice, Advice::RollBack);
    assert!(worse.reasons[0].sentence.contains("the policy's limit is 1%"), "{}", worse.reasons[0].sentence);
    assert_ne!(bake(20, GuardrailAction::Alert).advice, Advice::RollBack);
    assert_eq!(bake(9, GuardrailAction::RollBack).guardrails[0].status, GuardrailStatus::Clear);
    // Before 100% it is not looked at.
    let mut bench = Bench::new(with_limit(GuardrailAction::RollBack));
    let assessed = bench.tick(vec![(proportion(20, 1_000), proportion(20, 1_000))]);
    assert_eq!(assessed.guardrails[0].status, GuardrailStatus::NoData);
}

#[test]
fn all_that_are_worse_are_named_and_no_other() {
    let named = |name: &str| Metric { name: name.to_owned(), ..errors() };
    let mut bench = Bench::new(policy(vec![named("checkout"), named("search"), named("login")]));
    let mut random = Random(5);
    let mut found = None;
    for _ in 0..180 {
        let mut arms = |p: f64| {
            (proportion(random.binomial(1_000, p), 1_000), proportion(random.binomial(9_000, 0.01), 9_000))
        };
        let assessed = bench.tick(vec![arms(0.05), arms(0.05), arms(0.01)]);
        if assessed.advice == Advice::RollBack {
            found = Some(assessed);
        }
    }
    let assessed = found.unwrap();
    let verdicts: Vec<Verdict> = assessed.metrics.iter().map(|metric| metric.verdict).collect();
    assert_eq!(verdicts[..2], [Verdict::Worse, Verdict::Worse]);
    assert_ne!(verdicts[2], Verdict::Worse);
    assert!(
        assessed.reasons[1].sentence.starts_with("checkout:")
            || assessed.reasons[1].sentence.starts_with("search:")
    );
}

#[test]
fn after_is_held_against_before_and_says_that_nothing_is_promised() {
    let mut policy = policy(vec![errors()]);
    let limit = BakeBound::TimesBefore(2.0);
    policy.bake.limits =
        vec![BakeLimit { metric: "errors".to_owned(), limit, action: GuardrailAction::RollBack }];
    let past = MetricHistory {
        bursts: None,
        source: DispersionSource::OverTime,
        from: Timestamp(0),
        until: Timestamp(7_200_000),
        dispersion: 1.0,
        requests: Some([5_000, 1_000_000]),
        bounds: vec![],
    };
    let history = History { metrics: [("errors".to_owned(), past)].into() };
    let bake = |bad: u64, history: Option<&History>| {
        let mut bench = Bench::new(policy.clone());
        bench.state = JudgeState::of_method(NEXT_METHOD, &policy, history);
        (bench.step, bench.usage) = (2, Usage::Baking);
        let missing = || Err(serin::core::metric::NoData::Empty);
        (0..60).map(|_| bench.tick(vec![(proportion(bad, 1_000), missing())])).last().unwrap()
    };
    let worse = bake(16, Some(&history));
    assert_eq!(worse.advice, Advice::RollBack);
    let sentence = &worse.reasons[0].sentence;
    for part in
        ["against 0.5% (5,000 of 1,000,000) before the rollout", "without a guarantee", "×2 that allows 1.1%"]
    {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    assert_eq!(bake(9, Some(&history)).guardrails[0].status, GuardrailStatus::Clear);
    let unknown = bake(16, None);
    assert_eq!(unknown.guardrails[0].status, GuardrailStatus::NoData);
    assert!(unknown.guardrails[0].sentence.contains("was not recorded"), "{:?}", unknown.guardrails);
}

#[test]
fn a_history_tempers_and_gives_the_bounds_and_is_told() {
    let past = |dispersion: f64, bounds: Vec<BoundHistory>| MetricHistory {
        requests: None,
        bursts: None,
        source: DispersionSource::Instances,
        from: Timestamp(0),
        until: Timestamp(7_200_000),
        dispersion,
        bounds,
    };
    let bound = |bound: f64, dispersion: f64| BoundHistory {
        threshold: Threshold { bound, ratio: 1.3, excess: 0.0 },
        dispersion,
    };
    let history = History {
        metrics: [
            ("errors".to_owned(), past(5.0, vec![])),
            ("latency".to_owned(), past(2.0, vec![bound(0.1, 1.0), bound(0.25, 2.0)])),
        ]
        .into(),
    };
    let policy = policy(vec![errors(), latency()]);
    let ticks = |history: Option<&History>| {
        let mut bench = Bench::new(policy.clone());
        bench.state = JudgeState::of_method(NEXT_METHOD, &policy, history);
        let mut random = Random(6);
        let shares = log_normal(1.0, 0.0);
        let mut last = None;
        for _ in 0..12 {
            let errors = (
                proportion(random.binomial(500, 0.03), 500),
                proportion(random.binomial(9_500, 0.01), 9_500),
            );
            let latency = (random.histogram(500, &LE, &shares), random.histogram(9_500, &LE, &shares));
            last = Some(bench.tick(vec![errors, latency]));
        }
        last.unwrap()
    };
    let (with, without) = (ticks(Some(&history)), ticks(None));
    assert_eq!((with.metrics[0].dispersion, without.metrics[0].dispersion), (5.0, 1.0));
    assert_eq!(with.metrics[0].dispersion_source, DispersionSource::Instances);
    // The test of harm needs no dispersion; that of no harm is tempered.
    assert!(with.metrics[0].ln_e_no_harm.abs() < without.metrics[0].ln_e_no_harm.abs());
    // With history the first window is tested already; without it, the first ones choose the bounds.
    assert!([0.1, 0.25].contains(&with.metrics[1].bound_seconds.unwrap()));
    // Bounds that this version no longer has are chosen anew.
    let gone = History { metrics: [("latency".to_owned(), past(2.0, vec![bound(0.123, 1.0)]))].into() };
    assert!(ticks(Some(&gone)).metrics[1].bound_seconds.is_some_and(|bound| bound != 0.123));
}
