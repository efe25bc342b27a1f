//! Guardrails: values, limits, timers, and both arms.

use std::time::Duration;

use serin::core::judge::{Advice, GuardrailStatus, Verdict};
use serin::core::limit::{Breach, GuardrailLimit};
use serin::core::metric::{Counts, NoData, Reading, Usage};
use serin::core::policy::{Guardrail, GuardrailAction, Policy, Signal};
use serin::core::reason::ReasonCode;

use super::kit::{Bench, SECOND, errors, guardrail, latency, policy, proportion};

fn rate(limit: GuardrailLimit) -> Guardrail {
    guardrail(Signal::Rate { metric: "errors".to_string() }, limit)
}

fn with(rail: Guardrail) -> Policy {
    Policy { guardrails: vec![rail], ..policy(vec![errors()]) }
}

/// The statuses of equal ticks.
fn statuses(
    bench: &mut Bench,
    ticks: usize,
    canary: (u64, u64),
    baseline: (u64, u64),
) -> Vec<GuardrailStatus> {
    (0..ticks).map(|_| bench.errors(canary, baseline).guardrails[0].status).collect()
}

use GuardrailStatus::{BothBreach, Breaching, Clear, Fired, NoData as NoValue};

#[test]
fn a_breach_fires_when_it_has_lasted_and_the_baseline_is_within() {
    let mut bench = Bench::new(with(rate(GuardrailLimit::Absolute(0.05))));
    // Warm-up exempts nothing.
    bench.usage = Usage::WarmUp;
    let within = bench.errors((3, 100), (19, 1900));
    assert_eq!(within.guardrails[0].status, Clear);
    assert_eq!(within.guardrails[0].baseline_healthy, Some(true));
    assert_eq!(within.guardrails[0].sentence, "rail: canary 3%, allowed at most 5%; baseline 1%.");
    let found = bench.errors((18, 100), (19, 1900));
    assert_eq!(found.guardrails[0].canary, Some(21.0 / 200.0), "over the trailing time");
    assert_eq!(found.guardrails[0].status, Breaching);
    assert_eq!(found.guardrails[0].breaching_for, 10 * SECOND);
    assert_eq!(statuses(&mut bench, 1, (8, 100), (19, 1900)), [Breaching]);
    let fired = bench.errors((8, 100), (19, 1900));
    assert_eq!(fired.guardrails[0].status, Fired);
    assert_eq!(fired.advice, Advice::RollBack);
    assert_eq!(fired.reasons[0].code, ReasonCode::Guardrail);
    assert_eq!(fired.reasons[0].sentence, fired.guardrails[0].sentence);
    assert!(fired.guardrails[0].sentence.contains("breached for 30 s (30 s allowed)"));
}

#[test]
fn a_value_within_the_limit_clears_the_timer_and_no_data_does_not() {
    let mut bench = Bench::new(with(Guardrail { over: SECOND, ..rate(GuardrailLimit::Absolute(0.05)) }));
    assert_eq!(statuses(&mut bench, 2, (10, 100), (19, 1900)), [Breaching; 2]);
    assert_eq!(statuses(&mut bench, 1, (1, 100), (19, 1900)), [Clear]);
    assert_eq!(statuses(&mut bench, 2, (10, 100), (19, 1900)), [Breaching; 2]);
    let blind = bench.nothing(NoData::Timeout);
    assert_eq!(blind.guardrails[0].status, Breaching);
    assert_eq!(blind.guardrails[0].breaching_for, 20 * SECOND);
    // So does a window with too few requests for a value.
    assert_eq!(statuses(&mut bench, 1, (5, 5), (19, 1900)), [Breaching]);
    assert_eq!(statuses(&mut bench, 1, (10, 100), (19, 1900)), [Fired]);
    assert_eq!(bench.nothing(NoData::Timeout).guardrails[0].status, Fired, "what has fired stands");
    assert_eq!(statuses(&mut bench, 1, (1, 100), (19, 1900)), [Clear]);
}

#[test]
fn without_data_there_is_no_value() {
    let mut bench = Bench::new(with(rate(GuardrailLimit::Absolute(0.05))));
    assert_eq!(bench.nothing(NoData::Empty).guardrails[0].status, NoValue);
    assert_eq!(statuses(&mut bench, 1, (10, 10), (19, 1900)), [NoValue], "fewer than min_requests");
    // The trailing time gathers them.
    assert_eq!(statuses(&mut bench, 1, (10, 10), (19, 1900)), [Breaching]);
    let mut bench = Bench::new(with(rate(GuardrailLimit::Absolute(0.05))));
    assert_eq!(statuses(&mut bench, 1, (1, 100), (19, 1900)), [Clear]);
    assert_eq!(bench.nothing(NoData::Waiting).guardrails[0].status, Clear);
    assert_eq!(bench.nothing(NoData::Timeout).guardrails[0].status, NoValue);
}

