//! Tokens and the audit log.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, integer, limit, unsigned};
use super::error::taken;
use crate::core::access::{AuditRecord, TokenHash, TokenRecord};
use crate::core::time::Timestamp;
use crate::ports::StoreError;

/// Stores a new token.
pub(super) async fn create_token(
    connection: &mut SqliteConnection,
    token: &TokenRecord,
) -> Result<(), StoreError> {
    let what = || format!("token {}", token.name);
    sqlx::query("INSERT INTO tokens (hash, name, revoked_at, body) VALUES (?, ?, ?, ?)")
        .bind(&token.hash.0)
        .bind(&token.name)
        .bind(token.revoked_at.map(|at| at.0))
        .bind(encode(token, what)?)
        .execute(connection)
        .await
        .map_err(|error| taken(error, what))?;
    Ok(())
}

/// All tokens by name, the newest of a name last.
pub(super) async fn tokens(connection: &mut SqliteConnection) -> Result<Vec<TokenRecord>, StoreError> {
    let rows = sqlx::query("SELECT name, hash, revoked_at, body FROM tokens ORDER BY name, number")
        .fetch_all(connection)
        .await?;
    rows.iter().map(read_token).collect()
}

/// The token of that hash.
pub(super) async fn token(
    connection: &mut SqliteConnection,
    hash: &TokenHash,
) -> Result<TokenRecord, StoreError> {
    let row = sqlx::query("SELECT name, hash, revoked_at, body FROM tokens WHERE hash = ?")
        .bind(&hash.0)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read_token).transpose()?.ok_or_else(|| StoreError::NotFound("this token".to_owned()))
}

/// Revokes the token of that name.
pub(super) async fn revoke_token(
    connection: &mut SqliteConnection,
    name: &str,
    at: Timestamp,
) -> Result<TokenRecord, StoreError> {
    let row =
        sqlx::query("SELECT name, hash, revoked_at, body FROM tokens WHERE name = ? AND revoked_at IS NULL")
            .bind(name)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(row) = row else { return Err(StoreError::NotFound(format!("token {name}"))) };
    let token = TokenRecord { revoked_at: Some(at), ..read_token(&row)? };
    sqlx::query("UPDATE tokens SET revoked_at = ?, body = ? WHERE hash = ?")
        .bind(at.0)
        .bind(encode(&token, || format!("token {name}"))?)
        .bind(&token.hash.0)
        .execute(connection)
        .await?;
    Ok(token)
}

/// A body that disagrees with its columns must not let anybody in.
fn read_token(row: &SqliteRow) -> Result<TokenRecord, StoreError> {
    let (name, hash): (&str, &str) = (row.try_get("name")?, row.try_get("hash")?);
    let revoked: Option<i64> = row.try_get("revoked_at")?;
    let token: TokenRecord = decode(row.try_get("body")?, || format!("token {name}"))?;
    if token.name != name || token.hash.0 != hash || token.revoked_at.map(|at| at.0) != revoked {
        return Err(StoreError::Corrupt(format!("token {name}: the body and the columns disagree")));
    }
    Ok(token)
}

/// Adds a line to the audit log.
pub(super) async fn add_audit(
    connection: &mut SqliteConnection,
    record: &AuditRecord,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO audit (at, body) VALUES (?, ?)")
        .bind(record.at.0)
        .bind(encode(record, || "a line of the audit log".to_owned())?)
        .execute(connection)
        .await?;
    Ok(())
}

/// Lines with numbers below `before`, newest first.
pub(super) async fn audit(
    connection: &mut SqliteConnection,
    before: Option<u64>,
    most: usize,
) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
    let rows = sqlx::query("SELECT number, body FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?")
        .bind(integer(before.unwrap_or(u64::MAX)))
        .bind(limit(most))
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let number: i64 = row.try_get("number")?;
            let what = || format!("line {number} of the audit log");
            Ok((unsigned(number, what)?, decode(row.try_get("body")?, what)?))
        })
        .collect()
}

/// Removes at most `most` lines from before `before`.
pub(super) async fn prune_audit(
    connection: &mut SqliteConnection,
    before: Timestamp,
    most: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at < ? ORDER BY at LIMIT ?)",
    )
    .bind(before.0)
    .bind(integer(most))
    .execute(connection)
    .await?;
    Ok(())
}
