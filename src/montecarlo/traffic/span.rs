//! A window to be drawn, and what shapes make of it.

/// A window to be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Its length, above 0.
    pub seconds: f64,
    /// The canary's share of the traffic, in [0, 1].
    pub canary_share: f64,
    /// The baseline's share of the traffic, in [0, 1].
    pub baseline_share: f64,
    /// Seconds from the beginning of the step to that of the window.
    pub in_step: f64,
}

/// What the shapes make of a window.
pub(super) struct Factors {
    pub traffic: f64,
    pub both_errors: f64,
    pub both_slower: f64,
    pub canary_errors: f64,
    pub canary_slower: f64,
    /// The canary's traffic, as a multiple of its share.
    pub canary_traffic: f64,
    /// The same of the baseline.
    pub baseline_traffic: f64,
    pub baseline_errors: f64,
    /// Share of the errors that come one by one; the others are in `bursts`.
    pub independent: f64,
    /// Errors of bursts: canary and baseline.
    pub bursts: [u64; 2],
    /// They come on top of the requests that are drawn.
    pub burst_requests: bool,
    /// How many pods the canary has, where they are told apart.
    pub pods: Option<usize>,
}

impl Factors {
    /// Nothing is different.
    pub fn none() -> Factors {
        Factors {
            traffic: 1.0,
            both_errors: 1.0,
            both_slower: 1.0,
            canary_errors: 1.0,
            canary_slower: 1.0,
            canary_traffic: 1.0,
            baseline_traffic: 1.0,
            baseline_errors: 1.0,
            independent: 1.0,
            bursts: [0, 0],
            burst_requests: false,
            pods: None,
        }
    }
}
