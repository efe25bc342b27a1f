//! The burst gate: a bet whose stake a single window can only multiply by a bounded share, so that it
//! needs no dispersion. It is linear in the window's share of the bad requests (Waudby-Smith & Ramdas,
//! arXiv 2010.09686): Π(1 + λ(x/(n θ0) − 1)), θ0 = κ r0/(1 + κ r0), averaged over λ.

use serde::{Deserialize, Serialize};

use super::proportion::Pair;
use super::special::{exp, ln, ln_add_exp};

/// The stakes λ.
pub const STAKES: [f64; 7] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95];

/// Beyond this the masses are rescaled.
const LARGEST: f64 = 1e100;
/// A common scale below this cannot be undone in plain numbers.
const LEAST_LN_SCALE: f64 = -400.0;

/// The running gate. Each factor is a plain number in [1 − λ, 1 + λ/θ0], so the masses are kept as plain
/// numbers with one common scale and need no logarithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    mass: [f64; STAKES.len()],
    ln_scale: f64,
}

/// What a window found, and at most expected. All routes of a window are one bet: Σx − Σn θ0 has a mean of
/// at most 0, given the sums n, and x ≥ 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    bad: f64,
    expected: f64,
}

impl Found {
    /// Adds a pair, against p_canary ≤ `ratio`·p_base.
    pub fn add(&mut self, pair: &Pair, ratio: f64) {
        let kr = pair.kappa() * ratio;
        self.bad += pair.x;
        self.expected += pair.bad() * (kr / (1.0 + kr));
    }
}

impl Gate {
    /// `mass` in (0, 1], spread evenly over the stakes.
    pub fn new(mass: f64) -> Gate {
        Gate { mass: [mass / STAKES.len() as f64; STAKES.len()], ln_scale: 0.0 }
    }

    /// Starts more prior mass, evenly.
    pub fn start(&mut self, mass: f64) {
        if mass > 0.0 {
            if self.ln_scale < LEAST_LN_SCALE {
                // Beside new mass the old one is nothing.
                self.mass = [0.0; STAKES.len()];
                self.ln_scale = 0.0;
            }
            let share = mass / STAKES.len() as f64 * exp(-self.ln_scale);
            self.mass.iter_mut().for_each(|mass| *mass += share);
        }
    }

    /// Takes in a window. One without bad requests says nothing.
    pub fn take(&mut self, window: Found) {
        if window.expected == 0.0 {
            return;
        }
        let excess = window.bad / window.expected - 1.0;
        let mut largest: f64 = 0.0;
        for (mass, stake) in self.mass.iter_mut().zip(STAKES) {
            *mass *= 1.0 + stake * excess;
            // No mass is ever less than 0, nor what is no number.
            largest = if *mass > largest { *mass } else { largest };
        }
        if !(1.0 / LARGEST..=LARGEST).contains(&largest) && largest > 0.0 {
            self.mass.iter_mut().for_each(|mass| *mass /= largest);
            self.ln_scale += ln(largest);
        }
    }

    /// ln of the mixture together with `unspent` mass.
    pub fn ln_e(&self, unspent: f64) -> f64 {
        let started = ln(self.mass.iter().sum()) + self.ln_scale;
        if unspent > 0.0 { ln_add_exp(started, ln(unspent)) } else { started }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::mixture::tests::{close, five_ticks};

    fn take(gate: &mut Gate, pair: &Pair, ratio: f64) {
        let mut window = Found::default();
        window.add(pair, ratio);
        gate.take(window);
    }

    #[test]
    fn the_gate_has_the_published_values() {
        for (ratio, expected) in [
            (1.0, [0.05921978, 0.29146977, 0.48527983, 1.17516887, 0.47705853]),
            (1.25, [-0.0164027, 0.10891981, 0.18662596, 0.65460267, 0.08278824]),
        ] {
            let mut gate = Gate::new(1.0);
            for (pair, expected) in five_ticks().iter().zip(expected) {
                take(&mut gate, pair, ratio);
                close(gate.ln_e(0.0), expected);
            }
        }
    }

    #[test]
    fn one_huge_burst_does_not_open_the_gate() {
        let mut gate = Gate::new(1.0);
        take(&mut gate, &Pair::new((500, 500), (1, 500)).unwrap(), 1.1);
        assert!(gate.ln_e(0.0) < ln(5.0));
    }

    #[test]
    fn masses_neither_overflow_nor_vanish() {
        let mut gate = Gate::new(0.5);
        let worse = Pair::new((500, 500), (0, 9_500)).unwrap();
        for _ in 0..1_000 {
            take(&mut gate, &worse, 1.1);
        }
        let high = gate.ln_e(0.0);
        assert!(high.is_finite() && high > 1_000.0, "{high}");
        let better = Pair::new((0, 500), (500, 9_500)).unwrap();
        for _ in 0..100_000 {
            take(&mut gate, &better, 1.1);
        }
        gate.start(0.25);
        assert!(gate.ln_e(0.25).is_finite(), "{}", gate.ln_e(0.25));
    }
}
