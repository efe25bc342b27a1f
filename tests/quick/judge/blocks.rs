//! Harm of proportions and rates: bets over blocks as long as one incident's bad requests last.

use std::time::Duration;

use serin::core::judge::{
    Advice, Assessment, BoundHistory, DispersionSource, History, JudgeState, MetricHistory, NEXT_METHOD,
};
use serin::core::metric::{Counts, RouteCounts, Usage};
use serin::core::policy::{Direction, GuardrailAction, Policy, TrafficShare};
use serin::core::reason::ReasonCode;
use serin::core::time::Timestamp;
use serin::stats::block::{Because, Bursts};

use super::kit::*;

fn block(assessment: &Assessment) -> (f64, Because, u64) {
    let block = assessment.metrics[0].block.as_ref().unwrap();
    (block.seconds, block.because, block.ended)
}

fn errors_only() -> Bench {
    Bench::new(policy(vec![errors()]))
}

#[test]
fn a_block_that_is_not_full_adds_nothing_and_one_that_is_cut_counts_only_for_the_canary() {
    let mut bench = errors_only();
    for _ in 0..2 {
        let open = bench.errors((30, 1_000), (95, 19_000));
        assert_eq!((open.metrics[0].ln_e_harm, open.metrics[0].ratio), (0.0, None));
        assert_eq!(block(&open), (30.0, Because::Unknown, 0));
    }
    let full = bench.errors((30, 1_000), (95, 19_000));
    assert!(full.metrics[0].ln_e_harm > 0.2, "{}", full.metrics[0].ln_e_harm);
    assert_eq!(block(&full).2, 1);
    // Cut by a pause, by another weight and by a gap.
    bench.errors((30, 1_000), (95, 19_000));
    bench.usage = Usage::Outside;
    let paused = bench.errors((0, 1_000), (95, 19_000));
    assert_eq!((paused.metrics[0].ln_e_harm, block(&paused).2), (full.metrics[0].ln_e_harm, 2));
    bench.usage = Usage::Used;
    bench.errors((30, 1_000), (95, 19_000));
    bench.step = 1;
    let other = bench.errors((150, 5_000), (75, 15_000));
    assert_eq!((other.metrics[0].ln_e_harm, block(&other).2), (full.metrics[0].ln_e_harm, 3));
    bench.at += 50_000;
    let gap = bench.errors((150, 5_000), (75, 15_000));
    assert_eq!((gap.metrics[0].ln_e_harm, block(&gap).2), (full.metrics[0].ln_e_harm, 4));
    bench.at += 50_000;
    let good = bench.errors((0, 5_000), (75, 15_000));
    assert_eq!(block(&good).2, 5);
    bench.at += 50_000;
    // What was cut was better than the baseline, and that counts.
    assert!(bench.errors((0, 5_000), (75, 15_000)).metrics[0].ln_e_harm < full.metrics[0].ln_e_harm);
}

#[test]
fn the_policy_or_the_past_says_how_long_a_block_is_and_it_is_told() {
    let mut policy = policy(vec![errors()]);
    policy.analysis.burst = Some(Duration::from_secs(60));
    let mut bench = Bench::new(policy);
    let said = (0..6).map(|_| bench.errors((4, 1_000), (76, 19_000))).last().unwrap();
    assert_eq!(block(&said), (60.0, Because::Policy, 1));

    let past = |size: u64| {
        let mut random = Random(7);
        let windows = (0..720).map(|_| {
            let burst = if random.unit() < 0.1 { size } else { 0 };
            ((random.binomial(20_000, 0.002) + burst, 20_000), Duration::from_secs(10))
        });
        MetricHistory {
            source: DispersionSource::OverTime,
            from: Timestamp(0),
            until: Timestamp(7_200_000),
            dispersion: 3.0,
            requests: Some([40_000, 14_400_000]),
            bursts: Some(Bursts::of(windows)),
            bounds: Vec::<BoundHistory>::new(),
        }
    };
    for (size, expected) in [(0, (10.0, Because::Calm, 1)), (200, (60.0, Because::Bursts, 0))] {
        let mut bench = errors_only();
        let history = History { metrics: [("errors".to_owned(), past(size))].into() };
        bench.state = JudgeState::of_method(NEXT_METHOD, &bench.policy, Some(&history));
        assert_eq!(block(&bench.errors((4, 1_000), (76, 19_000))), expected);
    }
    // Without a past the baseline's own windows of this rollout tell, warm-up included.
    let (mut bench, mut random) = (errors_only(), Random(8));
    bench.usage = Usage::WarmUp;
    let mut window = |bench: &mut Bench| {
        let (bad, base) = (random.binomial(1_000, 0.004), random.binomial(19_000, 0.004));
        bench.errors((bad, 1_000), (base, 19_000))
    };
    for _ in 0..30 {
        window(&mut bench);
    }
    bench.usage = Usage::Used;
    assert_eq!(block(&window(&mut bench)), (10.0, Because::Calm, 1));
}

