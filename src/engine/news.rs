//! What is new in the store: commands, new rollouts, freezes, and what other processes have committed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Handle;
use super::fleet::Inbound;
use super::target::Message;
use crate::ports::{Died, Position, Store, StoreError};

/// What other processes have committed is found after this time at the latest. The store is asked again after it,
/// too, where it has failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far somebody has heard of what is new. The first answer names every target that ever had anything.
#[derive(Debug, Default)]
pub struct News {
    position: Position,
}

impl News {
    /// The targets with something new, by name; none at the end of `patience`.
    ///
    /// # Errors
    /// [`StoreError`]; the same comes again then.
    pub async fn next(&mut self, store: &dyn Store, patience: Duration) -> Result<Vec<String>, StoreError> {
        let (position, names) = store.news(self.position, patience).await?;
        self.position = position;
        Ok(names)
    }
}

/// Tells the targets what is new, as it comes.
pub(super) async fn listen(mut news: News, handle: Handle, shutdown: CancellationToken) -> Result<(), Died> {
    loop {
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            next = news.next(handle.store().as_ref(), PATIENCE) => next,
        };
        match next {
            Ok(names) => {
                if !names.is_empty() {
                    handle.load_freezes().await;
                }
                for name in names {
                    handle.mailbox().put(Inbound::To(name, Message::News)).await;
                }
                if !handle.is_ready() && handle.store().ping().await.is_ok() {
                    handle.set_storing(true);
                }
            }
            Err(error) => {
                handle.set_storing(false);
                super::target::store_failed("all", &error);
                let next = handle.clock().monotonic() + PATIENCE;
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = handle.clock().sleep_until(next) => {}
                }
            }
        }
    }
}
