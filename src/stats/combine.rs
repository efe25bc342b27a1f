//! Which of several metrics are worse, once their weighted mean says that some are.
//!
//! The mean of e-values under the closure principle (Hartog & Lei, arXiv 2501.09015, "e-Holm"): a metric
//! is named if every set of metrics that contains it has a weighted mean of at least c. The set that
//! speaks most against it is the metric with all others below c, so one sum decides:
//! `w_i (E_i − c) + Σ_{j ≠ i, E_j < c} w_j (E_j − c) ≥ 0`. The chance of naming any metric wrongly is at
//! most 1/c, however they depend on one another.

use super::special::exp;

/// Beyond this multiple of the bound (in ln) e-values are equal for all that matters here.
const CEILING: f64 = 600.0;

/// For each metric, whether it is named: `ln_e` and weights (above 0) by metric, and ln c.
pub fn named(ln_e: &[f64], weights: &[f64], ln_bound: f64) -> Vec<bool> {
    let surplus: Vec<f64> = ln_e
        .iter()
        .zip(weights)
        .map(|(ln_e, weight)| weight * (exp((ln_e - ln_bound).min(CEILING)) - 1.0))
        .collect();
    let against: f64 = surplus.iter().filter(|surplus| **surplus < 0.0).sum();
    surplus.iter().map(|surplus| *surplus >= 0.0 && surplus + against >= 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::special::ln;

    /// By the definition: all sets.
    fn by_closure(e: &[f64], weights: &[f64], bound: f64) -> Vec<bool> {
        let sets = 1_usize << e.len();
        (0..e.len())
            .map(|i| {
                (0..sets).filter(|set| set >> i & 1 == 1).all(|set| {
                    let of = |values: &dyn Fn(usize) -> f64| -> f64 {
                        (0..e.len()).filter(|j| set >> j & 1 == 1).map(values).sum()
                    };
                    of(&|j| weights[j] * e[j]) >= bound * of(&|j| weights[j])
                })
            })
            .collect()
    }

    #[test]
    fn the_short_cut_agrees_with_all_sets() {
        let values = [0.01, 0.5, 19.0, 20.5, 45.0, 80.0, 300.0];
        for a in values {
            for b in values {
                for c in values {
                    for d in [0.0001, 21.0] {
                        let e = [a, b, c, d];
                        let weights = [1.0, 1.0, 0.5, 1.0];
                        let logs: Vec<f64> = e.iter().copied().map(ln).collect();
                        assert_eq!(named(&logs, &weights, ln(20.0)), by_closure(&e, &weights, 20.0), "{e:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn overwhelming_evidence_names_without_overflow() {
        assert_eq!(named(&[1e6, -1e6, 1e9], &[1.0, 1.0, 0.5], 4.6), [true, false, true]);
        assert_eq!(named(&[], &[], 4.6), Vec::<bool>::new());
    }
}
