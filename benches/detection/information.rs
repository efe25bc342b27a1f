//! How soon any test can find a regression: ln(1/α) over the information a second.
//!
//! Wald: a test that is wrong with probability at most α needs, on average, at least ln(1/α) nats of
//! Kullback-Leibler divergence between the truth and the null hypothesis that lies nearest to it. Both
//! arms' errors are Poisson here, the base rate is not known, so the nearest null hypothesis is searched
//! over all base rates: for a ratio without an allowance that is the conditional binomial of section 2 of
//! the method.

use serin::stats::proportion::Margin;

/// Requests a second of both arms, and the bad shares that they truly have.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    pub canary_rps: f64,
    pub baseline_rps: f64,
    pub canary: f64,
    pub baseline: f64,
}

/// Equality of the arms.
pub const EQUAL: Margin = Margin { ratio: 1.0, difference: 0.0 };

/// The least average time, in seconds, in which a test at α finds that p_canary > r·p_base + δ. `None` if
/// that is not so.
pub fn limit_seconds(truth: Truth, null: Margin, alpha: f64) -> Option<f64> {
    let nats = nats_per_second(truth, null);
    (nats > 0.0).then(|| (1.0 / alpha).ln() / nats)
}

fn nats_per_second(truth: Truth, null: Margin) -> f64 {
    let edge = |baseline: f64| null.ratio * baseline + null.difference;
    if truth.canary <= edge(truth.baseline) {
        return 0.0;
    }
    let divergence = |baseline: f64| {
        truth.canary_rps * poisson(truth.canary, edge(baseline))
            + truth.baseline_rps * poisson(truth.baseline, baseline)
    };
    // Convex, with its least between the truth and the base rate at which the canary is within the edge.
    let (mut low, mut high) = (truth.baseline, truth.canary / null.ratio);
    for _ in 0..200 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if divergence(a) < divergence(b) {
            high = b;
        } else {
            low = a;
        }
    }
    divergence(0.5 * (low + high))
}

/// The divergence of two Poisson laws with these means, a unit of exposure.
fn poisson(truth: f64, null: f64) -> f64 {
    truth * (truth / null).ln() - truth + null
}
