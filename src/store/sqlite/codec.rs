//! Bodies: values as they stand in a column.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo};
use sqlx::{Encode, Sqlite, SqliteConnection, Type};

use crate::core::ids::RolloutId;
use crate::ports::StoreError;

/// A value as it is written: JSON text that people and SQL can read, or CBOR.
#[derive(Debug)]
pub(super) enum Body {
    /// JSON.
    Json(String),
    /// CBOR.
    Cbor(Vec<u8>),
}

impl Type<Sqlite> for Body {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Body {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Body::Json(text) => Encode::<Sqlite>::encode_by_ref(&text.as_str(), buffer),
            Body::Cbor(bytes) => Encode::<Sqlite>::encode_by_ref(&bytes.as_slice(), buffer),
        }
    }
}

/// The body of `value`. JSON has no infinite numbers (an interval's upper end may be one) and would turn
/// them into nothing, so the text is read back and compared before it is trusted: a body that cannot be
/// read again must be found now, not at the next start.
pub(super) fn encode<T>(value: &T, what: impl FnOnce() -> String) -> Result<Body, StoreError>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    if let Ok(text) = serde_json::to_string(value)
        && serde_json::from_str::<T>(&text).is_ok_and(|read| read == *value)
    {
        return Ok(Body::Json(text));
    }
    encode_cbor(value, what).map(Body::Cbor)
}

/// Whether a value is stored as that body already. Cheaper than to encode it.
pub(super) fn is_body<T: Serialize>(value: &T, body: &[u8]) -> bool {
    serde_json::to_vec(value).is_ok_and(|text| text == body)
}

/// `value` in CBOR, which holds every number exactly.
pub(super) fn encode_cbor<T: Serialize>(
    value: &T,
    what: impl FnOnce() -> String,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)
        .map_err(|error| StoreError::Corrupt(format!("{} cannot be written: {error}", what())))?;
    Ok(bytes)
}

/// The value of a body. All values are structures, so that CBOR begins with a byte above 127 (a map or an
/// array) and JSON below.
pub(super) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    let read = match bytes.first() {
        Some(first) if *first > 0x7f => ciborium::from_reader(bytes).map_err(|error| error.to_string()),
        _ => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
    };
    read.map_err(|error| StoreError::Corrupt(format!("{}: {error}", what())))
}

/// An unsigned number as SQLite has it. Numbers beyond its range are only ever limits.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count as SQLite has it.
pub(super) fn limit(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A stored number that cannot be negative.
pub(super) fn unsigned(value: i64, what: impl FnOnce() -> String) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt(format!("{} is negative: {value}", what())))
}

/// Whether it is there.
pub(super) async fn exists(connection: &mut SqliteConnection, id: &RolloutId) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM rollouts WHERE id = ?")
        .bind(&id.0)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        name: String,
        values: Vec<f64>,
        maybe: Option<f64>,
    }

    fn bytes(body: &Body) -> &[u8] {
        match body {
            Body::Json(text) => text.as_bytes(),
            Body::Cbor(bytes) => bytes,
        }
    }

    fn sample(values: Vec<f64>, maybe: Option<f64>) -> Sample {
        Sample { name: "n".to_owned(), values, maybe }
    }

    #[test]
    fn finite_numbers_are_json_and_exact() {
        let value = sample(vec![0.1, 1.0 / 3.0, 5e-324, f64::MAX, -0.0], Some(2f64.sqrt()));
        let body = encode(&value, String::new).unwrap();
        assert!(matches!(body, Body::Json(_)), "{body:?}");
        let read: Sample = decode(bytes(&body), String::new).unwrap();
        let bits = |sample: &Sample| sample.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&value));
    }

    #[test]
    fn infinite_numbers_survive() {
        for value in [
            sample(vec![f64::INFINITY], None),
            sample(vec![f64::NEG_INFINITY], None),
            sample(vec![], Some(f64::INFINITY)),
        ] {
            let body = encode(&value, String::new).unwrap();
            assert_eq!(decode::<Sample>(bytes(&body), String::new).unwrap(), value);
        }
    }

    #[test]
    fn not_a_number_survives() {
        let body = encode(&sample(vec![f64::NAN], Some(f64::NAN)), String::new).unwrap();
        let read: Sample = decode(bytes(&body), String::new).unwrap();
        assert!(read.values[0].is_nan() && read.maybe.is_some_and(f64::is_nan));
    }

    #[test]
    fn what_cannot_be_read_says_what_it_is() {
        for bytes in [&b""[..], b"{\"name\"", b"\xa1\x64name", b"[]", b"null", b"\xff\xff"] {
            let error = decode::<Sample>(bytes, || "the sample".to_owned()).unwrap_err();
            assert!(error.to_string().contains("the sample: "), "{error}");
            assert!(matches!(error, StoreError::Corrupt(_)));
        }
    }
}
