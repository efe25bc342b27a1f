//! Gates of a rollout, and links by which one person may say yes or no without logging in.

use axum::Json;
use axum::extract::{Form, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::Api;
use super::access::{Permission, Principal};
use super::handing::{Handed, hand_over, known};
use super::input::{Body, Name};
use super::problem::Problem;
use super::report::PAGE_POLICY;
use super::report::html::{page, safe};
use crate::contract::gates::{LinkBody, LinkView};
use crate::core::gate::{Check, Gate};
use crate::core::ids::RolloutId;
use crate::core::rollout::{Command, CommandKind, Force, Giver, Rollout};
use crate::ports::InboxEntry;

/// Longest life of a link.
const LONGEST: u64 = 14 * 86_400;
/// Whom links are made for: so that no other signed token is taken for one.
const AUDIENCE: &str = "serin-approval";

/// What a link says; signed, so that nobody can change it.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    aud: String,
    /// Who may use it.
    sub: String,
    rollout: String,
    gate: String,
    /// Seconds since the epoch.
    exp: i64,
    /// Its own name: it is used once.
    jti: String,
}

/// `POST /rollouts/{id}/approval-links`: a link for one person and one gate.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/approval-links", tag = "rollouts", operation_id = "make_approval_link",
    params(("id" = String, Path, description = "The rollout")), request_body = LinkBody,
    responses((status = 201, description = "The link, this once", body = LinkView)))]
pub(super) async fn make_link(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    mut body: Body,
) -> Result<Response, Problem> {
    let gate = body.text("gate", 63);
    let person = body.text("for", 200);
    let seconds = body.number("expires_in_seconds").unwrap_or(86_400);
    if !(60..=LONGEST).contains(&seconds) {
        body.wrong("expires_in_seconds", format!("`expires_in_seconds` must be from 60 to {LONGEST}"));
    }
    body.finish()?;
    let rollout = api.handle.store().rollout(&RolloutId(name.0)).await?;
    if !principal.sees(&rollout.target) {
        return Err(crate::ports::StoreError::NotFound(format!("rollout {}", rollout.id)).into());
    }
    principal.note("approval_link", &format!("{gate} of {} for {person}", rollout.id));
    principal.allow(Permission::Administer, &rollout.target)?;
    let asked = approval(&rollout, &gate)?;
    let Some(secret) = api.people.link_secret() else { return Err(no_links()) };
    let now = api.handle.clock().wall();
    let until = now.plus(std::time::Duration::from_secs(seconds));
    let claims = Claims {
        aud: AUDIENCE.to_owned(),
        sub: person,
        rollout: rollout.id.0.clone(),
        gate: asked.name.clone(),
        exp: until.0.div_euclid(1000),
        jti: uuid::Uuid::now_v7().simple().to_string(),
    };
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    let signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|_| Problem::internal())?;
    let path = format!("/api/v1/approvals/{signed}");
    let url = api.people.public_url().map(|base| format!("{base}{path}")).unwrap_or(path);
    Ok((StatusCode::CREATED, Json(LinkView { url, expires_at: until.to_string() })).into_response())
}

/// The gate, if persons are asked there.
fn approval(rollout: &Rollout, name: &str) -> Result<Gate, Problem> {
    let gate = rollout.policy.gates.iter().find(|gate| gate.name == name);
    match gate {
        Some(gate) if matches!(gate.check, Check::Approval { .. }) => Ok(gate.clone()),
        _ => {
            let policy = &rollout.policy.name;
            let gate = format!("a gate `{name}` of the policy {policy} that asks persons");
            Err(crate::ports::StoreError::NotFound(gate).into())
        }
    }
}

fn no_links() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "no_approval_links",
        "There are no approval links",
        "the daemon's configuration has no secret to sign them with: `approval_links: {secret: {env: NAME}}`",
    )
}

/// Reads a link. What is wrong with it is told without its content.
fn read(api: &Api, link: &str) -> Result<Claims, Problem> {
    let refused = |code: &str, detail: &str| {
        Problem::new(StatusCode::FORBIDDEN, code, "This link cannot be used", detail.to_owned())
    };
    let Some(secret) = api.people.link_secret() else { return Err(no_links()) };
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud", "sub"]);
    // Told apart below, by the daemon's own clock.
    rules.validate_exp = false;
    let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
    let claims = jsonwebtoken::decode::<Claims>(link, &key, &rules)
        .map_err(|_| refused("link_invalid", "it was not made by this daemon, or was changed"))?
        .claims;
    if claims.exp.saturating_mul(1000) <= api.handle.clock().wall().0 {
        return Err(refused("link_expired", "its time is over; ask for a new one"));
    }
    Ok(claims)
}

