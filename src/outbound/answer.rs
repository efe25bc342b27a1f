//! What of an answer is read, and why there is none.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// A receiver may ask for so much patience.
const MOST_PATIENCE: Duration = Duration::from_secs(3600);

/// That an address may not be called, as a resolver says it: the innermost cause of a call's failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Why a call gave no answer. No text has the URL in it: its query may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The address may not be called.
    #[error("{0}")]
    Refused(String),
    /// Not within the deadline.
    #[error("there was no answer in time")]
    Timeout,
    /// No connection, or it broke off.
    #[error("{0}")]
    Lost(String),
    /// The answer has more bytes than are read.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

impl From<&reqwest::Error> for Fault {
    /// The innermost cause says what happened; those above it repeat the URL or say "error".
    fn from(error: &reqwest::Error) -> Fault {
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(outer) = cause {
            if let Some(refused) = outer.downcast_ref::<Refused>() {
                return Fault::Refused(refused.to_string());
            }
            match outer.source() {
                Some(inner) => cause = Some(inner),
                None => break,
            }
        }
        if error.is_timeout() {
            return Fault::Timeout;
        }
        let kind = if error.is_connect() {
            "no connection"
        } else if error.is_body() || error.is_decode() {
            "the answer broke off"
        } else {
            "the call failed"
        };
        Fault::Lost(cause.map_or_else(|| kind.to_owned(), |cause| format!("{kind}: {cause}")))
    }
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Fault {
        Fault::from(&error)
    }
}

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// [`Fault::TooLarge`] if it has more, else why it did not come to its end.
pub async fn whole(answer: Response, most: usize) -> Result<Bytes, Fault> {
    if answer.content_length().is_some_and(|length| length > most as u64) {
        return Err(Fault::TooLarge(most));
    }
    match read(answer, most).await? {
        (body, true) => Ok(body),
        (_, false) => Err(Fault::TooLarge(most)),
    }
}

/// Reads at most `most` bytes of a body and leaves the rest.
///
/// # Errors
/// Why it broke off before.
pub async fn head(answer: Response, most: usize) -> Result<Bytes, Fault> {
    Ok(read(answer, most).await?.0)
}

/// At most `most` bytes, and whether that is all.
async fn read(mut answer: Response, most: usize) -> Result<(Bytes, bool), Fault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body.freeze(), false));
        }
    }
    Ok((body.freeze(), true))
}

/// What `Retry-After` asks for: seconds, or a date that is measured against the answer's own `Date`; at most
/// an hour.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let value = header(RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MOST_PATIENCE));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second());
    let wait = date(value)?.saturating_sub(date(header(DATE)?)?);
    Some(Duration::from_secs(u64::try_from(wait).unwrap_or(0)).min(MOST_PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        entries.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let seconds =
            |entries: &[(&'static str, &str)]| retry_after(&headers(entries)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[("retry-after", "30")]), Some(30));
        assert_eq!(seconds(&[("retry-after", "99999999")]), Some(3600));
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        let later = ("retry-after", "Sat, 21 Nov 2026 12:00:30 GMT");
        assert_eq!(seconds(&[later]), None);
        assert_eq!(seconds(&[later, ("date", "Sat, 21 Nov 2026 12:00:00 GMT")]), Some(30));
        assert_eq!(seconds(&[later, ("date", "Sat, 21 Nov 2026 12:01:00 GMT")]), Some(0));
    }

    fn answer(body: &'static str) -> Response {
        Response::from(axum::http::Response::new(body))
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        assert_eq!(whole(answer("12345678"), 8).await.unwrap(), "12345678");
        assert_eq!(whole(answer("123456789"), 8).await, Err(Fault::TooLarge(8)));
        assert_eq!(head(answer("12345678"), 8).await.unwrap(), "12345678");
        assert_eq!(head(answer("123456789"), 8).await.unwrap(), "12345678");
    }
}
