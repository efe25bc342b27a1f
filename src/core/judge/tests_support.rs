//! Metrics for the tests within this room.

use crate::core::policy::{Direction, Metric};
use crate::core::source::{MetricSource, Selector};

fn selector(metric: &str) -> Selector {
    Selector { metric: metric.to_owned(), matchers: Vec::new() }
}

pub(crate) fn errors() -> Metric {
    Metric {
        by_route: None,
        absent_is_zero: false,
        name: "errors".to_owned(),
        source: MetricSource::Proportion {
            total: vec![selector("requests_total")],
            bad: vec![selector("errors_total")],
            process_start: None,
        },
        bad_means: "server errors".to_owned(),
        tolerance: 0.1,
        harm_floor: 0.0005,
        no_harm_floor: 0.001,
        direction: Direction::LowerIsBetter,
    }
}

pub(crate) fn latency() -> Metric {
    let histogram = selector("duration_seconds");
    Metric {
        name: "latency".to_owned(),
        source: MetricSource::Latency { histogram, unit_seconds: "1".to_owned(), process_start: None },
        bad_means: "slow requests".to_owned(),
        ..errors()
    }
}
