//! Targets and policies that are declared through the API: checked like those of the configuration file, stored, and
//! taken in at once. What the file declares cannot be declared here.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::Api;
use super::access::Principal;
use super::input::{BodyBytes, Name as PathName};
use super::problem::Problem;
use crate::config::{self, Config, References, parse_policy, parse_target};
use crate::contract::problem::PlacedError;
use crate::contract::{PolicyView, TargetView};
use crate::core::declaration::{DeclarationKind, StoredDeclaration};
use crate::core::policy::Policy;
use crate::core::spec::TargetSpec;
use crate::core::target::Target;
use crate::engine::{Catalogue, Declaration, Declared, Handle, Item, Name, Source};
use crate::ports::{RolloutFilter, StoreError};

/// The largest body, in bytes.
pub(super) const BYTES: BodyBytes = BodyBytes(1024 * 1024);
/// How problems call what was sent.
const BODY: &str = "request body";

/// A declaration as it was sent: YAML, or JSON, which is YAML too.
pub(super) struct Document(Bytes);

impl FromRequest<Api> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Document, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let known =
            ["application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];
        if !known.contains(&essence.to_ascii_lowercase().as_str()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body is neither YAML nor JSON",
                "send it with the header `Content-Type: application/yaml` or `application/json`",
            ));
        }
        let bytes = Bytes::from_request(request, api).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(rejection)
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Problem::too_large(BYTES.0)
            }
            other => Problem::not_json(format!("the body could not be read: {}", other.body_text())),
        })?;
        Ok(Document(bytes))
    }
}

/// A kind of thing that can be declared here.
pub(super) trait Declares: Send + Sync + 'static {
    /// Which one.
    const KIND: DeclarationKind;
}

/// Targets.
pub(super) struct Targets;
/// Policies.
pub(super) struct Policies;

impl Declares for Targets {
    const KIND: DeclarationKind = DeclarationKind::Target;
}

impl Declares for Policies {
    const KIND: DeclarationKind = DeclarationKind::Policy;
}

/// `POST /targets`, `POST /policies`: declares what the body names, or changes it.
pub(super) async fn post<K: Declares>(
    State(api): State<Api>,
    principal: Principal,
    document: Document,
) -> Result<Response, Problem> {
    apply(&api, &principal, K::KIND, None, document).await
}

/// `PUT /targets/{name}`, `PUT /policies/{name}`: declares it, or changes it.
pub(super) async fn put<K: Declares>(
    State(api): State<Api>,
    principal: Principal,
    name: PathName,
    document: Document,
) -> Result<Response, Problem> {
    apply(&api, &principal, K::KIND, Some(&name.0), document).await
}

/// `DELETE /targets/{name}`, `DELETE /policies/{name}`: it is not declared any more.
pub(super) async fn delete<K: Declares>(
    State(api): State<Api>,
    principal: Principal,
    name: PathName,
) -> Result<StatusCode, Problem> {
    remove(&api, &principal, K::KIND, &name.0).await
}

async fn apply(
    api: &Api,
    principal: &Principal,
    kind: DeclarationKind,
    name: Option<&str>,
    document: Document,
) -> Result<Response, Problem> {
    let handle = &api.handle;
    principal.note(&format!("{}.apply", kind.name()), &name.map_or_else(String::new, short));
    let _declaring = handle.configuration().declaring().await;
    let before = handle.declared();
    // A name that the file has is said first: what is wrong with the body does not matter then.
    if let Some(name) = name {
        refuse_file(&before, &named(kind, name))?;
    }
    let item = read(handle, &before, kind, name, &document.0).map_err(|problems| invalid(&problems))?;
    principal.note(&format!("{}.apply", kind.name()), item.name().name());
    refuse_file(&before, &item.name())?;
    let is_new = before.owner(&item.name()).is_none();
    let by = principal.by(None);
    let declaration = StoredDeclaration {
        kind,
        name: item.name().name().to_owned(),
        body: String::from_utf8_lossy(&document.0).into_owned(),
        by: by.clone(),
        at: handle.clock().wall(),
    };
    handle.store().put_declaration(&declaration).await?;
    let good = Declaration::Good { item: item.clone(), origin: origin(&by) };
    handle.declare_kept(Source::Api, Declared::Changed(good)).await?;
    tracing::info!(what = %item.name(), by, "declared through the API");
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let after = handle.declared();
    Ok(match item {
        Item::Target(spec) => (status, Json(view(handle, &after, &spec.name).await?)).into_response(),
        Item::Policy(policy) => (status, Json(policy_view(&policy, &after))).into_response(),
    })
}

