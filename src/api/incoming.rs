//! Hooks that others call: Alertmanager's webhook receiver.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::access::{Permission, Principal};
use super::problem::Problem;
use crate::config::IncomingAction;
use crate::contract::gates::{IncomingItem, IncomingView};
use crate::core::rollout::{Command, CommandKind, RolloutId};
use crate::ports::StoreError;

/// Firing alerts of one call that are followed; the rest comes again with the next call.
const MOST_ALERTS: usize = 500;

/// Largest body, in bytes: a group has many alerts when much is wrong.
pub(super) const BYTES: usize = 1024 * 1024;

/// Alertmanager's webhook, version 4: what is read of it.
#[derive(Deserialize, ToSchema)]
pub(super) struct AlertmanagerBody {
    /// `4`.
    #[schema(pattern = "^4$")]
    version: String,
    /// The group's alerts.
    alerts: Vec<Alert>,
}

/// One alert.
#[derive(Deserialize, ToSchema)]
pub(super) struct Alert {
    /// `firing` or `resolved`.
    status: String,
    /// Its labels.
    labels: BTreeMap<String, String>,
    /// Its texts.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// When it began.
    #[serde(default, rename = "startsAt")]
    starts_at: String,
    /// Names its labels.
    #[serde(default)]
    fingerprint: String,
}

/// `POST /hooks/alertmanager`: firing alerts pause or roll back the rollouts of the targets that their
/// labels name.
#[utoipa::path(post, path = "/api/v1/hooks/alertmanager", tag = "rollouts", operation_id = "alertmanager_hook",
    request_body = AlertmanagerBody,
    responses((status = 200, description = "What was done", body = IncomingView)))]
pub(super) async fn alertmanager(
    State(api): State<Api>,
    principal: Principal,
    body: Result<Json<AlertmanagerBody>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<IncomingView>, Problem> {
    let Json(body) = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(BYTES),
        _ => Problem::not_json(rejection.body_text()),
    })?;
    if body.version != "4" {
        return Err(Problem::field("version", "`version` must be 4, the form of Alertmanager's webhook"));
    }
    principal.note("hook.alertmanager", &format!("{} alerts", body.alerts.len()));
    let mut items = Vec::new();
    let mut refused = None;
    for alert in body.alerts.iter().filter(|alert| alert.status == "firing").take(MOST_ALERTS) {
        // One that cannot be followed keeps no other one from being followed.
        match follow(&api, &principal, alert).await {
            Ok(done) => items.extend(done),
            Err(problem) => refused = Some(problem),
        }
    }
    match refused {
        Some(problem) => Err(problem),
        None => Ok(Json(IncomingView { items })),
    }
}

async fn follow(api: &Api, principal: &Principal, alert: &Alert) -> Result<Option<IncomingItem>, Problem> {
    let incoming = api.people.incoming();
    let Some(target) = alert.labels.get(&incoming.target_label) else { return Ok(None) };
    let Some(action) = incoming.action(&alert.labels) else { return Ok(None) };
    if !principal.sees(target) {
        return Ok(None);
    }
    let Some(id) = active(api, target).await? else { return Ok(None) };
    let rollout = api.handle.store().rollout(&id).await?;
    principal.allow(Permission::Operate, target)?;
    let name = alert.labels.get("alertname").map_or("an alert", String::as_str);
    let text = alert.annotations.get("summary").or(alert.annotations.get("description"));
    let reason: String =
        format!("alert {name} fires: {}", text.map_or("", String::as_str)).chars().take(500).collect();
    // Past a point of no return an alert is no person who decides.
    let (kind, word) = match action {
        IncomingAction::Rollback if rollout.gates.no_return.is_none() => (CommandKind::Rollback, "rollback"),
        IncomingAction::Rollback | IncomingAction::Pause => (CommandKind::Pause, "pause"),
    };
    // The same alert comes again and again while it fires.
    let key = format!(
        "alert-{word}-{}-{}-{}",
        rollout.id,
        printable(&alert.fingerprint),
        printable(&alert.starts_at)
    );
    let command = Command {
        key,
        by: principal.by(Some("alertmanager".to_owned())),
        reason: Some(reason),
        expected_revision: None,
        kind,
    };
    api.handle.command(&rollout.id, command).await?;
    Ok(Some(IncomingItem { rollout: rollout.id.0.clone(), command: word.to_owned(), alert: name.to_owned() }))
}

/// The rollout that has the target.
async fn active(api: &Api, target: &str) -> Result<Option<RolloutId>, Problem> {
    match api.handle.store().target(target).await {
        Ok(target) => Ok(target.active),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric()).take(64).collect()
}
