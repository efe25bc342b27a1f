//! A rollout's stored observations as JSON lines, one tick a line, to be judged again.
//!
//! The form is that of recorded data: `{"stream":…,"t":…,"weight":…,"metrics":{name:{"canary":…,
//! "baseline":…}}}`, with `t` in seconds, `weight` in percent, and an arm left out where it had no data.
//! The further fields `seq`, `step`, `usage`, `window`, `no_data` and `values` carry the rest of what is
//! stored: [`Line::new`] and [`Line::tick`] are inverse to each other, bit for bit.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::core::judge::{History, METHOD, METHOD_UNNAMED};
use crate::core::metric::{
    Counts, MetricObservation, NoData, Reading, RouteCounts, TickObservation, Usage, ValueObservation, Window,
};
use crate::core::split::Weight;
use crate::core::time::Timestamp;

/// One tick of one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which stream; of a daemon the rollout's id.
    pub stream: String,
    /// Seconds since any fixed point; of a daemon since 1970.
    pub t: f64,
    /// The canary's weight in force, in percent.
    pub weight: f64,
    /// The weight of what the canary is compared with, in percent; left out: it is not known, and the
    /// canary's share of the requests is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_weight: Option<f64>,
    /// Counts the stream's ticks from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Index of the step in the policy, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// In the first line of a stream: the method that it is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<u32>,
    /// In the first line of a stream: what was known of its metrics' pasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// The metrics, in the policy's order.
    #[serde(default)]
    pub metrics: Ordered<MetricLine>,
    /// The values of the guardrails' queries, in the policy's order.
    #[serde(default, skip_serializing_if = "Ordered::is_empty")]
    pub values: Ordered<ValueLine>,
}

/// One metric of one tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricLine {
    /// What the canary showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<ArmLine>,
    /// What the baseline showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ArmLine>,
    /// Whether the tests use the window; left out: they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Start and end of the window, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<[i64; 2]>,
    /// Why an arm is left out.
    #[serde(default, skip_serializing_if = "NoDataLine::is_empty")]
    pub no_data: NoDataLine,
    /// The same counts route by route, where the arms are to be compared within routes.
    #[serde(default, skip_serializing_if = "Ordered::is_empty")]
    pub routes: Ordered<RouteLine>,
}

/// One route of a metric; an arm that had nothing there is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteLine {
    /// What the canary showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<ArmLine>,
    /// What the baseline showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ArmLine>,
}

/// Why arms are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoDataLine {
    /// Why the canary is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<NoData>,
    /// Why the baseline is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<NoData>,
}

impl NoDataLine {
    fn is_empty(&self) -> bool {
        self.canary.is_none() && self.baseline.is_none()
    }
}

/// The counts of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ArmLine {
    /// Of a proportion.
    Proportion {
        /// All requests.
        total: u64,
        /// The bad ones.
        bad: u64,
    },
    /// Of a latency.
    Latency {
        /// Upper bounds in seconds; the last one is `+Inf`.
        le: Vec<Bound>,
        /// Requests in each bucket, not cumulative.
        counts: Vec<u64>,
        /// The sum of all durations in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sum: Option<f64>,
    },
    /// Of a rate.
    Rate {
        /// How often it happened.
        events: u64,
        /// What it is measured against, in the policy's unit (seconds, or counts).
        exposure: f64,
    },
    /// Of a gauge.
    Value {
        /// In its own unit.
        value: f64,
    },
}

/// The upper bound of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// In seconds.
    Seconds(f64),
    /// Of the last bucket.
    Infinite(Infinite),
}

/// The word for no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Infinite {
    /// `"+Inf"`
    #[serde(rename = "+Inf")]
    Inf,
}

/// The value of a guardrail's query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueLine {
    /// Of the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<f64>,
    /// Of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Why an arm is left out.
    #[serde(default, skip_serializing_if = "NoDataLine::is_empty")]
    pub no_data: NoDataLine,
}

/// A JSON object whose fields keep their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered(Vec::new())
    }
}

