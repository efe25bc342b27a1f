//! The values of an independent implementation, and the expectations by enumeration.

use super::build::{Shape, slow_down};
use super::component::Component;
use super::*;
use crate::stats::special::exp;

const LE: [f64; 4] = [0.1, 0.25, 0.5, 1.0];
const COUNTS: [u64; 5] = [600, 250, 100, 40, 10];

fn coupling(le: &[f64], counts: &[u64], sum: Option<f64>, slower: f64) -> Coupling {
    Before { le: le.to_vec(), counts: counts.to_vec(), sum, slower }.into()
}

/// A sum that says that the requests lie as interpolated, or a little lower.
fn usual(counts: &[u64], middles: &[f64]) -> Option<f64> {
    Some(counts.iter().zip(middles).map(|(count, middle)| *count as f64 * middle).sum())
}

fn published() -> Coupling {
    coupling(&LE, &COUNTS, usual(&COUNTS, &[0.05, 0.16, 0.34, 0.67, 1.4]), 1.1)
}

fn close(actual: f64, expected: f64, within: f64) {
    assert!((actual - expected).abs() < within, "{actual}, expected {expected}");
}

#[test]
fn the_slowed_shares_have_the_published_values() {
    let coupling = published();
    assert!(coupling.near_their_bound().is_empty());
    let expected = [0.54454772, 0.28818453, 0.10817921, 0.04607233, 0.01301621];
    for (actual, expected) in coupling.built.null.iter().zip(expected) {
        close(*actual, expected, 1e-8);
    }
    for row in coupling.built.matrix.chunks(5) {
        close(row.iter().sum::<f64>(), 1.0, 1e-14);
    }
}

#[test]
fn the_weights_and_the_evidence_have_the_published_values() {
    let coupling = published();
    let h = slow_down(&Shape::new(coupling.before()), 1.5, &coupling.built.null);
    let expected = [
        0.732_196_084_446_989_1,
        1.274_723_845_512_173,
        1.274_723_845_512_173,
        1.512_196_996_556_758_3,
        2.025_131_649_493_266_7,
    ];
    for (actual, expected) in h.iter().zip(expected) {
        close(*actual, expected, 1e-12);
    }
    let component = Component::new(&h, &coupling.built.matrix);
    let window = Window::new(&[20, 20, 8, 5, 2], &[570, 240, 95, 38, 9], 5).unwrap();
    close(component.ln_factor(&window, 5e-4), 3.923_342_737_134_816_6, 1e-11);
    let terms = 4.041_376_466_851_32 - 0.082_478_001_677_730_45;
    close(component.ln_factor(&window, 0.0), terms, 1e-11);
}

#[test]
fn it_is_stored_as_what_it_was_made_of() {
    let coupling = published();
    let mut stored = Vec::new();
    ciborium::into_writer(&coupling, &mut stored).unwrap();
    assert!(stored.len() < 200, "{} bytes", stored.len());
    let again: Coupling = ciborium::from_reader(stored.as_slice()).unwrap();
    assert_eq!(again, coupling);
}

/// Every way to spread so many requests over so many buckets, with its probability.
fn spreads(requests: u64, shares: &[f64]) -> Vec<(Vec<u64>, f64)> {
    let Some((last, before)) = shares.split_last() else { return Vec::new() };
    if before.is_empty() {
        return vec![(vec![requests], last.powi(requests as i32))];
    }
    let mut all = Vec::new();
    for here in 0..=requests {
        let ways = (0..here).fold(1.0, |ways, k| ways * (requests - k) as f64 / (k + 1) as f64);
        for (mut counts, chance) in spreads(requests - here, before) {
            counts.push(here);
            all.push((counts, ways * chance * last.powi(here as i32)));
        }
    }
    all
}

