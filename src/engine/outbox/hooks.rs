//! Hooks on their way: webhooks again and again with one key, commands at most once.

use std::time::Duration;

use tokio::time::timeout;

use super::Outbox;
use crate::core::gate::{Hook, HookAction};
use crate::core::ids::RolloutId;
use crate::core::notice::Notice;
use crate::core::rollout::{Command, CommandKind, Force, Giver};
use crate::ports::{Delivery, Died, NotifyError, OutboxEntry, OutboxFilter, OutboxState, StoreError};

/// What the names of hooks' queues begin with.
pub(in crate::engine) const PREFIX: &str = "hook/";
/// What a gatekeeper may take beyond a hook's own time.
const MARGIN: Duration = Duration::from_secs(5);
/// What is known of a command that was begun before the process ended.
const LOST: &str = "began, outcome unknown; not run again";

/// A hook that has failed while the store could not take that: the entry, its name, and what is then written down.
pub(super) type Untold = (OutboxEntry, String, Delivery);

impl Outbox {
    /// What became of a hook; `None` if the store did not let it begin.
    pub(super) async fn deliver_hook(
        &self,
        entry: &OutboxEntry,
        name: &str,
    ) -> Result<Option<Delivery>, Died> {
        let id = RolloutId(entry.notice.rollout.clone());
        let hook = match self.store().rollout(&id).await {
            Ok(rollout) => rollout.policy.hooks.iter().find(|hook| hook.name == name).cloned(),
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
            let sentence = format!("The hook {name} has failed and is not run again: {detail}");
            if let Err(error) = self.hand_over(entry, name, sentence).await {
                tracing::warn!(%error, hook = name, "a failed hook cannot be reported yet");
                self.untold().push((entry.clone(), name.to_owned(), delivery));
                return Ok(None);
            }
        }
        Ok(Some(delivery))
    }

    /// Tells the owner of the target, by the rollout's inbox, that somebody has to be paged: the outbox changes no
    /// target.
    async fn hand_over(&self, entry: &OutboxEntry, name: &str, sentence: String) -> Result<(), StoreError> {
        let command = Command {
            // What was put on its way again by hand can fail again.
            key: format!("hook/{}/{}", entry.id, entry.since.0),
            by: format!("{PREFIX}{name}"),
            reason: None,
            expected_revision: None,
            kind: CommandKind::HookFailed { hook: name.to_owned(), sentence },
            giver: Giver::Program,
            force: Force::default(),
        };
        match self.handle.command(&RolloutId(entry.notice.rollout.clone()), command).await {
            // What is not there any more has nobody to be told.
            Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
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

    /// Tells what could not be told when it happened. False if it still cannot.
    pub(super) async fn tell_untold(&self) -> bool {
        let untold = std::mem::take(&mut *self.untold());
        let mut all = true;
        for (entry, name, delivery) in untold {
            let Delivery::Dead { detail } = &delivery else { continue };
            let sentence = format!("The hook {name} has failed and is not run again: {detail}");
            match self.hand_over(&entry, &name, sentence).await {
                Ok(()) => {
                    self.unsettled().insert(entry.id, delivery);
                }
                Err(_) => {
                    all = false;
                    self.untold().push((entry, name, delivery));
                }
            }
        }
        all
    }

    fn untold(&self) -> std::sync::MutexGuard<'_, Vec<Untold>> {
        self.untold.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// First told, then given up: a process that ends between them tells it once all the same, by its key.
    async fn lose(&self, entry: &OutboxEntry) -> Result<(), StoreError> {
        let name = entry.channel.strip_prefix(PREFIX).unwrap_or(&entry.channel);
        tracing::error!(hook = name, key = %entry.notice.key, "a command {LOST}");
        let sentence = format!(
            "The command of the hook {name} {LOST}. Look at what it did, and run it by hand if it is needed."
        );
        self.hand_over(entry, name, sentence).await?;
        self.store().outbox_settle(entry.id, &Delivery::Dead { detail: LOST.to_owned() }).await
    }
}
