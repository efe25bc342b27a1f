//! The shapes of hostile traffic do what they say, and the whole rule is measured in them.

use serin::montecarlo::hostile::{Outside, delay, harms, measure, shape, shapes};
use serin::montecarlo::random::Random;
use serin::montecarlo::traffic::{Flow, Hits, Load, Shape, Span, Traffic};
use serin::montecarlo::{By, Runs, past, rollouts_told};

const TICK: f64 = 10.0;

/// A window of 10 s, 20% of it the canary's.
fn span(canary_share: f64, in_step: f64) -> Span {
    Span { seconds: TICK, canary_share, baseline_share: 1.0 - canary_share, in_step }
}

/// (requests, bad) of both arms in each of `ticks` windows.
fn counts(shape: Shape, seed: u64, ticks: u32) -> Vec<[(u64, u64); 2]> {
    let traffic = Traffic { shapes: vec![shape], ..Traffic::new(1000.0, 0.02) };
    assert_eq!(traffic.check(), Ok(()));
    let mut flow = Flow::new(&traffic, Random::new(seed));
    (0..ticks)
        .map(|tick| {
            let loads = flow.next(&span(0.2, f64::from(tick) * TICK));
            loads.map(|load| (load.requests, flow.bad(&load, "errors")))
        })
        .collect()
}

fn sums(windows: &[[(u64, u64); 2]], arm: usize) -> (f64, f64) {
    windows.iter().fold((0.0, 0.0), |sum, w| (sum.0 + w[arm].0 as f64, sum.1 + w[arm].1 as f64))
}

fn rate(windows: &[[(u64, u64); 2]], arm: usize) -> f64 {
    let (requests, bad) = sums(windows, arm);
    bad / requests
}

#[track_caller]
fn close(actual: f64, expected: f64, within: f64) {
    assert!((actual / expected - 1.0).abs() < within, "{actual}, expected {expected}");
}

/// Variance over mean of the bad requests of an arm in blocks of windows.
fn dispersion(windows: &[[(u64, u64); 2]], arm: usize, block: usize) -> f64 {
    let sums: Vec<f64> =
        windows.chunks_exact(block).map(|block| block.iter().map(|w| w[arm].1 as f64).sum()).collect();
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    sums.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (sums.len() as f64 - 1.0) / mean
}

#[test]
fn incidents_keep_the_rate_and_last_their_time() {
    for hits in [Hits::One, Hits::Both] {
        let shape = Shape::Incidents { size: 30, lasts: 60.0, share: 0.5, hits };
        let windows = counts(shape, 1, 20_000);
        close(rate(&windows, 0), 0.02, 0.02);
        close(rate(&windows, 1), 0.02, 0.02);
        // Half of the errors in bursts of 30: ½ + ½·30 in blocks that are much longer than a burst, and
        // much less in a window of a sixth of it.
        let (of_canary, long) = (dispersion(&windows, 0, 100), dispersion(&windows, 1, 100));
        let expected = if hits == Hits::One { 15.5 } else { 0.5 + 0.5 * (1.0 + 29.0 * 0.2) };
        close(of_canary, expected, 0.25);
        assert!(long > 10.0, "{long}");
        assert!(dispersion(&windows, 1, 1) < long / 2.0);
    }
    // All at once: a burst lies within a window.
    let shape = Shape::Incidents { size: 30, lasts: 0.1, share: 1.0, hits: Hits::One };
    close(dispersion(&counts(shape, 2, 4000), 0, 1), 30.0, 0.15);
}

