//! Models of traffic: how much comes, how much of it fails and how long it takes, and what is wrong with
//! the canary.

mod bursts;
mod course;
mod flow;
mod latency;
mod pods;
mod shape;
mod span;
mod users;

use serde::{Deserialize, Serialize};

pub use flow::{Flow, Load};
pub use latency::{LATENCY_BOUNDS, Latency};
pub use shape::{Bursts, Hits, Shape};
pub use span::Span;

/// Traffic to a service with a canary. Requests come as a Poisson process, and each fails or is slow for
/// itself, unless the shapes say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests per second of both arms together, above 0.
    pub requests_per_second: f64,
    /// Share of the baseline's requests that are bad, in [0, 1].
    pub error_rate: f64,
    /// How long the baseline's requests take.
    pub latency: Latency,
    /// What is wrong with the canary.
    pub truth: Truth,
    /// In what the traffic differs from that of a textbook. All of them act together.
    pub shapes: Vec<Shape>,
}

/// What is wrong with the canary: by default nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Its error rate is that of the baseline times this.
    pub error_ratio: f64,
    /// Its requests take this many times as long.
    pub latency_factor: f64,
    /// Share of its requests that take longer by `tail_seconds`, in [0, 1].
    pub tail_share: f64,
    /// How much longer, in seconds.
    pub tail_seconds: f64,
    /// Seconds after its first request from which on all this holds.
    pub onset_seconds: f64,
    /// The policy's metric that shows it; `None`: all do.
    pub only: Option<String>,
}

impl Default for Truth {
    fn default() -> Truth {
        Truth {
            error_ratio: 1.0,
            latency_factor: 1.0,
            tail_share: 0.0,
            tail_seconds: 0.0,
            onset_seconds: 0.0,
            only: None,
        }
    }
}

impl Truth {
    /// Nothing is wrong.
    pub fn is_harmless(&self) -> bool {
        let slower = self.latency_factor > 1.0 || (self.tail_share > 0.0 && self.tail_seconds > 0.0);
        self.error_ratio <= 1.0 && !slower
    }
}

impl Traffic {
    /// Traffic with independent errors, latencies of [`Latency::default`], and a harmless canary.
    pub fn new(requests_per_second: f64, error_rate: f64) -> Traffic {
        Traffic {
            requests_per_second,
            error_rate,
            latency: Latency::default(),
            truth: Truth::default(),
            shapes: Vec::new(),
        }
    }

    /// Some shape tells pods apart.
    pub(super) fn has_pods(&self) -> bool {
        self.shapes.iter().any(|shape| matches!(shape, Shape::Pods { .. }))
    }

    /// # Errors
    /// Everything that is out of its range, in words.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let mut within = |name: &str, x: f64, low: f64, high: f64| {
            if !(low..=high).contains(&x) {
                wrong.push(format!("{name} is {x}; it must be between {low} and {high}"));
            }
        };
        let truth = &self.truth;
        within("the requests per second", self.requests_per_second, 1e-3, 1e9);
        within("the error rate", self.error_rate, 0.0, 1.0);
        within("the median of the latency in seconds", self.latency.median_seconds, 1e-6, 1e4);
        within("the sigma of the latency", self.latency.sigma, 0.01, 5.0);
        within("the error ratio", truth.error_ratio, 0.0, 1e6);
        within("the latency factor", truth.latency_factor, 1e-3, 1e3);
        within("the share of the tail", truth.tail_share, 0.0, 1.0);
        within("the seconds of the tail", truth.tail_seconds, 0.0, 1e4);
        within("the onset in seconds", truth.onset_seconds, 0.0, 1e8);
        for shape in &self.shapes {
            shape.check(&mut within);
        }
        if !self.latency.le.windows(2).all(|pair| pair[0] < pair[1])
            || !self.latency.le.iter().all(|le| le.is_finite() && *le > 0.0)
            || self.latency.le.is_empty()
        {
            wrong.push("the bucket bounds must be above 0 and rise strictly".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
