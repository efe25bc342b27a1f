//! Commands on their way to their targets: what became of one, or how far it is when the wait is over.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Api;
use super::problem::Problem;
use crate::contract::CommandView;
use crate::core::ids::RolloutId;
use crate::core::rollout::Command;
use crate::engine::Answer;
use crate::ports::{InboxEntry, StoreError};

/// So long an answer waits for a store that takes nothing, once the command is in force.
const FOR_THE_STORE: Duration = Duration::from_secs(2);
/// So long an answer waits for a target after the store has failed.
const FOR_THE_TARGET: Duration = Duration::from_secs(1);
/// Between two questions whether another process has taken a command.
const POLL: Duration = Duration::from_millis(200);

/// What became of a command that was handed over.
pub(super) enum Handed {
    /// The inbox has it, with its result where there is one.
    Stored(InboxEntry),
    /// It is in force, and the store has not taken it yet.
    InForce(CommandView),
}

/// Hands a command over, and waits for what becomes of it. Nothing is waited for once it is in force and the store
/// takes nothing.
pub(super) async fn hand_over(api: &Api, rollout: &RolloutId, command: &Command) -> Result<Handed, Problem> {
    let mut answers = api.handle.answers(&command.key);
    let handed = api.handle.command(rollout, command.clone());
    let late = sleep(api.limits.command_wait);
    let (mut entry, mut is_in_force, mut refused) = (None, false, None);
    let is_same = |known: &InboxEntry| known.rollout == *rollout && known.command.kind == command.kind;
    tokio::pin!(handed, late);
    loop {
        tokio::select! {
            biased;
            Some(answer) = answers.recv() => match answer {
                Answer::Stored(result) => return Ok(Handed::Stored(answered(api, rollout, command, result).await)),
                Answer::InForce => {
                    is_in_force = true;
                    let (command_name, by) = (command.kind.name(), &command.by);
                    tracing::info!(%rollout, command = command_name, by, "in force");
                    if refused.is_some() {
                        return Ok(in_force(api, rollout, command));
                    }
                    if api.handle.failing_since().is_some() {
                        let soon = late.deadline().min(tokio::time::Instant::now() + FOR_THE_STORE);
                        late.as_mut().reset(soon);
                    }
                }
            },
            known = &mut handed, if entry.is_none() && refused.is_none() => match known {
                // Of a key that was used for something else nothing is to be waited for.
                Ok(known) if known.result.is_some() || !is_same(&known) => return Ok(Handed::Stored(known)),
                Ok(known) => entry = Some(known),
                Err(_) if is_in_force => return Ok(in_force(api, rollout, command)),
                // A store that fails at once is faster than the target: what was handed over in memory is taken.
                Err(StoreError::Unavailable(why)) if command.kind.is_urgent() => {
                    refused = Some(StoreError::Unavailable(why));
                    let soon = late.deadline().min(tokio::time::Instant::now() + FOR_THE_TARGET);
                    late.as_mut().reset(soon);
                }
                Err(error) => return Err(error.into()),
            },
            // Another process may own the target: what it has done stands in the store.
            () = sleep(POLL), if entry.is_some() => {
                if let Ok(Some(known)) = known(api, &command.key).await
                    && known.result.is_some()
                {
                    return Ok(Handed::Stored(known));
                }
            }
            () = &mut late => break,
        }
    }
    match entry {
        Some(entry) if !is_in_force => Ok(Handed::Stored(entry)),
        _ if is_in_force => Ok(in_force(api, rollout, command)),
        _ => {
            let late = || StoreError::Unavailable("it has not taken the command in time".to_owned());
            Err(refused.unwrap_or_else(late).into())
        }
    }
}

/// The entry as the store has it; as it was handed over, if the store cannot be read.
async fn answered(
    api: &Api,
    rollout: &RolloutId,
    command: &Command,
    result: Result<(), String>,
) -> InboxEntry {
    let known = timeout(FOR_THE_STORE, known(api, &command.key)).await;
    match known {
        Ok(Ok(Some(entry))) if entry.result.is_some() => entry,
        _ => InboxEntry { result: Some(result), ..as_handed(api, rollout, command) },
    }
}

fn as_handed(api: &Api, rollout: &RolloutId, command: &Command) -> InboxEntry {
    let at = api.handle.clock().wall();
    InboxEntry { rollout: rollout.clone(), at, command: command.clone(), result: None }
}

fn in_force(api: &Api, rollout: &RolloutId, command: &Command) -> Handed {
    let since = match api.handle.failing_since() {
        Some(since) => format!("the store has taken nothing since {since}"),
        None => "the store has not taken it yet".to_owned(),
    };
    let mut view = CommandView::new(&as_handed(api, rollout, command));
    view.result = "in_force".to_owned();
    view.note = Some(format!(
        "In force: {since}. It is stored when the store takes writes again; if Serin is stopped before that, check \
         the target's weights."
    ));
    Handed::InForce(view)
}

/// The entry of a key, if the inbox has it.
pub(super) async fn known(api: &Api, key: &str) -> Result<Option<InboxEntry>, Problem> {
    match api.handle.store().command(key).await {
        Ok(entry) => Ok(Some(entry)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