/// The largest expectation of e^ηL over the components.
fn expectation(coupling: &Coupling, arms: [(u64, &[f64]); 2], delta: f64, eta: f64) -> f64 {
    let [(canary, canary_shares), (baseline, baseline_shares)] = arms;
    let mut sums = vec![0.0; coupling.len()];
    for (x, canary_chance) in spreads(canary, canary_shares) {
        for (y, chance) in spreads(baseline, baseline_shares) {
            let mut l = vec![0.0; coupling.len()];
            coupling.add(&x, &y, delta, eta, &mut l);
            sums.iter_mut().zip(l).for_each(|(sum, l)| *sum += canary_chance * chance * exp(l));
        }
    }
    sums.into_iter().fold(0.0, f64::max)
}

/// Distributions over so many buckets, in sixths.
fn distributions(buckets: usize) -> Vec<Vec<f64>> {
    fn of(left: u32, buckets: usize) -> Vec<Vec<f64>> {
        if buckets == 1 {
            return vec![vec![f64::from(left) / 6.0]];
        }
        let first = |here: u32| {
            of(left - here, buckets - 1)
                .into_iter()
                .map(move |rest| std::iter::once(f64::from(here) / 6.0).chain(rest).collect::<Vec<f64>>())
        };
        (0..=left).flat_map(first).collect()
    }
    of(6, buckets)
}

/// Distributions of before, smooth ones and such as end within a bucket or lie near a bound.
fn befores() -> Vec<Coupling> {
    let le = [0.1, 0.25, 0.5];
    let mut all = Vec::new();
    for counts in [[600, 250, 100, 50], [0, 990, 9, 1], [5, 5, 5, 985], [0, 0, 0, 0], [1000, 0, 0, 0]] {
        for sum in [None, Some(60.0), Some(180.0), Some(240.0), Some(600.0)] {
            for slower in [1.0, 1.1, 1.5, 3.0] {
                all.push(coupling(&le, &counts, sum, slower));
            }
        }
    }
    all
}

#[test]
fn for_every_distribution_that_both_arms_have_the_expectation_is_at_most_one() {
    let mut largest: f64 = 0.0;
    for coupling in befores() {
        for shares in distributions(4) {
            for (canary, baseline) in [(1, 3), (2, 2), (3, 1)] {
                let arms = [(canary, &shares[..]), (baseline, &shares[..])];
                largest = largest.max(expectation(&coupling, arms, 0.0, 1.0));
            }
        }
    }
    assert!(largest <= 1.0 + 1e-12, "the largest expectation is {largest}");
    assert!(largest > 0.999, "evidence is wasted: the largest expectation is {largest}");
}

#[test]
fn a_canary_that_is_slower_by_what_is_accepted_has_an_expectation_of_at_most_one() {
    let mut largest: f64 = 0.0;
    for coupling in befores() {
        for shares in distributions(4) {
            let buckets = shares.len();
            let slower: Vec<f64> = (0..buckets)
                .map(|j| (0..buckets).map(|i| shares[i] * coupling.built.matrix[i * buckets + j]).sum())
                .collect();
            for (difference, eta) in [(0.0, 1.0), (0.05, 1.0), (0.05, 0.5)] {
                // The worst place for what is excused: from the lowest bucket to the highest.
                let mut canary = slower.clone();
                let moved = canary[0].min(difference);
                canary[0] -= moved;
                canary[buckets - 1] += moved;
                let arms = [(2, &canary[..]), (3, &shares[..])];
                largest = largest.max(expectation(&coupling, arms, difference, eta));
            }
        }
    }
    assert!(largest <= 1.0 + 1e-12, "the largest expectation is {largest}");
}

#[test]
fn weights_rise_and_have_a_mean_of_one_and_the_factor_stays_positive() {
    for coupling in befores() {
        let mut l = vec![0.0; coupling.len()];
        coupling.add(&[0, 0, 0, 1_000_000], &[0, 0, 0, 1], 5e-4, 1.0, &mut l);
        assert!(l.iter().all(|l| l.is_finite()), "{l:?}");
        let mut l = vec![0.0; coupling.len()];
        coupling.add(&[0, 0, 0, 1], &[0, 0, 0, 1_000_000], 5e-4, 1.0, &mut l);
        assert!(l.iter().all(|l| l.is_finite()), "{l:?}");
    }
}

