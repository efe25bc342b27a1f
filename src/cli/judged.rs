//! Streams of recorded ticks, each judged by itself.

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use super::record::{Line, Ordered, RecordError};
use crate::core::judge::{Assessment, Decision, History, JudgeState, Stream, Verdict};
use crate::core::metric::{
    Counts, MetricObservation, NoData, Reading, TickObservation, Usage, ValueObservation, Window,
};
use crate::core::policy::{Policy, Signal};
use crate::core::source::MetricSource;
use crate::core::split::Weight;
use crate::core::time::Timestamp;

/// A window longer than so many intervals is a gap: nobody knows what happened in it.
const LONGEST_GAP: u32 = 10;

/// Why a line cannot be judged.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{}{detail}", stream.as_ref().map(|stream| format!("stream {stream}: ")).unwrap_or_default())]
pub struct LineError {
    stream: Option<String>,
    detail: String,
}

/// What a line came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Judged {
    /// A tick.
    Tick(JudgedTick),
    /// A tick so long after the one before that its window is not tested; of that stream.
    Gap(String),
    /// The stream was over before, or was given up for an error.
    Over,
}

/// A tick, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgedTick {
    /// Which stream.
    pub stream: String,
    /// Seconds, as it was given.
    pub t: f64,
    /// What the policy decides.
    pub decision: Decision,
    /// Why, the weightiest first, in sentences.
    pub reasons: Vec<String>,
    /// By name, in the policy's order.
    pub metrics: Ordered<JudgedMetric>,
}

