//! Gates are asked beside the loop: a check that takes minutes delays no look and no way back.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Engine;
use super::slot::Slot;
use crate::core::arms::arms;
use crate::core::gate::{Check, GateAnswer, Occasion};
use crate::core::rollout::{DueGate, Event, Hold, RolloutId, due_gates, running_gates};
use crate::core::target::Weight;
use crate::ports::{Died, GateRequest};

/// Longest time that a check may take, whatever it says itself.
const LONGEST: Duration = Duration::from_secs(7 * 3600);
/// Between two questions of a check that has no time of its own.
const POLL: Duration = Duration::from_secs(10);

/// The checks of one target that are being asked.
#[derive(Default)]
pub(super) struct Asking {
    /// Of which rollout.
    rollout: Option<RolloutId>,
    /// By gate.
    tasks: BTreeMap<String, JoinHandle<GateAnswer>>,
    /// Not before, by gate.
    next: BTreeMap<String, Duration>,
    /// When something is to be done.
    due: Option<Duration>,
}

impl Asking {
    /// When something is to be done.
    pub fn due(&self) -> Duration {
        self.due.unwrap_or(Duration::MAX)
    }

    /// Whatever is asked is not wanted any more; programs are killed with it.
    fn stop(&mut self, wanted: impl Fn(&str) -> bool) {
        self.tasks.retain(|gate, task| {
            let keep = wanted(gate);
            if !keep {
                task.abort();
            }
            keep
        });
        self.next.retain(|gate, _| wanted(gate));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop(|_| false);
    }
}

impl Engine {
    /// Takes in what checks have said, and asks those that are due.
    pub(super) async fn gates(&self, slot: &mut Slot) -> Result<(), Died> {
        slot.asking.due = None;
        let id = slot.active.as_ref().map(|active| active.rollout.id.clone());
        if slot.asking.rollout != id {
            slot.asking.stop(|_| false);
            slot.asking.rollout.clone_from(&id);
            self.tell_lost_programs(slot).await?;
        }
        if id.is_none() || slot.unsaved.is_some() || slot.outdated {
            return Ok(());
        }
        self.take_answers(slot).await?;
        let Some(active) = &slot.active else { return Ok(()) };
        let due = due_gates(&active.rollout);
        let running = running_gates(&active.rollout);
        slot.asking
            .stop(|name| due.iter().any(|due| due.gate.name == name) || running.iter().any(|r| r == name));
        let now = self.clock().monotonic();
        for gate in due {
            let name = gate.gate.name.clone();
            let later = slot.asking.next.get(&name).is_some_and(|next| *next > now);
            if !later && !slot.asking.tasks.contains_key(&name) {
                self.ask(slot, gate).await?;
            }
        }
        let soon = (!slot.asking.tasks.is_empty()).then_some(now + self.parts.options.confirm_interval);
        let next = slot.asking.next.iter().filter(|(gate, _)| !slot.asking.tasks.contains_key(*gate));
        slot.asking.due = next.map(|(_, next)| *next).chain(soon).min();
        Ok(())
    }

    /// Programs that ran when an earlier process ended.
    async fn tell_lost_programs(&self, slot: &mut Slot) -> Result<(), Died> {
        let Some(active) = &slot.active else { return Ok(()) };
        for gate in running_gates(&active.rollout) {
            let detail =
                "its program had begun when Serin stopped, and how it ended is not known.".to_owned();
            let event = Event::Gate { gate, answer: GateAnswer::Lost(detail) };
            if !self.take(slot, event, BTreeMap::new(), None).await? {
                // Not stored: this is found again.
                slot.asking.rollout = None;
            }
        }
        Ok(())
    }

    async fn take_answers(&self, slot: &mut Slot) -> Result<(), Died> {
        let finished = slot.asking.tasks.iter().filter(|(_, task)| task.is_finished());
        let finished: Vec<String> = finished.map(|(gate, _)| gate.clone()).collect();
        for gate in finished {
            let Some(task) = slot.asking.tasks.remove(&gate) else { continue };
            let answer = task.await.unwrap_or_else(|_| {
                GateAnswer::Lost(
                    "its check ended in an unexpected way, and what it did is not known.".to_owned(),
                )
            });
            let event = Event::Gate { gate: gate.clone(), answer: answer.clone() };
            let stored = self.take(slot, event, BTreeMap::new(), None).await?;
            let later = slot.outdated || slot.unsaved.is_some() || !self.parts.handle.is_ready();
            if !stored && later {
                // The store was away, or had something newer: what was said is taken in then.
                slot.asking.tasks.insert(gate, tokio::spawn(async move { answer }));
            }
        }
        Ok(())
    }

