//! What a rollout keeps of its target while the declarations change: what is judged and split stays as it began, and a
//! target that is removed stays until its rollout has been rolled back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalogue::{Catalogue, Changes, Declared, Kept, Name, Source};
use super::handle::Handle;
use crate::core::respec::Respec;
use crate::core::rollout::{Command, CommandKind, Force, Giver, Phase, Rollout};
use crate::ports::{RolloutFilter, StoreError};

/// Active rollouts that are looked at.
const MOST: usize = 10_000;

impl Handle {
    /// Takes in what a source declares; targets with a rollout keep what it needs until it has ended. A target that
    /// is not declared any more is rolled back first. [`Handle::declaring`](super::Configuration::declaring) is to be
    /// held.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub async fn declare_kept(&self, source: Source, declared: Declared) -> Result<Changes, StoreError> {
        let wanted = self.declared().apply(source, declared);
        self.publish_kept(wanted).await
    }

    /// Takes what has waited for rollouts that have ended since.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub async fn release_kept(&self) -> Result<Changes, StoreError> {
        let wanted = Catalogue::clone(&self.declared());
        self.publish_kept(wanted).await
    }

    async fn publish_kept(&self, wanted: Catalogue) -> Result<Changes, StoreError> {
        let before = self.declared();
        let filter = RolloutFilter { active: Some(true), limit: MOST, ..RolloutFilter::default() };
        let mut kept = BTreeMap::new();
        for rollout in self.store().rollouts(&filter).await? {
            let is_wrong = wanted.is_wrong(&Name::Target(rollout.target.clone()));
            let is_removed = wanted.wanted(&rollout.target).is_none() && !is_wrong;
            // One that begins later takes its target as it is then, one that takes it over as it was asked for; without
            // a target they wait for nothing.
            let is_later = rollout.phase == Phase::Scheduled && rollout.supersedes.is_none();
            if is_later && !is_removed {
                continue;
            }
            let Some(keeps) = keep(&before, &wanted, &rollout) else { continue };
            if is_removed {
                self.roll_back_removed(&rollout).await?;
            }
            kept.insert(rollout.target.clone(), keeps);
        }
        Ok(self.publish(&before, wanted.keep(kept)))
    }

    /// The same key again is the same command.
    async fn roll_back_removed(&self, rollout: &Rollout) -> Result<(), StoreError> {
        if matches!(rollout.phase, Phase::RollingBack { .. }) {
            return Ok(());
        }
        let command = Command {
            key: format!("removed/{}", rollout.id.0),
            by: "the configuration".to_owned(),
            reason: Some(format!("target {} is not declared any more", rollout.target)),
            expected_revision: None,
            kind: CommandKind::Rollback,
            // Whoever took the declaration away.
            giver: Giver::Person,
            force: Force::default(),
        };
        self.command(&rollout.id, command).await.map(|_| ())
    }
}

/// What a rollout keeps of its target; `None` where the newest declaration changes nothing that it needs.
fn keep(before: &Catalogue, wanted: &Catalogue, rollout: &Rollout) -> Option<Kept> {
    let began = match &rollout.spec {
        // What was declared when one that began later was asked for is not what it began with.
        Some(spec) if rollout.not_before.is_none() => spec.clone(),
        _ => before.targets().get(&rollout.target)?.as_ref().clone(),
    };
    let (spec, waiting) = match wanted.wanted(&rollout.target) {
        // Wrong, or not there: the rollout goes on, or is rolled back, as it began.
        None => (began, vec!["removal".to_owned()]),
        Some(now) => {
            let respec = Respec::new(&began, now);
            (respec.in_force, respec.waiting)
        }
    };
    (!waiting.is_empty()).then(|| Kept { spec: Arc::new(spec), waiting, rollout: rollout.id.0.clone() })
}
