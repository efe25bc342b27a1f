//! The commit of a transition, and the load that a start begins with.

use sqlx::SqliteConnection;

use super::news::{self, Mark};
use super::{history, inbox, outbox, rollouts, targets};
use crate::core::ids::RolloutId;
use crate::core::rollout::Rollout;
use crate::ports::{Commit, Loaded, StoreError, StoredRollout};
use crate::store::replay::Replays;

/// Writes everything of each commit, or nothing of it. An error of the whole is of all of them; the caller
/// undoes it all then.
pub(super) async fn apply_all(
    connection: &mut SqliteConnection,
    commits: &[Commit],
    by: i64,
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mark = news::mark(connection, by).await?;
    if let [only] = commits {
        // Undone with the transaction.
        return apply(connection, only, mark).await.map(|()| vec![Ok(())]);
    }
    let mut done = Vec::with_capacity(commits.len());
    for commit in commits {
        sqlx::query("SAVEPOINT one").execute(&mut *connection).await?;
        let applied = apply(connection, commit, mark).await;
        match &applied {
            Ok(()) => {}
            // A full disk or a lost file is no fault of this commit, and may have undone the others.
            Err(StoreError::Unavailable(why)) => return Err(StoreError::Unavailable(why.clone())),
            Err(_) => {
                sqlx::query("ROLLBACK TO one").execute(&mut *connection).await?;
            }
        }
        sqlx::query("RELEASE one").execute(&mut *connection).await?;
        done.push(applied);
    }
    Ok(done)
}

/// Writes everything of `commit`; the caller undoes it all on an error.
async fn apply(connection: &mut SqliteConnection, commit: &Commit, mark: Mark) -> Result<(), StoreError> {
    if let Some(target) = &commit.target {
        targets::update(connection, target, mark).await?;
    } else if let Some(rollout) = &commit.rollout {
        news::changed(connection, mark, &rollout.target).await?;
    }
    match &commit.rollout {
        Some(rollout) => {
            let number = rollouts::update(connection, rollout).await?;
            append(connection, commit, rollout, number).await?;
        }
        None => needs_no_rollout(commit)?,
    }
    for outgoing in &commit.outbox {
        outbox::add(connection, outgoing).await?;
    }
    for entry in &commit.asked {
        inbox::put(connection, &entry.rollout, &entry.command, entry.at).await?;
    }
    for (key, result) in &commit.commands {
        inbox::settle(connection, key, result).await?;
    }
    Ok(())
}

fn needs_no_rollout(commit: &Commit) -> Result<(), StoreError> {
    let is_empty = commit.events.is_empty()
        && commit.cursors.is_empty()
        && commit.observation.is_none()
        && commit.snapshot.is_none();
    if is_empty {
        return Ok(());
    }
    Err(StoreError::NotFound("the rollout that a commit's events or observations are of".to_owned()))
}

/// What belongs to the commit's rollout.
async fn append(
    connection: &mut SqliteConnection,
    commit: &Commit,
    rollout: &Rollout,
    number: i64,
) -> Result<(), StoreError> {
    for (metric, cursor) in &commit.cursors {
        history::set_cursor(connection, number, metric, cursor).await?;
    }
    if let Some((tick, _)) = &commit.observation {
        history::add_observation(connection, number, &rollout.plan, tick).await?;
    }
    if let Some((seq, state)) = &commit.snapshot {
        history::add_snapshot(connection, &rollout.id, *seq, state, rollout.last.as_ref()).await?;
    }
    for event in &commit.events {
        history::add_event(connection, &rollout.id, event).await?;
    }
    Ok(())
}

/// Everything of a target that its engine needs to go on.
pub(super) async fn load_target(
    connection: &mut SqliteConnection,
    replays: &Replays,
    name: &str,
    known: Option<u64>,
    keys: &[String],
) -> Result<Loaded, StoreError> {
    let target = targets::get(connection, name).await?;
    let rollout = match &target.active {
        _ if known == Some(target.revision) => None,
        Some(id) => Some(Some(load(connection, replays, id).await?)),
        None => Some(None),
    };
    let inbox = inbox::pending_of(connection, name).await?;
    let scheduled = rollouts::waiting(connection, replays, name).await?;
    let ended = rollouts::ended(connection, replays, name, inbox.iter().map(|entry| &entry.rollout)).await?;
    let done = inbox::done(connection, keys).await?;
    Ok(Loaded { target, rollout, inbox, scheduled, ended, done })
}

/// Everything of a rollout that the engine needs to go on.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    replays: &Replays,
    id: &RolloutId,
) -> Result<StoredRollout, StoreError> {
    let rollout = rollouts::get(connection, replays, id).await?;
    let cursors = history::cursors(connection, id).await?;
    let snapshot = history::snapshot(connection, id, u64::MAX).await?;
    let snapshot = snapshot.map(|snapshot| (snapshot.seq, snapshot.state));
    let after = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
    let observations = history::ticks(connection, &rollout.plan, after, i64::MAX).await?;
    let looked_at = match observations.last() {
        Some(last) => Some(last.at),
        // Right after a snapshot there are none.
        None => history::ticks(connection, &rollout.plan, rollout.tick_seq.saturating_sub(1), 1)
            .await?
            .last()
            .map(|last| last.at),
    };
    Ok(StoredRollout { rollout, cursors, snapshot, observations, looked_at })
}
