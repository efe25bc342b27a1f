//! Hooks on their way: webhooks again and again with one key, commands at most once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::Outbox;
use crate::core::gate::{Hook, HookAction};
use crate::core::policy::Severity;
use crate::core::rollout::{IncidentStep, Notice, NoticeKind, RolloutId};
use crate::core::target::{Incident, IncidentCause};
use crate::ports::{Commit, Delivery, Died, NotifyError, OutboxEntry, OutboxFilter, OutboxState, StoreError};

/// What the names of hooks' queues begin with.
pub(super) const PREFIX: &str = "hook/";
/// What a gatekeeper may take beyond a hook's own time.
const MARGIN: Duration = Duration::from_secs(5);
/// So often a page is tried while its target changes.
const TRIES: u32 = 5;
/// What is known of a command that was begun before the process ended.
const LOST: &str = "began, outcome unknown; not run again";

impl Outbox {
    /// What became of a hook; `None` if the store did not let it begin.
    pub(super) async fn deliver_hook(
        &self,
        entry: &OutboxEntry,
        name: &str,
    ) -> Result<Option<Delivery>, Died> {
        let id = RolloutId(entry.notice.rollout.clone());
        let hook = match self.store().rollout(&id).await {
            Ok(rollout) => rollout.policy.hooks.into_iter().find(|hook| hook.name == name),
            Err(StoreError::NotFound(_)) => None,
            Err(error) => {
                tracing::warn!(%error, hook = name, "a hook cannot be looked up");
                return Ok(None);
            }
        };
        let Some(hook) = hook else {
            let detail = "the rollout or its hook is not there any more".to_owned();
            return Ok(Some(Delivery::Dead { detail }));
        };
        let (once, time) = match &hook.action {
            HookAction::Command(command) => (true, command.timeout),
            HookAction::Webhook { timeout, .. } => (false, *timeout),
        };
        if once && let Err(error) = self.store().outbox_begin(entry.id).await {
            tracing::warn!(%error, hook = name, "a command was not begun");
            return Ok(None);
        }
        self.pass("before_deliver")?;
        let result = self.run_hook(&hook, &entry.notice, time).await;
        let delivery = match result {
            // What has begun may have done something: it is not done twice.
            Err(error) if once => Delivery::Dead { detail: error.detail },
            result => self.judge(entry, &entry.notice.key, result),
        };
        if let Delivery::Dead { detail } = &delivery {
            tracing::error!(hook = name, key = %entry.notice.key, %detail, "a hook has failed");
            self.tell_failed(entry, name, detail).await;
        }
        Ok(Some(delivery))
    }

    /// Pages about a hook that has failed for good.
    async fn tell_failed(&self, entry: &OutboxEntry, name: &str, detail: &str) {
        let sentence = format!("The hook {name} has failed and is not run again: {detail}");
        for _ in 0..TRIES {
            match self.page_about(entry, &format!("{name}/failed"), sentence.clone()).await {
                // The target has changed meanwhile.
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return tracing::warn!(%error, hook = name, "nobody is paged about the hook"),
                Ok(()) => return,
            }
        }
        tracing::warn!(hook = name, "nobody is paged about the hook: its target changes all the time");
    }

    /// Opens the target's incident, or adds to the one that is open.
    async fn page_about(&self, entry: &OutboxEntry, what: &str, sentence: String) -> Result<(), StoreError> {
        let (at, key) = (self.clock().wall(), format!("{}/{what}", entry.notice.key));
        let mut target = self.store().target(&entry.notice.target).await?;
        let new = || Incident {
            key: key.clone(),
            opened_at: at,
            rollout: RolloutId(entry.notice.rollout.clone()),
            causes: BTreeSet::new(),
            acknowledged_by: None,
        };
        let incident = target.incident.get_or_insert_with(new);
        incident.causes.insert(IncidentCause::Hook);
        let change = incident.change(IncidentStep::Trigger);
        let notice = Notice {
            key: key.clone(),
            kind: NoticeKind::Alert,
            severity: Severity::Critical,
            at,
            sentence,
            incident: Some(change),
            message: None,
            ..entry.notice.clone()
        };
        let outbox = self.channels_of(&notice);
        self.store().commit(&Commit { target: Some(target), outbox, ..Commit::default() }).await
    }

    async fn run_hook(&self, hook: &Hook, notice: &Notice, time: Duration) -> Result<(), NotifyError> {
        timeout(time + MARGIN, self.gatekeeper.run(hook, notice)).await.unwrap_or_else(|_| Err(super::late()))
    }

    /// Commands that an earlier process has begun are given up, and somebody is told.
    pub(super) async fn tell_lost(&self) {
        loop {
            let filter = OutboxFilter { state: OutboxState::Running, after: None, limit: super::BATCH };
            let running = match self.store().outbox_list(filter).await {
                Ok(running) => running,
                Err(error) => {
                    tracing::warn!(%error, "commands that were begun earlier cannot be looked up");
                    return;
                }
            };
            if running.is_empty() {
                return;
            }
            for record in running {
                if let Err(error) = self.lose(&record.entry).await {
                    tracing::warn!(%error, "a lost command could not be written down");
                    return;
                }
            }
        }
    }

    /// First told, then given up: a process that ends between them tells it once all the same, by its key.
    async fn lose(&self, entry: &OutboxEntry) -> Result<(), StoreError> {
        let name = entry.channel.strip_prefix(PREFIX).unwrap_or(&entry.channel);
        tracing::error!(hook = name, key = %entry.notice.key, "a command {LOST}");
        let sentence = format!(
            "The command of the hook {name} {LOST}. Look at what it did, and run it by hand if it is needed."
        );
        match self.page_about(entry, &format!("{name}/lost"), sentence).await {
            // A target that is not there any more has nobody to be told.
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        self.store().outbox_settle(entry.id, &Delivery::Dead { detail: LOST.to_owned() }).await
    }
}