/// 2,000 requests a second at 0.01%: 0.05 points would be five times as many errors.
#[test]
fn the_floor_does_not_hide_a_service_that_hardly_ever_fails() {
    let (mut bench, mut random) = (errors_only(), Random(9));
    bench.usage = Usage::WarmUp;
    for tick in 0..180 {
        bench.usage = if tick < 6 { Usage::WarmUp } else { Usage::Used };
        let (bad, base) = (random.binomial(1_000, 0.000_5), random.binomial(19_000, 0.000_1));
        let last = bench.errors((bad, 1_000), (base, 19_000));
        if last.advice == Advice::RollBack {
            return;
        }
    }
    panic!("it was not found");
}

#[test]
fn a_few_bad_requests_of_a_service_that_never_fails_decide_nothing() {
    let run = |min_bad: u64| {
        let mut bench = errors_only();
        bench.policy.analysis.min_bad = min_bad;
        bench.usage = Usage::WarmUp;
        for _ in 0..360 {
            bench.errors((0, 5_000), (0, 95_000));
        }
        bench.usage = Usage::Used;
        // Single errors, one a minute.
        (0..54).map(|i| bench.errors((u64::from(i % 6 == 0), 5_000), (0, 95_000))).last().unwrap()
    };
    let (few, none_needed) = (run(10), run(1));
    assert!(few.ln_e_harm > few.ln_bound_harm, "{few:?}");
    assert_ne!(few.advice, Advice::RollBack);
    assert_eq!(none_needed.advice, Advice::RollBack);
}

/// A pod that is ejected while it fails takes no good requests that would dilute its errors.
#[test]
fn errors_that_take_their_traffic_away_are_no_more_errors() {
    let run = |by_weight: bool| {
        let mut bench = errors_only();
        bench.policy.analysis.traffic_share =
            by_weight.then_some(TrafficShare { margin: 0.1, action: GuardrailAction::Hold });
        bench.state = JudgeState::of_method(NEXT_METHOD, &bench.policy, None);
        let mut random = Random(11);
        // Of both arms' requests the same share fails, and half of the canary's others go elsewhere.
        let mut one = || {
            let (bad, base) = (random.binomial(1_000, 0.01), random.binomial(19_000, 0.01));
            bench.errors((bad, bad + (1_000 - bad) / 2), (base, 19_000))
        };
        (0..180).any(|_| one().advice == Advice::RollBack)
    };
    assert!(run(false) && !run(true));
}

/// The interval is of the test that decides.
#[test]
fn the_interval_of_a_rollback_never_contains_as_good() {
    for seed in 0..30 {
        let (mut bench, mut random) = (errors_only(), Random(seed));
        let factor = 1.6 + 0.1 * seed as f64;
        let mut last = None;
        for _ in 0..360 {
            let (bad, base) = (random.binomial(1_000, 0.005 * factor), random.binomial(19_000, 0.005));
            let now = bench.errors((bad, 1_000), (base, 19_000));
            let [low, estimate, high] = now.metrics[0].ratio.unwrap_or([1.0; 3]);
            assert!(low <= estimate && estimate <= high, "{low} {estimate} {high}");
            if now.advice == Advice::RollBack {
                last = Some(now);
                break;
            }
        }
        let last = last.unwrap();
        let by_tests = last.reasons.iter().any(|reason| reason.code == ReasonCode::Harm);
        let [low, _, high] = last.metrics[0].ratio.unwrap();
        assert!(!by_tests || low > 1.0, "{seed}: {low} in {:?}", last.reasons);
        assert!(low < factor * 1.5 && high > factor * 0.7, "{seed}: {low} {high} of {factor}");
    }
}

