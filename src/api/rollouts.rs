//! Rollouts: start, list, show, command, and what was recorded of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::access::{Permission, Principal};
use super::handing::{Handed, hand_over, known};
use super::input::{Body, IdempotencyKey, IfMatch, Name, Params};
use super::problem::Problem;
use crate::contract::bodies::{CommandBody, Moment, PhaseWord, StartBody};
use crate::contract::{CommandView, EventView, PHASES, Page, RolloutView, TickAssessmentView};
use crate::core::ids::RolloutId;
use crate::core::metric::TickObservation;
use crate::core::rollout::{Command, CommandKind, Force, Giver, Illegal, Rollout, RolloutKind};
use crate::core::target::Target;
use crate::engine::StartRequest;
use crate::ports::{RolloutFilter, StoreError};

/// How the engine's refusal of a command for another revision begins.
const REVISION: &str = "the rollout has changed:";

const COMMANDS: &[&str] = &[
    "pause",
    "resume",
    "advance",
    "promote",
    "rollback",
    "approve",
    "refuse",
    "override_gate",
    "retry_gate",
    "acknowledge",
];

/// `POST /rollouts`: 201 with the rollout and its `Location`. The same idempotency key again gives the
/// same rollout.
#[utoipa::path(post, path = "/api/v1/rollouts", tag = "rollouts", operation_id = "start_rollout",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key again gives what was made first", min_length = 1, max_length = 200, pattern = "^[!-~]+$"),
    ),
    request_body = StartBody,
    responses((status = 201, description = "It was started, or is scheduled", body = RolloutView, headers(("Location" = String, description = "Where it is")))))]
