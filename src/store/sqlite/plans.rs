//! What is fixed of a rollout, and the number that stands for it in the rows of its looks.

use std::sync::Arc;

use sqlx::{Row, SqliteConnection};

use super::codec::{encode, integer};
use super::error::taken;
use crate::core::ids::RolloutId;
use crate::core::judge::History;
use crate::core::rollout::Rollout;
use crate::ports::StoreError;
use crate::store::rows::moves::Pace;

/// What a commit has to know of the rows that are there.
pub(super) struct Kept {
    pub number: i64,
    pub has_history: bool,
    /// The body of what changes seldom.
    pub rest: Vec<u8>,
}

/// Of a rollout that has a row here; one of the older form has none.
pub(super) async fn kept(
    connection: &mut SqliteConnection,
    id: &RolloutId,
) -> Result<Option<Kept>, StoreError> {
    let row = sqlx::query(
        "SELECT plans.number, plans.history IS NOT NULL AS has_history, r.body FROM plans \
         JOIN rollouts r ON r.id = plans.rollout WHERE plans.rollout = ?",
    )
    .bind(&id.0)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let rest = row.try_get::<&[u8], _>("body")?.to_vec();
    Ok(Some(Kept { number: row.try_get("number")?, has_history: row.try_get("has_history")?, rest }))
}

/// Stores the plan of a rollout and where the rollout has come to, and gives it a number.
pub(super) async fn insert(connection: &mut SqliteConnection, rollout: &Rollout) -> Result<i64, StoreError> {
    let id = &rollout.id;
    let what = || format!("the plan of rollout {id}");
    let mut plan = Arc::clone(&rollout.plan);
    let history = match &rollout.history {
        Some(history) => {
            Arc::make_mut(&mut plan).history = None;
            Some(encode(history, || format!("the history of rollout {id}"))?)
        }
        None => None,
    };
    let number: i64 =
        sqlx::query_scalar("INSERT INTO plans (rollout, body, history) VALUES (?, ?, ?) RETURNING number")
            .bind(&id.0)
            .bind(encode(plan.as_ref(), what)?)
            .bind(history)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| taken(error, what))?;
    sqlx::query("INSERT INTO progress (number, revision, body) VALUES (?, ?, ?)")
        .bind(number)
        .bind(integer(rollout.revision))
        .bind(Pace::of(rollout).encode())
        .execute(connection)
        .await?;
    Ok(number)
}

/// Stores what the metrics' pasts told.
pub(super) async fn set_history(
    connection: &mut SqliteConnection,
    number: i64,
    id: &RolloutId,
    history: &History,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE plans SET history = ? WHERE number = ?")
        .bind(encode(history, || format!("the history of rollout {id}"))?)
        .bind(number)
        .execute(connection)
        .await?;
    Ok(())
}
