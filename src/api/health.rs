//! Whether the process lives, whether it can do its work, and its own metrics.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Problem;
use crate::core::rollout::PhaseName;
use crate::ports::{RolloutFilter, StoreError};
use crate::telemetry;

/// 200 while the process answers.
#[utoipa::path(get, path = "/livez", tag = "daemon", operation_id = "livez_daemon",
    responses((status = 200, description = "The process answers", body = String, content_type = "text/plain")))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 when the stored state is loaded and the store can be written to; else 503 with the reason. A configuration file
/// that is wrong is named in the answer: what was there before stays in force.
#[utoipa::path(get, path = "/readyz", tag = "daemon", operation_id = "readyz_daemon",
    responses((status = 200, description = "It can do its work", body = String, content_type = "text/plain")))]
pub(super) async fn readyz(State(api): State<Api>) -> Result<String, Problem> {
    ready(&api).await.map(|()| format!("ok\n{}", configuration(&api)))
}

/// What is to be known of the configuration, a line each. Nobody has to say who they are here, so the file's content
/// is not told.
fn configuration(api: &Api) -> String {
    let Some(last) = api.handle.configuration().last() else { return String::new() };
    let mut lines = String::new();
    if !last.problems.is_empty() {
        let count = last.problems.len();
        lines.push_str(&format!(
            "configuration: the file is not valid since {} ({count} {}); the previous configuration stays in force\n",
            last.at,
            if count == 1 { "problem" } else { "problems" }
        ));
    }
    if !last.restart.is_empty() {
        let needed = last.restart.iter().map(|needed| format!("{} ({})", needed.field, needed.why));
        let needed = needed.collect::<Vec<_>>().join(", ");
        lines.push_str(&format!("configuration: restart needed for {needed}\n"));
    }
    lines
}

async fn ready(api: &Api) -> Result<(), Problem> {
    match tokio::time::timeout(api.limits.health, api.handle.store().ping()).await {
        Err(_) => {
            let limit = api.limits.health.as_secs_f64();
            return Err(Problem::not_ready(format!("the store did not answer within {limit} s")));
        }
        Ok(Err(error)) => return Err(Problem::not_ready(error.to_string())),
        Ok(Ok(())) => {}
    }
    if api.handle.is_ready() {
        Ok(())
    } else {
        Err(Problem::not_ready(
            "the stored state is not loaded yet, or the engine could not write to the store",
        ))
    }
}

/// Serin's own metrics as Prometheus text. What stands in the store is counted when it is asked for.
#[utoipa::path(get, path = "/metrics", tag = "daemon", operation_id = "metrics_daemon",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let counted = tokio::time::timeout(api.limits.health, count_stored(&api));
    let (ready, counted) = tokio::join!(ready(&api), counted);
    telemetry::ready(ready.is_ok());
    match counted {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("what the store holds could not be counted: {error}"),
        Err(_) => tracing::debug!("what the store holds could not be counted in time"),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (api.metrics)()).into_response()
}

async fn count_stored(api: &Api) -> Result<(), StoreError> {
    let store = api.handle.store();
    let counts = store.outbox_counts(api.handle.clock().wall()).await?;
    let age = counts.oldest.map_or(0.0, |oldest| api.handle.clock().wall().since(oldest).as_secs_f64());
    telemetry::outbox(counts.pending, counts.dead, age);
    let filter = RolloutFilter { active: Some(true), limit: 10_000, ..RolloutFilter::default() };
    let rollouts = store.rollouts(&filter).await?;
    telemetry::rollouts_active(&PhaseName::count(
        rollouts.iter().map(|rollout| PhaseName::from(&rollout.phase)),
    ));
    Ok(())
}
