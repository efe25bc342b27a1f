//! What a version of the demo's service does to a request, and what can be wrong with it.

use std::f64::consts::TAU;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What is wrong with a version; it can be changed while the service runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Fails more often.
    Errors {
        /// The share of requests that fail, in [0, 1], in place of the base rate.
        rate: f64,
    },
    /// Every request takes longer.
    Latency {
        /// Factor of the service time.
        factor: f64,
    },
    /// A few requests take much longer.
    Tail {
        /// Their share, in [0, 1].
        share: f64,
        /// What is added to their service time.
        delay: Duration,
    },
    /// The process is gone: connections are refused.
    Crash,
}

/// How a healthy version works: a log-normal service time, and a few failures.
///
/// Timers fire on whole milliseconds, so medians of some 8 to 20 ms are told apart well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// The share of requests that fail, in [0, 1].
    pub error_rate: f64,
    /// Median service time.
    pub median: Duration,
    /// Standard deviation of the logarithm of the service time.
    pub sigma: f64,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour { error_rate: 0.01, median: Duration::from_millis(12), sigma: 0.35 }
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// It will be answered with a server error.
    pub fails: bool,
    /// After so long.
    pub service_time: Duration,
}

/// Draws what becomes of requests, each independently of the others; the same seed gives the same
/// sequence.
#[derive(Debug)]
pub struct Dice {
    behaviour: Behaviour,
    random: StdRng,
}

/// The longest service time that is drawn, so that a strange fault cannot hold requests for ever.
const LONGEST: Duration = Duration::from_secs(30);

impl Dice {
    /// Dice for this behaviour.
    pub fn new(behaviour: Behaviour, seed: u64) -> Dice {
        Dice { behaviour, random: StdRng::seed_from_u64(seed) }
    }

    /// What becomes of the next request under `fault`. Each call takes the same number of random values
    /// whatever the fault is.
    pub fn draw(&mut self, fault: Fault) -> Draw {
        let [failing, normal_radius, normal_angle, tail]: [f64; 4] =
            std::array::from_fn(|_| self.random.random::<f64>());
        let Behaviour { error_rate, median, sigma } = self.behaviour;
        let error_rate = match fault {
            Fault::Errors { rate } => rate,
            _ => error_rate,
        };
        // Box and Muller (1958); 1 − u keeps the logarithm's argument above zero.
        let normal = (-2.0 * (1.0 - normal_radius).ln()).sqrt() * (TAU * normal_angle).cos();
        let mut seconds = median.as_secs_f64() * (sigma * normal).exp();
        match fault {
            Fault::Latency { factor } => seconds *= factor,
            Fault::Tail { share, delay } if tail < share => seconds += delay.as_secs_f64(),
            _ => {}
        }
        let service_time = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST);
        Draw { fails: failing < error_rate, service_time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEHAVIOUR: Behaviour =
        Behaviour { error_rate: 0.02, median: Duration::from_millis(10), sigma: 0.3 };

    fn draws(fault: Fault) -> Vec<Draw> {
        let mut dice = Dice::new(BEHAVIOUR, 7);
        (0..20_000).map(|_| dice.draw(fault)).collect()
    }

    fn failures(draws: &[Draw]) -> usize {
        draws.iter().filter(|draw| draw.fails).count()
    }

    /// In milliseconds.
    fn quantile(draws: &[Draw], quantile: f64) -> f64 {
        let mut times: Vec<f64> = draws.iter().map(|d| d.service_time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        times[(quantile * times.len() as f64) as usize]
    }

    #[test]
    fn a_healthy_version_fails_and_lasts_as_it_should() {
        let healthy = draws(Fault::None);
        assert!((300..500).contains(&failures(&healthy)), "{}", failures(&healthy));
        assert!((quantile(&healthy, 0.5) - 10.0).abs() < 0.2);
        // exp(0.3 · 1.6449) · 10 ms
        assert!((quantile(&healthy, 0.95) - 16.38).abs() < 0.4);
    }

    #[test]
    fn each_fault_changes_what_it_says_and_nothing_else() {
        let healthy = draws(Fault::None);

        let failing = draws(Fault::Errors { rate: 0.1 });
        assert!((1_800..2_200).contains(&failures(&failing)), "{}", failures(&failing));
        assert_eq!(quantile(&failing, 0.5), quantile(&healthy, 0.5));

        let slow = draws(Fault::Latency { factor: 1.5 });
        assert_eq!(failures(&slow), failures(&healthy));
        assert!((quantile(&slow, 0.5) / quantile(&healthy, 0.5) - 1.5).abs() < 1e-6);

        let tail = draws(Fault::Tail { share: 0.01, delay: Duration::from_secs(1) });
        assert_eq!(failures(&tail), failures(&healthy));
        let late = tail.iter().filter(|draw| draw.service_time > Duration::from_secs(1)).count();
        assert!((140..260).contains(&late), "{late}");
    }

    #[test]
    fn an_absurd_factor_is_bounded() {
        assert!(draws(Fault::Latency { factor: 1e12 }).iter().all(|draw| draw.service_time <= LONGEST));
        assert!(draws(Fault::Latency { factor: f64::INFINITY }).iter().all(|d| d.service_time <= LONGEST));
    }
}
