//! Assessments are not stored while they can be judged again from the observations. What was judged is kept
//! in memory for a while: reading the same rollouts again and again costs no judging.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::ids::RolloutId;
use crate::core::judge::{Assessment, JudgeState};
use crate::core::metric::TickObservation;
use crate::core::rollout::{Plan, Rollout};
use crate::ports::StoreError;

/// Rollouts whose last assessment is kept.
const LASTS: usize = 20_000;
/// Rollouts whose evidence is kept where somebody has read to.
const PLACES: usize = 16;

/// What was judged.
#[derive(Debug, Default)]
pub(super) struct Replays {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By rollout: the last look, and what it was judged as.
    lasts: HashMap<RolloutId, (u64, Arc<Assessment>)>,
    /// The evidence after a look of a rollout, the newest last.
    places: VecDeque<(RolloutId, u64, JudgeState)>,
}

impl Replays {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the look was judged as, if that is known.
    pub fn last(&self, id: &RolloutId, seq: u64) -> Option<Assessment> {
        let kept = self.kept();
        kept.lasts.get(id).filter(|(of, _)| *of == seq).map(|(_, last)| Assessment::clone(last))
    }

    /// Keeps what a stored rollout's last look was judged as, until it has ended.
    pub fn keep(&self, rollout: &Rollout) {
        let mut kept = self.kept();
        let last = rollout.last.as_ref().filter(|_| !rollout.phase.is_terminal());
        let Some(last) = last else {
            kept.lasts.remove(&rollout.id);
            return;
        };
        if kept.lasts.len() >= LASTS && !kept.lasts.contains_key(&rollout.id) {
            // Whichever it is: what is lost is judged again.
            let any = kept.lasts.keys().next().cloned();
            any.and_then(|id| kept.lasts.remove(&id));
        }
        kept.lasts.insert(rollout.id.clone(), (rollout.tick_seq, Arc::new(last.clone())));
    }

    /// The evidence that is nearest to a look, not after it.
    pub fn place(&self, id: &RolloutId, until: u64) -> Option<(u64, JudgeState)> {
        let kept = self.kept();
        let places = kept.places.iter().filter(|(of, seq, _)| of == id && *seq <= until);
        places.max_by_key(|(_, seq, _)| *seq).map(|(_, seq, judge)| (*seq, judge.clone()))
    }

    /// Keeps the evidence after a look, in place of what was kept of the rollout.
    pub fn put(&self, id: &RolloutId, seq: u64, judge: JudgeState) {
        let mut kept = self.kept();
        kept.places.retain(|(of, _, _)| of != id);
        kept.places.push_back((id.clone(), seq, judge));
        while kept.places.len() > PLACES {
            kept.places.pop_front();
        }
    }
}

/// Judges looks that follow the evidence, away from the threads that serve others: what each is judged as,
/// and the evidence after them.
pub(super) async fn judge(
    plan: &Arc<Plan>,
    evidence: Option<JudgeState>,
    ticks: Vec<TickObservation>,
) -> Result<(Vec<(TickObservation, Assessment)>, JudgeState), StoreError> {
    let plan = Arc::clone(plan);
    let work = move || {
        let begin = || JudgeState::of_method(plan.method, &plan.policy, plan.history.as_ref());
        let mut judge = evidence.unwrap_or_else(begin);
        let judged = ticks.into_iter().map(|tick| {
            let assessment = judge.observe(&plan.policy, &tick);
            (tick, assessment)
        });
        (judged.collect(), judge)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Unavailable(format!("looks could not be judged again: {error}")))
}