async fn remove(
    api: &Api,
    principal: &Principal,
    kind: DeclarationKind,
    name: &str,
) -> Result<StatusCode, Problem> {
    let handle = &api.handle;
    principal.note(&format!("{}.delete", kind.name()), &short(name));
    let _declaring = handle.configuration().declaring().await;
    let catalogue = handle.declared();
    let stored = handle.store().declarations().await?;
    if !stored.iter().any(|stored| stored.kind == kind && stored.name == name) {
        refuse_file(&catalogue, &named(kind, name))?;
        return Err(StoreError::NotFound(format!("{} {}", kind.name(), short(name))).into());
    }
    let is_in_force = catalogue.owner(&named(kind, name)).is_some_and(|owner| owner.source == Source::Api);
    if kind == DeclarationKind::Target && is_in_force {
        refuse_busy(handle, name).await?;
    }
    handle.store().delete_declaration(kind, name).await?;
    handle.declare(Source::Api, Declared::Gone(named(kind, name)));
    tracing::info!(what = %named(kind, name), by = principal.by(None), "removed through the API");
    Ok(StatusCode::NO_CONTENT)
}

/// A target that a rollout has, or that one waits for, stays.
async fn refuse_busy(handle: &Handle, name: &str) -> Result<(), Problem> {
    let filter = RolloutFilter {
        target: Some(name.to_owned()),
        active: Some(true),
        limit: 1,
        ..RolloutFilter::default()
    };
    let Some(rollout) = handle.store().rollouts(&filter).await?.into_iter().next() else { return Ok(()) };
    let detail = format!(
        "target {name} has a rollout of {} (state {}); roll it back first: serin rollout rollback {}",
        rollout.version,
        rollout.phase.name(),
        rollout.id.0
    );
    let problem = Problem::new(StatusCode::CONFLICT, "rollout_active", "The target has a rollout", detail);
    Err(problem.about(&rollout.id.0))
}

fn refuse_file(catalogue: &Catalogue, name: &Name) -> Result<(), Problem> {
    match catalogue.owner(name) {
        Some(owner) if owner.source == Source::File => Err(Problem::new(
            StatusCode::CONFLICT,
            "declared_in_file",
            "It is declared in the configuration file",
            format!(
                "{} {} is declared in {}; change it there",
                name.kind(),
                short(name.name()),
                owner.origin
            ),
        )),
        _ => Ok(()),
    }
}

fn named(kind: DeclarationKind, name: &str) -> Name {
    match kind {
        DeclarationKind::Target => Name::Target(name.to_owned()),
        DeclarationKind::Policy => Name::Policy(name.to_owned()),
    }
}

fn short(name: &str) -> String {
    name.chars().take(100).collect()
}

fn origin(by: &str) -> String {
    format!("the API ({by})")
}

/// Reads and checks a declaration as the configuration file's are read.
fn read(
    handle: &Handle,
    catalogue: &Catalogue,
    kind: DeclarationKind,
    name: Option<&str>,
    bytes: &[u8],
) -> Result<Item, Vec<config::Problem>> {
    let problems = |problems: config::Problems| problems.0;
    match kind {
        DeclarationKind::Target => {
            let instances = handle.configuration().instances();
            let references = References::from_words(&instances.providers, &instances.routers);
            let spec = parse_target(BODY, bytes, name, &references, catalogue.targets()).map_err(problems)?;
            Ok(Item::Target(Arc::new(spec)))
        }
        DeclarationKind::Policy => {
            let policy = parse_policy(BODY, bytes).map_err(problems)?;
            match name {
                Some(name) if name != policy.name => Err(vec![config::Problem {
                    expected: format!("`{}`", short(name)),
                    ..config::Problem::of(BODY, "name", format!("the name is `{}`", policy.name))
                }]),
                _ => Ok(Item::Policy(Arc::new(policy))),
            }
        }
    }
}

fn placed(problem: &config::Problem) -> PlacedError {
    PlacedError {
        file: problem.file.clone(),
        line: Some(problem.line).filter(|line| *line > 0),
        column: Some(problem.column).filter(|column| *column > 0),
        field: Some(problem.field.clone()).filter(|field| !field.is_empty()),
        detail: problem.detail(),
    }
}

