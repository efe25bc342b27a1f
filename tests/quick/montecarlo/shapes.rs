//! Each shape of traffic does what it says.

use serin::core::metric::{Counts, Reading, Usage};
use serin::montecarlo::Ticks;
use serin::montecarlo::random::Random;
use serin::montecarlo::traffic::{Bursts, Flow, Load, Shape, Span, Traffic, Truth};
use statrs::distribution::{ChiSquared, ContinuousCDF};

const TICK: f64 = 10.0;

fn span(in_step: f64) -> Span {
    Span { seconds: TICK, canary_share: 0.2, baseline_share: 0.8, in_step }
}

/// (requests, bad) of both arms in `ticks` windows of 10 s, 20% of them the canary's.
fn counts(traffic: &Traffic, seed: u64, ticks: u32) -> Vec<[(u64, u64); 2]> {
    let mut flow = Flow::new(traffic, Random::new(seed));
    (0..ticks)
        .map(|tick| {
            let loads = flow.next(&span(f64::from(tick) * TICK));
            loads.map(|load| (load.requests, flow.bad(&load, "errors")))
        })
        .collect()
}

fn rate(windows: &[[(u64, u64); 2]], arm: usize) -> f64 {
    let (requests, bad) = windows.iter().fold((0, 0), |sum, w| (sum.0 + w[arm].0, sum.1 + w[arm].1));
    bad as f64 / requests as f64
}

fn shaped(shape: Shape) -> Traffic {
    Traffic { shapes: vec![shape], ..Traffic::new(1000.0, 0.02) }
}

#[track_caller]
fn close(actual: f64, expected: f64, within: f64) {
    assert!((actual / expected - 1.0).abs() < within, "{actual}, expected {expected}");
}

/// Variance over mean.
fn dispersion(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0) / mean
}

#[test]
fn regressions_begin_at_their_onset_and_in_their_metric() {
    let truth = Truth { error_ratio: 3.0, onset_seconds: 505.0, ..Truth::default() };
    let traffic = Traffic { truth, ..Traffic::new(1000.0, 0.02) };
    let windows = counts(&traffic, 1, 150);
    close(rate(&windows[..50], 0), 0.02, 0.05);
    close(rate(&windows[51..], 0), 0.06, 0.03);
    close(rate(&windows, 1), 0.02, 0.03);
    let requests: u64 = windows.iter().map(|w| w[0].0).sum();
    close(requests as f64, 150.0 * TICK * 200.0, 0.01);
    // Half of the window of the onset is bad.
    let onsets: Vec<_> = (0..200).map(|seed| counts(&traffic, seed, 51)[50]).collect();
    close(rate(&onsets, 0), 0.04, 0.05);

    let only = Truth { error_ratio: 3.0, only: Some("other".into()), ..Truth::default() };
    let traffic = Traffic { truth: only, ..Traffic::new(1000.0, 0.02) };
    close(rate(&counts(&traffic, 2, 100), 0), 0.02, 0.05);
}

#[test]
fn bursts_have_their_variance() {
    let fixed = Bursts::Fixed { size: 4 };
    let gamma = Bursts::Gamma { variance_factor: 4.0 };
    let pareto = Bursts::Pareto { variance_factor: 4.0, tail: 3.5 };
    for bursts in [fixed, gamma, pareto] {
        let windows = counts(&shaped(Shape::Bursts(bursts)), 3, 4000);
        close(rate(&windows, 0), 0.02, 0.02);
        let bad: Vec<f64> = windows.iter().map(|w| w[0].1 as f64).collect();
        close(dispersion(&bad), 4.0, 0.12);
    }
    let windows = counts(&Traffic::new(1000.0, 0.02), 3, 4000);
    close(dispersion(&windows.iter().map(|w| w[0].1 as f64).collect::<Vec<_>>()), 1.0, 0.08);
    // However large the bursts, no more requests are bad than there are.
    let huge = Traffic { error_rate: 0.5, ..shaped(Shape::Bursts(Bursts::Fixed { size: 100_000 })) };
    assert!(counts(&huge, 3, 200).iter().flatten().all(|(requests, bad)| bad <= requests));
}

