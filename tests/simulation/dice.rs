//! Randomness that comes from the seed alone, and stays the same over versions of any crate.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// In [low, high], both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.between(0, from.len() as u64 - 1) as usize]
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Knuth's product below a mean of 30, the normal approximation above.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let limit = (-mean).exp();
        let (mut count, mut product) = (0, self.uniform());
        while product > limit {
            count += 1;
            product *= self.uniform();
        }
        count
    }

    /// Small cases one by one, rare events by Poisson, the rest by the normal approximation.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        let p = p.clamp(0.0, 1.0);
        let mean = n as f64 * p;
        if n == 0 || p == 0.0 {
            0
        } else if p > 0.5 {
            n - self.binomial(n, 1.0 - p)
        } else if n <= 16 {
            (0..n).filter(|_| self.chance(p)).count() as u64
        } else if mean < 30.0 {
            self.poisson(mean).min(n)
        } else {
            (mean + (mean * (1.0 - p)).sqrt() * self.normal()).round().clamp(0.0, n as f64) as u64
        }
    }
}

#[test]
fn draws_have_their_means() {
    let mut dice = Dice::new(1);
    for mean in [0.3, 5.0, 29.0, 31.0, 4000.0] {
        let sum: u64 = (0..20_000).map(|_| dice.poisson(mean)).sum();
        let error = (sum as f64 / 20_000.0 - mean) / (mean / 20_000.0).sqrt();
        assert!(error.abs() < 5.0, "poisson({mean}) is {error} standard errors off");
    }
    for (n, p) in [(10, 0.3), (1000, 0.001), (1000, 0.2), (1000, 0.9), (50_000, 0.05)] {
        let sum: u64 = (0..20_000).map(|_| dice.binomial(n, p)).sum();
        let mean = n as f64 * p;
        let error = (sum as f64 / 20_000.0 - mean) / (mean * (1.0 - p) / 20_000.0).sqrt();
        assert!(error.abs() < 5.0, "binomial({n}, {p}) is {error} standard errors off");
    }
}
