//! From a rollout to what its provider is asked, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::Engine;
use super::slot::{Active, Slot};
use crate::core::arms::{ArmSelector, arms};
use crate::core::metric::{MetricCursor, MetricObservation, NoData, Usage, ValueObservation};
use crate::core::policy::Signal;
use crate::core::rollout::{Phase, Tick};
use crate::ports::{CountsRequest, Required, ValueRequest};

impl Engine {
    /// Asks the provider of a target for everything that its rollout looks at. A fault is an answer.
    pub(super) async fn collect(
        &self,
        slot: &Slot,
        elapsed: Duration,
    ) -> Option<(Tick, BTreeMap<String, MetricCursor>)> {
        let active = slot.active.as_ref()?;
        let rollout = &active.rollout;
        let provider = self.parts.providers.get(&slot.spec.provider)?;
        let (canary, baseline) = match arms(&slot.spec, &slot.target, &rollout.version) {
            Ok(arms) => arms,
            Err(sentence) => {
                let tick = nothing(active, elapsed, &NoData::Refused(sentence));
                return Some((tick, BTreeMap::new()));
            }
        };
        let counts = self.counts_requests(active, &canary, &baseline);
        let values = self.value_requests(active, &canary, &baseline);
        let both = async {
            let counted = provider.counts(&counts).await;
            let valued = if values.is_empty() { Vec::new() } else { provider.values(&values).await };
            (counted, valued)
        };
        // Every provider keeps its own deadline; this one is for those that do not.
        let Ok((answers, values)) = timeout(self.parts.options.call_deadline * 2, both).await else {
            return Some((nothing(active, elapsed, &NoData::Timeout), BTreeMap::new()));
        };
        if answers.len() != counts.len() {
            let odd = NoData::Malformed(format!("{} answers to {} requests", answers.len(), counts.len()));
            return Some((nothing(active, elapsed, &odd), BTreeMap::new()));
        }
        let mut cursors = BTreeMap::new();
        let mut metrics = Vec::new();
        for answer in answers {
            let mut observation = answer.observation;
            match answer.cursor {
                Some(cursor) => {
                    cursors.insert(observation.metric.clone(), cursor);
                }
                None => observation.usage = Usage::Pending,
            }
            metrics.push(observation);
        }
        Some((Tick { elapsed, metrics, values }, cursors))
    }

    fn counts_requests(
        &self,
        active: &Active,
        canary: &ArmSelector,
        baseline: &ArmSelector,
    ) -> Vec<CountsRequest> {
        let rollout = &active.rollout;
        let analysis = &rollout.policy.analysis;
        let required = match rollout.phase {
            Phase::Preflight | Phase::Preparing { step: 0 } => Required::Baseline,
            Phase::Finalizing | Phase::Baking | Phase::RollingBack { .. } => Required::Canary,
            _ => Required::Both,
        };
        let now = self.clock().wall();
        rollout
            .policy
            .metrics
            .iter()
            .map(|metric| CountsRequest {
                metric: metric.name.clone(),
                source: metric.source.clone(),
                canary: canary.clone(),
                baseline: baseline.clone(),
                cursor: active.cursors.get(&metric.name).cloned(),
                required,
                rollout_started: rollout.created_at,
                now,
                lag: analysis.lag,
                stale_after: stale_after(analysis.interval, analysis.silent.after),
            })
            .collect()
    }

    fn value_requests(
        &self,
        active: &Active,
        canary: &ArmSelector,
        baseline: &ArmSelector,
    ) -> Vec<ValueRequest> {
        let analysis = &active.rollout.policy.analysis;
        let now = self.clock().wall();
        let queries = active.rollout.policy.guardrails.iter().filter_map(|guardrail| {
            let Signal::Query { query } = &guardrail.signal else { return None };
            Some(ValueRequest {
                guardrail: guardrail.name.clone(),
                query: query.clone(),
                canary: canary.clone(),
                baseline: baseline.clone(),
                now,
                lag: analysis.lag,
                stale_after: stale_after(analysis.interval, analysis.silent.after),
            })
        });
        queries.collect()
    }
}

/// A sample older than this is stale. Half the silent limit, so that a crash is acted on in one and a
/// half times the limit, and scrape intervals of up to one and a half times the limit give no alarm.
fn stale_after(interval: Duration, silent: Duration) -> Duration {
    (interval * 3).max(silent / 2)
}

/// A look that shows nothing, with the reason.
fn nothing(active: &Active, elapsed: Duration, why: &NoData) -> Tick {
    let policy = &active.rollout.policy;
    let metrics = policy.metrics.iter().map(|metric| MetricObservation {
        metric: metric.name.clone(),
        window: None,
        canary: Err(why.clone()),
        baseline: Err(why.clone()),
        usage: Usage::Pending,
    });
    let queries = policy.guardrails.iter().filter(|g| matches!(g.signal, Signal::Query { .. }));
    let values = queries.map(|guardrail| ValueObservation {
        guardrail: guardrail.name.clone(),
        canary: Err(why.clone()),
        baseline: Err(why.clone()),
    });
    Tick { elapsed, metrics: metrics.collect(), values: values.collect() }
}
