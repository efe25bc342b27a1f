//! Rollouts.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::codec::{decode, encode, exists, integer, limit};
use super::error::taken;
use super::{history, inbox, targets};
use crate::core::rollout::{Command, CommandKind, EventRecord, Force, Giver, Phase, Rollout, RolloutId};
use crate::ports::{RolloutFilter, StoreError};

/// Stores a new rollout, as [`crate::ports::Store::create_rollout`] says.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    mut rollout: Rollout,
    first: &EventRecord,
    key: Option<&str>,
    supersede: bool,
) -> Result<Rollout, StoreError> {
    if let Some(key) = key
        && let Some(made) = find(connection, Column::Key, key).await?
    {
        return Ok(made);
    }
    let mut target = targets::get(connection, &rollout.target).await?;
    match target.active.clone() {
        _ if rollout.not_before.is_some() => insert(connection, &rollout, key).await?,
        None => {
            target.active = Some(rollout.id.clone());
            targets::update(connection, &target).await?;
            insert(connection, &rollout, key).await?;
        }
        Some(active) if !supersede => {
            return Err(StoreError::Occupied { target: rollout.target, active });
        }
        Some(active) => {
            let older = open(connection, &rollout.target).await?;
            rollout.phase = Phase::Scheduled;
            rollout.supersedes = Some(active);
            insert(connection, &rollout, key).await?;
            for id in &older {
                inbox::enqueue(connection, id, &supersede_command(&rollout, id), rollout.created_at).await?;
            }
        }
    }
    history::add_event(connection, &rollout.id, first).await?;
    Ok(rollout)
}

fn supersede_command(newer: &Rollout, older: &RolloutId) -> Command {
    Command {
        key: format!("supersede/{}/{older}", newer.id),
        by: newer.created_by.clone(),
        reason: Some(format!("version {} is to be released instead", newer.version)),
        expected_revision: None,
        kind: CommandKind::Supersede { by: newer.id.clone() },
        giver: Giver::Program,
        force: Force::default(),
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    rollout: &Rollout,
    key: Option<&str>,
) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO rollouts \
         (id, target, revision, phase, ended, created_at, ended_at, idempotency_key, policy, body) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&rollout.id.0)
    .bind(&rollout.target)
    .bind(integer(rollout.revision))
    .bind(rollout.phase.name())
    .bind(rollout.phase.is_terminal())
    .bind(rollout.created_at.0)
    .bind(rollout.ended_at.map(|at| at.0))
    .bind(key)
    .bind(&rollout.policy.name)
    .bind(encode(rollout, || format!("rollout {}", rollout.id))?)
    .execute(&mut *connection)
    .await;
    match inserted {
        Ok(_) => Ok(()),
        Err(error) if exists(connection, &rollout.id).await? => {
            Err(taken(error, || format!("rollout {}", rollout.id)))
        }
        Err(error) => Err(taken(error, || format!("the occupation of target {}", rollout.target))),
    }
}

/// Stores `rollout` with its revision raised, if nobody has changed it.
pub(super) async fn update(connection: &mut SqliteConnection, rollout: &Rollout) -> Result<(), StoreError> {
    let id = &rollout.id;
    let next = Rollout { revision: rollout.revision + 1, ..rollout.clone() };
    let updated = sqlx::query(
        "UPDATE rollouts SET revision = ?3, phase = ?4, ended = ?5, ended_at = ?6, body = ?7, \
         policy = ?8 \
         WHERE id = ?1 AND revision = ?2",
    )
    .bind(&id.0)
    .bind(integer(rollout.revision))
    .bind(integer(next.revision))
    .bind(next.phase.name())
    .bind(next.phase.is_terminal())
    .bind(next.ended_at.map(|at| at.0))
    .bind(encode(&next, || format!("rollout {id}"))?)
    .bind(&next.policy.name)
    .execute(&mut *connection)
    .await
    .map_err(|error| taken(error, || format!("the occupation of target {}", rollout.target)))?;
    if updated.rows_affected() == 1 {
        return Ok(());
    }
    get(connection, id).await?;
    Err(StoreError::Conflict(format!("rollout {id}")))
}

