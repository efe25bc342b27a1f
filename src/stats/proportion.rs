//! The pair e-process: bad requests of two arms in the same window, whatever the base rate does.
//!
//! ```text
//! L(g; r, δ) = x·ln g + n·[ln1p(κ r) − ln1p(κ r g)] − δ·N·(g − 1)/(1 + κ r g)
//! ```
//! with x bad of N in the canary, y bad of M in the baseline, κ = N/M, n = x + y. For g > 1 it tests
//! H0: p_canary ≤ r·p_base + δ, for g < 1 H0: p_canary ≥ r·p_base + δ, and E\[e^L\] ≤ 1 under H0 for
//! independent Bernoulli or Poisson requests: with a = g(1 + κr)/(1 + κrg) and b = (1 + κr)/(1 + κrg),
//! E\[aˣ bʸ\] ≤ exp(N p_c (a − 1) + M p_b (b − 1)) = exp(N (g − 1)(p_c − r p_b)/(1 + κrg)), and the last
//! term of L takes away what δ allows. With δ = 0 it is the likelihood ratio of the conditional binomial
//! (Lindon, Sanden, Shirikian, arXiv 2205.14762). Raised to a power η in (0, 1] it stays valid (Jensen).

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::special::{LARGEST_ARTANH, artanh, ln, ln_1p_of_positive};

/// Alternatives of the harm tests. Larger ones would make tempering unsafe under bursts.
pub static HARM: LazyLock<Grid<9>> =
    LazyLock::new(|| Grid::new([1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0]));
/// Alternatives of the no-harm tests.
pub static NO_HARM: LazyLock<Grid<9>> =
    LazyLock::new(|| Grid::new([0.3, 0.4, 0.5, 0.6, 0.67, 0.75, 0.82, 0.9, 0.95]));
/// Further ones from method 3 on: a canary without any bad requests beside a rare tail.
pub static NO_HARM_RARE: LazyLock<Grid<2>> = LazyLock::new(|| Grid::new([0.02, 0.1]));
/// All of them, in the order in which they are kept.
pub const NO_HARM_ALL: [f64; 11] = [0.3, 0.4, 0.5, 0.6, 0.67, 0.75, 0.82, 0.9, 0.95, 0.02, 0.1];
/// How many alternatives [`FEWER`] has.
pub const FEWER_COUNT: usize = 8;
/// Alternatives of the tests that a good thing has become rarer.
pub static FEWER: LazyLock<Grid<FEWER_COUNT>> =
    LazyLock::new(|| Grid::new([0.98, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2, 0.05]));
/// Alternatives of the catastrophe lane.
pub static CATASTROPHE: LazyLock<Grid<5>> = LazyLock::new(|| Grid::new([1.5, 2.0, 3.0, 5.0, 10.0]));

/// Bad and all requests of two arms in one window; neither arm is without requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Bad requests of the arm that is suspected (x).
    pub x: f64,
    /// All requests of that arm (N), at least 1.
    pub requests: f64,
    /// Bad requests of the arm that it is compared with (y).
    pub y: f64,
    /// All requests of that arm (M), at least 1.
    pub base_requests: f64,
}

impl Pair {
    /// From (bad, total) of the suspected arm and of the other. Bad is held to total. `None` if an arm
    /// has no requests: such a window says nothing.
    pub fn new(suspect: (u64, u64), base: (u64, u64)) -> Option<Pair> {
        if suspect.1 == 0 || base.1 == 0 {
            return None;
        }
        Some(Pair {
            x: suspect.0.min(suspect.1) as f64,
            requests: suspect.1 as f64,
            y: base.0.min(base.1) as f64,
            base_requests: base.1 as f64,
        })
    }

    /// κ = N/M.
    pub fn kappa(&self) -> f64 {
        self.requests / self.base_requests
    }

    /// n = x + y.
    pub fn bad(&self) -> f64 {
        self.x + self.y
    }
}

/// The edge between the hypotheses: p_canary = ratio·p_base + difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// r, above 0.
    pub ratio: f64,
    /// δ, a proportion, at least 0.
    pub difference: f64,
}

/// L(g; r, δ) of one window.
pub fn ln_likelihood_ratio(pair: &Pair, g: f64, margin: Margin) -> f64 {
    let [l] = Grid::new([g]).increments(pair, margin, 1.0);
    l
}

