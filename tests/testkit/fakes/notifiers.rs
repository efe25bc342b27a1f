//! Channels that do not do their work.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serin::core::notice::Notice;
use serin::ports::{Notifier, NotifyError};

/// Never answers.
struct Hanging;

#[async_trait]
impl Notifier for Hanging {
    async fn deliver(&self, _notice: &Notice) -> Result<(), NotifyError> {
        std::future::pending().await
    }
}

/// Cannot be reached.
struct Down;

#[async_trait]
impl Notifier for Down {
    async fn deliver(&self, _notice: &Notice) -> Result<(), NotifyError> {
        Err(NotifyError::again("nobody is there"))
    }
}

/// A chat that hangs and a pager that is down.
pub fn unreachable() -> BTreeMap<String, Arc<dyn Notifier>> {
    BTreeMap::from([
        ("chat".to_owned(), Arc::new(Hanging) as Arc<dyn Notifier>),
        ("pager".to_owned(), Arc::new(Down) as Arc<dyn Notifier>),
    ])
}
