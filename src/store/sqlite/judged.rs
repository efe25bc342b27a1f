//! Looks with what they were judged as: judged again, from the nearest place that is known.

use sqlx::SqliteConnection;

use super::codec::limit;
use super::history::{snapshot, ticks};
use super::rollouts;
use crate::core::ids::RolloutId;
use crate::core::judge::Assessment;
use crate::core::metric::TickObservation;
use crate::ports::StoreError;
use crate::store::replay::{self, Replays};

/// Observations with what they are judged as, after `after`.
pub(super) async fn observations(
    connection: &mut SqliteConnection,
    replays: &Replays,
    id: &RolloutId,
    after: u64,
    most: usize,
) -> Result<Vec<(TickObservation, Assessment)>, StoreError> {
    let Some(plan) = rollouts::plan(connection, id).await? else { return Ok(Vec::new()) };
    let wanted = ticks(connection, &plan, after, limit(most)).await?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut place = replays.place(id, after);
    let snapshot = snapshot(connection, id, after).await?;
    if let Some(snapshot) = snapshot
        && place.as_ref().is_none_or(|(seq, _)| *seq < snapshot.seq)
    {
        place = Some((snapshot.seq, snapshot.state));
    }
    let from = place.as_ref().map_or(0, |(seq, _)| *seq);
    let mut all = ticks(connection, &plan, from, i64::MAX).await?;
    all.retain(|tick| tick.seq <= after);
    all.extend(wanted);
    let (mut judged, judge) = replay::judge(&plan, place.map(|(_, judge)| judge), all).await?;
    judged.retain(|(tick, _)| tick.seq > after);
    if let Some((last, _)) = judged.last() {
        replays.put(id, last.seq, judge);
    }
    Ok(judged)
}
