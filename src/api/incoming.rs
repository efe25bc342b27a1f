//! Hooks that others call: the webhooks of Alertmanager and of Grafana. They are read here and handed over;
//! what an alert does is decided by the core.

mod body;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures::future::join_all;
use sha2::{Digest, Sha256};

pub(super) use body::AlertsBody;

use super::Api;
use super::access::{Permission, Principal};
use super::problem::Problem;
use crate::contract::gates::{IncomingItem, IncomingView, RefusedAlert};
use crate::core::alert::{Alert, is_own, names_canary};
use crate::core::ids::RolloutId;
use crate::core::rollout::{AlertDecision, Command, CommandKind, Force, Giver, Rollout, alert_decision};
use crate::core::spec::TargetSpec;
use crate::core::target::Target;
use crate::ports::StoreError;
use body::Told;

/// Alerts that are handed over by one command.
const BATCH: usize = 100;
/// Refused alerts that the answer names.
const MOST_REFUSED: usize = 100;
/// Largest body, in bytes: a group has many alerts when much is wrong.
pub(super) const BYTES: usize = 1024 * 1024;

/// `POST /hooks/alertmanager`: what fires, and what is over, is handed to the rollouts of the targets that the
/// alerts' labels name. Takes the webhooks of Alertmanager (version 4) and of Grafana (version 1).
///
/// An alert that cannot be read refuses only itself.
#[utoipa::path(post, path = "/api/v1/hooks/alertmanager", tag = "rollouts", operation_id = "alertmanager_hook",
    request_body = AlertsBody,
    responses((status = 200, description = "What was done", body = IncomingView)))]
pub(super) async fn alertmanager(
    State(api): State<Api>,
    principal: Principal,
    body: Result<Json<AlertsBody>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<IncomingView>, Problem> {
    let Json(body) = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(BYTES),
        _ => Problem::not_json(rejection.body_text()),
    })?;
    let Some(sender) = body.sender() else {
        let expected = "`version` must be 4, the form of Alertmanager's webhook, or 1, the form of Grafana's";
        return Err(Problem::field("version", expected));
    };
    principal.note("hook.alertmanager", &format!("{} alerts", body.alerts.len()));
    let mut incoming = Incoming { api: &api, principal: &principal, sender, view: IncomingView::default() };
    let by_target = incoming.by_target(&body);
    // All at once, and what cannot be followed keeps nothing else from being followed.
    let followed = join_all(by_target.into_iter().map(|(target, told)| incoming.follow(target, told))).await;
    let mut failed = None;
    for (items, stored) in followed {
        incoming.view.items.extend(items);
        failed = stored.err().or(failed);
    }
    match failed {
        // It comes again, and what was taken is not taken twice.
        Some(problem) => Err(problem),
        None => Ok(Json(incoming.view)),
    }
}

struct Incoming<'a> {
    api: &'a Api,
    principal: &'a Principal,
    sender: &'static str,
    view: IncomingView,
}