#[test]
fn shocks_and_drift_are_shared() {
    let shocks = Shape::Shocks { every: 300.0, lasts: 100.0, error_factor: 5.0, latency_factor: 1.0 };
    let windows = counts(&shaped(shocks), 4, 4000);
    // A quarter of the time ×5.
    close(rate(&windows, 0), 0.04, 0.1);
    close(rate(&windows, 1), rate(&windows, 0), 0.02);

    let drift = Shape::Drift { period: 400.0, error_factor: 3.0, traffic_share: 0.5 };
    let windows = counts(&shaped(drift), 5, 4000);
    let of = |from: usize, arm: usize| {
        let phase: Vec<_> = windows.iter().skip(from).step_by(40).copied().collect();
        (rate(&phase, arm), phase.iter().map(|w| w[1].0).sum::<u64>() as f64 / phase.len() as f64)
    };
    let all: Vec<(f64, f64)> = (0..40).map(|from| of(from, 1)).collect();
    let most = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).fold(0.0, f64::max);
    let least = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).fold(f64::MAX, f64::min);
    close(most(|x| x.0) / least(|x| x.0), 9.0, 0.1);
    close(most(|x| x.1) / least(|x| x.1), 3.0, 0.05);
    close(rate(&windows, 0), rate(&windows, 1), 0.02);
}

