//! The mixture sequential probability ratio test of a difference of means, with a normal mixture, as
//! experimentation platforms have it (Johari, Pekelis & Walsh, arXiv 1512.04922; the two-sided normal
//! mixture of Howard, Ramdas, McAuliffe & Sekhon, arXiv 1810.08240). It takes the difference to be normal
//! with a known variance, which rare errors are not.

use super::Count;

/// ln E of a sum `s` with intrinsic time `v` and mixture `rho`: ½ ln(ρ/(v+ρ)) + s²/(2(v+ρ)).
pub fn ln_e(s: f64, v: f64, rho: f64) -> f64 {
    0.5 * libm::log(rho / (v + rho)) + s * s / (2.0 * (v + rho))
}

/// The sum at which E reaches 1/α.
pub fn bound(v: f64, rho: f64, alpha: f64) -> f64 {
    libm::sqrt((v + rho) * (libm::log((v + rho) / rho) - 2.0 * libm::log(alpha)))
}

/// The test of two proportions: of all counts so far.
#[derive(Clone, Debug)]
pub struct Msprt {
    /// Standard deviation of the differences that are looked for.
    scale: f64,
    canary: Count,
    baseline: Count,
}

impl Msprt {
    /// `scale`: the difference of the proportions that is typically looked for, above 0.
    pub fn new(scale: f64) -> Msprt {
        Msprt { scale, canary: Count::default(), baseline: Count::default() }
    }

    /// Takes in a window; gives ln E against equality, minus infinity where the canary is not the worse
    /// one. With D the difference and V its estimated variance, s = D/V and v = 1/V are sum and time of
    /// the score process, and ρ = 1/scale².
    pub fn take(&mut self, canary: Count, baseline: Count) -> f64 {
        self.canary.add(canary);
        self.baseline.add(baseline);
        let none = f64::NEG_INFINITY;
        let (Some(p), Some(q)) = (self.canary.share(), self.baseline.share()) else { return none };
        let variance = p * (1.0 - p) / self.canary.total as f64 + q * (1.0 - q) / self.baseline.total as f64;
        if variance <= 0.0 || p <= q {
            return none;
        }
        ln_e((p - q) / variance, 1.0 / variance, 1.0 / (self.scale * self.scale))
    }
}