#[test]
fn both_arms_over_an_absolute_limit_do_not_fire_unless_told_so() {
    let mut bench = Bench::new(with(rate(GuardrailLimit::Absolute(0.05))));
    assert_eq!(
        statuses(&mut bench, 4, (10, 100), (190, 1900)),
        [Breaching, Breaching, BothBreach, BothBreach]
    );
    let both = bench.errors((10, 100), (190, 1900));
    assert_eq!(both.advice, Advice::Hold);
    assert_eq!(both.guardrails[0].baseline_healthy, Some(false));
    assert_eq!(both.reasons[0].code, ReasonCode::BothBad);
    assert!(both.reasons[0].sentence.ends_with("by the baseline too."), "{}", both.reasons[0].sentence);

    let rail = Guardrail { regardless_of_baseline: true, ..rate(GuardrailLimit::Absolute(0.05)) };
    let mut bench = Bench::new(with(rail));
    assert_eq!(statuses(&mut bench, 3, (10, 100), (190, 1900)), [Breaching, Breaching, Fired]);
}

#[test]
fn a_baseline_that_has_only_just_followed_is_waited_for() {
    let rail = Guardrail { over: SECOND, ..rate(GuardrailLimit::Absolute(0.05)) };
    let mut bench = Bench::new(with(rail));
    assert_eq!(statuses(&mut bench, 2, (10, 100), (19, 1900)), [Breaching; 2]);
    let followed = statuses(&mut bench, 3, (10, 100), (190, 1900));
    assert_eq!(followed, [Breaching, Breaching, BothBreach]);
    assert_eq!(statuses(&mut bench, 1, (10, 100), (19, 1900)), [Fired]);
}

#[test]
fn relative_limits_compare_with_the_baseline_which_cannot_breach_them() {
    for (limit, fires) in [
        (GuardrailLimit::RatioToBaseline(1.5), (31, 1000)),
        (GuardrailLimit::DifferenceToBaseline(0.01), (31, 1000)),
    ] {
        let mut bench = Bench::new(with(rate(limit)));
        assert_eq!(statuses(&mut bench, 4, (29, 1000), (400, 20_000)), [Clear; 4], "{limit:?}");
        let mut bench = Bench::new(with(rate(limit)));
        assert_eq!(statuses(&mut bench, 3, fires, (400, 20_000)), [Breaching, Breaching, Fired], "{limit:?}");
        let fired = bench.errors(fires, (400, 20_000));
        assert_eq!(fired.guardrails[0].baseline_healthy, None);
        assert!(fired.guardrails[0].sentence.contains("allowed at most 3% ("), "{fired:?}");
        // Without the baseline there is nothing to compare with.
        let mut bench = Bench::new(with(rate(limit)));
        let alone = bench.tick(vec![(proportion(31, 1000), Err(NoData::Empty))]);
        assert_eq!(alone.guardrails[0].status, NoValue);
    }
}

#[test]
fn a_baseline_without_errors_allows_more_than_none() {
    let rail = || Guardrail { over: SECOND, ..rate(GuardrailLimit::RatioToBaseline(2.0)) };
    // Twice one in the canary's 1,000 requests, whether the baseline had none, or one of 19,000.
    for baseline in [(0, 19_000), (1, 19_000)] {
        let mut bench = Bench::new(with(rail()));
        assert_eq!(statuses(&mut bench, 3, (2, 1000), baseline), [Clear; 3], "{baseline:?}");
        assert_eq!(statuses(&mut bench, 3, (3, 1000), baseline), [Breaching, Breaching, Fired]);
        let sentence = bench.errors((3, 1000), baseline).guardrails[0].sentence.clone();
        assert!(sentence.contains("allowed at most 0.2% (×2 of the baseline); baseline 0"), "{sentence}");
        assert!(sentence.ends_with("The baseline counts as one bad request in 1,000."), "{sentence}");
    }
    // A baseline that is seen to fail counts as what it is.
    let mut bench = Bench::new(with(rail()));
    let seen = bench.errors((4, 1000), (38, 19_000));
    assert_eq!(seen.guardrails[0].status, Clear);
    assert!(!seen.guardrails[0].sentence.contains("counts as"), "{seen:?}");
    assert_eq!(statuses(&mut bench, 3, (5, 1000), (38, 19_000)), [Breaching, Breaching, Fired]);
    // From below there is no floor: it would break the limit of an arm without requests that count.
    let below = Guardrail { breach: Breach::Below, ..rate(GuardrailLimit::RatioToBaseline(0.5)) };
    let mut bench = Bench::new(with(below));
    assert_eq!(statuses(&mut bench, 1, (0, 1000), (0, 19_000)), [Clear]);
}

