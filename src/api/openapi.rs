//! The description of the API: OpenAPI 3.1, made from the handlers and the views; and a page of it to read.

use std::fmt::Write;
use std::sync::OnceLock;

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::openapi::{Content, Ref, RefOr, Response as Described, path::Operation};
use utoipa::{Modify, OpenApi};

use super::described::SharedHandlers;
use super::problem::Problem;
use super::report::PAGE_POLICY;
use super::report::html::{page, safe, table};
use crate::contract::bodies::{Moment, PhaseWord, ReportForm, SeriesForm};

/// The API under `/api/v1`, and the health checks beside it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Serin",
        description = "Metrics-driven canary analysis: judges a new version against the running one and moves \
                       traffic by what it finds. Errors are problem documents (RFC 9457) with a stable `code`.",
    ),
    paths(
        super::rollouts::start,
        super::rollouts::list,
        super::rollouts::show,
        super::rollouts::command,
        super::gates::make_link,
        super::gates::show_link,
        super::gates::use_link,
        super::incoming::alertmanager,
        super::freezes::list,
        super::freezes::start,
        super::freezes::end,
        super::rollouts::events,
        super::rollouts::evidence,
        super::rollouts::observations,
        super::series::series,
        super::report::report,
        super::overview::overview,
        super::stream::stream,
        super::annotations::annotations,
        super::targets::list,
        super::targets::show,
        super::targets::policies,
        super::targets::policy,
        super::reload::show,
        super::reload::reload,
        super::policies::check,
        super::policies::plan,
        super::access::handlers::me,
        super::access::session::login,
        super::access::session::logout,
        super::access::handlers::list_tokens,
        super::access::handlers::create_token,
        super::access::handlers::revoke_token,
        super::access::handlers::audit_log,
        super::outbox::list,
        super::outbox::retry,
        super::health::livez,
        super::health::readyz,
        super::health::metrics,
        document,
        docs,
    ),
    components(schemas(
        Problem,
        crate::contract::OverviewRow,
        crate::contract::bodies::DecisionBody,
        Moment,
        PhaseWord,
        ReportForm,
        SeriesForm,
    )),
    modifiers(&SharedHandlers, &Problems),
    tags(
        (name = "rollouts", description = "Releases: start, watch, command, and what was recorded of them"),
        (name = "overview", description = "All rollouts, now and as they change"),
        (name = "configuration", description = "Targets and policies"),
        (name = "access", description = "Who asks, tokens and the audit log"),
        (name = "daemon", description = "The daemon itself"),
    ),
)]
struct Description;

/// Every operation may answer with a problem.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
                &mut item.patch,
                &mut item.head,
            ];
            for operation in operations.into_iter().flatten() {
                problem(operation);
            }
        }
    }
}

fn problem(operation: &mut Operation) {
    let mut described = Described::new("What went wrong, and what would be right");
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    described.content.insert("application/problem+json".to_owned(), Content::new(Some(schema)).into());
    operation.responses.responses.insert("default".to_owned(), RefOr::T(described));
}

/// The document, as it is served and as it is kept in `docs/openapi.json`.
pub fn openapi() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_value(Description::openapi()).unwrap_or_default())
}

/// `GET /openapi.json`: this description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "daemon",
    responses((status = 200, description = "The description of this API", body = Object)))]
pub(super) async fn document() -> Json<&'static Value> {
    Json(openapi())
}

/// `GET /docs`: the same as a page to read.
#[utoipa::path(get, path = "/api/v1/docs", tag = "daemon",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub(super) async fn docs() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let mut response = PAGE.get_or_init(|| rendered(openapi())).as_str().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    response
}

/// The document as a page.
fn rendered(document: &Value) -> String {
    let text = |value: &Value| safe(value.as_str().unwrap_or_default());
    let mut body = format!(
        "<h1>{} {}</h1>\n<p>{}</p>\n<p>For programs: <a href=\"openapi.json\">openapi.json</a>.</p>\n",
        text(&document["info"]["title"]),
        text(&document["info"]["version"]),
        text(&document["info"]["description"])
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let _ = writeln!(body, "<h2>{}</h2>\n<p>{}</p>", text(&tag["name"]), text(&tag["description"]));
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let mine = operation["tags"].as_array().is_some_and(|tags| tags.contains(&tag["name"]));
                if mine {
                    body.push_str(&operation_page(path, method, operation));
                }
            }
        }
    }
    body.push_str("<h2>Types</h2>\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = writeln!(
            body,
            "<h3 id=\"{0}\">{0}</h3>\n<p>{1}</p>",
            safe(name),
            safe(schema["description"].as_str().unwrap_or_default())
        );
        body.push_str(&properties(schema));
    }
    page("The HTTP API of Serin", &body)
}

fn operation_page(path: &str, method: &str, operation: &Value) -> String {
    let field = |name: &str| safe(operation[name].as_str().unwrap_or_default());
    let mut html = format!(
        "<h3><code>{} {}</code></h3>\n<p>{} {}</p>\n",
        safe(&method.to_uppercase()),
        safe(path),
        field("summary"),
        field("description")
    );
    let parameters: Vec<Vec<String>> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parameter| {
            let required = if parameter["required"] == true { ", required" } else { "" };
            vec![
                format!("<code>{}</code>", safe(parameter["name"].as_str().unwrap_or_default())),
                format!("{}{required}", safe(parameter["in"].as_str().unwrap_or_default())),
                kind(&parameter["schema"]),
                safe(parameter["description"].as_str().unwrap_or_default()),
            ]
        })
        .collect();
    if !parameters.is_empty() {
        html.push_str(&table(&["Parameter", "Where", "Type", "What"], parameters));
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let _ = writeln!(html, "<p>Body: {}</p>", kind(body));
    }
    let answers = operation["responses"].as_object().into_iter().flatten().map(|(status, answer)| {
        let types: Vec<String> = answer["content"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(media, content)| format!("{} {}", safe(media), kind(&content["schema"])))
            .collect();
        vec![safe(status), safe(answer["description"].as_str().unwrap_or_default()), types.join("<br>")]
    });
    html.push_str(&table(&["Status", "When", "Body"], answers));
    html
}

fn properties(schema: &Value) -> String {
    let parts = schema["allOf"].as_array().map_or_else(|| vec![schema], |parts| parts.iter().collect());
    let rows: Vec<Vec<String>> = parts
        .iter()
        .flat_map(|part| part["properties"].as_object().into_iter().flatten())
        .map(|(name, property)| {
            vec![
                format!("<code>{}</code>", safe(name)),
                kind(property),
                safe(property["description"].as_str().unwrap_or_default()),
            ]
        })
        .collect();
    if rows.is_empty() {
        format!("<p>{}</p>\n", kind(schema))
    } else {
        table(&["Field", "Type", "What"], rows)
    }
}

/// A type in a few words; HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#{0}\">{0}</a>", safe(name));
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(safe).collect();
        return words.join(", ");
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[several].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let types = match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    };
    match &schema["items"] {
        Value::Null => safe(&types),
        items => format!("{} of {}", safe(&types), kind(items)),
    }
}
