//! How much more counts vary than independent requests would: φ, from history.
//!
//! Over blocks of B windows, φ_B is the sum of squared deviations of the block sums over the sum of their
//! variances under independence; φ is the largest over B, at least 1. Bursts that last for several
//! windows show in the longer blocks.

/// Windows in a block.
const BLOCKS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// A block length counts if so many blocks are there.
const FEWEST: usize = 8;
/// Below so many bad requests in all nothing can be told.
const FEWEST_BAD: u64 = 20;

/// Bad and all requests of one arm in one window.
pub type Tally = (u64, u64);

/// φ of a pseudo-canary (some of the baseline's pods) against the others: (its tally, the others') by
/// window. Given the sum n of both, x is binomial with θ̂ = κr̂/(1 + κr̂), where r̂ is the ratio over the
/// whole time, which takes out a lasting difference of the pods. `None` with too little to tell.
pub fn of_pair(windows: &[(Tally, Tally)]) -> Option<f64> {
    let used: Vec<&(Tally, Tally)> = windows.iter().filter(|((_, n), (_, m))| *n > 0 && *m > 0).collect();
    let sum = |of: &dyn Fn(&(Tally, Tally)) -> u64| -> u64 { used.iter().map(|w| of(w)).sum() };
    let (x, y) = (sum(&|w| w.0.0), sum(&|w| w.1.0));
    if x + y < FEWEST_BAD || x == 0 || y == 0 {
        return None;
    }
    let requests = (sum(&|w| w.0.1) as f64, sum(&|w| w.1.1) as f64);
    let ratio = (x as f64 / requests.0) / (y as f64 / requests.1);
    let terms: Vec<(f64, f64)> = used
        .iter()
        .map(|((x, n), (y, m))| {
            let kr = *n as f64 / *m as f64 * ratio;
            let share = kr / (1.0 + kr);
            let bad = (x + y) as f64;
            (*x as f64 - bad * share, bad * share * (1.0 - share))
        })
        .collect();
    largest(|length| {
        let blocks: Vec<(f64, f64)> = terms.chunks_exact(length).map(total).collect();
        let squares: f64 = blocks.iter().map(|(deviation, _)| deviation * deviation).sum();
        let variance: f64 = blocks.iter().map(|(_, variance)| variance).sum();
        (blocks.len() >= FEWEST && variance > 0.0).then(|| squares / variance)
    })
}

/// φ of one arm over time, from differences of successive blocks, so that drift cancels. It is an upper
/// estimate: shocks that hit both arms alike, and would cancel between them, are in it. `None` with too
/// little to tell.
pub fn over_time(windows: &[Tally]) -> Option<f64> {
    let used: Vec<Tally> = windows.iter().filter(|(_, n)| *n > 0).copied().collect();
    let bad: u64 = used.iter().map(|(x, _)| x).sum();
    if bad < FEWEST_BAD {
        return None;
    }
    largest(|length| {
        let blocks: Vec<(f64, f64)> = used
            .chunks_exact(length)
            .map(|block| total(&block.iter().map(|(x, n)| (*x as f64, *n as f64)).collect::<Vec<_>>()))
            .collect();
        let (mut squares, mut variance, mut pairs) = (0.0, 0.0, 0);
        for pair in blocks.windows(2) {
            let ((x, n), (y, m)) = (pair[0], pair[1]);
            let share = (x + y) / (n + m);
            // x − y·n/m has no mean where the shares are equal, and this variance.
            let difference = x - y * n / m;
            squares += difference * difference;
            variance += share * (1.0 - share) * (n + n * n / m);
            pairs += 1;
        }
        (pairs >= FEWEST && variance > 0.0).then(|| squares / variance)
    })
}

fn largest(of: impl Fn(usize) -> Option<f64>) -> Option<f64> {
    BLOCKS.iter().filter_map(|length| of(*length)).reduce(f64::max).map(|phi| phi.max(1.0))
}

fn total(block: &[(f64, f64)]) -> (f64, f64) {
    block.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator; what matters is that the counts are binomial.
    struct Random(u64);

    impl Random {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// Successes among `n`, each of `size` requests that fail together.
        fn bad(&mut self, n: u64, p: f64, size: u64) -> u64 {
            (0..n / size).filter(|_| self.unit() < p).count() as u64 * size
        }
    }

    fn pairs(size: u64, seed: u64) -> Vec<(Tally, Tally)> {
        let mut random = Random(seed);
        (0..720)
            .map(|_| ((random.bad(400, 0.05, size), 400), (random.bad(2_000, 0.05, size), 2_000)))
            .collect()
    }

    #[test]
    fn independent_requests_have_no_dispersion_and_bursts_have_their_size() {
        let independent = of_pair(&pairs(1, 1)).unwrap();
        assert!((1.0..1.7).contains(&independent), "{independent}");
        let bursts = of_pair(&pairs(10, 2)).unwrap();
        assert!((8.0..16.0).contains(&bursts), "{bursts}");
        let alone: Vec<Tally> = pairs(1, 3).iter().map(|(_, arm)| *arm).collect();
        let independent = over_time(&alone).unwrap();
        assert!((1.0..1.8).contains(&independent), "{independent}");
        let alone: Vec<Tally> = pairs(10, 4).iter().map(|(_, arm)| *arm).collect();
        let bursts = over_time(&alone).unwrap();
        assert!((7.0..18.0).contains(&bursts), "{bursts}");
    }

    #[test]
    fn a_slow_drift_is_not_dispersion() {
        let mut random = Random(5);
        let drifting: Vec<Tally> =
            (0..720).map(|i| (random.bad(2_000, 0.02 + 0.01 * f64::from(i) / 720.0, 1), 2_000)).collect();
        let phi = over_time(&drifting).unwrap();
        assert!(phi < 2.0, "{phi}");
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(of_pair(&[]), None);
        assert_eq!(over_time(&[(0, 100); 500]), None);
        assert_eq!(over_time(&[(30, 100); 3]), None);
        assert_eq!(of_pair(&[((0, 10), (5, 100)); 500]), None);
        // Windows without requests are left out.
        assert_eq!(over_time(&[(0, 0); 500]), None);
    }
}
