//! What a step cannot do, in plain words.

use super::{Found, MetricPlan, Question, SEEN, StepPlan};

/// A regression of this factor ought to be found: twice as much.
const SMALLEST_THAT_MATTERS: f64 = 2.0;

pub(super) fn warnings(plan: &StepPlan, question: &Question) -> Vec<String> {
    let mut warnings: Vec<String> =
        plan.metrics.iter().filter_map(|metric| unseen(plan, metric, question)).collect();
    let advances = plan.harmless_advances.share;
    if advances < SEEN {
        warnings.push(format!(
            "At {} a harmless version is proven to be harmless in {} of {} steps; the others wait for a \
             person, or end as the step's maximum says.",
            traffic(question, false),
            percent(advances),
            duration(plan.max_seconds),
        ));
    }
    warnings
}

/// A doubling that is not seen.
fn unseen(plan: &StepPlan, metric: &MetricPlan, question: &Question) -> Option<String> {
    let doubled = metric.found.iter().find(|found| found.factor == SMALLEST_THAT_MATTERS)?;
    if doubled.found.share >= SEEN {
        return None;
    }
    let what = if metric.latency { "twice the latency" } else { "twice the errors" };
    let smallest = match metric.smallest_found {
        Some(factor) => format!("the smallest that is found in 80% is ×{}", figure(factor)),
        None => "no regression is found in 80%".to_owned(),
    };
    Some(format!(
        "{}: at {}, ×2 ({what}) is found in {} of {} steps{}; {smallest}.",
        metric.metric,
        traffic(question, metric.latency),
        percent(doubled.found.share),
        duration(plan.max_seconds),
        goes_on(doubled),
    ))
}

fn goes_on(found: &Found) -> String {
    match found.advanced.share {
        share if share >= 0.05 => format!(", and goes on to the next in {}", percent(share)),
        _ => String::new(),
    }
}

fn traffic(question: &Question, latency: bool) -> String {
    let rate = figure(question.requests_per_second);
    if latency {
        format!("{rate} requests/s")
    } else {
        format!("{rate} requests/s and {}% errors", figure(question.error_rate * 100.0))
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Up to three digits: `2000`, `1.37`, `0.05`.
fn figure(x: f64) -> String {
    if x >= 100.0 {
        return format!("{x:.0}");
    }
    let decimals = if x >= 10.0 {
        1
    } else if x >= 0.1 {
        2
    } else {
        4
    };
    let text = format!("{x:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `30-minute`, `4-hour`, `90-second`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if whole >= 3600 && whole.is_multiple_of(3600) => format!("{}-hour", whole / 3600),
        _ if whole >= 60 && whole.is_multiple_of(60) => format!("{}-minute", whole / 60),
        _ => format!("{whole}-second"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_durations() {
        for (x, text) in [(2000.0, "2000"), (100.0, "100"), (13.37, "13.4"), (1.374, "1.37"), (0.05, "0.05")]
        {
            assert_eq!(figure(x), text);
        }
        for (seconds, text) in [(1800.0, "30-minute"), (14_400.0, "4-hour"), (90.0, "90-second")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
