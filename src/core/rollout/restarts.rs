//! Restarts of the arms' processes: counted, compared as a rate, and what they mean for the evidence.
//!
//! When all instances of the canary are new in the middle of a step, what was shown before says nothing of the
//! processes that run now: the step's minimum and its evidence of safety begin again, at most twice. Evidence of
//! a regression is kept. The third time holds, and rolls back where the canary restarts more than the baseline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::{Hold, Phase, Rollout};
use crate::core::limit::Severity;
use crate::core::metric::{ArmNotes, Notes, TickObservation, Usage};
use crate::core::notice::NoticeKind;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::time::Timestamp;
use crate::core::words::duration;
use crate::stats::special::{exp, ln, ln_gamma};

/// Restarts are remembered for so long, and so many must fall within it for a rollback.
const RECENT: Duration = Duration::from_secs(15 * 60);
const MANY: usize = 3;
/// The platform moves both arms' instances within so long.
const TOGETHER: Duration = Duration::from_secs(10 * 60);
/// The step begins anew at most so many times.
const MOST_ANEW: u32 = 2;
/// No more are remembered.
const MOST_RECENT: usize = 1000;
/// The baseline's restarts are as likely as so many of the canary's by chance.
const ALPHA: f64 = 0.01;

/// The restarts of both arms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartState {
    /// Of the canary.
    pub canary: ArmRestarts,
    /// Of the baseline.
    pub baseline: ArmRestarts,
    /// Instances of the canary that are new since the step, or since it began anew.
    pub renewed: BTreeSet<String>,
    /// How often the step has begun anew.
    pub anew: u32,
    /// When it has, the last times.
    pub anew_at: Vec<Timestamp>,
    /// Metrics whose evidence of safety begins anew with their next window.
    pub due: BTreeSet<String>,
    /// The step that `renewed` and `anew` are of.
    pub step: Option<usize>,
    /// When it was told that the platform moves instances.
    pub moved: Option<Timestamp>,
}

/// The restarts of an arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArmRestarts {
    /// In this rollout.
    pub total: u64,
    /// The last ones: when, and of which instance.
    pub recent: Vec<(Timestamp, String)>,
    /// The last ones that were the platform's doing, which do not count.
    pub moved: Vec<(Timestamp, String)>,
    /// Instances with fresh samples at the last look, and those that count as restarting.
    pub instances: u32,
    /// Instances that are listed and have never answered, and since when that is known.
    pub never: BTreeMap<String, Timestamp>,
    /// Instances that have come lately. They count once as many others are gone; until then there are just more.
    pub added: Vec<(Timestamp, String)>,
}

/// What a look shows of the processes of an arm.
#[derive(Default)]
struct Shown {
    /// Those that are there.
    present: BTreeSet<String>,
    /// Those that have begun anew, or are new.
    renewed: BTreeSet<String>,
    /// Those of them that are new.
    added: BTreeSet<String>,
    /// Those that are listed and have never answered; `None` if nothing lists them.
    never: Option<BTreeSet<String>>,
}

impl Shown {
    fn of(notes: &[&ArmNotes]) -> Shown {
        let processes = || notes.iter().filter_map(|one| one.processes.as_ref());
        let listed = || notes.iter().filter_map(|one| one.listed.as_ref());
        let never = listed().flat_map(|one| one.never.iter().cloned());
        Shown {
            present: processes().flat_map(|one| one.instances.iter().cloned()).collect(),
            renewed: processes().flat_map(|one| one.renewed.iter().cloned()).collect(),
            added: processes().flat_map(|one| one.added.iter().cloned()).collect(),
            never: listed().next().is_some().then(|| never.collect()),
        }
    }
}

impl ArmRestarts {
    /// Takes in a look; gives the instances that have begun anew, or are new. The metrics of one process tell of its
    /// restart at different moments. An instance that does not answer for longer than `grace`, and never has, is
    /// restarting: it stands for one restart in each `RECENT`.
    fn take(
        &mut self,
        now: Timestamp,
        apart: Duration,
        grace: Duration,
        shown: &mut Shown,
    ) -> BTreeSet<String> {
        for kept in [&mut self.recent, &mut self.moved, &mut self.added] {
            kept.retain(|(at, _)| now.since(*at) <= RECENT);
        }
        let never = shown.never.take().unwrap_or_default();
        self.never.retain(|instance, _| never.contains(instance));
        for instance in never {
            self.never.entry(instance).or_insert(now);
        }
        let silent = self.never.iter().filter(|(_, since)| now.since(**since) >= grace);
        let silent: BTreeSet<String> = silent.map(|(instance, _)| instance.clone()).collect();
        let mut found = BTreeSet::new();
        for (instances, apart) in [(&shown.renewed, apart), (&silent, RECENT)] {
            for instance in instances {
                let known = |(at, of): &(Timestamp, String)| of == instance && now.since(*at) <= apart;
                if self.recent.iter().chain(&self.moved).chain(&self.added).any(known) {
                    continue;
                }
                found.insert(instance.clone());
                match shown.added.contains(instance) {
                    true => self.added.push((now, instance.clone())),
                    false => self.count(now, instance.clone()),
                }
            }
        }
        shown.present.extend(silent);
        if !shown.present.is_empty() {
            let present = u32::try_from(shown.present.len()).unwrap_or(u32::MAX);
            let came = found.iter().filter(|instance| shown.added.contains(*instance)).count();
            let all = self.instances.saturating_add(u32::try_from(came).unwrap_or(u32::MAX));
            self.replaced(now, all.saturating_sub(present));
            self.instances = present;
        }
        found
    }

