//! Charts of a rollout: `GET /rollouts/{id}/series`. What is stored is read once a rollout and kept
//! in a small form, bounded in all; later requests read only what is new.

mod buckets;
mod trace;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use self::buckets::Part;
use self::trace::Trace;
use super::Api;
use super::access::{Permission, Principal};
use super::input::{Name, Params};
use super::problem::Problem;
use crate::contract::bodies::{Moment, SeriesForm, SeriesOrRows};
use crate::core::ids::RolloutId;
use crate::core::rollout::Rollout;
use crate::ports::{Store, StoreError};

/// Ticks that are read at a time.
const PAGE: usize = 500;
/// Points that are kept of all rollouts together.
const KEPT: usize = 50_000;

/// What is kept of the rollouts that were last asked for.
#[derive(Clone, Default)]
pub(super) struct Traces {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    uses: u64,
    entries: BTreeMap<RolloutId, Entry>,
}

struct Entry {
    used: u64,
    points: usize,
    trace: Arc<tokio::sync::Mutex<Trace>>,
}

impl Traces {
    fn of(&self, id: &RolloutId) -> Arc<tokio::sync::Mutex<Trace>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = kept.uses;
        let entry = kept.entries.entry(id.clone()).or_insert_with(|| Entry {
            used,
            points: 0,
            trace: Arc::default(),
        });
        entry.used = used;
        Arc::clone(&entry.trace)
    }

    /// Writes down how large a trace is, and forgets those that were not asked for the longest.
    fn settle(&self, id: &RolloutId, points: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.entries.get_mut(id) {
            entry.points = points.max(100);
        }
        while kept.entries.len() > 1 && kept.entries.values().map(|e| e.points).sum::<usize>() > KEPT {
            let oldest = kept.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            kept.entries.remove(&oldest);
        }
    }
}

/// Reads what is new. What was read stays, also if the request is given up in the middle.
async fn fill(store: &dyn Store, rollout: &Rollout, trace: &mut Trace) -> Result<(), StoreError> {
    loop {
        let events = store.events(&rollout.id, trace.after_event, PAGE).await?;
        trace.take_events(&events);
        if events.len() < PAGE {
            break;
        }
    }
    loop {
        let ticks = store.observations(&rollout.id, trace.after, PAGE).await?;
        trace.take(&ticks, &rollout.policy);
        if ticks.len() < PAGE {
            return Ok(());
        }
    }
}

/// `GET /rollouts/{id}/series`: what both arms showed over time, with the evidence.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}/series", tag = "rollouts", operation_id = "series_all",
    params(
        ("id" = String, Path, description = "The rollout's id", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
        ("from" = Option<Moment>, Query, description = "From the first look, if it is not there"),
        ("to" = Option<Moment>, Query, description = "To the last look, if it is not there"),
        ("points" = Option<u64>, Query, description = "At most so many points; 400 if it is not there", minimum = 10, maximum = 2000),
        ("metric" = Option<String>, Query, description = "Only this metric of the policy"),
        ("form" = Option<SeriesForm>, Query, description = "`rows`: a list with a row for each value"),
    ),
    responses((status = 200, description = "The series", body = SeriesOrRows)))]
pub(super) async fn series(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    mut params: Params,
) -> Result<Response, Problem> {
    let part = Part {
        from: params.time("from"),
        to: params.time("to"),
        points: params.number("points", 10, 2000, 400) as usize,
        metric: params.text("metric"),
    };
    let rows = params.word("form", &["series", "rows"]).is_some_and(|form| form == "rows");
    if let (Some(from), Some(to)) = (part.from, part.to)
        && from > to
    {
        params.wrong("to", "`to` must not be before `from`".to_owned());
    }
    params.finish()?;
    let rollout = super::rollouts::rollout(&api, &principal, name).await?;
    principal.allow(Permission::View, &rollout.target)?;
    if let Some(metric) = &part.metric
        && rollout.policy.metric(metric).is_none()
    {
        let known: Vec<&str> = rollout.policy.metrics.iter().map(|metric| metric.name.as_str()).collect();
        return Err(Problem::unknown_metric(&known.join(", ")));
    }
    let trace = api.traces.of(&rollout.id);
    let mut trace = trace.lock().await;
    fill(api.handle.store().as_ref(), &rollout, &mut trace).await?;
    api.traces.settle(&rollout.id, trace.points.len());
    let view = buckets::series(&rollout.id, &rollout.policy, &trace, &part, rollout.created_at);
    drop(trace);
    Ok(if rows { Json(buckets::rows(&view)).into_response() } else { Json(view).into_response() })
}
