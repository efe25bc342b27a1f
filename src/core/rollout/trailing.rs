//! The requests of both arms in the last while, and what the canary is asked for that no router sends.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::pools::ObservedSplit;
use crate::core::split::Role;

/// The time that is looked back on.
const TRAILING: Duration = Duration::from_secs(600);

/// It is cut into so many slots at most.
const SLOTS: usize = 60;

/// Probes and scrapes are measured for so long at least.
const NOISE_FOR: f64 = 30.0;

/// More than so many requests a second at weight 0 are no probes: they are not taken for silence.
const MOST_NOISE: f64 = 1.0;

/// The trailing share, and what was done about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShareState {
    pub(super) slots: VecDeque<Slot>,
    /// The split that `slots` are of.
    pub(super) generation: u64,
    /// The step in which the weight was written once more.
    pub(super) rewritten: Option<usize>,
    /// The alert was told.
    pub(super) told: bool,
    /// The share's lower bound has been far beyond the weight for so long.
    pub(super) far_for: Duration,
    /// Requests of the canary at weight 0, and the seconds in which they came.
    pub noise: Noise,
    /// The same of a fresh copy of stable, where the target has one.
    pub baseline_noise: Noise,
    /// The servers of each role at the first look of a split, by the router, and the split's generation.
    pub(super) servers: BTreeMap<Role, u32>,
    pub(super) servers_of: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) length: Duration,
    pub(super) canary: u64,
    pub(super) baseline: u64,
}

/// What an arm is asked for that no router sends: probes, scrapes, direct calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Noise {
    /// Requests at weight 0.
    pub requests: u64,
    /// In so many seconds.
    pub seconds: f64,
}

impl Noise {
    /// Requests a second; 0 where it was not measured for long enough.
    pub fn per_second(self) -> f64 {
        if self.seconds >= NOISE_FOR { self.requests as f64 / self.seconds } else { 0.0 }
    }

    /// How many of a window's requests are noise. Nothing to spare: a canary that has a few requests more than its
    /// probes is not silent.
    pub fn at_most(self, window: Duration) -> u64 {
        let expected = self.per_second() * window.as_secs_f64();
        if expected > 0.0 && self.per_second() <= MOST_NOISE { expected.ceil() as u64 } else { 0 }
    }
}

impl ShareState {
    /// The servers that were taken away since the split was first seen: `1 of 4 canary servers was removed`; `None`
    /// if none was, or if the router says nothing of servers.
    pub(super) fn removed(&mut self, observed: &ObservedSplit, generation: u64) -> Option<String> {
        if self.servers_of != generation {
            self.servers.clear();
            self.servers_of = generation;
        }
        let mut told = Vec::new();
        for (role, pool) in &observed.pools {
            let most = self.servers.entry(*role).or_insert(pool.servers);
            *most = (*most).max(pool.servers);
            let gone = *most - pool.servers;
            if gone > 0 {
                let verb = if gone == 1 { "was" } else { "were" };
                told.push(format!("{gone} of {most} {} servers {verb} removed", role.name()));
            }
        }
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// What was seen so far does not count any more.
    pub fn begin_anew(&mut self) {
        *self = ShareState {
            noise: self.noise,
            baseline_noise: self.baseline_noise,
            servers: std::mem::take(&mut self.servers),
            servers_of: self.servers_of,
            ..ShareState::default()
        };
    }

    pub(super) fn push(&mut self, slot: Slot) {
        match self.slots.back_mut().filter(|last| last.length < TRAILING / SLOTS as u32) {
            Some(last) => {
                last.length += slot.length;
                last.canary = last.canary.saturating_add(slot.canary);
                last.baseline = last.baseline.saturating_add(slot.baseline);
            }
            None => self.slots.push_back(slot),
        }
        let mut covered = self.length();
        while let Some(first) = self.slots.front()
            && self.slots.len() > 1
            && covered.saturating_sub(first.length) >= TRAILING
        {
            covered -= first.length;
            self.slots.pop_front();
        }
    }

    /// Of canary and baseline.
    pub(super) fn noise_per_second(&self) -> [f64; 2] {
        [self.noise.per_second(), self.baseline_noise.per_second()]
    }

    pub(super) fn length(&self) -> Duration {
        self.slots.iter().map(|slot| slot.length).sum()
    }

    pub(super) fn requests(&self) -> [u64; 2] {
        self.slots.iter().fold([0, 0], |sum, slot| {
            [sum[0].saturating_add(slot.canary), sum[1].saturating_add(slot.baseline)]
        })
    }
}
