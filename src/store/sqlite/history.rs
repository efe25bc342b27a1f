//! What a rollout leaves behind: log lines, observations, evidence and cursors.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, encode_cbor, integer, limit, unsigned};
use super::error::taken;
use crate::core::judge::{Assessment, JudgeState};
use crate::core::metric::{MetricCursor, TickObservation};
use crate::core::rollout::{EventRecord, RolloutId};
use crate::ports::StoreError;

/// Snapshots that are kept of a rollout: the newest, and one to fall back to.
const SNAPSHOTS: i64 = 2;

/// Appends a log line.
pub(super) async fn add_event(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    event: &EventRecord,
) -> Result<(), StoreError> {
    let what = || format!("event {} of rollout {id}", event.seq);
    sqlx::query("INSERT INTO events (rollout, seq, body) VALUES (?, ?, ?)")
        .bind(&id.0)
        .bind(integer(event.seq))
        .bind(encode(event, what)?)
        .execute(connection)
        .await
        .map_err(|error| taken(error, what))?;
    Ok(())
}

/// Log lines after `after`.
pub(super) async fn events(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    after: u64,
    most: usize,
) -> Result<Vec<EventRecord>, StoreError> {
    let statement = "SELECT seq, body FROM events WHERE rollout = ? AND seq > ? ORDER BY seq LIMIT ?";
    let rows = rows_after(connection, statement, id, after, limit(most)).await?;
    rows.iter().map(|row| part(row, "body", |seq| format!("event {seq} of rollout {id}"))).collect()
}

/// Log lines of all rollouts after a position.
pub(super) async fn events_since(
    connection: &mut SqliteConnection,
    position: u64,
    most: usize,
) -> Result<Vec<(u64, RolloutId, EventRecord)>, StoreError> {
    let statement =
        "SELECT position, rollout, seq, body FROM events WHERE position > ? ORDER BY position LIMIT ?";
    let query = sqlx::query(statement).bind(integer(position)).bind(limit(most));
    let rows = query.fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let id = RolloutId(row.try_get("rollout")?);
            let position = unsigned(row.try_get("position")?, || format!("a position of rollout {id}"))?;
            let event = part(row, "body", |seq| format!("event {seq} of rollout {id}"))?;
            Ok((position, id, event))
        })
        .collect()
}

/// The position of the newest log line.
pub(super) async fn newest_position(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(connection).await?;
    unsigned(newest.unwrap_or(0), || "the newest position".to_owned())
}

/// Appends an observation with its assessment.
pub(super) async fn add_observation(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    tick: &TickObservation,
    assessment: &Assessment,
) -> Result<(), StoreError> {
    let what = || format!("the observation of tick {} of rollout {id}", tick.seq);
    sqlx::query("INSERT INTO observations (rollout, seq, body, assessment) VALUES (?, ?, ?, ?)")
        .bind(&id.0)
        .bind(integer(tick.seq))
        .bind(encode(tick, what)?)
        .bind(encode(assessment, || format!("the assessment of tick {} of rollout {id}", tick.seq))?)
        .execute(connection)
        .await
        .map_err(|error| taken(error, what))?;
    Ok(())
}

/// Observations with assessments after `after`.
pub(super) async fn observations(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    after: u64,
    most: usize,
) -> Result<Vec<(TickObservation, Assessment)>, StoreError> {
    let statement = "SELECT seq, body, assessment FROM observations \
                     WHERE rollout = ? AND seq > ? ORDER BY seq LIMIT ?";
    let rows = rows_after(connection, statement, id, after, limit(most)).await?;
    rows.iter()
        .map(|row| {
            let assessment =
                part(row, "assessment", |seq| format!("the assessment of tick {seq} of rollout {id}"));
            Ok((tick(row, id)?, assessment?))
        })
        .collect()
}

/// Observations after `after`, all of them, without assessments.
pub(super) async fn ticks(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    after: u64,
) -> Result<Vec<TickObservation>, StoreError> {
    let statement = "SELECT seq, body FROM observations WHERE rollout = ? AND seq > ? ORDER BY seq LIMIT ?";
    let rows = rows_after(connection, statement, id, after, i64::MAX).await?;
    rows.iter().map(|row| tick(row, id)).collect()
}

