//! What is judged: the traffic, the policy, and one run of all methods on the same ticks.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::judge::{History, MetricHistory, Recorded, RecordedWindow};
use serin::core::metric::{Counts, Window};
use serin::core::policy::{Metric, Policy, Step};
use serin::core::source::MetricSource;
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::montecarlo::Ticks;
use serin::montecarlo::random::Random;
use serin::montecarlo::traffic::{Flow, Span, Traffic, Truth};

use crate::figures::TICK_SECONDS;
use crate::kit;
use crate::methods::{Entry, Method};

/// Seconds of the past that φ is measured from.
const PAST_SECONDS: f64 = 7200.0;

/// The weight after a first step, in 1/10,000.
const NEXT: u16 = 2500;

/// A kind of run.
#[derive(Clone)]
pub struct Scene {
    pub traffic: Traffic,
    pub metrics: Vec<Metric>,
    /// The canary's weight in 1/10,000 and the seconds that it is watched, step by step.
    pub steps: Vec<(u16, u64)>,
}

/// The alarm of a method at a threshold.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// Index of the method.
    pub method: usize,
    pub threshold: f64,
}

/// What became of one run.
pub struct Run {
    /// By method: the highest score.
    pub peaks: Vec<f64>,
    /// By method: the first tick, from 1, after which the canary may have advanced.
    pub advanced: Vec<Option<u16>>,
    /// By column: the tick of the alarm.
    pub alarms: Vec<Option<u16>>,
    /// By method: the highest score so far at every tick, if they are kept.
    pub paths: Vec<Vec<f64>>,
}

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the last column has its alarm: enough for delays.
    Alarms,
    /// To the end.
    TheEnd,
    /// To the end, and the scores of every tick are kept.
    TheEndKept,
}

impl Scene {
    /// Half an hour at 5%.
    pub fn new(traffic: Traffic, metrics: Vec<Metric>) -> Scene {
        Scene { traffic, metrics, steps: vec![(500, 1800)] }
    }

    /// With something wrong.
    pub fn with(&self, truth: Truth) -> Scene {
        Scene { traffic: Traffic { truth, ..self.traffic.clone() }, ..self.clone() }
    }

    /// The tests' policy with these steps and this φ for whoever has no history.
    pub fn policy(&self, phi: f64) -> Policy {
        let mut policy = kit::policy(self.metrics.clone());
        policy.analysis.dispersion = phi;
        let of = |weight: u16, seconds: u64| Step {
            weight: Weight(weight),
            min: Duration::from_secs(seconds),
            max: Some(Duration::from_secs(seconds)),
            ..policy.steps[0].clone()
        };
        let mut steps: Vec<Step> = self.steps.iter().map(|(weight, seconds)| of(*weight, *seconds)).collect();
        if self.steps.last().is_some_and(|(weight, _)| *weight < NEXT) {
            // What is allowed goes by the next weight. It is short, since later starts are spread over all
            // steps.
            steps.push(of(NEXT, 60));
        }
        steps.push(of(10_000, 1800));
        policy.steps = steps;
        policy
    }

    /// The canary's share of the traffic at each step.
    pub fn weights(&self) -> Vec<f64> {
        self.steps.iter().map(|(weight, _)| f64::from(*weight) / 10_000.0).collect()
    }

    /// One run of all methods on the same ticks.
    pub fn run(&self, entries: &[Entry], columns: &[Column], until: Until, seed: u64, index: u64) -> Run {
        let policy = self.policy(1.0);
        let needed = entries.iter().any(|entry| entry.needs_past);
        let history = needed.then(|| self.past(&policy, Random::of_run(!seed, index)));
        let mut methods: Vec<Box<dyn Method>> =
            entries.iter().map(|entry| (entry.start)(history.as_ref())).collect();
        let mut run = Run {
            peaks: vec![f64::NEG_INFINITY; methods.len()],
            advanced: vec![None; methods.len()],
            alarms: vec![None; columns.len()],
            paths: vec![Vec::new(); methods.len()],
        };
        let mut ticks = Ticks::new(&policy, &self.traffic, Random::of_run(seed, index));
        let mut number: u16 = 0;
        for (step, (_, seconds)) in self.steps.iter().enumerate() {
            ticks.enter(step);
            for _ in 0..*seconds / TICK_SECONDS as u64 {
                let tick = ticks.next_tick();
                number += 1;
                for (i, method) in methods.iter_mut().enumerate() {
                    run.peaks[i] = method.take(&tick);
                    if run.advanced[i].is_none() && method.has_advanced() {
                        run.advanced[i] = Some(number);
                    }
                    if until == Until::TheEndKept {
                        run.paths[i].push(run.peaks[i]);
                    }
                }
                for (alarm, column) in run.alarms.iter_mut().zip(columns) {
                    if alarm.is_none() && run.peaks[column.method] >= column.threshold {
                        *alarm = Some(number);
                    }
                }
                if until == Until::Alarms && run.alarms.iter().all(Option::is_some) {
                    return run;
                }
            }
        }
        run
    }

    /// Two hours before the rollout: some of the pods, with as much traffic as the canary will have,
    /// against the others. Whatever makes the canary waver made them waver too.
    fn past(&self, policy: &Policy, random: Random) -> History {
        let traffic = Traffic { truth: Truth::default(), ..self.traffic.clone() };
        let mut flow = Flow::new(&traffic, random);
        let share = self.weights()[0];
        let windows = (PAST_SECONDS / TICK_SECONDS) as i64;
        let mut recorded = vec![Recorded::default(); policy.metrics.len()];
        for i in 0..windows {
            let start = Timestamp(i * 1000 * TICK_SECONDS as i64);
            let window = Window { start, end: start.plus(Duration::from_secs(TICK_SECONDS as u64)) };
            let loads = flow.next(&Span {
                seconds: TICK_SECONDS,
                canary_share: share,
                baseline_share: 1.0 - share,
                in_step: PAST_SECONDS,
            });
            for (metric, recorded) in policy.metrics.iter().zip(&mut recorded) {
                let mut counts = |load| match metric.source {
                    MetricSource::Latency { .. } => Counts::Latency {
                        le: flow.bounds().to_vec(),
                        counts: flow.buckets(load, &metric.name),
                        sum: None,
                    },
                    _ => Counts::Proportion { total: load.requests, bad: flow.bad(load, &metric.name) },
                };
                let instances = [("a", counts(&loads[0])), ("b", counts(&loads[1]))];
                let instances: BTreeMap<String, Counts> =
                    instances.into_iter().map(|(name, counts)| (name.to_owned(), counts)).collect();
                recorded.windows.push(RecordedWindow { window, instances });
            }
        }
        let measured = policy.metrics.iter().zip(&recorded);
        let measured = measured
            .filter_map(|(metric, past)| Some((metric.name.clone(), MetricHistory::measure(metric, past)?)));
        History { metrics: measured.collect() }
    }
}