    /// A restart.
    fn count(&mut self, now: Timestamp, instance: String) {
        if self.recent.len() < MOST_RECENT {
            self.recent.push((now, instance));
            self.total = self.total.saturating_add(1);
        }
    }

    /// So many instances are gone: as many of those that have come lately have replaced them.
    fn replaced(&mut self, now: Timestamp, gone: u32) {
        let gone = self.added.len().min(gone as usize);
        for (_, instance) in self.added.drain(..gone).collect::<Vec<_>>() {
            self.count(now, instance);
        }
    }

    /// Restarts an instance within the last time, whoever's doing they were.
    fn share(&self, now: Timestamp, within: Duration) -> f64 {
        let all = self.recent.iter().chain(&self.moved);
        all.filter(|(at, _)| now.since(*at) <= within).count() as f64 / f64::from(self.instances.max(1))
    }

    /// Those within the last time are the platform's doing. Gives how many.
    fn forgive(&mut self, now: Timestamp, within: Duration) -> usize {
        let (moved, own) = self.recent.drain(..).partition(|(at, _)| now.since(*at) <= within);
        let moved: Vec<(Timestamp, String)> = moved;
        self.recent = own;
        self.total = self.total.saturating_sub(moved.len() as u64);
        let count = moved.len();
        self.moved.extend(moved);
        count
    }
}

/// Takes in the processes of a look, and marks the windows with which the evidence of safety begins anew.
pub(super) fn take(change: &mut Change, tick: &mut TickObservation, notes: &BTreeMap<String, Notes>) {
    let (now, rollout) = (change.now, &change.state.rollout);
    let apart = (rollout.policy.analysis.interval * 3).max(rollout.spacing() * 2);
    let grace = rollout.missing_after();
    let step = match rollout.phase {
        Phase::Progressing { step, .. } => Some(step),
        _ => None,
    };
    let consumed = |name: &String| tick.metrics.iter().any(|m| m.metric == *name && !m.usage.is_pending());
    // A look that is not consumed shows the same restarts again; who is listed it shows all the same.
    let seen = |of: fn(&Notes) -> &ArmNotes| {
        let listed = notes.iter().filter(|(name, one)| consumed(name) || of(one).listed.is_some());
        let without = |(name, one): (&String, &Notes)| match consumed(name) {
            true => of(one).clone(),
            false => ArmNotes { processes: None, ..of(one).clone() },
        };
        let all: Vec<ArmNotes> = listed.map(without).collect();
        Shown::of(&all.iter().collect::<Vec<_>>())
    };
    let (mut canary, mut baseline) = (seen(|one| &one.canary), seen(|one| &one.baseline));
    if canary.never.is_none() && rollout.data.readiness.router.is_some() {
        // The router's servers have no names here, and may be the same as those that something else lists.
        let names = (1..=rollout.data.readiness.never_up()).map(|number| format!("(server {number})"));
        canary.never = Some(names.collect());
    }
    let state = &mut change.state.rollout.data.restarts;
    if state.step != step {
        (state.step, state.anew) = (step, 0);
        state.anew_at.clear();
        state.renewed.clear();
        state.due.clear();
    }
    let before = [state.canary.total, state.baseline.total];
    let renewed = state.canary.take(now, apart, grace, &mut canary);
    state.baseline.take(now, apart, grace, &mut baseline);
    let is_news = before != [state.canary.total, state.baseline.total];
    // What was replaced before anything was analysed is what the step begins with.
    if step.is_some() && !change.state.rollout.timers.analysed.is_zero() {
        change.state.rollout.data.restarts.renewed.extend(renewed);
    }
    let state = &mut change.state.rollout.data.restarts;
    if !canary.present.is_empty() {
        // One place whose process comes anew again and again is not all of them.
        state.renewed.retain(|instance| canary.present.contains(instance));
    }
    if is_news {
        moved_by_platform(change);
    }
    if step.is_some() && !change.state.rollout.data.restarts.renewed.is_empty() {
        all_new(change);
    }
    let due = &mut change.state.rollout.data.restarts.due;
    for metric in &mut tick.metrics {
        if matches!(metric.usage, Usage::Used | Usage::Carried) && due.remove(&metric.metric) {
            metric.usage = Usage::Renewed;
        }
    }
}