/// One rollout.
pub(super) async fn get(connection: &mut SqliteConnection, id: &RolloutId) -> Result<Rollout, StoreError> {
    find(connection, Column::Id, &id.0).await?.ok_or_else(|| StoreError::NotFound(format!("rollout {id}")))
}

/// Newest first.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    filter: &RolloutFilter,
) -> Result<Vec<Rollout>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT id, revision, body FROM rollouts WHERE true");
    if let Some(target) = &filter.target {
        query.push(" AND target = ").push_bind(target);
    }
    if let Some(targets) = &filter.targets {
        // One parameter for any number of names.
        let names = serde_json::Value::from(targets.as_slice()).to_string();
        query.push(" AND target IN (SELECT value FROM json_each(").push_bind(names).push("))");
    }
    if let Some(phase) = &filter.phase {
        query.push(" AND phase = ").push_bind(phase);
    }
    match filter.active {
        Some(true) => query.push(" AND ended = 0"),
        Some(false) => query.push(" AND ended = 1"),
        None => &mut query,
    };
    if let Some(before) = &filter.before {
        query.push(" AND id < ").push_bind(&before.0);
    }
    if let Some(since) = filter.since {
        query.push(" AND (ended = 0 OR ended_at >= ").push_bind(since.0).push(")");
    }
    if let Some(until) = filter.until {
        query.push(" AND created_at <= ").push_bind(until.0);
    }
    if let Some(policy) = &filter.policy {
        // Bodies in CBOR that an older version wrote have no column beside them.
        query.push(" AND coalesce(policy, ").push_bind(policy).push(") = ").push_bind(policy);
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(limit(filter.limit));
    let mut rollouts = Vec::new();
    for row in &query.build().fetch_all(connection).await? {
        let rollout = read(row)?;
        if filter.policy.as_ref().is_none_or(|policy| rollout.policy.name == *policy) {
            rollouts.push(rollout);
        }
    }
    Ok(rollouts)
}

/// Scheduled ones of a target, oldest first.
pub(super) async fn scheduled(
    connection: &mut SqliteConnection,
    target: &str,
) -> Result<Vec<RolloutId>, StoreError> {
    let ids = sqlx::query_scalar(
        "SELECT id FROM rollouts WHERE ended = 0 AND phase = 'scheduled' AND target = ? ORDER BY id",
    )
    .bind(target)
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(RolloutId).collect())
}

/// Those of a target that are not at an end, oldest first.
async fn open(connection: &mut SqliteConnection, target: &str) -> Result<Vec<RolloutId>, StoreError> {
    let ids = sqlx::query_scalar("SELECT id FROM rollouts WHERE ended = 0 AND target = ? ORDER BY id")
        .bind(target)
        .fetch_all(connection)
        .await?;
    Ok(ids.into_iter().map(RolloutId).collect())
}

enum Column {
    Id,
    Key,
}

async fn find(
    connection: &mut SqliteConnection,
    column: Column,
    value: &str,
) -> Result<Option<Rollout>, StoreError> {
    let statement = match column {
        Column::Id => "SELECT id, revision, body FROM rollouts WHERE id = ?",
        Column::Key => "SELECT id, revision, body FROM rollouts WHERE idempotency_key = ?",
    };
    sqlx::query(statement).bind(value).fetch_optional(connection).await?.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<Rollout, StoreError> {
    let id: &str = row.try_get("id")?;
    let rollout: Rollout = decode(row.try_get("body")?, || format!("rollout {id}"))?;
    let revision: i64 = row.try_get("revision")?;
    if rollout.id.0 != id || integer(rollout.revision) != revision {
        return Err(StoreError::Corrupt(format!(
            "rollout {id}: the body says {} at revision {}, the columns revision {revision}",
            rollout.id, rollout.revision
        )));
    }
    Ok(rollout)
}
