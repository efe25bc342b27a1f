//! Proportions: harm, no harm, the catastrophe lane, steps, and what is missing.

use std::time::Duration;

use serin::core::judge::{Advice, Assessment, Verdict};
use serin::core::metric::{NoData, Usage};
use serin::core::policy::Direction;
use serin::core::reason::ReasonCode;

use super::kit::{Bench, SECOND, errors, latency, policy, proportion};

fn codes(assessment: &Assessment) -> Vec<ReasonCode> {
    assessment.reasons.iter().map(|reason| reason.code).collect()
}

#[test]
fn three_times_the_errors_are_rolled_back_with_a_sentence() {
    let mut bench = Bench::new(policy(vec![errors()]));
    let mut last = Assessment::default();
    for _ in 0..60 {
        last = bench.errors((15, 1000), (95, 19_000));
        if last.advice == Advice::RollBack {
            break;
        }
        assert_eq!(last.metrics[0].verdict, Verdict::Undecided);
        assert_eq!(codes(&last), [ReasonCode::Undecided]);
    }
    assert_eq!(last.advice, Advice::RollBack);
    assert_eq!(last.metrics[0].verdict, Verdict::Worse);
    assert_eq!(codes(&last), [ReasonCode::Harm]);
    assert!(last.ln_e_harm >= last.ln_bound_harm && (last.ln_bound_harm - 100_f64.ln()).abs() < 1e-12);
    let [low, estimate, high] = last.metrics[0].ratio.unwrap();
    assert!(low < 3.0 && (estimate - 3.0).abs() < 1e-9 && high > 3.0);
    let sentence = &last.reasons[0].sentence;
    let n = last.seq;
    let shares = format!("errors: canary 1.5% ({} of {},000) against baseline 0.5%", 15 * n, n);
    assert!(sentence.starts_with(&shares), "{sentence}");
    assert!(
        sentence.contains("×3 [")
            && sentence.contains(
                "bound 1:100 (bad requests within 10 s count as one incident, as the baseline's come one by one)."
            ),
        "{sentence}"
    );
    assert!(sentence.contains("odds against a harmless release 1:"), "{sentence}");
}

#[test]
fn an_equal_canary_advances_when_it_was_said() {
    let mut bench = Bench::new(policy(vec![errors()]));
    let first = bench.errors((4, 1000), (76, 19_000));
    assert_eq!(first.advice, Advice::Hold);
    let said = first.remaining.unwrap();
    assert!(first.reasons[0].sentence.contains("waits for proof"), "{}", first.reasons[0].sentence);
    assert!(first.reasons[0].sentence.contains("more at this traffic"), "{}", first.reasons[0].sentence);
    let last = loop {
        let next = bench.errors((4, 1000), (76, 19_000));
        if next.advice != Advice::Hold || next.seq > 200 {
            break next;
        }
    };
    assert_eq!(last.advice, Advice::Advance);
    assert_eq!(last.remaining, Some(Duration::ZERO));
    assert_eq!(last.metrics[0].verdict, Verdict::NotWorse);
    assert_eq!(codes(&last), [ReasonCode::NotWorse]);
    let sentence = &last.reasons[0].sentence;
    assert!(sentence.contains("not worse by more than ×2 and 0.1 points: odds 1:"), "{sentence}");
    let took = 10.0 * (last.seq - 1) as f64;
    assert!((said.as_secs_f64() - took).abs() <= 10.0, "said {said:?}, took {took}");
}

#[test]
fn the_margin_narrows_with_the_next_weight() {
    let mut ticks = vec![];
    for (step, margin) in [(0, "×2 "), (1, "×1.26 ")] {
        let mut bench = Bench::new(policy(vec![errors()]));
        bench.step = step;
        let last =
            (0..500).map(|_| bench.errors((10, 1000), (190, 19_000))).find(|a| a.advice != Advice::Hold);
        let last = last.unwrap();
        assert!(last.reasons[0].sentence.contains(margin), "{}", last.reasons[0].sentence);
        ticks.push(last.seq);
    }
    assert!(ticks[1] > 2 * ticks[0], "{ticks:?}");
}

