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
use crate::core::found::Decision;
use crate::ports::StoreError;

/// What a person can decide.
pub(super) trait Decides: Send + Sync + 'static {
    /// The decision.
    const DECISION: Decision;
    /// The word of the audit log.
    const ACTION: &'static str;
}

/// What the router has is wanted from now on.
pub(super) struct Adopt;
/// The canary gets nothing.
pub(super) struct Zero;

impl Decides for Adopt {
    const DECISION: Decision = Decision::Adopt;
    const ACTION: &'static str = "target.adopt";
}

impl Decides for Zero {
    const DECISION: Decision = Decision::Zero;
    const ACTION: &'static str = "target.zero";
}

/// `POST /targets/{name}/adopt`, `POST /targets/{name}/zero`: it is decided, and carried out at once.
pub(super) async fn decide<D: Decides>(
    State(api): State<Api>,
    principal: Principal,
    Name(name): Name,
    mut body: Body,
) -> Result<Json<TargetView>, Problem> {
    let by = principal.by(body.optional_text("by", 200));
    body.finish()?;
    principal.note(D::ACTION, &name);
    if !principal.sees(&name) {
        return Err(StoreError::NotFound(format!("target {name}")).into());
    }
    principal.allow(Permission::Operate, &name)?;
    if api.handle.decide(&name, D::DECISION, &by).await?.is_none() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "nothing_to_decide",
            "There is nothing to decide",
            format!("the router of {name} has no split that the store knows nothing of"),
        ));
    }
    Ok(Json(declarations::view(&api.handle, &api.handle.declared(), &name).await?))
}
