//! Random numbers from a seed, and exact draws from the distributions that traffic is made of.

mod counts;

use libm::{cos, exp, log, pow, sqrt};

/// xoshiro256++ (Blackman & Vigna, *Scrambled linear pseudorandom number generators*, 2021).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// Any seed is good, also neighbouring ones.
    pub fn new(seed: u64) -> Random {
        let mut expand = SplitMix(seed);
        Random { state: [expand.bits(), expand.bits(), expand.bits(), expand.bits()] }
    }

    /// The generator of the run `index` among those of `seed`.
    pub fn of_run(seed: u64, index: u64) -> Random {
        Random::new(SplitMix(seed).bits() ^ SplitMix(!index).bits())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// In (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Mean 0, standard deviation 1 (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        sqrt(-2.0 * log(self.unit())) * cos(std::f64::consts::TAU * self.unit())
    }

    /// A mean of 1, and log-normal with the standard deviation `sd` of its logarithm.
    pub fn factor(&mut self, sd: f64) -> f64 {
        exp(sd * self.normal() - 0.5 * sd * sd)
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * log(self.unit())
    }

    /// Gamma with this shape > 0 and scale 1 (Marsaglia & Tsang, *A simple method for generating gamma
    /// variables*, 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * pow(self.unit(), 1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            let v = v * v * v;
            if v > 0.0 && log(self.unit()) < 0.5 * x * x + d * (1.0 - v + log(v)) {
                return d * v;
            }
        }
    }

    /// Pareto with this least value and this tail index.
    pub fn pareto(&mut self, least: f64, tail: f64) -> f64 {
        least * pow(self.unit(), -1.0 / tail)
    }

    /// A whole number whose mean is `x` ≥ 0: `x` rounded up or down.
    pub fn round(&mut self, x: f64) -> u64 {
        let down = x.floor();
        down as u64 + u64::from(self.unit() < x - down)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), to make a state from a seed.
struct SplitMix(u64);

impl SplitMix {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        // The first values of the authors' program from the state 1, 2, 3, 4.
        let mut random = Random { state: [1, 2, 3, 4] };
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        assert_eq!(expected.map(|_| random.bits()), expected);
    }
}
