//! A mixture of e-processes that also knows what it would be without its best block.
//!
//! One incident, however large, must not decide alone. For a component with the evidence a before a block, and
//! b without its best one, a block with the logarithm L leads to
//! ```text
//! b ← min(b + L, a)    a ← a + L
//! ```
//! Of several starts in one component b is at most a little too high (the sum of the least is no more than the
//! least of the sums); it is a further condition and no e-process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::special::{ln, ln_add_exp, ln_add_exp_to_all, ln_sum_exp};

/// Σ over alternatives of (prior mass · evidence), each kept as a logarithm: now, at the beginning of the
/// current block, and then without the best block of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestBlock {
    now: Vec<f64>,
    at_begin: Vec<f64>,
    without_best: Vec<f64>,
    /// How long the current block is.
    filled: Duration,
}

impl BestBlock {
    /// `mass` in (0, 1], spread evenly over `alternatives`.
    pub fn new(alternatives: usize, mass: f64) -> BestBlock {
        let masses = vec![ln(mass / alternatives as f64); alternatives];
        BestBlock {
            now: masses.clone(),
            at_begin: masses.clone(),
            without_best: masses,
            filled: Duration::ZERO,
        }
    }

    /// Starts more prior mass, evenly; a block ends before it. Nothing happens for a mass of 0.
    pub fn start(&mut self, mass: f64) {
        if mass > 0.0 && !self.now.is_empty() {
            self.end_block();
            let ln_share = ln(mass / self.now.len() as f64);
            ln_add_exp_to_all(&mut self.now, ln_share);
            ln_add_exp_to_all(&mut self.without_best, ln_share);
            self.at_begin.clone_from(&self.now);
        }
    }

    /// Multiplies each alternative by e^increment, of a window of this length; the block ends once it is at
    /// least `block` long.
    pub fn multiply(&mut self, increments: &[f64], length: Duration, block: Duration) {
        for (now, increment) in self.now.iter_mut().zip(increments) {
            *now += increment;
        }
        self.filled = self.filled.saturating_add(length);
        if self.filled >= block {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        for ((without, begin), now) in self.without_best.iter_mut().zip(&mut self.at_begin).zip(&self.now) {
            *without = least(*without, *begin, *now);
            *begin = *now;
        }
        self.filled = Duration::ZERO;
    }

    /// ln of the mixture together with `unspent` mass.
    pub fn ln_e(&self, unspent: f64) -> f64 {
        together(&self.now, unspent)
    }

    /// The same without the best block of each alternative, the current one among them.
    pub fn ln_e_without_best(&self, unspent: f64) -> f64 {
        let each = self.without_best.iter().zip(&self.at_begin).zip(&self.now);
        let least: Vec<f64> = each.map(|((without, begin), now)| least(*without, *begin, *now)).collect();
        together(&least, unspent)
    }

    /// At least [`BestBlock::ln_e`], cheaply.
    pub fn ln_e_at_most(&self) -> f64 {
        let largest = self.now.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        ln_add_exp(largest + ln(self.now.len().max(1) as f64), 0.0)
    }

    /// The alternative with the most evidence.
    pub fn leading(&self) -> Option<usize> {
        (0..self.now.len()).reduce(|best, i| if self.now[i] > self.now[best] { i } else { best })
    }
}

fn least(without: f64, begin: f64, now: f64) -> f64 {
    (without + (now - begin)).min(begin)
}

fn together(ln_masses: &[f64], unspent: f64) -> f64 {
    let started = ln_sum_exp(ln_masses);
    if unspent > 0.0 { ln_add_exp(started, ln(unspent)) } else { started }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn one_block_alone_leaves_no_evidence_and_two_leave_the_smaller() {
        let mut mixture = BestBlock::new(1, 1.0);
        mixture.multiply(&[7.0], TEN, TEN);
        assert!((mixture.ln_e(0.0) - 7.0).abs() < 1e-12);
        assert_eq!(mixture.ln_e_without_best(0.0), 0.0);
        mixture.multiply(&[3.0], TEN, TEN);
        mixture.multiply(&[-1.0], TEN, TEN);
        assert!((mixture.ln_e(0.0) - 9.0).abs() < 1e-12);
        assert!((mixture.ln_e_without_best(0.0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn windows_shorter_than_a_block_are_one_block() {
        let mut mixture = BestBlock::new(2, 0.5);
        for _ in 0..10 {
            mixture.multiply(&[1.0, 2.0], Duration::from_secs(1), TEN);
            assert!(mixture.ln_e_without_best(0.5).abs() < 1e-12);
        }
        mixture.multiply(&[1.0, 2.0], Duration::from_secs(1), TEN);
        assert!(mixture.ln_e_without_best(0.5) > 0.5);
        assert!(mixture.ln_e(0.5) <= mixture.ln_e_at_most());
        assert_eq!(mixture.leading(), Some(1));
    }

    #[test]
    fn started_mass_is_as_much_without_the_best_block() {
        let mut mixture = BestBlock::new(3, 0.5);
        mixture.multiply(&[5.0; 3], TEN, TEN);
        mixture.start(0.25);
        assert!((mixture.ln_e_without_best(0.25)).abs() < 1e-12);
        mixture.multiply(&[-50.0; 3], TEN, TEN);
        mixture.start(0.25);
        assert!(mixture.ln_e(0.0) >= ln(0.25) - 1e-12);
    }
}
