//! Notices on their way to channels.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, limit, unsigned};
use crate::core::limit::Severity;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::time::Timestamp;
use crate::ports::{
    Delivery, OutboxCounts, OutboxEntry, OutboxFilter, OutboxGroup, OutboxRecord, OutboxState, Outgoing,
    StoreError,
};

/// New entries are due at once where nothing else is said. Their notice's time says nothing here: after
/// the wall clock was set back it would lie in the future.
const AT_ONCE: Timestamp = Timestamp(0);

/// An entry that cannot be read: its number, and why.
pub(super) type Unreadable = (i64, String);

/// Puts a notice in, unless the queue has had one with its key.
pub(super) async fn add(connection: &mut SqliteConnection, outgoing: &Outgoing) -> Result<(), StoreError> {
    let Outgoing { queue, notice, due } = outgoing;
    sqlx::query(
        "INSERT INTO outbox (channel, key, rollout, due, since, body) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (channel, key) DO NOTHING",
    )
    .bind(queue)
    .bind(&notice.key)
    .bind(&notice.rollout)
    .bind(due.unwrap_or(AT_ONCE).0)
    .bind(due.unwrap_or(notice.at).0)
    .bind(encode(notice, || format!("notice {}", notice.key))?)
    .execute(connection)
    .await?;
    Ok(())
}

/// For each queue the oldest entries that are not delivered, up to the first that is not due, and those
/// of them that cannot be read.
pub(super) async fn due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    most: usize,
    without: &[String],
) -> Result<(Vec<OutboxEntry>, Vec<Unreadable>), StoreError> {
    let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
    // From queue to queue by the index, so that a long queue is not read to find the next one.
    let mut after = None;
    while let Some(queue) = next_queue(connection, after.as_deref()).await? {
        let lane = crate::core::routing::lane_of(&queue);
        if !without.iter().any(|busy| busy == lane) {
            let rows = sqlx::query(
                "SELECT id, channel, attempts, due, since, body FROM outbox \
                 WHERE state = 'pending' AND channel = ? ORDER BY id LIMIT ?",
            )
            .bind(&queue)
            .bind(limit(most))
            .fetch_all(&mut *connection)
            .await?;
            for row in &rows {
                // A notice that is not due need not be read.
                if row.try_get::<i64, _>("due")? > now.0 {
                    break;
                }
                match read(row) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => unreadable.push((row.try_get("id")?, error.to_string())),
                }
            }
        }
        after = Some(queue);
    }
    Ok((entries, unreadable))
}

