//! Draws have the distributions that they are named after: χ² tests with fixed seeds.

use serin::montecarlo::random::Random;
use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, Discrete, Gamma, Poisson};

const DRAWS: usize = 40_000;

/// p of the χ² test of `draws` against the probabilities of 0, 1, 2, …; places with few expected draws
/// are taken together.
fn p_of_counts(draws: &[u64], probability: impl Fn(u64) -> f64) -> f64 {
    let mut seen = std::collections::BTreeMap::<u64, f64>::new();
    for draw in draws {
        *seen.entry(*draw).or_default() += 1.0;
    }
    let highest = *seen.keys().last().unwrap();
    let all = draws.len() as f64;
    let (mut cells, mut cell) = (Vec::new(), (0.0, 0.0));
    let mut total = 0.0;
    for k in 0..=highest {
        let expected = all * probability(k);
        total += expected;
        cell = (cell.0 + seen.get(&k).copied().unwrap_or(0.0), cell.1 + expected);
        if cell.1 >= 10.0 {
            cells.push(std::mem::take(&mut cell));
        }
    }
    // What lies above the highest draw belongs to the last cell.
    let last = cells.last_mut().unwrap();
    *last = (last.0 + cell.0, last.1 + cell.1 + (all - total).max(0.0));
    p_of_cells(&cells)
}

/// p of the χ² test of cells of (seen, expected).
fn p_of_cells(cells: &[(f64, f64)]) -> f64 {
    let statistic: f64 = cells.iter().map(|(seen, expected)| (seen - expected).powi(2) / expected).sum();
    1.0 - ChiSquared::new(cells.len() as f64 - 1.0).unwrap().cdf(statistic)
}

/// p of the χ² test of continuous draws, in 50 cells of the same probability.
fn p_of_values(draws: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut cells = vec![(0.0, draws.len() as f64 / 50.0); 50];
    for draw in draws {
        cells[((cdf(*draw) * 50.0) as usize).min(49)].0 += 1.0;
    }
    p_of_cells(&cells)
}

#[test]
fn the_test_itself_finds_wrong_draws() {
    let mut random = Random::new(1);
    let draws: Vec<u64> = (0..DRAWS).map(|_| random.poisson(12.3)).collect();
    assert!(p_of_counts(&draws, |k| Poisson::new(12.0).unwrap().pmf(k)) < 1e-6);
    let draws: Vec<f64> = (0..DRAWS).map(|_| random.unit()).collect();
    assert!(p_of_values(&draws, |x| x.powf(1.1)) < 1e-4);
}

#[test]
fn poisson() {
    for (seed, mean) in [0.003, 0.7, 4.0, 9.99, 10.0, 37.5, 400.0, 12_000.0].into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let draws: Vec<u64> = (0..DRAWS).map(|_| random.poisson(mean)).collect();
        let law = Poisson::new(mean).unwrap();
        let p = p_of_counts(&draws, |k| law.pmf(k));
        assert!(p > 1e-3, "mean {mean}: p = {p}");
    }
    let mut random = Random::new(0);
    assert_eq!([0.0, -1.0, f64::NAN].map(|mean| random.poisson(mean)), [0; 3]);
}

#[test]
fn binomial() {
    let cases = [
        (1, 0.3),
        (7, 0.5),
        (500, 0.002),
        (19_000, 0.0005),
        (20, 0.5),
        (950, 0.0106),
        (950, 0.4),
        (950, 0.93),
        (190_000, 0.01),
    ];
    for (seed, (n, p)) in cases.into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let draws: Vec<u64> = (0..DRAWS).map(|_| random.binomial(n, p)).collect();
        let law = Binomial::new(p, n).unwrap();
        let found = p_of_counts(&draws, |k| law.pmf(k));
        assert!(found > 1e-3, "{n} at {p}: p = {found}");
    }
    let mut random = Random::new(0);
    assert_eq!([(0, 0.5), (5, 0.0), (5, -1.0), (5, f64::NAN)].map(|(n, p)| random.binomial(n, p)), [0; 4]);
    assert_eq!([1.0, 2.0].map(|p| random.binomial(5, p)), [5; 2]);
    // Without a table of factorials these would be lost in rounding.
    let n = 1_000_000_000_000;
    let mean = (0..100).map(|_| random.binomial(n, 0.5) as f64 / n as f64).sum::<f64>() / 100.0;
    assert!((mean - 0.5).abs() < 5e-7, "{mean}");
}

#[test]
fn multinomial() {
    let mut random = Random::new(3);
    let mut sums = [0_u64; 4];
    for _ in 0..100 {
        let counts = random.multinomial(1000, &[0.1, 0.5, 0.9]);
        assert_eq!(counts.iter().sum::<u64>(), 1000);
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let shares = [0.1, 0.45, 0.405, 0.045];
    let cells: Vec<(f64, f64)> =
        sums.iter().zip(shares).map(|(sum, share)| (*sum as f64, 100_000.0 * share)).collect();
    assert!(p_of_cells(&cells) > 1e-3, "{sums:?}");
}

#[test]
fn continuous_values() {
    let mut random = Random::new(4);
    let mut draws = |draw: fn(&mut Random) -> f64| (0..DRAWS).map(|_| draw(&mut random)).collect::<Vec<_>>();
    let normal = statrs::distribution::Normal::standard();
    let p = p_of_values(&draws(Random::unit), |x| x);
    assert!(p > 1e-3, "uniform: {p}");
    let p = p_of_values(&draws(Random::normal), |x| normal.cdf(x));
    assert!(p > 1e-3, "normal: {p}");
    let p = p_of_values(&draws(|r| r.exponential(3.0)), |x| 1.0 - (-x / 3.0).exp());
    assert!(p > 1e-3, "exponential: {p}");
    let p = p_of_values(&draws(|r| r.pareto(2.0, 2.5)), |x| 1.0 - (x / 2.0).powf(-2.5));
    assert!(p > 1e-3, "pareto: {p}");
    let p = p_of_values(&draws(|r| r.gamma(0.3)), |x| Gamma::new(0.3, 1.0).unwrap().cdf(x));
    assert!(p > 1e-3, "gamma 0.3: {p}");
    let p = p_of_values(&draws(|r| r.gamma(4.2)), |x| Gamma::new(4.2, 1.0).unwrap().cdf(x));
    assert!(p > 1e-3, "gamma 4.2: {p}");
}

#[test]
fn runs_have_their_own_numbers() {
    let first = |seed, index| Random::of_run(seed, index).bits();
    let mut all: Vec<u64> = (0..50).flat_map(|seed| (0..50).map(move |index| first(seed, index))).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 2500);
    assert_eq!(first(7, 9), first(7, 9));
}
