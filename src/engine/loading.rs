//! What the store holds of a target, with its evidence: the newest snapshot and the observations after it,
//! judged again.

use std::sync::Arc;

use super::target::{Active, Loaded};
use crate::core::rollout::Rollout;
use crate::core::target::Target;
use crate::ports::{RolloutFilter, Store, StoreError};

/// Ended rollouts whose commands are answered: one that came in just before the end is refused, not left
/// without an answer.
const ENDED: usize = 3;

/// Reads a target. The active rollout is read only where the target is not at the revision that is known.
///
/// # Errors
/// [`StoreError`].
pub async fn load(
    store: &dyn Store,
    name: &str,
    known: Option<u64>,
    keys: &[String],
) -> Result<Loaded, StoreError> {
    let target = store.target(name).await?;
    let mut loaded = load_of(store, target, known).await?;
    for key in keys {
        match store.command(key).await {
            Ok(entry) => loaded.done.extend(entry.result.map(|result| (key.clone(), result))),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(loaded)
}

/// The same, of a target that was read.
///
/// # Errors
/// [`StoreError`].
pub async fn load_of(store: &dyn Store, target: Target, known: Option<u64>) -> Result<Loaded, StoreError> {
    let active = match known == Some(target.revision) {
        true => None,
        false => Some(active(store, &target).await?.map(Box::new)),
    };
    let mut waiting: Vec<Rollout> = Vec::new();
    for id in store.scheduled(&target.name).await? {
        waiting.push(store.rollout(&id).await?);
    }
    let lately = RolloutFilter {
        target: Some(target.name.clone()),
        active: Some(false),
        limit: ENDED,
        ..RolloutFilter::default()
    };
    let ended = store.rollouts(&lately).await?;
    let mut ids: Vec<_> = waiting.iter().chain(&ended).map(|rollout| rollout.id.clone()).collect();
    ids.extend(target.active.clone());
    let inbox = if ids.is_empty() { Vec::new() } else { store.pending(&ids).await? };
    Ok(Loaded { target, active, waiting, ended, inbox, done: Vec::new() })
}

async fn active(store: &dyn Store, target: &Target) -> Result<Option<Active>, StoreError> {
    let Some(id) = &target.active else { return Ok(None) };
    let stored = store.load(id).await?;
    let judge = Arc::new(stored.evidence());
    Ok(Some(Active { rollout: stored.rollout, judge, cursors: stored.cursors }))
}