#[test]
fn pods_differ_for_good_and_the_past_sees_them() {
    let shape = |error_sd, latency_sd| Shape::Pods { canary: 1, baseline: 19, error_sd, latency_sd };
    let rates: Vec<f64> = (0..300).map(|seed| rate(&counts(shape(0.3, 0.0), seed, 60), 0)).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let variance = rates.iter().map(|x| (x / mean - 1.0).powi(2)).sum::<f64>() / rates.len() as f64;
    // At 20% of the traffic the canary has 4 of 20 pods: (e^(sd²) − 1)/4.
    close(variance, ((0.09_f64).exp() - 1.0) / 4.0, 0.35);

    let traffic = Traffic { shapes: vec![shape(0.3, 0.3)], ..Traffic::new(1000.0, 0.02) };
    let mut flow = Flow::new(&traffic, Random::new(4));
    let [_, baseline] = flow.next(&span(0.05, 0.0));
    let pods = flow.of_pods(&baseline);
    assert_eq!(pods.len(), 19);
    assert_eq!(pods.iter().map(|pod| pod.requests).sum::<u64>(), baseline.requests);
    assert_ne!(flow.buckets(&pods[0], "latency"), flow.buckets(&pods[1], "latency"));

    let policy = super::policy("standard.yaml");
    let history = past(&policy, &traffic, Random::new(5));
    assert_eq!(history.metrics.len(), 2);
    assert!(history.metrics["errors"].requests.is_some_and(|[bad, all]| bad > 0 && all > 6_000_000));
    assert_eq!(history, past(&policy, &traffic, Random::new(5)));
}

#[test]
fn users_stay_in_their_arm() {
    let shape = Shape::Users { users: 10_000, tail: 1.5, error_sd: 1.0 };
    let of = |seed| {
        let windows = counts(shape, seed, 60);
        let (of_canary, of_baseline) = (sums(&windows, 0), sums(&windows, 1));
        let all = of_canary.0 + of_baseline.0;
        close(all, 60.0 * TICK * 1000.0, 0.02);
        // Together they fail as often as ever.
        close((of_canary.1 + of_baseline.1) / all, 0.02, 0.1);
        (of_canary.0 / all, rate(&windows, 0) / 0.02)
    };
    let all: Vec<(f64, f64)> = (0..40).map(of).collect();
    let mean = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).sum::<f64>() / all.len() as f64;
    close(mean(|x| x.0), 0.2, 0.1);
    assert!(all.iter().any(|(_, rate)| (rate - 1.0).abs() > 0.1), "{all:?}");
}

#[test]
fn a_pod_that_fails_takes_its_good_requests_along() {
    let shape = Shape::Ejection { canary: 1, baseline: 19, size: 50, lasts: 30.0, share: 0.5 };
    let windows = counts(shape, 6, 4000);
    let (of_canary, of_baseline) = (sums(&windows, 0), sums(&windows, 1));
    // Four errors a second, two of them in bursts of 50: out for 30 s of 55 s in the mean. The pods of the
    // baseline fail too, so that the canary serves more than its share while it is in.
    let served = of_canary.0 / (4000.0 * TICK * 200.0);
    assert!((0.45..0.7).contains(&served), "{served}");
    assert!(rate(&windows, 0) > 1.02 * rate(&windows, 1));
    // What it does not get the others have.
    close(of_canary.0 + of_baseline.0, 4000.0 * TICK * 1000.0, 0.03);
    assert!(windows.iter().any(|w| w[0].0 == 0));
}

#[test]
fn deploys_and_clients_do_what_they_say() {
    let deploy = |both| Shape::Deploy { lasts: 20.0, error_factor: 10.0, both };
    let early: Vec<_> = (0..40).flat_map(|seed| counts(deploy(true), seed, 2)).collect();
    close(rate(&early, 0), 0.2, 0.05);
    close(rate(&early, 1), 0.2, 0.05);
    let early: Vec<_> = (0..40).flat_map(|seed| counts(deploy(false), seed, 2)).collect();
    close(rate(&early, 0), 0.2, 0.05);
    close(rate(&early, 1), 0.02, 0.05);
    let client = counts(Shape::Client { share: 0.3, error_factor: 2.0 }, 8, 400);
    close(sums(&client, 0).0 / (400.0 * TICK * 200.0), 1.0 / 0.7, 0.02);
    close(rate(&client, 0), 0.02 * 1.3, 0.05);
    close(rate(&client, 1), 0.02, 0.03);
}

