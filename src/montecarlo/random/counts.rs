//! Whole numbers: Poisson, binomial and multinomial, exact for any mean. Small means by inversion, large
//! ones by transformed rejection: W. Hörmann, *The transformed rejection method for generating Poisson
//! random variables* (1993, algorithm PTRS) and *The generation of binomial random variates* (1993,
//! algorithm BTRS).

use libm::{exp, fabs, lgamma, log, log1p, sqrt};

use super::Random;

/// Up to this mean inversion is the faster way, and rejection is not made for less.
const INVERSION_UP_TO: f64 = 10.0;

impl Random {
    /// Poisson with this mean; 0 if it is not above 0.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 || mean.is_nan() {
            0
        } else if mean < INVERSION_UP_TO {
            self.poisson_by_inversion(mean)
        } else {
            self.poisson_by_rejection(mean)
        }
    }

    /// Successes among `n` of probability `p`, which is taken to lie in [0, 1].
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 || p.is_nan() {
            0
        } else if p >= 1.0 {
            n
        } else if p > 0.5 {
            n - self.binomial(n, 1.0 - p)
        } else if n as f64 * p < INVERSION_UP_TO {
            self.binomial_by_inversion(n, p)
        } else {
            self.binomial_by_rejection(n, p)
        }
    }

    /// `n` spread over `conditional.len() + 1` places; each entry is the chance of its place for those
    /// that are in none before it. What is left is in the last place.
    pub fn multinomial(&mut self, n: u64, conditional: &[f64]) -> Vec<u64> {
        let mut left = n;
        let mut counts = Vec::with_capacity(conditional.len() + 1);
        for chance in conditional {
            let count = self.binomial(left, *chance);
            counts.push(count);
            left -= count;
        }
        counts.push(left);
        counts
    }

    fn poisson_by_inversion(&mut self, mean: f64) -> u64 {
        let mut left = self.unit();
        let mut probability = exp(-mean);
        let mut k = 0_u64;
        while left > probability && probability > 0.0 {
            left -= probability;
            k += 1;
            probability *= mean / k as f64;
        }
        k
    }

    fn poisson_by_rejection(&mut self, mean: f64) -> u64 {
        let b = 0.931 + 2.53 * sqrt(mean);
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let v_r = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.unit() - 0.5;
            let v = self.unit();
            let us = 0.5 - fabs(u);
            let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
            if us >= 0.07 && v <= v_r {
                return k as u64;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let ln_accept = log(v * inverse_alpha / (a / (us * us) + b));
            if ln_accept <= k * log(mean) - mean - lgamma(k + 1.0) {
                return k as u64;
            }
        }
    }

    fn binomial_by_inversion(&mut self, n: u64, p: f64) -> u64 {
        let odds = p / (1.0 - p);
        let mut left = self.unit();
        let mut probability = exp(n as f64 * log1p(-p));
        let mut k = 0_u64;
        while left > probability && probability > 0.0 && k < n {
            left -= probability;
            k += 1;
            probability *= odds * (n - k + 1) as f64 / k as f64;
        }
        k
    }

    fn binomial_by_rejection(&mut self, n: u64, p: f64) -> u64 {
        let all = n as f64;
        let spq = sqrt(all * p * (1.0 - p));
        let b = 1.15 + 2.53 * spq;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let c = all * p + 0.5;
        let v_r = 0.92 - 4.2 / b;
        let odds = p / (1.0 - p);
        let alpha = (2.83 + 5.1 / b) * spq;
        let m = ((all + 1.0) * p).floor();
        loop {
            let u = self.unit() - 0.5;
            let v = self.unit();
            let us = 0.5 - fabs(u);
            let k = ((2.0 * a / us + b) * u + c).floor();
            if us >= 0.07 && v <= v_r {
                return k as u64;
            }
            if k < 0.0 || k > all {
                continue;
            }
            let ln_accept = log(v * alpha / (a / (us * us) + b));
            // ln of the probability of k over that of the mode m.
            let bound = (m + 0.5) * log((m + 1.0) / (odds * (all - m + 1.0)))
                + (all + 1.0) * log((all - m + 1.0) / (all - k + 1.0))
                + (k + 0.5) * log(odds * (all - k + 1.0) / (k + 1.0))
                + stirling(m)
                + stirling(all - m)
                - stirling(k)
                - stirling(all - k);
            if ln_accept <= bound {
                return k as u64;
            }
        }
    }
}

/// ln k! − ((k + ½) ln(k + 1) − (k + 1) + ½ ln 2π): what Stirling's formula for (k + 1) leaves.
fn stirling(k: f64) -> f64 {
    if k < 10.0 {
        const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
        return lgamma(k + 1.0) - ((k + 0.5) * log(k + 1.0) - (k + 1.0) + HALF_LN_TAU);
    }
    let square = (k + 1.0) * (k + 1.0);
    (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)
}
