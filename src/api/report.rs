//! The report of a rollout: `GET /rollouts/{id}/report`.

pub(super) mod html;
mod markdown;
#[cfg(test)]
mod tests;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::access::{Permission, Principal};
use super::input::{Name, Params};
use super::problem::Problem;
use crate::contract::bodies::ReportForm;
use crate::contract::{AssessmentView, EventView, ReportStep, ReportView, RolloutView};
use crate::core::rollout::{EventKind, EventRecord, Phase, Rollout};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::ports::StoreError;

/// Log lines in a report.
const LINES: usize = 5000;

/// What the pages that the daemon writes itself may load: nothing.
pub(super) const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// `GET /rollouts/{id}/report`: as JSON, Markdown, or a page to print.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}/report", tag = "rollouts", operation_id = "report_all",
    params(
        ("id" = String, Path, description = "The rollout's id", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
        ("form" = Option<ReportForm>, Query, description = "`json`, if it is not there"),
    ),
    responses((status = 200, description = "The report", content((ReportView = "application/json"), (String = "text/markdown"), (String = "text/html")))))]
pub(super) async fn report(
    State(api): State<Api>,
    principal: Principal,
    name: Name,
    mut params: Params,
) -> Result<Response, Problem> {
    let form = params.word("form", &["json", "markdown", "html"]).unwrap_or_else(|| "json".to_owned());
    params.finish()?;
    let rollout = super::rollouts::rollout(&api, &principal, name).await?;
    principal.allow(Permission::View, &rollout.target)?;
    let store = api.handle.store();
    let target = match store.target(&rollout.target).await {
        Ok(target) => Some(target),
        Err(StoreError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let events = store.events(&rollout.id, 0, LINES).await?;
    let view = made(&rollout, target.as_ref(), &events, api.handle.clock().wall());
    let page = |kind: &'static str, text: String| {
        let mut response = text.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        response
    };
    Ok(match form.as_str() {
        "markdown" => page("text/markdown; charset=utf-8", markdown::report(&view)),
        "html" => page("text/html; charset=utf-8", html::report(&view)),
        _ => Json(view).into_response(),
    })
}

/// The report as it is at `now`.
fn made(rollout: &Rollout, target: Option<&Target>, events: &[EventRecord], now: Timestamp) -> ReportView {
    use EventKind::*;
    let end = rollout.ended_at.unwrap_or(now);
    let chosen = |kinds: &[EventKind]| -> Vec<EventView> {
        events.iter().filter(|event| kinds.contains(&event.kind)).map(EventView::new).collect()
    };
    let mut view = ReportView {
        rollout: RolloutView::new(rollout, target),
        verdict: verdict(&rollout.phase).to_owned(),
        sentence: String::new(),
        duration_seconds: end.since(rollout.created_at).as_secs_f64(),
        steps: steps(rollout, events, end),
        decisions: chosen(&[
            Advanced,
            WouldHave,
            HoldAdded,
            HoldRemoved,
            Command,
            CommandRefused,
            Promoted,
            RollbackStarted,
            Succeeded,
            RolledBack,
            Cancelled,
            Failed,
        ]),
        log: events.iter().map(EventView::new).collect(),
        alerts: chosen(&[Alert, Unconfirmed, HoldAdded]),
        post_mortem: None,
    };
    view.sentence = match (&view.rollout.waiting_for, view.decisions.last()) {
        (Some(waiting), _) => waiting.sentence.clone(),
        (None, Some(decision)) => decision.sentence.clone(),
        (None, None) => format!("The rollout is {}.", rollout.phase.name().replace('_', " ")),
    };
    if matches!(rollout.phase, Phase::RolledBack { .. } | Phase::Failed { .. }) {
        view.post_mortem = Some(markdown::post_mortem(&view));
    }
    view
}

fn verdict(phase: &Phase) -> &'static str {
    match phase {
        Phase::Succeeded => "promoted",
        Phase::RolledBack { .. } => "rolled back",
        Phase::Cancelled { .. } => "cancelled",
        Phase::Failed { .. } => "failed",
        _ => "in progress",
    }
}

/// The steps that were entered. Each ends with the next one, or with what ended the way up.
fn steps(rollout: &Rollout, events: &[EventRecord], end: Timestamp) -> Vec<ReportStep> {
    let mut steps = Vec::new();
    for (position, event) in events.iter().enumerate() {
        let Some(index) = entered(event) else { continue };
        let later = &events[position + 1..];
        let leaves = |event: &&EventRecord| entered(event).is_some() || outcome(event.kind).is_some();
        // The decision to go on comes a moment before the next step is entered.
        let decision = later.iter().find(leaves);
        let left = match decision {
            Some(decision) if outcome(decision.kind) == Some("advanced") => {
                later.iter().find(|event| entered(event).is_some()).or(Some(decision))
            }
            other => other,
        };
        let to = left.map(|event| event.at);
        steps.push(ReportStep {
            index,
            weight_percent: rollout
                .policy
                .steps
                .get(index - 1)
                .map_or(0.0, |step| f64::from(step.weight.0) / 100.0),
            from: event.at.to_string(),
            to: to.map(|at| at.to_string()),
            seconds: to.unwrap_or(end).since(event.at).as_secs_f64(),
            outcome: decision.map_or("in progress", |e| outcome(e.kind).unwrap_or("advanced")).to_owned(),
            sentence: decision.map(|event| event.sentence.clone()),
        });
    }
    steps
}

fn outcome(kind: EventKind) -> Option<&'static str> {
    Some(match kind {
        EventKind::Advanced | EventKind::Promoted => "advanced",
        EventKind::RollbackStarted | EventKind::RolledBack => "rolled back",
        EventKind::Succeeded => "succeeded",
        EventKind::Cancelled => "cancelled",
        EventKind::Failed => "failed",
        _ => return None,
    })
}

/// The number of the step that a log line enters: its sentence begins with `Step 2 of 3`.
fn entered(event: &EventRecord) -> Option<usize> {
    let sentence = Some(&event.sentence).filter(|_| event.kind == EventKind::StepEntered)?;
    sentence.strip_prefix("Step ")?.split(' ').next()?.parse().ok().filter(|index| *index > 0)
}

/// What was judged of each metric, a row each: name, verdict, both shares, ratio, odds of harm and of no harm. `name`
/// makes a metric's name text of the report's form.
fn evidence_rows(
    assessment: &AssessmentView,
    name: impl Fn(&str) -> String,
) -> impl Iterator<Item = Vec<String>> {
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{share:.3}%"));
    let end = |end: Option<f64>| end.map_or_else(|| "–".to_owned(), |end| format!("{end:.2}"));
    assessment.metrics.iter().map(move |metric| {
        let ratio = metric.ratio.map_or_else(
            || "–".to_owned(),
            |ratio| format!("×{} ({} – {})", end(ratio.estimate), end(ratio.low), end(ratio.high)),
        );
        vec![
            name(&metric.name),
            markdown::word(&metric.verdict),
            share(metric.canary.share_percent),
            share(metric.baseline.share_percent),
            ratio,
            format!("{:.1} of {:.0}", metric.harm.odds, metric.harm.bound_odds),
            format!("{:.1} of {:.0}", metric.no_harm.odds, metric.no_harm.bound_odds),
        ]
    })
}
