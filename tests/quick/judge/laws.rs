//! What must hold of the tests whatever is counted.

use proptest::collection::vec;
use proptest::prelude::*;
use serin::core::judge::{Assessment, MetricAssessment, NEXT_METHOD};
use serin::core::metric::{Counts, Reading};
use serin::core::policy::{Metric, Policy};

use super::kit::{Bench, LE, errors, latency, policy, proportion};

/// (bad, all) of canary and baseline.
type Window = ((u64, u64), (u64, u64));

fn window() -> impl Strategy<Value = Window> {
    (0..40_u64, 1..2_000_u64, 0..200_u64, 1..40_000_u64)
        .prop_map(|(x, n, y, m)| ((x.min(n), n), (y.min(m), m)))
}

fn judged(policy: &Policy, seconds: i64, windows: &[Vec<(Reading<Counts>, Reading<Counts>)>]) -> Assessment {
    let mut bench = Bench::new(policy.clone());
    bench.window = seconds;
    let mut last = Assessment::default();
    for readings in windows {
        last = bench.tick(readings.clone());
    }
    last
}

fn of_errors(seconds: i64, windows: &[Window]) -> MetricAssessment {
    let readings: Vec<_> =
        windows.iter().map(|((x, n), (y, m))| vec![(proportion(*x, *n), proportion(*y, *m))]).collect();
    judged(&policy(vec![errors()]), seconds, &readings).metrics.remove(0)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

fn histogram(le: &[f64], counts: &[u64]) -> Reading<Counts> {
    Ok(Counts::Latency { le: le.to_vec(), counts: counts.to_vec(), sum: None })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// One more bad request of the canary never speaks for it, one more of the baseline never against it.
    #[test]
    fn more_errors_are_never_better(windows in vec(window(), 1..30), at in 0..30_usize) {
        let before = of_errors(10, &windows);
        let at = at % windows.len();
        let mut canary = windows.clone();
        canary[at].0.0 = (canary[at].0.0 + 1).min(canary[at].0.1);
        let after = of_errors(10, &canary);
        prop_assert!(after.ln_e_harm >= before.ln_e_harm - 1e-9);
        prop_assert!(after.ln_e_no_harm <= before.ln_e_no_harm + 1e-9);
        let mut baseline = windows;
        baseline[at].1.0 = (baseline[at].1.0 + 1).min(baseline[at].1.1);
        let after = of_errors(10, &baseline);
        prop_assert!(after.ln_e_harm <= before.ln_e_harm + 1e-9);
        prop_assert!(after.ln_e_no_harm >= before.ln_e_no_harm - 1e-9);
    }

    /// With η = 1 and the same κ in both halves, a window is worth what its halves are.
    #[test]
    fn cutting_windows_in_two_changes_nothing(
        windows in vec((0..20_u64, 0..20_u64, 0..90_u64, 0..90_u64), 1..30),
        n in 100..1_000_u64,
        m in 100..10_000_u64,
    ) {
        let halves: Vec<Window> =
            windows.iter().flat_map(|(a, b, c, d)| [((*a, n), (*c, m)), ((*b, n), (*d, m))]).collect();
        let whole: Vec<Window> =
            windows.iter().map(|(a, b, c, d)| ((a + b, 2 * n), (c + d, 2 * m))).collect();
        let (whole, halves) = (of_errors(10, &whole), of_errors(5, &halves));
        prop_assert!(close(whole.ln_e_harm, halves.ln_e_harm), "{} {}", whole.ln_e_harm, halves.ln_e_harm);
        prop_assert!(close(whole.ln_e_no_harm, halves.ln_e_no_harm));
        let (a, b) = (whole.ratio.unwrap_or_default(), halves.ratio.unwrap_or_default());
        // The ends lie between the points of a grid, and are rounded.
        prop_assert!(close(a[0], b[0]) && close(a[2], b[2]), "{a:?} {b:?}");
    }

    /// Milliseconds or seconds: the same evidence, at the same bound.
    #[test]
    fn the_unit_of_a_latency_does_not_matter(
        windows in vec((vec(0..300_u64, 12), vec(0..9_000_u64, 12)), 2..20),
    ) {
        let run = |unit: f64| {
            let le: Vec<f64> = LE.iter().map(|bound| bound * unit).collect();
            let readings: Vec<_> = windows
                .iter()
                .map(|(canary, baseline)| vec![(histogram(&le, canary), histogram(&le, baseline))])
                .collect();
            judged(&policy(vec![latency()]), 10, &readings).metrics.remove(0)
        };
        let (seconds, milliseconds) = (run(1.0), run(1_000.0));
        prop_assert!(close(seconds.ln_e_harm, milliseconds.ln_e_harm));
        prop_assert!(close(seconds.ln_e_no_harm, milliseconds.ln_e_no_harm));
        let bounds = seconds.bound_seconds.zip(milliseconds.bound_seconds);
        prop_assert!(bounds.is_none_or(|(a, b)| close(a * 1_000.0, b)));
    }

    /// The metrics' order in the policy decides nothing.
    #[test]
    fn the_order_of_metrics_does_not_matter(windows in vec(vec(window(), 3), 1..30)) {
        let named = |name: &str| Metric { name: name.to_owned(), ..errors() };
        let run = |order: [usize; 3]| {
            let names = ["a", "b", "c"];
            let policy = policy(order.iter().map(|i| named(names[*i])).collect());
            let readings: Vec<_> = windows
                .iter()
                .map(|arms| {
                    let reading = |i: &usize| {
                        let ((x, n), (y, m)) = arms[*i];
                        (proportion(x, n), proportion(y, m))
                    };
                    order.iter().map(reading).collect()
                })
                .collect();
            judged(&policy, 10, &readings)
        };
        let (one, other) = (run([0, 1, 2]), run([2, 0, 1]));
        prop_assert_eq!(one.advice, other.advice);
        prop_assert!(close(one.ln_e_harm, other.ln_e_harm));
        for metric in &one.metrics {
            let same = other.metrics.iter().find(|m| m.name == metric.name).unwrap();
            prop_assert_eq!(metric.verdict, same.verdict);
            prop_assert_eq!(metric.ln_e_harm.to_bits(), same.ln_e_harm.to_bits());
        }
    }

    /// What is advised without figures is what is advised with them.
    #[test]
    fn advice_alone_is_the_same_advice(
        windows in vec((window(), vec(0..300_u64, 12), vec(0..9_000_u64, 12)), 1..60),
        worse in 1..6_u64,
    ) {
        let policy = policy(vec![errors(), latency()]);
        let mut bench = Bench::new(policy.clone());
        let mut lean = serin::core::judge::JudgeState::of_method(NEXT_METHOD, &policy, None);
        for (((x, n), (y, m)), canary, baseline) in windows {
            let errors = (proportion((x * worse).min(n), n), proportion(y, m));
            let tick = bench.observation(vec![errors, (histogram(&LE, &canary), histogram(&LE, &baseline))], vec![]);
            let whole = bench.state.observe(&policy, &tick);
            prop_assert_eq!(lean.advise(&policy, &tick), (whole.advice, whole.analysed));
        }
    }

    /// Up to 10^12 requests a window, or none: every figure is finite.
    #[test]
    fn no_count_is_too_large(
        windows in vec((0..=1_000_000_000_000_u64, 0..=1_000_000_000_000_u64, 0..=1_000_000_000_000_u64,
            0..=1_000_000_000_000_u64), 1..30),
        nothing in any::<bool>(),
    ) {
        let mut windows: Vec<Window> =
            windows.into_iter().map(|(x, n, y, m)| ((x.min(n), n), (y.min(m), m))).collect();
        if nothing {
            windows.iter_mut().for_each(|window| *window = ((0, window.0.1), (0, window.1.1)));
        }
        let judged = of_errors(10, &windows);
        for figure in [judged.ln_e_harm, judged.ln_e_no_harm, judged.ln_e_gate] {
            prop_assert!(figure.is_finite());
        }
        prop_assert!(judged.ratio.is_none_or(|ratio| ratio.iter().all(|figure| figure.is_finite())));
    }
}
