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
use crate::ports::{InboxEntry, Route, StoreError};

/// What can come to the fleet.
#[derive(Debug)]
pub enum Inbound {
    /// To the target of that name.
    To(String, Message),
    /// A command that was handed over in memory, to whatever target its rollout is on.
    Command(Box<InboxEntry>),
}

/// What follows from what is declared now.
#[derive(Debug, Default)]
pub struct Followed {
    /// Routers that steer a target now which another one steered before: they get their splits.
    pub rerouted: BTreeSet<String>,
    /// Targets that were not here yet: they are to be owned and read, and [`Fleet::loaded`] to be told of it.
    pub begin: Vec<Arc<TargetSpec>>,
    /// Targets that are declared otherwise, by name: they are to be listened to anew, and are due.
    pub changed: Vec<String>,
    /// Targets that are not here any more, by name.
    pub gone: Vec<String>,
}

/// The stored splits of all targets on a router, as the router is to have them before anything else.
#[derive(Debug)]
pub struct HandOver {
    /// The router.
    pub router: String,
    /// The targets on it, as it sees them.
    pub routes: Vec<Route>,
    /// Rises: an older one never comes after a newer one.
    pub number: u64,
}

/// All targets of this process.
pub struct Fleet {
    actors: BTreeMap<String, Actor>,
    /// Targets that are being owned and read.
    loading: BTreeSet<String>,
    /// Targets that were ever taken: what is on its way to one that is gone is not for the next one of its name.
    taken: u64,
    /// Hand-overs so far.
    handed: u64,
    /// When each of them is due, in order.
    due: BTreeSet<(Duration, String)>,
    telling: Arc<Telling>,
    freezes: Arc<Freezes>,
    options: Options,
}

impl Fleet {
    /// Without targets.
    pub fn new(telling: Arc<Telling>, freezes: Arc<Freezes>, options: Options) -> Fleet {
        let (actors, loading, due) = Default::default();
        Fleet { actors, loading, taken: 0, handed: 0, due, telling, freezes, options }
    }

    /// Goes on with what is declared now: begins with targets that are new, takes what has changed, and lets go of
    /// those that are gone. One with a rollout stays until that has ended, and one of which something is being
    /// stored until that is known.
    pub fn follow(&mut self, declared: &BTreeMap<String, Arc<TargetSpec>>) -> Followed {
        let mut followed = Followed::default();
        for (name, spec) in declared {
            match self.actors.get_mut(name) {
                Some(actor) if actor.spec() == spec.as_ref() => {}
                Some(actor) => {
                    if actor.spec().router != spec.router {
                        followed.rerouted.insert(spec.router.clone());
                    }
                    actor.set_spec(spec.clone());
                    followed.changed.push(name.clone());
                }
                None if self.loading.insert(name.clone()) => followed.begin.push(spec.clone()),
                None => {}
            }
        }
        let gone =
            self.actors.values().filter(|actor| !declared.contains_key(actor.name()) && actor.may_go());
        followed.gone = gone.map(|actor| actor.name().to_owned()).collect();
        followed.gone.iter().for_each(|name| self.remove(name));
        followed
    }

    /// A target that [`Fleet::follow`] has begun with was read, or was not: then it is begun with again.
    ///
    /// # Errors
    /// The same [`StoreError`].
    pub fn loaded(
        &mut self,
        spec: Arc<TargetSpec>,
        loaded: Result<Box<Loaded>, StoreError>,
        now: Now,
    ) -> Result<(), StoreError> {
        self.loading.remove(&spec.name);
        self.add(spec, *loaded?, now);
        Ok(())
    }

    /// Takes a target as it was loaded.
    pub fn add(&mut self, spec: Arc<TargetSpec>, loaded: Loaded, now: Now) {
        let (telling, freezes) = (self.telling.clone(), self.freezes.clone());
        self.taken += 1;
        let actor = Actor::new(spec, loaded, telling, freezes, self.options, now).numbered(self.taken << 32);
        let name = actor.name().to_owned();
        self.due.retain(|(_, known)| *known != name);
        self.due.insert((now.monotonic, name.clone()));
        self.actors.insert(name, actor);
    }

    fn remove(&mut self, name: &str) {
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

    /// Every target on a router, for the router.
    pub fn hand_over(&mut self, router: &str) -> HandOver {
        self.handed += 1;
        let on_it = self.actors.values().filter(|actor| actor.spec().router == router);
        HandOver { router: router.to_owned(), routes: on_it.map(Actor::route).collect(), number: self.handed }
    }

    /// Others are told, or in other words, from now on.
    pub fn set_telling(&mut self, telling: &Arc<Telling>) {
        self.telling = telling.clone();
        self.actors.values_mut().for_each(|actor| actor.set_telling(telling.clone()));
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
