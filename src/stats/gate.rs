//! The burst gate: a bet whose stake a single window can only multiply by a bounded share, so that it
//! needs no dispersion. It is linear in the window's share of the bad requests (Waudby-Smith & Ramdas,
//! arXiv 2010.09686): Π(1 + λ(x/(n θ0) − 1)), θ0 = κ r0/(1 + κ r0), averaged over λ.

use super::proportion::Pair;
use super::special::ln;

/// The stakes λ.
pub const STAKES: [f64; 7] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95];

/// ln(1 + λ(x/(n θ0) − 1)) for every λ. A window without bad requests gives nothing.
pub fn increments(pair: &Pair, ratio: f64) -> [f64; 7] {
    let n = pair.bad();
    if n == 0.0 {
        return [0.0; 7];
    }
    let kr = pair.kappa() * ratio;
    let share = kr / (1.0 + kr);
    let excess = pair.x / (n * share) - 1.0;
    STAKES.map(|stake| ln(1.0 + stake * excess))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::mixture::Mixture;
    use crate::stats::mixture::tests::{close, five_ticks};

    #[test]
    fn the_gate_has_the_published_values() {
        for (ratio, expected) in [
            (1.0, [0.05921978, 0.29146977, 0.48527983, 1.17516887, 0.47705853]),
            (1.25, [-0.0164027, 0.10891981, 0.18662596, 0.65460267, 0.08278824]),
        ] {
            let mut gate = Mixture::new(STAKES.len(), 1.0);
            for (pair, expected) in five_ticks().iter().zip(expected) {
                gate.multiply(&increments(pair, ratio));
                close(gate.ln_e(0.0), expected);
            }
        }
    }

    #[test]
    fn one_huge_burst_does_not_open_the_gate() {
        let mut gate = Mixture::new(STAKES.len(), 1.0);
        gate.multiply(&increments(&Pair::new((500, 500), (1, 500)).unwrap(), 1.1));
        assert!(gate.ln_e(0.0) < ln(5.0));
    }
}
