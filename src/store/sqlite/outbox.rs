//! Notices on their way to channels.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, limit, unsigned};
use crate::core::rollout::Notice;
use crate::core::time::Timestamp;
use crate::ports::{Delivery, OutboxEntry, StoreError};

/// New entries are due at once. Their notice's time says nothing here: after the wall clock was set back
/// it would lie in the future.
const AT_ONCE: Timestamp = Timestamp(0);

/// Puts a notice in, unless the channel has had one with its key.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    channel: &str,
    notice: &Notice,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (channel, key, rollout, due, body) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (channel, key) DO NOTHING",
    )
    .bind(channel)
    .bind(&notice.key)
    .bind(&notice.rollout)
    .bind(AT_ONCE.0)
    .bind(encode(notice, || format!("notice {}", notice.key))?)
    .execute(connection)
    .await?;
    Ok(())
}

/// For each channel the oldest entries that are not delivered, up to the first that is not due.
pub(super) async fn due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    most: usize,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut entries = Vec::new();
    // From channel to channel by the index, so that a long queue is not read to find the next one.
    let mut after = None;
    while let Some(channel) = next_channel(connection, after.as_deref()).await? {
        let rows = sqlx::query(
            "SELECT id, channel, attempts, due, body FROM outbox \
             WHERE state = 'pending' AND channel = ? ORDER BY id LIMIT ?",
        )
        .bind(&channel)
        .bind(limit(most))
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let entry = read(row)?;
            if entry.due > now {
                break;
            }
            entries.push(entry);
        }
        after = Some(channel);
    }
    Ok(entries)
}

async fn next_channel(
    connection: &mut SqliteConnection,
    after: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let query = match after {
        None => {
            sqlx::query_scalar("SELECT channel FROM outbox WHERE state = 'pending' ORDER BY channel LIMIT 1")
        }
        Some(after) => sqlx::query_scalar(
            "SELECT channel FROM outbox WHERE state = 'pending' AND channel > ? ORDER BY channel LIMIT 1",
        )
        .bind(after),
    };
    Ok(query.fetch_optional(connection).await?)
}

/// Writes down what became of a delivery. What is delivered or given up stays so.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    id: i64,
    delivery: &Delivery,
) -> Result<(), StoreError> {
    let (state, due, detail) = match delivery {
        Delivery::Done => ("done", None, None),
        Delivery::Retry { due, detail } => ("pending", Some(due.0), Some(detail)),
        Delivery::Dead { detail } => ("dead", None, Some(detail)),
    };
    let updated = sqlx::query(
        "UPDATE outbox SET state = ?2, due = coalesce(?3, due), detail = ?4, attempts = attempts + 1 \
         WHERE id = ?1 AND state = 'pending'",
    )
    .bind(id)
    .bind(state)
    .bind(due)
    .bind(detail)
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() == 1 {
        return Ok(());
    }
    let known: Option<i64> =
        sqlx::query_scalar("SELECT id FROM outbox WHERE id = ?").bind(id).fetch_optional(connection).await?;
    known.map(|_| ()).ok_or_else(|| StoreError::NotFound(format!("outbox entry {id}")))
}

/// How many are pending and how many dead.
pub(super) async fn counts(connection: &mut SqliteConnection) -> Result<(u64, u64), StoreError> {
    let (pending, dead): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM outbox WHERE state = 'pending'), \
                (SELECT count(*) FROM outbox WHERE state = 'dead')",
    )
    .fetch_one(connection)
    .await?;
    let count = |value| unsigned(value, || "a count of the outbox".to_owned());
    Ok((count(pending)?, count(dead)?))
}

fn read(row: &SqliteRow) -> Result<OutboxEntry, StoreError> {
    let id: i64 = row.try_get("id")?;
    let attempts: i64 = row.try_get("attempts")?;
    Ok(OutboxEntry {
        id,
        channel: row.try_get("channel")?,
        notice: decode(row.try_get("body")?, || format!("outbox entry {id}"))?,
        attempts: u32::try_from(attempts)
            .map_err(|_| StoreError::Corrupt(format!("outbox entry {id}: {attempts} attempts")))?,
        due: Timestamp(row.try_get("due")?),
    })
}