#[test]
fn no_errors_at_all_advance_by_the_floor() {
    let mut bench = Bench::new(policy(vec![errors()]));
    let last = (0..200).map(|_| bench.errors((0, 1000), (0, 19_000))).find(|a| a.advice != Advice::Hold);
    let last = last.unwrap();
    assert_eq!(last.advice, Advice::Advance);
    assert_eq!(last.metrics[0].ratio, None);
    assert!(last.seq > 3, "no harm needs evidence, not the absence of any");
}

#[test]
fn thirty_percent_errors_during_warm_up_stop_by_the_lane_in_two_windows_in_a_row() {
    let mut bench = Bench::new(policy(vec![errors()]));
    bench.usage = Usage::WarmUp;
    let first = bench.errors((150, 500), (47, 9500));
    assert!(first.ln_e_catastrophe > first.ln_bound_harm);
    assert_eq!(first.advice, Advice::Hold, "one window is not enough");
    assert_eq!(first.metrics[0].canary_requests, 0);
    // Nothing new neither clears nor counts.
    assert_eq!(bench.nothing(NoData::Waiting).advice, Advice::Hold);
    let second = bench.errors((150, 500), (47, 9500));
    assert_eq!(second.advice, Advice::RollBack);
    assert_eq!(second.metrics[0].verdict, Verdict::Worse);
    assert_eq!(codes(&second), [ReasonCode::Catastrophe]);
    let sentence = &second.reasons[0].sentence;
    assert!(sentence.contains("30% (300 of 1,000)") && sentence.contains("warm-up included"), "{sentence}");
}

#[test]
fn the_lane_counts_windows_in_a_row() {
    let mut bench = Bench::new(policy(vec![errors()]));
    bench.usage = Usage::WarmUp;
    bench.errors((20, 100), (10, 1900));
    let mut advices = vec![];
    for canary in [(60, 100), (0, 2000), (100, 100)] {
        advices.push(bench.errors(canary, (10, 1900)).advice);
    }
    assert_eq!(advices, [Advice::Hold; 3]);
}

#[test]
fn warm_up_windows_are_not_tested_otherwise() {
    let mut bench = Bench::new(policy(vec![errors()]));
    for usage in [Usage::WarmUp, Usage::Settling, Usage::Straddling, Usage::Outside, Usage::Baking] {
        bench.usage = usage;
        for _ in 0..20 {
            // Three times as bad but less than two points: not for the lane.
            let assessed = bench.errors((15, 1000), (95, 19_000));
            assert!(assessed.metrics[0].ln_e_harm.abs() < 1e-12, "{}", assessed.metrics[0].ln_e_harm);
            assert!(assessed.metrics[0].ln_e_no_harm.abs() < 1e-12);
            assert_eq!(assessed.metrics[0].canary_requests, 0);
            assert_eq!(assessed.analysed, Duration::ZERO);
            assert_eq!(assessed.advice, Advice::Hold);
        }
    }
    bench.usage = Usage::Outside;
    bench.errors((1_000, 1000), (95, 19_000));
    assert!(bench.errors((1_000, 1000), (95, 19_000)).ln_e_catastrophe < 0.0);
}

#[test]
fn one_burst_decides_nothing() {
    let mut bench = Bench::new(policy(vec![errors()]));
    bench.usage = Usage::Used;
    for _ in 0..3 {
        bench.errors((1, 1000), (19, 19_000));
    }
    // However large it is, a block multiplies the evidence by a bounded factor.
    bench.errors((19, 1000), (19, 19_000));
    bench.errors((1, 1000), (19, 19_000));
    let burst = bench.errors((1, 1000), (19, 19_000));
    assert!(burst.ln_e_harm < burst.ln_bound_harm, "{burst:?}");
    assert_eq!(burst.advice, Advice::Hold);
    assert_eq!(burst.metrics[0].verdict, Verdict::Undecided);
}

