//! What was measured: integer counts of both arms in a window, or the reason why there are none.

mod notes;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

pub use notes::{ACTIVE_REQUESTS, ArmNotes, BadSeries, Listed, Notes, Processes, Unread};

use super::split::Weight;
use super::time::Timestamp;

/// What one arm showed in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Counts {
    /// Requests, and the bad ones among them.
    Proportion {
        /// All requests.
        total: u64,
        /// Bad requests.
        bad: u64,
    },
    /// Requests per bucket, not cumulative.
    Latency {
        /// Upper bounds in seconds, strictly rising; the last bucket (+Inf) has no bound here, so
        /// `counts` is one longer.
        le: Vec<f64>,
        /// Requests in each bucket, the last one above every bound.
        counts: Vec<u64>,
        /// The sum of all durations in seconds, where the source has it.
        sum: Option<f64>,
    },
    /// Events, and what they are measured against.
    Rate {
        /// How often it happened.
        events: u64,
        /// What the arm was exposed to, in millionths: seconds of instances, seconds of the whole traffic
        /// times the arm's share, or counts of another counter.
        exposure_millionths: u64,
    },
    /// A gauge.
    Value {
        /// In the metric's own unit; finite.
        value: f64,
    },
}

impl Counts {
    /// The sum of both. Counts of different kinds, or with other bounds, cannot be added: the first stay.
    pub fn plus(&self, other: &Counts) -> Counts {
        match (self, other) {
            (Counts::Proportion { total, bad }, Counts::Proportion { total: more, bad: more_bad }) => {
                let (total, bad) = (total.saturating_add(*more), bad.saturating_add(*more_bad));
                Counts::Proportion { total, bad }
            }
            (
                Counts::Latency { le, counts, sum },
                Counts::Latency { le: other_le, counts: more, sum: more_sum },
            ) if le == other_le && counts.len() == more.len() => Counts::Latency {
                le: le.clone(),
                counts: counts.iter().zip(more).map(|(a, b)| a.saturating_add(*b)).collect(),
                sum: sum.zip(*more_sum).map(|(a, b)| a + b),
            },
            _ => self.clone(),
        }
    }

    /// All requests of the window; `None` for what counts no requests.
    pub fn requests(&self) -> Option<u64> {
        match self {
            Counts::Proportion { total, .. } => Some(*total),
            Counts::Latency { counts, .. } => {
                Some(counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)))
            }
            Counts::Rate { .. } | Counts::Value { .. } => None,
        }
    }
}

/// Why there is no reading. Never a pass and never a fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "reason", content = "detail", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NoData {
    /// Fresh samples are not due yet: nothing is wrong.
    Waiting,
    /// The provider could not be reached, or its answer broke off.
    Unreachable(String),
    /// No answer within the deadline.
    Timeout,
    /// It answered with an error status.
    Status(u16),
    /// It refused the query.
    Refused(String),
    /// The answer could not be read.
    Malformed(String),
    /// The answer is of another type than was asked for.
    WrongType(String),
    /// It says itself that the answer is not complete.
    Partial(String),
    /// No series matches.
    Empty,
    /// The series are there but their newest sample is too old.
    Stale {
        /// Age of the newest sample in seconds.
        age_seconds: u64,
    },
    /// NaN or infinite.
    NotFinite,
    /// More series than one where one was asked for.
    ManySeries(usize),
    /// More series or samples than the bound.
    TooLarge(String),
    /// The same series belongs to both arms: the selector does not tell them apart.
    BothArms(String),
    /// Bucket bounds differ between series, arms or windows.
    BoundsDiffer(String),
}

impl NoData {
    /// All names.
    pub const NAMES: &'static [&'static str] = <NoData as VariantNames>::VARIANTS;

    /// The stable name, without the detail.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for NoData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoData::Waiting => write!(f, "fresh samples are not due yet"),
            NoData::Unreachable(detail) => write!(f, "the provider cannot be reached: {detail}"),
            NoData::Timeout => write!(f, "the provider did not answer in time"),
            NoData::Status(code) => write!(f, "the provider answered with status {code}"),
            NoData::Refused(detail) => write!(f, "the provider refused the query: {detail}"),
            NoData::Malformed(detail) => write!(f, "the answer could not be read: {detail}"),
            NoData::WrongType(detail) => write!(f, "the answer is of the wrong type: {detail}"),
            NoData::Partial(detail) => write!(f, "the answer is not complete: {detail}"),
            NoData::Empty => write!(f, "no series matches the selector"),
            NoData::Stale { age_seconds } => {
                write!(f, "the newest sample is {age_seconds} s old")
            }
            NoData::NotFinite => write!(f, "the value is not a finite number"),
            NoData::ManySeries(count) => write!(f, "{count} series came where one was asked for"),
            NoData::TooLarge(detail) => write!(f, "the answer is too large: {detail}"),
            NoData::BothArms(series) => {
                write!(
                    f,
                    "the selectors of both arms match the series {series}; give the arms labels that tell them apart, such as a version label"
                )
            }
            NoData::BoundsDiffer(detail) => write!(f, "bucket bounds differ: {detail}"),
        }
    }
}

