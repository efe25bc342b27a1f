//! What each step of a policy will see at given traffic, found out by simulation.
//!
//! Every figure is of the whole policy's tests: all metrics are drawn and judged, one of them shows a
//! regression that begins with the step, and a regression counts as found if the tests roll back before
//! the step is left. Before the step, the harmless version has been analysed for the minimum of each
//! earlier one. Guardrails are left out: they may be faster, but are promised nothing. From minute 10 of a
//! step on, looks are further apart than in earnest, by at most a thirtieth of the time that has passed:
//! that halves the work, and moves the times by about as much.

mod search;
mod words;

use serde::{Deserialize, Serialize};

use super::random::Random;
use super::run::{Runs, each};
use super::summary::{Share, Times};
use super::traffic::{Bursts, Shape, Traffic, Truth};
use super::walk::{Cause, Left, Looks, Walk};
use crate::core::policy::{Metric, Policy, Step};
use crate::core::source::MetricSource;
use crate::core::split::Weight;

/// The regressions whose times are told: so many times the errors, or the latency.
pub const FACTORS: [f64; 3] = [1.5, 2.0, 5.0];
/// A regression that is found in this share of the steps counts as seen.
pub const SEEN: f64 = 0.8;
/// Enough for a standard error of at most 3.5 points.
pub const RUNS: u64 = 200;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Above 0, of both arms together.
    pub requests_per_second: f64,
    /// Share of the baseline's requests that are bad, in [0, 1].
    pub error_rate: f64,
    /// Median in seconds and σ of the latency. `None`: latencies are taken to be usual ones, and no
    /// regression of theirs is planned for.
    pub latency: Option<(f64, f64)>,
    /// The service's dispersion φ ≥ 1: the tests are tempered by it, and the errors come in bursts that
    /// make it. `None`: tempered by the policy's, and the errors are independent.
    pub dispersion: Option<f64>,
    /// How many runs for each figure; [`RUNS`] is enough.
    pub runs: Runs,
}

/// What a policy will see at given traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The policy's name.
    pub policy: String,
    /// The first digits of its content's hash.
    pub version: String,
    /// Of both arms together.
    pub requests_per_second: f64,
    /// Share of the baseline's requests that are bad.
    pub error_rate: f64,
    /// Median of the baseline's latency.
    pub latency_median_seconds: f64,
    /// Standard deviation of the logarithm of the latency.
    pub latency_sigma: f64,
    /// The latency was not given, so these are usual figures.
    pub latency_assumed: bool,
    /// What the tests are tempered by.
    pub dispersion: f64,
    /// Runs for each figure.
    pub runs: u64,
    /// The same seed gives the same plan.
    pub seed: u64,
    /// The steps below 100%.
    pub steps: Vec<StepPlan>,
}

/// What one step will see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The canary's weight.
    pub weight_percent: f64,
    /// At least so much analysed time.
    pub min_seconds: f64,
    /// At most so much: the step's maximum, or where it has none what the tests reckon with.
    pub max_seconds: f64,
    /// A harmless version goes on, proven to be harmless.
    pub harmless_advances: Share,
    /// From the beginning of the step until it does, warm-up included.
    pub advance: Times,
    /// What can be found, of each metric.
    pub metrics: Vec<MetricPlan>,
    /// What the step cannot do, in plain words.
    pub warnings: Vec<String>,
}

/// What one step will see of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPlan {
    /// The policy's name of it.
    pub metric: String,
    /// A factor of the latency, not of the share of bad requests.
    pub latency: bool,
    /// The smallest regression that is found in 80% of the steps, as a factor; `None` if not even the
    /// largest possible one.
    pub smallest_found: Option<f64>,
    /// For factors that people think in.
    pub found: Vec<Found>,
}

/// How a regression of one size fares in a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// So many times the errors, or the latency.
    pub factor: f64,
    /// The tests rolled it back within the step.
    pub found: Share,
    /// It went on to the next step as not worse than the step allows.
    pub advanced: Share,
    /// From the beginning of the step until it was found, warm-up included.
    pub time: Times,
}