/// `GET /approvals/{link}`: the page on which its person says yes or no. Opening it does nothing: mail
/// programs open links too.
#[utoipa::path(get, path = "/api/v1/approvals/{link}", tag = "rollouts", operation_id = "show_approval_link",
    params(("link" = String, Path, description = "As it was sent")),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub(super) async fn show_link(State(api): State<Api>, name: Name) -> Result<Response, Problem> {
    let claims = read(&api, &name.0)?;
    let rollout = api.handle.store().rollout(&RolloutId(claims.rollout.clone())).await?;
    if known(&api, &link_key(&claims)).await?.is_some() {
        return Err(used());
    }
    let body = format!(
        "<h1>{} {}</h1><p>Gate <b>{}</b> of policy {}; asked for by {}. You say it as <b>{}</b>.</p>\
         <form method=\"post\"><p><label>Why <input name=\"reason\" maxlength=\"500\" size=\"50\" required></label></p>\
         <p><button name=\"answer\" value=\"approve\">Approve</button> \
         <button name=\"answer\" value=\"refuse\">Refuse</button></p></form>",
        safe(&rollout.target),
        safe(&rollout.version),
        safe(&claims.gate),
        safe(&rollout.policy.name),
        safe(&rollout.created_by),
        safe(&claims.sub),
    );
    Ok(html(&page("Approval", &body)))
}

/// What the form of a link sends.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// `approve` or `refuse`.
    answer: String,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// `POST /approvals/{link}`: says yes or no, once.
#[utoipa::path(post, path = "/api/v1/approvals/{link}", tag = "rollouts", operation_id = "use_approval_link",
    params(("link" = String, Path, description = "As it was sent")),
    request_body(content = Said, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub(super) async fn use_link(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    form: Result<Form<Said>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Problem> {
    let Form(said) = form.map_err(|rejection| Problem::not_json(rejection.body_text()))?;
    let claims = read(&api, &name.0)?;
    principal.note("approval_link.use", &format!("{} of {} by {}", claims.gate, claims.rollout, claims.sub));
    let teams = api.people.teams(&claims.sub);
    let kind = match said.answer.as_str() {
        "approve" => CommandKind::Approve { gate: claims.gate.clone(), teams },
        "refuse" => CommandKind::Refuse { gate: claims.gate.clone(), teams },
        _ => return Err(Problem::field("answer", "`answer` must be approve or refuse")),
    };
    if said.reason.trim().is_empty() || said.reason.chars().count() > 500 {
        return Err(Problem::field("reason", "`reason` must be 1 to 500 characters"));
    }
    if known(&api, &link_key(&claims)).await?.is_some() {
        return Err(used());
    }
    let rollout = api.handle.store().rollout(&RolloutId(claims.rollout.clone())).await?;
    if rollout.phase.is_terminal() {
        return Err(Problem::refused(&rollout.id.0, "the rollout has ended"));
    }
    let command = Command {
        key: link_key(&claims),
        by: claims.sub.clone(),
        reason: Some(said.reason.trim().to_owned()),
        expected_revision: None,
        kind,
        giver: Giver::Link,
        force: Force::default(),
    };
    let handed = hand_over(&api, &rollout.id, &command).await?;
    match handed {
        Handed::Stored(InboxEntry { result: Some(Err(reason)), .. }) => {
            Err(Problem::refused(&rollout.id.0, reason))
        }
        _ => Ok(html(&page("Approval", "<h1>Thank you</h1><p>It is written down.</p>"))),
    }
}

/// The inbox takes a key once: so a link is used once.
fn link_key(claims: &Claims) -> String {
    format!("link-{}", claims.jti)
}

fn used() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "link_used",
        "This link was used",
        "it was made for one answer; what was said stands in the rollout's log",
    )
}

fn html(text: &str) -> Response {
    let mut response = text.to_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&format!("{PAGE_POLICY}; form-action 'self'")) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
