//! Which freezes there are. A plain value: whether one holds is a question of the time.

use crate::core::freeze::Freeze;
use crate::core::time::Timestamp;

/// The freezes that may hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Freezes {
    /// Ordered by persons.
    pub ordered: Vec<Freeze>,
    /// From the configuration.
    pub planned: Vec<Freeze>,
    /// Whether those that were ordered were ever read; before that nothing may be taken for thawed.
    pub is_known: bool,
}

impl Freezes {
    /// Why a target is frozen, if it is.
    pub fn frozen(&self, target: &str, now: Timestamp) -> Option<String> {
        let mut all = self.ordered.iter().chain(&self.planned);
        all.find(|freeze| freeze.holds(target, now)).map(Freeze::sentence)
    }
}
