//! Whether the canary gets the share of the requests that was set: a sequential test of the sample ratio.
//!
//! Lindon & Malek, *Anytime-valid inference for multinomial count data* (arXiv 2011.03567): the
//! alternative is a Dirichlet mixture over all shares, the null hypothesis the shares that were set. The
//! ratio of their marginal likelihoods is an e-process.

use serde::{Deserialize, Serialize};

use super::special::{ln, ln_1p, ln_gamma};

/// The test of one share. Requests are taken as independent: where many of them follow one connection or
/// one user, the share wavers more than the test knows, and needs a margin or no test at all.
///
/// Its evidence is about one share that holds the whole time, so each step needs a test of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareTest {
    prior: f64,
    canary: u64,
    rest: u64,
}

impl ShareTest {
    /// No requests yet. `prior`, above 0, is the parameter of the symmetric Dirichlet (beta) law of the
    /// share under the alternative; 1 makes every share equally likely. It must be fixed beforehand.
    pub fn new(prior: f64) -> ShareTest {
        ShareTest { prior, canary: 0, rest: 0 }
    }

    /// Takes in the requests of a window: of the canary, and of everything else.
    pub fn take(&mut self, canary: u64, rest: u64) {
        self.canary = self.canary.saturating_add(canary);
        self.rest = self.rest.saturating_add(rest);
    }

    /// Requests so far: of the canary, and of everything else.
    pub fn requests(&self) -> (u64, u64) {
        (self.canary, self.rest)
    }

    /// ln of the evidence against the canary's share of the requests lying in
    /// `expected_share`·\[1 − `margin`, 1 + `margin`\]. `expected_share` is a proportion; `margin`, at
    /// least 0, is relative: 0.1 allows 4.5% to 5.5% where 5% is set.
    ///
    /// The likelihood of the null hypothesis is the largest one in the interval. So with q the true share
    /// and f the likelihoods, E = f_alternative/max_p f_p ≤ f_alternative/f_q as long as q lies in the
    /// interval, and the right side is a likelihood ratio, a martingale that starts at 1: E is at any
    /// time at most an e-process of the same data ("universal inference"). The largest one is that of the
    /// share that was seen, held within the interval, since the likelihood has a single top.
    ///
    /// Infinite where the null hypothesis makes impossible what was seen: a canary that is set to 0 and
    /// has requests.
    pub fn ln_e(&self, expected_share: f64, margin: f64) -> f64 {
        let (canary, rest) = (self.canary as f64, self.rest as f64);
        if self.canary == 0 && self.rest == 0 {
            return 0.0;
        }
        let margin = margin.max(0.0);
        let low = (expected_share * (1.0 - margin)).clamp(0.0, 1.0);
        let high = (expected_share * (1.0 + margin)).clamp(0.0, 1.0);
        let likeliest = (canary / (canary + rest)).clamp(low, high);
        let null = times_ln(canary, likeliest) + if rest > 0.0 { rest * ln_1p(-likeliest) } else { 0.0 };
        let prior = [self.prior; 2];
        ln_beta(&[self.prior + canary, self.prior + rest]) - ln_beta(&prior) - null
    }
}

/// ln of the probability of `counts` if their shares follow a Dirichlet law with parameters `prior`, each
/// above 0: the marginal likelihood of the alternative. With the counts so far added to `prior`, that of
/// the next window.
pub fn ln_dirichlet_multinomial(prior: &[f64], counts: &[u64]) -> f64 {
    let posterior: Vec<f64> = prior.iter().zip(counts).map(|(a, count)| a + *count as f64).collect();
    ln_arrangements(counts) + ln_beta(&posterior) - ln_beta(prior)
}

/// ln of the probability of `counts` if their shares are `shares`, which sum to 1: the likelihood of the
/// null hypothesis.
pub fn ln_multinomial(shares: &[f64], counts: &[u64]) -> f64 {
    let likelihood: f64 =
        shares.iter().zip(counts).map(|(share, count)| times_ln(*count as f64, *share)).sum();
    ln_arrangements(counts) + likelihood
}

/// ln of n!/Π count!.
fn ln_arrangements(counts: &[u64]) -> f64 {
    let ln_factorial = |count: f64| ln_gamma(count + 1.0);
    let all = counts.iter().map(|count| *count as f64).sum();
    ln_factorial(all) - counts.iter().map(|count| ln_factorial(*count as f64)).sum::<f64>()
}

/// ln B(a) = Σ ln Γ(a_i) − ln Γ(Σ a_i).
fn ln_beta(a: &[f64]) -> f64 {
    a.iter().map(|a| ln_gamma(*a)).sum::<f64>() - ln_gamma(a.iter().sum())
}

