//! What the store holds: read when there is news, after a conflict, and when it is not known whether a commit was
//! stored.

use std::time::Duration;

use super::actor::{Actor, Arrived};
use super::message::{Active, Answer, Decision, Job, JobKind, Loaded, Now};
use crate::core::rollout::Rollout;
use crate::core::target::Target;
use crate::ports::StoreError;

impl Actor {
    /// Reads what the store holds.
    pub(super) fn load(&mut self, now: Now, out: &mut Decision) {
        self.has_news = false;
        self.steering.is_reading = self.steering.must_read;
        let known = (!self.is_outdated).then_some(self.target.revision);
        let keys = self.commands.iter().filter(|pending| !pending.is_stored);
        let keys = keys.map(|pending| pending.entry.command.key.clone()).collect();
        self.send(JobKind::Load, Job::Load { known, keys }, now, out);
    }

    /// What the store holds has come.
    pub(super) fn loaded(&mut self, loaded: Result<Box<Loaded>, StoreError>, now: Now, out: &mut Decision) {
        // What was asked for before the look that made it necessary says nothing of what was found.
        if std::mem::take(&mut self.steering.is_reading) {
            self.steering.must_read = false;
        }
        let loaded = match loaded {
            Ok(loaded) => *loaded,
            Err(error) => {
                self.has_news = true;
                self.in_doubt = false;
                return self.store_failed(&error, now, out);
            }
        };
        out.storing = Some(true);
        self.in_doubt = false;
        if self.flight.is_some() || self.owed.is_some() {
            // It may be older than what is on its way.
            self.has_news = true;
            return;
        }
        if loaded.target.revision < self.target.revision {
            // It was read before the last commit.
            self.has_news = true;
            return;
        }
        if loaded.target.epoch != self.target.epoch {
            tracing::error!(target_name = %self.target.name, "another process owns the target now");
            out.is_lost = true;
            self.is_lost = true;
            return;
        }
        out.shows = true;
        out.answers
            .extend(loaded.done.iter().map(|(key, result)| (key.clone(), Answer::Stored(result.clone()))));
        self.adopt(loaded);
    }

    /// Goes on with what the store holds.
    pub(super) fn adopt(&mut self, loaded: Loaded) {
        let Loaded { target, active, waiting, ended, inbox, done, .. } = loaded;
        if let Some(active) = active {
            // What is being looked at was asked for by cursors that somebody else has moved on.
            self.looks.forget();
            self.arrived.retain(|arrived| !matches!(arrived, Arrived::Tick { .. } | Arrived::History(_)));
            let id = |active: &Active| active.rollout.id.clone();
            let active = active.map(|active| *active);
            if active.as_ref().map(id) != self.active.as_ref().map(id) {
                self.looks.last_tick = None;
            }
            self.target = Target {
                epoch: self.target.epoch,
                has_baseline: self.spec.baseline.is_some(),
                split_by: self.spec.split_by,
                drain: self.options.drain,
                stable_version: target.stable_version.or_else(|| self.spec.stable_version.clone()),
                ..target
            };
            self.active = active;
            if self.target.found.is_some() {
                // Somebody may have decided.
                self.steering.look_now(Duration::ZERO);
            }
            self.is_outdated = false;
        }
        self.waiting = waiting;
        self.ended = ended;
        self.take_inbox(inbox, &done);
    }

    /// A rollout of this target that does not have it is now as it stands here.
    pub(super) fn knows(&mut self, rollout: Rollout) {
        self.waiting.retain(|known| known.id != rollout.id);
        self.ended.retain(|known| known.id != rollout.id);
        let list = if rollout.phase.is_terminal() { &mut self.ended } else { &mut self.waiting };
        list.push(rollout);
        self.waiting.sort_by(|a, b| a.id.cmp(&b.id));
    }
}