#[test]
fn evidence_of_harm_lasts_over_steps_and_the_rest_begins_anew() {
    let mut bench = Bench::new(policy(vec![errors()]));
    // Whole blocks: what is left of one would be cut by the step.
    for _ in 0..29 {
        bench.errors((12, 1000), (95, 19_000));
    }
    let before = bench.errors((12, 1000), (95, 19_000));
    bench.step = 1;
    bench.usage = Usage::WarmUp;
    let after = bench.errors((50, 5000), (75, 15_000));
    assert!(before.ln_e_harm > 0.5);
    assert_eq!(before.metrics[0].ln_e_harm, after.metrics[0].ln_e_harm);
    assert_eq!(after.metrics[0].ln_e_no_harm, 0.0);
    assert_eq!(after.metrics[0].ratio, None);
    assert_eq!(after.metrics[0].canary_requests, 0);
    bench.usage = Usage::Used;
    let used = bench.errors((50, 5000), (75, 15_000));
    assert_eq!(used.metrics[0].canary_share, Some(0.01));
    assert_eq!(used.metrics[0].canary_requests, 5000);
}

#[test]
fn missing_data_is_neither_pass_nor_fail() {
    let mut bench = Bench::new(policy(vec![errors()]));
    let last = (0..100).map(|_| bench.errors((4, 1000), (76, 19_000))).find(|a| a.advice == Advice::Advance);
    let advance = last.unwrap();
    let waiting = bench.nothing(NoData::Waiting);
    assert_eq!(waiting.advice, Advice::Advance, "nothing is wrong, the evidence stands");
    assert_eq!(waiting.metrics[0].ln_e_no_harm, advance.metrics[0].ln_e_no_harm);
    let blind = bench.nothing(NoData::Timeout);
    assert_eq!(blind.advice, Advice::Hold);
    assert_eq!(blind.metrics[0].verdict, Verdict::NoData);
    assert_eq!(blind.remaining, None);
    assert_eq!(codes(&blind), [ReasonCode::Blind]);
    assert_eq!(blind.reasons[0].sentence, "errors: no data: the provider did not answer in time.");
    let silent = bench.tick(vec![(Err(NoData::Empty), proportion(76, 19_000))]);
    assert_eq!(codes(&silent), [ReasonCode::Silent]);
    assert_eq!(silent.metrics[0].ln_e_harm, advance.metrics[0].ln_e_harm);
    assert_eq!(silent.analysed, Duration::ZERO);
}

#[test]
fn harm_that_was_found_stands_while_data_is_missing() {
    let mut bench = Bench::new(policy(vec![errors()]));
    while bench.errors((15, 1000), (95, 19_000)).advice != Advice::RollBack {
        assert!(bench.seq < 100);
    }
    assert_eq!(bench.nothing(NoData::Timeout).advice, Advice::RollBack);
}

#[test]
fn analysed_time_is_what_every_metric_has() {
    let mut bench =
        Bench::new(policy(vec![errors(), super::kit::Metric { name: "other".into(), ..errors() }]));
    let reading = || (proportion(1, 1000), proportion(19, 19_000));
    let nothing = || (Err(NoData::Waiting), Err(NoData::Waiting));
    assert_eq!(bench.tick(vec![reading(), reading()]).analysed, 10 * SECOND);
    // Scraped at different moments: no time is lost, and none is counted twice.
    assert_eq!(bench.tick(vec![reading(), nothing()]).analysed, Duration::ZERO);
    assert_eq!(bench.tick(vec![nothing(), reading()]).analysed, 10 * SECOND);
    assert_eq!(bench.tick(vec![(Err(NoData::Empty), reading().1), reading()]).analysed, Duration::ZERO);
    bench.step = 1;
    assert_eq!(bench.tick(vec![reading(), nothing()]).analysed, Duration::ZERO);
    assert_eq!(bench.tick(vec![reading(), reading()]).analysed, 10 * SECOND);
}

