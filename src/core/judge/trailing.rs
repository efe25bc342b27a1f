//! Counts over a trailing time, in a bounded number of slots.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::metric::{Counts, MetricObservation, Reading};
use crate::core::policy::Signal;
use crate::core::time::Timestamp;
use crate::stats::histogram::{quantile, total};

/// A trailing time is cut into slots of at least this part of it.
const PARTS: u32 = 32;

/// What one arm showed, as far as the signal needs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    requests: u64,
    bad: u64,
    seconds: f64,
    buckets: Vec<u64>,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bad = self.bad.saturating_add(other.bad);
        self.seconds += other.seconds;
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum = sum.saturating_add(*count);
        }
    }
}

/// Counts of both arms over the last `over`, by the windows' own time. It covers at least `over`, and
/// at most a part more; windows are not split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Trailing {
    slots: VecDeque<Slot>,
    le: Vec<f64>,
    until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    length: Duration,
    canary: Sums,
    baseline: Sums,
}

/// Which arms a window had something of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fresh {
    pub canary: bool,
    pub baseline: bool,
    pub length: Duration,
}

impl Trailing {
    /// Takes in a window of the metric that the signal looks at.
    pub fn take(&mut self, signal: &Signal, over: Duration, seen: &MetricObservation) -> Fresh {
        let (canary, baseline) = (self.sums(signal, &seen.canary), self.sums(signal, &seen.baseline));
        let length = seen.window.map_or(Duration::ZERO, |window| window.length());
        let fresh = Fresh { canary: canary.is_some(), baseline: baseline.is_some(), length };
        if !fresh.canary && !fresh.baseline {
            return fresh;
        }
        // A gap between two windows ages what is there.
        let end = seen.window.map(|window| window.end);
        let passed = end.zip(self.until).map_or(length, |(end, until)| end.since(until).max(length));
        self.until = end.or(self.until);
        self.push(
            Slot {
                length: passed,
                canary: canary.unwrap_or_default(),
                baseline: baseline.unwrap_or_default(),
            },
            over,
        );
        fresh
    }

    fn push(&mut self, slot: Slot, over: Duration) {
        match self.slots.back_mut().filter(|last| last.length < over / PARTS) {
            Some(last) => {
                last.length += slot.length;
                last.canary.add(&slot.canary);
                last.baseline.add(&slot.baseline);
            }
            None => self.slots.push_back(slot),
        }
        let mut covered: Duration = self.slots.iter().map(|slot| slot.length).sum();
        while let Some(first) = self.slots.front()
            && self.slots.len() > 1
            && covered.saturating_sub(first.length) >= over
        {
            covered -= first.length;
            self.slots.pop_front();
        }
    }

    fn sums(&mut self, signal: &Signal, reading: &Reading<Counts>) -> Option<Sums> {
        match (signal, reading.as_ref().ok()?) {
            (Signal::Rate { .. }, Counts::Proportion { total, bad }) => {
                Some(Sums { requests: *total, bad: *bad.min(total), ..Sums::default() })
            }
            (Signal::Mean { .. }, Counts::Latency { counts, sum: Some(sum), .. }) => {
                let finite = sum.is_finite();
                finite.then(|| Sums { requests: total(counts), seconds: *sum, ..Sums::default() })
            }
            (Signal::Quantile { .. }, Counts::Latency { le, counts, .. }) => {
                if self.le != *le {
                    self.slots.clear();
                    self.le.clone_from(le);
                }
                Some(Sums { requests: total(counts), buckets: counts.clone(), ..Sums::default() })
            }
            _ => None,
        }
    }

    /// All of canary and baseline.
    fn both(&self) -> [Sums; 2] {
        let (mut canary, mut baseline) = (Sums::default(), Sums::default());
        for slot in &self.slots {
            canary.add(&slot.canary);
            baseline.add(&slot.baseline);
        }
        [canary, baseline]
    }

    /// The requests of canary and baseline.
    pub fn requests(&self) -> [u64; 2] {
        self.both().map(|sums| sums.requests)
    }

    /// The signal's value of canary and baseline; `None` with fewer than `min_requests` or none.
    pub fn values(&self, signal: &Signal, min_requests: u64) -> [Option<f64>; 2] {
        self.both().map(|sums| self.value(signal, min_requests, &sums))
    }

    /// The canary's value with a reading that is not consumed yet, and is not kept.
    pub fn canary_with(&self, signal: &Signal, min_requests: u64, newest: &Reading<Counts>) -> Option<f64> {
        // A histogram with other bounds begins anew.
        let mut with = match newest {
            Ok(Counts::Latency { le, .. }) if *le != self.le => {
                Trailing { le: le.clone(), ..Trailing::default() }
            }
            _ => self.clone(),
        };
        let newest = with.sums(signal, newest)?;
        let [mut canary, _] = with.both();
        canary.add(&newest);
        with.value(signal, min_requests, &canary)
    }

    fn value(&self, signal: &Signal, min_requests: u64, sums: &Sums) -> Option<f64> {
        if sums.requests < min_requests.max(1) {
            return None;
        }
        match signal {
            Signal::Rate { .. } => Some(sums.bad as f64 / sums.requests as f64),
            Signal::Mean { .. } => Some(sums.seconds / sums.requests as f64).filter(|v| v.is_finite()),
            Signal::Quantile { quantile: q, .. } => quantile(&self.le, &sums.buckets, *q),
            Signal::Query { .. } => None,
        }
    }
}
