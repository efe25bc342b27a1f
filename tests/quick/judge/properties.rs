//! What holds for any observations.

use proptest::collection::vec;
use proptest::prelude::*;

use serin::core::judge::{Assessment, JudgeState};
use serin::core::limit::GuardrailLimit;
use serin::core::metric::{Counts, NoData, Reading, TickObservation, Usage};
use serin::core::policy::{Direction, Policy, Signal};

use super::kit::{Bench, Metric, errors, guardrail, latency, policy};

fn test_policy(dispersion: f64) -> Policy {
    let successes = Metric { name: "successes".into(), direction: Direction::HigherIsBetter, ..errors() };
    let mut policy = policy(vec![errors(), latency(), successes]);
    policy.analysis.dispersion = dispersion;
    policy.guardrails = vec![
        guardrail(Signal::Rate { metric: "errors".into() }, GuardrailLimit::RatioToBaseline(1.5)),
        guardrail(Signal::Mean { metric: "latency".into() }, GuardrailLimit::DifferenceToBaseline(0.1)),
        guardrail(
            Signal::Quantile { metric: "latency".into(), quantile: 0.99 },
            GuardrailLimit::Absolute(0.5),
        ),
        guardrail(Signal::Query { query: "up".into() }, GuardrailLimit::Absolute(1.0)),
    ];
    policy
}

fn no_data() -> impl Strategy<Value = NoData> {
    prop_oneof![Just(NoData::Waiting), Just(NoData::Timeout), Just(NoData::Empty)]
}

/// Small and large numbers alike.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..20_u64, 3 => 0..5_000_u64, 1 => 0..1_000_000_000_u64, 1 => Just(1_000_000_000)]
}

fn proportion() -> impl Strategy<Value = Reading<Counts>> {
    prop_oneof![
        5 => (number(), number()).prop_map(|(total, bad)| Ok(Counts::Proportion { total, bad })),
        1 => no_data().prop_map(Err),
    ]
}

