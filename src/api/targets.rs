//! Targets and policies, for reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::access::Principal;
use super::declarations;
use super::input::{Name, Params};
use super::problem::Problem;
use crate::contract::{Page, PolicyView, TargetView};
use crate::core::policy::Policy;
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
    let catalogue = api.handle.declared();
    let declared = catalogue.targets().values();
    let mut all: BTreeMap<String, Target> =
        declared.map(|spec| (spec.name.clone(), declarations::untouched(spec))).collect();
    all.extend(api.handle.store().targets().await?.into_iter().map(|target| (target.name.clone(), target)));
    let view = |target: &Target| declarations::target_view(target, &catalogue);
    let items = all.values().filter(|target| principal.sees(&target.name)).map(view).collect();
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
    Ok(Json(declarations::view(&api.handle, &api.handle.declared(), &name.0).await?))
}

/// `GET /policies`: all of them, by name.
#[utoipa::path(get, path = "/api/v1/policies", tag = "configuration", operation_id = "policies_target",
    responses((status = 200, description = "By name", body = Page<PolicyView>)))]
pub(super) async fn policies(
    State(api): State<Api>,
    params: Params,
) -> Result<Json<Page<PolicyView>>, Problem> {
    params.finish()?;
    let catalogue = api.handle.declared();
    let view = |policy: &Arc<Policy>| declarations::policy_view(policy, &catalogue);
    Ok(Json(Page { items: catalogue.policies().values().map(view).collect(), next: None }))
}

/// `GET /policies/{name}`.
#[utoipa::path(get, path = "/api/v1/policies/{name}", tag = "configuration", operation_id = "policy_target",
    params(
        ("name" = String, Path, description = "Its name", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
    ),
    responses((status = 200, description = "The policy", body = PolicyView)))]
pub(super) async fn policy(State(api): State<Api>, name: Name) -> Result<Json<PolicyView>, Problem> {
    match api.handle.policies().get(&name.0) {
        Some(policy) => Ok(Json(declarations::policy_view(policy, &api.handle.declared()))),
        None => Err(Problem::unknown_policy(&name.0.chars().take(100).collect::<String>())),
    }
}
