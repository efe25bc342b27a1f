//! The error budget: with too little of it left, nothing is begun.

use super::values::{values, without};
use crate::core::gate::GateAnswer;
use crate::ports::{GateRequest, MetricsProvider};

pub(super) async fn ask(
    bad_share: &str,
    objective: f64,
    budget_left: f64,
    request: &GateRequest,
    provider: Option<&dyn MetricsProvider>,
) -> GateAnswer {
    let bad = match values([bad_share.to_owned()], request, provider).await {
        Err(answer) => return answer,
        Ok([Err(why)]) => return without(&why),
        Ok([Ok(bad)]) => bad,
    };
    if !(0.0..=1.0).contains(&bad) {
        return GateAnswer::Fault(format!("the query gave {bad}, which is no share between 0 and 1"));
    }
    let left = 1.0 - bad / (1.0 - objective);
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let said = format!("{} of the error budget is left", percent(left.max(0.0)));
    // Nothing left is never enough.
    if left > 0.0 && left >= budget_left {
        GateAnswer::Yes(said)
    } else {
        GateAnswer::No(format!("{said}; more than {} is needed", percent(budget_left)))
    }
}
