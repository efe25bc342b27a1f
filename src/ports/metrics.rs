//! What a source of metrics is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::core::arms::ArmSelector;
use crate::core::judge::Recorded;
use crate::core::metric::{MetricCursor, MetricObservation, NoData, Notes, Reading, ValueObservation};
use crate::core::source::MetricSource;
use crate::core::time::Timestamp;

/// What a provider is asked for one metric of one rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct CountsRequest {
    /// The policy's name of the metric.
    pub metric: String,
    /// The counters.
    pub source: MetricSource,
    /// The canary.
    pub canary: ArmSelector,
    /// The baseline.
    pub baseline: ArmSelector,
    /// Where counting has come to; `None` at the first look, which only sets the base.
    pub cursor: Option<MetricCursor>,
    /// A label by whose values the counts are wanted too, as the policy's metric says.
    pub by_route: Option<String>,
    /// Which arms must have fresh samples for the counts to be consumed.
    pub required: Required,
    /// Processes that began after this count from zero.
    pub rollout_started: Timestamp,
    /// Serin's wall clock.
    pub now: Timestamp,
    /// Windows end this long before `now`.
    pub lag: Duration,
    /// A newest sample older than this (before `now`) is stale.
    pub stale_after: Duration,
}

/// Which arms must have fresh samples for counts to be consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// While the arms are compared.
    Both,
    /// Before the first step: the canary may not be there yet.
    Baseline,
    /// At 100% and on the way back: the other arm may be gone.
    Canary,
}

/// What a provider answers for one metric. If `cursor` is `None`, nothing was consumed and the counts
/// come again in the next window; counts are consumed only when the required arms have fresh samples.
#[derive(Clone, Debug, PartialEq)]
pub struct CountsAnswer {
    /// Counts of both arms, or reasons; `usage` is `Outside`, or `Pending` if nothing is consumed: a
    /// reading then only shows that the arm is seen.
    pub observation: MetricObservation,
    /// Where counting has come to, if the counts are consumed.
    pub cursor: Option<MetricCursor>,
    /// What was noticed besides.
    pub notes: Notes,
}

/// What a provider is asked for a guardrail's query.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRequest {
    /// The policy's name of the guardrail.
    pub guardrail: String,
    /// PromQL; `$arm` stands for the arm's matchers.
    pub query: String,
    /// The canary.
    pub canary: ArmSelector,
    /// The baseline.
    pub baseline: ArmSelector,
    /// Serin's wall clock.
    pub now: Timestamp,
    /// The query is evaluated this long before `now`.
    pub lag: Duration,
    /// A value older than this is stale.
    pub stale_after: Duration,
}

/// What a provider is asked of a metric's past, of the baseline alone.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRequest {
    /// The policy's name of the metric.
    pub metric: String,
    /// The counters.
    pub source: MetricSource,
    /// Whose past.
    pub baseline: ArmSelector,
    /// Serin's wall clock: the past ends here.
    pub now: Timestamp,
    /// How far back.
    pub over: Duration,
    /// The length of a window.
    pub window: Duration,
}

/// A source of metrics. It takes requests of many rollouts at once and answers each, in order; a fault
/// is an answer, never an error. Every call ends within the provider's configured deadline.
#[async_trait]
pub trait MetricsProvider: Send + Sync {
    /// Counts of both arms since the cursors.
    async fn counts(&self, requests: &[CountsRequest]) -> Vec<CountsAnswer>;
    /// Values of queries. Providers without a query language answer `NoData::Refused`.
    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation>;
    /// What was recorded before, in order. Providers that keep nothing answer `NoData::Refused`.
    async fn history(&self, requests: &[HistoryRequest]) -> Vec<Reading<Recorded>> {
        let nothing = || Err(NoData::Refused("this provider keeps no history".to_owned()));
        requests.iter().map(|_| nothing()).collect()
    }
}

/// Finds providers by the names that targets use; which ones there are may change while Serin runs.
pub trait Sources: Send + Sync {
    /// The provider of that name, if it is connected.
    fn source(&self, name: &str) -> Option<Arc<dyn MetricsProvider>>;
}

impl Sources for BTreeMap<String, Arc<dyn MetricsProvider>> {
    fn source(&self, name: &str) -> Option<Arc<dyn MetricsProvider>> {
        self.get(name).cloned()
    }
}
