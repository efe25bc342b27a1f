//! What is known of the metrics from before the rollout is taken once, before the first look, and never
//! changes: evidence that is judged again begins with the same.

use std::sync::Arc;

use super::change::Change;
use super::{EventKind, Phase, Rollout};
use crate::core::judge::{DispersionSource, History, JudgeState, MetricHistory};
use crate::core::policy::{Metric, Policy};
use crate::core::target::{KeptHistory, Target};
use crate::core::words::duration;

/// Whether a rollout still has to ask for its metrics' pasts.
pub fn is_due(rollout: &Rollout) -> bool {
    rollout.phase == Phase::Preflight && rollout.tick_seq == 0 && rollout.history.is_none()
}

/// What was found now counts, then what the target still knows from earlier rollouts.
pub(super) fn take(change: &mut Change, found: History) {
    let policy = change.state.rollout.policy.clone();
    let mut history = History::default();
    for metric in &policy.metrics {
        let now = found.metrics.get(&metric.name).cloned();
        if let Some(past) = &now {
            let kept = KeptHistory {
                source: metric.source.clone(),
                tolerance: metric.tolerance,
                history: past.clone(),
            };
            change.state.target.history.insert(metric.name.clone(), kept);
        }
        if let Some(past) = now.or_else(|| kept(&change.state.target, metric)) {
            history.metrics.insert(metric.name.clone(), past);
        }
    }
    let method = change.state.rollout.method;
    change.state.judge = Arc::new(JudgeState::of_method(method, &policy, Some(&history)));
    let sentence = sentence(&policy, &history);
    change.state.rollout.plan_mut().history = Some(history);
    change.record(EventKind::HistoryTaken, None, sentence);
}

fn kept(target: &Target, metric: &Metric) -> Option<MetricHistory> {
    let kept = target.history.get(&metric.name)?;
    let same = kept.source == metric.source && kept.tolerance == metric.tolerance;
    same.then(|| kept.history.clone())
}

/// `Dispersion: errors 1.8 (measured between the baseline's instances over 2 h); latency 3 (…).`
fn sentence(policy: &Policy, history: &History) -> String {
    let counted = policy.metrics.iter().filter(|metric| metric.source.query().is_none());
    let of = |metric: &Metric| match history.metrics.get(&metric.name) {
        Some(past) if past.source != DispersionSource::Policy => format!(
            "{} {:.2} ({}, {})",
            metric.name,
            past.dispersion,
            past.source.words(),
            duration(past.until.since(past.from))
        ),
        _ => format!("{} {} (the policy's, without history)", metric.name, policy.analysis.dispersion),
    };
    let all: Vec<String> = counted.map(of).collect();
    format!("Dispersion for this rollout: {}.", all.join("; "))
}
