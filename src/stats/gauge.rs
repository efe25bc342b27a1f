//! Gauges: the difference of two arms, tick by tick, against a margin.
//!
//! With D the difference less the margin and S = ΣD, V = t·σ²_LR, the one-sided normal mixture is
//! ```text
//! ln E = ½ ln(4ρ/(V+ρ)) + S²/(2(V+ρ)) + ln Φ(S/√(V+ρ))
//! ```
//! (Howard & Ramdas, arXiv 1906.09712, and Robbins' mixture before them). It is an e-process for normal
//! differences of known variance. Here the long-run variance σ²_LR is estimated from the ticks before the
//! one that is tested, so the guarantee is asymptotic, and it does not hold where values stay correlated
//! for a minute or longer. That is why gauges have half the weight of the metrics that are counted.

use serde::{Deserialize, Serialize};

use super::special::{ln, ln_1p};

/// ρ in units of σ²: best where 30 ticks have been seen, at α = 1% one-sided
/// (V/(2 ln(1/2α) + ln(1 + 2 ln(1/2α)))).
pub const RHO: f64 = 3.0;
/// Blocks over which the variance is taken: longer ones see values that stay for some ticks.
const BLOCKS: [usize; 4] = [1, 2, 4, 8];
/// Values beyond this are taken to be this.
const LARGEST: f64 = 1e100;
/// A tick is taken to be at most so many σ out.
const FURTHEST: f64 = 1e9;
/// A block length counts once so many differences of successive blocks are there.
const FEWEST: u32 = 8;

/// ln of the one-sided normal mixture; `sum` and `variance` in matching units.
pub fn ln_one_sided(sum: f64, variance: f64, rho: f64) -> f64 {
    let spread = variance + rho;
    0.5 * ln(4.0 * rho / spread) + half_square_and_cdf(sum / spread.sqrt())
}

/// z²/2 + ln Φ(z). Far out on the left the two nearly cancel and erfc underflows: there by the asymptotic
/// series of the sum.
fn half_square_and_cdf(z: f64) -> f64 {
    if z > -30.0 {
        return 0.5 * z * z + ln(0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2));
    }
    let square = 1.0 / (z * z);
    -ln(-z) - 0.5 * ln(2.0 * std::f64::consts::PI) + ln_1p(-square + 3.0 * square * square)
}

/// The long-run variance of a series, from differences of successive blocks: a lasting shift enters only
/// once, so a regression does not hide itself by the variance that it makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LongRun {
    blocks: [Blocks; BLOCKS.len()],
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Blocks {
    sum: f64,
    filled: usize,
    last: Option<f64>,
    squares: f64,
    differences: u32,
}

impl LongRun {
    /// Takes in the next value.
    pub fn take(&mut self, value: f64) {
        // Squares of larger ones would be infinite.
        let value = value.clamp(-LARGEST, LARGEST);
        for (block, length) in self.blocks.iter_mut().zip(BLOCKS) {
            block.sum += value;
            block.filled += 1;
            if block.filled == length {
                if let Some(last) = block.last {
                    block.squares += (block.sum - last) * (block.sum - last);
                    block.differences = block.differences.saturating_add(1);
                }
                block.last = Some(block.sum);
                (block.sum, block.filled) = (0.0, 0);
            }
        }
    }

    /// σ²_LR of one tick: the largest over the block lengths. `None` before enough was seen.
    pub fn variance(&self) -> Option<f64> {
        let of = |(block, length): (&Blocks, usize)| {
            let enough = block.differences >= FEWEST;
            enough.then(|| block.squares / (2.0 * f64::from(block.differences) * length as f64))
        };
        self.blocks.iter().zip(BLOCKS).filter_map(of).reduce(f64::max)
    }
}

/// The running test that the mean difference is at most a margin, from several starts: half of the
/// weight at the beginning, half evenly over later ones, so that old good ticks do not drown new harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaugeTest {
    /// (S, V) in units of σ, by start; those that are not begun yet are not there.
    sums: Vec<(f64, f64)>,
    starts: u32,
    /// Ticks between two starts.
    apart: u32,
    ticks: u32,
}

impl GaugeTest {
    /// With `later` starts, `apart` (at least 1) ticks from one another.
    pub fn new(later: u32, apart: u32) -> GaugeTest {
        GaugeTest { sums: vec![(0.0, 0.0)], starts: later, apart: apart.max(1), ticks: 0 }
    }

    /// Takes in a difference less its margin, with the variance that was known before it, above 0.
    pub fn take(&mut self, excess: f64, variance: f64) {
        if self.ticks > 0 && self.ticks.is_multiple_of(self.apart) && self.sums.len() <= self.starts as usize
        {
            self.sums.push((0.0, 0.0));
        }
        self.ticks = self.ticks.saturating_add(1);
        let z = (excess.clamp(-LARGEST, LARGEST) / variance.sqrt()).clamp(-FURTHEST, FURTHEST);
        for (sum, ticks) in &mut self.sums {
            *sum += z;
            *ticks += 1.0;
        }
    }