fn histogram() -> impl Strategy<Value = Reading<Counts>> {
    prop_oneof![
        5 => (vec(number(), 5), prop::option::of(0.0..1e9_f64)).prop_map(|(counts, sum)| {
            Ok(Counts::Latency { le: vec![0.05, 0.1, 0.5, 1.0], counts, sum })
        }),
        1 => no_data().prop_map(Err),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    prop_oneof![
        6 => Just(Usage::Used),
        2 => Just(Usage::WarmUp),
        1 => Just(Usage::Settling),
        1 => Just(Usage::Outside),
        1 => Just(Usage::Baking),
    ]
}

fn value() -> impl Strategy<Value = Reading<f64>> {
    prop_oneof![4 => (-10.0..10.0_f64).prop_map(Ok), 1 => Just(Ok(f64::NAN)), 1 => no_data().prop_map(Err)]
}

#[derive(Clone, Debug)]
struct Input {
    usage: Usage,
    new_step: bool,
    seconds: i64,
    readings: Vec<(Reading<Counts>, Reading<Counts>)>,
    value: (Reading<f64>, Reading<f64>),
}

prop_compose! {
    fn input()(
        usage in usage(),
        new_step in prop::bool::weighted(0.05),
        seconds in prop_oneof![Just(10_i64), 0..200_i64],
        first in (proportion(), proportion()),
        second in (histogram(), histogram()),
        third in (proportion(), proportion()),
        value in (value(), value()),
    ) -> Input {
        Input { usage, new_step, seconds, readings: vec![first, second, third], value }
    }
}

fn ticks(policy: &Policy, inputs: Vec<Input>) -> Vec<TickObservation> {
    let mut bench = Bench::new(policy.clone());
    let make = |input: Input| {
        bench.usage = input.usage;
        bench.window = input.seconds;
        bench.step = (bench.step + usize::from(input.new_step)).min(2);
        let nothing = || (Err(NoData::Waiting), Err(NoData::Waiting));
        let values = vec![nothing(), nothing(), nothing(), input.value];
        bench.observation(input.readings, values)
    };
    inputs.into_iter().map(make).collect()
}

fn bytes(assessment: &Assessment) -> Vec<u8> {
    serde_json::to_vec(assessment).unwrap()
}

fn assert_finite(value: &serde_json::Value, path: &str) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| assert_finite(item, path)),
        serde_json::Value::Object(map) => map.iter().for_each(|(key, item)| assert_finite(item, key)),
        // JSON has no NaN and no infinity: serde_json writes null.
        serde_json::Value::Null => assert!(
            [
                "ratio",
                "canary_share",
                "baseline_share",
                "bound_seconds",
                "canary_value",
                "baseline_value",
                "canary_quantiles",
                "baseline_quantiles",
                "remaining",
                "canary",
                "baseline",
                "baseline_healthy"
            ]
            .contains(&path),
            "{path} is not finite"
        ),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Stored and restored at any point, the state gives the same assessments bit for bit.
    #[test]
    fn the_fold_does_not_notice_being_stored(inputs in vec(input(), 1..40), dispersion in 1.0..5.0_f64) {
        let policy = test_policy(dispersion);
        let mut straight = JudgeState::new(&policy);
        let mut stored = JudgeState::new(&policy);
        for tick in ticks(&policy, inputs) {
            let expected = straight.observe(&policy, &tick);
            let mut cbor = vec![];
            ciborium::into_writer(&stored, &mut cbor).unwrap();
            stored = ciborium::from_reader(cbor.as_slice()).unwrap();
            let actual = stored.observe(&policy, &tick);
            prop_assert_eq!(bytes(&expected), bytes(&actual));
            prop_assert_eq!(&straight, &stored);
        }
    }

    /// Whatever the counts, every figure is finite, survives JSON, and is explained.
    #[test]
    fn figures_are_finite(inputs in vec(input(), 1..40), dispersion in 1.0..5.0_f64) {
        let policy = test_policy(dispersion);
        let mut state = JudgeState::new(&policy);
        for tick in ticks(&policy, inputs) {
            let assessed = state.observe(&policy, &tick);
            let json = serde_json::to_value(&assessed).unwrap();
            assert_finite(&json, "");
            let back: Assessment = serde_json::from_value(json).unwrap();
            prop_assert_eq!(&back, &assessed);
            prop_assert!(!assessed.reasons.is_empty());
            for metric in &assessed.metrics {
                if let Some([low, estimate, high]) = metric.ratio {
                    prop_assert!(0.0 < low && low <= estimate && estimate <= high);
                }
            }
        }
    }

    /// Windows without requests in an arm add nothing, wherever they come.
    #[test]
    fn empty_windows_add_nothing(
        inputs in vec(input(), 1..25),
        empty in vec((0..25_usize, any::<bool>(), number()), 1..10),
    ) {
        let policy = test_policy(3.0);
        let ticks = ticks(&policy, inputs);
        let mut plain = JudgeState::new(&policy);
        let mut with_empty = JudgeState::new(&policy);
        for (i, tick) in ticks.iter().enumerate() {
            let expected = plain.observe(&policy, tick);
            let actual = with_empty.observe(&policy, tick);
            for (a, b) in expected.metrics.iter().zip(&actual.metrics) {
                prop_assert_eq!(a.ln_e_harm.to_bits(), b.ln_e_harm.to_bits());
                prop_assert_eq!(a.ln_e_no_harm.to_bits(), b.ln_e_no_harm.to_bits());
                prop_assert_eq!(a.ln_e_gate.to_bits(), b.ln_e_gate.to_bits());
                prop_assert_eq!(a.ratio, b.ratio);
            }
            prop_assert_eq!(expected.ln_e_harm.to_bits(), actual.ln_e_harm.to_bits());
            prop_assert_eq!(expected.ln_e_catastrophe.to_bits(), actual.ln_e_catastrophe.to_bits());
            for (_, canary_empty, requests) in empty.iter().filter(|(at, _, _)| *at == i) {
                let mut extra = tick.clone();
                for metric in &mut extra.metrics {
                    metric.usage = Usage::Used;
                    let arms = if *canary_empty { (0, *requests) } else { (*requests, 0) };
                    let counts = |requests: u64| if metric.metric == "latency" {
                        // The baseline's own counts may serve to choose the bounds, so these are empty too.
                        Counts::Latency { le: vec![0.05, 0.1, 0.5, 1.0], counts: vec![0; 5], sum: None }
                    } else {
                        Counts::Proportion { total: requests, bad: requests }
                    };
                    (metric.canary, metric.baseline) = (Ok(counts(arms.0)), Ok(counts(arms.1)));
                    // The time that the bounds were gathered over must stay the same too.
                    metric.window = None;
                }
                with_empty.observe(&policy, &extra);
            }
        }
    }
}
