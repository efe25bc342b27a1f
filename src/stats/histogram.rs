//! Shares and quantiles of a classic histogram, and the thresholds at which two arms are compared.
//!
//! A histogram is given as `le`, rising upper bounds, and `counts`, not cumulative and one longer (the
//! last one counts what is above every bound).

use serde::{Deserialize, Serialize};

use super::special::{exp, ln};

/// Exceedances rarer than this need too many requests.
const RAREST: f64 = 0.0005;
/// More frequent ones are left to lower shares: the upper half of the distribution is judged.
const MOST_FREQUENT: f64 = 0.5;
/// At most so many thresholds within that range; two more may lie beyond it.
const MOST_IN_RANGE: usize = 6;
/// If the share above a bucket is this much smaller than the share above the one below, then the
/// distribution ends within the bucket rather than tailing off through it.
const STEEPEST_TAIL: f64 = 20.0;

/// A bucket bound ℓ at which exceedances are compared, and how much more a distribution exceeds it that
/// is slower by the accepted factor γ: S(ℓ/γ) = ratio·S(ℓ) + excess.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// ℓ, in the unit of the bounds.
    pub bound: f64,
    /// At least 1; above 1 only where the distribution tails off smoothly.
    pub ratio: f64,
    /// At least 0; above 0 only where ratio is 1.
    pub excess: f64,
}

impl Threshold {
    fn new(bound: f64, share: f64, slower_share: f64) -> Threshold {
        if slower_share <= STEEPEST_TAIL * share {
            Threshold { bound, ratio: (slower_share / share).max(1.0), excess: 0.0 }
        } else {
            Threshold { bound, ratio: 1.0, excess: (slower_share - share).max(0.0) }
        }
    }
}

/// Requests above each bound, one for every entry of `le`.
pub fn exceedances(counts: &[u64]) -> Vec<u64> {
    let mut above: Vec<u64> = counts
        .iter()
        .skip(1)
        .rev()
        .scan(0_u64, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        })
        .collect();
    above.reverse();
    above
}

/// The requests of a histogram.
pub fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// S(at), the share of requests above `at`. Within a bucket ln S is taken to be linear in ln ℓ, as in a
/// Pareto tail: on a log-normal tail that gives S(ℓ/γ)/S(ℓ) a little too small, a line in ℓ far too
/// large. It is taken to be linear in ℓ in the first bucket, and where the distribution ends within the
/// bucket (all but a twentieth of what reaches it).
pub fn share_above(le: &[f64], counts: &[u64], at: f64) -> f64 {
    let all = total(counts);
    if all == 0 || at <= 0.0 {
        return 1.0;
    }
    let above = exceedances(counts);
    let share = |i: usize| above.get(i).map_or(0.0, |count| *count as f64 / all as f64);
    let Some(i) = le.iter().position(|bound| *bound >= at) else {
        return share(le.len().saturating_sub(1));
    };
    let (from, share_from) = if i == 0 { (0.0, 1.0) } else { (le[i - 1], share(i - 1)) };
    let (to, share_to) = (le[i], share(i));
    if at == to || share_from == share_to {
        share_to
    } else if from <= 0.0 || share_from > STEEPEST_TAIL * share_to {
        share_from + (share_to - share_from) * (at - from) / (to - from)
    } else {
        let way = (ln(at) - ln(from)) / (ln(to) - ln(from));
        exp(ln(share_from) + (ln(share_to) - ln(share_from)) * way)
    }
}

/// The q-quantile, linear within its bucket as Prometheus has it; the highest bound if it lies above
/// that. `None` without requests or bounds.
pub fn quantile(le: &[f64], counts: &[u64], q: f64) -> Option<f64> {
    let all = total(counts);
    let highest = *le.last()?;
    if all == 0 {
        return None;
    }
    let rank = q * all as f64;
    let mut below = 0.0;
    for (i, bound) in le.iter().enumerate() {
        let count = counts.get(i).copied().unwrap_or(0) as f64;
        if count > 0.0 && below + count >= rank {
            let from = if i == 0 { bound.min(0.0) } else { le[i - 1] };
            return Some(from + (bound - from) * ((rank - below) / count));
        }
        below += count;
    }
    Some(highest)
}

/// The q-quantile with a 95% interval at this look: the values at the ranks qn ± 1.96·√(φ·q(1 − q)·n) (the
/// binomial interval of order statistics), as (low, estimate, high). It is for people to read; no test
/// uses it.
pub fn quantile_interval(le: &[f64], counts: &[u64], q: f64, dispersion: f64) -> Option<[f64; 3]> {
    let n = total(counts) as f64;
    let half = 1.959_963_984_540_054 * (dispersion * q * (1.0 - q) / n).sqrt();
    let estimate = quantile(le, counts, q)?;
    let low = quantile(le, counts, (q - half).max(0.0))?;
    let high = if q + half >= 1.0 { le.last().copied()? } else { quantile(le, counts, q + half)? };
    Some([low.min(estimate), estimate, high.max(estimate)])
}

