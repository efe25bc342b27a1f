//! What a process asks of the world: begun in any order, and told late, twice or never.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{AbortHandle, Abortable};
use serin::core::spec::TargetSpec;
use serin::engine::{HandOver, Inbound, Job, Loaded, Message, News, Outcome, Ticket};
use serin::ports::{Died, StoreError};

use super::Process;

/// Something that begins, or is told, at a time.
pub struct Errand {
    /// Not before this true time, in milliseconds.
    pub at: i64,
    pub what: What,
}

pub enum What {
    Perform(String, Ticket, Box<Job>),
    Deliver(String, Ticket, Box<Outcome>),
    Own(Arc<TargetSpec>),
    HandOver(HandOver),
}

/// What a call has brought.
pub enum Brought {
    Outcome(String, Ticket, Result<Box<Outcome>, Died>),
    Owned(Arc<TargetSpec>, Result<Box<Loaded>, StoreError>),
    News(News, Vec<String>),
    Told(Result<bool, Died>),
    /// The configuration was taken in, or nothing has changed.
    Declared(Option<BTreeMap<String, TargetSpec>>),
    HandedOver,
    CutOff,
}

impl Process {
    /// Something is to be done, at once or late.
    pub(super) fn send(&mut self, what: What) {
        let at = self.true_time() + self.delay();
        self.errands.push(Errand { at, what });
    }

    pub(super) fn cancel(&mut self, target: &str, ticket: &Ticket) {
        self.errands.retain(|errand| errand.what.job() != Some((target, ticket)));
        let is_meant = |(of, known, _): &&(String, Ticket, AbortHandle)| of == target && known == ticket;
        self.jobs.iter().filter(is_meant).for_each(|(.., job)| job.abort());
    }

    /// Most things take no time; some are late.
    fn delay(&mut self) -> i64 {
        if self.world.lock().hostile && self.dice.chance(0.05) {
            self.dice.between(1, 4_000) as i64
        } else {
            0
        }
    }

    /// One of those that are ready, whichever.
    pub(super) fn next_errand(&mut self) -> Option<Errand> {
        let now = self.world.lock().now;
        let ready: Vec<usize> = (0..self.errands.len()).filter(|&i| self.errands[i].at <= now).collect();
        if ready.is_empty() {
            return None;
        }
        let place = self.dice.between(0, ready.len() as u64 - 1) as usize;
        Some(self.errands.remove(ready[place]))
    }

    pub(super) fn begin(&mut self, what: What) {
        match what {
            What::Perform(target, ticket, job) => {
                let may_come_twice = matches!(*job, Job::Load { .. } | Job::Observe { .. } | Job::Look(_));
                if may_come_twice && self.is_rough() && self.dice.chance(0.02) {
                    self.perform(&target, &ticket, Job::clone(&job));
                }
                self.perform(&target, &ticket, *job);
            }
            What::Deliver(target, ticket, outcome) => {
                self.tell(Inbound::To(target, Message::Result(ticket, *outcome)));
            }
            What::Own(spec) => {
                let engine = self.engine.clone();
                let (given_up, registration) = AbortHandle::new_pair();
                self.beginnings.push(given_up);
                self.under_way.push(Box::pin(async move {
                    let name = spec.name.clone();
                    match Abortable::new(engine.own(&name), registration).await {
                        Ok(loaded) => Brought::Owned(spec, loaded.map(Box::new)),
                        Err(_) => Brought::CutOff,
                    }
                }));
            }
            What::HandOver(splits) => {
                let engine = self.engine.clone();
                self.under_way.push(Box::pin(async move {
                    engine.hand_over(&splits).await;
                    Brought::HandedOver
                }));
            }
        }
    }

    fn perform(&mut self, target: &str, ticket: &Ticket, job: Job) {
        let (cut_off, registration) = AbortHandle::new_pair();
        self.jobs.push((target.to_owned(), ticket.clone(), cut_off));
        let (engine, target, ticket) = (self.engine.clone(), target.to_owned(), ticket.clone());
        self.under_way.push(Box::pin(async move {
            let performed = Abortable::new(engine.perform(&target, job), registration).await;
            match performed {
                Ok(outcome) => Brought::Outcome(target, ticket, outcome.map(Box::new)),
                Err(_) => Brought::CutOff,
            }
        }));
    }

    /// Takes what a call has brought. `None` if the process has died in it.
    pub(super) fn take(&mut self, brought: Brought) -> Option<()> {
        match brought {
            Brought::Outcome(target, ticket, outcome) => {
                let outcome = outcome.ok()?;
                self.jobs.retain(|(.., job)| !job.is_aborted());
                let place = self.jobs.iter().position(|(of, known, _)| *of == target && *known == ticket);
                place.map(|place| self.jobs.remove(place));
                if self.is_rough() && self.dice.chance(0.01) {
                    let mut world = self.world.lock();
                    world.tell(format!("the result of {ticket:?} for {target} is lost"));
                    world.ledger.target(&target).looked = world.now;
                    return Some(());
                }
                match self.delay() {
                    0 => self.tell(Inbound::To(target, Message::Result(ticket, *outcome))),
                    late => {
                        let at = self.true_time() + late;
                        self.errands.push(Errand { at, what: What::Deliver(target, ticket, outcome) });
                    }
                }
            }
            Brought::Owned(spec, loaded) => {
                let (name, router) = (spec.name.clone(), spec.router.clone());
                let now = self.now();
                if self.fleet.loaded(spec, loaded, now).is_ok() {
                    self.world.lock().tell(format!("{name} is there"));
                    let splits = self.fleet.hand_over(&router);
                    self.send(What::HandOver(splits));
                    self.tell(Inbound::To(name, Message::News));
                }
            }
            Brought::News(news, names) => {
                self.news = Some(news);
                names.into_iter().for_each(|name| self.tell(Inbound::To(name, Message::News)));
            }
            Brought::Told(told) => {
                self.is_telling = false;
                told.ok()?;
            }
            Brought::Declared(file) => {
                self.is_declaring = false;
                if let Some(file) = file {
                    self.declared = file;
                }
                self.follow();
            }
            Brought::HandedOver | Brought::CutOff => {}
        }
        Some(())
    }
}

impl What {
    /// The job that it is about.
    pub fn job(&self) -> Option<(&str, &Ticket)> {
        match self {
            What::Perform(target, ticket, _) | What::Deliver(target, ticket, _) => Some((target, ticket)),
            What::Own(_) | What::HandOver(_) => None,
        }
    }
}

pub fn describe(what: &What) -> String {
    let (what, length) = match what {
        What::Perform(target, _, job) => (format!("{target}: {job:?}"), 2600),
        What::Deliver(target, _, outcome) => (format!("{target}: {outcome:?}"), 300),
        What::Own(spec) => (format!("own {}", spec.name), 300),
        What::HandOver(splits) => (format!("{splits:?}"), 300),
    };
    what.chars().take(length).collect()
}
