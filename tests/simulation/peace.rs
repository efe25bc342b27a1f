//! When all faults have ended for good, everything comes to an end: every rollout moves on within a time that follows
//! from its policy, or stands where only a person can move it on, who then does.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::policy::Mode;
use serin::core::rollout::{CommandKind, Hold, Phase, Rollout, Stage};

use crate::invariants::{violated, wanted_weights};
use crate::run::Run;
use crate::scenario::{Revision, TargetPlan};

/// Nothing takes longer than this, in milliseconds: then the run is over, whatever is still open.
const LONGEST: i64 = 4 * 3600 * 1000;
/// What looks, calls, and waiting for lost results may take beside what a policy says.
const SLACK: Duration = Duration::from_secs(120);
/// Rests after each other, so that the split has been looked at again.
const RESTS: u32 = 5;

/// Where a rollout is, and since when.
#[derive(Clone, Debug)]
struct Place {
    at: (String, String, bool),
    since: i64,
    /// Words of people since.
    words: u32,
}

impl Run {
    /// All faults have ended: everything must come to rest, in the end by a person's word.
    pub async fn peace(&mut self) {
        self.world.lock().make_peace();
        if let Some((old, _)) = self.old.take() {
            self.ended(&old.life);
        }
        if let Some(process) = &self.process {
            process.life.spare();
        }
        let begun = self.now();
        let mut places: BTreeMap<&'static str, Place> = BTreeMap::new();
        let mut rests = 0;
        while rests < RESTS && self.now() < begun + LONGEST {
            self.advance(i64::MAX).await;
            self.work().await;
            rests = if self.is_at_rest() { rests + 1 } else { 0 };
            if rests > 0 {
                continue;
            }
            for place in 0..self.scenario.targets.len() {
                let plan = self.scenario.targets[place].clone();
                if !self.goes_on(&plan, &mut places).await {
                    return;
                }
            }
        }
    }

    /// No rollout is on its way, and what is declared is in force.
    fn is_at_rest(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let is_as_wanted = |name: &String| {
            let target = self.store.inspect(|data| data.targets.get(name).cloned());
            let Some(target) = target.filter(|target| target.generation > 1) else { return true };
            let world = self.world.lock();
            let wanted = wanted_weights(&world, &target, &target.wanted);
            world.services[name].proxies.values().all(|proxy| proxy.in_force == wanted)
        };
        !process.is_behind()
            && self.file.keys().all(is_as_wanted)
            && self.store.inspect(|data| {
                let there = || data.targets.values().filter(|target| self.file.contains_key(&target.name));
                data.rollouts.values().all(|data| data.rollout.phase.is_terminal())
                    && data.targets.values().all(|target| target.active.is_none())
                    && there().all(|t| (t.is_seen() || t.generation == 1) && t.found.is_none())
                    && data.inbox.values().all(|entry| {
                        let rollout = &data.rollouts[&entry.rollout].rollout;
                        entry.result.is_some() || !self.file.contains_key(&rollout.target)
                    })
            })
    }

    /// Looks whether a target's rollout moves on. False if it does not, and nobody can help it.
    async fn goes_on(&mut self, plan: &TargetPlan, places: &mut BTreeMap<&'static str, Place>) -> bool {
        let now = self.now();
        let rollout = self.active(plan.name);
        let at = match &rollout {
            Some(rollout) => place_of(rollout),
            None => Default::default(),
        };
        let known = places.entry(plan.name).or_insert_with(|| Place { at: at.clone(), since: now, words: 0 });
        if known.at != at {
            let is_other = known.at.0 != at.0;
            *known = Place { at, since: now, words: if is_other { 0 } else { known.words } };
        }
        let waited = Duration::from_millis((now - known.since).unsigned_abs());
        let patience = plan.policy.analysis.interval * 30;
        let Some(rollout) = rollout else {
            if waited > patience {
                known.since = now;
                self.decide_found(plan.name).await;
            }
            return true;
        };
        match bound(&rollout) {
            Some(bound) if waited > bound => {
                self.tell_stuck(&rollout, waited);
                false
            }
            None if waited > patience => {
                known.words += 1;
                known.since = now;
                let words = known.words;
                self.last_word(plan, &rollout, words).await;
                true
            }
            _ => true,
        }
    }

    fn tell_stuck(&self, rollout: &Rollout, waited: Duration) {
        let log = self.store.inspect(|data| {
            let events = data.rollouts[&rollout.id].events.values();
            events
                .map(|event| format!("\n    {}: {:?}: {}", event.at.0, event.kind, event.sentence))
                .collect()
        });
        let log: String = log;
        let what = format!(
            "liveness: {} of {} stays {:?} for {waited:?}, held by {:?}; its log:{log}",
            rollout.id, rollout.target, rollout.phase, rollout.holds
        );
        violated(&mut self.world.lock(), what);
    }

    /// A person decides what the evidence has not.
    async fn last_word(&mut self, plan: &TargetPlan, rollout: &Rollout, times: u32) {
        let kind = match times {
            1 if !rollout.holds.is_empty() => CommandKind::Resume,
            1..=3 => plan.last_word.clone(),
            _ => CommandKind::Rollback,
        };
        let (id, holds) = (&rollout.id, &rollout.holds);
        self.world.lock().tell(format!("the last word on {id}, held by {holds:?}: {}", kind.name()));
        self.command(plan.name, kind, Revision::None).await;
    }
}

/// Its id, where it is, and whether it is held there until a person acts.
fn place_of(rollout: &Rollout) -> (String, String, bool) {
    let stage = match rollout.phase {
        Phase::Progressing { stage: Stage::Settling, .. } => "settling",
        _ => "",
    };
    let place = format!("{} {:?} {stage}", rollout.phase.name(), rollout.phase.step());
    (rollout.id.0.clone(), place, !rollout.holds.iter().all(ends_by_itself))
}

/// Whether a hold ends without anybody's doing when nothing goes wrong.
fn ends_by_itself(hold: &Hold) -> bool {
    matches!(hold, Hold::Blind | Hold::NoTraffic)
}

/// How long a rollout may stay where it is when nothing goes wrong; `None` where it waits for a person.
fn bound(rollout: &Rollout) -> Option<Duration> {
    let policy = &rollout.policy;
    let analysis = &policy.analysis;
    let slack = SLACK + analysis.lag + analysis.warm_up + analysis.interval * 6;
    let confirm = analysis.confirm_within;
    let is_back = matches!(rollout.phase, Phase::RollingBack { .. } | Phase::Verifying { .. });
    if !is_back && !rollout.holds.iter().all(ends_by_itself) {
        return None;
    }
    // Nobody gives a canary requests that is only watched: its time does not count.
    if policy.mode == Mode::Observe {
        return None;
    }
    Some(match rollout.phase {
        Phase::Progressing { stage: Stage::Settling, .. } | Phase::Finalizing => slack + confirm,
        Phase::Progressing { step, .. } => slack + policy.steps.get(step)?.max?,
        Phase::Baking => slack + policy.bake.duration,
        Phase::RollingBack { .. } => slack + confirm,
        _ => slack,
    })
}
