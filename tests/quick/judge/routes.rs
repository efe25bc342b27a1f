//! Arms that are compared route by route.

use serin::core::judge::{Advice, Assessment};
use serin::core::metric::{Counts, RouteCounts, TickObservation};
use serin::core::policy::Policy;

use super::kit::{Bench, LE, Metric, Random, errors, latency, log_normal, policy};

fn by_route(metric: Metric) -> Metric {
    Metric { by_route: Some("route".to_owned()), ..metric }
}

/// One tick of the only metric, from its routes: (canary, baseline) of each.
fn tick(bench: &mut Bench, routes: &[(&str, Counts, Counts)]) -> TickObservation {
    let sum = |arm: fn(&(&str, Counts, Counts)) -> Counts| {
        routes.iter().map(arm).reduce(|sum, more| sum.plus(&more)).unwrap()
    };
    let whole = (Ok(sum(|route| route.1.clone())), Ok(sum(|route| route.2.clone())));
    let mut tick = bench.observation(vec![whole], vec![]);
    let route = |(name, canary, baseline): &(&str, Counts, Counts)| {
        let counts = RouteCounts { canary: Some(canary.clone()), baseline: Some(baseline.clone()) };
        ((*name).to_owned(), counts)
    };
    tick.metrics[0].routes = routes.iter().map(route).collect();
    tick
}

fn counts(random: &mut Random, total: u64, share: f64) -> Counts {
    Counts::Proportion { total, bad: random.binomial(total, share) }
}

/// `/search` fails ten times as often as `/` in both arms. The canary gets `mix` of its requests there
/// (the baseline a tenth) and fails `worse` times as often.
fn shifted(policy: &Policy, mix: f64, worse: f64, routes: bool) -> Assessment {
    let (mut bench, mut random) = (Bench::new(policy.clone()), Random(7));
    let mut last = None;
    for _ in 0..60 {
        let (search, rest) = ((1_000.0 * mix) as u64, (1_000.0 * (1.0 - mix)) as u64);
        let routes_now = [
            ("/", counts(&mut random, rest, 0.002 * worse), counts(&mut random, 17_100, 0.002)),
            ("/search", counts(&mut random, search, 0.02 * worse), counts(&mut random, 1_900, 0.02)),
        ];
        let mut tick = tick(&mut bench, &routes_now);
        if !routes {
            tick.metrics[0].routes.clear();
        }
        last = Some(bench.state.observe(policy, &tick));
    }
    last.unwrap()
}

#[test]
fn another_mix_of_routes_is_no_regression_and_a_regression_within_routes_is() {
    let policy = policy(vec![by_route(errors())]);
    let fooled = shifted(&policy, 0.5, 1.0, false);
    assert_eq!(fooled.advice, Advice::RollBack, "as a whole the arms differ: {:?}", fooled.reasons);
    let fair = shifted(&policy, 0.5, 1.0, true);
    assert_ne!(fair.advice, Advice::RollBack, "{:?}", fair.reasons);
    let [low, estimate, high] = fair.metrics[0].ratio.unwrap();
    assert!(low < 1.0 && high > 1.0 && (0.8..1.25).contains(&estimate), "{low} {estimate} {high}");
    let worse = shifted(&policy, 0.1, 3.0, true);
    assert_eq!(worse.advice, Advice::RollBack);
    assert!(
        worse.reasons[0].sentence.contains(" within each route, most of all on /search ("),
        "{}",
        worse.reasons[0].sentence
    );
}

/// A mix that hides a regression: the canary gets less of the bad route, and fails more in each.
#[test]
fn a_regression_behind_a_better_mix_is_found() {
    let policy = policy(vec![by_route(errors())]);
    assert_ne!(shifted(&policy, 0.0, 2.2, false).advice, Advice::RollBack);
    assert_eq!(shifted(&policy, 0.02, 2.2, true).advice, Advice::RollBack);
}

#[test]
fn a_single_route_is_the_whole() {
    let policy = policy(vec![by_route(errors())]);
    let (mut one, mut whole, mut random) =
        (Bench::new(policy.clone()), Bench::new(policy.clone()), Random(3));
    for _ in 0..40 {
        let now = [("/", counts(&mut random, 500, 0.01), counts(&mut random, 9_500, 0.008))];
        let routes = tick(&mut one, &now);
        let mut plain = tick(&mut whole, &now);
        plain.metrics[0].routes.clear();
        assert_eq!(one.state.observe(&policy, &routes), whole.state.observe(&policy, &plain));
    }
}

#[test]
fn latencies_are_compared_within_routes_too() {
    let policy = policy(vec![by_route(latency())]);
    let run = |mix: f64, slower: f64, routes: bool| {
        let (mut bench, mut random) = (Bench::new(policy.clone()), Random(11));
        let mut last = None;
        for _ in 0..60 {
            let mut arm =
                |n: f64, factor: f64| random.histogram(n as u64, &LE, &log_normal(factor, 0.0)).unwrap();
            let routes_now = [
                ("/", arm(1_000.0 * (1.0 - mix), slower), arm(17_100.0, 1.0)),
                ("/report", arm(1_000.0 * mix, 8.0 * slower), arm(1_900.0, 8.0)),
            ];
            let mut tick = tick(&mut bench, &routes_now);
            if !routes {
                tick.metrics[0].routes.clear();
            }
            last = Some(bench.state.observe(&policy, &tick));
        }
        last.unwrap().advice
    };
    assert_eq!(run(0.5, 1.0, false), Advice::RollBack);
    assert_ne!(run(0.5, 1.0, true), Advice::RollBack);
    assert_eq!(run(0.1, 1.5, true), Advice::RollBack);
}

/// Harmless releases whose mix shifts at random are hardly ever rolled back.
#[test]
fn false_rollbacks_stay_rare_under_a_shifting_mix() {
    let policy = policy(vec![by_route(errors())]);
    let (mut false_rollbacks, mut random) = (0, Random(20));
    for _ in 0..300 {
        let mut bench = Bench::new(policy.clone());
        for _ in 0..40 {
            let mix = random.unit();
            let (search, rest) = ((200.0 * mix) as u64, (200.0 * (1.0 - mix)) as u64);
            let now = [
                ("/", counts(&mut random, rest, 0.005), counts(&mut random, 3_000, 0.005)),
                ("/search", counts(&mut random, search, 0.05), counts(&mut random, 500, 0.05)),
            ];
            let tick = tick(&mut bench, &now);
            if bench.state.observe(&policy, &tick).advice == Advice::RollBack {
                false_rollbacks += 1;
                break;
            }
        }
    }
    assert!(false_rollbacks <= 6, "{false_rollbacks} of 300 harmless releases");
}
