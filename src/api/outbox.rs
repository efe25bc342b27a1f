//! Notices on their way and those that were given up: `GET /outbox`, `POST /outbox/{id}/retry`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::access::Principal;
use super::input::{Name, Params};
use super::problem::Problem;
use crate::contract::{OutboxView, Page};
use crate::ports::{OutboxFilter, OutboxState, StoreError};

/// `GET /outbox`: notices that were given up, or are on their way, oldest first.
#[utoipa::path(get, path = "/api/v1/outbox", tag = "daemon", operation_id = "list_outbox",
    params(
        ("state" = Option<String>, Query, description = "`dead` (given up), `pending` or `running`; else `dead`", pattern = "^(dead|pending|running)$"),
        ("after" = Option<u64>, Query, description = "Only entries after this number", maximum = 9223372036854775807u64),
        ("limit" = Option<u64>, Query, description = "At most so many", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "Oldest first", body = Page<OutboxView>)))]
pub(super) async fn list(
    State(api): State<Api>,
    principal: Principal,
    mut params: Params,
) -> Result<Json<Page<OutboxView>>, Problem> {
    let state = match params.text("state").as_deref() {
        None | Some("dead") => OutboxState::Dead,
        Some("pending") => OutboxState::Pending,
        Some("running") => OutboxState::Running,
        Some(_) => {
            params.wrong("state", "`state` must be `dead`, `pending` or `running`".to_owned());
            OutboxState::Dead
        }
    };
    let after = params.number("after", 0, i64::MAX.unsigned_abs(), 0);
    let limit = params.number("limit", 1, 1000, 100) as usize;
    params.finish()?;
    let filter = OutboxFilter { state, after: i64::try_from(after).ok(), limit: limit + 1 };
    let mut records = api.handle.store().outbox_list(filter).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next = if more { records.last().map(|record| record.entry.id.to_string()) } else { None };
    let seen = records.iter().filter(|record| principal.sees(&record.entry.notice.target));
    Ok(Json(Page { items: seen.map(OutboxView::new).collect(), next }))
}

/// `POST /outbox/{id}/retry`: 202; what was given up is delivered again, after what its channel still has.
///
/// A command of a hook is begun again only by this.
#[utoipa::path(post, path = "/api/v1/outbox/{id}/retry", tag = "daemon", operation_id = "retry_outbox",
    params(("id" = String, Path, description = "Its number", min_length = 1, max_length = 20, pattern = "^[0-9]+$")),
    responses((status = 202, description = "It is on its way again", body = OutboxView)))]
pub(super) async fn retry(
    State(api): State<Api>,
    principal: Principal,
    id: Name,
    params: Params,
) -> Result<(StatusCode, Json<OutboxView>), Problem> {
    params.finish()?;
    let shown: String = id.0.chars().take(20).collect();
    principal.note("outbox.retry", &shown);
    let unknown = || Problem::from(StoreError::NotFound(format!("the outbox entry {shown:?}")));
    let number = id.0.parse::<i64>().map_err(|_| unknown())?;
    let record = match api.handle.store().outbox_requeue(number, api.handle.clock().wall()).await {
        Err(StoreError::NotFound(_)) => return Err(unknown()),
        Err(StoreError::Conflict(_)) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "not_given_up",
                "It was not given up",
                format!("the entry {number} is delivered or on its way; only what is `dead` can be retried"),
            ));
        }
        record => record?,
    };
    Ok((StatusCode::ACCEPTED, Json(OutboxView::new(&record))))
}
