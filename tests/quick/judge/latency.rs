//! Latencies: how bounds are chosen, slow canaries, new tails.

use serin::core::judge::{Advice, Verdict};
use serin::core::metric::{Counts, NoData, Reading, Usage};
use serin::core::reason::ReasonCode;

use super::kit::{Bench, LE, Random, latency, log_normal, policy};

fn histogram(counts: [u64; 12]) -> Reading<Counts> {
    Ok(Counts::Latency { le: LE.to_vec(), counts: counts.to_vec(), sum: None })
}

fn traffic(random: &mut Random, n: u64, slower: f64, tail: f64) -> Reading<Counts> {
    random.histogram(n, &LE, &log_normal(slower, tail))
}

/// A bench whose bounds were chosen before the first step, then ticks of a canary at 1,000 requests.
fn ticks(seed: u64, slower: f64, tail: f64, ticks: u64) -> (Bench, Option<serin::core::judge::Assessment>) {
    let mut random = Random(seed);
    let mut bench = Bench::new(policy(vec![latency()]));
    bench.usage = Usage::Outside;
    for _ in 0..3 {
        bench.tick(vec![(Err(NoData::Empty), traffic(&mut random, 20_000, 1.0, 0.0))]);
    }
    bench.usage = Usage::Used;
    for _ in 0..ticks {
        let canary = traffic(&mut random, 1_000, slower, tail);
        let baseline = traffic(&mut random, 19_000, 1.0, 0.0);
        let assessed = bench.tick(vec![(canary, baseline)]);
        if assessed.advice != Advice::Hold {
            return (bench, Some(assessed));
        }
    }
    (bench, None)
}

#[test]
fn bounds_come_from_the_baseline_before_the_first_step() {
    let (_, found) = ticks(1, 1.5, 0.0, 60);
    let found = found.unwrap();
    assert_eq!(found.advice, Advice::RollBack);
    assert_eq!(found.reasons[0].code, ReasonCode::Harm);
    let sentence = &found.reasons[0].sentence;
    assert!(sentence.starts_with("latency: above ") && sentence.contains(" ms, canary "), "{sentence}");
    let metric = &found.metrics[0];
    assert!(metric.bound_seconds.is_some_and(|bound| LE.contains(&bound)));
    let (canary, baseline) = (metric.canary_quantiles.unwrap(), metric.baseline_quantiles.unwrap());
    assert!(baseline[0][1] > 0.05 && baseline[0][1] < 0.1 && canary[0][1] > baseline[0][1]);
    assert!(baseline[0] < baseline[1] && baseline[1] < baseline[2]);
}

#[test]
fn a_tail_of_one_percent_is_found_and_never_called_no_harm() {
    for seed in 0..5 {
        let (_, found) = ticks(seed, 1.0, 0.01, 100);
        let found = found.unwrap();
        assert_eq!(found.advice, Advice::RollBack);
        assert!(found.metrics[0].bound_seconds >= Some(0.5), "{:?}", found.metrics);
    }
}

#[test]
fn an_equal_canary_advances_and_one_within_the_tolerance_is_not_rolled_back() {
    for seed in 10..13 {
        assert_eq!(ticks(seed, 1.0, 0.0, 200).1.unwrap().advice, Advice::Advance);
        assert_ne!(ticks(seed, 1.08, 0.0, 200).1.map(|a| a.advice), Some(Advice::RollBack));
    }
}

#[test]
fn a_new_tail_is_seen_where_the_baseline_has_none() {
    // All of the baseline lies between 5 and 10 ms; 1% of the canary's requests take a second.
    let mut bench = Bench::new(policy(vec![latency()]));
    let baseline = || histogram([0, 19_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bench.usage = Usage::WarmUp;
    bench.tick(vec![(histogram([0; 12]), baseline())]);
    bench.usage = Usage::Used;
    let found = (0..40)
        .map(|_| bench.tick(vec![(histogram([0, 990, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0]), baseline())]))
        .find(|a| a.advice != Advice::Hold)
        .unwrap();
    assert_eq!(found.advice, Advice::RollBack);
    assert_eq!(found.metrics[0].bound_seconds, Some(0.025));
    // Half as slow again, so that half of the requests cross one bound.
    let mut bench = Bench::new(policy(vec![latency()]));
    bench.usage = Usage::WarmUp;
    bench.tick(vec![(histogram([0; 12]), baseline())]);
    bench.usage = Usage::Used;
    let found = (0..40)
        .map(|_| bench.tick(vec![(histogram([0, 500, 500, 0, 0, 0, 0, 0, 0, 0, 0, 0]), baseline())]))
        .find(|a| a.advice != Advice::Hold)
        .unwrap();
    assert_eq!(found.advice, Advice::RollBack);
    assert_eq!(found.metrics[0].bound_seconds, Some(0.01));
}

#[test]
fn without_warm_up_the_windows_that_choose_the_bounds_are_not_tested() {
    let mut bench = Bench::new(policy(vec![latency()]));
    // The canary is far slower from the first window on.
    let canary = || histogram([0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0]);
    let baseline = || histogram([0, 300, 300, 200, 100, 60, 40, 0, 0, 0, 0, 0]);
    for _ in 0..2 {
        let assessed = bench.tick(vec![(canary(), baseline())]);
        assert_eq!(assessed.metrics[0].ln_e_harm, 0.0);
        assert_eq!(assessed.metrics[0].verdict, Verdict::Undecided);
        let sentence = &assessed.reasons[0].sentence;
        assert!(sentence.contains("once 2,000 requests of the baseline are seen"), "{sentence}");
        assert_eq!(assessed.analysed, 10 * super::kit::SECOND);
        assert!(assessed.metrics[0].canary_quantiles.is_some());
    }
    let tested = bench.tick(vec![(canary(), baseline())]);
    assert!(tested.metrics[0].ln_e_harm > 0.0);
    assert_eq!(tested.metrics[0].canary_requests, 300);
    assert_eq!(tested.metrics[0].canary_share, Some(1.0));
}

#[test]
fn bounds_are_frozen() {
    // Chosen from a baseline that hardly ever takes longer than 1 s.
    let (mut bench, _) = ticks(3, 1.0, 0.0, 2);
    let between_5_and_10_s = || histogram([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1900, 0]);
    let above_10_s = || histogram([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100]);
    for _ in 0..100 {
        let assessed = bench.tick(vec![(above_10_s(), between_5_and_10_s())]);
        assert_ne!(assessed.advice, Advice::RollBack);
        assert!(assessed.metrics[0].bound_seconds.unwrap() <= 5.0);
    }
}

#[test]
fn windows_with_other_buckets_say_nothing() {
    let (mut bench, _) = ticks(4, 1.0, 0.0, 2);
    let other =
        |counts: &[u64]| Ok(Counts::Latency { le: vec![0.3, 3.0], counts: counts.to_vec(), sum: None });
    let before = bench.tick(vec![(histogram([10; 12]), histogram([10; 12]))]);
    let after = bench.tick(vec![(other(&[0, 0, 900]), other(&[1900, 0, 0]))]);
    assert_eq!(before.metrics[0].ln_e_harm, after.metrics[0].ln_e_harm);
    assert_eq!(before.metrics[0].ln_e_no_harm, after.metrics[0].ln_e_no_harm);
    // Counts that do not fit their bounds are no histogram.
    let broken = bench.tick(vec![(other(&[1, 2]), other(&[1, 2]))]);
    assert_eq!(broken.metrics[0].ln_e_harm, after.metrics[0].ln_e_harm);
}
