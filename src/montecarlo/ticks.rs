//! The ticks of one rollout, as the judge takes them.

use std::time::Duration;

use super::random::Random;
use super::traffic::{Flow, Load, Span, Traffic};
use crate::core::metric::{
    Counts, MetricObservation, NoData, TickObservation, Usage, ValueObservation, Window,
};
use crate::core::policy::{Direction, Metric, Policy, Signal};
use crate::core::source::MetricSource;
use crate::core::split::Weight;
use crate::core::time::Timestamp;

/// Any time will do: nothing depends on it.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// The ticks of one rollout under a policy: windows without gaps, each as long as the policy's interval,
/// of which the baseline has all traffic that the canary does not have. The first window begins with the
/// first step.
#[derive(Clone, Debug)]
pub struct Ticks<'a> {
    policy: &'a Policy,
    flow: Flow<'a>,
    seq: u64,
    end: Timestamp,
    step: usize,
    step_began: Timestamp,
}

impl<'a> Ticks<'a> {
    /// From the beginning of the first step. The traffic is what [`Traffic::check`] accepts.
    pub fn new(policy: &'a Policy, traffic: &'a Traffic, random: Random) -> Ticks<'a> {
        let flow = Flow::new(traffic, random);
        Ticks { policy, flow, seq: 0, end: BEGIN, step: 0, step_began: BEGIN }
    }

    /// Goes on with other traffic, of the same shapes.
    pub fn switch(&mut self, traffic: &'a Traffic) {
        self.flow.switch(traffic);
    }

    /// The next ticks belong to this step, which begins now.
    pub fn enter(&mut self, step: usize) {
        self.step = step;
        self.step_began = self.end;
    }

    /// Seconds from the beginning to the end of the last window.
    pub fn seconds(&self) -> f64 {
        self.end.since(BEGIN).as_secs_f64()
    }

    /// The next tick, a window of the policy's interval.
    pub fn next_tick(&mut self) -> TickObservation {
        self.next_of(self.policy.analysis.interval)
    }

    /// The next tick, with a window of this length.
    pub fn next_of(&mut self, length: Duration) -> TickObservation {
        let start = self.end;
        self.end = start.plus(length);
        self.seq += 1;
        let weight = self.policy.steps.get(self.step).map(|step| step.weight).unwrap_or_default();
        let loads = self.flow.next(&Span {
            seconds: length.as_secs_f64(),
            canary_share: weight.share(),
            baseline_share: 1.0 - weight.share(),
            in_step: start.since(self.step_began).as_secs_f64(),
        });
        let warm_up = start < self.step_began.plus(self.policy.analysis.warm_up);
        let usage = if warm_up { Usage::WarmUp } else { Usage::Used };
        let window = Window { start, end: self.end };
        let policy = self.policy;
        TickObservation {
            seq: self.seq,
            at: self.end,
            step: self.step,
            weight,
            baseline_weight: Weight(Weight::FULL.0 - weight.0),
            metrics: policy.metrics.iter().map(|m| self.metric(m, &loads, window, usage)).collect(),
            values: values(policy),
        }
    }

    fn metric(
        &mut self,
        metric: &Metric,
        loads: &[Load; 2],
        window: Window,
        usage: Usage,
    ) -> MetricObservation {
        let summed = needs_sum(self.policy, metric);
        let [canary, baseline] =
            [&loads[0], &loads[1]].map(|load| Ok(counts(&mut self.flow, metric, load, summed)));
        MetricObservation {
            routes: Default::default(),
            metric: metric.name.clone(),
            window: Some(window),
            canary,
            baseline,
            usage,
        }
    }
}

/// What one arm counts of a metric; of a latency with the sum of the durations where it is `summed`.
pub(super) fn counts(flow: &mut Flow<'_>, metric: &Metric, load: &Load, summed: bool) -> Counts {
    match metric.source {
        MetricSource::Proportion { .. } => {
            let bad = flow.bad(load, &metric.name);
            let counted = match metric.direction {
                Direction::LowerIsBetter => bad,
                Direction::HigherIsBetter => load.requests - bad,
            };
            Counts::Proportion { total: load.requests, bad: counted }
        }
        MetricSource::Latency { .. } => Counts::Latency {
            le: flow.bounds().to_vec(),
            counts: flow.buckets(load, &metric.name),
            sum: summed.then(|| flow.sum(load, &metric.name)),
        },
        // Events are drawn like errors, and a gauge stays where it is.
        MetricSource::Rate { .. } => Counts::Rate {
            events: flow.bad(load, &metric.name),
            exposure_millionths: load.requests.saturating_mul(1_000_000),
        },
        MetricSource::Mean { .. } | MetricSource::Saturation { .. } => Counts::Value { value: 0.5 },
    }
}

/// Whether some guardrail looks at the mean of the metric.
fn needs_sum(policy: &Policy, metric: &Metric) -> bool {
    let of = |signal: &Signal| matches!(signal, Signal::Mean { metric: name } if *name == metric.name);
    policy.guardrails.iter().any(|guardrail| of(&guardrail.signal))
}

/// Queries have no answer here: they never breach.
fn values(policy: &Policy) -> Vec<ValueObservation> {
    let queries =
        policy.guardrails.iter().filter(|guardrail| matches!(guardrail.signal, Signal::Query { .. }));
    queries
        .map(|guardrail| ValueObservation {
            guardrail: guardrail.name.clone(),
            canary: Err(NoData::Waiting),
            baseline: Err(NoData::Waiting),
        })
        .collect()
}
