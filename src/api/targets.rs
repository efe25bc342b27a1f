//! Targets and policies, for reading.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::access::Principal;
use super::input::{Name, Params};
use super::problem::Problem;
use crate::contract::{Page, PolicyView, TargetView};
use crate::core::target::Target;
use crate::ports::StoreError;

/// `GET /targets`: all of them, by name.
#[utoipa::path(get, path = "/api/v1/targets", tag = "configuration", operation_id = "list_target",
    responses((status = 200, description = "By name", body = Page<TargetView>)))]
pub(super) async fn list(
    State(api): State<Api>,
    principal: Principal,
    params: Params,
) -> Result<Json<Page<TargetView>>, Problem> {
    params.finish()?;
    let stored: BTreeMap<String, Target> =
        api.handle.store().targets().await?.into_iter().map(|target| (target.name.clone(), target)).collect();
    let declared = api.handle.targets();
    let items = stored
        .values()
        .filter(|target| principal.sees(&target.name))
        .map(|target| TargetView::new(target, declared.get(&target.name).map(AsRef::as_ref)))
        .collect();
    Ok(Json(Page { items, next: None }))
}

/// `GET /targets/{name}`. One that the caller may not read of is as if it were not there.
#[utoipa::path(get, path = "/api/v1/targets/{name}", tag = "configuration", operation_id = "show_target",
    params(
        ("name" = String, Path, description = "Its name", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
    ),
    responses((status = 200, description = "The target", body = TargetView)))]
pub(super) async fn show(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
) -> Result<Json<TargetView>, Problem> {
    if !principal.sees(&name.0) {
        return Err(StoreError::NotFound(format!("target {}", name.0)).into());
    }
    let target = api.handle.store().target(&name.0).await?;
    Ok(Json(TargetView::new(&target, api.handle.targets().get(&target.name).map(AsRef::as_ref))))
}

/// `GET /policies`: all of them, by name.
#[utoipa::path(get, path = "/api/v1/policies", tag = "configuration", operation_id = "policies_target",
    responses((status = 200, description = "By name", body = Page<PolicyView>)))]
pub(super) async fn policies(
    State(api): State<Api>,
    params: Params,
) -> Result<Json<Page<PolicyView>>, Problem> {
    params.finish()?;
    Ok(Json(Page {
        items: api.handle.policies().values().map(|policy| PolicyView::new(policy)).collect(),
        next: None,
    }))
}

/// `GET /policies/{name}`.
#[utoipa::path(get, path = "/api/v1/policies/{name}", tag = "configuration", operation_id = "policy_target",
    params(
        ("name" = String, Path, description = "Its name", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
    ),
    responses((status = 200, description = "The policy", body = PolicyView)))]
pub(super) async fn policy(State(api): State<Api>, name: Name) -> Result<Json<PolicyView>, Problem> {
    match api.handle.policies().get(&name.0) {
        Some(policy) => Ok(Json(PolicyView::new(policy))),
        None => Err(Problem::unknown_policy(&name.0.chars().take(100).collect::<String>())),
    }
}
