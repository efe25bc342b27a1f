//! What cumulative counters grew by in the last while.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Routers look back so far.
pub(super) const WINDOW: Duration = Duration::from_secs(30);
/// Counters and the state of servers are read at most so often; the split is looked at more often. Half the
/// usual time between two looks at a router that is settled, so that each of those has new figures.
pub(super) const READ_EVERY: Duration = Duration::from_secs(5);

/// Readings of cumulative counters by name. A counter that falls has begun anew; one that was not there
/// before counts from its first reading on.
#[derive(Debug, Default)]
pub(super) struct Trail {
    last: Option<(Duration, BTreeMap<String, u64>)>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Step {
    from: Duration,
    to: Duration,
    grown: BTreeMap<String, u64>,
}

impl Trail {
    /// Takes a reading. `at` is monotonic.
    pub(super) fn add(&mut self, at: Duration, counters: BTreeMap<String, u64>) {
        if let Some((from, before)) = self.last.take() {
            let grown = counters.iter().filter_map(|(name, now)| {
                let before = *before.get(name)?;
                Some((name.clone(), if *now < before { *now } else { now - before }))
            });
            self.steps.push_back(Step { from, to: at, grown: grown.collect() });
        }
        self.last = Some((at, counters));
        // The newest step stays however long it is: there is nothing newer.
        while self.steps.len() > 1 && self.steps.front().is_some_and(|step| step.from + WINDOW < at) {
            self.steps.pop_front();
        }
    }

    /// The time that the sums are of; zero before the second reading.
    pub(super) fn over(&self) -> Duration {
        match (self.steps.front(), self.steps.back()) {
            (Some(first), Some(last)) => last.to.saturating_sub(first.from),
            _ => Duration::ZERO,
        }
    }

    /// How much a counter grew in that time; `None` if it was not read twice.
    pub(super) fn grown(&self, name: &str) -> Option<u64> {
        self.steps.iter().filter_map(|step| step.grown.get(name)).copied().reduce(u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(a: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("a".to_owned(), a)])
    }

    #[test]
    fn counters_grow_over_the_window_and_begin_anew() {
        let secs = Duration::from_secs;
        let mut trail = Trail::default();
        trail.add(secs(100), reading(1_000));
        assert_eq!((trail.over(), trail.grown("a")), (secs(0), None), "one reading says nothing");
        trail.add(secs(110), reading(1_010));
        trail.add(secs(120), reading(1_030));
        assert_eq!((trail.over(), trail.grown("a"), trail.grown("b")), (secs(20), Some(30), None));
        trail.add(secs(130), reading(5));
        assert_eq!(trail.grown("a"), Some(35), "a process that was reloaded counts from zero");
        trail.add(secs(140), reading(5));
        assert_eq!((trail.over(), trail.grown("a")), (secs(30), Some(25)), "the first step is past");
        trail.add(secs(900), reading(7));
        assert_eq!((trail.over(), trail.grown("a")), (secs(760), Some(2)), "a long pause is said");
    }
}