/// count · ln(share), and 0 for a count of 0.
fn times_ln(count: f64, share: f64) -> f64 {
    if count > 0.0 { count * ln(share) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::special::exp;

    /// Published with Optimizely's ssrm_test.
    #[test]
    fn log_marginals_have_the_published_values() {
        let rows = [[20, 17, 9], [18, 21, 8], [4, 6, 4], [18, 19, 11]];
        let alternatives = [-7.028201432058, -11.947847738359, -15.471401950258, -19.964845210904];
        let nulls = [-4.077640646606, -8.2659468611, -11.610743519545, -15.781031228536];
        let mut prior = [1.0; 3];
        let (mut alternative, mut null) = (0.0, 0.0);
        for (i, row) in rows.iter().enumerate() {
            alternative += ln_dirichlet_multinomial(&prior, row);
            null += ln_multinomial(&[0.4, 0.4, 0.2], row);
            prior = std::array::from_fn(|k| prior[k] + row[k] as f64);
            assert!((alternative - alternatives[i]).abs() < 1e-9, "{alternative}, not {}", alternatives[i]);
            assert!((null - nulls[i]).abs() < 1e-9, "{null}, not {}", nulls[i]);
        }
    }

    #[test]
    fn the_test_is_the_ratio_of_the_marginals_however_the_requests_are_cut_into_windows() {
        let windows = [(20, 480), (0, 17), (33, 467), (1, 0), (0, 0)];
        let mut test = ShareTest::new(1.0);
        let mut prior = [1.0; 2];
        let mut ln_e = 0.0;
        assert_eq!(test.ln_e(0.05, 0.1), 0.0);
        for (canary, rest) in windows {
            test.take(canary, rest);
            ln_e += ln_dirichlet_multinomial(&prior, &[canary, rest])
                - ln_multinomial(&[0.05, 0.95], &[canary, rest]);
            prior = [prior[0] + canary as f64, prior[1] + rest as f64];
            assert!((test.ln_e(0.05, 0.0) - ln_e).abs() < 1e-9, "{} {ln_e}", test.ln_e(0.05, 0.0));
        }
        assert_eq!(test.requests(), (54, 964));
    }

    /// At every share of the null hypothesis; with a margin of 0 nothing is wasted.
    #[test]
    fn enumerated_the_expectation_is_at_most_one() {
        for (expected, margin) in [(0.05, 0.0), (0.05, 0.1), (0.25, 0.1), (0.5, 0.2), (0.95, 0.1)] {
            for n in [1_u64, 7, 40, 300] {
                for within in [-1.0, -0.3, 0.0, 0.6, 1.0] {
                    let share = f64::min(expected * (1.0 + margin * within), 1.0);
                    let expectation: f64 = (0..=n)
                        .map(|canary| {
                            let mut test = ShareTest::new(1.0);
                            test.take(canary, n - canary);
                            exp(ln_multinomial(&[share, 1.0 - share], &[canary, n - canary])
                                + test.ln_e(expected, margin))
                        })
                        .sum();
                    assert!(expectation <= 1.0 + 1e-9, "{expected} ± {margin}: {expectation} at {share}");
                    if margin == 0.0 {
                        assert!(expectation > 1.0 - 1e-9, "evidence is wasted: {expectation}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_wrong_share_is_found_and_one_within_the_margin_is_not() {
        let ln_e = |canary, rest, margin| {
            let mut test = ShareTest::new(1.0);
            test.take(canary, rest);
            test.ln_e(0.05, margin)
        };
        // 5.4% of a million: not 5%, but within a tenth of it. 8% of 10,000 is neither.
        assert!(ln_e(54_000, 946_000, 0.0) > 100.0);
        assert!(ln_e(54_000, 946_000, 0.1) < 0.0);
        assert!(ln_e(800, 9200, 0.1) > 30.0);
        assert!(ln_e(200, 9800, 0.1) > 30.0);
    }

    #[test]
    fn extremes_are_no_nan() {
        let big = 1_000_000_000_000;
        for (canary, rest) in [(0, 0), (0, big), (big, 0), (big, big), (1, big), (u64::MAX, u64::MAX)] {
            for (expected, margin) in [(0.0, 0.1), (1e-4, 0.1), (0.05, 0.0), (0.95, 0.1), (1.0, 0.1)] {
                let mut test = ShareTest::new(1.0);
                test.take(canary, rest);
                test.take(canary, rest);
                let ln_e = test.ln_e(expected, margin);
                assert!(!ln_e.is_nan() && ln_e > f64::NEG_INFINITY, "{canary} {rest} {expected}: {ln_e}");
            }
        }
        let mut test = ShareTest::new(1.0);
        test.take(3, 1000);
        assert_eq!(test.ln_e(0.0, 0.1), f64::INFINITY);
    }
}
