//! The sequential multinomial test (Lindon & Malek, arXiv 2011.03567; Optimizely's ssrm_test, savvi): how
//! the bad requests fall on the arms, against how all requests do. Given how many bad ones there are,
//! Poisson counts are multinomial too.

use serin::stats::share::{ln_dirichlet_multinomial, ln_multinomial};

/// The counts so far, with the Dirichlet prior of the alternative and the shares of the null hypothesis.
#[derive(Clone, Debug)]
pub struct Multinomial {
    prior: Vec<f64>,
    null: Vec<f64>,
    ln_alternative: f64,
    ln_null: f64,
}

impl Multinomial {
    /// With any prior; `null` sums to 1.
    pub fn new(prior: Vec<f64>, null: Vec<f64>) -> Multinomial {
        Multinomial { prior, null, ln_alternative: 0.0, ln_null: 0.0 }
    }

    /// With a prior as of `k` requests that fell as the null hypothesis has it.
    pub fn concentrated(k: f64, null: Vec<f64>) -> Multinomial {
        Multinomial::new(null.iter().map(|share| k * share).collect(), null)
    }

    /// Takes in a window; gives ln of the evidence against the null hypothesis.
    pub fn take(&mut self, counts: &[u64]) -> f64 {
        self.ln_alternative += ln_dirichlet_multinomial(&self.prior, counts);
        self.ln_null += ln_multinomial(&self.null, counts);
        for (a, count) in self.prior.iter_mut().zip(counts) {
            *a += *count as f64;
        }
        self.ln_alternative - self.ln_null
    }

    /// ln of the marginal likelihoods so far: of the alternative, and of the null hypothesis.
    pub fn ln_marginals(&self) -> (f64, f64) {
        (self.ln_alternative, self.ln_null)
    }

    /// The sequential p-value as of now.
    pub fn p(&self) -> f64 {
        libm::exp(self.ln_null - self.ln_alternative).min(1.0)
    }
}
