//! PagerDuty's Events API v2: <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::schema::{Entry, Rule, check};
use super::{Desk, Got, Running, json_body, lock, serve};

const LINKS: &[Entry] = &[("href", true, Rule::Url), ("text", false, Rule::Text(1000))];
const IMAGES: &[Entry] =
    &[("src", true, Rule::Url), ("href", false, Rule::Url), ("alt", false, Rule::Text(1000))];
const PAYLOAD: &[Entry] = &[
    ("summary", true, Rule::Text(1024)),
    ("source", true, Rule::Text(1000)),
    ("severity", true, Rule::OneOf(&["critical", "error", "warning", "info"])),
    ("timestamp", false, Rule::Time),
    ("component", false, Rule::Text(1000)),
    ("group", false, Rule::Text(1000)),
    ("class", false, Rule::Text(1000)),
    ("custom_details", false, Rule::Free { texts: false }),
];
const EVENT: &[Entry] = &[
    ("routing_key", true, Rule::Text(32)),
    ("event_action", true, Rule::OneOf(&["trigger", "acknowledge", "resolve"])),
    ("dedup_key", false, Rule::Text(255)),
    ("payload", false, Rule::Object(PAYLOAD)),
    ("client", false, Rule::Text(1000)),
    ("client_url", false, Rule::Url),
    ("links", false, Rule::List(50, LINKS)),
    ("images", false, Rule::List(50, IMAGES)),
];
const CHANGE_PAYLOAD: &[Entry] = &[
    ("summary", true, Rule::Text(1024)),
    ("source", false, Rule::Text(1000)),
    ("timestamp", false, Rule::Time),
    ("custom_details", false, Rule::Free { texts: false }),
];
const CHANGE: &[Entry] = &[
    ("routing_key", true, Rule::Text(32)),
    ("payload", true, Rule::Object(CHANGE_PAYLOAD)),
    ("links", false, Rule::List(50, LINKS)),
];

/// Where an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Triggered,
    Acknowledged,
    Resolved,
}

/// An incident by its key.
#[derive(Clone, Debug)]
pub struct Incident {
    pub stage: Stage,
    /// How often it was opened: a trigger after its resolve opens a new one.
    pub opened: u64,
    /// All triggers, with repeated ones.
    pub triggers: Vec<Value>,
}

#[derive(Default)]
struct Books {
    incidents: BTreeMap<String, Incident>,
    changes: Vec<Value>,
}

/// A running receiver.
pub struct Pagerduty {
    pub desk: Desk,
    pub running: Running,
    books: Arc<Mutex<Books>>,
}

/// The only key that it knows: 32 letters and digits.
pub const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

impl Pagerduty {
    pub async fn start() -> Pagerduty {
        let (desk, books) = (Desk::default(), Arc::<Mutex<Books>>::default());
        let app = Router::new()
            .route("/v2/enqueue", post(enqueue))
            .route("/v2/change/enqueue", post(change))
            .with_state((desk.clone(), books.clone()));
        Pagerduty { running: serve(app, &desk).await, desk, books }
    }

    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// By key.
    pub fn incidents(&self) -> BTreeMap<String, Incident> {
        lock(&self.books).incidents.clone()
    }

    /// Change events.
    pub fn changes(&self) -> Vec<Value> {
        lock(&self.books).changes.clone()
    }
}

type Shared = (Desk, Arc<Mutex<Books>>);

fn refuse(desk: &Desk, errors: Vec<String>) -> Response {
    desk.complain(errors.clone());
    let body = json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors});
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

async fn take(desk: &Desk, request: Request, entries: &[Entry]) -> Result<Got, Response> {
    let got = json_body(request, 512_000).await.map_err(|wrong| refuse(desk, vec![wrong]))?;
    let mut wrong = check(&got.body, "event", entries);
    if got.body["routing_key"] != json!(ROUTING_KEY) {
        wrong.push("event.routing_key is unknown".to_owned());
    }
    if !wrong.is_empty() {
        return Err(refuse(desk, wrong));
    }
    desk.keep(got.clone());
    Ok(got)
}

async fn enqueue(State((desk, books)): State<Shared>, request: Request) -> Response {
    let event = match take(&desk, request, EVENT).await {
        Ok(got) => got.body,
        Err(refusal) => return refusal,
    };
    let key = event["dedup_key"].as_str().map(str::to_owned);
    let is_trigger = event["event_action"] == "trigger";
    if is_trigger && event.get("payload").is_none() {
        return refuse(&desk, vec!["event.payload is missing".to_owned()]);
    }
    let Some(key) = key else {
        return refuse(&desk, vec!["event.dedup_key is missing".to_owned()]);
    };
    let mut books = lock(&books);
    if is_trigger {
        let incident = books.incidents.entry(key.clone()).or_insert(Incident {
            stage: Stage::Resolved,
            opened: 0,
            triggers: Vec::new(),
        });
        if incident.stage == Stage::Resolved {
            incident.opened += 1;
            incident.stage = Stage::Triggered;
        }
        incident.triggers.push(event);
    } else if let Some(incident) = books.incidents.get_mut(&key) {
        incident.stage = match event["event_action"].as_str() {
            Some("resolve") => Stage::Resolved,
            _ if incident.stage == Stage::Resolved => Stage::Resolved,
            _ => Stage::Acknowledged,
        };
    }
    let body = json!({"status": "success", "message": "Event processed", "dedup_key": key});
    (StatusCode::ACCEPTED, axum::Json(body)).into_response()
}

async fn change(State((desk, books)): State<Shared>, request: Request) -> Response {
    match take(&desk, request, CHANGE).await {
        Err(refusal) => refusal,
        Ok(got) => {
            lock(&books).changes.push(got.body);
            let body = json!({"status": "success", "message": "Change event processed"});
            (StatusCode::ACCEPTED, axum::Json(body)).into_response()
        }
    }
}