/// The thresholds for a baseline of this distribution and for canaries that may be `slower` (γ ≥ 1):
/// up to six bounds that it exceeds in 0.05% to 50%, evenly among those that tell it apart; and, to see
/// a tail that it does not have, the lowest bound that it exceeds less often, and the lowest one that it
/// would exceed less often even if it were slower by γ. If there is none of these, the highest bound.
///
/// Tests are valid at any bound that is chosen without looking at the windows that they test.
pub fn thresholds(le: &[f64], counts: &[u64], slower: f64) -> Vec<Threshold> {
    let all = total(counts);
    let above = exceedances(counts);
    let share = |i: usize| if all > 0 { above[i] as f64 / all as f64 } else { 1.0 };
    let threshold = |i: usize| Threshold::new(le[i], share(i), share_above(le, counts, le[i] / slower));

    let in_range: Vec<usize> = (0..le.len().min(above.len()))
        .filter(|i| (RAREST..=MOST_FREQUENT).contains(&share(*i)))
        // No request of the baseline lies between this bound and the one below: it tells nothing more.
        .filter(|i| *i == 0 || above[*i] != above[*i - 1])
        .collect();
    let wanted = in_range.len().min(MOST_IN_RANGE);
    let mut chosen: Vec<Threshold> =
        (0..wanted).map(|k| threshold(in_range[k * (in_range.len() - 1) / (wanted - 1).max(1)])).collect();

    let beyond = (0..le.len().min(above.len())).find(|i| share(*i) < RAREST);
    // Wherever in their buckets the requests are.
    let at_most_if_slower =
        |i: usize| le.iter().rposition(|bound| *bound <= le[i] / slower).map_or(1.0, share);
    let rare = (0..le.len().min(above.len())).find(|i| at_most_if_slower(*i) < RAREST);
    if beyond != rare {
        chosen.extend(beyond.map(threshold));
    }
    chosen.extend(rare.map(|i| Threshold {
        bound: le[i],
        ratio: 1.0,
        excess: at_most_if_slower(i) - share(i),
    }));
    if chosen.is_empty() {
        chosen.extend(le.len().min(above.len()).checked_sub(1).map(threshold));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const LE: [f64; 5] = [0.05, 0.1, 0.25, 0.5, 1.0];

    #[test]
    fn shares_and_quantiles_of_known_histograms() {
        let counts = [500, 300, 120, 60, 15, 5];
        assert_eq!(exceedances(&counts), [500, 200, 80, 20, 5]);
        assert_eq!(share_above(&LE, &counts, 0.25), 0.08);
        // First bucket: linear. Others: a Pareto line, so at the geometric middle the geometric mean.
        assert!((share_above(&LE, &counts, 0.025) - 0.75).abs() < 1e-12);
        let middle = share_above(&LE, &counts, 0.125_f64.sqrt());
        assert!((middle - (0.08_f64 * 0.02).sqrt()).abs() < 1e-12);
        // The distribution ends within the bucket: linear.
        assert!((share_above(&LE, &[0, 1000, 0, 0, 0, 0], 0.075) - 0.5).abs() < 1e-12);
        assert_eq!(quantile(&LE, &counts, 0.5), Some(0.05));
        assert!((quantile(&LE, &counts, 0.65).unwrap() - 0.075).abs() < 1e-12);
        assert_eq!(quantile(&LE, &counts, 0.999), Some(1.0));
        assert_eq!(quantile(&LE, &[0; 6], 0.5), None);
        assert_eq!(quantile(&[], &[7], 0.5), None);
    }

    fn bounds(chosen: &[Threshold]) -> Vec<f64> {
        chosen.iter().map(|t| t.bound).collect()
    }

    #[test]
    fn thresholds_lie_in_the_range_and_beyond_it() {
        let counts = [5000, 3000, 1200, 770, 30, 0];
        let chosen = thresholds(&LE, &counts, 1.1);
        assert_eq!(bounds(&chosen), [0.05, 0.1, 0.25, 0.5, 1.0]);
        let pareto = (0.2_f64 / 0.08).ln() / 2.5_f64.ln() * 1.1_f64.ln();
        assert!((chosen[2].ratio - pareto.exp()).abs() < 1e-9);
        assert_eq!(chosen[2].excess, 0.0);
        // Nothing is above 1 s; if slower by 10%, what lies above 0.909 s would be.
        assert_eq!(chosen[4].ratio, 1.0);
        assert!((chosen[4].excess - 0.003 * (1.0 - 1.0 / 1.1) / 0.5).abs() < 1e-9);

        let counts = [5000, 3000, 1200, 800, 0, 0];
        let chosen = thresholds(&LE, &counts, 1.1);
        assert_eq!(bounds(&chosen), [0.05, 0.1, 0.25, 0.5, 1.0]);
        assert_eq!(chosen[4], Threshold { bound: 1.0, ratio: 1.0, excess: 0.0 });
    }

    #[test]
    fn a_baseline_within_one_bucket_still_gets_thresholds() {
        let chosen = thresholds(&LE, &[0, 9000, 0, 0, 0, 0], 1.1);
        assert_eq!(bounds(&chosen), [0.1, 0.25]);
        assert!((chosen[0].excess - 2.0 / 11.0).abs() < 1e-12, "{chosen:?}");
        assert_eq!(chosen[1].excess, 0.0);
        let chosen = thresholds(&LE, &[0, 0, 0, 0, 0, 9000], 1.1);
        assert_eq!(chosen, [Threshold { bound: 1.0, ratio: 1.0, excess: 0.0 }]);
        assert_eq!(thresholds(&[], &[9000], 1.1), []);
        assert_eq!(thresholds(&LE, &[0; 6], 1.1).len(), 1);
    }

    #[test]
    fn many_bounds_are_thinned_evenly() {
        let le: Vec<f64> = (1..100).map(f64::from).collect();
        let chosen = thresholds(&le, &[100; 100], 1.05);
        assert_eq!(bounds(&chosen), [50.0, 59.0, 69.0, 79.0, 89.0, 99.0]);
    }
}
