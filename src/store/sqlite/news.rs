//! What is new since somebody last looked.

use sqlx::{Row, SqliteConnection};

use super::codec::{integer, unsigned};
use crate::core::ids::RolloutId;
use crate::ports::{Position, StoreError};

/// By the indexes, whatever SQLite believes of the order in which names are wanted.
const NEWS: &str = "SELECT name FROM targets INDEXED BY targets_told WHERE told > ?1 UNION ALL \
    SELECT name FROM targets INDEXED BY targets_changed WHERE changed > ?1 AND changed_by <> ?2";

/// What a transaction leaves at the targets that it changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Its position.
    pub position: i64,
    /// The process that writes.
    pub by: i64,
}

/// A number for a process that has opened the file.
pub(super) async fn writer(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let statement = "UPDATE news SET writer = writer + 1 RETURNING writer";
    Ok(sqlx::query_scalar(statement).fetch_one(connection).await?)
}

/// The mark of the transaction at hand.
pub(super) async fn mark(connection: &mut SqliteConnection, by: i64) -> Result<Mark, StoreError> {
    let statement = "UPDATE news SET position = position + 1 RETURNING position";
    let position = sqlx::query_scalar(statement).fetch_one(connection).await?;
    Ok(Mark { position, by })
}

/// A target's engine has something to look at.
pub(super) async fn tell(
    connection: &mut SqliteConnection,
    mark: Mark,
    target: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE targets SET told = ? WHERE name = ?")
        .bind(mark.position)
        .bind(target)
        .execute(connection)
        .await?;
    Ok(())
}

/// The same of a rollout's target.
pub(super) async fn tell_of(
    connection: &mut SqliteConnection,
    mark: Mark,
    rollout: &RolloutId,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE targets SET told = ? WHERE name = (SELECT target FROM rollouts WHERE id = ?)")
        .bind(mark.position)
        .bind(&rollout.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// All engines have something to look at.
pub(super) async fn tell_everyone(connection: &mut SqliteConnection, mark: Mark) -> Result<(), StoreError> {
    sqlx::query("UPDATE news SET everyone = ?").bind(mark.position).execute(connection).await?;
    Ok(())
}

/// Something of the target was committed, though not the target itself.
pub(super) async fn changed(
    connection: &mut SqliteConnection,
    mark: Mark,
    target: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE targets SET changed = ?, changed_by = ? WHERE name = ?")
        .bind(mark.position)
        .bind(mark.by)
        .bind(target)
        .execute(connection)
        .await?;
    Ok(())
}

/// The newest position, and the targets with something new after `after` that is not of `me`.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    after: Position,
    me: i64,
) -> Result<(Position, Vec<String>), StoreError> {
    let row = sqlx::query("SELECT position, everyone FROM news").fetch_one(&mut *connection).await?;
    let (position, everyone): (i64, i64) = (row.try_get("position")?, row.try_get("everyone")?);
    let newest = Position(unsigned(position, || "table news, the position".to_owned())?);
    let since = integer(after.0);
    if newest <= after {
        return Ok((newest, Vec::new()));
    }
    let names = if everyone > since {
        sqlx::query_scalar("SELECT name FROM targets ORDER BY name").fetch_all(connection).await?
    } else {
        let mut names: Vec<String> =
            sqlx::query_scalar(NEWS).bind(since).bind(me).fetch_all(connection).await?;
        names.sort_unstable();
        names.dedup();
        names
    };
    Ok((newest, names))
}