#[test]
fn requests_just_below_a_bound_count_as_the_next_bucket_s() {
    // 95 ms ± 2% below a bound of 100 ms.
    let counts = [0, 0, 0, 99_000, 1_000, 0];
    let le = [0.01, 0.025, 0.05, 0.1, 0.25];
    let near = coupling(&le, &counts, Some(9_500.0), 1.1);
    assert_eq!(near.near_their_bound(), [3]);
    let row = &near.built.matrix[3 * 6..4 * 6];
    assert_eq!(row[3], 0.0);
    close(row[4], 1.0, 1e-12);
    // 6% slower, and half of the requests are above it: no evidence.
    let mut l = vec![0.0; near.len()];
    for _ in 0..20 {
        near.add(&[0, 0, 0, 250, 250, 0], &[0, 0, 0, 9_400, 100, 0], 5e-4, 1.0, &mut l);
    }
    assert!(l.iter().all(|l| *l < 0.0), "{l:?}");
    // At 70 ms it would be evidence, and there nothing is near.
    let far = coupling(&le, &counts, Some(7_100.0), 1.1);
    assert!(far.near_their_bound().is_empty());
    let mut l = vec![0.0; far.len()];
    far.add(&[0, 0, 0, 250, 250, 0], &[0, 0, 0, 9_400, 100, 0], 5e-4, 1.0, &mut l);
    assert!(l.iter().any(|l| *l > 10.0), "{l:?}");
    // Without a sum nothing is known of where in the bucket they are.
    assert_eq!(coupling(&le, &counts, None, 1.1).near_their_bound(), [3]);
}

#[test]
fn a_smooth_distribution_is_near_no_bound_with_its_own_sum() {
    // Log-normal with a median of 80 ms and σ = 0.8, in the default buckets of the Prometheus clients.
    let le = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let counts = [26, 440, 6_840, 20_540, 33_130, 31_380, 6_510, 1_051, 82, 1, 0, 0];
    let smooth = coupling(&le, &counts, Some(0.110_2 * 100_000.0), 1.1);
    assert!(smooth.near_their_bound().is_empty(), "{:?}", smooth.near_their_bound());
    assert!(smooth.len() >= 15 && smooth.len() <= 29, "{}", smooth.len());
}

#[test]
fn a_tail_that_the_baseline_does_not_have_is_evidence() {
    let le = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
    let counts = [0, 100_000, 600_000, 300_000, 0, 0, 0, 0, 0];
    let coupling = coupling(&le, &counts, Some(39_000.0), 1.1);
    let mut l = vec![0.0; coupling.len()];
    for _ in 0..10 {
        coupling.add(
            &[0, 100, 595, 295, 0, 0, 0, 10, 0],
            &[0, 1_900, 11_400, 5_700, 0, 0, 0, 0, 0],
            5e-4,
            1.0,
            &mut l,
        );
    }
    assert!(l.iter().any(|l| *l > 50.0), "{l:?}");
}

#[test]
fn other_buckets_or_an_arm_without_requests_say_nothing() {
    let coupling = published();
    let mut l = vec![0.0; coupling.len()];
    coupling.add(&[0; 5], &COUNTS, 0.0, 1.0, &mut l);
    coupling.add(&COUNTS, &[0; 5], 0.0, 1.0, &mut l);
    coupling.add(&[1; 4], &[1; 4], 0.0, 1.0, &mut l);
    assert!(l.iter().all(|l| *l == 0.0));
    assert!(super::Coupling::from(Before { le: vec![], counts: vec![9], sum: None, slower: 1.1 }).is_empty());
}
