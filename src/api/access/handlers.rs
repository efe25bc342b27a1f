//! Who am I, tokens, and the audit log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;

use super::{Permission, Principal};
use crate::api::Api;
use crate::api::input::{Body, Name, Params};
use crate::api::problem::Problem;
use crate::contract::Page;
use crate::contract::access::{AuditView, MayView, MeView, NewTokenView, TokenBody, TokenView};
use crate::core::access::{MOST_PATTERNS, Role, Scope, TokenRecord, is_token_name};
use crate::ports::StoreError;
use crate::secrets::tokens;

/// `GET /me`: who asks, and what they may do.
#[utoipa::path(get, path = "/api/v1/me", tag = "access", operation_id = "show_me",
    responses((status = 200, description = "Who asks", body = MeView)))]
pub(in crate::api) async fn me(
    State(api): State<Api>,
    principal: Principal,
    params: Params,
) -> Result<Json<MeView>, Problem> {
    params.finish()?;
    let may = |permission| principal.may_somewhere(permission);
    let mut services: Vec<String> = Vec::new();
    for pattern in principal.grants.iter().flat_map(|grant| grant.scope.patterns()) {
        if !services.contains(pattern) {
            services.push(pattern.clone());
        }
    }
    Ok(Json(MeView {
        name: principal.name.clone(),
        role: principal.role().name().to_owned(),
        services,
        open: api.access.is_open(),
        may: MayView {
            view: may(Permission::View),
            operate: may(Permission::Operate),
            approve: may(Permission::Approve),
            administer: may(Permission::Administer),
        },
    }))
}

/// `GET /tokens`: all tokens by name, revoked ones too; never the tokens themselves.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", operation_id = "list_tokens",
    responses((status = 200, description = "By name", body = Page<TokenView>)))]
pub(in crate::api) async fn list_tokens(
    State(api): State<Api>,
    params: Params,
) -> Result<Json<Page<TokenView>>, Problem> {
    params.finish()?;
    let now = api.handle.clock().wall();
    let tokens = api.handle.store().tokens().await?;
    Ok(Json(Page { items: tokens.iter().map(|token| TokenView::new(token, now)).collect(), next: None }))
}

/// `POST /tokens`: 201 with the token, which is told this once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", operation_id = "create_token", request_body = TokenBody,
    responses((status = 201, description = "The token, this once", body = NewTokenView)))]
pub(in crate::api) async fn create_token(
    State(api): State<Api>,
    principal: Principal,
    mut body: Body,
) -> Result<Response, Problem> {
    let name = body.text("name", 100);
    let role = body.required_word("role", &["viewer", "approver", "operator", "admin"]);
    let services = body.texts("services", MOST_PATTERNS, 200).unwrap_or_else(|| vec!["*".to_owned()]);
    let expires = body.number("expires_in_seconds");
    if !name.is_empty() && !is_token_name(&name) {
        body.wrong(
            "name",
            "`name` must be letters, digits, `.`, `_` and `-`, with a letter or digit first, at most 63"
                .to_owned(),
        );
    }
    if let Err(error) = Scope::new(&services) {
        body.wrong("services", format!("`services`: {error}"));
    }
    if expires.is_some_and(|seconds| !(1..=3650 * 86_400).contains(&seconds)) {
        body.wrong("expires_in_seconds", "`expires_in_seconds` must be from 1 to 315360000".to_owned());
    }
    if role == "admin" && !services.iter().any(|pattern| pattern == "*") {
        body.wrong(
            "services",
            "an admin's `services` must be [\"*\"]: it could make a token for all".to_owned(),
        );
    }
    body.finish()?;
    principal.note("token.create", &name);
    let now = api.handle.clock().wall();
    let token = tokens::generate().map_err(|error| {
        tracing::error!("{error}");
        Problem::internal()
    })?;
    let role = Role::ALL.iter().copied().find(|known| known.name() == role).unwrap_or(Role::Viewer);
    let record = TokenRecord {
        name,
        hash: tokens::hash(token.expose_secret()),
        role,
        services,
        created_at: now,
        created_by: principal.by(None),
        expires_at: expires.map(|seconds| now.plus(std::time::Duration::from_secs(seconds))),
        revoked_at: None,
    };
    api.handle.store().create_token(&record).await.map_err(|error| match error {
        StoreError::Conflict(_) => Problem::new(
            StatusCode::CONFLICT,
            "token_exists",
            "There is such a token",
            format!("there is a token `{}` already; revoke it first, or take another name", record.name),
        ),
        other => other.into(),
    })?;
    let view = NewTokenView { token: token.expose_secret().to_owned(), about: TokenView::new(&record, now) };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// `DELETE /tokens/{name}`: 204; from now on the token is worth nothing.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "access", operation_id = "revoke_token",
    params(
        ("name" = String, Path, description = "Its name", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
    ),
    responses((status = 204, description = "It is worth nothing any more")))]
pub(in crate::api) async fn revoke_token(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
) -> Result<StatusCode, Problem> {
    principal.note("token.revoke", &name.0);
    if !is_token_name(&name.0) {
        return Err(StoreError::NotFound("a token of that name".to_owned()).into());
    }
    api.handle.store().revoke_token(&name.0, api.handle.clock().wall()).await?;
    if let Some(known) = &api.access.known {
        known.remembered.revoked(&name.0);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /audit`: what was done, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "access", operation_id = "list_audit",
    params(
        ("before" = Option<u64>, Query, description = "Only lines before this number", minimum = 1),
        ("limit" = Option<u64>, Query, description = "At most so many", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "Newest first", body = Page<AuditView>)))]
pub(in crate::api) async fn audit_log(
    State(api): State<Api>,
    mut params: Params,
) -> Result<Json<Page<AuditView>>, Problem> {
    let before = params.number("before", 1, i64::MAX as u64, i64::MAX as u64);
    let limit = params.number("limit", 1, 1000, 100) as usize;
    params.finish()?;
    let mut lines = api.handle.store().audit(Some(before), limit + 1).await?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next = if more { lines.last().map(|(number, _)| number.to_string()) } else { None };
    Ok(Json(Page { items: lines.iter().map(|(number, line)| AuditView::new(*number, line)).collect(), next }))
}
