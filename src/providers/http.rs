//! Calls over HTTP whose every failure is a typed reason.

use std::error::Error;

use bytes::{Bytes, BytesMut};

use crate::core::metric::NoData;

/// Reads a body of at most `max_bytes`.
///
/// # Errors
/// [`NoData::TooLarge`], [`NoData::Timeout`], or [`NoData::Unreachable`] if it broke off.
pub(super) async fn body(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, NoData> {
    let too_large = || NoData::TooLarge(format!("the answer has more than {max_bytes} bytes"));
    if response.content_length().is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Why a call failed. The URL is left out: it may hold a password.
pub(super) fn reason(error: &reqwest::Error) -> NoData {
    if error.is_timeout() {
        return NoData::Timeout;
    }
    let kind = if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the call failed"
    };
    // The innermost cause says what happened; those above it repeat the URL or say "error".
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    NoData::Unreachable(cause.map_or_else(|| kind.to_owned(), |cause| format!("{kind}: {cause}")))
}
