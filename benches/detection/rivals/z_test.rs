//! The two-proportion z-test of all counts so far, repeated at every look: what is done by hand.

use super::Count;

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub struct RepeatedZ {
    canary: Count,
    baseline: Count,
}

impl RepeatedZ {
    /// Takes in a window; gives z of all counts so far, above 0 where the canary is worse.
    pub fn take(&mut self, canary: Count, baseline: Count) -> f64 {
        self.canary.add(canary);
        self.baseline.add(baseline);
        z(self.canary, self.baseline)
    }
}

/// (p_canary − p_baseline) over its standard error under equality, which is pooled. 0 where nothing is
/// known.
pub fn z(canary: Count, baseline: Count) -> f64 {
    let (Some(p), Some(q)) = (canary.share(), baseline.share()) else { return 0.0 };
    let (n, m) = (canary.total as f64, baseline.total as f64);
    let pooled = (canary.bad + baseline.bad) as f64 / (n + m);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    if variance > 0.0 { (p - q) / variance.sqrt() } else { 0.0 }
}
