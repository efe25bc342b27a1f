//! Reloading the configuration.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::access::{Permission, Principal};
use super::declarations::invalid;
use super::input::Params;
use super::problem::Problem;
use crate::contract::{ConfigurationView, ReloadView, RestartView};
use crate::engine::{LastReload, Name, ReloadError, Reloaded, RestartNeeded};

fn reload_view(reloaded: &Reloaded) -> ReloadView {
    let names = |names: &[Name], parts: &[String]| {
        names.iter().map(ToString::to_string).chain(parts.iter().cloned()).collect()
    };
    let wrong = reloaded.wrong.iter().flat_map(|(name, problems)| {
        problems.iter().map(move |problem| format!("{name}: {}", problem.detail()))
    });
    ReloadView {
        added: names(&reloaded.changes.added, &reloaded.added),
        changed: names(&reloaded.changes.changed, &reloaded.changed),
        removed: names(&reloaded.changes.removed, &reloaded.removed),
        replaced: reloaded.replaced.clone(),
        waiting: reloaded.waiting.clone(),
        restart_needed: restart(&reloaded.restart),
        not_taken: wrong.collect(),
    }
}

fn configuration_view(last: Option<&LastReload>, may_see_all: bool) -> ConfigurationView {
    let problems = last.map(|last| last.problems.as_slice()).unwrap_or_default();
    let told = if may_see_all { problems } else { &[] };
    ConfigurationView {
        at: last.map(|last| last.at.to_string()),
        file: last.filter(|_| may_see_all).map(|last| last.file.clone()),
        ok: problems.is_empty(),
        problems: told.iter().map(ToString::to_string).collect(),
        restart_needed: last.map(|last| restart(&last.restart)).unwrap_or_default(),
    }
}

fn restart(needed: &[RestartNeeded]) -> Vec<RestartView> {
    let view = |needed: &RestartNeeded| RestartView { field: needed.field.clone(), why: needed.why.clone() };
    needed.iter().map(view).collect()
}

/// `GET /reload`: what became of the last reload of the configuration file.
#[utoipa::path(get, path = "/api/v1/reload", tag = "daemon", operation_id = "show_reload_daemon",
    responses((status = 200, description = "What became of the last reload", body = ConfigurationView)))]
pub(super) async fn show(
    State(api): State<Api>,
    principal: Principal,
    params: Params,
) -> Result<Json<ConfigurationView>, Problem> {
    params.finish()?;
    let last = api.handle.configuration().last();
    Ok(Json(configuration_view(last.as_deref(), principal.may_everywhere(Permission::View))))
}

/// `POST /reload`: reads the configuration file again, as SIGHUP does. A file that is wrong changes nothing.
#[utoipa::path(post, path = "/api/v1/reload", tag = "daemon", operation_id = "reload_daemon",
    responses((status = 200, description = "It was read, and this has changed", body = ReloadView)))]
pub(super) async fn reload(
    State(api): State<Api>,
    principal: Principal,
) -> Result<Json<ReloadView>, Problem> {
    principal.note("reload", "");
    match api.handle.configuration().reload().await {
        Ok(reloaded) => Ok(Json(reload_view(&reloaded))),
        Err(ReloadError::Wrong(problems)) => Err(invalid(&problems)),
        Err(error @ ReloadError::NoFile) => Err(Problem::new(
            StatusCode::CONFLICT,
            "no_configuration_file",
            "There is no file to reload",
            error.to_string(),
        )),
        Err(error @ ReloadError::Busy) => Err(Problem::not_ready(error.to_string())),
    }
}
