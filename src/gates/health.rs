//! Health and version pages of an arm: the status, and what stands at places of the JSON.

use reqwest::Method;
use serde_json::Value;

use super::call::{Call, MAX_BYTES, call};
use super::text::{fill, head, placeholders};
use super::webhook::detail;
use crate::core::gate::{GateAnswer, HealthCheck};
use crate::outbound::guard::Guarded;
use crate::outbound::sign::escape;
use crate::ports::GateRequest;

pub(super) async fn ask(guarded: &Guarded, check: &HealthCheck, request: &GateRequest) -> GateAnswer {
    let values = placeholders(request);
    let escaped = values.clone().map(|(name, value)| (name, escape(&value)));
    let url = fill(&check.url, &escaped);
    let made = call(
        guarded,
        Call {
            method: Method::GET,
            url: &url,
            allow_private: check.allow_private,
            secrets: &check.headers,
            headers: vec![("accept", "application/json, text/plain, */*".to_owned())],
            body: Vec::new(),
            timeout: check.timeout,
            max_bytes: MAX_BYTES,
        },
    );
    let answer = match made.await {
        Ok(answer) => answer,
        Err(why) => return GateAnswer::Fault(why),
    };
    if answer.status != check.status {
        return GateAnswer::NotYet(format!("{}, where {} is wanted", detail(&answer), check.status));
    }
    if check.json.is_empty() {
        return GateAnswer::Yes(format!("status {}", answer.status));
    }
    let Ok(json) = serde_json::from_slice::<Value>(&answer.body) else {
        return GateAnswer::NotYet("the page is not JSON".to_owned());
    };
    for (pointer, wanted) in &check.json {
        let wanted = fill(wanted, &values);
        match json.pointer(pointer).map(text) {
            Some(found) if found == wanted => {}
            Some(found) => {
                return GateAnswer::NotYet(format!(
                    "{pointer} is {}, where {wanted} is wanted",
                    head(&found)
                ));
            }
            None => return GateAnswer::NotYet(format!("there is no {pointer}, where {wanted} is wanted")),
        }
    }
    GateAnswer::Yes(format!("status {}, and all of the page as wanted", answer.status))
}

/// A text as it is, everything else as JSON writes it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
