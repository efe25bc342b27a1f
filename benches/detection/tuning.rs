//! Thresholds that give the same rate of false alarms.

/// The least threshold that at most `rate` of the harmless runs reach, whose highest scores are given.
/// Infinite where that many runs have an infinite score: the rule cannot be tuned.
pub fn threshold(peaks: impl IntoIterator<Item = f64>, rate: f64) -> f64 {
    let mut peaks: Vec<f64> = peaks.into_iter().collect();
    peaks.sort_by(|a, b| b.total_cmp(a));
    let allowed = (rate * peaks.len() as f64 + 1e-9).floor() as usize;
    peaks.get(allowed).map_or(f64::NEG_INFINITY, |too_low| too_low.next_up())
}