/// Both arms' instances were replaced in the same proportion: told, and not counted, also where the baseline's
/// followed later.
fn moved_by_platform(change: &mut Change) {
    let now = change.now;
    let state = &mut change.state.rollout.data.restarts;
    let (canary, baseline) = (state.canary.share(now, TOGETHER), state.baseline.share(now, TOGETHER));
    if canary <= 0.0 || baseline <= 0.0 || canary > 1.5 * baseline {
        return;
    }
    let count = state.canary.forgive(now, TOGETHER);
    state.baseline.forgive(now, TOGETHER);
    state.renewed.clear();
    let before = state.anew_at.len();
    state.anew_at.retain(|at| now.since(*at) > TOGETHER);
    let forgiven = u32::try_from(before - state.anew_at.len()).unwrap_or(u32::MAX);
    state.anew = state.anew.saturating_sub(forgiven);
    let is_over = state.anew <= MOST_ANEW;
    if count > 0 && state.moved.is_none_or(|moved| now.since(moved) > TOGETHER) {
        state.moved = Some(now);
        let sentence = format!(
            "{count} canary instances were replaced, and the baseline's in the same proportion: the platform moves \
             pods. That is not counted."
        );
        change.alert(NoticeKind::Alert, Severity::Low, sentence);
    }
    if forgiven > 0 && is_over {
        change.unhold(
            Hold::Restarts,
            "the platform has moved the baseline's instances in the same proportion.",
        );
    }
}

/// All instances of the canary are new since the step began.
fn all_new(change: &mut Change) {
    let rollout = &mut change.state.rollout;
    let state = &mut rollout.data.restarts;
    let instances = state.canary.instances;
    let is_whole = instances > 0 && state.renewed.len() >= instances as usize;
    if !is_whole || rollout.timers.analysed.is_zero() {
        return;
    }
    state.anew = state.anew.saturating_add(1);
    state.anew_at.push(change.now);
    state.renewed.clear();
    if state.anew > MOST_ANEW {
        let sentence = format!(
            "all {instances} instances of the canary were replaced again in this step, {} times now; restarts of \
             the canary in the last 15 min: {}, of the baseline: {}.",
            state.anew,
            state.canary.recent.len(),
            state.baseline.recent.len()
        );
        change.hold(Hold::Restarts, None, Severity::High, sentence);
        return;
    }
    let analysed = std::mem::take(&mut rollout.timers.analysed);
    rollout.timers.uncredited = Duration::ZERO;
    state.due = rollout.plan.policy.metrics.iter().map(|metric| metric.name.clone()).collect();
    let sentence = format!(
        "All {instances} instances of the canary are new in this step, after {} of it: its minimum and its evidence \
         of safety begin again ({} of {MOST_ANEW} times). Evidence of a regression is kept.",
        duration(analysed),
        state.anew
    );
    change.alert(NoticeKind::Alert, Severity::Medium, sentence);
}

/// A canary that goes on restarting, more than the baseline does.
pub(super) fn rolls_back(rollout: &Rollout) -> Option<Reason> {
    let state = &rollout.data.restarts;
    let (canary, baseline) = (&state.canary, &state.baseline);
    let (c, b) = (canary.recent.len(), baseline.recent.len());
    if state.anew <= MOST_ANEW || c < MANY || canary.instances == 0 || baseline.instances == 0 {
        return None;
    }
    let share = f64::from(canary.instances) / f64::from(canary.instances + baseline.instances);
    if at_least(c, c + b, share) > ALPHA {
        return None;
    }
    let sentence = format!(
        "the canary's {} instances have restarted {c} times in 15 min, the baseline's {} instances {b} times.",
        canary.instances, baseline.instances
    );
    Some(Reason::new(ReasonCode::Restarts, sentence))
}

/// The probability of `least` or more of `all` where each falls to the canary with probability `share`.
fn at_least(least: usize, all: usize, share: f64) -> f64 {
    let ln_choose = |k: usize| {
        let (n, k) = (all as f64, k as f64);
        ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
    };
    let chance = |k: usize| exp(ln_choose(k) + k as f64 * ln(share) + (all - k) as f64 * ln(1.0 - share));
    (least..=all).map(chance).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binomial_tail_is_right() {
        assert!((at_least(3, 3, 0.5) - 0.125).abs() < 1e-12);
        assert!((at_least(0, 5, 0.3) - 1.0).abs() < 1e-12);
        assert!((at_least(2, 3, 0.5) - 0.5).abs() < 1e-12);
    }
}
