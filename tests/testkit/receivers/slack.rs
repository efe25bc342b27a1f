//! Slack: an incoming webhook, and `chat.postMessage` and `chat.update` of the Web API:
//! <https://docs.slack.dev/reference/methods/chat.postMessage>, <https://docs.slack.dev/reference/block-kit/blocks>.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::schema::{Entry, Rule, check};
use super::{Desk, Got, Running, json_body, lock, serve};

const WEBHOOK: &[Entry] = &[("text", true, Rule::Text(40_000)), ("blocks", false, Rule::Any)];
const POST: &[Entry] = &[
    ("channel", true, Rule::Text(80)),
    ("text", true, Rule::Text(4000)),
    ("blocks", false, Rule::Any),
    ("thread_ts", false, Rule::Text(20)),
    ("reply_broadcast", false, Rule::Flag),
    ("unfurl_links", false, Rule::Flag),
    ("unfurl_media", false, Rule::Flag),
];
const UPDATE: &[Entry] = &[
    ("channel", true, Rule::Text(80)),
    ("ts", true, Rule::Text(20)),
    ("text", true, Rule::Text(4000)),
    ("blocks", false, Rule::Any),
];

/// A message as it stands.
#[derive(Clone, Debug)]
pub struct Said {
    pub ts: String,
    /// The first message of its thread; `None` if it is one itself.
    pub thread: Option<String>,
    pub body: Value,
    /// How often it was changed.
    pub updates: u64,
}

type Messages = Arc<Mutex<Vec<Said>>>;

/// A running receiver.
pub struct Slack {
    pub desk: Desk,
    pub running: Running,
    messages: Messages,
}

/// The only token that it knows, and the only channel.
pub const TOKEN: &str = "test-bot-token-1234";
pub const CHANNEL: &str = "C012AB3CD";

impl Slack {
    pub async fn start() -> Slack {
        let (desk, messages) = (Desk::default(), Messages::default());
        let app = Router::new()
            .route("/services/T000/B000/secretpart", post(hook))
            .route("/api/chat.postMessage", post(post_message))
            .route("/api/chat.update", post(update))
            .with_state((desk.clone(), messages.clone()));
        Slack { running: serve(app, &desk).await, desk, messages }
    }

    /// The base URL of the Web API.
    pub fn api(&self) -> String {
        format!("{}/api", self.running.url)
    }

    /// The incoming webhook.
    pub fn webhook(&self) -> String {
        format!("{}/services/T000/B000/secretpart", self.running.url)
    }

    /// All messages, in order.
    pub fn messages(&self) -> Vec<Said> {
        lock(&self.messages).clone()
    }

    /// Takes every message away, as if a person had deleted them.
    pub fn forget(&self) {
        lock(&self.messages).clear();
    }
}

type Shared = (Desk, Messages);

/// What is wrong with a message's blocks and texts.
fn check_blocks(body: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let texts = body["text"].as_str().into_iter();
    let Some(blocks) = body.get("blocks") else { return wrong };
    let Some(blocks) = blocks.as_array() else { return vec!["blocks are no list".to_owned()] };
    if blocks.len() > 50 {
        wrong.push("more than 50 blocks".to_owned());
    }
    let mut marked: Vec<&str> = texts.collect();
    for (n, block) in blocks.iter().enumerate() {
        let at = format!("blocks[{n}]");
        let text = |value: &Value, kinds: &[&str], most: usize| -> Vec<String> {
            let kind = value["type"].as_str().unwrap_or_default();
            let told = value["text"].as_str().unwrap_or_default();
            let length = told.chars().count();
            if kinds.contains(&kind) && (1..=most).contains(&length) {
                Vec::new()
            } else {
                vec![format!("{at}: a text of type {kind:?} with {length} characters")]
            }
        };
        match block["type"].as_str() {
            Some("header") => wrong.extend(text(&block["text"], &["plain_text"], 150)),
            Some("section") => wrong.extend(text(&block["text"], &["mrkdwn", "plain_text"], 3000)),
            Some("context") => {
                let elements = block["elements"].as_array().map_or(&[][..], Vec::as_slice);
                if !(1..=10).contains(&elements.len()) {
                    wrong.push(format!("{at}: {} elements", elements.len()));
                }
                elements.iter().for_each(|e| wrong.extend(text(e, &["mrkdwn", "plain_text"], 2000)));
                marked.extend(elements.iter().filter_map(|e| e["text"].as_str()));
            }
            Some("divider") => {}
            other => wrong.push(format!("{at}: the type {other:?}")),
        }
        if block["text"]["type"] == "mrkdwn" {
            marked.extend(block["text"]["text"].as_str());
        }
    }
    wrong.extend(marked.into_iter().flat_map(check_marks));
    wrong
}