/// Alternatives g with what L needs of them alone.
#[derive(Clone, Debug)]
pub struct Grid<const K: usize> {
    g: [f64; K],
    ln_g: [f64; K],
    /// Where each is near its neighbour on the way from 1 to it.
    ladder: Option<Ladder>,
}

/// The alternatives two by two, as the processor works on them: h is the neighbour of g towards 1, or 1 itself.
#[derive(Clone, Debug)]
struct Ladder {
    /// Of two; 0 and 2 where an odd number leaves a place free.
    rungs: Vec<Rung>,
    /// 1 stands behind the last one instead of before the first one.
    from_the_end: bool,
}

#[derive(Clone, Debug)]
struct Rung {
    /// g − h.
    apart: [f64; 2],
    /// g + h.
    sum: [f64; 2],
}

impl Ladder {
    fn new(g: &[f64]) -> Option<Ladder> {
        let from_the_end = g.last().is_some_and(|last| *last < 1.0);
        let neighbour = |i: usize| match from_the_end {
            true => g.get(i + 1).copied().unwrap_or(1.0),
            false => i.checked_sub(1).map_or(1.0, |before| g[before]),
        };
        let of = |i: usize| g.get(i).map_or((0.0, 2.0), |g| (g - neighbour(i), g + neighbour(i)));
        let near = |(apart, sum): (f64, f64)| apart.abs() <= LARGEST_ARTANH * sum;
        let rungs = (0..g.len()).step_by(2).map(|i| {
            let (first, second) = (of(i), of(i + 1));
            let rung = Rung { apart: [first.0, second.0], sum: [first.1, second.1] };
            (near(first) && near(second)).then_some(rung)
        });
        Some(Ladder { rungs: rungs.collect::<Option<_>>()?, from_the_end })
    }

    /// ln(1 + κr) − ln(1 + κrg) for every g. From h to g that is −2·artanh(κr(g − h)/(2 + κr(g + h))).
    fn conditional<const K: usize>(&self, kr: f64) -> [f64; K] {
        let mut steps = [0.0; K];
        for (Rung { apart, sum }, steps) in self.rungs.iter().zip(steps.chunks_mut(2)) {
            let s = [kr * apart[0] / (2.0 + kr * sum[0]), kr * apart[1] / (2.0 + kr * sum[1])];
            let two = [-2.0 * artanh(s[0]), -2.0 * artanh(s[1])];
            steps.iter_mut().zip(two).for_each(|(step, value)| *step = value);
        }
        let mut way = 0.0;
        let add = |step: &mut f64| {
            way += *step;
            *step = way;
        };
        match self.from_the_end {
            true => steps.iter_mut().rev().for_each(add),
            false => steps.iter_mut().for_each(add),
        }
        steps
    }
}

impl<const K: usize> Grid<K> {
    /// Of these alternatives, each above 0; in rising order, and either all above 1 or all below.
    pub fn new(g: [f64; K]) -> Grid<K> {
        Grid { g, ln_g: g.map(ln), ladder: Ladder::new(&g) }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        K
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        K == 0
    }

    /// x·ln g − N·p_max(g − 1) for every g: one arm of `bad` of `requests` against the share `limit`.
    pub fn against_limit(&self, bad: f64, requests: f64, limit: f64) -> [f64; K] {
        std::array::from_fn(|i| bad * self.ln_g[i] - requests * limit * (self.g[i] - 1.0))
    }

    /// η·L(g; r, δ) for every g.
    pub fn increments(&self, pair: &Pair, margin: Margin, eta: f64) -> [f64; K] {
        self.prepared_increments(pair, margin.difference, eta, &self.prepare(pair.kappa(), margin.ratio))
    }

    /// What L needs of κ and r alone. Windows of several comparisons share it.
    pub fn prepare(&self, kappa: f64, ratio: f64) -> Prepared<K> {
        let kr = kappa * ratio;
        let conditional = match &self.ladder {
            Some(ladder) => ladder.conditional(kr),
            None => {
                let at_edge = ln_1p_of_positive(kr);
                self.g.map(|g| at_edge - ln_1p_of_positive(kr * g))
            }
        };
        let allowance = std::array::from_fn(|i| (self.g[i] - 1.0) / (1.0 + kr * self.g[i]));
        Prepared { kappa, ratio, conditional, allowance }
    }

