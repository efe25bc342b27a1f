//! A target that no rollout has: what is done about the split that its router has.
//!
//! A store file that is lost, or that comes from an older backup, knows nothing of a release that the router
//! is in the middle of. A process that finds the canary with more than the store wants, at its first look,
//! cannot tell which of the two is right: it neither sets that right nor adopts it, but asks a person.

use super::found::{Decided, Decision, Found};
use super::ids::RolloutId;
use super::incident::{Incident, IncidentCause, IncidentStep};
use super::limit::Severity;
use super::notice::{Notice, NoticeKind};
use super::pools::ObservedSplit;
use super::split::{Split, Weight};
use super::target::{Finding, Proxies, Target};
use super::time::Timestamp;

/// What becomes of a target that no rollout has.
#[derive(Clone, Debug, PartialEq)]
pub struct Idle {
    /// The target afterwards.
    pub target: Target,
    /// What the look showed; `None` while a person has to decide.
    pub finding: Option<Finding>,
    /// What people are notified of.
    pub notices: Vec<Notice>,
}

/// Takes in a look at the router of a target that no rollout has. `is_first`: this process has not looked at
/// it before.
pub fn idle(target: &Target, observed: &ObservedSplit, is_first: bool, now: Timestamp) -> Idle {
    let mut idle = Idle { target: target.clone(), finding: None, notices: Vec::new() };
    idle.target.carry(observed, now);
    let found = target.found.clone().or_else(|| {
        let unstored = observed.unstored.map(|unstored| unstored.split);
        let found = unstored.or_else(|| unaccounted(target, observed).filter(|_| is_first));
        let split = found.filter(|split| *split != target.wanted)?;
        Some(Found { split, at: now, decided: None })
    });
    match found {
        Some(found) => idle.decide(found, observed, now),
        None => idle.reconcile(observed, now),
    }
    idle
}

/// More for the canary than the store wants, where that is no change that is still on its way.
fn unaccounted(target: &Target, observed: &ObservedSplit) -> Option<Split> {
    let settled = target.generation == 1 || target.is_seen();
    observed.split.filter(|found| settled && found.canary > target.wanted.canary)
}

impl Idle {
    /// The target is kept at its wanted split.
    fn reconcile(&mut self, observed: &ObservedSplit, now: Timestamp) {
        let target = &mut self.target;
        self.finding = Some(target.observe(observed, now));
        // A rollout that ended as failed left its incident open until the router follows.
        let safe = target.in_force(Proxies::All);
        let over = target.incident.take_if(|incident| {
            let causes = &incident.causes;
            safe && causes.contains(&IncidentCause::Failed) && !causes.contains(&IncidentCause::NotVerified)
        });
        if let Some(incident) = over {
            let sentence = format!("Over: the split of {} is confirmed at last.", target.name);
            self.notices.push(resolved(&self.target, &incident, sentence, now));
        }
    }

    /// Nothing is changed before a person has decided.
    fn decide(&mut self, mut found: Found, observed: &ObservedSplit, now: Timestamp) {
        self.target.nodes.clone_from(&observed.nodes);
        self.target.certain = false;
        let is_new = self.target.found.is_none();
        let unstored = observed.unstored.map(|unstored| unstored.split);
        found.split = unstored.or(observed.split).unwrap_or(found.split);
        let Found { split, decided, .. } = found.clone();
        let name = self.target.name.clone();
        match decided {
            _ if split == self.target.wanted => {
                self.over(format!("Over: the router of {name} has the split that is stored."), now);
                self.reconcile(observed, now);
            }
            Some(Decided { decision: Decision::Adopt, by }) => {
                self.target.adopt(split, now);
                if unstored.is_some() {
                    // The router has to be given it.
                    self.target.seen = None;
                }
                let how = match split.canary {
                    Weight::FULL => "the pool that has all traffic is stable now".to_owned(),
                    canary => format!("the canary keeps {canary}"),
                };
                self.over(format!("{by} adopted what the router of {name} had: {how}."), now);
            }
            Some(Decided { decision: Decision::Zero, by }) => {
                self.target.wanted = Split::STABLE;
                self.target.generation += 1;
                self.target.seen = None;
                self.over(format!("{by} set the canary of {name} to 0%; it had {}.", split.canary), now);
            }
            None => {
                if is_new {
                    self.open(&found, now);
                }
                self.target.found = Some(found);
            }
        }
    }

    fn open(&mut self, found: &Found, now: Timestamp) {
        let target = &mut self.target;
        let name = &target.name;
        let sentence = found.sentence(name);
        let rollout = target.last_exposed.clone().unwrap_or(RolloutId(String::new()));
        let key = format!("{name}/found/{now}");
        let incident = target.incident.get_or_insert_with(|| Incident {
            key,
            opened_at: now,
            rollout,
            causes: Default::default(),
            acknowledged_by: None,
            told: Default::default(),
        });
        incident.causes.insert(IncidentCause::Found);
        let change = incident.change(IncidentStep::Trigger);
        let notice = Notice {
            target: target.name.clone(),
            rollout: incident.rollout.0.clone(),
            stable_version: target.stable_version.clone(),
            weight: found.split.canary,
            incident: Some(change),
            ..Notice::new(
                format!("{}/opened", incident.key),
                NoticeKind::Alert,
                Severity::Critical,
                now,
                sentence,
            )
        };
        self.notices.push(notice);
    }

    /// What was found is decided; the incident is over, if it is about nothing else.
    fn over(&mut self, sentence: String, now: Timestamp) {
        self.target.found = None;
        let Some(incident) = &mut self.target.incident else { return };
        incident.causes.remove(&IncidentCause::Found);
        if incident.causes.is_empty() {
            let incident = incident.clone();
            self.target.incident = None;
            self.notices.push(resolved(&self.target, &incident, sentence, now));
        }
    }
}

impl Target {
    /// Wants what the router has. A canary with all traffic becomes stable, as after a promotion.
    fn adopt(&mut self, split: Split, now: Timestamp) {
        if split.canary == Weight::FULL {
            self.stable_version = None;
            self.turn(now);
        } else {
            self.take_as_seen(split, now);
        }
    }
}

fn resolved(target: &Target, incident: &Incident, sentence: String, now: Timestamp) -> Notice {
    Notice {
        target: target.name.clone(),
        rollout: incident.rollout.0.clone(),
        stable_version: target.stable_version.clone(),
        incident: Some(incident.change(IncidentStep::Resolve)),
        ..Notice::new(
            format!("{}/resolved", incident.key),
            NoticeKind::Resolved,
            Severity::Low,
            now,
            sentence,
        )
    }
}
