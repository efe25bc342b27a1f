//! What is remembered of alerts.

use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, integer, limit};
use crate::core::alert::{Alert, AlertRecord, BEFORE, MOST_REMEMBERED};
use crate::core::time::Timestamp;
use crate::ports::StoreError;

/// Takes in alerts of a target.
pub(super) async fn receive(
    connection: &mut SqliteConnection,
    target: &str,
    alerts: &[Alert],
) -> Result<(), StoreError> {
    for alert in alerts {
        let what = || format!("alert {} of {target}", alert.id);
        let known: Option<sqlx::sqlite::SqliteRow> =
            sqlx::query("SELECT body FROM alerts WHERE target = ? AND id = ?")
                .bind(target)
                .bind(&alert.id)
                .fetch_optional(&mut *connection)
                .await?;
        let record = match known {
            Some(row) => {
                let mut record: AlertRecord = decode(row.try_get("body")?, what)?;
                record.receive(alert);
                record
            }
            None => match AlertRecord::new(alert) {
                Some(record) => record,
                None => continue,
            },
        };
        sqlx::query(
            "INSERT INTO alerts (target, id, last_at, body) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (target, id) DO UPDATE SET last_at = ?3, body = ?4",
        )
        .bind(target)
        .bind(&alert.id)
        .bind(record.last_at.0)
        .bind(encode(&record, what)?)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "DELETE FROM alerts WHERE target = ?1 AND id NOT IN \
         (SELECT id FROM alerts WHERE target = ?1 ORDER BY last_at DESC, id LIMIT ?2)",
    )
    .bind(target)
    .bind(limit(MOST_REMEMBERED))
    .execute(connection)
    .await?;
    Ok(())
}

/// Everything that is remembered of a target, the newest first.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    target: &str,
) -> Result<Vec<AlertRecord>, StoreError> {
    let rows = sqlx::query("SELECT id, body FROM alerts WHERE target = ? ORDER BY last_at DESC, id")
        .bind(target)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id")?;
            decode(row.try_get("body")?, || format!("alert {id} of {target}"))
        })
        .collect()
}

/// Removes what no rollout asks for any more, at most `rows` of it.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    now: Timestamp,
    rows: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM alerts WHERE (target, id) IN \
         (SELECT target, id FROM alerts WHERE last_at < ? ORDER BY last_at LIMIT ?)",
    )
    .bind(now.minus(2 * BEFORE).0)
    .bind(integer(rows))
    .execute(connection)
    .await?;
    Ok(())
}
