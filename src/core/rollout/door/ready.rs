//! Whether enough of the canary's instances are ready for more traffic.
//!
//! Two witnesses know of instances that take no part in any figure: the router by its health checks, and what lists
//! them for the metrics (Prometheus's `up`, the pages of the target). No weight rises while fewer than 80% of those
//! that either of them lists are ready. What a witness said last counts until it says something else, or has said
//! nothing for as long as missing data takes to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::limit::Severity;
use crate::core::metric::Notes;
use crate::core::notice::NoticeKind;
use crate::core::pools::ObservedSplit;
use crate::core::rollout::change::Change;
use crate::core::rollout::{EventKind, Hold, Phase};
use crate::core::split::Role;
use crate::core::words::duration;

/// So many percent of the listed instances must be ready.
const LEAST_PERCENT: u64 = 80;

/// What is known of the canary's instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Readiness {
    /// What the router said last.
    pub router: Option<Word>,
    /// What was said last by what lists the instances for the metrics.
    pub metrics: Option<Word>,
    /// The most servers that the router has seen up at once in this rollout.
    pub most_up: u32,
    /// For how long too few have been ready.
    pub lasted: Duration,
    /// Whether that was told.
    pub told: bool,
    /// A person lets the next step begin with too few.
    pub overridden: bool,
}

/// What one witness says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Word {
    /// So many are ready.
    pub ready: u32,
    /// Of so many that are listed.
    pub of: u32,
    /// For how long it has said nothing since.
    pub unheard: Duration,
}

/// Who says how many are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The router, by its health checks.
    Router,
    /// What lists the instances for the metrics, by whether they answer.
    Metrics,
}

impl Word {
    /// The least number that is enough.
    pub fn least(&self) -> u32 {
        let least = (u64::from(self.of) * LEAST_PERCENT).div_ceil(100);
        u32::try_from(least).unwrap_or(u32::MAX)
    }

    /// Whether too few are ready.
    pub fn is_short(&self) -> bool {
        self.ready < self.least()
    }

    /// `15 of 20 canary instances are ready: 5 do not start`, and by whose word.
    fn told(&self, by: Witness) -> String {
        let by = match by {
            Witness::Router => "the router's health checks",
            Witness::Metrics => "their metrics endpoints",
        };
        let missing = self.of.saturating_sub(self.ready);
        let verb = if missing == 1 { "does" } else { "do" };
        let (ready, of) = (self.ready, self.of);
        format!("{ready} of {of} canary instances are ready: {missing} {verb} not start (by {by})")
    }
}

impl Readiness {
    /// The word of the witness that sees the smaller share ready; `None` if nothing is known.
    pub fn worst(&self) -> Option<(Witness, Word)> {
        let router = self.router.map(|word| (Witness::Router, word));
        let metrics = self.metrics.map(|word| (Witness::Metrics, word));
        let share = |(_, word): &(Witness, Word)| f64::from(word.ready) / f64::from(word.of.max(1));
        router.into_iter().chain(metrics).min_by(|one, other| share(one).total_cmp(&share(other)))
    }

    /// Why no weight may rise: too few are ready.
    pub fn short(&self) -> Option<String> {
        let (by, word) = self.worst().filter(|(_, word)| word.is_short())?;
        Some(format!("{}, and at least {} must be", word.told(by), word.least()))
    }

    /// Servers that the router lists and has not seen up in this rollout.
    pub(in crate::core::rollout) fn never_up(&self) -> u32 {
        self.router.map_or(0, |word| word.of.saturating_sub(self.most_up))
    }
}

/// Takes in what the router says of the canary's servers. Those that somebody has taken out (drained, in
/// maintenance, slots without a server) are not listed.
pub(in crate::core::rollout) fn hear_router(
    change: &mut Change,
    observed: &ObservedSplit,
    elapsed: Duration,
) {
    let pool = observed.pools.get(&Role::Canary);
    let said = pool.map(|pool| [pool.up, pool.up.saturating_add(pool.down())]);
    let limit = change.state.rollout.missing_after();
    let readiness = &mut change.state.rollout.data.readiness;
    readiness.most_up = readiness.most_up.max(said.map_or(0, |[up, _]| up));
    hear(&mut readiness.router, said, elapsed, limit);
    watch(change);
}

/// Takes in what a look has shown of the listed instances.
pub(in crate::core::rollout) fn hear_metrics(
    change: &mut Change,
    notes: &BTreeMap<String, Notes>,
    elapsed: Duration,
) {
    let listed = notes.values().filter_map(|one| one.canary.listed.as_ref());
    let said = listed.map(|listed| [listed.ready, listed.of]);
    let said = said.min_by_key(|[ready, of]| u64::from(*ready) * 10_000 / u64::from(*of).max(1));
    let limit = change.state.rollout.missing_after();
    let readiness = &mut change.state.rollout.data.readiness;
    hear(&mut readiness.metrics, said, elapsed, limit);
    if readiness.short().is_some() {
        readiness.lasted += elapsed;
    }
    watch(change);
}

fn hear(word: &mut Option<Word>, said: Option<[u32; 2]>, elapsed: Duration, limit: Duration) {
    match (said, word.as_mut()) {
        (Some([ready, of]), _) => *word = (of > 0).then_some(Word { ready, of, unheard: Duration::ZERO }),
        (None, Some(known)) => {
            known.unheard += elapsed;
            if known.unheard >= limit {
                *word = None;
            }
        }
        (None, None) => {}
    }
}

/// Holds while too few are ready. It is told when that has lasted: one look at which one of four does not answer is
/// no news.
pub(in crate::core::rollout) fn watch(change: &mut Change) {
    let rollout = &mut change.state.rollout;
    let end = match rollout.phase {
        Phase::Preflight | Phase::Preparing { .. } | Phase::Progressing { .. } => "No weight rises",
        Phase::Finalizing | Phase::Baking => "The bake does not end",
        _ => return,
    };
    let Some(short) = rollout.data.readiness.short() else {
        let readiness = &mut rollout.data.readiness;
        (readiness.lasted, readiness.told, readiness.overridden) = (Duration::ZERO, false, false);
        change.unhold(Hold::NotReady, "enough canary instances are ready.");
        return;
    };
    if rollout.data.readiness.overridden {
        return;
    }
    let is_late = rollout.data.readiness.lasted >= rollout.missing_after();
    if change.state.rollout.holds.insert(Hold::NotReady) {
        let why = format!("{short}. {end} before that.");
        change.keep_held(Hold::NotReady, None, &why);
        change.record(EventKind::HoldAdded, None, format!("Held ({}): {why}", Hold::NotReady.name()));
    }
    if is_late && !std::mem::replace(&mut change.state.rollout.data.readiness.told, true) {
        let lasted = duration(change.state.rollout.data.readiness.lasted);
        let sentence = format!("Held ({}) for {lasted}: {short}. {end} before that.", Hold::NotReady.name());
        change.record(EventKind::Alert, None, sentence.clone());
        change.notify(NoticeKind::Held, Severity::Medium, sentence);
    }
}
