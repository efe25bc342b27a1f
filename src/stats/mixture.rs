//! Mixtures of e-processes, over alternatives and over later starts, in log space.
//!
//! A process that only starts at the beginning lets old good evidence drown new harm. So half of the
//! prior mass is held back and started bit by bit. All masses are fixed beforehand and sum to 1, so the
//! mixture with the mass that is not started yet is itself an e-process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::special::{ln, ln_add_exp, ln_add_exp_to_all, ln_sum_exp};

/// Time between two later starts.
const BETWEEN_STARTS: Duration = Duration::from_secs(60);

/// Σ over alternatives of (prior mass · evidence), each kept as a logarithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    ln_mass: Vec<f64>,
}

impl Mixture {
    /// `mass` in (0, 1], spread evenly over `alternatives`.
    pub fn new(alternatives: usize, mass: f64) -> Mixture {
        Mixture { ln_mass: vec![ln(mass / alternatives as f64); alternatives] }
    }

    /// Starts more prior mass, evenly. Nothing happens for a mass of 0.
    pub fn start(&mut self, mass: f64) {
        if mass > 0.0 {
            let ln_share = ln(mass / self.ln_mass.len() as f64);
            ln_add_exp_to_all(&mut self.ln_mass, ln_share);
        }
    }

    /// Multiplies each alternative by e^increment.
    pub fn multiply(&mut self, increments: &[f64]) {
        for (ln_mass, increment) in self.ln_mass.iter_mut().zip(increments) {
            *ln_mass += increment;
        }
    }

    /// ln of the mixture together with `unspent` mass.
    pub fn ln_e(&self, unspent: f64) -> f64 {
        let started = ln_sum_exp(&self.ln_mass);
        if unspent > 0.0 { ln_add_exp(started, ln(unspent)) } else { started }
    }

    /// The largest of its masses: with `unspent` = 0 at most [`Mixture::ln_e`], and by at most the logarithm
    /// of the number of alternatives, at a fraction of its cost.
    pub fn ln_largest(&self) -> f64 {
        // Not f64::max, which takes care of what is no number: there is none, and this is one instruction.
        let higher = |a: f64, b: f64| if a > b { a } else { b };
        let (pairs, rest) = self.ln_mass.as_chunks::<2>();
        let two = pairs.iter().fold([f64::NEG_INFINITY; 2], |largest, pair| {
            [higher(pair[0], largest[0]), higher(pair[1], largest[1])]
        });
        rest.iter().copied().chain(two).fold(f64::NEG_INFINITY, higher)
    }

    /// ln(mass · evidence) of each alternative.
    pub fn ln_masses(&self) -> &[f64] {
        &self.ln_mass
    }
}

/// The prior over starts, by the time of the windows that were tested: ½ at the beginning; ¼ evenly after every
/// 60 s of the time that the tests are expected to take, and ¼ evenly after every 60 s of the longest. So what
/// begins within the expected time is found nearly as soon under a policy that may wait for hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    early: u64,
    later: u64,
    spent: u64,
    tested: Duration,
}

impl Starts {
    /// For tests that take about `expected`, and at most `longest`; if they last longer, no further start is
    /// added.
    pub fn new(expected: Duration, longest: Duration) -> Starts {
        let starts = |time: Duration| {
            u64::try_from(time.as_millis() / BETWEEN_STARTS.as_millis()).unwrap_or(u64::MAX).max(1)
        };
        let later = starts(longest);
        Starts { early: starts(expected).min(later), later, spent: 0, tested: Duration::ZERO }
    }

    /// The mass that a process has from the beginning.
    pub fn initial(&self) -> f64 {
        0.5
    }

    /// Tests a window: gives the mass that starts with it.
    pub fn test(&mut self, window: Duration) -> f64 {
        let reached = self.tested.as_millis() / BETWEEN_STARTS.as_millis();
        let reached = u64::try_from(reached).unwrap_or(u64::MAX).min(self.later);
        let due = self.begun(reached) - self.begun(self.spent);
        self.spent = reached;
        self.tested = self.tested.saturating_add(window);
        due
    }

    /// The mass of so many later starts.
    fn begun(&self, starts: u64) -> f64 {
        0.25 * (starts.min(self.early) as f64 / self.early as f64 + starts as f64 / self.later as f64)
    }

    /// Whether no window was tested yet.
    pub fn is_fresh(&self) -> bool {
        self.tested.is_zero()
    }