#[test]
fn processes_are_cold_when_they_start() {
    for (added, later) in [(false, 1.0), (true, 1.8)] {
        let shape = Shape::ColdPods { lasts: 30.0, latency_factor: 2.0, added };
        let traffic = Traffic { shapes: vec![shape], ..Traffic::new(1000.0, 0.02) };
        let mut flow = Flow::new(&traffic, Random::new(9));
        let mut slower = |share: f64, in_step: f64| {
            let [canary, baseline] = flow.next(&span(share, in_step));
            let mean = |load: &Load, sum: f64| sum / load.requests as f64;
            let sums = [flow.sum(&canary, "latency"), flow.sum(&baseline, "latency")];
            mean(&canary, sums[0]) / mean(&baseline, sums[1])
        };
        close(slower(0.05, 0.0), 2.0, 0.2);
        close(slower(0.05, 20.0), 2.0, 0.2);
        close(slower(0.05, 30.0), 1.0, 0.2);
        // A fifth of its processes were there before.
        close(slower(0.25, 0.0), later, 0.12);
        close(slower(0.25, 30.0), 1.0, 0.12);
    }
}

#[test]
fn the_shapes_have_names_of_their_own_and_can_be_drawn() {
    let all = shapes();
    for one in &all {
        assert_eq!(one.traffic.check(), Ok(()), "{}", one.name);
        assert_eq!(shape(&one.name).as_ref(), Some(one));
        assert!(one.traffic.truth.is_harmless());
    }
    let names: std::collections::BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    let outside = |name: &str, history| shape(name).unwrap().outside.and_then(|outside| outside.why(history));
    assert_eq!(outside("bursts-30-in-60s", false), None);
    assert!(outside("bursts-30-in-300s", false).is_some() && outside("bursts-30-in-300s", true).is_none());
    assert_eq!(shape("pods-1-of-20-errors-0.3").unwrap().outside, Some(Outside::OnePod));
    for harm in harms() {
        assert!(harm.traffic.check().is_ok() && !harm.traffic.truth.is_harmless(), "{}", harm.name);
    }
}

#[test]
fn the_whole_rule_is_measured_with_its_causes() {
    let policy = super::policy("standard.yaml");
    let runs = |threads| Runs { runs: 12, seed: 2, threads };
    let row = measure(&policy, &shape("independent-1000").unwrap(), true, runs(1), &|_| {});
    assert_eq!((row.rolled_back.count, row.promoted.count, row.held.count), (0, 12, 0), "{row:?}");
    assert_eq!(row, measure(&policy, &shape("independent-1000").unwrap(), true, runs(3), &|_| {}));
    // So few requests prove nothing within the steps' maximum.
    let row = measure(&policy, &shape("low-traffic").unwrap(), false, runs(2), &|_| {});
    assert_eq!((row.held.count, row.holds.get("at_maximum")), (12, Some(&12)), "{row:?}");
    let worst = harms().into_iter().find(|harm| harm.name == "errors-x5-1000").unwrap();
    let delay = delay(&policy, &worst, false, runs(2), &|_| {});
    assert_eq!((delay.found.count, delay.early.count), (12, 0), "{delay:?}");
    assert_eq!(delay.by.values().sum::<u64>(), 12);
    assert!(delay.detection.p90_seconds.is_some_and(|seconds| seconds < 1200.0), "{delay:?}");
}

#[test]
fn both_arms_that_break_a_critical_limit_after_a_step_are_told_as_such() {
    let policy = super::policy("standard.yaml");
    let shape = Shape::Deploy { lasts: 600.0, error_factor: 10.0, both: true };
    let traffic = Traffic { shapes: vec![shape], ..Traffic::new(1000.0, 0.01) };
    let told = rollouts_told(&policy, &traffic, false, Runs::new(4, 3), &|_| {});
    assert!(told.iter().all(|(_, told)| told.by == Some(By::BothBroke)), "{told:?}");
}
