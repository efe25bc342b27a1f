//! A query against a limit, held for a time.

use std::time::Duration;

use super::values::{values, without};
use crate::core::gate::GateAnswer;
use crate::core::limit::{Breach, GuardrailLimit};
use crate::ports::{GateRequest, MetricsProvider};

/// The query is looked at so often within the time, as far as that is between 1 s and a minute.
const LOOKS: u64 = 20;

pub(super) async fn ask(
    query: &str,
    (limit, breach): (GuardrailLimit, Breach),
    held_for: Duration,
    request: &GateRequest,
    provider: Option<&dyn MetricsProvider>,
) -> GateAnswer {
    let GuardrailLimit::Absolute(limit) = limit else {
        return GateAnswer::Fault("the limit of a gate's metric must be absolute".to_owned());
    };
    if held_for < Duration::from_secs(1) {
        return match values([query.to_owned()], request, provider).await {
            Err(answer) => answer,
            Ok([Err(why)]) => without(&why),
            Ok([Ok(value)]) => against(value, limit, breach, ""),
        };
    }
    let (worst, count, looks) = over(query, breach, held_for);
    let (worst, count) = match values([worst, count], request, provider).await {
        Err(answer) => return answer,
        Ok([Ok(worst), Ok(count)]) => (worst, count),
        Ok([Err(why), _] | [_, Err(why)]) => return without(&why),
    };
    let kept = against(worst, limit, breach, &format!(" over the last {held_for:?}"));
    if matches!(kept, GateAnswer::Yes(_)) && count < looks as f64 {
        return GateAnswer::NotYet(format!(
            "a value was there at only {count} of {looks} looks within {held_for:?}"
        ));
    }
    kept
}

/// The worst value within the time; how often there was one (a number, not NaN); and how often there must be.
fn over(query: &str, breach: Breach, held_for: Duration) -> (String, String, u64) {
    let seconds = held_for.as_secs();
    let step = (seconds / LOOKS).clamp(1, 60);
    let worst = match breach {
        Breach::Above => "max",
        Breach::Below => "min",
    };
    let range = format!("[{seconds}s:{step}s]");
    (
        format!("{worst}_over_time(({query}\n){range})"),
        format!("count_over_time((({query}\n) >= -Inf){range})"),
        seconds / step,
    )
}

fn against(value: f64, limit: f64, breach: Breach, when: &str) -> GateAnswer {
    let (is_kept, side) = match breach {
        Breach::Above => (value <= limit, "above"),
        Breach::Below => (value >= limit, "below"),
    };
    if is_kept {
        GateAnswer::Yes(format!("{value}{when}; the limit is {limit}"))
    } else {
        GateAnswer::NotYet(format!("{value}{when} is {side} the limit of {limit}"))
    }
}