async fn next_queue(
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

/// The entries of a queue that are due at one time: the newest ones, and how many there are; and those of
/// the newest that cannot be read.
pub(super) async fn group(
    connection: &mut SqliteConnection,
    queue: &str,
    due: Timestamp,
    most: usize,
) -> Result<(OutboxGroup, Vec<Unreadable>), StoreError> {
    let (count, first): (i64, Option<i64>) = sqlx::query_as(
        "SELECT count(*), min(id) FROM outbox WHERE state = 'pending' AND channel = ? AND due = ?",
    )
    .bind(queue)
    .bind(due.0)
    .fetch_one(&mut *connection)
    .await?;
    let rows = sqlx::query(
        "SELECT id, channel, attempts, due, since, body FROM outbox \
         WHERE state = 'pending' AND channel = ? AND due = ? ORDER BY id DESC LIMIT ?",
    )
    .bind(queue)
    .bind(due.0)
    .bind(limit(most))
    .fetch_all(connection)
    .await?;
    let (mut newest, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows.iter().rev() {
        match read(row) {
            Ok(entry) => newest.push(entry),
            Err(error) => unreadable.push((row.try_get("id")?, error.to_string())),
        }
    }
    let count = unsigned(count, || "a count of the outbox".to_owned())?;
    let group = OutboxGroup {
        first: first.unwrap_or_default(),
        count: count.saturating_sub(unreadable.len() as u64),
        newest,
    };
    Ok((group, unreadable))
}

/// Gives up entries that cannot be read.
pub(super) async fn bury(
    connection: &mut SqliteConnection,
    unreadable: &[Unreadable],
) -> Result<(), StoreError> {
    for (id, why) in unreadable {
        tracing::error!(id, %why, "a notice was given up, for it cannot be read");
        settle(&mut *connection, *id, &Delivery::Dead { detail: why.clone() }).await?;
    }
    Ok(())
}

/// How a delivery is written: state, due, detail.
fn written(delivery: &Delivery) -> (&'static str, Option<i64>, Option<&String>) {
    match delivery {
        Delivery::Done => ("done", None, None),
        Delivery::Retry { due, detail } => ("pending", Some(due.0), Some(detail)),
        Delivery::Dead { detail } => ("dead", None, Some(detail)),
    }
}

/// Writes down what became of a delivery. What is delivered or given up stays so.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    id: i64,
    delivery: &Delivery,
) -> Result<(), StoreError> {
    let (state, due, detail) = written(delivery);
    let updated = sqlx::query(
        "UPDATE outbox SET state = ?2, due = coalesce(?3, due), detail = ?4, attempts = attempts + 1 \
         WHERE id = ?1 AND state IN ('pending', 'running')",
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
    state_of(connection, id).await.map(|_| ())
}

/// The same for the entries of a queue that are due at one time, up to the number `last`.
pub(super) async fn settle_group(
    connection: &mut SqliteConnection,
    queue: &str,
    at: Timestamp,
    last: i64,
    delivery: &Delivery,
) -> Result<(), StoreError> {
    let (state, due, detail) = written(delivery);
    sqlx::query(
        "UPDATE outbox SET state = ?3, due = coalesce(?4, due), detail = ?5, attempts = attempts + 1 \
         WHERE channel = ?1 AND due = ?2 AND id <= ?6 AND state = 'pending'",
    )
    .bind(queue)
    .bind(at.0)
    .bind(state)
    .bind(due)
    .bind(detail)
    .bind(last)
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks an entry as begun.
pub(super) async fn begin(connection: &mut SqliteConnection, id: i64) -> Result<(), StoreError> {
    let updated = sqlx::query("UPDATE outbox SET state = 'running' WHERE id = ? AND state = 'pending'")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    if updated.rows_affected() == 1 {
        return Ok(());
    }
    state_of(connection, id).await?;
    Err(StoreError::Conflict(format!("outbox entry {id}")))
}

/// Puts a dead entry on its way again, as if it were new.
pub(super) async fn requeue(
    connection: &mut SqliteConnection,
    id: i64,
    now: Timestamp,
) -> Result<OutboxRecord, StoreError> {
    let updated = sqlx::query(
        "UPDATE outbox SET state = 'pending', attempts = 0, due = 0, since = ? WHERE id = ? AND state = 'dead'",
    )
    .bind(now.0)
    .bind(id)
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() != 1 {
        state_of(connection, id).await?;
        return Err(StoreError::Conflict(format!("outbox entry {id}")));
    }
    let row = sqlx::query("SELECT * FROM outbox WHERE id = ?").bind(id).fetch_one(connection).await?;
    record(&row)
}

/// Entries in one state, by number.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    filter: OutboxFilter,
) -> Result<Vec<OutboxRecord>, StoreError> {
    sqlx::query("SELECT * FROM outbox WHERE state = ? AND id > ? ORDER BY id LIMIT ?")
        .bind(filter.state.name())
        .bind(filter.after.unwrap_or(0))
        .bind(limit(filter.limit))
        .fetch_all(connection)
        .await?
        .iter()
        .map(record)
        .collect()
}

async fn state_of(connection: &mut SqliteConnection, id: i64) -> Result<String, StoreError> {
    let known = sqlx::query_scalar("SELECT state FROM outbox WHERE id = ?")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    known.ok_or_else(|| StoreError::NotFound(format!("outbox entry {id}")))
}

/// How many are on their way and how many dead, and since when the oldest is on its way. What was never
/// tried and is not due waits for its time.
pub(super) async fn counts(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<OutboxCounts, StoreError> {
    let (pending, waiting, oldest): (i64, i64, Option<i64>) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE due <= ?1 OR attempts > 0), \
                count(*) FILTER (WHERE due > ?1 AND attempts = 0), \
                min(since) FILTER (WHERE due <= ?1 OR attempts > 0) \
         FROM outbox WHERE state = 'pending'",
    )
    .bind(now.0)
    .fetch_one(&mut *connection)
    .await?;
    let (running, dead): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM outbox WHERE state = 'running'), \
                (SELECT count(*) FROM outbox WHERE state = 'dead')",
    )
    .fetch_one(connection)
    .await?;
    let count = |value| unsigned(value, || "a count of the outbox".to_owned());
    Ok(OutboxCounts {
        pending: count(pending)? + count(running)?,
        waiting: count(waiting)?,
        dead: count(dead)?,
        oldest: oldest.map(Timestamp),
    })
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
        since: Timestamp(row.try_get("since")?),
    })
}

/// Stands in lists for an entry that cannot be read.
fn placeholder(row: &SqliteRow, error: &StoreError) -> Result<OutboxEntry, StoreError> {
    let since = Timestamp(row.try_get("since")?);
    let sentence = format!("This notice cannot be read: {error}");
    Ok(OutboxEntry {
        id: row.try_get("id")?,
        channel: row.try_get("channel")?,
        notice: Notice::new(row.try_get("key")?, NoticeKind::Alert, Severity::Low, since, sentence),
        attempts: 0,
        due: Timestamp(row.try_get("due")?),
        since,
    })
}

fn record(row: &SqliteRow) -> Result<OutboxRecord, StoreError> {
    let state: String = row.try_get("state")?;
    let entry = read(row).or_else(|error| placeholder(row, &error))?;
    let state: Option<OutboxState> = state.parse().ok();
    let id = entry.id;
    Ok(OutboxRecord {
        state: state.ok_or_else(|| StoreError::Corrupt(format!("outbox entry {id}: its state")))?,
        detail: row.try_get("detail")?,
        entry,
    })
}