#[test]
fn at_full_weight_an_absolute_limit_fires_without_a_baseline() {
    let mut bench = Bench::new(with(rate(GuardrailLimit::Absolute(0.05))));
    bench.usage = Usage::Baking;
    bench.step = 2;
    let last = (0..3).map(|_| bench.tick(vec![(proportion(100, 1000), Err(NoData::Empty))])).last().unwrap();
    assert_eq!(last.guardrails[0].status, Fired);
    assert_eq!(last.guardrails[0].baseline_healthy, None);
}

#[test]
fn the_baseline_is_known_to_be_healthy_before_the_first_step() {
    let mut bench = Bench::new(with(rate(GuardrailLimit::Absolute(0.05))));
    bench.usage = Usage::Outside;
    let before = bench.tick(vec![(Err(NoData::Empty), proportion(19, 1900))]);
    assert_eq!(before.guardrails[0].baseline_healthy, Some(true));
    assert_eq!(before.guardrails[0].status, NoValue);
}

#[test]
fn limits_from_below() {
    let rail = Guardrail { breach: Breach::Below, ..rate(GuardrailLimit::Absolute(0.95)) };
    let mut bench = Bench::new(with(rail.clone()));
    assert_eq!(statuses(&mut bench, 3, (940, 1000), (1900, 1900)), [Breaching, Breaching, Fired]);
    let rail = Guardrail { limit: GuardrailLimit::DifferenceToBaseline(0.05), ..rail };
    let mut bench = Bench::new(with(rail));
    assert_eq!(statuses(&mut bench, 1, (940, 1000), (1900, 1900)), [Breaching]);
    assert_eq!(statuses(&mut bench, 1, (1000, 1000), (1900, 1900)), [Clear]);
}

#[test]
fn alerts_change_no_advice_and_holds_only_hold() {
    for (action, advice) in [(GuardrailAction::Alert, Advice::Advance), (GuardrailAction::Hold, Advice::Hold)]
    {
        let rail = Guardrail { action, hold_for: Duration::ZERO, ..rate(GuardrailLimit::Absolute(0.05)) };
        let mut bench = Bench::new(with(rail));
        let fired = bench.errors((51, 1000), (950, 19_000));
        assert_eq!(fired.metrics[0].verdict, Verdict::NotWorse);
        assert_eq!(fired.guardrails[0].status, Fired);
        assert_eq!(fired.advice, advice);
        assert_eq!(fired.reasons[0].code, ReasonCode::Guardrail);
    }
}

#[test]
fn the_trailing_time_forgets() {
    let mut bench = Bench::new(with(rate(GuardrailLimit::Absolute(0.05))));
    bench.errors((100, 100), (19, 1900));
    let values: Vec<f64> =
        (0..8).map(|_| bench.errors((0, 100), (19, 1900)).guardrails[0].canary.unwrap()).collect();
    // 60 s in windows of 10 s.
    assert_eq!(values[..5], [1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0, 1.0 / 5.0, 1.0 / 6.0]);
    assert_eq!(values[5..], [0.0; 3]);
    // A gap ages what was counted before it.
    bench.errors((100, 100), (19, 1900));
    bench.at += 300_000;
    assert_eq!(bench.errors((0, 100), (19, 1900)).guardrails[0].canary, Some(0.0));
}

#[test]
fn short_ticks_keep_the_state_bounded() {
    let rail = Guardrail { over: Duration::from_secs(3600), ..rate(GuardrailLimit::Absolute(0.05)) };
    let mut bench = Bench::new(with(rail));
    bench.window = 1;
    let mut sizes = vec![];
    for tick in 0..10_000 {
        let assessed = bench.errors((1, 100), (19, 1900));
        assert_eq!(assessed.guardrails[0].canary, Some(0.01));
        if tick % 1000 == 999 {
            let mut bytes = vec![];
            ciborium::into_writer(&bench.state, &mut bytes).unwrap();
            sizes.push(bytes.len());
        }
    }
    assert!(sizes.iter().all(|size| *size < 20_000), "{sizes:?}");
}

