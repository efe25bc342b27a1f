//! A linear bet on the canary's share of the bad requests, block by block.
//!
//! ```text
//! θ0 = κ r0/(1 + κ r0)        f = x/((x + y + M δ0/r0)·θ0) − 1        E ← Σ_λ m_λ·(1 + λ f)
//! ```
//! with x bad in the canary and y bad of M in the baseline in a block, against p_canary ≤ r0·p_base + δ0. If bad
//! requests come in bursts of any size, alike in both arms, and no burst crosses a block's border, E has a mean of
//! at most 1: for exchangeable increments E\[u/(u + v) | u + v\] = θ0, and replacing a part of v by its mean only
//! lowers it, since u/(u + v) is convex in v. So no dispersion is needed (a bet in the manner of Waudby-Smith &
//! Ramdas, arXiv 2010.09686).

use serde::{Deserialize, Serialize};

use super::proportion::Margin;
use super::special::{exp, ln, ln_add_exp};

/// The stakes λ.
pub const STAKES: [f64; 8] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95];

/// Beyond this the masses are rescaled.
const LARGEST: f64 = 1e100;
/// New mass is scaled by at most e to this; less of it is as valid.
const MOST_LN_SCALED: f64 = 600.0;

/// What a block counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Bad requests of the canary (x).
    pub bad: f64,
    /// Bad requests of the baseline (y).
    pub base_bad: f64,
    /// All requests of the baseline (M).
    pub base_requests: f64,
    /// The canary's requests over the baseline's (κ).
    pub kappa: f64,
}

impl Counted {
    /// f against p_canary ≤ r0·p_base + δ0: at least −1; 0 where nothing could be expected.
    pub fn excess(&self, margin: Margin) -> f64 {
        let kr = self.kappa * margin.ratio;
        let bad = self.bad + self.base_bad + self.base_requests * margin.difference / margin.ratio;
        let expected = bad * (kr / (1.0 + kr));
        if expected > 0.0 { self.bad / expected - 1.0 } else { 0.0 }
    }
}

/// The running bet. Each factor is a plain number, so the masses are kept as plain numbers with one common scale
/// and need no logarithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "[f64; STAKES.len() + 1]", from = "[f64; STAKES.len() + 1]")]
pub struct LinearBet {
    mass: [f64; STAKES.len()],
    ln_scale: f64,
}

/// The stored form: the masses, then ln of their scale.
impl From<LinearBet> for [f64; STAKES.len() + 1] {
    fn from(bet: LinearBet) -> Self {
        std::array::from_fn(|i| bet.mass.get(i).copied().unwrap_or(bet.ln_scale))
    }
}

impl From<[f64; STAKES.len() + 1]> for LinearBet {
    fn from(stored: [f64; STAKES.len() + 1]) -> LinearBet {
        LinearBet { mass: std::array::from_fn(|i| stored[i]), ln_scale: stored[STAKES.len()] }
    }
}

impl LinearBet {
    /// `mass` in (0, 1], spread evenly over the stakes.
    pub fn new(mass: f64) -> LinearBet {
        LinearBet { mass: [mass / STAKES.len() as f64; STAKES.len()], ln_scale: 0.0 }
    }

    /// Starts more prior mass, evenly. Gives what each stake has more, in the scale of its masses.
    pub fn start(&mut self, mass: f64) -> f64 {
        if mass <= 0.0 {
            return 0.0;
        }
        let share = mass / STAKES.len() as f64 * exp((-self.ln_scale).min(MOST_LN_SCALED));
        self.mass.iter_mut().for_each(|mass| *mass += share);
        share
    }

    /// Takes in the factors 1 + λf of a block, by stake. Gives what the masses were divided by to keep them in
    /// bounds, nearly always 1.
    pub fn multiply(&mut self, factors: &[f64; STAKES.len()]) -> f64 {
        let mut largest: f64 = 0.0;
        for (mass, factor) in self.mass.iter_mut().zip(factors) {
            *mass *= factor;
            largest = if *mass > largest { *mass } else { largest };
        }
        if (1.0 / LARGEST..=LARGEST).contains(&largest) || largest <= 0.0 {
            return 1.0;
        }
        self.mass.iter_mut().for_each(|mass| *mass /= largest);
        self.ln_scale += ln(largest);
        largest
    }

