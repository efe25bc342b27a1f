//! What the store holds of a target, with its evidence: the newest snapshot and the observations after it,
//! judged again.

use std::sync::Arc;

use super::target::{Active, Loaded};
use crate::ports::{Store, StoreError, StoredRollout};

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
    let stored = store.load_target(name, known, keys).await?;
    Ok(Loaded {
        last_work: stored.rollout.iter().flatten().map(StoredRollout::last_work).next(),
        target: stored.target,
        active: stored.rollout.map(|rollout| rollout.map(|rollout| Box::new(active(rollout)))),
        waiting: stored.scheduled,
        ended: stored.ended,
        inbox: stored.inbox,
        done: stored.done,
    })
}

fn active(stored: StoredRollout) -> Active {
    let judge = Arc::new(stored.evidence());
    Active { rollout: stored.rollout, judge, cursors: stored.cursors }
}
