//! A confidence sequence of the ratio p_canary/p_base, valid at every look.
//!
//! ℓ_j = Σ η\[x ln r_j − n ln1p(κ r_j)\] on log-spaced r_j. A small r_j is given up when the mean over
//! larger r_k of e^(ℓ_k − ℓ_j), which is an e-process if r_j is true, reaches 2/α; a large one likewise.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::proportion::Pair;
use super::special::{exp, ln, ln_1p, ln_sum_exp};

/// The smallest ratio that is told apart from smaller ones.
pub const LOWEST: f64 = 0.05;
/// The largest ratio that is told apart from larger ones.
pub const HIGHEST: f64 = 50.0;
const POINTS: usize = 121;
/// This far below the top a ratio is given up at any α > 10⁻⁶, and adds nothing to a mean.
const GIVEN_UP: f64 = 20.0;

static RATIOS: LazyLock<([f64; POINTS], [f64; POINTS])> = LazyLock::new(|| {
    let ln_r = std::array::from_fn(|j| ln(LOWEST) + j as f64 * spacing());
    (ln_r.map(exp), ln_r)
});

/// ln(1 + e^v) at multiples of the grid's spacing, from −HALF_TABLE to HALF_TABLE of them: |v| ≤ 28.
static SOFTPLUS: LazyLock<Vec<f64>> =
    LazyLock::new(|| (-HALF_TABLE..=HALF_TABLE).map(|k| ln_1p(exp(k as f64 * spacing()))).collect());
const HALF_TABLE: i32 = 500;

fn spacing() -> f64 {
    ln(HIGHEST / LOWEST) / (POINTS - 1) as f64
}

/// ln1p(κ r_j) of a window, which all thresholds of a histogram share.
///
/// The r_j are evenly spaced in the logarithm, so ln(1 + e^(ln κ + ln r_j)) lies at the same place
/// between two points of a table for every j, and cubic interpolation costs four products a point. Its
/// error is below 4·10⁻⁸ (h⁴·max|f⁗|·9/384, with h = 0.0576 and |f⁗| ≤ 1/8), a thousandth of what tells
/// neighbouring ratios apart.
pub struct Denominators([f64; POINTS]);

impl Denominators {
    /// For windows with this κ, above 0.
    pub fn new(kappa: f64) -> Denominators {
        let place = (ln(kappa) + ln(LOWEST)) / spacing();
        let below = place.floor();
        let first = below as i64 + i64::from(HALF_TABLE) - 1;
        let table = usize::try_from(first).ok().and_then(|first| SOFTPLUS.get(first..first + POINTS + 3));
        let Some(table) = table else {
            return Denominators(RATIOS.0.map(|r| ln_1p(kappa * r)));
        };
        let t = place - below;
        let weights = [
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        ];
        let mut values = [0.0; POINTS];
        for (value, near) in values.iter_mut().zip(table.windows(4)) {
            *value =
                weights[0] * near[0] + weights[1] * near[1] + weights[2] * near[2] + weights[3] * near[3];
        }
        Denominators(values)
    }
}

/// A ratio r with alternatives g < 1, as places among the ratios. What lies below [`LOWEST`] counts as none.
#[derive(Clone, Copy, Debug)]
pub struct Against<const K: usize> {
    at: Place,
    below: [Option<Place>; K],
}

impl<const K: usize> Against<K> {
    /// `ratio` is held to the range that is told apart.
    pub fn new(ratio: f64, alternatives: &[f64; K]) -> Against<K> {
        let ratio = ratio.clamp(LOWEST, HIGHEST);
        let below = alternatives.map(|g| Some(ratio * g).filter(|below| *below >= LOWEST).map(Place::new));
        Against { at: Place::new(ratio), below }
    }
}

/// Between the points of a sequence, by cubic interpolation.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: usize,
    weights: [f64; 4],
}

impl Place {
    fn new(ratio: f64) -> Place {
        let place = ln(ratio / LOWEST) / spacing();
        let first = (place.floor() - 1.0).clamp(0.0, (POINTS - 4) as f64);
        let t = place - first;
        let weights = [
            -(t - 1.0) * (t - 2.0) * (t - 3.0) / 6.0,
            t * (t - 2.0) * (t - 3.0) / 2.0,
            -t * (t - 1.0) * (t - 3.0) / 2.0,
            t * (t - 1.0) * (t - 2.0) / 6.0,
        ];
        Place { first: first as usize, weights }
    }

    fn of(&self, values: &[f64]) -> f64 {
        let near = values.get(self.first..).unwrap_or_default();
        near.iter().zip(self.weights).map(|(value, weight)| value * weight).sum()
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

    /// ln of the mean over the alternatives of `against` of e^(ℓ(r g) − ℓ(r)): evidence against
    /// p_canary ≥ r·p_base, which rises with r.
    pub fn ln_e_below<const K: usize>(&self, against: &Against<K>) -> f64 {
        let at = against.at.of(&self.ln_likelihood);
        let terms =
            against.below.map(|place| place.map_or(f64::NEG_INFINITY, |p| p.of(&self.ln_likelihood) - at));
        ln_sum_exp(&terms) - ln(K as f64)
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

    #[test]
    fn interpolated_denominators_are_close_enough() {
        for kappa in [1e-13, 1e-9, 3e-4, 1.0 / 19.0, 0.333, 1.0, 7.7, 1e4, 1e9, 1e14] {
            for (r, value) in RATIOS.0.iter().zip(Denominators::new(kappa).0) {
                let exact = ln_1p(kappa * r);
                assert!((value - exact).abs() < 4e-8, "κ = {kappa}, r = {r}: {value}, exactly {exact}");
            }
        }
    }

    #[test]
    fn between_the_points_it_is_the_likelihood_ratio() {
        let mut sequence = RatioSequence::default();
        let pair = Pair::new((47, 1516), (140, 28004)).unwrap();
        sequence.add(&pair, &Denominators::new(pair.kappa()), 0.5);
        for (r, g) in [(1.0, 0.5), (2.2, 0.95), (0.7, 0.1), (33.0, 0.02)] {
            let margin = crate::stats::proportion::Margin { ratio: r, difference: 0.0 };
            let l = 0.5 * crate::stats::proportion::ln_likelihood_ratio(&pair, g, margin);
            let found = sequence.ln_e_below(&Against::new(r, &[g]));
            assert!((found - l).abs() < 1e-5, "{r} {g}: {found}, {l}");
        }
        assert_eq!(sequence.ln_e_below(&Against::new(0.1, &[0.02])), f64::NEG_INFINITY);
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
