//! A program elsewhere that is asked by HTTP.
//!
//! Serin's own form is a CloudEvents 1.0 envelope as structured JSON. Success is a yes, unless the JSON body
//! says otherwise (`{"answer": "yes" | "not_yet" | "no", "detail": "…"}`); 202, 408, 409, 425 and 429 are
//! "not yet"; every other 4xx is a no. In Flagger's form success is a yes, and every other status "not yet":
//! its receivers answer 403 while a gate is closed. What gives no answer is a fault, and so is 5xx in Serin's
//! form.

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::call::{Answer, Call, MAX_BYTES, call, secret};
use super::text::head;
use crate::core::gate::{GateAnswer, Occasion, WebhookCheck, WebhookForm};
use crate::core::split::Weight;
use crate::outbound::guard::Guarded;
use crate::outbound::sign::{hexadecimal, signature};
use crate::ports::GateRequest;

/// Media type of a CloudEvents envelope.
pub(super) const CLOUD_EVENT: &str = "application/cloudevents+json";

pub(super) async fn ask(guarded: &Guarded, check: &WebhookCheck, request: &GateRequest) -> GateAnswer {
    match post(guarded, check, request).await {
        Err(why) => GateAnswer::Fault(why),
        Ok(answer) => match check.form {
            WebhookForm::Serin => of_serin(&answer),
            WebhookForm::Flagger => of_flagger(&answer),
        },
    }
}

async fn post(guarded: &Guarded, check: &WebhookCheck, request: &GateRequest) -> Result<Answer, String> {
    let (body, kind) = match check.form {
        WebhookForm::Serin => (envelope(check, request), CLOUD_EVENT),
        WebhookForm::Flagger => (flagger(check, request), "application/json"),
    };
    let body = body.to_string().into_bytes();
    let mut headers = vec![("content-type", kind.to_owned()), ("idempotency-key", request.key.clone())];
    if let Some(name) = &check.secret {
        headers.push(("x-serin-signature", signed(&secret(name).await?, &body)?));
    }
    call(
        guarded,
        Call {
            method: Method::POST,
            url: &check.url,
            allow_private: check.allow_private,
            secrets: &check.headers,
            headers,
            body,
            timeout: check.timeout,
            max_bytes: MAX_BYTES,
        },
    )
    .await
}

/// `sha256=` and the body's signature.
pub(super) fn signed(key: &SecretString, body: &[u8]) -> Result<String, String> {
    Ok(format!("sha256={}", signature(key, &[body])?))
}

fn envelope(check: &WebhookCheck, request: &GateRequest) -> Value {
    json!({
        "specversion": "1.0",
        "id": request.key,
        "source": format!("/serin/rollouts/{}", request.rollout),
        "type": "serin.gate.asked",
        "subject": request.target,
        "time": request.now.to_string(),
        "datacontenttype": "application/json",
        "data": {
            "gate": request.gate.name,
            "occasion": occasion(request.occasion),
            "rollout": request.rollout.0,
            "target": request.target,
            "version": request.version,
            "stable_version": request.stable_version,
            "policy": request.policy,
            "weight_percent": f64::from(request.weight.0) / 100.0,
            "started_by": request.started_by,
            "metadata": check.metadata,
        },
    })
}

/// The occasion's stable name.
pub(super) fn occasion(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Start => "start",
        Occasion::Step(_) => "step",
        Occasion::Finish => "finish",
        Occasion::During => "during",
    }
}

fn flagger(check: &WebhookCheck, request: &GateRequest) -> Value {
    let phase = match request.occasion {
        Occasion::Start => "Waiting",
        Occasion::Step(_) if request.weight >= Weight::FULL => "WaitingPromotion",
        Occasion::Step(_) | Occasion::During => "Progressing",
        Occasion::Finish => "Finalising",
    };
    // The same as long as the same version is released on the same target.
    let digest = Sha256::digest(format!("{}\0{}", request.target, request.version));
    json!({
        "name": request.target,
        "namespace": check.metadata.get("namespace").map_or("default", |name| name.as_str()),
        "phase": phase,
        "checksum": hexadecimal(&digest[..8]),
        "metadata": check.metadata,
    })
}

/// What a receiver of Serin's own form may say.
#[derive(Deserialize)]
struct Said {
    answer: Word,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Yes,
    NotYet,
    No,
}

fn of_serin(answer: &Answer) -> GateAnswer {
    let status = answer.status;
    let told = || detail(answer);
    match status {
        202 | 408 | 409 | 425 | 429 => GateAnswer::NotYet(told()),
        200..=299 => success(answer),
        400..=499 => GateAnswer::No(told()),
        300..=399 => GateAnswer::Fault(format!("{}; redirects are not followed", told())),
        _ => GateAnswer::Fault(told()),
    }
}

fn success(answer: &Answer) -> GateAnswer {
    if !answer.is_json || answer.body.is_empty() {
        return GateAnswer::Yes(format!("status {}", answer.status));
    }
    let value: Value = match serde_json::from_slice(&answer.body) {
        Ok(value) => value,
        Err(error) => {
            return GateAnswer::Fault(format!("the answer is not the JSON that it says it is: {error}"));
        }
    };
    // A body that says nothing of an answer leaves it to the status.
    if value.get("answer").is_none() {
        return GateAnswer::Yes(format!("status {}", answer.status));
    }
    let Ok(said) = serde_json::from_value::<Said>(value) else {
        return GateAnswer::Fault("the answer in the body is none of yes, not_yet, no".to_owned());
    };
    let detail = said.detail.map_or_else(|| format!("status {}", answer.status), |detail| head(&detail));
    match said.answer {
        Word::Yes => GateAnswer::Yes(detail),
        Word::NotYet => GateAnswer::NotYet(detail),
        Word::No => GateAnswer::No(detail),
    }
}

fn of_flagger(answer: &Answer) -> GateAnswer {
    match answer.status {
        200..=299 => GateAnswer::Yes(format!("status {}", answer.status)),
        _ => GateAnswer::NotYet(detail(answer)),
    }
}

/// `status 403: the body's head`; a JSON body's `detail` where it has one.
pub(super) fn detail(answer: &Answer) -> String {
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let said = json.as_ref().and_then(|json| json.get("detail")).and_then(Value::as_str);
    let text = said.map_or_else(|| String::from_utf8_lossy(&answer.body).into_owned(), str::to_owned);
    match text.trim() {
        "" => format!("status {}", answer.status),
        text => format!("status {}: {}", answer.status, head(text)),
    }
}
