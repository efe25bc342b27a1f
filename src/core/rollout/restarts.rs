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
    /// Instances with fresh samples at the last look.
    pub instances: u32,
}

impl ArmRestarts {
    /// Takes in a look; the metrics of one process tell of its restart at different moments.
    fn take(&mut self, now: Timestamp, apart: Duration, notes: &[&ArmNotes]) -> BTreeSet<String> {
        self.recent.retain(|(at, _)| now.since(*at) <= RECENT);
        let processes = || notes.iter().filter_map(|one| one.processes.as_ref());
        if let Some(instances) = processes().map(|one| one.instances).max() {
            self.instances = instances;
        }
        let mut found = BTreeSet::new();
        for instance in processes().flat_map(|one| &one.renewed) {
            let known = |(at, of): &(Timestamp, String)| of == instance && now.since(*at) <= apart;
            if !self.recent.iter().any(known) && self.recent.len() < MOST_RECENT {
                self.recent.push((now, instance.clone()));
                self.total = self.total.saturating_add(1);
                found.insert(instance.clone());
            }
        }
        found
    }

    /// Restarts an instance within the last time.
    fn share(&self, now: Timestamp, within: Duration) -> f64 {
        let count = self.recent.iter().filter(|(at, _)| now.since(*at) <= within).count();
        count as f64 / f64::from(self.instances.max(1))
    }
}

/// Takes in the processes of a look, and marks the windows with which the evidence of safety begins anew.
pub(super) fn take(change: &mut Change, tick: &mut TickObservation, notes: &BTreeMap<String, Notes>) {
    let now = change.now;
    let apart = (change.state.rollout.policy.analysis.interval * 3).max(change.state.rollout.spacing() * 2);
    let step = match change.state.rollout.phase {
        Phase::Progressing { step, .. } => Some(step),
        _ => None,
    };
    let consumed = |name: &String| tick.metrics.iter().any(|m| m.metric == *name && !m.usage.is_pending());
    let seen: Vec<&Notes> = notes.iter().filter(|(name, _)| consumed(name)).map(|(_, one)| one).collect();
    let canary: Vec<&ArmNotes> = seen.iter().map(|one| &one.canary).collect();
    let baseline: Vec<&ArmNotes> = seen.iter().map(|one| &one.baseline).collect();
    let state = &mut change.state.rollout.data.restarts;
    if state.step != step {
        (state.step, state.anew) = (step, 0);
        state.renewed.clear();
        state.due.clear();
    }
    let renewed = state.canary.take(now, apart, &canary);
    state.baseline.take(now, apart, &baseline);
    if step.is_some() && !renewed.is_empty() && !moved_by_platform(change, &renewed) {
        change.state.rollout.data.restarts.renewed.extend(renewed);
        all_new(change);
    }
    let due = &mut change.state.rollout.data.restarts.due;
    for metric in &mut tick.metrics {
        if matches!(metric.usage, Usage::Used | Usage::Carried) && due.remove(&metric.metric) {
            metric.usage = Usage::Renewed;
        }
    }
}

/// The baseline's instances were replaced in the same proportion: told, and not counted.
fn moved_by_platform(change: &mut Change, renewed: &BTreeSet<String>) -> bool {
    let now = change.now;
    let state = &mut change.state.rollout.data.restarts;
    let (canary, baseline) = (state.canary.share(now, TOGETHER), state.baseline.share(now, TOGETHER));
    if baseline <= 0.0 || canary > 1.5 * baseline {
        return false;
    }
    if state.moved.is_none_or(|moved| now.since(moved) > TOGETHER) {
        state.moved = Some(now);
        let sentence = format!(
            "{} canary instances were replaced, and the baseline's in the same proportion: the platform moves \
             pods. That is not counted.",
            renewed.len()
        );
        change.alert(NoticeKind::Alert, Severity::Low, sentence);
    }
    true
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
