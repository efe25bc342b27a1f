//! Freezes.

use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, limit};
use super::error::taken;
use super::news;
use crate::core::freeze::Freeze;
use crate::ports::StoreError;

/// Stores a new freeze, or one that was ended.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    freeze: &Freeze,
    by: i64,
) -> Result<(), StoreError> {
    let what = || format!("freeze {}", freeze.id);
    sqlx::query(
        "INSERT INTO freezes (id, begun, ended, body) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (id) DO UPDATE SET ended = ?3, body = ?4",
    )
    .bind(&freeze.id)
    .bind(freeze.from.0)
    .bind(freeze.ended.as_ref().map(|(at, _)| at.0))
    .bind(encode(freeze, what)?)
    .execute(&mut *connection)
    .await
    .map_err(|error| taken(error, what))?;
    let mark = news::mark(connection, by).await?;
    news::tell_everyone(connection, mark).await
}

/// Freezes, the newest first; with `open` only those that nobody has ended.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    open: bool,
    most: usize,
) -> Result<Vec<Freeze>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, body FROM freezes WHERE ended IS NULL OR NOT ? ORDER BY begun DESC, id LIMIT ?",
    )
    .bind(open)
    .bind(limit(most))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id")?;
            decode(row.try_get("body")?, || format!("freeze {id}"))
        })
        .collect()
}