pub(super) async fn start(
    State(api): State<Api>,
    principal: Principal,
    key: IdempotencyKey,
    mut body: Body,
) -> Result<Response, Problem> {
    let request = StartRequest {
        target: body.text("target", 200),
        policy: body.text("policy", 200),
        version: body.text("version", 200),
        kind: match body.word("kind", &["release", "revert"]) {
            Some("revert") => RolloutKind::Revert,
            _ => RolloutKind::Release,
        },
        by: principal.by(body.optional_text("by", 200)),
        supersede: body.flag("supersede"),
        idempotency_key: key.0,
        not_before: body.optional_moment("begins_at"),
    };
    body.finish()?;
    principal.note("start", &format!("{} of {}", request.version, request.target));
    principal.allow(Permission::Operate, &request.target)?;
    if !api.handle.targets().contains_key(&request.target) && !principal.may_everywhere(Permission::View) {
        // The usual sentence names all targets.
        return Err(Problem::unknown_target(&request.target));
    }
    if !api.handle.is_ready() {
        return Err(Problem::not_ready(
            "the stored state is not loaded yet, or the store cannot be written to, so nothing can be started",
        ));
    }
    let asked = request.clone();
    let rollout = api.handle.start(request).await?;
    if (&rollout.target, &rollout.version, &rollout.policy.name, rollout.kind)
        != (&asked.target, &asked.version, &asked.policy, asked.kind)
    {
        if !principal.sees(&rollout.target) {
            return Err(Problem::key_reused("this key was used before; take a new key"));
        }
        return Err(Problem::key_reused(format!(
            "this key started rollout {}, of {} on {} under policy {}; take a new key",
            rollout.id, rollout.version, rollout.target, rollout.policy.name
        ))
        .about(&rollout.id.0));
    }
    let location = format!("/api/v1/rollouts/{}", rollout.id);
    let view = view(&api, &rollout).await?;
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /rollouts`: newest first.
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "rollouts", operation_id = "list_rollout",
    params(
        ("target" = Option<String>, Query, description = "Only of this target"),
        ("service" = Option<String>, Query, description = "Another name of `target`"),
        ("phase" = Option<PhaseWord>, Query, description = "Only in this phase"),
        ("state" = Option<PhaseWord>, Query, description = "Another name of `phase`"),
        ("policy" = Option<String>, Query, description = "Only under this policy"),
        ("active" = Option<bool>, Query, description = "Only those that have not ended, or only those that have"),
        ("from" = Option<Moment>, Query, description = "Only those that had not ended before this time"),
        ("to" = Option<Moment>, Query, description = "Only those that were asked for until this time"),
        ("before" = Option<String>, Query, description = "Only ids before this one: `next` of the page before"),
        ("limit" = Option<u64>, Query, description = "At most so many", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "Newest first", body = Page<RolloutView>)))]
pub(super) async fn list(
    State(api): State<Api>,
    principal: Principal,
    mut params: Params,
) -> Result<Json<Page<RolloutView>>, Problem> {
    let (target, service) = (params.text("target"), params.text("service"));
    let target = target.or(service);
    let (phase, state) = (params.word("phase", PHASES), params.word("state", PHASES));
    let phase = phase.or(state);
    let policy = params.text("policy");
    let (since, until) = (params.time("from"), params.time("to"));
    let active = params.flag("active");
    let before = params.text("before").map(RolloutId);
    let limit = params.number("limit", 1, 200, 50) as usize;
    params.finish()?;
    let targets: BTreeMap<String, Target> =
        api.handle.store().targets().await?.into_iter().map(|target| (target.name.clone(), target)).collect();
    let seen = principal.seen(targets.keys());
    // One more than the page has tells whether there is another page.
    let filter = RolloutFilter {
        target,
        targets: seen,
        phase,
        active,
        policy,
        since,
        until,
        before,
        limit: limit + 1,
    };
    let mut rollouts = api.handle.store().rollouts(&filter).await?;
    let more = rollouts.len() > limit;
    rollouts.truncate(limit);
    let next = if more { rollouts.last().map(|rollout| rollout.id.0.clone()) } else { None };
    let items =
        rollouts.iter().map(|rollout| RolloutView::new(rollout, targets.get(&rollout.target))).collect();
    Ok(Json(Page { items, next }))
}

/// `GET /rollouts/{id}`, with its revision as `ETag`.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", tag = "rollouts", operation_id = "show_rollout",
    params(
        ("id" = String, Path, description = "The rollout's id", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
    ),
    responses((status = 200, description = "The rollout", body = RolloutView)))]
pub(super) async fn show(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
) -> Result<Response, Problem> {
    let rollout = rollout(&api, &principal, name).await?;
    let mut response = Json(view(&api, &rollout).await?).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", rollout.event_seq)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// `GET /rollouts/{id}/events`: the rollout's log, oldest first.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}/events", tag = "rollouts", operation_id = "events_rollout",
    params(
        ("id" = String, Path, description = "The rollout's id", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
        ("after" = Option<u64>, Query, description = "Only those after this number: `next` of the page before", minimum = 0),
        ("limit" = Option<u64>, Query, description = "At most so many", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "The log, oldest first", body = Page<EventView>)))]
pub(super) async fn events(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    mut params: Params,
) -> Result<Json<Page<EventView>>, Problem> {
    let (after, limit) = (params.number("after", 0, u64::MAX, 0), params.number("limit", 1, 1000, 200));
    params.finish()?;
    let rollout = rollout(&api, &principal, name).await?;
    let events = api.handle.store().events(&rollout.id, after, limit as usize).await?;
    let next = next(events.len(), limit, events.last().map(|event| event.seq));
    Ok(Json(Page { items: events.iter().map(EventView::new).collect(), next }))
}

/// `GET /rollouts/{id}/evidence`: what every tick was judged as, oldest first.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}/evidence", tag = "rollouts", operation_id = "evidence_rollout",
    params(
        ("id" = String, Path, description = "The rollout's id", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
        ("after" = Option<u64>, Query, description = "Only those after this number: `next` of the page before", minimum = 0),
        ("limit" = Option<u64>, Query, description = "At most so many", minimum = 1, maximum = 500),
    ),
    responses((status = 200, description = "Oldest first", body = Page<TickAssessmentView>)))]
pub(super) async fn evidence(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    params: Params,
) -> Result<Json<Page<TickAssessmentView>>, Problem> {
    let (rollout, ticks, next) = ticks(&api, &principal, name, params).await?;
    let items = ticks
        .iter()
        .map(|(tick, assessment)| TickAssessmentView::new(tick, assessment, &rollout.policy))
        .collect();
    Ok(Json(Page { items, next }))
}

/// `GET /rollouts/{id}/observations`: the counts exactly as they are stored, oldest first.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}/observations", tag = "rollouts", operation_id = "observations_rollout",
    params(
        ("id" = String, Path, description = "The rollout's id", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
        ("after" = Option<u64>, Query, description = "Only those after this number: `next` of the page before", minimum = 0),
        ("limit" = Option<u64>, Query, description = "At most so many", minimum = 1, maximum = 500),
    ),
    responses((status = 200, description = "The counts as they are stored, oldest first", body = Page<Object>)))]
pub(super) async fn observations(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    params: Params,
) -> Result<Json<Page<TickObservation>>, Problem> {
    let (_, ticks, next) = ticks(&api, &principal, name, params).await?;
    Ok(Json(Page { items: ticks.into_iter().map(|(tick, _)| tick).collect(), next }))
}

type Ticks = Vec<(TickObservation, crate::core::judge::Assessment)>;

async fn ticks(
    api: &Api,
    principal: &Principal,
    name: Name,
    mut params: Params,
) -> Result<(Rollout, Ticks, Option<String>), Problem> {
    let (after, limit) = (params.number("after", 0, u64::MAX, 0), params.number("limit", 1, 500, 100));
    params.finish()?;
    let rollout = rollout(api, principal, name).await?;
    let ticks = api.handle.store().observations(&rollout.id, after, limit as usize).await?;
    let next = next(ticks.len(), limit, ticks.last().map(|(tick, _)| tick.seq));
    Ok((rollout, ticks, next))
}

/// A full page may have another one after it.
fn next(got: usize, limit: u64, last: Option<u64>) -> Option<String> {
    if got as u64 >= limit { last.map(|seq| seq.to_string()) } else { None }
}

/// A rollout that has not ended, without the store, if the engine knows it and the caller may read of its target.
fn known_rollout(api: &Api, principal: &Principal, name: &Name) -> Option<Rollout> {
    api.handle.known(&id_of(name)).filter(|rollout| principal.sees(&rollout.target))
}

fn id_of(name: &Name) -> RolloutId {
    RolloutId(name.0.chars().take(200).collect())
}

/// The rollout of that id. One of a target that the caller may not read of is as if it were not there.
pub(super) async fn rollout(api: &Api, principal: &Principal, name: Name) -> Result<Rollout, Problem> {
    let id = id_of(&name);
    let rollout = api.handle.store().rollout(&id).await?;
    if principal.sees(&rollout.target) {
        return Ok(rollout);
    }
    Err(StoreError::NotFound(format!("rollout {id}")).into())
}

async fn view(api: &Api, rollout: &Rollout) -> Result<RolloutView, Problem> {
    let target = match api.handle.store().target(&rollout.target).await {
        Ok(target) => Some(target),
        Err(StoreError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(RolloutView::new(rollout, target.as_ref()))
}

// ----------------------------------------------------------------------------------------------- commands

/// `POST /rollouts/{id}/commands`: into the inbox, and what the engine made of it. 200 when it was
/// carried out, 409 when it was refused, 202 when the engine has not taken it yet; the same
/// idempotency key again asks again.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/commands", tag = "rollouts", operation_id = "command_rollout",
    params(
        ("id" = String, Path, description = "The rollout's id", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key again gives what was made first", min_length = 1, max_length = 200, pattern = "^[!-~]+$"),
    ),
    request_body = CommandBody,
    responses((status = 200, description = "It was carried out", body = CommandView), (status = 202, description = "The engine has not taken it yet; ask again with the same key", body = CommandView)))]
pub(super) async fn command(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    key: IdempotencyKey,
    expected: IfMatch,
    mut body: Body,
) -> Result<Response, Problem> {
    let kind = match body.required_word("command", COMMANDS) {
        "pause" => CommandKind::Pause,
        "resume" => CommandKind::Resume,
        "advance" => CommandKind::Advance,
        "promote" => CommandKind::Promote,
        "approve" => CommandKind::Approve { gate: body.text("gate", 63), teams: Vec::new() },
        "refuse" => CommandKind::Refuse { gate: body.text("gate", 63), teams: Vec::new() },
        "override_gate" => CommandKind::OverrideGate { gate: body.text("gate", 63) },
        "retry_gate" => CommandKind::RetryGate { gate: body.text("gate", 63) },
        "acknowledge" => CommandKind::Acknowledge,
        _ => CommandKind::Rollback,
    };
    let told = body.number("expected_revision");
    if let (Some(told), Some(expected)) = (told, expected.0)
        && told != expected
    {
        body.wrong("expected_revision", "`expected_revision` differs from the header `If-Match`".to_owned());
    }
    let mut command = Command {
        key: key.0.unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string()),
        by: principal.by(body.optional_text("by", 200)),
        reason: body.optional_text("reason", 2000),
        expected_revision: told.or(expected.0),
        kind,
        giver: Giver::Person,
        force: Force { overrides: body.flag("override"), even_if_worse: body.flag("even_if_worse") },
    };
    let overrides = command.force != Force::default();
    if overrides && !matches!(command.kind, CommandKind::Advance | CommandKind::Promote) {
        body.wrong("override", "only `advance` and `promote` override something".to_owned());
    }
    body.finish()?;
    if !command.kind.is_urgent() {
        principal.certain()?;
    }
    // What is urgent waits for no store: it goes to the rollout that the engine knows.
    let known_one = command.kind.is_urgent().then(|| known_rollout(&api, &principal, &name)).flatten();
    let is_at_once = known_one.is_some();
    let rollout = match known_one {
        Some(rollout) => rollout,
        None => rollout(&api, &principal, name).await?,
    };
    principal.note(command.kind.name(), &format!("{} of {}", rollout.id, rollout.target));
    principal.allow(needed(&command.kind), &rollout.target)?;
    if let CommandKind::Approve { teams, .. } | CommandKind::Refuse { teams, .. } = &mut command.kind {
        *teams = api.people.teams(&command.by);
    }
    // The inbox tells of a key that was used before, and the engine of another revision, when it is handed over.
    let before = if is_at_once { None } else { known(&api, &command.key).await? };
    let entry = match before {
        Some(entry) => entry,
        None if !is_at_once && expected.0.is_some_and(|expected| expected != rollout.event_seq) => {
            let expected = expected.0.unwrap_or_default();
            return Err(Problem::revision_changed(&rollout.id.0, expected, rollout.event_seq));
        }
        // The engine looks at rollouts that are at their end for what they have left behind alone.
        None if rollout.phase.is_terminal() && command.kind != CommandKind::Acknowledge => {
            return Err(at_its_end(&rollout, &command.kind));
        }
        None => match hand_over(&api, &rollout.id, &command).await? {
            Handed::Stored(entry) => entry,
            Handed::InForce(view) => return Ok((StatusCode::ACCEPTED, Json(view)).into_response()),
        },
    };
    if entry.rollout != rollout.id
        || entry.command.kind != command.kind
        || entry.command.force != command.force
    {
        if !principal.may_everywhere(Permission::View) {
            return Err(Problem::key_reused("this key was used before; take a new key"));
        }
        return Err(Problem::key_reused(format!(
            "this key was used for `{}` of rollout {}; take a new key",
            entry.command.kind.name(),
            entry.rollout
        ))
        .about(&entry.rollout.0));
    }
    match &entry.result {
        Some(Ok(())) => Ok((StatusCode::OK, Json(CommandView::new(&entry))).into_response()),
        Some(Err(reason)) => match expected.0 {
            // It changed between the look above and the engine's.
            Some(expected) if reason.starts_with(REVISION) => {
                let now = api.handle.store().rollout(&rollout.id).await?;
                Err(Problem::revision_changed(&rollout.id.0, expected, now.event_seq))
            }
            _ => Err(Problem::refused(&rollout.id.0, reason.clone())),
        },
        None => {
            let now = api.handle.store().rollout(&rollout.id).await?;
            if now.phase.is_terminal() {
                return Err(at_its_end(&now, &entry.command.kind));
            }
            Ok((StatusCode::ACCEPTED, Json(CommandView::new(&entry))).into_response())
        }
    }
}

fn needed(kind: &CommandKind) -> Permission {
    match kind {
        CommandKind::Approve { .. } | CommandKind::Refuse { .. } => Permission::Approve,
        CommandKind::OverrideGate { .. } => Permission::Administer,
        _ => Permission::Operate,
    }
}

fn at_its_end(rollout: &Rollout, kind: &CommandKind) -> Problem {
    let illegal = Illegal::Phase { phase: rollout.phase.name(), event: kind.name() };
    Problem::refused(&rollout.id.0, illegal.to_string())
}
