//! The key that the door gives.

use crate::core::gate::Occasion;

/// The only key to more traffic for the canary, and to the end of the bake.
pub(in crate::core::rollout) struct Passage {
    to: Occasion,
}

impl Passage {
    // For the door alone: nothing else makes one.
    pub(super) fn new(to: Occasion) -> Passage {
        Passage { to }
    }

    /// What stood before it.
    pub fn to(&self) -> Occasion {
        self.to
    }

    /// The step that it leads to; `None`: the end of the bake.
    pub fn step(&self) -> Option<usize> {
        match self.to {
            Occasion::Start => Some(0),
            Occasion::Step(step) => Some(step),
            Occasion::Finish | Occasion::During => None,
        }
    }
}
