//! The rules of the peers in the detection benchmark have the values that their authors published, and the
//! benchmark counts as it says.

#[allow(dead_code)]
#[path = "../../benches/detection/figures.rs"]
mod figures;
#[path = "../../benches/detection/information.rs"]
mod information;
#[allow(dead_code)]
#[path = "../../benches/detection/rivals/mod.rs"]
mod rules;
#[path = "../../benches/detection/tuning.rs"]
mod tuning;

use figures::{Delays, Rate};
use information::{EQUAL, Truth, limit_seconds};

use rules::Count;
use rules::dirichlet::Multinomial;
use rules::limits::{Failures, Last};
use rules::mann_whitney::{CONFIDENCE, Label, Samples};
use rules::msprt::{self, Msprt};
use rules::z_test::{RepeatedZ, z};
use serin::stats::proportion::Margin;

#[track_caller]
fn close(actual: f64, expected: f64, within: f64) {
    assert!((actual - expected).abs() <= within, "{actual}, expected {expected}");
}

fn count(bad: u64, total: u64) -> Count {
    Count { bad, total }
}

#[test]
fn dirichlet_multinomial_has_the_values_of_ssrm_test() {
    let mut test = Multinomial::new(vec![1.0; 3], vec![0.4, 0.4, 0.2]);
    for (row, alternative, null) in [
        ([20, 17, 9], -7.028201432058, -4.077640646606),
        ([18, 21, 8], -11.947847738359, -8.2659468611),
        ([4, 6, 4], -15.471401950258, -11.610743519545),
        ([18, 19, 11], -19.964845210904, -15.781031228536),
    ] {
        let ln_e = test.take(&row);
        close(test.ln_marginals().0, alternative, 1e-9);
        close(test.ln_marginals().1, null, 1e-9);
        close(ln_e, alternative - null, 1e-9);
    }
}

#[test]
fn sequential_p_values_are_those_of_savvi() {
    let mut multinomial = Multinomial::concentrated(100.0, vec![0.1, 0.4, 0.5]);
    multinomial.take(&[40, 129, 233]);
    close(multinomial.p(), 0.04845591105969517, 1e-9);
    let mut poisson = Multinomial::concentrated(100.0, vec![0.8, 0.2]);
    poisson.take(&[148, 62]);
    close(poisson.p(), 0.0455796317592497, 1e-9);
}

#[test]
fn the_normal_mixture_has_the_values_of_confseq() {
    close(msprt::ln_e(10.0, 100.0, 12.60056), -0.6510052, 1e-6);
    close(msprt::bound(100.0, 12.60056, 0.05), 30.35209, 1e-4);
    close(msprt::ln_e(msprt::bound(100.0, 12.60056, 0.05), 100.0, 12.60056), -libm::log(0.05), 1e-9);
}

#[test]
fn msprt_speaks_against_a_worse_canary_only() {
    let mut test = Msprt::new(0.01);
    assert_eq!(test.take(count(0, 100), count(0, 1900)), f64::NEG_INFINITY);
    assert_eq!(test.take(count(0, 100), count(19, 1900)), f64::NEG_INFINITY);
    let ln_e = test.take(count(40, 800), count(171, 17_100));
    // The same by the formula of the likelihoods, √(V/(V+τ²)) · e^(τ²D²/(2V(V+τ²))).
    let (p, q): (f64, f64) = (40.0 / 1000.0, 190.0 / 20_900.0);
    let (d, tau) = (p - q, 1e-4);
    let v = p * (1.0 - p) / 1000.0 + q * (1.0 - q) / 20_900.0;
    close(ln_e, 0.5 * (v / (v + tau)).ln() + tau * d * d / (2.0 * v * (v + tau)), 1e-9);
}

#[test]
fn kayentas_judge_has_its_values() {
    let samples = Samples::of(&[10.0, 20.0, 30.0, 40.0], &[1.0, 2.0, 3.0, 4.0]);
    let shift = samples.shift(0.95).unwrap();
    close(shift.low, 6.0, 1e-3);
    close(shift.high, 39.0, 1e-3);
    close(shift.estimate, 22.5, 1e-3);

    let samples = Samples::of(&[20.0, 22.0, 21.0, 25.0, 30.0], &[1.0, 2.2, 1.1, 2.5, 3.0]);
    let shift = samples.shift(0.95).unwrap();
    close(shift.low, 17.8, 1e-3);
    close(shift.high, 27.8, 1e-3);
    close(samples.ratio_of_means(), 12.04, 5e-3);
    assert_eq!(samples.classify(0.95), Label::High);
    let mirrored = Samples::of(&[1.0, 2.2, 1.1, 2.5, 3.0], &[20.0, 22.0, 21.0, 25.0, 30.0]);
    assert_eq!(mirrored.classify(0.95), Label::Low);

    for (hundreds, label) in [(7, Label::Pass), (8, Label::High)] {
        let mut experiment = vec![100.0; hundreds];
        experiment.resize(10, 1.0);
        assert_eq!(Samples::of(&experiment, &[1.0; 10]).classify(CONFIDENCE), label, "{hundreds}");
    }
    assert_eq!(Samples::of(&[5.0; 10], &[5.0; 10]).classify(CONFIDENCE), Label::Pass);
    assert_eq!(Samples::of(&[5.0; 10], &[]).classify(CONFIDENCE), Label::Pass);
    assert_eq!(Samples::of(&[f64::NAN], &[1.0]).shift(CONFIDENCE), None);
}