    /// ln of the evidence that the margin is exceeded.
    pub fn ln_e(&self) -> f64 {
        let later = if self.starts == 0 { 0.0 } else { 0.5 / f64::from(self.starts) };
        let first = if self.starts == 0 { 1.0 } else { 0.5 };
        let begun = self.sums.len() as f64 - 1.0;
        let waiting = (1.0 - first - later * begun).max(0.0);
        let terms = self.sums.iter().enumerate().map(|(i, (sum, ticks))| {
            let weight = if i == 0 { first } else { later };
            ln(weight) + ln_one_sided(*sum, *ticks, RHO)
        });
        let mut terms: Vec<f64> = terms.collect();
        if waiting > 0.0 {
            terms.push(ln(waiting));
        }
        super::special::ln_sum_exp(&terms)
    }

    /// Further ticks until the evidence is at `ln_bound`, if the differences go on as they were on
    /// average. `None` if they will not get there.
    pub fn ticks_to(&self, ln_bound: f64) -> Option<f64> {
        let (sum, ticks) = *self.sums.first()?;
        if ticks == 0.0 || sum <= 0.0 {
            return None;
        }
        let at = |total: f64| ln_one_sided(sum * total / ticks, total, RHO);
        let (mut low, mut high) = (ticks, ticks.max(1.0));
        while at(high) < ln_bound {
            high *= 2.0;
            if high > 1e7 {
                return None;
            }
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if at(middle) < ln_bound { low = middle } else { high = middle }
        }
        Some((high - ticks).max(0.0))
    }
}

/// Two-sided: ½ ln(ρ/(V+ρ)) + S²/(2(V+ρ)).
pub fn ln_two_sided(sum: f64, variance: f64, rho: f64) -> f64 {
    0.5 * ln(rho / (variance + rho)) + sum * sum / (2.0 * (variance + rho))
}

/// Half the width of the two-sided confidence sequence of a sum of this variance:
/// √((V+ρ)·ln((V+ρ)/(ρα²))).
pub fn half_width(variance: f64, rho: f64, alpha: f64) -> f64 {
    let spread = variance + rho;
    (spread * (ln(spread / rho) - 2.0 * ln(alpha))).sqrt()
}

/// The ρ that makes the sequence narrowest at a variance of `best`, at level α: v/(2 ln(1/α) + ln(1 +
/// 2 ln(1/α))), Howard et al.; one-sided tests give 2α.
pub fn best_rho(best: f64, alpha: f64) -> f64 {
    let twice = -2.0 * ln(alpha);
    best / (twice + ln_1p(twice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::special::exp;

    #[test]
    fn the_mixtures_have_the_published_values() {
        let rho = best_rho(100.0, 0.05);
        assert!((rho - 12.60056).abs() < 1e-5, "{rho}");
        assert!((ln_two_sided(10.0, 100.0, rho) + 0.6510052).abs() < 1e-6);
        assert!((half_width(100.0, rho, 0.05) - 30.35209).abs() < 1e-4);
        let one_sided = best_rho(100.0, 0.1);
        let ln_e = ln_one_sided(10.0, 100.0, one_sided);
        assert!((ln_e + 0.06502391).abs() < 1e-7, "{ln_e}");
        // The bound is where the evidence is 1/α.
        assert!((ln_one_sided(27.66071, 100.0, one_sided) - ln(20.0)).abs() < 1e-5);
    }

    #[test]
    fn the_left_tail_is_continuous_and_never_infinite() {
        let (near, far) = (half_square_and_cdf(-29.999_999), half_square_and_cdf(-30.000_001));
        assert!((near - far).abs() < 1e-6, "{near} {far}");
        assert!(half_square_and_cdf(-1e100).is_finite());
        assert!((exp(half_square_and_cdf(0.0)) - 0.5).abs() < 1e-15);
        // The evidence never falls faster than the sum's distance.
        assert!(ln_one_sided(-1e9, 10.0, RHO) < -20.0);
    }

    #[test]
    fn a_lasting_shift_hardly_changes_the_variance() {
        let mut still = LongRun::default();
        let mut shifted = LongRun::default();
        for i in 0..200 {
            let noise = if i % 2 == 0 { 0.1 } else { -0.1 };
            still.take(noise);
            shifted.take(noise + if i < 100 { 0.0 } else { 0.5 });
        }
        let (still, shifted) = (still.variance().unwrap(), shifted.variance().unwrap());
        assert!(shifted < 2.0 * still + 0.05, "{still} {shifted}");
    }

    #[test]
    fn a_shift_is_found_and_its_time_is_told() {
        let mut test = GaugeTest::new(5, 60);
        let mut said = None;
        for i in 0..200 {
            test.take(0.1, 0.04);
            if i == 20 {
                said = test.ticks_to(ln(100.0));
            }
            if test.ln_e() >= ln(200.0) {
                break;
            }
        }
        assert!(test.ln_e() >= ln(200.0));
        assert!(said.is_some_and(|ticks| ticks > 5.0 && ticks < 100.0), "{said:?}");
        let mut lower = GaugeTest::new(5, 60);
        for _ in 0..300 {
            lower.take(-0.1, 0.04);
        }
        assert!(lower.ln_e() < 0.0);
        assert_eq!(lower.ticks_to(3.0), None);
    }
}
