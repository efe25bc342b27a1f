//! Two arms of a classic histogram against each other, by all of its buckets at once.
//!
//! The baseline's shares q are known from before, and so is what they become if every request is slower by an
//! accepted factor γ: ln of the exceedance is taken to be linear in ln ℓ between two bounds, and linear in ℓ
//! in the first bucket and where the distribution ends within a bucket. The comonotone coupling of the two is
//! a matrix A: the share A\[i,j\] of the baseline's bucket i lies in bucket j when slower. With weights h that
//! rise over the buckets, x requests of the canary by bucket (N in all), y of the baseline (M), κ = N/M:
//! ```text
//! L_h = Σ_j x_j ln h_j + Σ_i y_i ln(1 − κ((A h)_i − 1)) − N δ (max h − min h)
//! ```
//! E\[e^L_h\] ≤ exp(N (Σ p_c h − Σ p_b A h − δ (max h − min h))), which is at most 1 where a share of at most δ
//! of the canary's requests is slower than γ times the baseline's, and the baseline spreads within its buckets
//! as it did before. Since A moves nothing down and h rises, it is at most 1 for every distribution that both
//! arms have in common, whatever q says.
//!
//! The second factor must stay positive, so h is shrunk towards 1 for each window, by a factor that depends on
//! N and M alone.

mod build;
mod component;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use component::Component;

/// A distribution from before: what was counted of the baseline, and how much slower is accepted. All that the
/// tests need follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// Upper bounds, strictly rising, above 0.
    pub le: Vec<f64>,
    /// Not cumulative, one longer than `le`.
    pub counts: Vec<u64>,
    /// The sum of all values in the unit of the bounds, where it is known.
    pub sum: Option<f64>,
    /// γ ≥ 1.
    pub slower: f64,
}

/// [`Before`] with the coupling and the weights that follow from it. Stored as [`Before`] alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Before", into = "Before")]
pub struct Coupling {
    before: Before,
    built: Arc<Built>,
}

#[derive(Debug, PartialEq)]
struct Built {
    /// The baseline's shares when slower.
    null: Vec<f64>,
    /// Row by row.
    matrix: Vec<f64>,
    /// Buckets whose requests may lie so near their upper bound that the accepted factor takes all of them over it.
    near: Vec<usize>,
    components: Vec<Component>,
}

impl From<Before> for Coupling {
    fn from(before: Before) -> Coupling {
        Coupling { built: Arc::new(build::built(&before)), before }
    }
}

impl From<Coupling> for Before {
    fn from(coupling: Coupling) -> Before {
        coupling.before
    }
}

impl Coupling {
    /// What it was made of.
    pub fn before(&self) -> &Before {
        &self.before
    }

    /// How many weights h there are.
    pub fn len(&self) -> usize {
        self.built.components.len()
    }

    /// Whether there are none: with one bucket nothing can be told.
    pub fn is_empty(&self) -> bool {
        self.built.components.is_empty()
    }

    /// The buckets, by index, of which ≥ 5% of the requests lie so near their upper bound that the accepted
    /// factor may take all of them over it. All of them count as the next bucket's.
    pub fn near_their_bound(&self) -> &[usize] {
        &self.built.near
    }

    /// ηL_h of a window for every h, added to `increments`, which is as long as there are weights. Nothing is
    /// added if an arm has no requests, or other buckets.
    pub fn add(&self, canary: &[u64], baseline: &[u64], delta: f64, eta: f64, increments: &mut [f64]) {
        let window = Window::new(canary, baseline, self.before.counts.len());
        let Some(window) = window else { return };
        for (increment, component) in increments.iter_mut().zip(&self.built.components) {
            *increment += eta * component.ln_factor(&window, delta);
        }
    }

    /// The bound above which the weights of the component `at` are highest, as an index of `le`: where the
    /// canary has too much.
    pub fn bound_of(&self, at: usize) -> Option<usize> {
        self.built.components.get(at).and_then(Component::highest_above)
    }
}

/// A window as the components need it.
struct Window {
    /// Requests at or above each bucket, and 0 behind the last one.
    canary: Vec<f64>,
    baseline: Vec<f64>,
    kappa: f64,
}

impl Window {
    fn new(canary: &[u64], baseline: &[u64], buckets: usize) -> Option<Window> {
        if canary.len() != buckets || baseline.len() != buckets {
            return None;
        }
        let (canary, baseline) = (at_or_above(canary), at_or_above(baseline));
        let (requests, base_requests) = (canary.first()?, baseline.first()?);
        let both = *requests > 0.0 && *base_requests > 0.0;
        let kappa = requests / base_requests;
        both.then_some(Window { canary, baseline, kappa })
    }
}

fn at_or_above(counts: &[u64]) -> Vec<f64> {
    let mut above = vec![0.0; counts.len() + 1];
    let mut sum = 0_u64;
    for (above, count) in above.iter_mut().zip(counts).rev() {
        sum = sum.saturating_add(*count);
        *above = sum as f64;
    }
    above
}

#[cfg(test)]
mod tests;
