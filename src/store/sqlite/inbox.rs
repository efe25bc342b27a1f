//! The inbox of commands.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, exists};
use super::news;
use crate::core::ids::RolloutId;
use crate::core::rollout::Command;
use crate::core::time::Timestamp;
use crate::ports::{InboxEntry, StoreError};

/// Puts a command in, unless its key is there, and tells the rollout's target.
pub(super) async fn enqueue(
    connection: &mut SqliteConnection,
    rollout: &RolloutId,
    command: &Command,
    at: Timestamp,
    by: i64,
) -> Result<InboxEntry, StoreError> {
    let entry = put(connection, rollout, command, at).await?;
    let mark = news::mark(connection, by).await?;
    news::tell_of(connection, mark, &entry.rollout).await?;
    Ok(entry)
}

/// Puts a command in, unless its key is there.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    rollout: &RolloutId,
    command: &Command,
    at: Timestamp,
) -> Result<InboxEntry, StoreError> {
    if let Some(entry) = find(connection, &command.key).await? {
        return Ok(entry);
    }
    if !exists(connection, rollout).await? {
        return Err(StoreError::NotFound(format!("rollout {rollout}")));
    }
    sqlx::query("INSERT INTO inbox (key, rollout, at, body) VALUES (?, ?, ?, ?)")
        .bind(&command.key)
        .bind(&rollout.0)
        .bind(at.0)
        .bind(encode(command, || format!("command {}", command.key))?)
        .execute(connection)
        .await?;
    Ok(InboxEntry { rollout: rollout.clone(), at, command: command.clone(), result: None })
}

/// Commands that are not taken, oldest first.
pub(super) async fn pending(
    connection: &mut SqliteConnection,
    rollouts: &[RolloutId],
) -> Result<Vec<InboxEntry>, StoreError> {
    let ids = encode(&rollouts.to_vec(), || "ids of rollouts".to_owned())?;
    sqlx::query(
        "SELECT key, rollout, at, body, taken, refusal FROM inbox \
         WHERE taken = 0 AND rollout IN (SELECT value FROM json_each(?)) ORDER BY number",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Commands for a target's rollouts that are not taken, oldest first.
pub(super) async fn pending_of(
    connection: &mut SqliteConnection,
    target: &str,
) -> Result<Vec<InboxEntry>, StoreError> {
    // From the few that are not taken, not from all rollouts that the target ever had.
    sqlx::query(
        "SELECT inbox.key, inbox.rollout, inbox.at, inbox.body, inbox.taken, inbox.refusal FROM inbox \
         CROSS JOIN rollouts ON rollouts.id = inbox.rollout \
         WHERE inbox.taken = 0 AND rollouts.target = ? ORDER BY inbox.number",
    )
    .bind(target)
    .fetch_all(connection)
    .await?
    .iter()
    .map(read)
    .collect()
}

/// One entry.
pub(super) async fn get(connection: &mut SqliteConnection, key: &str) -> Result<InboxEntry, StoreError> {
    find(connection, key).await?.ok_or_else(|| StoreError::NotFound(format!("command {key}")))
}

/// What became of those of these commands that were taken.
pub(super) async fn done(
    connection: &mut SqliteConnection,
    keys: &[String],
) -> Result<Vec<(String, Result<(), String>)>, StoreError> {
    let mut done = Vec::new();
    for key in keys {
        let entry = find(connection, key).await?;
        done.extend(entry.and_then(|entry| Some((key.clone(), entry.result?))));
    }
    Ok(done)
}

/// Writes down what became of a command, once.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    key: &str,
    result: &Result<(), String>,
) -> Result<(), StoreError> {
    let updated = sqlx::query("UPDATE inbox SET taken = 1, refusal = ? WHERE key = ? AND taken = 0")
        .bind(result.as_ref().err())
        .bind(key)
        .execute(&mut *connection)
        .await?;
    if updated.rows_affected() == 1 {
        return Ok(());
    }
    get(connection, key).await?;
    Err(StoreError::Conflict(format!("command {key}")))
}

async fn find(connection: &mut SqliteConnection, key: &str) -> Result<Option<InboxEntry>, StoreError> {
    sqlx::query("SELECT key, rollout, at, body, taken, refusal FROM inbox WHERE key = ?")
        .bind(key)
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

fn read(row: &SqliteRow) -> Result<InboxEntry, StoreError> {
    let key: &str = row.try_get("key")?;
    let taken: bool = row.try_get("taken")?;
    let refusal: Option<String> = row.try_get("refusal")?;
    Ok(InboxEntry {
        rollout: RolloutId(row.try_get("rollout")?),
        at: Timestamp(row.try_get("at")?),
        command: decode(row.try_get("body")?, || format!("command {key}"))?,
        result: taken.then(|| refusal.map_or(Ok(()), Err)),
    })
}
