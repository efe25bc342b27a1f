//! Reads what comes from outside: bodies, queries, paths and headers. Unknown fields are refused, and
//! everything that is wrong with a body or a query is said at once.

mod params;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

pub(super) use self::params::Params;
use super::Api;
use super::problem::{FieldError, Problem};
use crate::contract::bodies::MILLISECONDS;
use crate::core::time::Timestamp;

/// The largest body of a route, where it is not the usual one.
#[derive(Clone, Copy)]
pub(super) struct BodyBytes(pub(super) usize);

/// The fields of a JSON object, taken out one by one; [`Body::finish`] tells what was wrong.
pub(super) struct Body {
    fields: Map<String, Value>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl FromRequest<Api> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Body, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::media_type());
        }
        let most = request.extensions().get::<BodyBytes>().map_or(api.limits.body_bytes, |most| most.0);
        let bytes = bytes::Bytes::from_request(request, api).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(rejection)
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Problem::too_large(most)
            }
            other => Problem::not_json(format!("the body could not be read: {}", other.body_text())),
        })?;
        Body::parse(&bytes)
    }
}

impl Body {
    fn parse(bytes: &[u8]) -> Result<Body, Problem> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|e| Problem::not_json(format!("the body is not valid JSON: {e}")))?;
        match value {
            Value::Object(fields) => Ok(Body { fields, known: Vec::new(), errors: Vec::new() }),
            other => Err(Problem::not_json(format!(
                "the body is {}; it must be a JSON object such as {{\"target\": …}}",
                kind(&other)
            ))),
        }
    }

    /// Tells what is wrong with a field beyond its type.
    pub(super) fn wrong(&mut self, field: &str, detail: String) {
        self.errors.push(FieldError { field: field.to_owned(), detail });
    }

    /// At most `most` texts of 1 to `longest` characters, where they are there.
    pub(super) fn texts(&mut self, field: &'static str, most: usize, longest: usize) -> Option<Vec<String>> {
        let value = self.take(field)?;
        let good =
            |text: &str| (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        let texts = value.as_array().filter(|list| list.len() <= most).and_then(|list| {
            let texts = list.iter().map(|item| item.as_str().filter(|text| good(text)).map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        });
        if texts.is_none() {
            let detail = format!(
                "`{field}` must be a list of at most {most} texts of 1 to {longest} printable characters"
            );
            self.wrong(field, detail);
        }
        texts
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    /// A text of 1 to `longest` characters, none of them a control character.
    pub(super) fn optional_text(&mut self, field: &'static str, longest: usize) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => {
                let length = text.chars().count();
                if length == 0 || length > longest || text.chars().any(char::is_control) {
                    let detail = format!("`{field}` must be 1 to {longest} printable characters");
                    self.wrong(field, detail);
                    return None;
                }
                Some(text)
            }
            other => {
                self.wrong(field, format!("`{field}` must be a text, not {}", kind(&other)));
                None
            }
        }
    }

    /// A text of several lines, of at most `longest` characters, that must be there.
    pub(super) fn lines(&mut self, field: &'static str, longest: usize) -> String {
        match self.take(field) {
            None => self.wrong(field, format!("`{field}` is missing")),
            Some(Value::String(text)) if text.chars().count() <= longest => return text,
            Some(Value::String(_)) => {
                self.wrong(field, format!("`{field}` must have at most {longest} characters"));
            }
            Some(other) => self.wrong(field, format!("`{field}` must be a text, not {}", kind(&other))),
        }
        String::new()
    }

    /// The same, and it must be there.
    pub(super) fn text(&mut self, field: &'static str, longest: usize) -> String {
        let before = self.errors.len();
        let text = self.optional_text(field, longest);
        if text.is_none() && self.errors.len() == before {
            self.wrong(field, format!("`{field}` is missing"));
        }
        text.unwrap_or_default()
    }

    /// `true` or `false`; `false` if it is not there.
    pub(super) fn flag(&mut self, field: &'static str) -> bool {
        match self.take(field) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                self.wrong(field, format!("`{field}` must be true or false, not {}", kind(&other)));
                false
            }
        }
    }

    /// A whole number from 0.
    pub(super) fn number(&mut self, field: &'static str) -> Option<u64> {
        let value = self.take(field)?;
        let number = value.as_u64();
        if number.is_none() {
            self.wrong(field, format!("`{field}` must be a whole number from 0, not {}", kind(&value)));
        }
        number
    }

    /// A point in time: RFC 3339, or Unix milliseconds.
    pub(super) fn optional_moment(&mut self, field: &'static str) -> Option<Timestamp> {
        let value = self.take(field)?;
        let milliseconds = match &value {
            Value::Number(number) => number.as_i64().filter(|number| MILLISECONDS.contains(number)),
            Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond()),
            _ => None,
        };
        if milliseconds.is_none() {
            let detail =
                format!("`{field}` must be a time such as 2026-03-01T10:00:00Z, or Unix milliseconds");
            self.wrong(field, detail);
        }
        milliseconds.map(Timestamp)
    }

    /// One of these words.
    pub(super) fn word(&mut self, field: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.optional_text(field, 100)?;
        let word = words.iter().find(|word| **word == text).copied();
        if word.is_none() {
            self.wrong(field, format!("`{field}` must be one of {}, not {text:?}", words.join(", ")));
        }
        word
    }

    /// The same, and it must be there.
    pub(super) fn required_word(&mut self, field: &'static str, words: &[&'static str]) -> &'static str {
        let before = self.errors.len();
        let word = self.word(field, words);
        if word.is_none() && self.errors.len() == before {
            self.wrong(field, format!("`{field}` is missing; it must be one of {}", words.join(", ")));
        }
        word.unwrap_or_default()
    }

    /// Refuses what is left, and tells everything that was wrong.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let known = self.known.join(", ");
        let unknown: Vec<String> = self.fields.keys().take(20).cloned().collect();
        for field in unknown {
            let field: String = field.chars().take(100).collect();
            self.errors.push(FieldError {
                detail: format!("`{field}` is not known; the fields are {known}"),
                field,
            });
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|text| {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The name or id in the path.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<Api> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Name, Problem> {
        let path = parts.uri.path().to_owned();
        match Path::<String>::from_request_parts(parts, api).await {
            Ok(Path(name)) => Ok(Name(name)),
            Err(_) => Err(Problem::no_such_path(&path)),
        }
    }
}

/// The header `Idempotency-Key`, where it is there.
pub(super) struct IdempotencyKey(pub(super) Option<String>);

impl FromRequestParts<Api> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<IdempotencyKey, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(IdempotencyKey(None)) };
        if values.next().is_some() {
            return Err(Problem::idempotency_key("the header `Idempotency-Key` may be there once"));
        }
        match value.to_str() {
            Ok(key) if (1..=200).contains(&key.len()) => Ok(IdempotencyKey(Some(key.to_owned()))),
            _ => Err(Problem::idempotency_key(
                "the header `Idempotency-Key` must be 1 to 200 printable ASCII characters",
            )),
        }
    }
}

