//! How targets stand, as their actors know it: for those who may not wait for the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::target::Actor;
use crate::core::ids::RolloutId;
use crate::core::rollout::Rollout;
use crate::core::target::Target;

/// A target with its rollouts, as its actor had them when it last stored or read something.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The target.
    pub target: Target,
    /// The rollout that has it.
    pub active: Option<Rollout>,
    /// Rollouts that wait for it, oldest first.
    pub waiting: Vec<Rollout>,
}

impl Standing {
    fn new(actor: &Actor) -> Standing {
        Standing {
            target: actor.target().clone(),
            active: actor.active().cloned(),
            waiting: actor.waiting().to_vec(),
        }
    }

    /// The rollouts that have not ended, the one that has the target first.
    pub fn rollouts(&self) -> impl Iterator<Item = &Rollout> {
        self.active.iter().chain(&self.waiting)
    }
}

/// Those of all targets that this process owns.
#[derive(Default)]
pub(super) struct Standings(Mutex<BTreeMap<String, Arc<Standing>>>);

impl Standings {
    /// What its actor knows now.
    pub fn set(&self, actor: &Actor) {
        let standing = Arc::new(Standing::new(actor));
        self.lock().insert(actor.name().to_owned(), standing);
    }

    /// It is not this process's any more.
    pub fn forget(&self, target: &str) {
        self.lock().remove(target);
    }

    /// One of them.
    pub fn get(&self, target: &str) -> Option<Arc<Standing>> {
        self.lock().get(target).cloned()
    }

    /// A rollout that has not ended.
    pub fn find(&self, rollout: &RolloutId) -> Option<Rollout> {
        let standings = self.lock();
        standings
            .values()
            .find_map(|standing| standing.rollouts().find(|known| known.id == *rollout).cloned())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Standing>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
