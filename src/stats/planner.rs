//! How much longer a test will probably take.

use std::time::Duration;

use super::special::{exp, ln};

/// Longer than this nobody waits; it is told as not known.
const LONGEST_SECONDS: f64 = 30.0 * 86_400.0;

/// The further time until Σ e^(ln w_g + A_g) reaches e^`ln_bound`, if the evidence A_g, gathered in
/// `elapsed`, goes on growing at its average rate. `None` if it will not within 30 days, or if nothing
/// was gathered.
///
/// The rate A_g/t is γ_g = \[λ_c ln g + (λ_c + λ_b) ln((1 + κr)/(1 + κrg)) − δν_c(g − 1)/(1 + κrg)\]·η
/// with the rates that were seen, since L is linear in the counts.
pub fn time_to_bound(ln_masses: &[f64], ln_bound: f64, elapsed: Duration) -> Option<Duration> {
    let ln_weight = -ln(ln_masses.len() as f64);
    let evidence = |ln_mass: &f64| ln_mass - ln_weight;
    // Solve f(s) = ln Σ w e^(A s) − ln_bound = 0 for the multiple s of the elapsed time. f is convex, so
    // Newton's method from a point where f ≥ 0 comes down to the root without passing it.
    let mut s = ln_masses
        .iter()
        .map(evidence)
        .filter(|a| *a > 0.0)
        .map(|a| (ln_bound - ln_weight) / a)
        .fold(f64::INFINITY, f64::min);
    if elapsed.is_zero() || !s.is_finite() {
        return None;
    }
    for _ in 0..30 {
        let top = ln_masses.iter().map(|m| evidence(m) * s).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut slope) = (0.0, 0.0);
        for a in ln_masses.iter().map(evidence) {
            let term = exp(a * s - top);
            sum += term;
            slope += a * term;
        }
        let step = (top + ln(sum) + ln_weight - ln_bound) * sum / slope;
        if !step.is_finite() {
            return None;
        }
        s -= step;
        if s <= 1.0 || step.abs() < 1e-3 * s {
            break;
        }
    }
    let seconds = elapsed.as_secs_f64() * (s - 1.0).max(0.0);
    (seconds <= LONGEST_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::mixture::Mixture;
    use crate::stats::proportion::{Margin, NO_HARM, Pair};

    #[test]
    fn constant_windows_reach_the_bound_when_it_was_said() {
        let pair = Pair::new((5, 500), (95, 9500)).unwrap();
        let increments = NO_HARM.increments(&pair, Margin { ratio: 2.0, difference: 1e-3 }, 1.0 / 3.0);
        let mut mixture = Mixture::new(NO_HARM.len(), 1.0);
        let mut windows = 0_u32;
        let mut said = None;
        while mixture.ln_e(0.0) < ln(20.0) {
            mixture.multiply(&increments);
            windows += 1;
            let elapsed = Duration::from_secs(10) * windows;
            let remaining = time_to_bound(mixture.ln_masses(), ln(20.0), elapsed).unwrap();
            let end = (elapsed + remaining).as_secs_f64();
            if mixture.ln_e(0.0) < ln(20.0) {
                assert!(said.is_none_or(|said: f64| (said - end).abs() < 2.0), "{said:?} {end}");
                said = Some(end);
            } else {
                assert_eq!(remaining, Duration::ZERO);
            }
        }
        assert!((said.unwrap() - f64::from(windows) * 10.0).abs() <= 10.0);
    }

    #[test]
    fn evidence_that_shrinks_never_arrives() {
        let mut mixture = Mixture::new(3, 1.0);
        assert_eq!(time_to_bound(mixture.ln_masses(), 3.0, Duration::from_secs(10)), None);
        mixture.multiply(&[-1.0, -2.0, -0.5]);
        assert_eq!(time_to_bound(mixture.ln_masses(), 3.0, Duration::from_secs(10)), None);
        mixture.multiply(&[1.1, 0.0, 0.0]);
        assert!(time_to_bound(mixture.ln_masses(), 3.0, Duration::from_secs(10)).is_some());
        assert_eq!(time_to_bound(mixture.ln_masses(), 3.0, Duration::ZERO), None);
        assert_eq!(time_to_bound(mixture.ln_masses(), 3.0, Duration::from_secs(300_000)), None);
    }
}
