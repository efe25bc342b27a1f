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
use super::views::gates::{IncomingItem, IncomingView};
use crate::config::IncomingAction;
use crate::core::rollout::{Command, CommandKind};
use crate::ports::RolloutFilter;

/// Alerts of one call that are looked at.
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
    #[schema(max_items = 500)]
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
    if body.alerts.len() > MOST_ALERTS {
        return Err(Problem::field("alerts", format!("`alerts` must have at most {MOST_ALERTS} items")));
    }
    principal.note("hook.alertmanager", &format!("{} alerts", body.alerts.len()));
    let mut items = Vec::new();
    for alert in body.alerts.iter().filter(|alert| alert.status == "firing") {
        items.extend(follow(&api, &principal, alert).await?);
    }
    Ok(Json(IncomingView { items }))
}

async fn follow(api: &Api, principal: &Principal, alert: &Alert) -> Result<Option<IncomingItem>, Problem> {
    let incoming = api.people.incoming();
    let Some(target) = alert.labels.get(&incoming.target_label) else { return Ok(None) };
    let Some(action) = incoming.action(&alert.labels) else { return Ok(None) };
    if !principal.sees(target) {
        return Ok(None);
    }
    let filter = RolloutFilter {
        target: Some(target.clone()),
        active: Some(true),
        limit: 10,
        ..RolloutFilter::default()
    };
    let rollouts = api.handle.store().rollouts(&filter).await?;
    let Some(rollout) = rollouts.iter().find(|rollout| rollout.phase.name() != "scheduled") else {
        return Ok(None);
    };
    principal.allow(Permission::Operate, target)?;
    let name = alert.labels.get("alertname").map_or("an alert", String::as_str);
    let text = alert.annotations.get("summary").or(alert.annotations.get("description"));
    let reason: String =
        format!("alert {name} fires: {}", text.map_or("", String::as_str)).chars().take(500).collect();
    let (kind, word) = match action {
        IncomingAction::Pause => (CommandKind::Pause, "pause"),
        IncomingAction::Rollback => (CommandKind::Rollback, "rollback"),
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

fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric()).take(64).collect()
}