/// A reading or the reason why there is none.
pub type Reading<T> = Result<T, NoData>;

/// The time that counts cover, by the samples' own timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Where it begins (the last window's end).
    pub start: Timestamp,
    /// Where it ends.
    pub end: Timestamp,
}

impl Window {
    /// Its length.
    pub fn length(&self) -> Duration {
        self.end.since(self.start)
    }
}

/// Whether the tests use a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// In the tests.
    Used,
    /// As `Used`, but an arm had no requests: it is judged together with the window that follows.
    Carried,
    /// Seen, but not consumed: the counts come again in a later window. Nothing may add them up.
    Pending,
    /// As `Pending`; guardrails look at what the canary has shown so far all the same.
    Ahead,
    /// All of the canary's processes were replaced: the evidence of safety begins anew after it.
    Renewed,
    /// Before the first step, or after the way back has begun: for guardrails and for people.
    Outside,
    /// The split is set but not seen yet.
    Settling,
    /// Begins before the split was seen and ends after it.
    Straddling,
    /// In the first part of a step.
    WarmUp,
    /// At 100%, with no baseline left.
    Baking,
}

impl Usage {
    /// Whether the counts were not consumed, and come again.
    pub fn is_pending(self) -> bool {
        matches!(self, Usage::Pending | Usage::Ahead)
    }
}

/// One metric in one window, both arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricObservation {
    /// The policy's metric.
    pub metric: String,
    /// The window, where either arm has data.
    pub window: Option<Window>,
    /// What the canary showed.
    pub canary: Reading<Counts>,
    /// What the baseline showed.
    pub baseline: Reading<Counts>,
    /// Whether the tests use it; set by the transition, `Outside` from the provider.
    pub usage: Usage,
    /// The same counts route by route, where the policy asks for it: the tests compare within routes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, RouteCounts>,
}

/// One route of a metric in one window. An arm that had nothing there is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteCounts {
    /// Of the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Counts>,
    /// Of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Counts>,
}

/// The value of a guardrail's query, both arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueObservation {
    /// The policy's guardrail.
    pub guardrail: String,
    /// The canary's value.
    pub canary: Reading<f64>,
    /// The baseline's value.
    pub baseline: Reading<f64>,
}

/// Everything that one tick of one rollout showed. The stored form, and the judge's only input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TickObservation {
    /// Counts the rollout's ticks from 1.
    pub seq: u64,
    /// When Serin looked.
    pub at: Timestamp,
    /// Index of the step in the policy.
    pub step: usize,
    /// The canary's weight in force.
    pub weight: Weight,
    /// The weight of what it is compared with.
    #[serde(default)]
    pub baseline_weight: Weight,
    /// The metrics, in the policy's order.
    pub metrics: Vec<MetricObservation>,
    /// The guardrails' queries, in the policy's order.
    pub values: Vec<ValueObservation>,
}

/// Where the counting of one arm of one metric has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// End of the last window.
    pub until: Timestamp,
    /// The last sample of each series, by its name and labels.
    pub series: BTreeMap<String, SeriesCursor>,
    /// The last scrape of each instance.
    pub instances: BTreeMap<String, InstanceCursor>,
    /// The newest sample of all that was dropped from this cursor because it had vanished for long.
    /// Processes that began before it may have been counted already, so they never count from zero.
    #[serde(default)]
    pub forgotten: Timestamp,
    /// The time between two samples of a series, learned from their own times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing: Option<Duration>,
}

/// The last sample that was counted of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesCursor {
    /// Its time.
    pub at: Timestamp,
    /// Its value.
    pub value: f64,
}

/// The last scrape of a process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceCursor {
    /// Its time.
    pub at: Timestamp,
    /// When the process began, in seconds since the epoch, where it says so.
    pub started: Option<f64>,
}

/// The cursors of both arms of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricCursor {
    /// Of the canary.
    pub canary: Cursor,
    /// Of the baseline.
    pub baseline: Cursor,
}
