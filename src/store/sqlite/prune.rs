//! Retention. Bounded in rollouts by the caller and in rows here, so that no removal holds up a commit
//! for long; what is left over is taken by the next call.

use sqlx::SqliteConnection;

use super::codec::limit;
use crate::core::time::Timestamp;
use crate::ports::{Retention, StoreError};

/// Observations that one call removes at most. A long rollout has some hundred thousand.
pub(super) const ROWS: u64 = 5_000;

/// Removes what is no longer kept; the number of rollouts that something was removed of.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    retention: Retention,
    now: Timestamp,
    most: usize,
) -> Result<u64, StoreError> {
    let mut rows = ROWS;
    let mut touched = 0;
    super::access::prune_audit(connection, now.minus(retention.rollouts), ROWS).await?;
    super::alerts::prune(connection, now, ROWS).await?;
    super::memory::prune(connection, now.minus(retention.rollouts), ROWS).await?;
    for id in removable(connection, now.minus(retention.rollouts), most).await? {
        touched += 1;
        if !slim(connection, &id, &mut rows).await? {
            return Ok(touched);
        }
        remove(connection, &id).await?;
    }
    let most = most.saturating_sub(usize::try_from(touched).unwrap_or(usize::MAX));
    for id in slimmable(connection, now.minus(retention.observations), most).await? {
        touched += 1;
        if !slim(connection, &id, &mut rows).await? {
            return Ok(touched);
        }
        sqlx::query("UPDATE rollouts SET slim = 1 WHERE id = ?").bind(&id).execute(&mut *connection).await?;
    }
    Ok(touched)
}

/// Ended before `before`, not held by its target, and with nothing left to tell anybody.
async fn removable(
    connection: &mut SqliteConnection,
    before: Timestamp,
    most: usize,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar(
        "SELECT id FROM rollouts WHERE ended = 1 AND ended_at < ? \
         AND NOT EXISTS (SELECT 1 FROM targets WHERE name = rollouts.target AND active = rollouts.id) \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE rollout = rollouts.id \
             AND state IN ('pending', 'running')) \
         ORDER BY ended_at, id LIMIT ?",
    )
    .bind(before.0)
    .bind(limit(most))
    .fetch_all(connection)
    .await?;
    Ok(ids)
}

/// Ended before `before`, not held by its target, and with its observations.
async fn slimmable(
    connection: &mut SqliteConnection,
    before: Timestamp,
    most: usize,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar(
        "SELECT id FROM rollouts WHERE ended = 1 AND ended_at < ? AND slim = 0 \
         AND NOT EXISTS (SELECT 1 FROM targets WHERE name = rollouts.target AND active = rollouts.id) \
         ORDER BY ended_at, id LIMIT ?",
    )
    .bind(before.0)
    .bind(limit(most))
    .fetch_all(connection)
    .await?;
    Ok(ids)
}

/// Removes observations, evidence and cursors; false if `rows` did not suffice.
async fn slim(connection: &mut SqliteConnection, id: &str, rows: &mut u64) -> Result<bool, StoreError> {
    for statement in [
        "DELETE FROM observations WHERE rowid IN \
         (SELECT rowid FROM observations WHERE rollout = ? ORDER BY seq LIMIT ?)",
        "DELETE FROM looks WHERE (number, seq) IN (SELECT number, seq FROM looks \
         WHERE number = (SELECT number FROM plans WHERE rollout = ?) ORDER BY seq LIMIT ?)",
    ] {
        let query = sqlx::query(statement).bind(id).bind(super::codec::integer(*rows));
        let removed = query.execute(&mut *connection).await?.rows_affected();
        *rows = rows.saturating_sub(removed);
        if *rows == 0 {
            return Ok(false);
        }
    }
    for statement in [
        "DELETE FROM evidence WHERE rollout = ?",
        "DELETE FROM cursors WHERE rollout = ?",
        "DELETE FROM cursor_names WHERE number = (SELECT number FROM plans WHERE rollout = ?)",
        "DELETE FROM cursor_numbers WHERE number = (SELECT number FROM plans WHERE rollout = ?)",
    ] {
        sqlx::query(statement).bind(id).execute(&mut *connection).await?;
    }
    Ok(true)
}

async fn remove(connection: &mut SqliteConnection, id: &str) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM events WHERE rollout = ?",
        "DELETE FROM inbox WHERE rollout = ?",
        "DELETE FROM outbox WHERE rollout = ?",
        "DELETE FROM progress WHERE number = (SELECT number FROM plans WHERE rollout = ?)",
        "DELETE FROM plans WHERE rollout = ?",
        "DELETE FROM rollouts WHERE id = ?",
    ] {
        sqlx::query(statement).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}
