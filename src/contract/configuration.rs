//! The configuration file: what a reload has changed, and what became of the last one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadView {
    /// What is new, such as `target shop` or `provider prom`.
    pub added: Vec<String>,
    /// What is different now, such as `policy standard`, `router edge` or `routing`.
    pub changed: Vec<String>,
    /// What is not in the file any more.
    pub removed: Vec<String>,
    /// Providers, routers and notifiers that were set up anew, with their secrets and certificates, such as
    /// `providers.prom`.
    pub replaced: Vec<String>,
    /// What is applied when a rollout has ended.
    pub waiting: Vec<String>,
    /// What is different in the file and taken only at the next start, with the reason.
    pub restart_needed: Vec<RestartView>,
    /// Targets that cannot be taken now, with the reason.
    pub not_taken: Vec<String>,
}

/// A part of the configuration that is taken only at the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartView {
    /// The field of the configuration.
    pub field: String,
    /// Why.
    pub why: String,
}

/// What became of the last reload of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationView {
    /// When it was tried (RFC 3339, UTC); `None` if it was not reloaded since the start.
    pub at: Option<String>,
    /// The file; only for those who may view every target.
    pub file: Option<String>,
    /// False if the file is wrong, and the configuration before it stays in force.
    pub ok: bool,
    /// What is wrong with it; only for those who may view every target.
    pub problems: Vec<String>,
    /// What is different in the file and taken only at the next start, with the reason.
    pub restart_needed: Vec<RestartView>,
}
