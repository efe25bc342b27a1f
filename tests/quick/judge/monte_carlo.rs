//! Seeded traffic through the judge: the promises of the design, with wide bounds.

use serin::core::judge::{Advice, Assessment};
use serin::core::metric::{NoData, Usage};

use super::kit::{Bench, LE, Random, errors, latency, log_normal, policy, proportion};

/// A canary at 5% of `requests` a window of 10 s.
#[derive(Clone, Copy)]
struct World {
    requests: u64,
    base: f64,
    ratio: f64,
    slower: f64,
    tail: f64,
    /// Errors come in bursts of this size.
    burst: u64,
    dispersion: f64,
    ticks: u64,
}

const WORLD: World = World {
    requests: 20_000,
    base: 0.004,
    ratio: 1.0,
    slower: 1.0,
    tail: 0.0,
    burst: 1,
    dispersion: 1.0,
    ticks: 180,
};

impl World {
    /// The first assessment that does not hold (or, with `to_the_end`, that rolls back) of one rollout
    /// with errors and latency, with a minute before the step and a minute of warm-up.
    fn run(&self, seed: u64, to_the_end: bool) -> Option<Assessment> {
        let mut random = Random(seed);
        let mut policy = policy(vec![errors(), latency()]);
        policy.analysis.dispersion = self.dispersion;
        let mut bench = Bench::new(policy);
        let (healthy, canary_shares) = (log_normal(1.0, 0.0), log_normal(self.slower, self.tail));
        let canary_requests = self.requests / 20;
        for tick in 0..self.ticks + 12 {
            let baseline_requests = if tick < 6 { self.requests } else { self.requests - canary_requests };
            // The base rate drifts: it cancels.
            let base = self.base * (1.0 + 0.5 * libm::sin(tick as f64 / 10.0));
            let mut bad = |n: u64, p: f64| random.binomial(n / self.burst, p) * self.burst;
            let canary_bad = bad(canary_requests, base * self.ratio);
            let baseline_bad = bad(baseline_requests, base);
            let baseline_latency = random.histogram(baseline_requests, &LE, &healthy);
            let baseline = proportion(baseline_bad, baseline_requests);
            if tick < 6 {
                bench.usage = Usage::Outside;
                let none = || Err(NoData::Empty);
                bench.tick(vec![(none(), baseline), (none(), baseline_latency)]);
                continue;
            }
            bench.usage = if tick < 12 { Usage::WarmUp } else { Usage::Used };
            let canary_latency = random.histogram(canary_requests, &LE, &canary_shares);
            let canary = proportion(canary_bad, canary_requests);
            let assessed = bench.tick(vec![(canary, baseline), (canary_latency, baseline_latency)]);
            let over = if to_the_end {
                assessed.advice == Advice::RollBack
            } else {
                assessed.advice != Advice::Hold
            };
            if over {
                return Some(assessed);
            }
        }
        None
    }

    /// How many of `runs` roll back, and the median of their seconds after the warm-up.
    fn rolled_back(&self, runs: u64) -> (u64, f64) {
        let mut seconds: Vec<f64> = (0..runs)
            .filter_map(|seed| self.run(seed, true))
            .map(|assessed| (assessed.seq as f64 - 12.0) * 10.0)
            .collect();
        seconds.sort_by(f64::total_cmp);
        (seconds.len() as u64, seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN))
    }

    fn advanced(&self, runs: u64) -> u64 {
        let advances = |seed: &u64| self.run(*seed, false).is_some_and(|a| a.advice == Advice::Advance);
        (0..runs).filter(advances).count() as u64
    }
}

#[test]
fn harmless_releases_are_hardly_ever_rolled_back() {
    // α = 1% over half an hour of looks every 10 s, on two metrics: 1.5 of 150 at the very most.
    assert!(WORLD.rolled_back(150).0 <= 2);
    let bursts = World { burst: 3, dispersion: 3.0, ..WORLD };
    assert!(bursts.rolled_back(100).0 <= 2);
}

#[test]
fn three_times_the_errors_are_found_within_minutes() {
    let (found, median) = World { ratio: 3.0, ..WORLD }.rolled_back(20);
    assert_eq!(found, 20);
    // So fast a drift of so many errors looks like bursts, so the blocks are long.
    assert!(median <= 540.0, "{median}");
    let (found, median) = World { ratio: 3.0, dispersion: 3.0, ..WORLD }.rolled_back(20);
    assert_eq!(found, 20);
    assert!(median <= 540.0, "{median}");
}

#[test]
fn slow_canaries_and_new_tails_are_found_within_minutes() {
    let (found, median) = World { slower: 1.5, dispersion: 3.0, ..WORLD }.rolled_back(20);
    assert_eq!(found, 20);
    assert!(median <= 120.0, "{median}");
    let tail = World { tail: 0.01, dispersion: 3.0, ..WORLD };
    let (found, median) = tail.rolled_back(20);
    assert_eq!(found, 20);
    assert!(median <= 300.0, "{median}");
    assert_eq!(tail.advanced(20), 0, "a tail of 1% was called no harm");
}

#[test]
fn equal_canaries_advance() {
    assert!(WORLD.advanced(20) >= 19);
    assert!(World { dispersion: 3.0, ..WORLD }.advanced(20) >= 19);
}