#[test]
fn every_metric_must_be_not_worse_and_the_worst_is_named() {
    let other = super::kit::Metric { name: "declines".into(), ..errors() };
    let mut bench = Bench::new(policy(vec![errors(), other]));
    let good = || (proportion(4, 1000), proportion(76, 19_000));
    for _ in 0..30 {
        let waiting = bench.tick(vec![good(), (proportion(0, 0), proportion(0, 19_000))]);
        assert_eq!(waiting.advice, Advice::Hold);
        assert_eq!(waiting.remaining, None);
    }
    let waiting = bench.tick(vec![good(), (proportion(0, 0), proportion(0, 19_000))]);
    assert_eq!(codes(&waiting), [ReasonCode::Undecided, ReasonCode::NotWorse]);
    assert_eq!(waiting.reasons[0].sentence, "declines: no requests of the canary in this step yet.");
    let last = (0..100)
        .map(|_| bench.tick(vec![good(), (proportion(15, 1000), proportion(95, 19_000))]))
        .find(|a| a.advice == Advice::RollBack)
        .unwrap();
    assert!(last.reasons[0].sentence.starts_with("declines: canary 1.5%"));
    assert_eq!(last.metrics[0].verdict, Verdict::NotWorse);
    assert_eq!(last.metrics[1].verdict, Verdict::Worse);
}

/// The first assessment that does not hold, for a metric of which more is better.
fn successes(canary: (u64, u64), baseline: (u64, u64), step: usize) -> Assessment {
    let successes = super::kit::Metric { direction: Direction::HigherIsBetter, ..errors() };
    let mut bench = Bench::new(policy(vec![successes]));
    bench.step = step;
    (0..180).map(|_| bench.errors(canary, baseline)).find(|a| a.advice != Advice::Hold).unwrap()
}

#[test]
fn where_higher_is_better_fewer_successes_are_harm() {
    let last = successes((900, 1000), (18_050, 19_000), 0);
    assert_eq!(last.advice, Advice::RollBack);
    // A linear bet of a twentieth of the traffic on the rest, twice as much, in blocks of 30 s at first.
    assert!(last.seq < 35, "{}", last.seq);
    let [low, estimate, high] = last.metrics[0].ratio.unwrap();
    assert!(low < 0.947 && (estimate - 0.9 / 0.95).abs() < 1e-9 && high > 0.948, "{:?}", last.metrics);
    assert!(last.reasons[0].sentence.starts_with("errors: canary 90% ("), "{}", last.reasons[0].sentence);
    // Rare good events, halved.
    let last = successes((50, 5000), (300, 15_000), 1);
    assert_eq!(last.advice, Advice::RollBack);
    assert!(last.metrics[0].ratio.unwrap()[2] < 1.0);
}

#[test]
fn where_higher_is_better_more_successes_are_none() {
    assert_eq!(successes((980, 1000), (18_050, 19_000), 0).advice, Advice::Advance);
    let last = successes((150, 5000), (300, 15_000), 1);
    assert_eq!(last.advice, Advice::Advance);
    assert!(last.reasons[0].sentence.contains("canary 3% ("), "{}", last.reasons[0].sentence);
}

#[test]
fn where_higher_is_better_no_success_at_all_is_a_catastrophe() {
    let successes = super::kit::Metric { direction: Direction::HigherIsBetter, ..errors() };
    let mut bench = Bench::new(policy(vec![successes]));
    bench.usage = Usage::WarmUp;
    assert_eq!(bench.errors((0, 100), (1805, 1900)).advice, Advice::Hold);
    assert_eq!(bench.errors((0, 100), (1805, 1900)).advice, Advice::RollBack);
}

#[test]
fn readings_of_another_kind_say_nothing() {
    let mut bench = Bench::new(policy(vec![latency()]));
    for _ in 0..50 {
        let assessed = bench.errors((900, 1000), (19, 19_000));
        assert_eq!(assessed.advice, Advice::Hold);
        assert_eq!(assessed.metrics[0].ln_e_harm, 0.0);
    }
}
