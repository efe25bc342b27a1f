//! Evidence without its best stretch: what is proven should not hang on one incident.
//!
//! For each alternative, with a the ln of its mass and L what a window adds: b ← min(b + L, a as it was before the
//! stretch), which is the least that is left when any one stretch is taken out.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::special::{ln, ln_add_exp, ln_add_exp_to_all, ln_sum_exp};

/// The masses of a mixture's alternatives, each without the stretch that was best for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WithoutBest {
    stretch: Duration,
    ln_mass: Vec<f64>,
    /// The masses before each of the last windows, which together are a stretch long.
    before: VecDeque<Before>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Before {
    length: Duration,
    ln_mass: Vec<f64>,
}

impl WithoutBest {
    /// Of a mixture with these masses. A stretch has whole windows, and at least one.
    pub fn new(ln_masses: &[f64], stretch: Duration) -> WithoutBest {
        WithoutBest { stretch, ln_mass: ln_masses.to_vec(), before: VecDeque::new() }
    }

    /// Starts more prior mass, evenly. Nothing happens for a mass of 0.
    pub fn start(&mut self, mass: f64) {
        if mass > 0.0 {
            let ln_share = ln(mass / self.ln_mass.len() as f64);
            ln_add_exp_to_all(&mut self.ln_mass, ln_share);
            self.before.iter_mut().for_each(|before| ln_add_exp_to_all(&mut before.ln_mass, ln_share));
        }
    }

    /// A window begins; the alternatives have the masses `ln_masses`.
    pub fn open(&mut self, ln_masses: &[f64], length: Duration) {
        let mut covered: Duration = self.before.iter().map(|before| before.length).sum::<Duration>() + length;
        let mut dropped = None;
        while let Some(first) = self.before.front()
            && covered.saturating_sub(first.length) >= self.stretch
        {
            covered -= first.length;
            dropped = self.before.pop_front();
        }
        let mut ln_mass = dropped.map(|dropped| dropped.ln_mass).unwrap_or_default();
        ln_mass.clear();
        ln_mass.extend_from_slice(ln_masses);
        self.before.push_back(Before { length, ln_mass });
    }

    /// The window that was begun has ended; now they have these.
    pub fn close(&mut self, ln_masses: &[f64]) {
        let (Some(first), Some(last)) = (self.before.front(), self.before.back()) else { return };
        let windows = first.ln_mass.iter().zip(&last.ln_mass).zip(ln_masses);
        for (without, ((stretch, before), after)) in self.ln_mass.iter_mut().zip(windows) {
            let now = *without + (after - before);
            *without = if now < *stretch { now } else { *stretch };
        }
    }

    /// ln of the mixture together with `unspent` mass.
    pub fn ln_e(&self, unspent: f64) -> f64 {
        let started = ln_sum_exp(&self.ln_mass);
        if unspent > 0.0 { ln_add_exp(started, ln(unspent)) } else { started }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    /// One alternative, whose evidence is a sum: the least that is left without `stretch` windows in a row.
    fn left(increments: &[f64], stretch: u32) -> f64 {
        let mut without = WithoutBest::new(&[0.0], WINDOW * stretch);
        let mut sum = 0.0;
        for increment in increments {
            without.open(&[sum], WINDOW);
            sum += increment;
            without.close(&[sum]);
        }
        without.ln_e(0.0)
    }

    #[test]
    fn the_best_stretch_is_left_out() {
        let increments = [1.0, 2.0, -1.0, 5.0, 4.0, 0.5, -2.0, 3.0];
        for stretch in 1..4 {
            let sum: f64 = increments.iter().sum();
            let best = increments
                .windows(stretch as usize)
                .map(|part| part.iter().sum::<f64>())
                .fold(f64::NEG_INFINITY, f64::max);
            assert!((left(&increments, stretch) - (sum - best)).abs() < 1e-12, "{stretch}");
        }
        // Less than a stretch: nothing is left of it.
        assert_eq!(left(&[7.0, 8.0], 6), 0.0);
    }

    #[test]
    fn what_starts_within_the_stretch_is_not_lost() {
        let mut without = WithoutBest::new(&[ln(0.5)], WINDOW);
        without.open(&[ln(0.5)], WINDOW);
        without.close(&[ln(0.5) + 9.0]);
        without.start(0.25);
        assert!((without.ln_e(0.25)).abs() < 1e-12, "{}", without.ln_e(0.25));
    }
}
