//! Users that stay in the arm to which their hash assigns them.

use super::span::{Factors, Span};
use crate::montecarlo::random::Random;

/// All users in the order of their hashes: those before the canary's weight are in the canary.
#[derive(Clone, Debug)]
pub(super) struct Users {
    /// Rising, in (0, 1).
    hashes: Vec<f64>,
    /// What the first users send together, in shares of all requests; one longer.
    requests: Vec<f64>,
    /// The same of the errors.
    errors: Vec<f64>,
}

impl Users {
    pub fn new(users: u32, tail: f64, error_sd: f64, random: &mut Random) -> Users {
        let mut all: Vec<[f64; 3]> = (0..users.max(1))
            .map(|_| [random.unit(), random.pareto(1.0, tail), random.factor(error_sd)])
            .collect();
        all.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let sent: f64 = all.iter().map(|user| user[1]).sum();
        let failed: f64 = all.iter().map(|user| user[1] * user[2]).sum();
        let summed = |of: &dyn Fn(&[f64; 3]) -> f64| {
            let sums = all.iter().scan(0.0, |sum, user| {
                *sum += of(user);
                Some(*sum)
            });
            std::iter::once(0.0).chain(sums).collect()
        };
        Users {
            hashes: all.iter().map(|user| user[0]).collect(),
            requests: summed(&|user| user[1] / sent),
            errors: summed(&|user| user[1] * user[2] / failed),
        }
    }

    /// The arms get the traffic of their users, and their errors.
    pub fn act(&self, span: &Span, factors: &mut Factors) {
        let whole = span.canary_share + span.baseline_share;
        let count = self.hashes.partition_point(|hash| *hash < span.canary_share / whole);
        let (requests, errors) = (self.requests[count], self.errors[count]);
        if span.canary_share > 0.0 {
            factors.canary_traffic *= requests * whole / span.canary_share;
            factors.canary_errors *= if requests > 0.0 { errors / requests } else { 1.0 };
        }
        if span.baseline_share > 0.0 {
            factors.baseline_traffic *= (1.0 - requests) * whole / span.baseline_share;
            factors.baseline_errors *= if requests < 1.0 { (1.0 - errors) / (1.0 - requests) } else { 1.0 };
        }
    }
}
