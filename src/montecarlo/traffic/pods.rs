//! Pods with lasting differences.

use super::span::{Factors, Span};
use crate::montecarlo::random::Random;

/// The lasting factors of all pods, with a mean of 1 over all that there could be.
#[derive(Clone, Debug)]
pub(in crate::montecarlo) struct Pods {
    /// The canary's pods at the first step.
    first: usize,
    /// By pod, the canary's in the order in which they are added.
    canary_errors: Vec<f64>,
    canary_slower: Vec<f64>,
    baseline_errors: Vec<f64>,
    baseline_slower: Vec<f64>,
}

impl Pods {
    /// Of a canary with so many pods at the first step, and a baseline.
    pub fn new([canary, baseline]: [u32; 2], error_sd: f64, latency_sd: f64, random: &mut Random) -> Pods {
        let (canary, baseline) = (canary.max(1), baseline.max(1));
        let mut draw = |count: u32, sd: f64| (0..count).map(|_| random.factor(sd)).collect();
        Pods {
            first: canary as usize,
            canary_errors: draw(canary + baseline, error_sd),
            canary_slower: draw(canary + baseline, latency_sd),
            baseline_errors: draw(baseline, error_sd),
            baseline_slower: draw(baseline, latency_sd),
        }
    }

    /// All pods that there can be at a time, and more.
    pub fn count(&self) -> usize {
        self.canary_errors.len() + self.baseline_errors.len()
    }

    pub fn canary_slower(&self) -> &[f64] {
        &self.canary_slower
    }

    pub fn baseline_slower(&self) -> &[f64] {
        &self.baseline_slower
    }

    pub fn baseline_errors(&self) -> &[f64] {
        &self.baseline_errors
    }

    pub(super) fn act(&self, span: &Span, factors: &mut Factors) {
        let by_weight = (span.canary_share * self.canary_errors.len() as f64).round() as usize;
        let count = by_weight.clamp(self.first, self.canary_errors.len());
        factors.pods = Some(count);
        factors.canary_errors *= mean(&self.canary_errors[..count]);
        factors.baseline_errors *= mean(&self.baseline_errors);
    }
}

fn mean(factors: &[f64]) -> f64 {
    factors.iter().sum::<f64>() / factors.len() as f64
}
