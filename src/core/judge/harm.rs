//! Evidence of harm of one metric, from method 3 on: each kind of metric has a test of its own, which sees every
//! window that was consumed and lasts over steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::BlockAssessment;
use super::blocks::BlockHarm;
use super::comparison::{MILLION, Tally, View};
use super::fewer::Fewer;
use super::history::MetricHistory;
use super::method;
use super::strata::Stratum;
use crate::core::metric::{MetricObservation, TickObservation};
use crate::core::policy::{Direction, Metric, Policy};
use crate::core::source::MetricSource;
use crate::stats::special::ln_mean_exp;

/// The test of harm of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HarmTest {
    /// A proportion or a rate of bad things.
    Blocks(Box<BlockHarm>),
    /// A proportion or a rate of good things: fewer of them and, of a proportion, more of the rest.
    Fewer {
        /// Fewer of what is counted.
        fewer: Box<Fewer>,
        /// More of the rest.
        rest: Option<Box<BlockHarm>>,
    },
}

/// One window as a test of harm sees it. What was carried before it is in it.
pub(super) struct HarmWindow<'a> {
    pub policy: &'a Policy,
    pub metric: &'a Metric,
    pub tick: &'a TickObservation,
    pub seen: &'a MetricObservation,
    /// The tests may use it; the others tell of warm-up, pauses and gaps.
    pub used: bool,
    pub length: Duration,
    /// Both arms, as a whole or route by route; empty where an arm has no data.
    pub strata: &'a [Stratum<'a>],
    /// All of the baseline, of what is counted.
    pub baseline: Option<Tally>,
    /// Whether the interval of the ratio is wanted, which only people read.
    pub ratios: bool,
}

/// Canary and baseline by route, as a view has them; none if a stratum counts something else.
fn arms<'a>(strata: &[Stratum<'a>], view: View) -> Vec<(&'a str, [Tally; 2])> {
    let both = |stratum: &Stratum<'a>| {
        let [canary, baseline] = stratum.tallies(None)?;
        Some((stratum.route, [view.seen(canary), view.seen(baseline)]))
    };
    strata.iter().map(both).collect::<Option<_>>().unwrap_or_default()
}

impl HarmTest {
    /// None under method 2, and for the kinds of metrics that have none. `dispersion` is what the other tests of
    /// the metric are tempered by.
    pub fn new(
        metric: &Metric,
        policy: &Policy,
        history: Option<&MetricHistory>,
        method: u32,
        dispersion: f64,
    ) -> Option<HarmTest> {
        if method::is_tempered(method) {
            return None;
        }
        let unit = match metric.source {
            MetricSource::Proportion { .. } => 1.0,
            MetricSource::Rate { .. } => MILLION,
            _ => return None,
        };
        if metric.direction == Direction::LowerIsBetter {
            return Some(HarmTest::Blocks(Box::new(BlockHarm::new(metric, policy, history, dispersion))));
        }
        let bursts = history.and_then(|history| history.bursts);
        let dispersion = bursts.map_or(dispersion, |bursts| bursts.largest().max(1.0));
        let rest = matches!(metric.source, MetricSource::Proportion { .. })
            .then(|| Box::new(BlockHarm::of_the_rest(metric, policy, history, dispersion)));
        Some(HarmTest::Fewer { fewer: Box::new(Fewer::new(metric, policy, unit, dispersion)), rest })
    }

    /// Takes in a window, used or not.
    pub fn take(&mut self, window: &HarmWindow<'_>) {
        match self {
            HarmTest::Blocks(blocks) => {
                blocks.take(window, &arms(window.strata, View::Counted), window.baseline)
            }
            HarmTest::Fewer { fewer, rest } => {
                if window.used {
                    let counted = arms(window.strata, View::Counted);
                    let both = |[canary, baseline]: &[Tally; 2]| canary.total > 0 && baseline.total > 0;
                    if counted.iter().any(|(_, arms)| both(arms)) {
                        fewer.take(counted.into_iter().map(|(_, arms)| arms), window.length);
                    }
                }
                if let Some(rest) = rest {
                    let baseline = window.baseline.map(|baseline| View::Rest.seen(baseline));
                    rest.take(window, &arms(window.strata, View::Rest), baseline);
                }
            }
        }
    }

    /// A step begins.
    pub fn enter_step(&mut self) {
        match self {
            HarmTest::Blocks(blocks) => blocks.enter_step(),
            HarmTest::Fewer { rest, .. } => rest.iter_mut().for_each(|rest| rest.enter_step()),
        }
    }

    /// The test over blocks, where it is the one whose figures are shown.
    pub fn shown(&self) -> Option<&BlockHarm> {
        match self {
            HarmTest::Blocks(blocks) => Some(blocks),
            HarmTest::Fewer { .. } => None,
        }
    }

    /// Low end, estimate and high end of the ratio, after the last block of this step.
    pub fn ends(&self) -> Option<[f64; 3]> {
        self.shown()?.ends()
    }

    /// What the ratio is surely above.
    pub fn surely_above(&self) -> Option<f64> {
        self.shown().map(BlockHarm::surely_above)
    }

    /// The blocks that were used.
    pub fn used(&self) -> Option<BlockAssessment> {
        self.shown().map(BlockHarm::used)
    }

    /// ln of the evidence, with what has not started.
    pub fn ln_e(&self) -> f64 {
        match self {
            HarmTest::Blocks(blocks) => blocks.ln_e(),
            HarmTest::Fewer { fewer, rest: Some(rest) } => ln_mean_exp(&[fewer.ln_e(), rest.ln_e()]),
            HarmTest::Fewer { fewer, rest: None } => fewer.ln_e(),
        }
    }

    /// ln of the evidence that must be there besides (without the best window), where the test has such a
    /// condition; else 0.
    pub fn ln_e_gate(&self) -> f64 {
        match self {
            HarmTest::Blocks(_) => 0.0,
            HarmTest::Fewer { fewer, .. } => fewer.ln_e_gate(),
        }
    }

    /// Whether it may decide on a rollback, if it leads: its own condition is met.
    pub fn may_decide(&self, min_bad: u64) -> bool {
        match self {
            HarmTest::Blocks(blocks) => blocks.may_decide(min_bad),
            HarmTest::Fewer { fewer, rest: Some(rest) } if rest.ln_e() > fewer.ln_e() => {
                rest.may_decide(min_bad)
            }
            HarmTest::Fewer { fewer, .. } => fewer.may_decide(),
        }
    }
}
