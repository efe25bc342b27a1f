//! Queries of the provider that measures the target.

use std::time::Duration;

use crate::core::gate::GateAnswer;
use crate::core::metric::{NoData, Reading};
use crate::ports::{GateRequest, MetricsProvider, ValueRequest};

/// A provider has its own deadline; this one is for a provider that forgets it.
const LONGEST: Duration = Duration::from_secs(60);
const STALE_AFTER: Duration = Duration::from_secs(300);

/// The values of queries for the canary, in order.
///
/// # Errors
/// What the gate says instead.
pub(super) async fn values<const N: usize>(
    queries: [String; N],
    request: &GateRequest,
    provider: Option<&dyn MetricsProvider>,
) -> Result<[Reading<f64>; N], GateAnswer> {
    let Some(provider) = provider else {
        return Err(GateAnswer::Fault(format!("there is no provider {}", request.provider)));
    };
    let asked = queries.map(|query| ValueRequest {
        guardrail: request.gate.name.clone(),
        query,
        canary: request.canary.clone(),
        baseline: request.baseline.clone(),
        now: request.now,
        lag: Duration::ZERO,
        stale_after: STALE_AFTER,
    });
    let Ok(found) = tokio::time::timeout(LONGEST, provider.values(&asked)).await else {
        return Err(GateAnswer::Fault("the provider did not answer in time".to_owned()));
    };
    let found: Vec<Reading<f64>> = found.into_iter().map(|value| value.canary).collect();
    found.try_into().map_err(|_| GateAnswer::Fault("the provider left queries unanswered".to_owned()))
}

/// What a gate says where there is no value: nothing there is never a yes.
pub(super) fn without(why: &NoData) -> GateAnswer {
    match why {
        NoData::Waiting | NoData::Empty | NoData::Stale { .. } | NoData::NotFinite => {
            GateAnswer::NotYet(format!("there is no value: {why}"))
        }
        other => GateAnswer::Fault(other.to_string()),
    }
}