/// The revision in the header `If-Match`, where it is there; `*` stands for any.
pub(super) struct IfMatch(pub(super) Option<u64>);

impl FromRequestParts<Api> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<IfMatch, Problem> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let (value, more) = (values.next(), values.next());
        let text = match (value, more) {
            (None, _) => return Ok(IfMatch(None)),
            (Some(value), None) => value.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => "",
        };
        if text == "*" {
            return Ok(IfMatch(None));
        }
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match number.and_then(|number| number.parse().ok()) {
            Some(revision) => Ok(IfMatch(Some(revision))),
            None => {
                let mut problem = Problem::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_if_match",
                    "The header `If-Match` cannot be used",
                    "`If-Match` must be one `ETag` of the rollout, such as `\"7\"`, or `*`",
                );
                problem.field = Some("If-Match".to_owned());
                Err(problem)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let mut body =
            Body::parse(br#"{"target": 5, "supersede": "yes", "verson": "v2", "kind": "party"}"#).unwrap();
        body.text("target", 10);
        body.text("version", 10);
        body.flag("supersede");
        body.word("kind", &["release", "revert"]);
        let problem = body.finish().unwrap_err();
        let fields: Vec<&str> = problem.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["target", "version", "supersede", "kind", "verson"]);
        assert_eq!(problem.status, 422);
        assert_eq!(
            problem.detail,
            "`target` must be a text, not a number; `version` is missing; `supersede` must be true or false, \
             not a text; `kind` must be one of release, revert, not \"party\"; `verson` is not known; the \
             fields are target, version, supersede, kind"
        );
    }

    #[test]
    fn only_objects_are_bodies() {
        for text in ["", "[]", "3", "\"x\"", "null", "{", "{\"a\": 1}}"] {
            assert_eq!(Body::parse(text.as_bytes()).err().map(|p| p.status), Some(400), "{text}");
        }
        assert!(Body::parse(b"{}").is_ok());
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let deep = "[".repeat(60_000);
        assert_eq!(Body::parse(deep.as_bytes()).err().map(|p| p.status), Some(400));
    }

    #[test]
    fn content_types() {
        for (text, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, text.parse().unwrap());
            assert_eq!(is_json(&headers), json, "{text}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