    /// ln of the mixture together with `unspent` mass.
    pub fn ln_e(&self, unspent: f64) -> f64 {
        let started = ln(self.mass.iter().sum()) + self.ln_scale;
        if unspent > 0.0 { ln_add_exp(started, ln(unspent)) } else { started }
    }
}

/// 1 + λf by stake, from several strata whose factors multiply (each has a mean of at most 1, given its own
/// counts). A block that was `cut` short counts only against the canary's harm.
pub fn factors(excesses: impl Iterator<Item = f64>, cut: bool) -> [f64; STAKES.len()] {
    let mut all = [1.0; STAKES.len()];
    for excess in excesses {
        for (factor, stake) in all.iter_mut().zip(STAKES) {
            *factor *= 1.0 + stake * excess;
        }
    }
    if cut { all.map(|factor| factor.min(1.0)) } else { all }
}

/// Which start leads: of all prior masses that were started, by stake and time, the one with the most evidence.
/// All starts of a stake grow by the same factors, so an older one is only ever passed by a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaders {
    mass: [f64; STAKES.len()],
    bad: [u64; STAKES.len()],
    since: [i64; STAKES.len()],
}

impl Leaders {
    /// Of a bet that began with `mass` in its first block.
    pub fn new(mass: f64) -> Leaders {
        let share = mass / STAKES.len() as f64;
        Leaders { mass: [share; STAKES.len()], bad: [0; STAKES.len()], since: [i64::MIN; STAKES.len()] }
    }

    /// A block that begins at `from` is bet on by `share` more of each stake, then by these factors, and had so many
    /// bad requests of the canary; `scale` is what the bet's masses were divided by.
    pub fn take(&mut self, from: i64, share: f64, factors: &[f64; STAKES.len()], scale: f64, bad: u64) {
        for (i, factor) in factors.iter().enumerate() {
            if share > self.mass[i] {
                (self.mass[i], self.bad[i], self.since[i]) = (share, 0, from);
            }
            if self.since[i] == i64::MIN {
                self.since[i] = from;
            }
            self.mass[i] *= factor / scale;
            self.bad[i] = self.bad[i].saturating_add(bad);
        }
    }