    /// The mass that has not started yet.
    pub fn unspent(&self) -> f64 {
        0.5 - self.begun(self.spent)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stats::proportion::{Grid, HARM, Margin, NO_HARM, Pair};

    /// The five ticks of the published values.
    pub fn five_ticks() -> Vec<Pair> {
        let x = [3, 5, 4, 9, 7];
        let y = [48, 52, 50, 49, 150];
        let n = [500, 510, 495, 505, 1500];
        let m = [9500, 9480, 9520, 9490, 4500];
        (0..5).map(|i| Pair::new((x[i], n[i]), (y[i], m[i])).unwrap()).collect()
    }

    pub fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-7, "{actual}, expected {expected}");
    }

    #[test]
    fn the_cheap_bounds_are_bounds() {
        let mut mixture = Mixture::new(HARM.len(), 0.5);
        for pair in five_ticks() {
            mixture.multiply(&HARM.increments(&pair, Margin { ratio: 1.1, difference: 5e-4 }, 1.0));
            assert!(mixture.ln_largest() <= mixture.ln_e(0.0));
            assert!(mixture.ln_largest() + ln(9.0) >= mixture.ln_e(0.0));
        }
    }

    #[test]
    fn harm_without_margin_has_the_published_values() {
        let grid = Grid::new([1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0]);
        let mut mixture = Mixture::new(grid.len(), 1.0);
        let expected = [-0.66294517, -0.21360696, -0.01626809, 2.55165599, -4.71119869];
        for (pair, expected) in five_ticks().iter().zip(expected) {
            mixture.multiply(&grid.increments(pair, Margin { ratio: 1.0, difference: 0.0 }, 1.0));
            close(mixture.ln_e(0.0), expected);
        }
    }

    #[test]
    fn tempered_harm_with_margin_has_the_published_values() {
        let mut mixture = Mixture::new(HARM.len(), 1.0);
        let expected = [-0.39797189, -0.33415814, -0.36607556, 0.56288982, -3.39308124];
        for (pair, expected) in five_ticks().iter().zip(expected) {
            mixture.multiply(&HARM.increments(pair, Margin { ratio: 1.1, difference: 5e-4 }, 0.5));
            close(mixture.ln_e(0.0), expected);
        }
    }

    #[test]
    fn no_harm_has_the_published_values() {
        let mut mixture = Mixture::new(NO_HARM.len(), 1.0);
        let expected = [-0.09907494, -0.60320495, -0.76528342, -1.59822568, 18.04834456];
        for (pair, expected) in five_ticks().iter().zip(expected) {
            mixture.multiply(&NO_HARM.increments(pair, Margin { ratio: 1.5, difference: 0.0 }, 1.0));
            close(mixture.ln_e(0.0), expected);
        }
    }

    #[test]
    fn the_prior_mass_is_one_at_any_time_and_follows_tested_time() {
        for expected in [0, 180, 600, 9_000] {
            let mut starts = Starts::new(Duration::from_secs(expected), Duration::from_secs(600));
            let mut mixture = Mixture::new(4, starts.initial());
            let mut started = starts.initial();
            for second in 0..700_u64 {
                assert!((started + starts.unspent() - 1.0).abs() < 1e-12);
                assert!(mixture.ln_e(starts.unspent()).abs() < 1e-12);
                let due = starts.test(Duration::from_secs(1));
                assert_eq!(due > 0.0, second > 0 && second % 60 == 0 && second <= 600, "second {second}");
                mixture.start(due);
                started += due;
            }
            assert_eq!(starts.unspent(), 0.0);
        }
    }

    #[test]
    fn what_begins_within_the_expected_time_has_more_of_the_mass() {
        let minute = Duration::from_secs(60);
        let mut starts = Starts::new(3 * minute, 10 * minute);
        let due: Vec<f64> = (0..11).map(|_| starts.test(minute)).collect();
        let (early, late) = (0.25 / 3.0 + 0.025, 0.025);
        for (minute, due) in due.iter().enumerate() {
            let expected = [0.0, early, early, early].get(minute).copied().unwrap_or(late);
            assert!((due - expected).abs() < 1e-15, "{minute}: {due}");
        }
    }

    #[test]
    fn a_long_window_starts_what_became_due_meanwhile() {
        let mut starts = Starts::new(Duration::from_secs(600), Duration::from_secs(600));
        assert_eq!(starts.test(Duration::from_secs(185)), 0.0);
        assert!((starts.test(Duration::from_secs(1)) - 0.15).abs() < 1e-12);
        assert_eq!(starts.test(Duration::from_secs(1)), 0.0);
    }

    #[test]
    fn late_harm_is_found_in_spite_of_long_good_evidence() {
        // At 1%, 100 canary requests a window: an hour better than the baseline, then ×4.
        let good = Pair::new((3, 500), (95, 9500)).unwrap();
        let bad = Pair::new((20, 500), (95, 9500)).unwrap();
        let margin = Margin { ratio: 1.1, difference: 5e-4 };
        let mut starts = Starts::new(Duration::from_secs(3600), Duration::from_secs(7200));
        let mut mixture = Mixture::new(HARM.len(), starts.initial());
        let mut once = Mixture::new(HARM.len(), 1.0);
        for i in 0..400 {
            let increments = HARM.increments(if i < 360 { &good } else { &bad }, margin, 1.0);
            mixture.start(starts.test(Duration::from_secs(10)));
            mixture.multiply(&increments);
            once.multiply(&increments);
        }
        assert!(mixture.ln_e(starts.unspent()) > 100.0);
        assert!(once.ln_e(0.0) < mixture.ln_e(starts.unspent()) - 50.0);
    }
}