/// A 422 with everything that is wrong.
pub(super) fn invalid(problems: &[config::Problem]) -> Problem {
    let detail = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let mut problem = Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_configuration",
        "It is not valid, and nothing was changed",
        detail,
    );
    problem.problems = problems.iter().map(placed).collect();
    problem
}

/// A target with what is declared of it. One that nobody has worked on yet is not stored.
pub(super) async fn view(handle: &Handle, catalogue: &Catalogue, name: &str) -> Result<TargetView, Problem> {
    let spec = catalogue.targets().get(name);
    let target = match (handle.store().target(name).await, spec) {
        (Ok(target), _) => target,
        (Err(StoreError::NotFound(_)), Some(spec)) => untouched(spec),
        (Err(error), _) => return Err(error.into()),
    };
    Ok(target_view(&target, catalogue))
}

/// A target with where it is declared.
pub(super) fn target_view(target: &Target, catalogue: &Catalogue) -> TargetView {
    let name = Name::Target(target.name.clone());
    let spec = catalogue.targets().get(&target.name);
    let kept = catalogue.kept().get(&target.name);
    TargetView {
        declared_in: catalogue.owner(&name).map(|owner| owner.origin),
        declaration_problems: wrong(catalogue, &name),
        waiting_for_rollout: kept.map(|kept| kept.waiting.clone()).unwrap_or_default(),
        ..TargetView::new(target, spec.map(AsRef::as_ref))
    }
}

/// A policy with where it is declared.
pub(super) fn policy_view(policy: &Policy, catalogue: &Catalogue) -> PolicyView {
    let name = Name::Policy(policy.name.clone());
    PolicyView {
        declared_in: catalogue.owner(&name).map(|owner| owner.origin),
        declaration_problems: wrong(catalogue, &name),
        ..PolicyView::new(policy)
    }
}

fn wrong(catalogue: &Catalogue, name: &Name) -> Vec<String> {
    let mine = catalogue.wrong().into_iter().filter(|(wrong, ..)| wrong == name);
    mine.flat_map(|(_, _, problems)| problems).map(|problem| problem.to_string()).collect()
}

/// A target that is declared and that no process has taken yet.
pub(super) fn untouched(spec: &TargetSpec) -> Target {
    Target { stable_version: spec.stable_version.clone(), ..Target::new(&*spec.name) }
}

/// Takes in what is stored of the API's declarations, at the start. One that cannot be used any more is shown as
/// wrong.
///
/// # Errors
/// [`StoreError`]; nothing was taken in then.
pub async fn load_declarations(handle: &Handle) -> Result<(), StoreError> {
    let stored = handle.store().declarations().await?;
    let _declaring = handle.configuration().declaring().await;
    for StoredDeclaration { kind, name, body, by, .. } in stored {
        let declaration = match read(handle, &handle.declared(), kind, Some(&name), body.as_bytes()) {
            Ok(item) => Declaration::Good { item, origin: origin(&by) },
            Err(problems) => {
                for problem in &problems {
                    tracing::error!(what = %named(kind, &name), "declared through the API, and wrong: {problem}");
                }
                Declaration::Wrong { name: named(kind, &name), problems }
            }
        };
        handle.declare(Source::Api, Declared::Changed(declaration));
    }
    Ok(())
}

/// What of a new configuration does not go together with what the API has declared.
pub fn conflicts(handle: &Handle, config: &Config, file: &str) -> Vec<config::Problem> {
    let catalogue = handle.declared();
    let mut found = Vec::new();
    let mut tell = |field: String, detail: String| found.push(config::Problem::of(file, field, detail));
    for item in catalogue.declared_by(Source::Api) {
        let Item::Target(spec) = item else { continue };
        // The file's own declaration of that name is what counts.
        if config.targets.contains_key(&spec.name) {
            continue;
        }
        let name = &spec.name;
        if !config.providers.contains_key(&spec.provider) {
            let detail =
                format!("target {name} is declared through the API and needs provider {}", spec.provider);
            tell("providers".to_owned(), detail);
        }
        if !config.routers.contains_key(&spec.router) {
            let detail =
                format!("target {name} is declared through the API and needs router {}", spec.router);
            tell("routers".to_owned(), detail);
        }
        let same = |other: &&TargetSpec| other.router == spec.router && other.route == spec.route;
        if let Some(other) = config.targets.values().find(same) {
            let detail =
                format!("target {name}, declared through the API, has the same route `{}`", spec.route);
            tell(format!("targets.{}.route", other.name), detail);
        }
    }
    found
}
