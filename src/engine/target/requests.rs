//! From a rollout to what its source is asked, and back. Pure.

use std::collections::BTreeMap;

use super::message::{Active, LookRequest, Looked};
use crate::core::arms::{ArmSelector, arms};
use crate::core::metric::{
    ACTIVE_REQUESTS, ArmNotes, Counts, Cursor, MetricCursor, MetricObservation, NoData, Notes, Reading,
    Usage, ValueObservation, Window,
};
use crate::core::policy::{Metric, Signal};
use crate::core::rollout::Phase;
use crate::core::spec::TargetSpec;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::ports::{CountsAnswer, CountsRequest, HistoryRequest, Required, ValueRequest};

/// What is asked at a look.
///
/// # Errors
/// A sentence if the arms cannot be told apart.
pub(super) fn look(
    spec: &TargetSpec,
    target: &Target,
    active: &Active,
    now: Timestamp,
) -> Result<LookRequest, String> {
    let (canary, baseline) = arms(spec, target, &active.rollout.version)?;
    Ok(LookRequest {
        target: target.name.clone(),
        source: spec.provider.clone(),
        counts: counts(active, &canary, &baseline, now),
        values: values(active, &canary, &baseline, now),
    })
}

/// What is asked of the metrics' pasts; nothing if the arms cannot be told apart.
pub(super) fn history(
    spec: &TargetSpec,
    target: &Target,
    active: &Active,
    now: Timestamp,
) -> Vec<HistoryRequest> {
    let rollout = &active.rollout;
    let Ok((_, baseline)) = arms(spec, target, &rollout.version) else { return Vec::new() };
    let request = |metric: &Metric| HistoryRequest {
        metric: metric.name.clone(),
        source: metric.source.clone(),
        baseline: baseline.clone(),
        now,
        over: rollout.policy.analysis.history,
        window: rollout.policy.analysis.interval,
    };
    rollout.policy.metrics.iter().filter(|m| m.source.query().is_none()).map(request).collect()
}

/// What a look shows.
pub(super) struct Read {
    /// In the policy's order.
    pub metrics: Vec<MetricObservation>,
    /// Of the query guardrails.
    pub rails: Vec<ValueObservation>,
    /// What sources have noticed beside the counts, by metric.
    pub notes: BTreeMap<String, Notes>,
    /// Where counting has come to, by metric.
    pub cursors: BTreeMap<String, MetricCursor>,
}

/// What a source has answered to a look that was begun at `at`.
///
/// # Errors
/// [`NoData::Malformed`] if there are not as many answers as requests.
pub(super) fn read(active: &Active, looked: Looked, at: Timestamp) -> Result<Read, NoData> {
    let Looked { counts: answers, mut values } = looked;
    let policy = &active.rollout.policy;
    let gauges = gauges(active).len();
    let rails = policy.guardrails.iter().filter(|g| matches!(g.signal, Signal::Query { .. })).count();
    let asked = rails + usize::from(policy.analysis.active_requests.is_some());
    let expected = policy.metrics.len() + asked;
    if answers.len() + gauges != policy.metrics.len() || values.len() != gauges + asked {
        let got = answers.len() + values.len();
        return Err(NoData::Malformed(format!("{got} answers to {expected} requests")));
    }
    let mut rails = values.split_off(gauges);
    // The last one is no guardrail.
    let under_way = rails.pop_if(|value| value.guardrail == ACTIVE_REQUESTS);
    let end = at.minus(policy.analysis.lag);
    let gauges = values.into_iter().map(|value| gauge_answer(active, value, end));
    let mut read = Read { metrics: Vec::new(), rails, notes: BTreeMap::new(), cursors: BTreeMap::new() };
    for answer in answers.into_iter().chain(gauges) {
        let mut observation = answer.observation;
        read.notes.insert(observation.metric.clone(), answer.notes);
        match answer.cursor {
            Some(cursor) => {
                read.cursors.insert(observation.metric.clone(), cursor);
            }
            None => observation.usage = Usage::Pending,
        }
        read.metrics.push(observation);
    }
    if let Some(value) = under_way {
        let arm = |reading: Reading<f64>| ArmNotes { active: reading.ok(), ..ArmNotes::default() };
        let both = Notes { canary: arm(value.canary), baseline: arm(value.baseline) };
        read.notes.insert(ACTIVE_REQUESTS.to_owned(), both);
    }
    // In the policy's order again.
    let place = |name: &str| policy.metrics.iter().position(|metric| metric.name == name);
    read.metrics.sort_by_key(|observation| place(&observation.metric));
    Ok(read)
}

/// A look that shows nothing, with the reason.
pub(super) fn nothing(active: &Active, why: &NoData) -> (Vec<MetricObservation>, Vec<ValueObservation>) {
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
    (metrics.collect(), values.collect())
}

fn counts(
    active: &Active,
    canary: &ArmSelector,
    baseline: &ArmSelector,
    now: Timestamp,
) -> Vec<CountsRequest> {
    let rollout = &active.rollout;
    let analysis = &rollout.policy.analysis;
    let request = |metric: &Metric| CountsRequest {
        metric: metric.name.clone(),
        source: metric.source.clone(),
        by_route: metric.by_route.clone(),
        canary: canary.clone(),
        baseline: baseline.clone(),
        cursor: active.cursors.get(&metric.name).cloned(),
        required: required(&rollout.phase),
        rollout_started: rollout.created_at,
        now,
        lag: analysis.lag,
        stale_after: rollout.stale_after(),
    };
    rollout.policy.metrics.iter().filter(|metric| metric.source.query().is_none()).map(request).collect()
}

fn values(
    active: &Active,
    canary: &ArmSelector,
    baseline: &ArmSelector,
    now: Timestamp,
) -> Vec<ValueRequest> {
    let rollout = &active.rollout;
    let rails = rollout.policy.guardrails.iter().filter_map(|guardrail| {
        let Signal::Query { query } = &guardrail.signal else { return None };
        Some((guardrail.name.as_str(), query.as_str()))
    });
    // Gauges first: they are told apart from guardrails by their place.
    let requests = rollout.policy.analysis.active_requests.as_deref();
    let under_way = requests.map(|query| (ACTIVE_REQUESTS, query));
    let queries = gauges(active).into_iter().chain(rails).chain(under_way);
    let request = |(name, query): (&str, &str)| ValueRequest {
        guardrail: name.to_owned(),
        query: query.to_owned(),
        canary: canary.clone(),
        baseline: baseline.clone(),
        now,
        lag: rollout.policy.analysis.lag,
        stale_after: rollout.stale_after(),
    };
    queries.map(request).collect()
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
