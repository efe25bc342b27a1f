//! What is kept in memory of a rollout's stored ticks, so that a chart is read once and then only what is
//! new: counts that can be summed, and the last evidence. Bounded: neighbours are merged when there are
//! too many.

use std::sync::Arc;

use crate::core::judge::{Assessment, MetricAssessment};
use crate::core::metric::{Counts, MetricObservation, Reading, TickObservation};
use crate::core::policy::Policy;
use crate::core::rollout::{EventKind, EventRecord};
use crate::core::split::Weight;
use crate::core::time::Timestamp;

/// Points of one rollout; with more, neighbours are merged. A day at ten seconds has 8,640.
pub(super) const MOST: usize = 10_000;

/// What is known of a rollout's past.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// The last tick that was taken in.
    pub after: u64,
    /// The last log line that was taken in.
    pub after_event: u64,
    /// When the first step was entered.
    pub first_step: Option<Timestamp>,
    /// When the way back began.
    pub back: Option<Timestamp>,
    /// In the order of time.
    pub points: Vec<Point>,
}

/// One tick, or several neighbours in one.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// When the last of them was taken.
    pub at: Timestamp,
    /// The step's index.
    pub step: usize,
    /// The canary's weight in force.
    pub weight: Weight,
    /// ln of the combined evidence.
    pub ln_harm: f64,
    /// The bounds of the evidence: of harm, and of no harm.
    pub bounds: (f64, f64),
    /// In the policy's order.
    pub metrics: Vec<Sums>,
}

/// What a metric showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// The canary.
    pub canary: Option<Tally>,
    /// The baseline.
    pub baseline: Option<Tally>,
    /// The last evidence.
    pub evidence: Option<Evidence>,
}

/// What an assessment said of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub ln_harm: f64,
    pub ln_no_harm: f64,
    pub ratio: Option<[f64; 3]>,
    pub bound_seconds: Option<f64>,
    pub dispersion: f64,
}

/// Counts that can be summed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tally {
    Proportion { total: u64, bad: u64 },
    Latency { le: Arc<[f64]>, counts: Vec<u64> },
    Rate { events: u64, exposure_millionths: u64 },
    Value { sum: f64, count: u64 },
}

impl Tally {
    fn of(reading: &Reading<Counts>) -> Option<Tally> {
        Some(match reading.as_ref().ok()? {
            Counts::Proportion { total, bad } => Tally::Proportion { total: *total, bad: *bad },
            Counts::Latency { le, counts, .. } => {
                Tally::Latency { le: le.as_slice().into(), counts: counts.clone() }
            }
            Counts::Rate { events, exposure_millionths } => {
                Tally::Rate { events: *events, exposure_millionths: *exposure_millionths }
            }
            Counts::Value { value } if value.is_finite() => Tally::Value { sum: *value, count: 1 },
            Counts::Value { .. } => return None,
        })
    }

    /// Adds a later one. Histograms of other bounds cannot be added: the later one stays.
    pub(super) fn add(&mut self, later: &Tally) {
        match (&mut *self, later) {
            (Tally::Proportion { total, bad }, Tally::Proportion { total: t, bad: b }) => {
                (*total, *bad) = (total.saturating_add(*t), bad.saturating_add(*b));
            }
            (Tally::Latency { le, counts }, Tally::Latency { le: l, counts: c })
                if le == l && counts.len() == c.len() =>
            {
                counts.iter_mut().zip(c).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
            }
            (
                Tally::Rate { events, exposure_millionths },
                Tally::Rate { events: e, exposure_millionths: x },
            ) => {
                *events = events.saturating_add(*e);
                *exposure_millionths = exposure_millionths.saturating_add(*x);
            }
            (Tally::Value { sum, count }, Tally::Value { sum: s, count: c }) => {
                (*sum, *count) = (*sum + s, count.saturating_add(*c));
            }
            (mine, later) => *mine = later.clone(),
        }
    }
}

/// Adds what may be missing on either side.
pub(super) fn add(sum: &mut Option<Tally>, later: Option<&Tally>) {
    match (sum.as_mut(), later) {
        (Some(sum), Some(later)) => sum.add(later),
        (None, Some(later)) => *sum = Some(later.clone()),
        (_, None) => {}
    }
}

impl Sums {
    fn new(metric: Option<&MetricObservation>, assessed: Option<&MetricAssessment>) -> Sums {
        // Pending counts come again in a later window.
        let metric = metric.filter(|metric| !metric.usage.is_pending());
        Sums {
            canary: metric.and_then(|metric| Tally::of(&metric.canary)),
            baseline: metric.and_then(|metric| Tally::of(&metric.baseline)),
            evidence: assessed.map(|assessed| Evidence {
                ln_harm: assessed.ln_e_harm,
                ln_no_harm: assessed.ln_e_no_harm,
                ratio: assessed.ratio,
                bound_seconds: assessed.bound_seconds,
                dispersion: assessed.dispersion,
            }),
        }
    }

    /// Adds a later one; its evidence is the newer one.
    pub(super) fn add(&mut self, later: &Sums) {
        add(&mut self.canary, later.canary.as_ref());
        add(&mut self.baseline, later.baseline.as_ref());
        self.evidence = later.evidence.or(self.evidence);
    }
}

impl Point {
    fn new(tick: &TickObservation, assessment: &Assessment, policy: &Policy) -> Point {
        let metrics = policy.metrics.iter().map(|metric| {
            Sums::new(
                tick.metrics.iter().find(|observed| observed.metric == metric.name),
                assessment.metrics.iter().find(|assessed| assessed.name == metric.name),
            )
        });
        Point {
            at: tick.at,
            step: tick.step,
            weight: tick.weight,
            ln_harm: assessment.ln_e_harm,
            bounds: (assessment.ln_bound_harm, assessment.ln_bound_no_harm),
            metrics: metrics.collect(),
        }
    }

    /// Takes in a later one.
    pub(super) fn add(&mut self, later: &Point) {
        self.metrics.iter_mut().zip(&later.metrics).for_each(|(sum, later)| sum.add(later));
        (self.at, self.step, self.weight) = (later.at, later.step, later.weight);
        (self.ln_harm, self.bounds) = (later.ln_harm, later.bounds);
    }
}

impl Trace {
    /// Takes in stored ticks, in their order.
    pub(super) fn take(&mut self, ticks: &[(TickObservation, Assessment)], policy: &Policy) {
        for (tick, assessment) in ticks {
            if tick.seq <= self.after {
                continue;
            }
            self.after = tick.seq;
            self.points.push(Point::new(tick, assessment, policy));
        }
        while self.points.len() > MOST {
            self.merge();
        }
    }

    /// Takes in log lines, in their order.
    pub(super) fn take_events(&mut self, events: &[EventRecord]) {
        for event in events {
            self.after_event = self.after_event.max(event.seq);
            match event.kind {
                EventKind::StepEntered => self.first_step = self.first_step.or(Some(event.at)),
                EventKind::RollbackStarted => self.back = self.back.or(Some(event.at)),
                _ => {}
            }
        }
    }

    /// Merges neighbours of one step, so that about half of the points are left.
    fn merge(&mut self) {
        let mut merged: Vec<Point> = Vec::with_capacity(self.points.len() / 2 + 1);
        let mut open = false;
        for point in self.points.drain(..) {
            match merged.last_mut().filter(|last| open && last.step == point.step) {
                Some(last) => {
                    last.add(&point);
                    open = false;
                }
                None => {
                    merged.push(point);
                    open = true;
                }
            }
        }
        self.points = merged;
    }
}
