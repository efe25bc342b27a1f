//! Channels to people and programs: one file a channel.

pub mod log;
pub mod webhook;

use std::sync::Arc;

use thiserror::Error;

use crate::messages::Words;
use crate::ports::Notifier;

/// The configuration of a channel; its variant names the kind.
#[derive(Clone, Debug, PartialEq)]
pub enum NotifierConfig {
    /// A structured line in Serin's log.
    Log,
    /// A JSON body by POST.
    Webhook(webhook::WebhookConfig),
}

/// Why a channel could not be built.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct NotifierBuildError(pub String);

impl NotifierConfig {
    /// Builds the channel; no call goes out.
    ///
    /// # Errors
    /// [`NotifierBuildError`] if a secret cannot be read.
    pub fn build(&self, words: &Arc<Words>) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        match self {
            NotifierConfig::Log => Ok(Arc::new(log::LogNotifier)),
            NotifierConfig::Webhook(config) => config.build(words),
        }
    }
}
