//! The commit of a transition, and the load that a start begins with.

use sqlx::SqliteConnection;

use super::{history, inbox, outbox, rollouts, targets};
use crate::core::rollout::RolloutId;
use crate::ports::{Commit, StoreError, StoredRollout};

/// Writes everything of `commit`; the caller undoes it all on an error.
pub(super) async fn apply(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    if let Some(target) = &commit.target {
        targets::update(connection, target).await?;
    }
    if let Some(rollout) = &commit.rollout {
        rollouts::update(connection, rollout).await?;
    }
    append(connection, commit).await?;
    for outgoing in &commit.outbox {
        outbox::add(connection, outgoing).await?;
    }
    for (key, result) in &commit.commands {
        inbox::settle(connection, key, result).await?;
    }
    Ok(())
}

/// What belongs to the commit's rollout.
async fn append(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let Some(id) = commit.rollout.as_ref().map(|rollout| &rollout.id) else {
        let is_empty = commit.events.is_empty()
            && commit.cursors.is_empty()
            && commit.observation.is_none()
            && commit.snapshot.is_none();
        return if is_empty {
            Ok(())
        } else {
            Err(StoreError::NotFound("the rollout that a commit's events or observations are of".to_owned()))
        };
    };
    for (metric, cursor) in &commit.cursors {
        history::set_cursor(connection, id, metric, cursor).await?;
    }
    if let Some((tick, assessment)) = &commit.observation {
        history::add_observation(connection, id, tick, assessment).await?;
    }
    if let Some((seq, state)) = &commit.snapshot {
        history::add_snapshot(connection, id, *seq, state).await?;
    }
    for event in &commit.events {
        history::add_event(connection, id, event).await?;
    }
    Ok(())
}

/// Everything of a rollout that the engine needs to go on.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    id: &RolloutId,
) -> Result<StoredRollout, StoreError> {
    let rollout = rollouts::get(connection, id).await?;
    let cursors = history::cursors(connection, id).await?;
    let snapshot = history::snapshot(connection, id).await?;
    let after = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
    let observations = history::ticks(connection, id, after).await?;
    Ok(StoredRollout { rollout, cursors, snapshot, observations })
}
