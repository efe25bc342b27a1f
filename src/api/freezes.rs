//! Freezes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::access::{Permission, Principal};
use super::input::{Body, Name, Params};
use super::problem::Problem;
use crate::contract::Page;
use crate::contract::gates::{FreezeBody, FreezeView};
use crate::core::access::{MOST_PATTERNS, Scope};
use crate::core::freeze::Freeze;
use crate::ports::StoreError;

/// Freezes that are told.
const MOST: usize = 200;

/// `GET /freezes`: those of the configuration that are not over, then the others, the newest first, ended ones
/// too.
#[utoipa::path(get, path = "/api/v1/freezes", tag = "configuration", operation_id = "list_freezes",
    responses((status = 200, description = "Those of the configuration that are not over, then the newest first", body = Page<FreezeView>)))]
pub(super) async fn list(State(api): State<Api>, params: Params) -> Result<Json<Page<FreezeView>>, Problem> {
    params.finish()?;
    let now = api.handle.clock().wall();
    let ordered = api.handle.store().freezes(false, MOST).await?;
    let is_ahead = |freeze: &&Freeze| freeze.until.is_none_or(|until| now < until);
    let all_planned = api.handle.planned_freezes();
    let planned = all_planned.iter().filter(is_ahead);
    let items = planned.chain(&ordered).map(|freeze| FreezeView::new(freeze, now)).collect();
    Ok(Json(Page { items, next: None }))
}

/// `POST /freezes`: from now, or from a set time, nothing of these targets advances.
#[utoipa::path(post, path = "/api/v1/freezes", tag = "configuration", operation_id = "start_freeze", request_body = FreezeBody,
    responses((status = 201, description = "It holds", body = FreezeView)))]
pub(super) async fn start(
    State(api): State<Api>,
    principal: Principal,
    mut body: Body,
) -> Result<Response, Problem> {
    let targets = body.texts("targets", MOST_PATTERNS, 200).unwrap_or_else(|| vec!["*".to_owned()]);
    let why = body.text("why", 500);
    let now = api.handle.clock().wall();
    let from = body.optional_moment("from").unwrap_or(now);
    let until = body.optional_moment("until");
    let by = principal.by(body.optional_text("by", 200));
    if let Err(error) = Scope::new(&targets) {
        body.wrong("targets", format!("`targets`: {error}"));
    }
    if until.is_some_and(|until| until <= from || until <= now) {
        body.wrong("until", "`until` must be after `from` and after now".to_owned());
    }
    body.finish()?;
    principal.note("freeze.start", &targets.join(", "));
    for pattern in &targets {
        allow(&principal, pattern)?;
    }
    let id = uuid::Uuid::now_v7().simple().to_string();
    let freeze = Freeze { id, targets, from, until, why, by, ended: None };
    api.handle.put_freeze(&freeze).await?;
    Ok((StatusCode::CREATED, Json(FreezeView::new(&freeze, now))).into_response())
}

/// A pattern may name what is not theirs: then it needs the right for every target.
fn allow(principal: &Principal, pattern: &str) -> Result<(), Problem> {
    let plain = !pattern.contains(['*', '?', '[', '{']);
    if plain || principal.may_everywhere(Permission::Operate) {
        return principal.allow(Permission::Operate, pattern);
    }
    principal.allow(Permission::Operate, "*")
}

/// `DELETE /freezes/{id}`: it is over.
#[utoipa::path(delete, path = "/api/v1/freezes/{id}", tag = "configuration", operation_id = "end_freeze",
    params(("id" = String, Path, description = "The freeze")),
    responses((status = 200, description = "It is over", body = FreezeView)))]
pub(super) async fn end(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
) -> Result<Json<FreezeView>, Problem> {
    if api.handle.planned_freezes().iter().any(|freeze| freeze.id == name.0) {
        let detail = format!("freeze {} stands in the configuration; it is ended there", name.0);
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "planned_freeze",
            "It is part of the configuration",
            detail,
        ));
    }
    let open = api.handle.store().freezes(true, 1000).await?;
    let Some(mut freeze) = open.into_iter().find(|freeze| freeze.id == name.0) else {
        return Err(StoreError::NotFound(format!("open freeze {}", name.0)).into());
    };
    principal.note("freeze.end", &freeze.targets.join(", "));
    for pattern in &freeze.targets {
        allow(&principal, pattern)?;
    }
    let now = api.handle.clock().wall();
    freeze.ended = Some((now, principal.by(None)));
    api.handle.put_freeze(&freeze).await?;
    Ok(Json(FreezeView::new(&freeze, now)))
}
