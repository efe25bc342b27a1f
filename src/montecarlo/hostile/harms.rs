//! What can be wrong with a release.

use crate::montecarlo::traffic::{Traffic, Truth};

/// A release with something wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Harm {
    /// As on the command line: `errors-x3-100`.
    pub name: String,
    /// In words.
    pub words: String,
    /// The traffic.
    pub traffic: Traffic,
}

/// All that delays are measured of, at 100 requests/s with 1% errors and at 1,000 requests/s with 0.5%.
pub fn harms() -> Vec<Harm> {
    let mut all = Vec::new();
    for (rps, error_rate) in [(100.0, 0.01), (1000.0, 0.005)] {
        let mut add = |name: &str, words: &str, truth: Truth| {
            let name = format!("{name}-{rps}");
            let words = format!("{words}, at {rps} requests/s and {}% errors", error_rate * 100.0);
            all.push(Harm { name, words, traffic: Traffic { truth, ..Traffic::new(rps, error_rate) } });
        };
        for error_ratio in [1.5, 2.0, 3.0, 5.0] {
            let truth = Truth { error_ratio, ..Truth::default() };
            add(&format!("errors-x{error_ratio}"), &format!("errors ×{error_ratio}"), truth);
        }
        for latency_factor in [1.2, 1.3] {
            let truth = Truth { latency_factor, ..Truth::default() };
            add(&format!("latency-x{latency_factor}"), &format!("latency ×{latency_factor}"), truth);
        }
        let truth = Truth { tail_share: 0.01, tail_seconds: 1.0, ..Truth::default() };
        add("tail", "1% of the requests take 1 s longer", truth);
        let truth = Truth { error_ratio: 3.0, onset_seconds: 1500.0, ..Truth::default() };
        add("late-x3", "errors ×3 from minute 25 on", truth);
    }
    all
}
