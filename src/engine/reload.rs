//! How the running configuration is asked for, and what became of the last reload.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};

use super::catalogue::{Changes, Name};
use crate::core::problem::Problem;
use crate::core::time::Timestamp;

/// Reloads that may wait.
const WAITING: usize = 16;

/// A part of the configuration that differs from what runs, and is taken only at the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartNeeded {
    /// The field of the configuration.
    pub field: String,
    /// Why.
    pub why: String,
}

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Targets and policies.
    pub changes: Changes,
    /// Other parts that are new, such as `provider prom`.
    pub added: Vec<String>,
    /// Other parts that are different, such as `router edge` or `routing`.
    pub changed: Vec<String>,
    /// Other parts that are not in the file any more.
    pub removed: Vec<String>,
    /// Providers, routers and notifiers that were set up anew, with their secrets and certificates, such as
    /// `providers.prom`.
    pub replaced: Vec<String>,
    /// What is taken when a rollout has ended, and which one.
    pub waiting: Vec<String>,
    /// What waits for a restart.
    pub restart: Vec<RestartNeeded>,
    /// Targets that are declared and cannot be taken now, with the reasons.
    pub wrong: Vec<(Name, Vec<Problem>)>,
}

/// Why nothing was reloaded.
#[derive(Clone, Debug, Error)]
pub enum ReloadError {
    /// The configuration is wrong: what was there stays.
    #[error("the configuration is wrong; what was there before stays in force")]
    Wrong(Vec<Problem>),
    /// This process has no configuration file.
    #[error("this daemon has no configuration file that could be reloaded")]
    NoFile,
    /// Others are waiting.
    #[error("the configuration is being reloaded; try again")]
    Busy,
}

/// What became of the last reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReload {
    /// When it was tried.
    pub at: Timestamp,
    /// The file.
    pub file: String,
    /// What is wrong with the configuration; empty if it was taken.
    pub problems: Vec<Problem>,
    /// What waits for a restart.
    pub restart: Vec<RestartNeeded>,
}

/// The providers and routers that run, by name, with their kinds: what targets may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// Providers.
    pub providers: BTreeMap<String, &'static str>,
    /// Routers.
    pub routers: BTreeMap<String, &'static str>,
}

/// Somebody asks for a reload and waits for what becomes of it.
pub type ReloadRequest = oneshot::Sender<Result<Reloaded, ReloadError>>;

/// What is known of the running configuration. One for a process.
#[derive(Default)]
pub struct Configuration {
    requests: RwLock<Option<mpsc::Sender<ReloadRequest>>>,
    last: RwLock<Option<Arc<LastReload>>>,
    instances: RwLock<Arc<Instances>>,
    declaring: Arc<Mutex<()>>,
}

impl Configuration {
    /// Requests for a reload come out here from now on.
    pub fn requests(&self) -> mpsc::Receiver<ReloadRequest> {
        let (sender, receiver) = mpsc::channel(WAITING);
        *self.requests.write().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Asks for a reload, and waits until it is done.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed then.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (answer, answered) = oneshot::channel();
        requests.ok_or(ReloadError::NoFile)?.try_send(answer).map_err(|_| ReloadError::Busy)?;
        answered.await.unwrap_or(Err(ReloadError::NoFile))
    }

    /// Sets what became of a reload.
    pub fn set_last(&self, last: LastReload) {
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(last));
    }

    /// What became of the last reload; `None` before the first one.
    pub fn last(&self) -> Option<Arc<LastReload>> {
        self.last.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets which providers and routers run.
    pub fn set_instances(&self, instances: Instances) {
        *self.instances.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(instances);
    }

    /// Which providers and routers run.
    pub fn instances(&self) -> Arc<Instances> {
        self.instances.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Held while something is checked, stored and declared, so that no other declaration comes between.
    pub async fn declaring(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.declaring).lock_owned().await
    }
}
