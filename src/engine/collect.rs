//! From a rollout to what its provider is asked, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::Engine;
use super::slot::{Active, Slot};
use crate::core::arms::{ArmSelector, arms};
use crate::core::judge::{History, MetricHistory, Recorded};
use crate::core::metric::{
    ACTIVE_REQUESTS, ArmNotes, Counts, Cursor, MetricCursor, MetricObservation, NoData, Notes, Reading,
    Usage, ValueObservation, Window,
};
use crate::core::policy::{Metric, Signal};
use crate::core::rollout::{Event, Phase, Tick, history_is_due};
use crate::core::time::Timestamp;
use crate::ports::{CountsAnswer, CountsRequest, Died, HistoryRequest, Required, ValueRequest};
use crate::telemetry;

/// So much of the time that a policy wants to look back on must be recorded.
const ENOUGH_OF_PAST: f64 = 0.9;

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
        let gauges = gauges(active);
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
        let expected = self.value_requests(active, &canary, &baseline).len();
        if answers.len() != counts.len() || values.len() != expected {
            let got = answers.len() + values.len();
            let odd = NoData::Malformed(format!("{got} answers to {} requests", counts.len() + expected));
            return Some((nothing(active, elapsed, &odd), BTreeMap::new()));
        }
        let mut values = values;
        let mut rails = values.split_off(gauges.len());
        // The last one is no guardrail.
        let under_way = rails.pop_if(|value| value.guardrail == ACTIVE_REQUESTS);
        let at = counts.first().map_or_else(|| self.clock().wall(), |request| request.now);
        let end = at.minus(rollout.policy.analysis.lag);
        let read = values.into_iter().map(|value| gauge_answer(active, value, end));
        let mut cursors = BTreeMap::new();
        let mut metrics = Vec::new();
        let mut notes = BTreeMap::new();
        for answer in answers.into_iter().chain(read) {
            let mut observation = answer.observation;
            for (arm, noticed) in [("canary", &answer.notes.canary), ("baseline", &answer.notes.baseline)] {
                if let Some(unread) = &noticed.unread {
                    telemetry::collect_fault(&slot.target.name, &rollout.policy.name, "partial");
                    tracing::warn!(target = %slot.target.name, metric = %observation.metric, arm,
                        unread = unread.pages, of = unread.of, why = %unread.why, "metrics pages cannot be read");
                }
            }
            notes.insert(observation.metric.clone(), answer.notes);
            match answer.cursor {
                Some(cursor) => {
                    cursors.insert(observation.metric.clone(), cursor);
                }
                None => observation.usage = Usage::Pending,
            }
            metrics.push(observation);
        }
        if let Some(value) = under_way {
            let arm = |reading: Reading<f64>| ArmNotes { active: reading.ok(), ..ArmNotes::default() };
            let both = Notes { canary: arm(value.canary), baseline: arm(value.baseline) };
            notes.insert(ACTIVE_REQUESTS.to_owned(), both);
        }
        // In the policy's order again.
        let place = |name: &str| rollout.policy.metrics.iter().position(|metric| metric.name == name);
        metrics.sort_by_key(|observation| place(&observation.metric));
        Some((Tick { elapsed, metrics, values: rails, notes }, cursors))
    }

    /// Asks for the metrics' pasts, once, before the first look. What the provider cannot tell is left to
    /// what the target knows from earlier rollouts, and then to the policy.
    pub(super) async fn history(&self, slot: &mut Slot) -> Result<(), Died> {
        let Some(active) = &slot.active else { return Ok(()) };
        let rollout = &active.rollout;
        let over = rollout.policy.analysis.history;
        if over.is_zero() || !history_is_due(rollout) {
            return Ok(());
        }
        let Some(provider) = self.parts.providers.get(&slot.spec.provider) else { return Ok(()) };
        let Ok((_, baseline)) = arms(&slot.spec, &slot.target, &rollout.version) else { return Ok(()) };
        let metrics: Vec<_> = rollout.policy.metrics.iter().filter(|m| m.source.query().is_none()).collect();
        let now = self.clock().wall();
        let request = |metric: &&Metric| HistoryRequest {
            metric: metric.name.clone(),
            source: metric.source.clone(),
            baseline: baseline.clone(),
            now,
            over,
            window: rollout.policy.analysis.interval,
        };
        let requests: Vec<HistoryRequest> = metrics.iter().map(request).collect();
        let answers = timeout(self.parts.options.call_deadline * 2, provider.history(&requests)).await;
        let mut found = History::default();
        for (metric, answer) in metrics.iter().zip(answers.unwrap_or_default()) {
            match answer.map(|recorded| past(metric, &recorded, over)) {
                Ok(Some(past)) => {
                    found.metrics.insert(metric.name.clone(), past);
                }
                Ok(None) => {}
                Err(why) => tracing::info!(metric = %metric.name, %why, "no history of the metric"),
            }
        }
        self.take(slot, Event::History(found), BTreeMap::new(), None).await?;
        Ok(())
    }

    fn counts_requests(
        &self,
        active: &Active,
        canary: &ArmSelector,
        baseline: &ArmSelector,
    ) -> Vec<CountsRequest> {
        let rollout = &active.rollout;
        let analysis = &rollout.policy.analysis;
        let required = required(&rollout.phase);
        let now = self.clock().wall();
        rollout
            .policy
            .metrics
            .iter()
            .filter(|metric| metric.source.query().is_none())
            .map(|metric| CountsRequest {
                metric: metric.name.clone(),
                source: metric.source.clone(),
                by_route: metric.by_route.clone(),
                canary: canary.clone(),
                baseline: baseline.clone(),
                cursor: active.cursors.get(&metric.name).cloned(),
                required,
                rollout_started: rollout.created_at,
                now,
                lag: analysis.lag,
                stale_after: active.rollout.stale_after(),
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
        let rails = active.rollout.policy.guardrails.iter().filter_map(|guardrail| {
            let Signal::Query { query } = &guardrail.signal else { return None };
            Some((guardrail.name.as_str(), query.as_str()))
        });
        // Gauges first: they are told apart from guardrails by their place.
        let requests = active.rollout.policy.analysis.active_requests.as_deref();
        let under_way = requests.map(|query| (ACTIVE_REQUESTS, query));
        let queries = gauges(active).into_iter().chain(rails).chain(under_way);
        let request = |(name, query): (&str, &str)| ValueRequest {
            guardrail: name.to_owned(),
            query: query.to_owned(),
            canary: canary.clone(),
            baseline: baseline.clone(),
            now,
            lag: analysis.lag,
            stale_after: active.rollout.stale_after(),
        };
        queries.map(request).collect()
    }
}

/// The past of a metric, if nearly all of the wanted time was recorded.
fn past(metric: &Metric, recorded: &Recorded, over: Duration) -> Option<MetricHistory> {
    let past = MetricHistory::measure(metric, recorded)?;
    (past.until.since(past.from) >= over.mul_f64(ENOUGH_OF_PAST)).then_some(past)
}

/// Names and queries of the policy's gauges, in its order.
fn gauges(active: &Active) -> Vec<(&str, &str)> {
    let metrics = active.rollout.policy.metrics.iter();
    metrics.filter_map(|metric| Some((metric.name.as_str(), metric.source.query()?))).collect()
}

/// A gauge's values as an observation: consumed when both arms (before the first step: the baseline) have
/// one. A cursor without series carries the end of the window.
fn gauge_answer(active: &Active, value: ValueObservation, end: Timestamp) -> CountsAnswer {
    let needed = match required(&active.rollout.phase) {
        Required::Both => value.canary.is_ok() && value.baseline.is_ok(),
        Required::Baseline => value.baseline.is_ok(),
        Required::Canary => value.canary.is_ok(),
    };
    let before = active.cursors.get(&value.guardrail).map_or(end, |cursor| cursor.baseline.until);
    let is_later = end > before || !active.cursors.contains_key(&value.guardrail);
    let until = Cursor { until: end, ..Cursor::default() };
    let counts = |reading: Reading<f64>| reading.map(|value| Counts::Value { value });
    CountsAnswer {
        observation: MetricObservation {
            routes: Default::default(),
            metric: value.guardrail,
            window: needed.then_some(Window { start: before.min(end), end }),
            canary: counts(value.canary),
            baseline: counts(value.baseline),
            usage: Usage::Outside,
        },
        notes: Default::default(),
        cursor: (needed && is_later).then(|| MetricCursor { canary: until.clone(), baseline: until }),
    }
}

/// Which arms must have fresh samples in a phase.
fn required(phase: &Phase) -> Required {
    match phase {
        Phase::Preflight | Phase::Preparing { step: 0 } => Required::Baseline,
        Phase::Finalizing | Phase::Baking | Phase::RollingBack { .. } => Required::Canary,
        _ => Required::Both,
    }
}

/// A look that shows nothing, with the reason.
fn nothing(active: &Active, elapsed: Duration, why: &NoData) -> Tick {
    let policy = &active.rollout.policy;
    let metrics = policy.metrics.iter().map(|metric| MetricObservation {
        routes: Default::default(),
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
    Tick { elapsed, metrics: metrics.collect(), values: values.collect(), notes: BTreeMap::new() }
}
