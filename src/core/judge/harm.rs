//! Evidence of harm of one metric, from method 3 on: each kind of metric has a test of its own, which sees every
//! window that was consumed and lasts over steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::MetricHistory;
use super::method;
use super::strata::Stratum;
use crate::core::metric::{MetricObservation, TickObservation};
use crate::core::policy::{Metric, Policy};

/// The test of harm of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HarmTest {}

/// One window as a test of harm sees it. What was carried before it is in it.
#[expect(dead_code, reason = "the tests of harm that read it come one by one")]
pub(super) struct HarmWindow<'a> {
    pub metric: &'a Metric,
    pub tick: &'a TickObservation,
    pub seen: &'a MetricObservation,
    /// The tests may use it; the others tell of warm-up, pauses and gaps.
    pub used: bool,
    pub length: Duration,
    /// Both arms, as a whole or route by route; empty where an arm has no data.
    pub strata: &'a [Stratum<'a>],
}

impl HarmTest {
    /// None under method 2, and for the kinds of metrics that have none.
    pub fn new(_: &Metric, _: &Policy, _: Option<&MetricHistory>, method: u32) -> Option<HarmTest> {
        if method::is_tempered(method) {
            return None;
        }
        None
    }

    /// Takes in a window, used or not.
    pub fn take(&mut self, _: &HarmWindow<'_>) {
        match *self {}
    }

    /// A step begins.
    pub fn enter_step(&mut self) {
        match *self {}
    }

    /// ln of the evidence, with what has not started.
    pub fn ln_e(&self) -> f64 {
        match *self {}
    }

    /// At least [`HarmTest::ln_e`], cheaply.
    pub fn ln_e_at_most(&self) -> f64 {
        match *self {}
    }

    /// ln of the evidence that must be there besides (without the best block), where the test has such a
    /// condition.
    pub fn ln_e_gate(&self) -> f64 {
        match *self {}
    }

    /// Whether it may decide on a rollback, if it leads: its own condition is met.
    pub fn may_decide(&self) -> bool {
        match *self {}
    }
}
