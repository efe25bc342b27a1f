//! Marks for charts of dashboards: `GET /annotations`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::access::{Permission, Principal};
use super::input::Params;
use super::problem::Problem;
use crate::contract::AnnotationView;
use crate::contract::bodies::Moment;
use crate::core::rollout::{EventKind, Rollout};
use crate::ports::RolloutFilter;

/// Rollouts that are looked at.
const ROLLOUTS: usize = 100;
/// Log lines of one rollout that are looked at.
const LINES: usize = 1000;

/// What a log line is called in a chart; `None` for what would only fill it.
fn title(kind: EventKind) -> Option<&'static str> {
    Some(match kind {
        EventKind::StepEntered => "Step",
        EventKind::HoldAdded => "Held",
        EventKind::Alert | EventKind::Unconfirmed => "Alert",
        EventKind::WouldHave => "Would have",
        EventKind::Promoted => "Promoted",
        EventKind::RollbackStarted => "Rollback",
        EventKind::Failed => "Failed",
        _ => return None,
    })
}

/// `GET /annotations`: every rollout as a span, and its main decisions as points, in the order of time.
/// Without `from`, of the last day.
#[utoipa::path(get, path = "/api/v1/annotations", tag = "overview", operation_id = "annotations_all",
    params(
        ("from" = Option<Moment>, Query, description = "A day before `to`, if it is not there"),
        ("to" = Option<Moment>, Query, description = "Now, if it is not there"),
        ("service" = Option<String>, Query, description = "Only of this target"),
        ("limit" = Option<u64>, Query, description = "At most so many", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "In the order of time", body = Vec<AnnotationView>)))]
pub(super) async fn annotations(
    State(api): State<Api>,
    principal: Principal,
    mut params: Params,
) -> Result<Json<Vec<AnnotationView>>, Problem> {
    let now = api.handle.clock().wall();
    let to = params.time("to").unwrap_or(now);
    let from = params.time("from").unwrap_or_else(|| to.minus(Duration::from_secs(86_400)));
    let service = params.text("service");
    let limit = params.number("limit", 1, 1000, 200) as usize;
    params.finish()?;
    let store = api.handle.store();
    let filter = RolloutFilter {
        target: service,
        since: Some(from),
        until: Some(to),
        limit: ROLLOUTS,
        ..RolloutFilter::default()
    };
    let mut marks = Vec::new();
    for rollout in store.rollouts(&filter).await? {
        if !principal.may(Permission::View, &rollout.target) {
            continue;
        }
        marks.push(span(&rollout));
        for event in store.events(&rollout.id, 0, LINES).await? {
            let Some(title) = title(event.kind).filter(|_| (from..=to).contains(&event.at)) else { continue };
            marks.push(AnnotationView {
                time: event.at.0,
                time_end: None,
                title: format!("{title}: {} {}", rollout.target, rollout.version),
                text: event.sentence,
                tags: tags(&rollout, &title.to_lowercase()),
                rollout: rollout.id.0.clone(),
            });
        }
    }
    marks.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.title.cmp(&b.title)));
    // The newest ones are what a chart needs most.
    marks.drain(..marks.len().saturating_sub(limit));
    Ok(Json(marks))
}

fn span(rollout: &Rollout) -> AnnotationView {
    AnnotationView {
        time: rollout.created_at.0,
        time_end: rollout.ended_at.map(|at| at.0),
        title: format!("{} {}", rollout.target, rollout.version),
        text: format!(
            "Rollout {} by {}: {}.",
            rollout.id,
            rollout.created_by,
            rollout.phase.name().replace('_', " ")
        ),
        tags: tags(rollout, rollout.phase.name()),
        rollout: rollout.id.0.clone(),
    }
}

fn tags(rollout: &Rollout, kind: &str) -> Vec<String> {
    vec![rollout.target.clone(), rollout.policy.name.clone(), kind.to_owned()]
}
