//! Errors as RFC 9457 problem documents. Everything that can go wrong becomes HTTP here and nowhere
//! else.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub use crate::contract::problem::{FieldError, Problem};
use crate::core::time::Timestamp;
use crate::engine::StartError;
use crate::ports::StoreError;

/// The problem that a response of status 5xx is, for what stands around the handlers.
#[derive(Clone, Debug)]
pub(super) struct Failed(pub(super) Problem);

/// The code of the problem that a response is, for what stands around the handlers.
#[derive(Clone, Debug)]
pub(super) struct Code(pub(super) String);

impl Problem {
    /// A problem with a stable code.
    pub fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:serin:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            rollout: None,
            field: None,
            errors: Vec::new(),
            problems: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// One field of a body that has a wrong value.
    pub fn field(field: &str, detail: impl Into<String>) -> Problem {
        Problem::fields(vec![FieldError { field: field.to_owned(), detail: detail.into() }])
    }

    /// Fields of a body that are wrong; not empty.
    pub fn fields(errors: Vec<FieldError>) -> Problem {
        let detail = sentence(&errors);
        let mut problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_field",
            "The body has a field that is not right",
            detail,
        );
        problem.field = errors.first().map(|error| error.field.clone());
        problem.errors = errors;
        problem
    }

    /// Parameters of a query that are wrong; not empty.
    pub fn parameters(errors: Vec<FieldError>) -> Problem {
        let detail = sentence(&errors);
        let mut problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
            "The query has a parameter that is not right",
            detail,
        );
        problem.field = errors.first().map(|error| error.field.clone());
        problem.errors = errors;
        problem
    }

    /// The body is not JSON, or not an object.
    pub fn not_json(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_json", "The body cannot be read", detail)
    }

    /// The body says that it is something else than JSON.
    pub fn media_type() -> Problem {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is not JSON",
            "send the body as JSON, with the header `Content-Type: application/json`",
        )
    }

    /// The body is larger than `limit` bytes.
    pub fn too_large(limit: usize) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is too large",
            format!("a body may have at most {limit} bytes"),
        )
    }

    /// The header `Idempotency-Key` cannot be used.
    pub fn idempotency_key(detail: impl Into<String>) -> Problem {
        let mut problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            "The idempotency key cannot be used",
            detail,
        );
        problem.field = Some("Idempotency-Key".to_owned());
        problem
    }

    /// The key was used for something else before.
    pub fn key_reused(what: impl Into<String>) -> Problem {
        let mut problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "The idempotency key was used for something else",
            what,
        );
        problem.field = Some("Idempotency-Key".to_owned());
        problem
    }

    /// The engine, or the rollout's phase, refuses a command.
    pub fn refused(rollout: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "command_refused", "The command was refused", detail)
            .about(rollout)
    }

    /// No policy of that name in the configuration.
    pub fn unknown_policy(name: &str) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_policy",
            "There is no such policy",
            format!("there is no policy `{name}`; GET /api/v1/policies lists them"),
        )
    }

    /// No target of that name, said to somebody who may not know the others.
    pub fn unknown_target(name: &str) -> Problem {
        let mut problem = Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_target",
            "There is no such target",
            format!("there is no target `{}`; GET /api/v1/targets lists them", shortened(name)),
        );
        problem.field = Some("target".to_owned());
        problem
    }

    /// The rollout's policy has no such metric; `known` are those that it has.
    pub fn unknown_metric(known: &str) -> Problem {
        let detail = format!("`metric` must be one of the policy's: {known}");
        let mut problem =
            Problem::new(StatusCode::NOT_FOUND, "unknown_metric", "There is no such metric", detail);
        problem.field = Some("metric".to_owned());
        problem
    }

    /// The daemon cannot do it now.
    pub fn not_ready(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "Serin is not ready", detail).retry(1)
    }

    /// Too many requests at one time.
    pub fn busy(limit: usize) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Too many requests at one time",
            format!("{limit} requests are being answered; try again"),
        )
        .retry(1)
    }

    /// A plan is being computed.
    pub fn planning() -> Problem {
        let detail = "a plan is being computed, one at a time; ask again in a few seconds";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "A plan is being computed", detail).retry(5)
    }

    /// Too many viewers of the event stream.
    pub fn busy_viewers(limit: usize) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Too many viewers at one time",
            format!("{limit} viewers are listening; try again, or ask for the overview now and then"),
        )
        .retry(10)
    }

    /// The request took too long.
    pub fn timeout(seconds: u64) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "The request took too long",
            format!("there was no answer within {seconds} s; try again with the same idempotency key"),
        )
        .retry(1)
    }

    /// Nothing is at that path.
    pub fn no_such_path(path: &str) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_such_path",
            "There is nothing at this path",
            format!("nothing is at {}; the API is under /api/v1", shortened(path)),
        )
    }

    /// The path is there, the method is not.
    pub fn method_not_allowed(method: &str, path: &str) -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "The method is not possible here",
            format!("{} is not possible at {}; see the header `Allow`", shortened(method), shortened(path)),
        )
    }

    /// Nobody said who they are.
    pub fn unauthenticated() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Say who you are",
            "send `Authorization: Bearer TOKEN`, or log in; `serin token create` makes a token",
        )
    }

    /// A fault of Serin itself.
    pub fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something is wrong in Serin",
            "the request could not be answered; the log says more",
        )
    }

    /// The rollout is not at the revision that was asked for.
    pub fn revision_changed(rollout: &str, expected: u64, actual: u64) -> Problem {
        Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "revision_changed",
            "The rollout has changed",
            format!("the rollout is at revision {actual}, not {expected}; look at it again"),
        )
        .about(rollout)
    }

    /// The same problem, with when to try again.
    pub fn retry_after(self, seconds: u32) -> Problem {
        self.retry(seconds)
    }

    /// The same problem, about a rollout.
    pub fn about(mut self, rollout: &str) -> Problem {
        self.rollout = Some(rollout.to_owned());
        self
    }

    fn retry(mut self, seconds: u32) -> Problem {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

fn sentence(errors: &[FieldError]) -> String {
    errors.iter().map(|error| error.detail.as_str()).collect::<Vec<_>>().join("; ")
}

/// Text from outside, at most 200 characters of it.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(200).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let detail = error.to_string();
        match error {
            StoreError::Unavailable(_) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "The store cannot be used",
                detail,
            )
            .retry(2),
            StoreError::NotFound(_) => {
                Problem::new(StatusCode::NOT_FOUND, "not_found", "It does not exist", detail)
            }
            StoreError::Conflict(_) => {
                Problem::new(StatusCode::CONFLICT, "conflict", "It has changed meanwhile", detail)
            }
            StoreError::Occupied { active, .. } => Problem::new(
                StatusCode::CONFLICT,
                "occupied",
                "The target is taken",
                format!("{detail}; wait for its end, or ask again with `supersede`"),
            )
            .about(&active.0),
            StoreError::Corrupt(_) => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "store_corrupt",
                "The store holds something that cannot be read",
                detail,
            ),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Problem {
        let detail = error.to_string();
        let mut problem = match error {
            StartError::Store(error) => return error.into(),
            StartError::UnknownTarget(..) => {
                Problem::new(StatusCode::NOT_FOUND, "unknown_target", "There is no such target", detail)
            }
            StartError::UnknownPolicy(..) => {
                Problem::new(StatusCode::NOT_FOUND, "unknown_policy", "There is no such policy", detail)
            }
            StartError::Version(_) => return Problem::field("version", detail),
            StartError::Undecided(..) => {
                return Problem::new(
                    StatusCode::CONFLICT,
                    "undecided_split",
                    "The router has a split that the store knows nothing of",
                    detail,
                );
            }
            StartError::Arms(_) => {
                return Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "arms_not_distinct",
                    "Canary and baseline cannot be told apart",
                    detail,
                );
            }
        };
        let field = if problem.code == "unknown_target" { "target" } else { "policy" };
        problem.field = Some(field.to_owned());
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let failed = status.is_server_error().then(|| Failed(self.clone()));
        if failed.is_some() {
            tracing::warn!(code = %self.code, status = self.status, "a request failed: {}", self.detail);
        }
        let mut response = self.respond(status);
        if let Some(failed) = failed {
            response.extensions_mut().insert(failed);
        }
        response
    }
}