impl Incoming<'_> {
    /// The alerts that can be read, by the target that they name. Those of targets that are not configured, or
    /// that the caller may not see, and Serin's own are left out.
    fn by_target(&mut self, body: &AlertsBody) -> BTreeMap<String, Vec<Told>> {
        let rules = self.api.people.incoming();
        let now = self.api.handle.clock().wall();
        let mut targets: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        for value in &body.alerts {
            let told = match body::read(value, now) {
                Ok(told) => told,
                Err((alert, why)) => {
                    self.refuse(alert, why);
                    continue;
                }
            };
            let Some(target) = told.labels.get(&rules.target_label).cloned() else { continue };
            let is_known = self.api.handle.targets().contains_key(&target) && self.principal.sees(&target);
            if !is_known || is_own(&told.labels, &target) {
                continue;
            }
            if let Err(problem) = self.principal.allow(Permission::Operate, &target) {
                self.refuse(told.alert.name, problem.detail);
                continue;
            }
            let wish = rules.wish(&told.labels);
            targets.entry(target).or_default().push(Told { alert: Alert { wish, ..told.alert }, ..told });
        }
        // What takes a canary back comes first.
        targets.values_mut().for_each(|told| told.sort_by_key(|told| std::cmp::Reverse(told.alert.wish)));
        targets
    }

    fn refuse(&mut self, alert: String, why: String) {
        if self.view.refused.len() < MOST_REFUSED {
            self.view.refused.push(RefusedAlert { alert, why });
        }
        self.view.refused_count += 1;
    }

    /// Hands alerts to the target's rollouts, and remembers them for those that come later. The rollouts that the
    /// engine knows hear of them at once, whatever the store does; the receipt is stored beside it.
    async fn follow(&self, target: String, told: Vec<Told>) -> (Vec<IncomingItem>, Result<(), Problem>) {
        let Some(spec) = self.api.handle.targets().get(&target).cloned() else { return (Vec::new(), Ok(())) };
        let alerts: Vec<Alert> = told.iter().map(|told| told.alert.clone()).collect();
        let standing = self.api.handle.standing(&target);
        let mut items = Vec::new();
        let mut known: Vec<RolloutId> = Vec::new();
        let mut at_once = Vec::new();
        if let Some(standing) = standing.as_deref() {
            for rollout in standing.rollouts() {
                known.push(rollout.id.clone());
                let commands = self.commands(&spec, &standing.target, rollout, &told, &mut items);
                at_once.push(self.hand_over(rollout.id.clone(), commands));
            }
        }
        let receipt = self.api.handle.store().receive_alerts(&target, &alerts);
        let (handed, received) = tokio::join!(join_all(at_once), receipt);
        let done = async {
            received?;
            handed.into_iter().collect::<Result<(), Problem>>()?;
            self.follow_others(&spec, &known, &told, &mut items).await
        };
        let done = done.await;
        (items, done)
    }

    /// The same for the rollouts that the store has and the engine does not know: they have just been asked for, or are
    /// another process's.
    async fn follow_others(
        &self,
        spec: &TargetSpec,
        known: &[RolloutId],
        told: &[Told],
        items: &mut Vec<IncomingItem>,
    ) -> Result<(), Problem> {
        let store = self.api.handle.store();
        let steered = match store.target(&spec.name).await {
            Err(StoreError::NotFound(_)) => Target::new(&spec.name),
            found => found?,
        };
        let mut others: Vec<RolloutId> = steered.active.iter().cloned().collect();
        others.extend(store.scheduled(&spec.name).await?);
        others.retain(|id| !known.contains(id));
        for id in others {
            let rollout = store.rollout(&id).await?;
            let commands = self.commands(spec, &steered, &rollout, told, items);
            self.hand_over(id, commands).await?;
        }
        Ok(())
    }

    /// The commands that hand alerts to a rollout; what they will do goes into `items`.
    fn commands(
        &self,
        spec: &TargetSpec,
        target: &Target,
        rollout: &Rollout,
        told: &[Told],
        items: &mut Vec<IncomingItem>,
    ) -> Vec<Command> {
        let named = told.iter().map(|told| {
            let names_canary = names_canary(&told.labels, spec, target, &rollout.version);
            Alert { names_canary, ..told.alert.clone() }
        });
        let alerts: Vec<Alert> = named.collect();
        for alert in &alerts {
            let decision = alert_decision(rollout, target, alert);
            if decision != AlertDecision::Nothing {
                items.push(IncomingItem {
                    rollout: rollout.id.0.clone(),
                    command: decision.name().to_owned(),
                    alert: alert.name.clone(),
                });
            }
        }
        let command = |batch: &[Alert]| Command {
            key: key(&rollout.id, batch),
            by: self.principal.by(Some(self.sender.to_owned())),
            reason: None,
            expected_revision: None,
            kind: CommandKind::Alerts { alerts: batch.to_vec() },
            giver: Giver::Alert,
            force: Force::default(),
        };
        alerts.chunks(BATCH).map(command).collect()
    }

    /// Hands all of them over before it waits for the store.
    async fn hand_over(&self, id: RolloutId, commands: Vec<Command>) -> Result<(), Problem> {
        let handed = commands.into_iter().map(|command| self.api.handle.command(&id, command));
        for stored in join_all(handed).await {
            stored?;
        }
        Ok(())
    }
}

/// The same alerts come again and again while they fire: that is one command.
fn key(id: &RolloutId, alerts: &[Alert]) -> String {
    let mut hash = Sha256::new();
    for alert in alerts {
        let starts_at = alert.starts_at.map_or(0, |at| at.0);
        hash.update(format!("{}\0{}\0{starts_at}\0", alert.id, alert.firing));
    }
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("alerts-{id}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::alert::AlertWish;
    use crate::core::time::Timestamp;

    #[test]
    fn the_same_alerts_have_the_same_key_whenever_they_come() {
        let alert = |firing, received_at| Alert {
            id: "a".to_owned(),
            name: "A".to_owned(),
            severity: None,
            firing,
            starts_at: Some(Timestamp(5)),
            received_at: Timestamp(received_at),
            summary: String::new(),
            wish: AlertWish::Tell,
            names_canary: None,
        };
        let id = RolloutId("r1".to_owned());
        assert_eq!(key(&id, &[alert(true, 7)]), key(&id, &[alert(true, 9)]));
        assert_ne!(key(&id, &[alert(true, 7)]), key(&id, &[alert(false, 7)]));
    }
}