fn histogram(counts: [u64; 4], sum: f64) -> Reading<Counts> {
    Ok(Counts::Latency { le: vec![0.1, 0.5, 1.0], counts: counts.to_vec(), sum: Some(sum) })
}

#[test]
fn means_and_quantiles_of_latencies() {
    let signal = Signal::Mean { metric: "latency".to_string() };
    let rail = Guardrail { hold_for: Duration::ZERO, ..guardrail(signal, GuardrailLimit::Absolute(0.2)) };
    let mut bench = Bench::new(Policy { guardrails: vec![rail.clone()], ..policy(vec![latency()]) });
    let assessed = bench.tick(vec![(histogram([50, 50, 0, 0], 25.0), histogram([900, 0, 0, 0], 45.0))]);
    assert_eq!(assessed.guardrails[0].canary, Some(0.25));
    assert_eq!(assessed.guardrails[0].baseline, Some(0.05));
    assert_eq!(assessed.guardrails[0].status, Fired);
    let sentence = &assessed.guardrails[0].sentence;
    assert!(
        sentence.starts_with("rail: canary 250 ms, allowed at most 200 ms; baseline 50 ms"),
        "{sentence}"
    );

    let signal = Signal::Quantile { metric: "latency".to_string(), quantile: 0.95 };
    let rail = Guardrail { signal, limit: GuardrailLimit::RatioToBaseline(2.0), ..rail };
    let mut bench = Bench::new(Policy { guardrails: vec![rail], ..policy(vec![latency()]) });
    let assessed = bench.tick(vec![(histogram([90, 0, 10, 0], 0.0), histogram([900, 100, 0, 0], 0.0))]);
    assert_eq!(assessed.guardrails[0].canary, Some(0.75));
    assert!((assessed.guardrails[0].baseline.unwrap() - 0.3).abs() < 1e-12);
    assert_eq!(assessed.guardrails[0].status, Fired);
}

fn query() -> Bench {
    let signal = Signal::Query { query: "up".to_string() };
    let rail = guardrail(signal, GuardrailLimit::Absolute(80.0));
    Bench::new(Policy { guardrails: vec![rail], ..policy(vec![errors()]) })
}

fn ask(bench: &mut Bench, canary: Reading<f64>, baseline: Reading<f64>) -> (GuardrailStatus, u64) {
    let nothing = (Err(NoData::Waiting), Err(NoData::Waiting));
    let assessed = bench.tick_with(vec![nothing], vec![(canary, baseline)]);
    (assessed.guardrails[0].status, assessed.guardrails[0].breaching_for.as_secs())
}

#[test]
fn queries_are_timed_from_the_first_breach_by_the_ticks() {
    let mut bench = query();
    assert_eq!(ask(&mut bench, Ok(90.0), Ok(50.0)), (Breaching, 0));
    assert_eq!(ask(&mut bench, Ok(90.0), Ok(50.0)), (Breaching, 10));
    assert_eq!(ask(&mut bench, Err(NoData::Timeout), Err(NoData::Timeout)), (Breaching, 10));
    assert_eq!(ask(&mut bench, Ok(90.0), Ok(50.0)), (Breaching, 20));
    assert_eq!(ask(&mut bench, Ok(90.0), Ok(50.0)), (Fired, 30));
    assert_eq!(ask(&mut bench, Ok(80.0), Ok(50.0)), (Clear, 0));
    // A long silence counts three intervals at most.
    assert_eq!(ask(&mut bench, Ok(90.0), Ok(50.0)), (Breaching, 0));
    bench.at += 600_000;
    assert_eq!(ask(&mut bench, Ok(90.0), Ok(50.0)), (Fired, 30));
    // Time that goes back counts nothing; what is not finite is no value.
    assert_eq!(ask(&mut bench, Ok(f64::NAN), Ok(50.0)), (Fired, 30));
}

#[test]
fn queries_of_both_arms_keep_the_baselines_last_value_for_a_while() {
    let mut bench = query();
    for expected in [(Breaching, 0), (Breaching, 10), (Breaching, 20), (BothBreach, 30)] {
        assert_eq!(ask(&mut bench, Ok(90.0), Ok(95.0)), expected);
    }
    for _ in 0..6 {
        assert_eq!(ask(&mut bench, Ok(90.0), Err(NoData::Timeout)).0, BothBreach);
    }
    // `over` is 60 s: now nobody knows.
    assert_eq!(ask(&mut bench, Ok(90.0), Err(NoData::Timeout)).0, Fired);
}