#[test]
fn the_worst_route_is_found_behind_better_others_and_named() {
    let mut policy = policy(vec![Metric { by_route: Some("path".to_owned()), ..errors() }]);
    policy.analysis.dispersion = 3.0;
    let (mut bench, mut random) = (Bench::new(policy), Random(12));
    for _ in 0..180 {
        let mut routes = std::collections::BTreeMap::new();
        let (mut canary, mut baseline) = ((0, 0), (0, 0));
        for (path, share, base, bad) in
            [("/", 0.6, 0.01, 0.009), ("/a", 0.39, 0.01, 0.009), ("/pay", 0.01, 0.01, 1.0)]
        {
            let (n, m) = ((1_000.0 * share) as u64, (19_000.0 * share) as u64);
            let (x, y) = (random.binomial(n, bad), random.binomial(m, base));
            (canary, baseline) = ((canary.0 + x, canary.1 + n), (baseline.0 + y, baseline.1 + m));
            let counts = |bad, total| Some(Counts::Proportion { total, bad });
            routes.insert(path.to_owned(), RouteCounts { canary: counts(x, n), baseline: counts(y, m) });
        }
        let readings = vec![(proportion(canary.0, canary.1), proportion(baseline.0, baseline.1))];
        let mut tick = bench.observation(readings, vec![]);
        tick.metrics[0].routes = routes;
        let last = bench.state.observe(&bench.policy, &tick);
        if last.advice == Advice::RollBack {
            let sentence = &last.reasons[0].sentence;
            assert!(sentence.contains("most of all on /pay (canary 100% ("), "{sentence}");
            assert_eq!(last.metrics[0].block.as_ref().unwrap().route.as_deref(), Some("/pay"));
            return;
        }
    }
    panic!("it was not found");
}

/// The canary stops making orders, at a weight of 5%.
#[test]
fn a_good_thing_that_stops_is_found_soon_at_any_traffic() {
    for requests in [500_u64, 2_000, 50_000] {
        let orders = Metric { direction: Direction::HigherIsBetter, ..errors() };
        let mut bench = Bench::new(Policy { ..policy(vec![orders]) });
        bench.policy.analysis.dispersion = 3.0;
        bench.state = JudgeState::of_method(NEXT_METHOD, &bench.policy, None);
        let (mut random, all) = (Random(13), requests * 19);
        bench.usage = Usage::WarmUp;
        let mut found = None;
        for tick in 1..=60 {
            // The lane takes no warm-up's word for it here: what is looked for is the test.
            bench.usage = if tick <= 6 { Usage::Settling } else { Usage::Used };
            let last = bench.errors((0, requests), (random.binomial(all, 0.03), all));
            if last.advice == Advice::RollBack {
                found = Some(tick * 10);
                break;
            }
        }
        assert!(found.is_some_and(|seconds| seconds <= 60 + 100), "{requests}: {found:?}");
    }
}

/// 5 requests a second of the canary: bursts of 40 errors within a minute, in both arms alike.
#[test]
fn at_little_traffic_a_burst_is_no_catastrophe_and_a_catastrophe_is_found() {
    let mut bench = errors_only();
    for tick in 0..60 {
        let burst = u64::from(tick % 30 >= 24) * 5;
        let last = bench.errors((burst, 50), (9, 950));
        assert_ne!(last.advice, Advice::RollBack, "tick {tick}: {:?}", last.reasons);
    }
    let (mut bench, mut random) = (errors_only(), Random(14));
    bench.usage = Usage::WarmUp;
    let mut worse = || bench.errors((random.binomial(50, 0.3), 50), (random.binomial(950, 0.01), 950));
    let found = (1..=12).find(|_| worse().advice == Advice::RollBack);
    assert!(found.is_some_and(|ticks| ticks <= 10), "{found:?}");
}
