//! What a provider has recorded of the baseline before a rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use super::random::Random;
use super::ticks::counts;
use super::traffic::{Flow, Span, Traffic, Truth};
use crate::core::judge::{History, MetricHistory, Recorded, RecordedWindow};
use crate::core::metric::Window;
use crate::core::policy::Policy;
use crate::core::time::Timestamp;

/// Of a service whose pods are told apart, windows are at least so long: pods are many.
const OF_PODS: Duration = Duration::from_secs(60);

/// The past of one run, as long as the policy wants it: the baseline alone, with all traffic. Where the
/// traffic has pods they are instances of their own, else there is one.
pub fn past(policy: &Policy, traffic: &Traffic, random: Random) -> History {
    let traffic = Traffic { truth: Truth::default(), ..traffic.clone() };
    let mut flow = Flow::new(&traffic, random);
    let interval = policy.analysis.interval;
    let length = if traffic.has_pods() { interval.max(OF_PODS) } else { interval };
    let windows = policy.analysis.history.as_millis() / length.as_millis().max(1);
    let mut recorded = vec![Recorded::default(); policy.metrics.len()];
    let mut end = Timestamp(0);
    for _ in 0..windows {
        let start = end;
        end = start.plus(length);
        let [_, baseline] = flow.next(&Span {
            seconds: length.as_secs_f64(),
            canary_share: 0.0,
            baseline_share: 1.0,
            in_step: f64::MAX,
        });
        let pods = flow.of_pods(&baseline);
        for (metric, recorded) in policy.metrics.iter().zip(&mut recorded) {
            let of = pods.iter().enumerate();
            let instances: BTreeMap<String, _> =
                of.map(|(i, load)| (format!("pod-{i}"), counts(&mut flow, metric, load, false))).collect();
            recorded.windows.push(RecordedWindow { window: Window { start, end }, instances });
        }
    }
    let measured = policy.metrics.iter().zip(&recorded);
    let measured = measured
        .filter_map(|(metric, past)| Some((metric.name.clone(), MetricHistory::measure(metric, past)?)));
    History { metrics: measured.collect() }
}