    async fn ask(&self, slot: &mut Slot, due: DueGate) -> Result<(), Died> {
        let Some(active) = &slot.active else { return Ok(()) };
        let rollout = &active.rollout;
        let name = due.gate.name.clone();
        // The step that it stands before; what is asked all along is told the next one.
        let step = match due.occasion {
            Occasion::Start => 0,
            Occasion::Step(step) => step,
            Occasion::Finish => rollout.policy.steps.len(),
            Occasion::During => rollout.phase.step().map_or(0, |step| step + 1),
        };
        let poll = match &due.gate.check {
            Check::Webhook(webhook) => webhook.poll,
            _ => rollout.policy.analysis.interval.clamp(Duration::from_secs(1), POLL),
        };
        let next = self.clock().monotonic() + poll;
        slot.asking.next.insert(name.clone(), next);
        let (canary, baseline) = match arms(&slot.spec, &slot.target, &rollout.version) {
            Ok(arms) => arms,
            Err(sentence) => {
                let event = Event::Gate { gate: name, answer: GateAnswer::Fault(sentence) };
                self.take(slot, event, BTreeMap::new(), None).await?;
                return Ok(());
            }
        };
        let occasion = serde_json::to_string(&due.occasion).unwrap_or_default();
        let occasion: String = occasion.chars().filter(char::is_ascii_alphanumeric).collect();
        let request = GateRequest {
            key: format!("{}/{occasion}/{name}/{}", rollout.id, due.asked),
            occasion: due.occasion,
            rollout: rollout.id.clone(),
            target: rollout.target.clone(),
            provider: slot.spec.provider.clone(),
            version: rollout.version.clone(),
            stable_version: slot.target.stable_version.clone(),
            policy: rollout.policy.name.clone(),
            weight: rollout.policy.steps.get(step).map_or(Weight::FULL, |step| step.weight),
            started_by: rollout.created_by.clone(),
            canary,
            baseline,
            now: self.clock().wall(),
            gate: due.gate,
        };
        if request.gate.check.is_once()
            && !self.take(slot, Event::GateBegun { gate: name.clone() }, BTreeMap::new(), None).await?
        {
            return Ok(());
        }
        self.pass("gate_begun")?;
        let gatekeeper = self.parts.gatekeeper.clone();
        let task = tokio::spawn(async move {
            let answer = timeout(LONGEST, gatekeeper.ask(&request)).await;
            answer.unwrap_or_else(|_| match request.gate.check.is_once() {
                true => {
                    GateAnswer::Lost("it gave no answer in time, and what it did is not known.".to_owned())
                }
                false => GateAnswer::Fault("no answer in time".to_owned()),
            })
        });
        slot.asking.tasks.insert(name, task);
        Ok(())
    }

    /// Whether the target is frozen.
    pub(super) async fn freeze(&self, slot: &mut Slot) -> Result<(), Died> {
        let Some(active) = &slot.active else { return Ok(()) };
        let now = self.clock().wall();
        let why = self.parts.handle.frozen(&slot.target.name, now);
        let is_known = why.is_some() || self.parts.handle.knows_freezes();
        if is_known && why.is_some() != active.rollout.holds.contains(&Hold::Freeze) {
            self.take(slot, Event::Freeze(why), BTreeMap::new(), None).await?;
        }
        Ok(())
    }

    /// Announces scheduled rollouts whose time has come near. Gives the targets that have one to begin.
    pub(super) async fn announce_scheduled(&self) -> Result<Vec<String>, Died> {
        let now = self.clock().wall();
        let Ok(scheduled) = self.store().all_scheduled(200).await else { return Ok(Vec::new()) };
        let mut begin = Vec::new();
        for rollout in scheduled {
            let Some(begins_at) = rollout.not_before else { continue };
            let Some(slot) = self.slots.get(&rollout.target) else { continue };
            let Ok(mut slot) = slot.try_lock() else { continue };
            if now >= begins_at {
                slot.asked = true;
                begin.push(rollout.target.clone());
                continue;
            }
            let leads = rollout.policy.announce.iter().filter(|lead| begins_at.minus(**lead) <= now);
            let Some(lead) = leads.min().copied().filter(|lead| !rollout.announced.contains(lead)) else {
                continue;
            };
            self.scheduled_event(&mut slot, &rollout.id, Event::Announce(lead), None).await?;
        }
        Ok(begin)
    }
}
