//! Targets.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode, integer};
use super::news::{self, Mark};
use crate::core::target::Target;
use crate::ports::StoreError;

/// Makes those that are not there, and raises the epoch of each by one.
pub(super) async fn own(
    connection: &mut SqliteConnection,
    by: i64,
    names: &[String],
) -> Result<Vec<Target>, StoreError> {
    let mark = news::mark(connection, by).await?;
    let mut owned: Vec<Target> = Vec::with_capacity(names.len());
    for name in names {
        if owned.iter().any(|target| target.name == *name) {
            continue;
        }
        let found = find(connection, name).await?;
        let is_new = found.is_none();
        let mut target = found.unwrap_or_else(|| Target::new(name));
        target.epoch += 1;
        let body = encode(&target, || format!("target {name}"))?;
        let statement = if is_new {
            "INSERT INTO targets (name, revision, epoch, active, body, changed, changed_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
        } else {
            "UPDATE targets SET revision = ?2, epoch = ?3, active = ?4, body = ?5, changed = ?6, \
             changed_by = ?7 WHERE name = ?1"
        };
        sqlx::query(statement)
            .bind(name)
            .bind(integer(target.revision))
            .bind(integer(target.epoch))
            .bind(target.active.as_ref().map(|id| id.0.as_str()))
            .bind(body)
            .bind(mark.position)
            .bind(mark.by)
            .execute(&mut *connection)
            .await?;
        owned.push(target);
    }
    Ok(owned)
}

/// One target.
pub(super) async fn get(connection: &mut SqliteConnection, name: &str) -> Result<Target, StoreError> {
    find(connection, name).await?.ok_or_else(|| StoreError::NotFound(format!("target {name}")))
}

/// All targets, by name.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Target>, StoreError> {
    sqlx::query("SELECT name, revision, epoch, body FROM targets ORDER BY name")
        .fetch_all(connection)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Stores `target` with its revision raised, if nobody has changed it or taken it over.
pub(super) async fn update(
    connection: &mut SqliteConnection,
    target: &Target,
    mark: Mark,
) -> Result<(), StoreError> {
    let name = &target.name;
    let next = Target { revision: target.revision + 1, ..target.clone() };
    let updated = sqlx::query(
        "UPDATE targets SET revision = ?4, active = ?5, body = ?6, changed = ?7, changed_by = ?8 \
         WHERE name = ?1 AND revision = ?2 AND epoch = ?3",
    )
    .bind(name)
    .bind(integer(target.revision))
    .bind(integer(target.epoch))
    .bind(integer(next.revision))
    .bind(next.active.as_ref().map(|id| id.0.as_str()))
    .bind(encode(&next, || format!("target {name}"))?)
    .bind(mark.position)
    .bind(mark.by)
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() == 1 {
        return Ok(());
    }
    let stored = get(connection, name).await?;
    Err(StoreError::Conflict(if stored.epoch == target.epoch {
        format!("target {name}")
    } else {
        format!("the owner of target {name}")
    }))
}

async fn find(connection: &mut SqliteConnection, name: &str) -> Result<Option<Target>, StoreError> {
    sqlx::query("SELECT name, revision, epoch, body FROM targets WHERE name = ?")
        .bind(name)
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

fn read(row: &SqliteRow) -> Result<Target, StoreError> {
    let name: &str = row.try_get("name")?;
    let target: Target = decode(row.try_get("body")?, || format!("target {name}"))?;
    let (revision, epoch): (i64, i64) = (row.try_get("revision")?, row.try_get("epoch")?);
    if target.name != name || integer(target.revision) != revision || integer(target.epoch) != epoch {
        return Err(StoreError::Corrupt(format!(
            "target {name}: the body says {} at revision {} and epoch {}, the columns revision {revision} \
             and epoch {epoch}",
            target.name, target.revision, target.epoch
        )));
    }
    Ok(target)
}
