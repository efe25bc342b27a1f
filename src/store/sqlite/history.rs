//! What a rollout leaves behind: log lines, observations, evidence and cursors.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, encode_cbor, integer, limit, unsigned};
use super::error::taken;
use crate::core::ids::RolloutId;
use crate::core::judge::{Assessment, JudgeState};
use crate::core::metric::{MetricCursor, TickObservation};
use crate::core::rollout::{EventRecord, Plan};
use crate::ports::StoreError;
use crate::store::replay;
use crate::store::rows::{cursor, look};

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

/// Appends an observation.
pub(super) async fn add_observation(
    connection: &mut SqliteConnection,
    number: i64,
    plan: &Plan,
    tick: &TickObservation,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO looks (number, seq, body) VALUES (?, ?, ?)")
        .bind(number)
        .bind(integer(tick.seq))
        .bind(look::encode(tick, plan))
        .execute(connection)
        .await
        .map_err(|error| {
            taken(error, || format!("the observation of tick {} of rollout {}", tick.seq, plan.id))
        })?;
    Ok(())
}

/// What the last look of a rollout was judged as.
pub(super) async fn last(
    connection: &mut SqliteConnection,
    plan: &Arc<Plan>,
    seq: u64,
) -> Result<Option<Assessment>, StoreError> {
    let snapshot = snapshot(connection, &plan.id, seq).await?;
    if let Some(Snapshot { assessment: Some(assessment), .. }) = snapshot.as_ref().filter(|s| s.seq == seq) {
        return Ok(Some(assessment.clone()));
    }
    // A snapshot of the last look tells nothing of it: judged again from the beginning.
    let snapshot = snapshot.filter(|snapshot| snapshot.seq < seq);
    let after = snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
    let ticks = ticks(connection, plan, after, i64::MAX).await?;
    let (judged, _) = replay::judge(plan, snapshot.map(|snapshot| snapshot.state), ticks).await?;
    Ok(judged.into_iter().next_back().map(|(_, assessment)| assessment))
}

/// Observations after `after`, at most so many, without assessments. Those that an older version wrote stand
/// in a table of their own and come before all others.
pub(super) async fn ticks(
    connection: &mut SqliteConnection,
    plan: &Plan,
    after: u64,
    most: i64,
) -> Result<Vec<TickObservation>, StoreError> {
    let id = &plan.id;
    let statement = "SELECT seq, body FROM observations WHERE rollout = ? AND seq > ? ORDER BY seq LIMIT ?";
    let rows = rows_after(connection, statement, id, after, most).await?;
    let mut ticks = Vec::with_capacity(rows.len());
    for row in &rows {
        ticks.push(part(row, "body", |seq| format!("the observation of tick {seq} of rollout {id}"))?);
    }
    let left = most.saturating_sub(limit(ticks.len()));
    let statement = "SELECT seq, body FROM looks WHERE number = (SELECT number FROM plans WHERE rollout = ?) \
                     AND seq > ? ORDER BY seq LIMIT ?";
    for row in &rows_after(connection, statement, id, after, left).await? {
        let seq: i64 = row.try_get("seq")?;
        let what = || format!("table looks, tick {seq} of rollout {id}");
        let tick = look::decode(row.try_get("body")?, unsigned(seq, what)?, plan);
        ticks.push(tick.map_err(|why| StoreError::Corrupt(format!("{}: {why}", what())))?);
    }
    Ok(ticks)
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

/// Stores a snapshot of the evidence, and drops the oldest.
pub(super) async fn add_snapshot(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    seq: u64,
    state: &JudgeState,
    last: Option<&Assessment>,
) -> Result<(), StoreError> {
    let assessment = match last.filter(|last| last.seq == seq) {
        Some(last) => Some(encode(last, || format!("the assessment of tick {seq} of rollout {id}"))?),
        None => None,
    };
    let body = encode_cbor(state, || format!("the evidence after tick {seq} of rollout {id}"))?;
    sqlx::query(
        "INSERT INTO evidence (rollout, seq, body, assessment) VALUES (?, ?, ?, ?) \
         ON CONFLICT (rollout, seq) DO UPDATE SET body = excluded.body, assessment = excluded.assessment",
    )
    .bind(&id.0)
    .bind(integer(seq))
    .bind(body)
    .bind(assessment)
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

/// The evidence after a look.
pub(super) struct Snapshot {
    pub seq: u64,
    pub state: JudgeState,
    /// What the look was judged as, where that was kept.
    pub assessment: Option<Assessment>,
}

/// The newest snapshot until a look that can be read. One that cannot (its form has changed, or it is damaged)
/// costs only time: the evidence is a function of the observations, which are judged again.
pub(super) async fn snapshot(
    connection: &mut SqliteConnection,
    id: &RolloutId,
    until: u64,
) -> Result<Option<Snapshot>, StoreError> {
    let statement =
        "SELECT seq, body, assessment FROM evidence WHERE rollout = ? AND seq <= ? ORDER BY seq DESC";
    let query = sqlx::query(statement).bind(&id.0).bind(integer(until));
    for row in &query.fetch_all(connection).await? {
        let number: i64 = row.try_get("seq")?;
        let seq = unsigned(number, || format!("a tick of rollout {id}"))?;
        let assessment: Option<&[u8]> = row.try_get("assessment")?;
        match ciborium::from_reader(row.try_get::<&[u8], _>("body")?) {
            Ok(state) => {
                let assessment = assessment.and_then(|bytes| decode(bytes, String::new).ok());
                return Ok(Some(Snapshot { seq, state, assessment }));
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
    number: i64,
    metric: &str,
    cursor: &MetricCursor,
) -> Result<(), StoreError> {
    let (names, numbers) = cursor::encode(cursor);
    for (statement, body) in [
        (
            "INSERT INTO cursor_names (number, metric, body) VALUES (?, ?, ?) ON CONFLICT (number, metric) \
             DO UPDATE SET body = excluded.body WHERE cursor_names.body <> excluded.body",
            names,
        ),
        (
            "INSERT INTO cursor_numbers (number, metric, body) VALUES (?, ?, ?) ON CONFLICT (number, metric) \
             DO UPDATE SET body = excluded.body",
            numbers,
        ),
    ] {
        sqlx::query(statement).bind(number).bind(metric).bind(body).execute(&mut *connection).await?;
    }
    Ok(())
}

/// All cursors of a rollout.
pub(super) async fn cursors(
    connection: &mut SqliteConnection,
    id: &RolloutId,
) -> Result<BTreeMap<String, MetricCursor>, StoreError> {
    let mut cursors = old_cursors(connection, id).await?;
    let rows = sqlx::query(
        "SELECT names.metric, names.body AS names, numbers.body AS numbers FROM plans \
         JOIN cursor_names names ON names.number = plans.number \
         LEFT JOIN cursor_numbers numbers ON numbers.number = plans.number AND numbers.metric = names.metric \
         WHERE plans.rollout = ?",
    )
    .bind(&id.0)
    .fetch_all(connection)
    .await?;
    for row in &rows {
        let metric: String = row.try_get("metric")?;
        let numbers: Option<&[u8]> = row.try_get("numbers")?;
        let cursor = cursor::decode(row.try_get("names")?, numbers.unwrap_or_default()).map_err(|why| {
            StoreError::Corrupt(format!("the cursor of metric {metric} of rollout {id}: {why}"))
        })?;
        cursors.insert(metric, cursor);
    }
    Ok(cursors)
}

/// Those that an older version wrote, until the rollout is converted.
pub(super) async fn old_cursors(
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
