//! The core's structures that views have whole, for the description of the API. The core itself knows
//! nothing of that description; a test keeps both the same.

// They are only described, never made.
#![allow(dead_code)]

use serde::Deserialize;
use utoipa::ToSchema;

/// What a guardrail looks at.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Signal {
    /// The bad share of a metric.
    Rate {
        /// The policy's metric.
        metric: String,
    },
    /// The mean of a latency, in seconds.
    Mean {
        /// The policy's metric.
        metric: String,
    },
    /// A quantile of a latency, in seconds.
    Quantile {
        /// The policy's metric.
        metric: String,
        /// Between 0 and 1.
        quantile: f64,
    },
    /// A query that gives one number an arm.
    Query {
        /// PromQL.
        query: String,
    },
}

/// What a guardrail compares with.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum GuardrailLimit {
    /// A value in the signal's unit.
    Absolute(f64),
    /// A factor of the baseline's value.
    RatioToBaseline(f64),
    /// A difference to the baseline's value, in the signal's unit.
    DifferenceToBaseline(f64),
}

/// The counters behind a metric. Several selectors are summed.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum MetricSource {
    /// Bad requests among all requests.
    Proportion {
        /// Counters of all requests.
        total: Vec<Selector>,
        /// Counters of the bad ones.
        bad: Vec<Selector>,
        /// The gauge that says when a process began.
        process_start: Option<String>,
    },
    /// A histogram of durations.
    Latency {
        /// Its base name's selector.
        histogram: Selector,
        /// Seconds per unit of its bounds, as a decimal text.
        unit_seconds: String,
        /// The gauge that says when a process began.
        process_start: Option<String>,
    },
    /// Events over time.
    Rate {
        /// Counters of the events.
        events: Vec<Selector>,
        /// What they are measured against.
        per: Exposure,
        /// The gauge that says when a process began.
        process_start: Option<String>,
    },
    /// The mean of something that is no share.
    Mean {
        /// PromQL that gives one number an arm.
        query: String,
    },
    /// How full something is.
    Saturation {
        /// PromQL that gives one number an arm.
        query: String,
    },
}

/// What the events of a rate are measured against.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
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

/// Series of one name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

/// One label matcher.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// How the value is compared.
    pub op: MatchOp,
    /// The value.
    pub value: String,
}

/// How a label is compared, as PromQL has it.
#[derive(Deserialize, ToSchema)]
pub enum MatchOp {
    /// The same.
    #[serde(rename = "=")]
    Equal,
    /// Another one.
    #[serde(rename = "!=")]
    NotEqual,
    /// Matches the expression.
    #[serde(rename = "=~")]
    Matches,
    /// Does not match it.
    #[serde(rename = "!~")]
    NotMatches,
}

#[cfg(test)]
mod tests {
    use crate::core::{limit, policy, source};

    fn is<T: serde::de::DeserializeOwned>(core: &impl serde::Serialize) {
        let text = serde_json::to_string(core).unwrap();
        serde_json::from_str::<T>(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// Would not compile if the core had one that the lists below have not.
    #[allow(dead_code)]
    fn all_are_listed(
        source: &source::MetricSource,
        per: &source::Exposure,
        op: source::MatchOp,
        signal: &policy::Signal,
        limit: limit::GuardrailLimit,
    ) {
        use limit::GuardrailLimit;
        use policy::Signal;
        use source::{Exposure, MatchOp, MetricSource};
        match source {
            MetricSource::Proportion { total: _, bad: _, process_start: _ }
            | MetricSource::Latency { histogram: _, unit_seconds: _, process_start: _ }
            | MetricSource::Rate { events: _, per: _, process_start: _ }
            | MetricSource::Mean { query: _ }
            | MetricSource::Saturation { query: _ } => {}
        }
        match per {
            Exposure::Share | Exposure::Instance | Exposure::Counter { selectors: _ } => {}
        }
        match op {
            MatchOp::Equal | MatchOp::NotEqual | MatchOp::Matches | MatchOp::NotMatches => {}
        }
        match signal {
            Signal::Rate { metric: _ }
            | Signal::Mean { metric: _ }
            | Signal::Quantile { metric: _, quantile: _ }
            | Signal::Query { query: _ } => {}
        }
        match limit {
            GuardrailLimit::Absolute(_)
            | GuardrailLimit::RatioToBaseline(_)
            | GuardrailLimit::DifferenceToBaseline(_) => {}
        }
    }

    /// Every one of the core is described.
    #[test]
    fn the_cores_structures_are_as_they_are_described() {
        let ops = [
            source::MatchOp::Equal,
            source::MatchOp::NotEqual,
            source::MatchOp::Matches,
            source::MatchOp::NotMatches,
        ];
        let matcher = |op| source::Matcher { label: "a".into(), op, value: "b".into() };
        let selector = source::Selector { metric: "m".into(), matchers: ops.map(matcher).to_vec() };
        let (some, process_start) = (vec![selector.clone()], Some("start".to_owned()));
        let rate = |per| source::MetricSource::Rate {
            events: some.clone(),
            per,
            process_start: process_start.clone(),
        };
        for source in [
            source::MetricSource::Proportion {
                total: some.clone(),
                bad: Vec::new(),
                process_start: process_start.clone(),
            },
            source::MetricSource::Latency {
                histogram: selector.clone(),
                unit_seconds: "1".into(),
                process_start: None,
            },
            rate(source::Exposure::Share),
            rate(source::Exposure::Instance),
            rate(source::Exposure::Counter { selectors: some.clone() }),
            source::MetricSource::Mean { query: "q".into() },
            source::MetricSource::Saturation { query: "q".into() },
        ] {
            is::<super::MetricSource>(&source);
        }
        for signal in [
            policy::Signal::Rate { metric: "m".into() },
            policy::Signal::Mean { metric: "m".into() },
            policy::Signal::Quantile { metric: "m".into(), quantile: 0.5 },
            policy::Signal::Query { query: "q".into() },
        ] {
            is::<super::Signal>(&signal);
        }
        for limit in [
            limit::GuardrailLimit::Absolute(1.0),
            limit::GuardrailLimit::RatioToBaseline(2.0),
            limit::GuardrailLimit::DifferenceToBaseline(0.1),
        ] {
            is::<super::GuardrailLimit>(&limit);
        }
    }
}