/// A metric of a tick, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgedMetric {
    /// The verdict.
    pub verdict: Verdict,
    /// ln of its evidence of harm.
    pub ln_e_harm: f64,
    /// ln of its evidence of no harm in this step.
    pub ln_e_no_harm: f64,
    /// Canary over baseline: low, estimate, high.
    pub ratio: Option<[f64; 3]>,
    /// The dispersion that the tests are tempered by.
    pub phi: f64,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamEnd {
    /// Which stream.
    pub stream: String,
    /// `roll_back`, `promote`, or what was decided last.
    pub decision: Decision,
    /// Seconds; null while undecided.
    pub decided_at: Option<f64>,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

/// All streams of an input. Each that is not over takes a few kilobytes.
pub struct Streams {
    policy: Policy,
    history: Option<History>,
    streams: BTreeMap<String, One>,
    /// In the order in which they began.
    order: Vec<String>,
}

struct One {
    /// `None` when it is over or was given up.
    running: Option<Box<Running>>,
    decision: Decision,
    decided_at: Option<f64>,
    reasons: Vec<String>,
    wrong: bool,
}

struct Running {
    stream: Stream,
    last: Option<Timestamp>,
    seq: u64,
    step: usize,
    /// When the step's first window began.
    step_from: Timestamp,
    /// The bucket bounds of each latency.
    bounds: BTreeMap<String, Vec<f64>>,
}

impl Streams {
    /// None yet. `history` holds for streams that bring none of their own.
    pub fn new(policy: Policy, history: Option<History>) -> Streams {
        Streams { policy, history, streams: BTreeMap::new(), order: Vec::new() }
    }

    /// Takes in a line.
    ///
    /// # Errors
    /// [`LineError`]; if the line's stream is known it is given up, and the others are as they were.
    pub fn take(&mut self, line: &[u8]) -> Result<Judged, LineError> {
        let line: Line = serde_json::from_slice(line).map_err(|error| LineError {
            stream: None,
            detail: format!(
                "this is no tick: {error}; a tick is a JSON object with stream, t, weight and metrics"
            ),
        })?;
        let history = line.history.as_ref().or(self.history.as_ref());
        if !self.streams.contains_key(&line.stream) {
            self.order.push(line.stream.clone());
        }
        let one = self
            .streams
            .entry(line.stream.clone())
            .or_insert_with(|| One::new(line.method(), &self.policy, history));
        one.take(&self.policy, line)
    }

    /// How every stream ended, in the order in which they began.
    pub fn ends(&self) -> impl Iterator<Item = StreamEnd> {
        self.order.iter().filter_map(|name| {
            let one = self.streams.get(name).filter(|one| !one.wrong)?;
            Some(StreamEnd {
                stream: name.clone(),
                decision: one.decision,
                decided_at: one.decided_at,
                reasons: one.reasons.clone(),
            })
        })
    }
}

impl One {
    fn new(method: u32, policy: &Policy, history: Option<&History>) -> One {
        let running = Running {
            stream: Stream::from_judge(JudgeState::of_method(method, policy, history)),
            last: None,
            seq: 0,
            step: 0,
            step_from: Timestamp::default(),
            bounds: BTreeMap::new(),
        };
        One {
            running: Some(Box::new(running)),
            decision: Decision::Hold,
            decided_at: None,
            reasons: Vec::new(),
            wrong: false,
        }
    }

    fn take(&mut self, policy: &Policy, line: Line) -> Result<Judged, LineError> {
        let Some(running) = &mut self.running else { return Ok(Judged::Over) };
        let (assessment, decision, gap) = match running.take(policy, &line) {
            Ok(judged) => judged,
            Err(detail) => {
                self.running = None;
                self.wrong = true;
                return Err(LineError { stream: Some(line.stream), detail });
            }
        };
        self.decision = decision;
        self.reasons = assessment.reasons.iter().map(|reason| reason.sentence.clone()).collect();
        if matches!(decision, Decision::RollBack | Decision::Promote) {
            self.decided_at = Some(line.t);
            self.running = None;
        }
        if gap {
            return Ok(Judged::Gap(line.stream));
        }
        Ok(Judged::Tick(JudgedTick {
            stream: line.stream,
            t: line.t,
            decision,
            reasons: self.reasons.clone(),
            metrics: Ordered(assessment.metrics.into_iter().map(written).collect()),
        }))
    }
}

fn written(metric: crate::core::judge::MetricAssessment) -> (String, JudgedMetric) {
    let written = JudgedMetric {
        verdict: metric.verdict,
        ln_e_harm: metric.ln_e_harm,
        ln_e_no_harm: metric.ln_e_no_harm,
        ratio: metric.ratio,
        phi: metric.dispersion,
    };
    (metric.name, written)
}

impl Running {
    fn take(&mut self, policy: &Policy, line: &Line) -> Result<(Assessment, Decision, bool), String> {
        self.seq += 1;
        let mut tick = line.tick(self.seq).map_err(|error: RecordError| error.to_string())?;
        if line.step.is_none() {
            tick.step = step_of(policy, tick.weight)?;
        }
        if tick.step >= policy.steps.len() {
            return Err(format!("step {} is not one of the policy's {}", tick.step, policy.steps.len()));
        }
        let interval = policy.analysis.interval;
        let start = match self.last {
            Some(last) if tick.at <= last => {
                let (now, before) = (tick.at.seconds(), last.seconds());
                return Err(format!("t is {now}, not later than {before}, the stream's last tick"));
            }
            Some(last) => last,
            None => tick.at.minus(interval),
        };
        let window = Window { start, end: tick.at };
        let gap = self.last.is_some() && window.length() > interval * LONGEST_GAP;
        self.last = Some(tick.at);
        if self.seq == 1 || tick.step != self.step {
            (self.step, self.step_from) = (tick.step, window.start);
        }
        self.complete(policy, line, &mut tick, window, gap)?;
        let marked = line.metrics.0.iter().any(|(_, metric)| metric.usage.is_some());
        // What was recorded with its use is judged as it was.
        if !marked {
            self.stream.carry(&mut tick);
        }
        let (assessment, decision) = self.stream.observe(policy, &tick);
        Ok((assessment, decision, gap && !marked))
    }

    /// Brings the metrics into the policy's order, and marks those that are not marked.
    fn complete(
        &mut self,
        policy: &Policy,
        line: &Line,
        tick: &mut TickObservation,
        window: Window,
        gap: bool,
    ) -> Result<(), String> {
        for seen in &tick.metrics {
            let Some(metric) = policy.metric(&seen.metric) else {
                let names: Vec<&str> = policy.metrics.iter().map(|metric| metric.name.as_str()).collect();
                let known = names.join(", ");
                return Err(format!(
                    "policy {} has no metric `{}`; it has {known}",
                    policy.name, seen.metric
                ));
            };
            self.check(&metric.source, seen)?;
        }
        let warm = window.start < self.step_from.plus(policy.analysis.warm_up);
        let usual = match policy.steps.get(tick.step) {
            Some(step) if step.weight == Weight::FULL => Usage::Baking,
            _ if gap => Usage::Straddling,
            _ if warm => Usage::WarmUp,
            _ => Usage::Used,
        };
        let mut given = std::mem::take(&mut tick.metrics);
        for metric in &policy.metrics {
            let at = given.iter().position(|seen| seen.metric == metric.name);
            let mut seen = at.map_or_else(|| missing(&metric.name), |at| given.swap_remove(at));
            let own = line.metrics.0.iter().find(|(name, _)| *name == metric.name);
            if own.is_none_or(|(_, own)| own.usage.is_none()) {
                seen.usage = usual;
                let has_data = seen.canary.is_ok() || seen.baseline.is_ok();
                seen.window = seen.window.or(has_data.then_some(window));
            }
            tick.metrics.push(seen);
        }
        let queries = policy.guardrails.iter().filter(|rail| matches!(rail.signal, Signal::Query { .. }));
        for rail in queries {
            if !tick.values.iter().any(|value| value.guardrail == rail.name) {
                tick.values.push(ValueObservation {
                    guardrail: rail.name.clone(),
                    canary: Err(NoData::Empty),
                    baseline: Err(NoData::Empty),
                });
            }
        }
        Ok(())
    }

    /// The counts are of the policy's kind, and a histogram has the buckets that it always had.
    fn check(&mut self, source: &MetricSource, seen: &MetricObservation) -> Result<(), String> {
        let name = &seen.metric;
        for (arm, reading) in [("canary", &seen.canary), ("baseline", &seen.baseline)] {
            let Ok(counts) = reading else { continue };
            let fits = matches!(
                (source, counts),
                (MetricSource::Proportion { .. }, Counts::Proportion { .. })
                    | (MetricSource::Latency { .. }, Counts::Latency { .. })
                    | (MetricSource::Rate { .. }, Counts::Rate { .. })
                    | (MetricSource::Mean { .. } | MetricSource::Saturation { .. }, Counts::Value { .. })
            );
            if !fits {
                let (form, kind) = (form(source), source.kind());
                return Err(format!("{name}: {arm} is not a {kind}, as the policy has it; that is {form}"));
            }
            let Counts::Latency { le, .. } = counts else { continue };
            match self.bounds.get(name) {
                Some(known) if known == le => {}
                Some(known) => {
                    return Err(format!(
                        "{name}: {arm} has the buckets {le:?}; until now (or in the other arm) they were \
                         {known:?}, and buckets must stay the same"
                    ));
                }
                None => {
                    self.bounds.insert(name.clone(), le.clone());
                }
            }
        }
        Ok(())
    }
}

fn form(source: &MetricSource) -> &'static str {
    match source {
        MetricSource::Proportion { .. } => r#"{"total":500,"bad":3}"#,
        MetricSource::Latency { .. } => r#"{"le":[0.1,0.25,"+Inf"],"counts":[400,80,20]}"#,
        MetricSource::Rate { .. } => r#"{"events":3,"exposure":20.0}"#,
        MetricSource::Mean { .. } | MetricSource::Saturation { .. } => r#"{"value":0.61}"#,
    }
}

fn missing(metric: &str) -> MetricObservation {
    let none: Reading<Counts> = Err(NoData::Empty);
    MetricObservation {
        routes: Default::default(),
        metric: metric.to_owned(),
        window: None,
        canary: none.clone(),
        baseline: none,
        usage: Usage::Used,
    }
}

fn step_of(policy: &Policy, weight: Weight) -> Result<usize, String> {
    policy.steps.iter().position(|step| step.weight == weight).ok_or_else(|| {
        let steps: Vec<String> = policy.steps.iter().map(|step| step.weight.to_string()).collect();
        let all = steps.join(", ");
        format!("the weight {weight} is no step of policy {}; its steps are {all}", policy.name)
    })
}
