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
}
