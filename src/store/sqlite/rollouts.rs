//! Rollouts.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use std::sync::Arc;

use super::codec::{Body, decode, encode, exists, integer, is_body, limit, unsigned};
use super::error::taken;
use super::plans::{self, Kept};
use super::{history, inbox, news, targets};
use crate::core::ids::RolloutId;
use crate::core::rollout::{Command, CommandKind, EventRecord, Force, Giver, Phase, Plan, Rollout};
use crate::ports::{LATELY, RolloutFilter, StoreError};
use crate::store::replay::Replays;
use crate::store::rows::moves::{Pace, Rest};

/// Stores a new rollout, as [`crate::ports::Commits::create_rollout`] says.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    mut rollout: Rollout,
    first: &EventRecord,
    key: Option<&str>,
    supersede: bool,
    (by, replays): (i64, &Replays),
) -> Result<Rollout, StoreError> {
    if let Some(key) = key
        && let Some(made) = find(connection, Column::Key, key).await?
    {
        return with_last(connection, replays, made).await;
    }
    let mark = news::mark(connection, by).await?;
    let mut target = targets::get(connection, &rollout.target).await?;
    match target.active.clone() {
        _ if rollout.not_before.is_some() => insert(connection, &rollout, key).await?,
        None => {
            target.active = Some(rollout.id.clone());
            targets::update(connection, &target, mark).await?;
            insert(connection, &rollout, key).await?;
        }
        Some(active) if !supersede => {
            return Err(StoreError::Occupied { target: rollout.target.clone(), active });
        }
        Some(active) => {
            let older = open(connection, &rollout.target).await?;
            rollout.phase = Phase::Scheduled;
            rollout.plan_mut().supersedes = Some(active);
            insert(connection, &rollout, key).await?;
            for id in &older {
                inbox::put(connection, id, &supersede_command(&rollout, id), rollout.created_at).await?;
            }
        }
    }
    history::add_event(connection, &rollout.id, first).await?;
    news::tell(connection, mark, &rollout.target).await?;
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
    let what = || format!("rollout {}", rollout.id);
    let (last, compared) = judged(rollout)?;
    let inserted = sqlx::query(
        "INSERT INTO rollouts \
         (id, target, revision, phase, ended, created_at, ended_at, idempotency_key, policy, body, last, \
         compared) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&rollout.id.0)
    .bind(&rollout.target)
    .bind(rollout.phase.name())
    .bind(rollout.phase.is_terminal())
    .bind(rollout.created_at.0)
    .bind(rollout.ended_at.map(|at| at.0))
    .bind(key)
    .bind(&rollout.policy.name)
    .bind(encode(&Rest::of(rollout), what)?)
    .bind(last)
    .bind(compared)
    .execute(&mut *connection)
    .await;
    match inserted {
        Ok(_) => plans::insert(connection, rollout).await.map(|_| ()),
        Err(error) if exists(connection, &rollout.id).await? => Err(taken(error, what)),
        Err(error) => Err(taken(error, || format!("the occupation of target {}", rollout.target))),
    }
}

/// What the last look was judged as, once the rollout has ended, and what the step that was left was.
fn judged(rollout: &Rollout) -> Result<(Option<Body>, Option<Body>), StoreError> {
    let id = &rollout.id;
    let last = rollout.last.as_ref().filter(|_| rollout.phase.is_terminal());
    let last =
        last.map(|last| encode(last, || format!("the last assessment of rollout {id}"))).transpose()?;
    let compared = rollout.last_compared.as_ref();
    let compared =
        compared.map(|it| encode(it, || format!("the last comparison of rollout {id}"))).transpose()?;
    Ok((last, compared))
}

/// Stores `rollout` with its revision raised, if nobody has changed it. Gives the number of its looks.
pub(super) async fn update(connection: &mut SqliteConnection, rollout: &Rollout) -> Result<i64, StoreError> {
    let id = &rollout.id;
    let kept = match plans::kept(connection, id).await? {
        Some(kept) => kept,
        None => convert(connection, id).await?,
    };
    let updated =
        sqlx::query("UPDATE progress SET revision = ?3, body = ?4 WHERE number = ?1 AND revision = ?2")
            .bind(kept.number)
            .bind(integer(rollout.revision))
            .bind(integer(rollout.revision + 1))
            .bind(Pace::of(rollout).encode())
            .execute(&mut *connection)
            .await?;
    if updated.rows_affected() != 1 {
        return Err(StoreError::Conflict(format!("rollout {id}")));
    }
    let rest = Rest::of(rollout);
    if !is_body(&rest, &kept.rest) {
        update_rest(connection, rollout, &rest).await?;
    }
    if let Some(history) = rollout.history.as_ref().filter(|_| !kept.has_history) {
        plans::set_history(connection, kept.number, id, history).await?;
    }
    Ok(kept.number)
}

/// What changes seldom.
async fn update_rest(
    connection: &mut SqliteConnection,
    rollout: &Rollout,
    rest: &Rest,
) -> Result<(), StoreError> {
    let id = &rollout.id;
    let (last, compared) = judged(rollout)?;
    sqlx::query(
        "UPDATE rollouts SET phase = ?2, ended = ?3, ended_at = ?4, body = ?5, last = ?6, compared = ?7 \
         WHERE id = ?1",
    )
    .bind(&id.0)
    .bind(rollout.phase.name())
    .bind(rollout.phase.is_terminal())
    .bind(rollout.ended_at.map(|at| at.0))
    .bind(encode(rest, || format!("rollout {id}"))?)
    .bind(last)
    .bind(compared)
    .execute(connection)
    .await
    .map_err(|error| taken(error, || format!("the occupation of target {}", rollout.target)))?;
    Ok(())
}

/// Brings a rollout of the older form into this one.
async fn convert(connection: &mut SqliteConnection, id: &RolloutId) -> Result<Kept, StoreError> {
    let (old, _) = find(connection, Column::Id, &id.0)
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("rollout {id}")))?;
    let number = plans::insert(connection, &old).await?;
    let rest = Rest::of(&old);
    update_rest(connection, &old, &rest).await?;
    for (metric, cursor) in history::old_cursors(connection, id).await? {
        history::set_cursor(connection, number, &metric, &cursor).await?;
    }
    sqlx::query("DELETE FROM cursors WHERE rollout = ?").bind(&id.0).execute(&mut *connection).await?;
    plans::kept(connection, id).await?.ok_or_else(|| StoreError::NotFound(format!("rollout {id}")))
}