    /// As [`Grid::increments`], with `prepared` of the pair's κ and the margin's r.
    pub fn prepared_increments(
        &self,
        pair: &Pair,
        difference: f64,
        eta: f64,
        prepared: &Prepared<K>,
    ) -> [f64; K] {
        let (x, n, allowance) = (eta * pair.x, eta * pair.bad(), eta * difference * pair.requests);
        std::array::from_fn(|i| {
            x * self.ln_g[i] + n * prepared.conditional[i] - allowance * prepared.allowance[i]
        })
    }
}

/// What L needs of κ and r alone, for every g.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<const K: usize> {
    kappa: f64,
    ratio: f64,
    /// ln1p(κ r) − ln1p(κ r g).
    conditional: [f64; K],
    /// (g − 1)/(1 + κ r g).
    allowance: [f64; K],
}

impl<const K: usize> Prepared<K> {
    /// Whether it is of this κ and r.
    pub fn is_of(&self, kappa: f64, ratio: f64) -> bool {
        self.kappa == kappa && self.ratio == ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::special::{exp, ln_1p};

    #[test]
    fn l_has_the_published_values() {
        let pair = Pair::new((7, 500), (60, 9500)).unwrap();
        for (r, d, g, expected) in [
            (1.0, 0.0, 2.0, 1.583_089_264_567_676_4),
            (1.2, 1e-4, 2.0, 0.941_180_459_971_800_1),
            (1.5, 5e-4, 0.5, -2.234_593_647_948_137_6),
        ] {
            let l = ln_likelihood_ratio(&pair, g, Margin { ratio: r, difference: d });
            assert!((l - expected).abs() < 1e-11, "L(g={g}; r={r}, δ={d}) = {l}, expected {expected}");
        }
    }

    #[test]
    fn the_ladder_and_the_logarithms_agree() {
        for kr in [0.0, 1e-9, 0.05, 0.9, 12.0, 1e9] {
            for grid in [&*HARM, &*NO_HARM] {
                assert!(grid.ladder.is_some());
                let prepared = grid.prepare(kr, 1.0);
                for (g, conditional) in grid.g.iter().zip(prepared.conditional) {
                    let expected = ln_1p(kr) - ln_1p(kr * g);
                    assert!((conditional - expected).abs() < 1e-14, "{kr} {g}: {conditional}, {expected}");
                }
            }
        }
        assert!(CATASTROPHE.ladder.is_none());
    }

    #[test]
    fn a_window_without_requests_in_an_arm_says_nothing_and_bad_is_held_to_total() {
        assert_eq!(Pair::new((0, 0), (1, 10)), None);
        assert_eq!(Pair::new((1, 10), (0, 0)), None);
        assert_eq!(Pair::new((20, 10), (30, 20)).unwrap().x, 10.0);
        assert_eq!(Pair::new((20, 10), (30, 20)).unwrap().y, 20.0);
    }

    fn binomial(n: u64, p: f64) -> Vec<f64> {
        let mut row = vec![1.0];
        for _ in 0..n {
            let mut next = vec![0.0; row.len() + 1];
            for (k, mass) in row.iter().enumerate() {
                next[k] += mass * (1.0 - p);
                next[k + 1] += mass * p;
            }
            row = next;
        }
        row
    }

    /// Every small table at the edge of the null hypothesis: the expectation of e^L never exceeds 1.
    #[test]
    fn enumerating_small_tables_the_expectation_is_at_most_one() {
        let mut largest: f64 = 0.0;
        for (n, m) in [(1, 1), (1, 20), (5, 20), (30, 1), (30, 7), (30, 20), (12, 12)] {
            for p in [1e-4, 0.003, 0.02, 0.1, 0.3, 0.5] {
                for ratio in [1.0, 1.25, 1.5] {
                    for difference in [0.0, 0.02] {
                        let margin = Margin { ratio, difference };
                        let canary = binomial(n, f64::min(1.0, ratio * p + difference));
                        let base = binomial(m, p);
                        for g in [0.3, 0.5, 0.67, 0.9, 1.1, 1.5, 2.0, 4.0, 10.0, 20.0] {
                            let mut expectation = 0.0;
                            for (x, px) in canary.iter().enumerate() {
                                for (y, py) in base.iter().enumerate() {
                                    let pair = Pair::new((x as u64, n), (y as u64, m)).unwrap();
                                    expectation += px * py * exp(ln_likelihood_ratio(&pair, g, margin));
                                }
                            }
                            largest = largest.max(expectation);
                        }
                    }
                }
            }
        }
        assert!(largest <= 1.0 + 1e-12, "the largest expectation is {largest}");
        assert!(largest > 0.999, "the tests waste evidence: the largest expectation is {largest}");
    }
}
