//! Hooks: a call that is repeated until it has succeeded, or a program that is run once.

use reqwest::Method;
use serde_json::{Value, json};

use super::call::{Call, MAX_BYTES, call, secret};
use super::command::{self, Ended};
use super::template::render;
use super::text::weight;
use super::webhook::{CLOUD_EVENT, detail, signed};
use crate::core::gate::{Hook, HookAction};
use crate::core::notice::Notice;
use crate::outbound::guard::Guarded;
use crate::ports::NotifyError;

pub(super) async fn run(guarded: &Guarded, hook: &Hook, notice: &Notice) -> Result<(), NotifyError> {
    match &hook.action {
        HookAction::Webhook { url, allow_private, body, headers, secret: key, timeout } => {
            let (body, kind) = content(hook, body.as_deref(), notice)?;
            let mut plain = vec![
                ("content-type", kind.to_owned()),
                ("idempotency-key", format!("{}/{}", notice.key, hook.name)),
            ];
            if let Some(name) = key {
                let key = secret(name).await.map_err(NotifyError::again)?;
                plain.push(("x-serin-signature", signed(&key, &body).map_err(NotifyError::never)?));
            }
            let made = call(
                guarded,
                Call {
                    method: Method::POST,
                    url,
                    allow_private: *allow_private,
                    secrets: headers,
                    headers: plain,
                    body,
                    timeout: *timeout,
                    max_bytes: MAX_BYTES,
                },
            );
            let answer = made.await.map_err(NotifyError::again)?;
            let said = detail(&answer);
            match answer.status {
                200..=299 => Ok(()),
                408 | 425 | 429 | 500..=599 => {
                    Err(NotifyError { retry: true, detail: said, after: answer.retry_after })
                }
                _ => Err(NotifyError::never(said)),
            }
        }
        HookAction::Command(check) => {
            let known = environment(hook, notice);
            match command::run(check, &placeholders(notice), &known).await {
                Ended::Exit(0, _) => Ok(()),
                // It may have done half of its work: it is not run again by itself.
                other => Err(NotifyError::never(other.words(check))),
            }
        }
    }
}

/// The body and its media type.
fn content(
    hook: &Hook,
    template: Option<&str>,
    notice: &Notice,
) -> Result<(Vec<u8>, &'static str), NotifyError> {
    let Some(template) = template else {
        return Ok((envelope(hook, notice).to_string().into_bytes(), CLOUD_EVENT));
    };
    let text = render(template, notice).map_err(NotifyError::never)?;
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
    let kind = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
    Ok((text.into_bytes(), kind))
}

fn envelope(hook: &Hook, notice: &Notice) -> Value {
    json!({
        "specversion": "1.0",
        "id": format!("{}/{}", notice.key, hook.name),
        "source": format!("/serin/rollouts/{}", notice.rollout),
        "type": format!("serin.notice.{}", notice.kind.name()),
        "subject": notice.target,
        "time": notice.at.to_string(),
        "datacontenttype": "application/json",
        "data": notice,
    })
}

fn placeholders(notice: &Notice) -> [(&'static str, String); 5] {
    [
        ("version", notice.version.clone()),
        ("stable_version", notice.stable_version.clone().unwrap_or_default()),
        ("target", notice.target.clone()),
        ("rollout", notice.rollout.clone()),
        ("weight", weight(notice.weight)),
    ]
}

fn environment(hook: &Hook, notice: &Notice) -> [(&'static str, String); 10] {
    let reason = notice.reason.and_then(|reason| serde_json::to_value(reason).ok());
    [
        ("SERIN_KEY", format!("{}/{}", notice.key, hook.name)),
        ("SERIN_HOOK", hook.name.clone()),
        ("SERIN_EVENT", notice.kind.name().to_owned()),
        ("SERIN_ROLLOUT", notice.rollout.clone()),
        ("SERIN_TARGET", notice.target.clone()),
        ("SERIN_VERSION", notice.version.clone()),
        ("SERIN_STABLE_VERSION", notice.stable_version.clone().unwrap_or_default()),
        ("SERIN_POLICY", notice.policy.clone()),
        ("SERIN_SENTENCE", notice.sentence.clone()),
        ("SERIN_REASON", reason.and_then(|reason| reason.as_str().map(str::to_owned)).unwrap_or_default()),
    ]
}