/// The score that is tuned says at which confidence the judge changes its word.
#[test]
fn kayentas_score_is_where_its_word_changes() {
    let mut bits: u64 = 1;
    let mut value = |scale: f64| {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((bits >> 11) as f64 / (1_u64 << 53) as f64) * scale
    };
    let mut highs = 0;
    for _ in 0..60 {
        let experiment: Vec<f64> = (0..30).map(|_| value(1.5)).collect();
        let control: Vec<f64> = (0..20).map(|_| value(1.0)).flat_map(|tied| [tied, tied]).collect();
        let samples = Samples::of(&experiment, &control);
        for z in [0.5, 1.0, 1.645, 2.3263, 3.0] {
            let confidence = libm::erf(z / std::f64::consts::SQRT_2);
            let high = samples.classify(confidence) == Label::High;
            assert_eq!(samples.score_above(z).is_some(), high, "{experiment:?} {control:?} z = {z}");
            highs += usize::from(high);
        }
    }
    assert!((30..270).contains(&highs), "{highs} of 300 show nothing");
}

#[test]
fn flagger_fires_at_the_threshold_and_argo_beyond_the_limit() {
    let values = [Some(0.2), None, Some(3.0), Some(f64::NAN), Some(1.0), Some(0.1), Some(2.0)];
    let mut flagger = Failures::flagger(3);
    let mut argo = Failures::argo(3);
    let none = f64::NEG_INFINITY;
    let fires_at: Vec<f64> = values.iter().map(|value| flagger.take(*value)).collect();
    assert_eq!(fires_at, [none, none, none, none, 0.2, 0.2, 1.0]);
    let fires_at: Vec<f64> = values.iter().map(|value| argo.take(*value)).collect();
    assert_eq!(fires_at, [none, none, none, none, none, 0.1, 0.2]);
}

#[test]
fn the_last_minute_forgets_what_is_older() {
    let mut last = Last::new(2);
    assert_eq!(last.take(count(1, 10)), None);
    assert_eq!(last.take(count(2, 10)), Some(count(3, 20)));
    assert_eq!(last.take(count(0, 5)), Some(count(2, 15)));
}

#[test]
fn z_is_that_of_the_textbook() {
    // 15 of 100 against 10 of 100: pooled 0.125, standard error √(0.125 · 0.875 · 0.02) = 0.046771.
    close(z(count(15, 100), count(10, 100)), 0.05 / 0.046_770_717, 1e-6);
    assert_eq!(z(count(0, 100), count(0, 100)), 0.0);
    assert_eq!(z(count(0, 0), count(1, 100)), 0.0);
    let mut test = RepeatedZ::default();
    test.take(count(5, 40), count(4, 60));
    assert_eq!(test.take(count(10, 60), count(6, 40)), z(count(15, 100), count(10, 100)));
}

#[test]
fn a_tuned_threshold_is_reached_by_as_many_as_allowed_and_no_more() {
    let peaks = || (1..=200).map(f64::from);
    let reached = |threshold: f64| peaks().filter(|peak| *peak >= threshold).count();
    assert_eq!(reached(tuning::threshold(peaks(), 0.01)), 2);
    assert_eq!(reached(tuning::threshold(peaks(), 0.0)), 0);
    // Two fifths have the same highest score: none of them may alarm.
    let tied = [1.0, 2.0, 3.0, 4.0, 4.0];
    assert_eq!(tied.iter().filter(|peak| **peak >= tuning::threshold(tied, 0.2)).count(), 0);
}

#[test]
fn delays_and_rates_have_their_errors() {
    let all = Delays::of((1..=100).map(Some));
    let median = all.median().unwrap();
    assert_eq!((median.seconds, median.standard_error), (500.0, 50.0));
    assert_eq!(all.text(), "500 ±50 / 900 ±30");
    let some = Delays::of((1..=100).map(|tick| (tick <= 60).then_some(tick)));
    assert_eq!(some.text(), "60 ±4.9%, 500 ±50");
    let few = Delays::of((1..=100).map(|tick| (tick <= 10).then_some(tick)));
    assert_eq!(few.text(), "10 ±3.0%");
    // The later neighbour of the 90th percentile has no alarm: the earlier one tells the error.
    let most = Delays::of((1..=100).map(|tick| (tick <= 91).then_some(tick)));
    assert_eq!(most.text(), "500 ±50 / 900 ±30");
    assert_eq!(Delays::of([None, None]).text(), "–");
    // 1 − 0.05^(1/200), and the textbook's 7 of 1,000.
    close(Rate { hits: 0, runs: 200 }.upper(), 0.014867, 1e-6);
    close(Rate { hits: 7, runs: 1000 }.upper(), 0.013101, 1e-5);
    assert_eq!(Rate { hits: 3, runs: 3 }.upper(), 1.0);
}

#[test]
fn the_information_against_equality_is_that_of_the_conditional_binomial() {
    let truth = Truth { canary_rps: 100.0, baseline_rps: 1900.0, canary: 0.008, baseline: 0.004 };
    let errors = 100.0 * 0.008 + 1900.0 * 0.004;
    let (share, equal): (f64, f64) = (0.8 / errors, 0.05);
    let nats = share * (share / equal).ln() + (1.0 - share) * ((1.0 - share) / (1.0 - equal)).ln();
    let limit = limit_seconds(truth, EQUAL, 0.01).unwrap();
    close(limit, 100.0_f64.ln() / (errors * nats), 1e-6 * limit);
    let margin = Margin { ratio: 1.1, difference: 0.0005 };
    assert!(limit_seconds(truth, margin, 0.01).unwrap() > limit);
    assert_eq!(limit_seconds(Truth { canary: 0.0049, ..truth }, margin, 0.01), None);
}