/// The rows of a rollout after `after`, at most so many.
async fn rows_after(
    connection: &mut SqliteConnection,
    statement: &'static str,
    id: &RolloutId,
    after: u64,
    most: i64,
) -> Result<Vec<SqliteRow>, StoreError> {
    let query = sqlx::query(statement).bind(&id.0).bind(integer(after)).bind(most);
    Ok(query.fetch_all(connection).await?)
}

/// What stands in a column of a row; `what` names it by the row's number.
fn part<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
    what: impl FnOnce(i64) -> String,
) -> Result<T, StoreError> {
    let seq = row.try_get("seq")?;
    decode(row.try_get(column)?, || what(seq))
}

fn tick(row: &SqliteRow, id: &RolloutId) -> Result<TickObservation, StoreError> {
    part(row, "body", |seq| format!("the observation of tick {seq} of rollout {id}"))
}

/// Stores a snapshot of the evidence, and drops the oldest.
pub(super) async fn add_snapshot(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    seq: u64,
    state: &JudgeState,
) -> Result<(), StoreError> {
    let body = encode_cbor(state, || format!("the evidence after tick {seq} of rollout {id}"))?;
    sqlx::query(
        "INSERT INTO evidence (rollout, seq, body) VALUES (?, ?, ?) \
         ON CONFLICT (rollout, seq) DO UPDATE SET body = excluded.body",
    )
    .bind(&id.0)
    .bind(integer(seq))
    .bind(body)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM evidence WHERE rollout = ?1 AND seq NOT IN \
         (SELECT seq FROM evidence WHERE rollout = ?1 ORDER BY seq DESC LIMIT ?2)",
    )
    .bind(&id.0)
    .bind(SNAPSHOTS)
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest snapshot that can be read. One that cannot (its form has changed, or it is damaged) costs
/// only time: the evidence is a function of the observations, which are judged again.
pub(super) async fn snapshot(
    connection: &mut SqliteConnection,
    id: &RolloutId,
) -> Result<Option<(u64, JudgeState)>, StoreError> {
    let rows = sqlx::query("SELECT seq, body FROM evidence WHERE rollout = ? ORDER BY seq DESC")
        .bind(&id.0)
        .fetch_all(connection)
        .await?;
    for row in &rows {
        let seq: i64 = row.try_get("seq")?;
        match ciborium::from_reader(row.try_get::<&[u8], _>("body")?) {
            Ok(state) => {
                return Ok(Some((unsigned(seq, || format!("a tick of rollout {id}"))?, state)));
            }
            Err(error) => tracing::warn!(
                rollout = %id, tick = seq, %error,
                "a snapshot of the evidence cannot be read; older observations are judged again"
            ),
        }
    }
    Ok(None)
}

/// Stores where the counting of a metric has come to.
pub(super) async fn set_cursor(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    metric: &str,
    cursor: &MetricCursor,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO cursors (rollout, metric, body) VALUES (?, ?, ?) \
         ON CONFLICT (rollout, metric) DO UPDATE SET body = excluded.body",
    )
    .bind(&id.0)
    .bind(metric)
    .bind(encode(cursor, || format!("the cursor of metric {metric} of rollout {id}"))?)
    .execute(connection)
    .await?;
    Ok(())
}

/// All cursors of a rollout.
pub(super) async fn cursors(
    connection: &mut SqliteConnection,
    id: &RolloutId,
) -> Result<BTreeMap<String, MetricCursor>, StoreError> {
    let rows = sqlx::query("SELECT metric, body FROM cursors WHERE rollout = ?")
        .bind(&id.0)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let metric: String = row.try_get("metric")?;
            let what = || format!("the cursor of metric {metric} of rollout {id}");
            let cursor = decode(row.try_get("body")?, what)?;
            Ok((metric, cursor))
        })
        .collect()
}
