//! Who is told a notice: the channels by the routes, and the hooks that it sets off.

use super::{Outbox, hooks};
use crate::core::gate::HookPoint;
use crate::core::rollout::{IncidentChange, Notice, NoticeKind, Rollout};
use crate::core::routing::{Route, channel_of};
use crate::core::target::Target;
use crate::ports::Outgoing;

impl Outbox {
    /// What a notice of a rollout puts into the outbox: for everybody who is told, and for the hooks that
    /// are set off. It is stored with the commit that the notice is about; if that opens an incident, the target
    /// of the commit keeps who was told.
    pub fn told(&self, rollout: &Rollout, target: &mut Target, notice: &Notice) -> Vec<Outgoing> {
        let mut notice = self.in_environment(notice);
        notice.message = self.words.own(&rollout.policy.messages, &notice);
        let mut outgoing = self.channels_of(&notice);
        let about = outgoing.iter().filter(|outgoing| outgoing.notice.incident.is_some());
        target.incident_goes_to(&notice, about.map(|outgoing| channel_of(&outgoing.queue)));
        let notice = for_receivers(&notice, true);
        outgoing.extend(
            queues(rollout, &notice).into_iter().map(|queue| Outgoing::at_once(queue, notice.clone())),
        );
        outgoing
    }

    /// Where a notice goes, queue by queue.
    pub fn channels_of(&self, notice: &Notice) -> Vec<Outgoing> {
        let notice = self.in_environment(notice);
        let routes = self.routing.routes(&notice, self.clock().wall());
        let known = routes.into_iter().filter(|route| self.notifiers.contains_key(&route.channel));
        let out = |route: Route| Outgoing {
            queue: route.queue,
            notice: for_receivers(&notice, route.about_incident),
            due: route.due,
        };
        known.map(out).collect()
    }

    /// With the environment of its target, which routes may ask for.
    fn in_environment(&self, notice: &Notice) -> Notice {
        let spec = self.handle.targets().get(&notice.target).cloned();
        let environment =
            spec.and_then(|spec| spec.environment.clone()).or_else(|| notice.environment.clone());
        Notice { environment, ..notice.clone() }
    }
}

/// The notice as it is sent.
fn for_receivers(notice: &Notice, about_incident: bool) -> Notice {
    let incident = notice.incident.clone().filter(|_| about_incident);
    let incident = incident.map(|change| IncidentChange { told: Vec::new(), ..change });
    Notice { incident, ..notice.clone() }
}

/// The queues of the hooks that a notice sets off.
fn queues(rollout: &Rollout, notice: &Notice) -> Vec<String> {
    let Some(point) = point(notice.kind) else { return Vec::new() };
    let set_off = rollout.policy.hooks.iter().filter(|hook| hook.on.contains(&point));
    set_off.map(|hook| format!("{}{}", hooks::PREFIX, hook.name)).collect()
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