/// Whatever stands in `<…>` must be a link, and `&` must begin an entity.
fn check_marks(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for piece in text.split('<').skip(1) {
        let inside = piece.split('>').next().unwrap_or_default();
        if !inside.starts_with("http") || !piece.contains('>') {
            wrong.push(format!("`<{inside}` is not escaped"));
        }
    }
    for piece in text.split('&').skip(1) {
        if !["amp;", "lt;", "gt;"].iter().any(|entity| piece.starts_with(entity)) {
            wrong.push(format!("`&{piece}` is not escaped"));
        }
    }
    wrong
}

async fn hook(State((desk, messages)): State<Shared>, request: Request) -> Response {
    let refuse = |wrong: Vec<String>| {
        desk.complain(wrong);
        (StatusCode::BAD_REQUEST, "invalid_payload").into_response()
    };
    let got = match json_body(request, 1_000_000).await {
        Ok(got) => got,
        Err(wrong) => return refuse(vec![wrong]),
    };
    let mut wrong = check(&got.body, "message", WEBHOOK);
    wrong.extend(check_blocks(&got.body));
    if !wrong.is_empty() {
        return refuse(wrong);
    }
    desk.keep(got.clone());
    add(&messages, None, got.body);
    "ok".into_response()
}

fn add(messages: &Messages, thread: Option<String>, body: Value) -> String {
    let mut messages = lock(messages);
    let ts = format!("1700000000.{:06}", messages.len() + 1);
    messages.push(Said { ts: ts.clone(), thread, body, updates: 0 });
    ts
}

fn no(desk: &Desk, error: &str, wrong: Vec<String>) -> Response {
    desk.complain(wrong.clone());
    axum::Json(json!({"ok": false, "error": error, "response_metadata": {"messages": wrong}})).into_response()
}

async fn take(desk: &Desk, request: Request, entries: &[Entry]) -> Result<Got, Response> {
    let token = format!("Bearer {TOKEN}");
    if request.headers().get("authorization").is_none_or(|value| value != token.as_str()) {
        return Err(no(desk, "invalid_auth", vec!["the token is unknown".to_owned()]));
    }
    let got = json_body(request, 1_000_000).await.map_err(|wrong| no(desk, "invalid_json", vec![wrong]))?;
    let mut wrong = check(&got.body, "message", entries);
    wrong.extend(check_blocks(&got.body));
    if got.body["channel"] != json!(CHANNEL) {
        return Err(no(desk, "channel_not_found", Vec::new()));
    }
    if !wrong.is_empty() {
        return Err(no(desk, "invalid_arguments", wrong));
    }
    desk.keep(got.clone());
    Ok(got)
}

async fn post_message(State((desk, messages)): State<Shared>, request: Request) -> Response {
    let body = match take(&desk, request, POST).await {
        Ok(got) => got.body,
        Err(refusal) => return refusal,
    };
    let thread = body["thread_ts"].as_str().map(str::to_owned);
    if let Some(thread) = &thread
        && !lock(&messages).iter().any(|said| said.ts == *thread && said.thread.is_none())
    {
        return no(&desk, "thread_not_found", Vec::new());
    }
    let ts = add(&messages, thread, body.clone());
    axum::Json(json!({"ok": true, "channel": CHANNEL, "ts": ts, "message": body})).into_response()
}

async fn update(State((desk, messages)): State<Shared>, request: Request) -> Response {
    let body = match take(&desk, request, UPDATE).await {
        Ok(got) => got.body,
        Err(refusal) => return refusal,
    };
    let ts = body["ts"].as_str().unwrap_or_default().to_owned();
    let mut messages = lock(&messages);
    match messages.iter_mut().find(|said| said.ts == ts) {
        None => no(&desk, "message_not_found", Vec::new()),
        Some(said) => {
            said.body = body;
            said.updates += 1;
            axum::Json(json!({"ok": true, "channel": CHANNEL, "ts": ts})).into_response()
        }
    }
}