#[test]
fn noise_cold_starts_and_pods_are_the_canarys() {
    let noise = Shape::Noise { error_sd: 0.5, latency_sd: 0.0, correlation: 50.0 };
    let traffic = Traffic { requests_per_second: 20_000.0, ..shaped(noise) };
    let windows = counts(&traffic, 6, 60_000);
    close(rate(&windows, 1), 0.02, 0.02);
    close(rate(&windows, 0), 0.02, 0.06);
    let logs: Vec<f64> = windows.iter().map(|w| (w[0].1.max(1) as f64 / w[0].0 as f64).ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let at = |lag: usize| {
        let pairs = logs.iter().zip(&logs[lag..]);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / (logs.len() - lag) as f64
    };
    // sd² of the process at lag k is .25 e^(−k/5); what is counted adds to lag 0 only.
    close(at(5), 0.25 * (-1.0_f64).exp(), 0.1);
    close(at(5) / at(10), 1.0_f64.exp(), 0.2);

    let cold = Shape::ColdStart { lasts: 60.0, error_factor: 3.0, latency_factor: 1.0 };
    let early: Vec<_> = (0..30).flat_map(|seed| counts(&shaped(cold), seed, 6)).collect();
    close(rate(&early, 0), 0.06, 0.05);
    close(rate(&early, 1), 0.02, 0.05);
    close(rate(&counts(&shaped(cold), 7, 300)[6..], 0), 0.02, 0.05);

    let pods = |pods| {
        let shape = shaped(Shape::BadPod { pods, error_sd: 0.4 });
        (0..400).map(|seed| rate(&counts(&shape, seed, 100), 0)).collect::<Vec<f64>>()
    };
    let relative_variance = |rates: &[f64]| {
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        rates.iter().map(|x| (x / mean - 1.0).powi(2)).sum::<f64>() / rates.len() as f64
    };
    // e^(sd²) − 1, and a quarter of it for the mean of four.
    close(relative_variance(&pods(1)), 0.1735, 0.3);
    close(relative_variance(&pods(4)), 0.1735 / 4.0, 0.3);
}

#[test]
fn latencies_are_log_normal_with_their_tail() {
    let truth = Truth { latency_factor: 1.5, tail_share: 0.01, tail_seconds: 1.0, ..Truth::default() };
    let traffic = Traffic { truth: truth.clone(), ..Traffic::new(2000.0, 0.01) };
    let mut flow = Flow::new(&traffic, Random::new(8));
    let mut sums = [vec![0_u64; 12], vec![0; 12]];
    let mut total = [(0.0, 0_u64); 2];
    for tick in 0..50 {
        let loads: [Load; 2] = flow.next(&span(f64::from(tick) * TICK));
        for (arm, load) in loads.iter().enumerate() {
            let buckets = flow.buckets(load, "latency");
            assert_eq!(buckets.iter().sum::<u64>(), load.requests);
            sums[arm].iter_mut().zip(buckets).for_each(|(sum, count)| *sum += count);
            total[arm] = (total[arm].0 + flow.sum(load, "latency"), total[arm].1 + load.requests);
        }
    }
    let normal = statrs::distribution::Normal::standard();
    let below = |t: f64, median: f64| if t <= 0.0 { 0.0 } else { normal.cdf((t / median).ln() / 0.8) };
    let laws: [&dyn Fn(f64) -> f64; 2] =
        [&|t| 0.99 * below(t, 0.12) + 0.01 * below(t - 1.0, 0.12), &|t| below(t, 0.08)];
    for (arm, law) in laws.iter().enumerate() {
        let mut shares: Vec<f64> = traffic.latency.le.iter().map(|le| law(*le)).collect();
        shares.push(1.0);
        let all: u64 = sums[arm].iter().sum();
        let mut last = 0.0;
        let (mut statistic, mut cells) = (0.0, 0.0);
        for (seen, share) in sums[arm].iter().zip(shares) {
            let expected = all as f64 * (share - last);
            last = share;
            if expected >= 5.0 {
                statistic += (*seen as f64 - expected).powi(2) / expected;
                cells += 1.0;
            }
        }
        let p = 1.0 - ChiSquared::new(cells - 1.0).unwrap().cdf(statistic);
        assert!(p > 1e-3, "arm {arm}: {p}, {:?}", sums[arm]);
    }
    let mean = 0.08 * (0.32_f64).exp();
    close(total[1].0 / total[1].1 as f64, mean, 0.01);
    close(total[0].0 / total[0].1 as f64, 1.5 * mean + 0.01, 0.02);
}

#[test]
fn ticks_are_those_of_the_policy() {
    let policy = super::policy("standard.yaml");
    let traffic = Traffic::new(100.0, 0.01);
    let mut ticks = Ticks::new(&policy, &traffic, Random::new(9));
    let first: Vec<_> = (0..7).map(|_| ticks.next_tick()).collect();
    let usages: Vec<Usage> = first.iter().map(|tick| tick.metrics[0].usage).collect();
    assert_eq!(usages[..6], [Usage::WarmUp; 6]);
    assert_eq!(usages[6], Usage::Used);
    assert_eq!(ticks.seconds(), 70.0);
    ticks.enter(1);
    let tick = ticks.next_tick();
    assert_eq!((tick.seq, tick.step, tick.weight.0), (8, 1, 2500));
    assert_eq!(tick.metrics[0].usage, Usage::WarmUp);
    assert_eq!(tick.metrics[0].window.unwrap().start, first[6].at);
    let names: Vec<&str> = tick.metrics.iter().map(|metric| metric.metric.as_str()).collect();
    assert_eq!(names, ["errors", "latency"]);
    // Both metrics count the same requests.
    let requests = |of: &Reading<Counts>| of.as_ref().unwrap().requests();
    assert_eq!(requests(&tick.metrics[0].canary), requests(&tick.metrics[1].canary));
    assert_eq!(requests(&tick.metrics[0].baseline), requests(&tick.metrics[1].baseline));
    assert!(matches!(tick.metrics[1].canary, Ok(Counts::Latency { .. })));
}

#[test]
fn wrong_traffic_is_told_in_words() {
    let mut traffic = Traffic::new(0.0, 1.5);
    traffic.latency.sigma = f64::NAN;
    traffic.latency.le = vec![0.2, 0.1];
    traffic.shapes = vec![Shape::Bursts(Bursts::Fixed { size: 0 })];
    let problems = traffic.check().unwrap_err();
    let expected =
        ["requests per second is 0", "error rate is 1.5", "sigma", "burst size is 0", "bucket bounds"];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, part) in problems.iter().zip(expected) {
        assert!(problem.contains(part), "{problem}");
    }
    assert_eq!(Traffic::new(100.0, 0.01).check(), Ok(()));
}
