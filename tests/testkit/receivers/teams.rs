//! A Workflows webhook of Microsoft Teams that takes Adaptive Cards 1.5:
//! <https://adaptivecards.io/explorer/>.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::schema::{Entry, Rule, check};
use super::{Desk, Running, json_body, serve};

const MESSAGE: &[Entry] =
    &[("type", true, Rule::OneOf(&["message"])), ("attachments", true, Rule::List(1, ATTACHMENT))];
const ATTACHMENT: &[Entry] = &[
    ("contentType", true, Rule::OneOf(&["application/vnd.microsoft.card.adaptive"])),
    ("contentUrl", false, Rule::Null),
    ("content", true, Rule::Object(CARD)),
];
const CARD: &[Entry] = &[
    ("$schema", false, Rule::Url),
    ("type", true, Rule::OneOf(&["AdaptiveCard"])),
    ("version", true, Rule::OneOf(&["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"])),
    ("body", true, Rule::List(200, BLOCK)),
    ("actions", false, Rule::List(6, ACTION)),
];
const BLOCK: &[Entry] =
    &[("type", true, Rule::OneOf(&["RichTextBlock"])), ("inlines", true, Rule::List(20, RUN))];
const RUN: &[Entry] = &[
    ("type", true, Rule::OneOf(&["TextRun"])),
    ("text", true, Rule::Text(10_000)),
    ("size", false, Rule::OneOf(&["Default", "Small", "Medium", "Large", "ExtraLarge"])),
    ("weight", false, Rule::OneOf(&["Default", "Lighter", "Bolder"])),
    ("color", false, Rule::OneOf(&["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"])),
    ("fontType", false, Rule::OneOf(&["Default", "Monospace"])),
    ("isSubtle", false, Rule::Flag),
];
const ACTION: &[Entry] = &[
    ("type", true, Rule::OneOf(&["Action.OpenUrl"])),
    ("title", true, Rule::Text(200)),
    ("url", true, Rule::Url),
];

/// A running receiver.
pub struct Teams {
    pub desk: Desk,
    pub running: Running,
}

impl Teams {
    pub async fn start() -> Teams {
        let desk = Desk::default();
        let app = Router::new()
            .route("/workflows/secretpart/triggers/manual/paths/invoke", post(invoke))
            .with_state(desk.clone());
        Teams { running: serve(app, &desk).await, desk }
    }

    /// The webhook, whose query signs it.
    pub fn webhook(&self) -> String {
        let base = &self.running.url;
        format!("{base}/workflows/secretpart/triggers/manual/paths/invoke?api-version=2016-06-01&sig=abcdef")
    }

    /// The cards that came.
    pub fn cards(&self) -> Vec<Value> {
        let got = self.desk.got();
        got.into_iter().map(|got| got.body["attachments"][0]["content"].clone()).collect()
    }
}

async fn invoke(State(desk): State<Desk>, request: Request) -> Response {
    let refuse = |wrong: Vec<String>| {
        desk.complain(wrong.clone());
        let error = json!({"error": {"code": "InvalidRequestContent", "message": wrong.join("; ")}});
        (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
    };
    let got = match json_body(request, 28_000).await {
        Ok(got) => got,
        Err(wrong) => return refuse(vec![wrong]),
    };
    if !got.path.contains("sig=abcdef") {
        let error = json!({"error": {"code": "DirectApiAuthorizationRequired", "message": "no signature"}});
        return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
    }
    let wrong = check(&got.body, "message", MESSAGE);
    if !wrong.is_empty() {
        return refuse(wrong);
    }
    desk.keep(got);
    StatusCode::ACCEPTED.into_response()
}
