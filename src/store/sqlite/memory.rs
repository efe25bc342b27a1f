//! What channels keep over restarts.

use sqlx::SqliteConnection;

use super::codec::integer;
use crate::core::time::Timestamp;
use crate::ports::StoreError;

/// What the channel has kept under this key.
pub(super) async fn recall(
    connection: &mut SqliteConnection,
    channel: &str,
    key: &str,
) -> Result<Option<String>, StoreError> {
    let value = sqlx::query_scalar("SELECT value FROM channel_memory WHERE channel = ? AND key = ?")
        .bind(channel)
        .bind(key)
        .fetch_optional(connection)
        .await?;
    Ok(value)
}

/// Keeps a value, in place of the one that was there.
pub(super) async fn remember(
    connection: &mut SqliteConnection,
    channel: &str,
    key: &str,
    value: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO channel_memory (channel, key, value, at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (channel, key) DO UPDATE SET value = ?3, at = ?4",
    )
    .bind(channel)
    .bind(key)
    .bind(value)
    .bind(at.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes what was kept before `before`, at most `rows` of it.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    before: Timestamp,
    rows: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM channel_memory WHERE rowid IN \
         (SELECT rowid FROM channel_memory WHERE at < ? ORDER BY at LIMIT ?)",
    )
    .bind(before.0)
    .bind(integer(rows))
    .execute(connection)
    .await?;
    Ok(())
}
