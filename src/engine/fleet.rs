//! All targets of this process and what each of them asks for. Synchronous like the actors: production and
//! simulation carry out what it says, each in its own way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::freezes::Freezes;
use super::target::{Actor, Decision, Loaded, Message, Now};
use super::telling::Telling;
use crate::core::ids::RolloutId;
use crate::core::spec::TargetSpec;
use crate::ports::{InboxEntry, Route};

/// What can come to the fleet.
#[derive(Debug)]
pub enum Inbound {
    /// To the target of that name.
    To(String, Message),
    /// A command that was handed over in memory, to whatever target its rollout is on.
    Command(Box<InboxEntry>),
}

/// All targets of this process.
pub struct Fleet {
    actors: BTreeMap<String, Actor>,
    /// When each of them is due, in order.
    due: BTreeSet<(Duration, String)>,
    telling: Arc<Telling>,
    freezes: Arc<Freezes>,
    options: Options,
}

impl Fleet {
    /// Without targets.
    pub fn new(telling: Arc<Telling>, freezes: Arc<Freezes>, options: Options) -> Fleet {
        Fleet { actors: BTreeMap::new(), due: BTreeSet::new(), telling, freezes, options }
    }

    /// Takes a target as it was loaded.
    pub fn add(&mut self, spec: Arc<TargetSpec>, loaded: Loaded, now: Now) {
        let (telling, freezes) = (self.telling.clone(), self.freezes.clone());
        let actor = Actor::new(spec, loaded, telling, freezes, self.options, now);
        let name = actor.name().to_owned();
        self.due.retain(|(_, known)| *known != name);
        self.due.insert((now.monotonic, name.clone()));
        self.actors.insert(name, actor);
    }

    /// A target is declared otherwise.
    pub fn respec(&mut self, name: &str, spec: Arc<TargetSpec>) {
        if let Some(actor) = self.actors.get_mut(name) {
            actor.set_spec(spec);
        }
    }

    /// A target is not this process's any more.
    pub fn remove(&mut self, name: &str) {
        self.actors.remove(name);
        self.due.retain(|(_, known)| known != name);
    }

    /// The targets, by name.
    pub fn actors(&self) -> impl Iterator<Item = &Actor> {
        self.actors.values()
    }

    /// One target.
    pub fn actor(&self, name: &str) -> Option<&Actor> {
        self.actors.get(name)
    }

    /// Every target on a router, as the router sees it.
    pub fn routes(&self, router: &str) -> Vec<Route> {
        self.actors.values().filter(|actor| actor.spec().router == router).map(Actor::route).collect()
    }

    /// Other freezes hold from now on. Gives the targets that have to look at them.
    pub fn set_freezes(&mut self, freezes: &Arc<Freezes>) -> Vec<String> {
        self.freezes = freezes.clone();
        self.actors.values_mut().for_each(|actor| actor.set_freezes(freezes.clone()));
        self.actors.values().filter(|actor| actor.active().is_some()).map(|a| a.name().to_owned()).collect()
    }

    /// Takes what has come to it. Gives what each target that took something wants.
    pub fn take(&mut self, inbound: Inbound, now: Now) -> Vec<(String, Decision)> {
        match inbound {
            Inbound::To(name, message) => self.tell(name, message, now).into_iter().collect(),
            Inbound::Command(entry) => {
                let Some(name) = self.target_of(&entry.rollout) else { return Vec::new() };
                self.tell(name, Message::Command(entry), now).into_iter().collect()
            }
        }
    }

    /// When the next target is due, by the monotonic clock.
    pub fn due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The targets that are due.
    pub fn due_targets(&self, now: Now) -> Vec<String> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now.monotonic);
        due.map(|(_, name)| name.clone()).collect()
    }

    fn tell(&mut self, name: String, message: Message, now: Now) -> Option<(String, Decision)> {
        let actor = self.actors.get_mut(&name)?;
        let before = actor.due();
        let decision = actor.take(message, now);
        let after = actor.due();
        if !self.due.remove(&(before, name.clone())) {
            self.due.retain(|(_, known)| *known != name);
        }
        self.due.insert((after, name.clone()));
        Some((name, decision))
    }

    fn target_of(&self, rollout: &RolloutId) -> Option<String> {
        self.actors.values().find(|actor| actor.knows_of(rollout)).map(|actor| actor.name().to_owned())
    }
}
