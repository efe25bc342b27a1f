//! Opsgenie's Alert API: <https://docs.opsgenie.com/docs/alert-api>.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::schema::{Entry, Rule, check};
use super::{Desk, Got, Running, json_body, lock, serve};

const RESPONDER: &[Entry] = &[
    ("type", true, Rule::OneOf(&["team", "user", "escalation", "schedule"])),
    ("id", false, Rule::Text(100)),
    ("name", false, Rule::Text(100)),
];
const ALERT: &[Entry] = &[
    ("message", true, Rule::Text(130)),
    ("alias", false, Rule::Text(512)),
    ("description", false, Rule::Text(15_000)),
    ("responders", false, Rule::List(50, RESPONDER)),
    ("tags", false, Rule::Texts(20, 50)),
    ("details", false, Rule::Free { texts: true }),
    ("entity", false, Rule::Text(512)),
    ("source", false, Rule::Text(100)),
    ("priority", false, Rule::OneOf(&["P1", "P2", "P3", "P4", "P5"])),
    ("user", false, Rule::Text(100)),
    ("note", false, Rule::Text(25_000)),
];
const NOTE: &[Entry] = &[
    ("user", false, Rule::Text(100)),
    ("source", false, Rule::Text(100)),
    ("note", false, Rule::Text(25_000)),
];

/// An alert by its alias.
#[derive(Clone, Debug)]
pub struct Alert {
    pub open: bool,
    pub acknowledged: bool,
    /// How often one was made: a create while it is open only counts up.
    pub made: u64,
    pub body: Value,
}

type Alerts = Arc<Mutex<BTreeMap<String, Alert>>>;

/// A running receiver.
pub struct Opsgenie {
    pub desk: Desk,
    pub running: Running,
    alerts: Alerts,
}

/// The only key that it knows.
pub const API_KEY: &str = "eb243592-faa2-4ba2-a551-1afdf565c889";

impl Opsgenie {
    pub async fn start() -> Opsgenie {
        let (desk, alerts) = (Desk::default(), Alerts::default());
        let app = Router::new()
            .route("/v2/alerts", post(create))
            .route("/v2/alerts/{alias}/{action}", post(act))
            .with_state((desk.clone(), alerts.clone()));
        Opsgenie { running: serve(app, &desk).await, desk, alerts }
    }

    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// By alias.
    pub fn alerts(&self) -> BTreeMap<String, Alert> {
        lock(&self.alerts).clone()
    }
}

fn refuse(desk: &Desk, status: StatusCode, wrong: Vec<String>) -> Response {
    desk.complain(wrong.clone());
    let body = json!({"message": wrong.join("; "), "took": 0.01, "requestId": "r0"});
    (status, axum::Json(body)).into_response()
}

fn accepted() -> Response {
    let body = json!({"result": "Request will be processed", "took": 0.1, "requestId": "r1"});
    (StatusCode::ACCEPTED, axum::Json(body)).into_response()
}

async fn take(desk: &Desk, request: Request, entries: &[Entry]) -> Result<Got, Response> {
    let key = format!("GenieKey {API_KEY}");
    if request.headers().get("authorization").is_none_or(|value| value != key.as_str()) {
        let wrong = vec!["Could not authenticate".to_owned()];
        return Err(refuse(desk, StatusCode::UNAUTHORIZED, wrong));
    }
    let got = json_body(request, 1_000_000).await;
    let got = got.map_err(|wrong| refuse(desk, StatusCode::BAD_REQUEST, vec![wrong]))?;
    let mut wrong = check(&got.body, "alert", entries);
    let details = got.body["details"].as_object();
    let length = |(name, value): (&String, &Value)| {
        name.chars().count() + value.as_str().map_or(0, |text| text.chars().count())
    };
    if details.is_some_and(|details| details.iter().map(length).sum::<usize>() > 8000) {
        wrong.push("alert.details have more than 8000 characters".to_owned());
    }
    if !wrong.is_empty() {
        return Err(refuse(desk, StatusCode::UNPROCESSABLE_ENTITY, wrong));
    }
    desk.keep(got.clone());
    Ok(got)
}

async fn create(State((desk, alerts)): State<(Desk, Alerts)>, request: Request) -> Response {
    let body = match take(&desk, request, ALERT).await {
        Ok(got) => got.body,
        Err(refusal) => return refusal,
    };
    let Some(alias) = body["alias"].as_str().map(str::to_owned) else {
        return refuse(&desk, StatusCode::UNPROCESSABLE_ENTITY, vec!["alert.alias is missing".to_owned()]);
    };
    let mut alerts = lock(&alerts);
    let alert =
        alerts.entry(alias).or_insert(Alert { open: false, acknowledged: false, made: 0, body: Value::Null });
    if !alert.open {
        *alert = Alert { open: true, acknowledged: false, made: alert.made + 1, body };
    }
    accepted()
}

async fn act(
    State((desk, alerts)): State<(Desk, Alerts)>,
    Path((alias, action)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    if query.get("identifierType").map(String::as_str) != Some("alias") {
        let wrong = vec!["identifierType is not alias".to_owned()];
        return refuse(&desk, StatusCode::UNPROCESSABLE_ENTITY, wrong);
    }
    if let Err(refusal) = take(&desk, request, NOTE).await {
        return refusal;
    }
    let mut alerts = lock(&alerts);
    // An alert that is not there is found out later: the request is accepted all the same.
    let alert = alerts.get_mut(&alias);
    match (action.as_str(), alert) {
        ("acknowledge", Some(alert)) => alert.acknowledged = true,
        ("close", Some(alert)) => alert.open = false,
        ("acknowledge" | "close", None) => {}
        _ => return refuse(&desk, StatusCode::NOT_FOUND, vec![format!("there is no {action}")]),
    }
    accepted()
}
