//! A confidence sequence of the ratio p_canary/p_base, valid at every look.
//!
//! ℓ_j = Σ η\[x ln r_j − n ln1p(κ r_j)\] on log-spaced r_j. A small r_j is given up when the mean over
//! larger r_k of e^(ℓ_k − ℓ_j), which is an e-process if r_j is true, reaches 2/α; a large one likewise.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::proportion::Pair;
use super::special::{exp, ln, ln_1p};

/// The smallest ratio that is told apart from smaller ones.
pub const LOWEST: f64 = 0.05;
/// The largest ratio that is told apart from larger ones.
pub const HIGHEST: f64 = 50.0;
const POINTS: usize = 121;
/// This far below the top a ratio is given up at any α > 10⁻¹⁴, and adds nothing to a mean.
const GIVEN_UP: f64 = 40.0;

static RATIOS: LazyLock<([f64; POINTS], [f64; POINTS])> = LazyLock::new(|| {
    let step = ln(HIGHEST / LOWEST) / (POINTS - 1) as f64;
    let ln_r = std::array::from_fn(|j| ln(LOWEST) + j as f64 * step);
    (ln_r.map(exp), ln_r)
});

/// ln1p(κ r_j) of a window: the costly part, which all thresholds of a histogram share.
pub struct Denominators([f64; POINTS]);

impl Denominators {
    /// For windows with this κ.
    pub fn new(kappa: f64) -> Denominators {
        Denominators(RATIOS.0.map(|r| ln_1p(kappa * r)))
    }
}

/// The log likelihood of each ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioSequence {
    ln_likelihood: Vec<f64>,
}

impl Default for RatioSequence {
    fn default() -> RatioSequence {
        RatioSequence { ln_likelihood: vec![0.0; POINTS] }
    }
}

impl RatioSequence {
    /// Takes in a window, tempered by η. `denominators` must be of the pair's κ.
    pub fn add(&mut self, pair: &Pair, denominators: &Denominators, eta: f64) {
        let n = pair.bad();
        if n == 0.0 {
            return;
        }
        let (x, n) = (eta * pair.x, eta * n);
        for ((ln_likelihood, ln_r), denominator) in
            self.ln_likelihood.iter_mut().zip(&RATIOS.1).zip(&denominators.0)
        {
            *ln_likelihood += x * ln_r - n * denominator;
        }
    }

    /// The ends (low, high) of the (1 − α) interval as of now. An end at [`LOWEST`] or [`HIGHEST`] is
    /// open.
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let l = &self.ln_likelihood;
        // Each ℓ is concave in ln r, so there is one top, and the wanted points lie on either side of it.
        let top = (1..l.len()).fold(0, |top, j| if l[j] > l[top] { j } else { top });
        let near: Vec<(usize, f64)> =
            (0..l.len()).filter(|j| l[top] - l[*j] < GIVEN_UP).map(|j| (j, exp(l[j] - l[top]))).collect();
        // The same search from the other end finds the high end.
        let mirror = |j: usize| l.len() - 1 - j;
        let mirrored: Vec<(usize, f64)> = near.iter().rev().map(|(j, e)| (mirror(*j), *e)).collect();
        let low = given_up_below(&near, top, 2.0 / alpha);
        let high = given_up_below(&mirrored, mirror(top), 2.0 / alpha).map(mirror);
        (low.map_or(LOWEST, |j| RATIOS.0[j]), high.map_or(HIGHEST, |j| RATIOS.0[j]))
    }
}

/// The largest j < `top` for which the mean of e over all larger points is at least `bound` times its
/// own e. `near` holds the points (j, e), rising in j, that are not given up for their distance alone.
fn given_up_below(near: &[(usize, f64)], top: usize, bound: f64) -> Option<usize> {
    let mut sum = 0.0;
    for (j, e) in near.iter().rev() {
        if *j < top && sum >= bound * e * (POINTS - 1 - j) as f64 {
            return Some(*j);
        }
        sum += e;
    }
    near.first().and_then(|(first, _)| first.checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::mixture::tests::five_ticks;

    #[test]
    fn the_running_intersection_has_the_published_values() {
        let mut sequence = RatioSequence::default();
        let (mut low, mut high) = (LOWEST, HIGHEST);
        let lows = [0.079245, 0.334172, 0.47203, 0.839402, 0.839402];
        let highs = [5.296269, 4.206976, 3.749471, 3.749471, 0.941825];
        for (i, pair) in five_ticks().iter().enumerate() {
            sequence.add(pair, &Denominators::new(pair.kappa()), 1.0);
            let now = sequence.interval(0.05);
            (low, high) = (low.max(now.0), high.min(now.1));
            assert!((low - lows[i]).abs() < 1e-6, "low {low}, expected {}", lows[i]);
            assert!((high - highs[i]).abs() < 1e-6, "high {high}, expected {}", highs[i]);
        }
    }

    /// The definition, point by point.
    fn plain(sequence: &RatioSequence, alpha: f64) -> (f64, f64) {
        let l = &sequence.ln_likelihood;
        let given_up = |j: usize, others: std::ops::Range<usize>| {
            let count = others.len() as f64;
            count > 0.0 && others.map(|k| exp(l[k] - l[j])).sum::<f64>() / count >= 2.0 / alpha
        };
        let low = (0..POINTS).rev().find(|j| given_up(*j, j + 1..POINTS));
        let high = (0..POINTS).find(|j| given_up(*j, 0..*j));
        (low.map_or(LOWEST, |j| RATIOS.0[j]), high.map_or(HIGHEST, |j| RATIOS.0[j]))
    }

    #[test]
    fn the_short_cut_agrees_with_the_definition() {
        for (x, y, n, m) in [
            (0, 0, 10, 10),
            (0, 3000, 5000, 5000),
            (3000, 0, 5000, 5000),
            (1, 1, 50, 950),
            (47, 140, 1516, 28004),
            (900_000, 1_000_000, 10_000_000, 10_000_000),
            (1, 30, 1000, 1000),
            (30, 1, 1000, 1000),
        ] {
            let mut sequence = RatioSequence::default();
            let pair = Pair::new((x, n), (y, m)).unwrap();
            for _ in 0..3 {
                sequence.add(&pair, &Denominators::new(pair.kappa()), 1.0 / 3.0);
                assert_eq!(sequence.interval(0.05), plain(&sequence, 0.05), "{x} {y} {n} {m}");
            }
        }
    }
}
