//! Where a metric's counts come from.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The counters behind a metric. Several selectors are summed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MetricSource {
    /// Bad requests among all requests.
    Proportion {
        /// Counters of all requests.
        total: Vec<Selector>,
        /// Counters of the bad ones.
        bad: Vec<Selector>,
        /// The gauge that says when a process began, where there is one.
        process_start: Option<String>,
    },
    /// A classic histogram of durations.
    Latency {
        /// The base name's selector, without `_bucket`, `_sum` or `_count`.
        histogram: Selector,
        /// Seconds per unit of the bucket bounds, as a decimal text: `1` or `0.001`.
        unit_seconds: String,
        /// The gauge that says when a process began, where there is one.
        process_start: Option<String>,
    },
    /// Events over time: requests, restarts, panics.
    Rate {
        /// Counters of the events.
        events: Vec<Selector>,
        /// What their number is measured against.
        per: Exposure,
        /// The gauge that says when a process began, where there is one.
        process_start: Option<String>,
    },
    /// The mean of something that is no share: a size, a queue, a duration without a histogram.
    Mean {
        /// PromQL that gives one number an arm; `$arm` stands for the arm's matchers.
        query: String,
    },
    /// How full something is: CPU, memory, connections of a pool.
    Saturation {
        /// PromQL that gives one number an arm; `$arm` stands for the arm's matchers.
        query: String,
    },
}

/// What the events of a rate are measured against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Exposure {
    /// Seconds, times the arm's share of the traffic.
    Share,
    /// Seconds of each instance that has the counter.
    Instance,
    /// Counts of other counters.
    Counter {
        /// Their selectors, summed.
        selectors: Vec<Selector>,
    },
}

impl MetricSource {
    /// PromQL, where the metric is a gauge.
    pub fn query(&self) -> Option<&str> {
        match self {
            MetricSource::Mean { query } | MetricSource::Saturation { query } => Some(query),
            _ => None,
        }
    }

    /// The stable name of the metric's kind.
    pub fn kind(&self) -> &'static str {
        self.into()
    }
}

/// A structured selector of series: no PromQL text, so that labels can be added and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Metric name.
    pub metric: String,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

impl fmt::Display for Selector {
    /// As PromQL has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if self.matchers.is_empty() {
            return Ok(());
        }
        let matchers = self.matchers.iter().map(|matcher| {
            let op = match matcher.op {
                MatchOp::Equal => "=",
                MatchOp::NotEqual => "!=",
                MatchOp::Matches => "=~",
                MatchOp::NotMatches => "!~",
            };
            format!("{}{op}{:?}", matcher.label, matcher.value)
        });
        write!(f, "{{{}}}", matchers.collect::<Vec<_>>().join(","))
    }
}

/// One label matcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// Label name.
    pub label: String,
    /// How the value is compared.
    pub op: MatchOp,
    /// The value, unescaped.
    pub value: String,
}

/// How a label is compared, as PromQL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatchOp {
    /// `=`
    #[serde(rename = "=")]
    Equal,
    /// `!=`
    #[serde(rename = "!=")]
    NotEqual,
    /// `=~`, anchored at both ends.
    #[serde(rename = "=~")]
    Matches,
    /// `!~`
    #[serde(rename = "!~")]
    NotMatches,
}