impl<T> Ordered<T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a line is not a tick.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {detail}")]
pub struct RecordError {
    /// Where in the line.
    pub field: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl Line {
    /// The line of a stored tick of the rollout `stream`.
    pub fn new(stream: &str, tick: &TickObservation) -> Line {
        Line {
            stream: stream.to_owned(),
            t: tick.at.seconds(),
            weight: f64::from(tick.weight.0) / 100.0,
            baseline_weight: Some(f64::from(tick.baseline_weight.0) / 100.0),
            seq: Some(tick.seq),
            method: None,
            history: None,
            step: Some(tick.step),
            metrics: Ordered(
                tick.metrics.iter().map(|metric| (metric.metric.clone(), MetricLine::new(metric))).collect(),
            ),
            values: Ordered(
                tick.values.iter().map(|value| (value.guardrail.clone(), ValueLine::new(value))).collect(),
            ),
        }
    }

    /// The method of the stream that begins with this line. Before exports said which, there was one only; what was
    /// recorded elsewhere counts no ticks, and is judged by the newest.
    pub fn method(&self) -> u32 {
        self.method.unwrap_or(if self.seq.is_some() { METHOD_UNNAMED } else { METHOD })
    }

    /// The tick of a line; `seq` is taken where the line has none.
    ///
    /// # Errors
    /// [`RecordError`] if a number is out of its range or buckets do not fit their bounds.
    pub fn tick(&self, seq: u64) -> Result<TickObservation, RecordError> {
        let metrics = self.metrics.0.iter().map(|(name, metric)| metric.observation(name));
        let values = self.values.0.iter().map(|(name, value)| value.observation(name));
        Ok(TickObservation {
            seq: self.seq.unwrap_or(seq),
            at: milliseconds(self.t)?,
            step: self.step.unwrap_or(0),
            weight: weight(self.weight)?,
            baseline_weight: self.baseline_weight.map_or(Ok(Weight::ZERO), weight)?,
            metrics: metrics.collect::<Result<_, _>>()?,
            values: values.collect(),
        })
    }
}

fn wrong(field: impl Into<String>, detail: impl Into<String>) -> RecordError {
    RecordError { field: field.into(), detail: detail.into() }
}

fn milliseconds(t: f64) -> Result<Timestamp, RecordError> {
    // Beyond this, milliseconds are not exact in a double.
    if t.is_finite() && t.abs() <= 1e12 {
        Ok(Timestamp((t * 1000.0).round() as i64))
    } else {
        Err(wrong("t", format!("{t} is not a time in seconds")))
    }
}

fn weight(percent: f64) -> Result<Weight, RecordError> {
    if (0.0..=100.0).contains(&percent) {
        Ok(Weight((percent * 100.0).round() as u16))
    } else {
        Err(wrong("weight", format!("{percent} is not a percentage from 0 to 100")))
    }
}

impl MetricLine {
    fn new(metric: &MetricObservation) -> MetricLine {
        let arm = |reading: &Reading<Counts>| reading.as_ref().ok().map(ArmLine::new);
        MetricLine {
            canary: arm(&metric.canary),
            baseline: arm(&metric.baseline),
            usage: Some(metric.usage),
            window: metric.window.map(|window| [window.start.0, window.end.0]),
            no_data: NoDataLine {
                canary: metric.canary.as_ref().err().cloned(),
                baseline: metric.baseline.as_ref().err().cloned(),
            },
            routes: Ordered(
                metric.routes.iter().map(|(name, route)| (name.clone(), RouteLine::new(route))).collect(),
            ),
        }
    }

    fn observation(&self, name: &str) -> Result<MetricObservation, RecordError> {
        let arm = |arm: &Option<ArmLine>, missing: &Option<NoData>, word: &str| match arm {
            Some(arm) => arm
                .counts()
                .map(Ok)
                .map_err(|error| wrong(format!("metrics.{name}.{word}.{}", error.field), error.detail)),
            None => Ok(Err(missing.clone().unwrap_or(NoData::Empty))),
        };
        Ok(MetricObservation {
            routes: self
                .routes
                .0
                .iter()
                .map(|(route, line)| line.counts(name, route))
                .collect::<Result<_, _>>()?,
            metric: name.to_owned(),
            window: self.window.map(|[start, end]| Window { start: Timestamp(start), end: Timestamp(end) }),
            canary: arm(&self.canary, &self.no_data.canary, "canary")?,
            baseline: arm(&self.baseline, &self.no_data.baseline, "baseline")?,
            usage: self.usage.unwrap_or(Usage::Used),
        })
    }
}

impl RouteLine {
    fn new(route: &RouteCounts) -> RouteLine {
        RouteLine {
            canary: route.canary.as_ref().map(ArmLine::new),
            baseline: route.baseline.as_ref().map(ArmLine::new),
        }
    }

