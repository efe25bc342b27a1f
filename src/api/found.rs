//! What was found at a target's router, and is for a person to decide.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::access::{Permission, Principal};
use super::declarations;
use super::input::{Body, Name};
use super::problem::Problem;
use crate::contract::TargetView;
use crate::contract::bodies::DecisionBody;
use crate::core::found::Decision;
use crate::ports::StoreError;

/// `POST /targets/{name}/adopt`: what the router has is wanted from now on.
#[utoipa::path(post, path = "/api/v1/targets/{name}/adopt", tag = "configuration", operation_id = "adopt_target",
    params(
        ("name" = String, Path, description = "Its name", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
    ),
    request_body = DecisionBody,
    responses((status = 200, description = "It is decided, and carried out at once", body = TargetView)))]
pub(super) async fn adopt(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    body: Body,
) -> Result<Json<TargetView>, Problem> {
    decide(&api, &principal, &name.0, body, (Decision::Adopt, "target.adopt")).await
}

/// `POST /targets/{name}/zero`: the canary gets nothing.
#[utoipa::path(post, path = "/api/v1/targets/{name}/zero", tag = "configuration", operation_id = "zero_target",
    params(
        ("name" = String, Path, description = "Its name", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
    ),
    request_body = DecisionBody,
    responses((status = 200, description = "It is decided, and carried out at once", body = TargetView)))]
pub(super) async fn zero(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    body: Body,
) -> Result<Json<TargetView>, Problem> {
    decide(&api, &principal, &name.0, body, (Decision::Zero, "target.zero")).await
}

async fn decide(
    api: &Api,
    principal: &Principal,
    name: &str,
    mut body: Body,
    (decision, action): (Decision, &str),
) -> Result<Json<TargetView>, Problem> {
    let by = principal.by(body.optional_text("by", 200));
    body.finish()?;
    principal.note(action, name);
    if !principal.sees(name) {
        return Err(StoreError::NotFound(format!("target {name}")).into());
    }
    principal.allow(Permission::Operate, name)?;
    if api.handle.decide(name, decision, &by).await?.is_none() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "nothing_to_decide",
            "There is nothing to decide",
            format!("the router of {name} has no split that the store knows nothing of"),
        ));
    }
    Ok(Json(declarations::view(&api.handle, &api.handle.declared(), name).await?))
}