/// Plans the steps of a policy. Takes some seconds on few cores. The same question gets the same answer.
///
/// # Errors
/// Everything in the question that is out of its range, in words.
pub fn plan(policy: &Policy, question: &Question) -> Result<Plan, Vec<String>> {
    let mut traffic = traffic(question);
    let mut wrong = traffic.check().err().unwrap_or_default();
    if let Some(phi) = question.dispersion {
        if (1.0..=1000.0).contains(&phi) {
            traffic.shapes.push(Shape::Bursts(Bursts::Gamma { variance_factor: phi }));
        } else {
            wrong.push(format!("the dispersion is {phi}; it must be between 1 and 1000"));
        }
    }
    if question.runs.runs == 0 {
        wrong.push("there must be at least one run".to_owned());
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut judged = policy.clone();
    judged.guardrails.clear();
    if let Some(dispersion) = question.dispersion {
        judged.analysis.dispersion = dispersion;
    }
    Ok(Plan {
        policy: policy.name.clone(),
        version: policy.version.clone(),
        requests_per_second: question.requests_per_second,
        error_rate: question.error_rate,
        latency_median_seconds: traffic.latency.median_seconds,
        latency_sigma: traffic.latency.sigma,
        latency_assumed: question.latency.is_none(),
        dispersion: judged.analysis.dispersion,
        runs: question.runs.runs,
        seed: question.runs.seed,
        steps: steps(&judged, &traffic, question),
    })
}

fn traffic(question: &Question) -> Traffic {
    let mut traffic = Traffic::new(question.requests_per_second, question.error_rate);
    if let Some((median_seconds, sigma)) = question.latency {
        traffic.latency.median_seconds = median_seconds;
        traffic.latency.sigma = sigma;
    }
    traffic
}

fn steps(policy: &Policy, traffic: &Traffic, question: &Question) -> Vec<StepPlan> {
    let begin =
        |index: u64| Walk::new(policy, traffic, Random::of_run(question.runs.seed, index), Looks::FewerLater);
    let mut walks = each(question.runs, &|_| {}, begin);
    let mut plans = Vec::new();
    for (step, of) in policy.steps.iter().enumerate().filter(|(_, of)| of.weight < Weight::FULL) {
        if step > 0 {
            let min = policy.steps[step - 1].min;
            walks = each(question.runs, &|_| {}, |index| {
                let mut walk = walks[index as usize].clone();
                walk.stay(min);
                walk
            });
        }
        walks.iter_mut().for_each(|walk| walk.enter(step));
        let trial = Trial { walks: &walks, traffic, runs: question.runs };
        plans.push(step_plan(policy, of, &trial, question));
    }
    plans
}

fn step_plan(policy: &Policy, step: &Step, trial: &Trial<'_>, question: &Question) -> StepPlan {
    let harmless = trial.of(&Truth::default());
    let mut metrics: Vec<(Metric, MetricPlan)> = Vec::new();
    for metric in &policy.metrics {
        let latency = matches!(metric.source, MetricSource::Latency { .. });
        if latency && question.latency.is_none() {
            continue;
        }
        // Metrics that are judged alike have the same figures.
        let known = metrics.iter().find(|(other, _)| alike(metric, other)).map(|(_, plan)| plan.clone());
        let plan = known.unwrap_or_else(|| search::metric(trial, metric, question.error_rate));
        metrics.push((metric.clone(), MetricPlan { metric: metric.name.clone(), ..plan }));
    }
    let mut plan = StepPlan {
        weight_percent: step.weight.share() * 100.0,
        min_seconds: step.min.as_secs_f64(),
        max_seconds: step.longest().as_secs_f64(),
        harmless_advances: harmless.advanced,
        advance: harmless.advance_time,
        metrics: metrics.into_iter().map(|(_, plan)| plan).collect(),
        warnings: Vec::new(),
    };
    plan.warnings = words::warnings(&plan, question);
    plan
}

fn alike(a: &Metric, b: &Metric) -> bool {
    let same_kind = std::mem::discriminant(&a.source) == std::mem::discriminant(&b.source);
    let margins = |metric: &Metric| (metric.tolerance, metric.harm_floor, metric.no_harm_floor);
    same_kind && margins(a) == margins(b) && a.direction == b.direction
}

/// Rollouts that stand at the beginning of a step.
struct Trial<'a> {
    walks: &'a [Walk<'a>],
    traffic: &'a Traffic,
    runs: Runs,
}

/// What became of them.
struct Results {
    found: Share,
    found_time: Times,
    advanced: Share,
    advance_time: Times,
}

impl Trial<'_> {
    /// Sends all of them through the step, under this truth. Each meets the same randomness whatever the
    /// truth is, so that differences between truths show more than chance.
    fn of(&self, truth: &Truth) -> Results {
        let traffic = Traffic { truth: truth.clone(), ..self.traffic.clone() };
        let ends: Vec<(Left, f64)> = each(self.runs, &|_| {}, |index| {
            let mut walk = self.walks[index as usize].with_traffic(&traffic);
            (walk.through(), walk.in_step())
        });
        let times = |of: Left| Times::new(ends.iter().map(move |(left, at)| (*left == of).then_some(*at)));
        let share = |of: Left| {
            let count = ends.iter().filter(|(left, _)| *left == of).count();
            Share::new(count as u64, ends.len() as u64)
        };
        let found = Left::RolledBack(Cause::Tests);
        let advanced = Left::Advanced { proven: true };
        Results {
            found: share(found),
            found_time: times(found),
            advanced: share(advanced),
            advance_time: times(advanced),
        }
    }
}
