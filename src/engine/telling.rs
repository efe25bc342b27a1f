//! Who is told what: from a notice to the queues of the outbox.

use std::collections::BTreeSet;

use super::outbox::hooks::PREFIX;
use crate::core::gate::HookPoint;
use crate::core::incident::IncidentChange;
use crate::core::notice::{Notice, NoticeKind};
use crate::core::rollout::Rollout;
use crate::core::routing::{Route, Routing, channel_of};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::messages::Words;
use crate::ports::Outgoing;

/// Which channels get what, in which words. Plain values.
#[derive(Debug, Default)]
pub struct Telling {
    /// Which channels get what.
    pub routing: Routing,
    /// Makes the texts that policies have written.
    pub words: Words,
    /// The channels that there are; others are passed over.
    pub channels: BTreeSet<String>,
}

impl Telling {
    /// Everybody who is told of something that happened to a rollout, and the hooks that are set off. It is
    /// stored with the commit that the notice is about; if that opens an incident, the target of the commit keeps
    /// who was told.
    pub fn of_rollout(
        &self,
        environment: Option<&str>,
        rollout: &Rollout,
        target: &mut Target,
        notice: &Notice,
        now: Timestamp,
    ) -> Vec<Outgoing> {
        let mut notice = in_environment(environment, notice);
        notice.message = self.words.own(&rollout.policy.messages, &notice);
        let mut outgoing = self.queues_for(&notice, target, now);
        let notice = for_receivers(&notice, true);
        let hooks = hooks_of(rollout, &notice);
        outgoing.extend(hooks.into_iter().map(|queue| Outgoing::at_once(queue, notice.clone())));
        outgoing
    }

    /// Everybody who is told of something that happened to a target that no rollout has; if that opens an incident,
    /// the target keeps who was told.
    pub fn of_target(
        &self,
        environment: Option<&str>,
        target: &mut Target,
        notice: &Notice,
        now: Timestamp,
    ) -> Vec<Outgoing> {
        self.queues_for(&in_environment(environment, notice), target, now)
    }

    fn queues_for(&self, notice: &Notice, target: &mut Target, now: Timestamp) -> Vec<Outgoing> {
        let outgoing = self.queues_of(notice, now);
        let about = outgoing.iter().filter(|outgoing| outgoing.notice.incident.is_some());
        target.incident_goes_to(notice, about.map(|outgoing| channel_of(&outgoing.queue)));
        outgoing
    }

    fn queues_of(&self, notice: &Notice, now: Timestamp) -> Vec<Outgoing> {
        let routes = self.routing.routes(notice, now);
        let known = routes.into_iter().filter(|route| self.channels.contains(&route.channel));
        let out = |route: Route| Outgoing {
            queue: route.queue,
            notice: for_receivers(notice, route.about_incident),
            due: route.due,
        };
        known.map(out).collect()
    }
}

/// With the environment of its target, which routes may ask for.
fn in_environment(environment: Option<&str>, notice: &Notice) -> Notice {
    let environment = environment.map(str::to_owned).or_else(|| notice.environment.clone());
    Notice { environment, ..notice.clone() }
}

/// The notice as it is sent.
fn for_receivers(notice: &Notice, about_incident: bool) -> Notice {
    let incident = notice.incident.clone().filter(|_| about_incident);
    let incident = incident.map(|change| IncidentChange { told: Vec::new(), ..change });
    Notice { incident, ..notice.clone() }
}

/// The queues of the hooks that a notice sets off.
fn hooks_of(rollout: &Rollout, notice: &Notice) -> Vec<String> {
    let Some(point) = point(notice.kind) else { return Vec::new() };
    let set_off = rollout.policy.hooks.iter().filter(|hook| hook.on.contains(&point));
    set_off.map(|hook| format!("{}{}", PREFIX, hook.name)).collect()
}

fn point(kind: NoticeKind) -> Option<HookPoint> {
    Some(match kind {
        NoticeKind::Started => HookPoint::Started,
        NoticeKind::Step => HookPoint::Step,
        NoticeKind::Promoted => HookPoint::Promoted,
        NoticeKind::Succeeded => HookPoint::Succeeded,
        NoticeKind::RolledBack => HookPoint::RolledBack,
        NoticeKind::Cancelled => HookPoint::Cancelled,
        NoticeKind::Failed => HookPoint::Failed,
        _ => return None,
    })
}