/// One rollout.
pub(super) async fn get(
    connection: &mut SqliteConnection,
    replays: &Replays,
    id: &RolloutId,
) -> Result<Rollout, StoreError> {
    let found = find(connection, Column::Id, &id.0).await?;
    let found = found.ok_or_else(|| StoreError::NotFound(format!("rollout {id}")))?;
    with_last(connection, replays, found).await
}

/// What is fixed of a rollout.
pub(super) async fn plan(
    connection: &mut SqliteConnection,
    id: &RolloutId,
) -> Result<Option<Arc<Plan>>, StoreError> {
    Ok(find(connection, Column::Id, &id.0).await?.map(|(rollout, _)| rollout.plan))
}

/// Newest first.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    replays: &Replays,
    filter: &RolloutFilter,
) -> Result<Vec<Rollout>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" WHERE true");
    if let Some(target) = &filter.target {
        query.push(" AND r.target = ").push_bind(target);
    }
    if let Some(targets) = &filter.targets {
        // One parameter for any number of names.
        let names = serde_json::Value::from(targets.as_slice()).to_string();
        query.push(" AND r.target IN (SELECT value FROM json_each(").push_bind(names).push("))");
    }
    if let Some(phase) = &filter.phase {
        query.push(" AND r.phase = ").push_bind(phase);
    }
    match filter.active {
        Some(true) => query.push(" AND r.ended = 0"),
        Some(false) => query.push(" AND r.ended = 1"),
        None => &mut query,
    };
    if let Some(before) = &filter.before {
        query.push(" AND r.id < ").push_bind(&before.0);
    }
    if let Some(since) = filter.since {
        query.push(" AND (r.ended = 0 OR r.ended_at >= ").push_bind(since.0).push(")");
    }
    if let Some(until) = filter.until {
        query.push(" AND r.created_at <= ").push_bind(until.0);
    }
    if let Some(policy) = &filter.policy {
        // Bodies in CBOR that an older version wrote have no column beside them.
        query.push(" AND coalesce(r.policy, ").push_bind(policy).push(") = ").push_bind(policy);
    }
    query.push(" ORDER BY r.id DESC LIMIT ").push_bind(limit(filter.limit));
    let mut rollouts = Vec::new();
    for row in &query.build().fetch_all(&mut *connection).await? {
        let found = read(row)?;
        if filter.policy.as_ref().is_none_or(|policy| found.0.policy.name == *policy) {
            rollouts.push(with_last(connection, replays, found).await?);
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

/// Those of a target that wait for it, whole, oldest first.
pub(super) async fn waiting(
    connection: &mut SqliteConnection,
    replays: &Replays,
    target: &str,
) -> Result<Vec<Rollout>, StoreError> {
    let mut waiting = Vec::new();
    for id in &scheduled(connection, target).await? {
        waiting.push(get(connection, replays, id).await?);
    }
    Ok(waiting)
}

/// Those of a target that ended lately, and those of `others` that have ended.
pub(super) async fn ended<'i>(
    connection: &mut SqliteConnection,
    replays: &Replays,
    target: &str,
    others: impl Iterator<Item = &'i RolloutId>,
) -> Result<Vec<Rollout>, StoreError> {
    let lately = RolloutFilter {
        target: Some(target.to_owned()),
        active: Some(false),
        limit: LATELY,
        ..RolloutFilter::default()
    };
    let mut ended = list(connection, replays, &lately).await?;
    for id in others {
        if ended.iter().any(|known| known.id == *id) {
            continue;
        }
        let other = get(connection, replays, id).await?;
        if other.phase.is_terminal() {
            ended.push(other);
        }
    }
    Ok(ended)
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

const SELECT: &str = "SELECT r.id, r.revision, r.body, r.last, r.compared, plans.number, plans.body AS plan, \
    plans.history, progress.revision AS commits, progress.body AS pace FROM rollouts r \
    LEFT JOIN plans ON plans.rollout = r.id LEFT JOIN progress ON progress.number = plans.number";

/// A rollout without what its last look was judged as, if that has to be judged again.
type Found = (Rollout, bool);

async fn find(
    connection: &mut SqliteConnection,
    column: Column,
    value: &str,
) -> Result<Option<Found>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(match column {
        Column::Id => " WHERE r.id = ",
        Column::Key => " WHERE r.idempotency_key = ",
    });
    query.push_bind(value);
    query.build().fetch_optional(connection).await?.as_ref().map(read).transpose()
}

async fn with_last(
    connection: &mut SqliteConnection,
    replays: &Replays,
    (mut rollout, judge_again): Found,
) -> Result<Rollout, StoreError> {
    if judge_again {
        rollout.last = replays.last(&rollout.id, rollout.tick_seq);
        if rollout.last.is_none() {
            rollout.last = history::last(connection, &rollout.plan, rollout.tick_seq).await?;
            replays.keep(&rollout);
        }
    }
    Ok(rollout)
}

fn read(row: &SqliteRow) -> Result<Found, StoreError> {
    let id: &str = row.try_get("id")?;
    let Some(plan) = row.try_get::<Option<&[u8]>, _>("plan")? else {
        return read_whole(row, id).map(|rollout| (rollout, false));
    };
    let mut plan: Plan = decode(plan, || format!("table plans, rollout {id}"))?;
    if plan.id.0 != id {
        return Err(StoreError::Corrupt(format!("table plans, rollout {id}: the body says {}", plan.id)));
    }
    if let Some(history) = row.try_get::<Option<&[u8]>, _>("history")? {
        plan.history = Some(decode(history, || format!("table plans, the history of rollout {id}"))?);
    }
    let of_progress = |why: &str| StoreError::Corrupt(format!("table progress, rollout {id}: {why}"));
    let (commits, pace): (Option<i64>, Option<&[u8]>) = (row.try_get("commits")?, row.try_get("pace")?);
    let (Some(commits), Some(pace)) = (commits, pace) else {
        return Err(of_progress("there is no row"));
    };
    let revision = unsigned(commits, || format!("table progress, the revision of rollout {id}"))?;
    let pace = Pace::decode(pace).map_err(|why| of_progress(&why.0))?;
    let rest: Rest = decode(row.try_get("body")?, || format!("rollout {id}"))?;
    let assessed = |column: &str| row.try_get::<Option<&[u8]>, _>(column);
    let last = assessed("last")?;
    let last =
        last.map(|last| decode(last, || format!("the last assessment of rollout {id}"))).transpose()?;
    let compared = assessed("compared")?;
    let compared =
        compared.map(|it| decode(it, || format!("the last comparison of rollout {id}"))).transpose()?;
    let rollout = rest.with(Arc::new(plan), revision, pace, last, compared);
    let judge_again = rollout.last.is_none() && rollout.tick_seq > 0 && !rollout.phase.is_terminal();
    Ok((rollout, judge_again))
}

/// A rollout of the older form.
fn read_whole(row: &SqliteRow, id: &str) -> Result<Rollout, StoreError> {
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