    fn counts(&self, metric: &str, route: &str) -> Result<(String, RouteCounts), RecordError> {
        let arm = |arm: &Option<ArmLine>, word: &str| {
            let counts = arm.as_ref().map(ArmLine::counts).transpose();
            counts.map_err(|error| {
                wrong(format!("metrics.{metric}.routes.{route}.{word}.{}", error.field), error.detail)
            })
        };
        let (canary, baseline) = (arm(&self.canary, "canary")?, arm(&self.baseline, "baseline")?);
        Ok((route.to_owned(), RouteCounts { canary, baseline }))
    }
}

impl ArmLine {
    fn new(counts: &Counts) -> ArmLine {
        match counts {
            Counts::Proportion { total, bad } => ArmLine::Proportion { total: *total, bad: *bad },
            Counts::Latency { le, counts, sum } => ArmLine::Latency {
                le: le.iter().copied().map(Bound::Seconds).chain([Bound::Infinite(Infinite::Inf)]).collect(),
                counts: counts.clone(),
                sum: *sum,
            },
            Counts::Rate { events, exposure_millionths } => {
                ArmLine::Rate { events: *events, exposure: *exposure_millionths as f64 / 1e6 }
            }
            Counts::Value { value } => ArmLine::Value { value: *value },
        }
    }

    fn counts(&self) -> Result<Counts, RecordError> {
        match self {
            ArmLine::Proportion { total, bad } if bad > total => {
                Err(wrong("bad", format!("{bad} bad of {total} requests cannot be")))
            }
            ArmLine::Proportion { total, bad } => Ok(Counts::Proportion { total: *total, bad: *bad }),
            ArmLine::Latency { le, counts, sum } => {
                let Some((Bound::Infinite(_), bounds)) = le.split_last() else {
                    return Err(wrong("le", "the last bound must be \"+Inf\""));
                };
                let bounds: Vec<f64> = bounds
                    .iter()
                    .map(|bound| match bound {
                        Bound::Seconds(seconds) => Ok(*seconds),
                        Bound::Infinite(_) => Err(wrong("le", "only the last bound may be \"+Inf\"")),
                    })
                    .collect::<Result<_, _>>()?;
                if bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
                    return Err(wrong("le", "the bounds must rise strictly"));
                }
                if counts.len() != le.len() {
                    let detail =
                        format!("{} buckets for {} bounds; one each is right", counts.len(), le.len());
                    return Err(wrong("counts", detail));
                }
                Ok(Counts::Latency { le: bounds, counts: counts.clone(), sum: *sum })
            }
            // Above this, millionths are not exact in a double.
            ArmLine::Rate { exposure, .. } if !(0.0..=9e9).contains(exposure) => {
                Err(wrong("exposure", format!("{exposure} is not between 0 and 9,000,000,000")))
            }
            ArmLine::Rate { events, exposure } => {
                let exposure_millionths = (exposure * 1e6).round() as u64;
                Ok(Counts::Rate { events: *events, exposure_millionths })
            }
            ArmLine::Value { value } if !value.is_finite() => {
                Err(wrong("value", "it is not a finite number"))
            }
            ArmLine::Value { value } => Ok(Counts::Value { value: *value }),
        }
    }
}

impl ValueLine {
    fn new(value: &ValueObservation) -> ValueLine {
        ValueLine {
            canary: value.canary.as_ref().ok().copied(),
            baseline: value.baseline.as_ref().ok().copied(),
            no_data: NoDataLine {
                canary: value.canary.as_ref().err().cloned(),
                baseline: value.baseline.as_ref().err().cloned(),
            },
        }
    }

    fn observation(&self, name: &str) -> ValueObservation {
        let arm = |value: Option<f64>, missing: &Option<NoData>| {
            value.ok_or_else(|| missing.clone().unwrap_or(NoData::Empty))
        };
        ValueObservation {
            guardrail: name.to_owned(),
            canary: arm(self.canary, &self.no_data.canary),
            baseline: arm(self.baseline, &self.no_data.baseline),
        }
    }
}

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ordered<T>, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if entries.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format!("`{name}` is there twice")));
                    }
                    entries.push((name, value));
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