impl Failed {
    /// The same answer, with since when the store has taken nothing.
    pub(super) fn during_outage(mut self, since: Timestamp) -> Response {
        self.0.detail.push_str(&format!("; the store has taken nothing since {since}"));
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.0.respond(status)
    }
}

impl Problem {
    fn respond(self, status: StatusCode) -> Response {
        let retry = self.retry_after_seconds;
        let code = self.code.clone();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = match code.as_str() {
                "invalid_credentials" => r#"Bearer realm="serin", error="invalid_token""#,
                _ => r#"Bearer realm="serin""#,
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Code(code));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::RolloutId;

    #[test]
    fn every_store_error_has_its_status() {
        let occupied = StoreError::Occupied { target: "checkout".into(), active: RolloutId("r1".into()) };
        let cases = [
            (StoreError::Unavailable("disk full".into()), 503, "store_unavailable"),
            (StoreError::NotFound("rollout r9".into()), 404, "not_found"),
            (StoreError::Conflict("rollout r1".into()), 409, "conflict"),
            (occupied, 409, "occupied"),
            (StoreError::Corrupt("a row".into()), 500, "store_corrupt"),
        ];
        for (error, status, code) in cases {
            let problem = Problem::from(error);
            assert_eq!((problem.status, problem.code.as_str()), (status, code));
        }
    }

    #[test]
    fn the_problem_names_who_has_the_target() {
        let error = StoreError::Occupied { target: "checkout".into(), active: RolloutId("r1".into()) };
        let problem = Problem::from(StartError::Store(error));
        assert_eq!(problem.rollout.as_deref(), Some("r1"));
        assert!(problem.detail.contains("r1") && problem.detail.contains("supersede"), "{}", problem.detail);
    }

    #[test]
    fn unavailable_says_when_to_try_again() {
        let response = Problem::from(StoreError::Unavailable("disk full".into())).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