    /// The canary's bad requests since the start that leads, and when it began.
    pub fn leading(&self) -> (u64, i64) {
        let best = (1..STAKES.len()).fold(0, |best, i| if self.mass[i] > self.mass[best] { i } else { best });
        (self.bad[best], self.since[best])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::mixture::tests::five_ticks;

    fn counted(at_least: f64) -> Vec<Counted> {
        let of = |pair: &crate::stats::proportion::Pair| Counted {
            bad: pair.x,
            base_bad: pair.y,
            base_requests: pair.base_requests,
            kappa: pair.kappa().max(at_least),
        };
        five_ticks().iter().map(of).collect()
    }

    #[test]
    fn the_bet_has_the_published_values() {
        let harm = Margin { ratio: 1.1, difference: 5e-4 };
        for (margin, at_least, expected) in [
            (harm, 0.0, [-0.002749256435, 0.127557410741, 0.216206411046, 0.689604021199, 0.146373000591]),
            (
                Margin { ratio: 1.0, difference: 0.0 },
                0.0,
                [0.052215662992, 0.260218912578, 0.437157441454, 1.086279128065, 0.43062780789],
            ),
            (
                harm,
                5.0 / 95.0,
                [-0.002749256435, 0.127557410741, 0.21160421253, 0.683540922682, 0.142505437883],
            ),
        ] {
            let mut bet = LinearBet::new(1.0);
            for (block, expected) in counted(at_least).iter().zip(expected) {
                bet.multiply(&factors([block.excess(margin)].into_iter(), false));
                assert!((bet.ln_e(0.0) - expected).abs() < 1e-12, "{}, expected {expected}", bet.ln_e(0.0));
            }
        }
    }

    /// Bursts of any sizes, each thrown into an arm by the arms' shares, and a baseline that may fail less than
    /// what is allowed: the expectation of every factor is at most 1.
    #[test]
    fn enumerated_over_exchangeable_bursts_the_expectation_is_at_most_one() {
        let sizes: [&[f64]; 6] =
            [&[1.0], &[1.0, 1.0, 1.0], &[30.0], &[1.0, 5.0, 30.0], &[2.0; 8], &[1.0, 1.0, 100.0, 7.0, 7.0]];
        let mut largest: f64 = 0.0;
        for bursts in sizes {
            for kappa in [0.01, 0.0526, 0.333, 1.0, 4.0] {
                for ratio in [1.0, 1.1, 1.5] {
                    for difference in [0.0, 0.002] {
                        let margin = Margin { ratio, difference };
                        let share = kappa * ratio / (1.0 + kappa * ratio);
                        let mut expectation = [0.0; STAKES.len()];
                        for thrown in 0..1_u32 << bursts.len() {
                            let (mut bad, mut base_bad, mut chance) = (0.0, 0.0, 1.0);
                            for (i, size) in bursts.iter().enumerate() {
                                let in_canary = thrown >> i & 1 == 1;
                                let (to, p) = match in_canary {
                                    true => (&mut bad, share),
                                    false => (&mut base_bad, 1.0 - share),
                                };
                                *to += size;
                                chance *= p;
                            }
                            let block = Counted { bad, base_bad, base_requests: 100.0, kappa };
                            let all = factors([block.excess(margin)].into_iter(), false);
                            expectation.iter_mut().zip(all).for_each(|(sum, factor)| *sum += chance * factor);
                        }
                        largest = expectation.into_iter().fold(largest, f64::max);
                    }
                }
            }
        }
        assert!(largest <= 1.0 + 1e-12 && largest > 1.0 - 1e-12, "{largest}");
    }

    /// What δ0 allows the canary beside the baseline's bursts is a part of the canary's own share: with the mean
    /// of the allowed ones in place of a draw the expectation only falls.
    #[test]
    fn enumerated_with_errors_that_the_floor_allows_the_expectation_is_at_most_one() {
        let poisson = |mean: f64, k: u32| -> f64 {
            exp(-mean + f64::from(k) * ln(mean) - (1..=k).map(|i| ln(f64::from(i))).sum::<f64>())
        };
        for kappa in [0.0526, 0.5] {
            let margin = Margin { ratio: 1.1, difference: 0.002 };
            let (base, requests) = (1.5, 1_000.0);
            let canary = kappa * (margin.ratio * base + margin.difference * requests);
            let mut expectation = 0.0;
            for x in 0..40 {
                for y in 0..40 {
                    let block =
                        Counted { bad: f64::from(x), base_bad: f64::from(y), base_requests: requests, kappa };
                    let all = factors([block.excess(margin)].into_iter(), false);
                    expectation += poisson(canary, x) * poisson(base, y) * all[7];
                }
            }
            assert!(expectation <= 1.0 + 1e-9, "{expectation}");
        }
    }

    #[test]
    fn a_block_that_was_cut_short_only_counts_for_the_canary() {
        assert_eq!(factors([3.0].into_iter(), true), [1.0; 8]);
        assert_eq!(factors([-0.5].into_iter(), true), factors([-0.5].into_iter(), false));
        assert_eq!(factors(std::iter::empty(), false), [1.0; 8]);
    }

    #[test]
    fn masses_neither_overflow_nor_vanish_and_the_leader_is_the_start_that_has_the_most() {
        let (mut bet, mut leaders) = (LinearBet::new(0.5), Leaders::new(0.5));
        let mut take = |from: i64, mass: f64, excess: f64, bad: u64| {
            let share = bet.start(mass);
            let all = factors([excess].into_iter(), false);
            let scale = bet.multiply(&all);
            leaders.take(from, share, &all, scale, bad);
            (bet.ln_e(0.0), leaders.leading())
        };
        for block in 0..2_000 {
            take(block, 0.0, -0.5, 1);
        }
        let (_, (bad, since)) = take(2_000, 0.01, 4.0, 7);
        assert_eq!((bad, since), (7, 2_000));
        let mut last = 0.0;
        for block in 2_001..4_000_i64 {
            let (ln_e, led) = take(block, 0.0, 15.0, 3);
            assert_eq!(led, (7 + 3 * (block - 2_000) as u64, 2_000));
            last = ln_e;
        }
        assert!(last.is_finite() && last > 1_000.0, "{last}");
    }
}
