//! What API, CLI and demo may ask of a running engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{broadcast, mpsc, watch};

use super::Options;
use super::catalogue::{Catalogue, Changes, Declaration, Declared, Item, Source};
use super::connections::{Adapters, Connections, Limits};
use super::deadline::within;
use super::fleet::Inbound;
use super::freezes::Freezes;
use super::mailbox::{Mailbox, Received};
use super::reload::Configuration;
use super::standing::{Standing, Standings};
use super::target::{Answer, Message};

use crate::core::found::{Decided, Decision};
use crate::core::freeze::Freeze;
use crate::core::ids::RolloutId;
use crate::core::judge::METHOD;
use crate::core::policy::Policy;
use crate::core::rollout::{Alerts, Command, EventKind, EventRecord, Plan, Rollout, RolloutKind};
use crate::core::spec::TargetSpec;
use crate::core::split::Weight;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::ports::{Clock, Commit, InboxEntry, MetricsProvider, Sources, Store, StoreError};
use crate::telemetry;

/// Freezes that are looked at.
const MOST_FREEZES: usize = 1000;
/// So long an urgent command waits for the inbox before it is handed over without it.
const AT_ONCE: Duration = Duration::from_millis(20);
/// Changes that a listener may be behind before it must look at everything again.
const CHANGES: usize = 1024;

/// What API, CLI and demo may ask of a running engine. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    catalogue: watch::Sender<Arc<Catalogue>>,
    configuration: Configuration,
    connections: watch::Sender<Arc<Connections>>,
    /// Calls that each provider and router gets at a time.
    limits: RwLock<Limits>,
    changes: broadcast::Sender<RolloutId>,
    loaded: AtomicBool,
    storing: AtomicBool,
    /// Since when the store takes no writes.
    failing: watch::Sender<Option<Timestamp>>,
    freezes: watch::Sender<Arc<Freezes>>,
    mailbox: Mailbox,
    standings: Standings,
}

/// A new rollout, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest {
    /// The target's name.
    pub target: String,
    /// The policy's name.
    pub policy: String,
    /// The version to release.
    pub version: String,
    /// Release or revert.
    pub kind: RolloutKind,
    /// Who asks.
    pub by: String,
    /// Takes the target from a running rollout.
    pub supersede: bool,
    /// The same key gives the same rollout.
    pub idempotency_key: Option<String>,
    /// It does not begin before; it does not occupy the target until then.
    pub not_before: Option<Timestamp>,
}

/// Why a rollout was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// No such target.
    #[error("there is no target `{0}`; the targets are: {1}")]
    UnknownTarget(String, String),
    /// No such policy.
    #[error("there is no policy `{0}`; the policies are: {1}")]
    UnknownPolicy(String, String),
    /// The version's text cannot be used.
    #[error("the version {0:?} must be 1 to 200 printable characters")]
    Version(String),
    /// The arms cannot be told apart.
    #[error("{0}")]
    Arms(String),
    /// The router has a split that the store knows nothing of.
    #[error(
        "the router of {0} gives the canary {1}, and the store knows of no release that does; decide first: \
         `serin target adopt {0}` or `serin target zero {0}`"
    )]
    Undecided(String, Weight),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Handle {
    /// A handle over these parts; the engine is given the same one. The policies and targets are those of the
    /// configuration: [`Handle::declare`] changes what there is.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policies: BTreeMap<String, Policy>,
        targets: BTreeMap<String, TargetSpec>,
    ) -> Handle {
        let origin = "the configuration";
        let policies = policies.into_iter().map(|(name, policy)| Policy { name, ..policy });
        let targets = targets.into_iter().map(|(name, spec)| TargetSpec { name, ..spec });
        let items = policies.map(|policy| Item::Policy(Arc::new(policy)));
        let items = items.chain(targets.map(|spec| Item::Target(Arc::new(spec))));
        let declared = items.map(|item| Declaration::Good { item, origin: origin.to_owned() }).collect();
        let catalogue = Catalogue::default().apply(Source::File, Declared::Whole(declared));
        Handle {
            inner: Arc::new(Inner {
                store,
                clock,
                catalogue: watch::channel(Arc::new(catalogue)).0,
                configuration: Configuration::default(),
                connections: watch::channel(Arc::default()).0,
                limits: RwLock::new(Limits::of(&Options::default())),
                changes: broadcast::channel(CHANGES).0,
                loaded: AtomicBool::new(false),
                storing: AtomicBool::new(false),
                failing: watch::channel(None).0,
                freezes: watch::channel(Arc::default()).0,
                mailbox: Mailbox::new(),
                standings: Standings::default(),
            }),
        }
    }

    /// For reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// What there is now, and whenever it changes.
    pub fn catalogue(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.inner.catalogue.subscribe()
    }

    /// What there is now.
    pub fn declared(&self) -> Arc<Catalogue> {
        self.inner.catalogue.borrow().clone()
    }

    /// What is known of the running configuration, and how it is reloaded.
    pub fn configuration(&self) -> &Configuration {
        &self.inner.configuration
    }

    /// Connects these, and nothing else, from now on; those who watch the connections hear of it. What is under way
    /// ends with what it began with.
    pub fn connect(&self, adapters: Adapters) {
        let limits = *self.inner.limits.read().unwrap_or_else(PoisonError::into_inner);
        self.inner
            .connections
            .send_modify(|now| *now = Arc::new(now.next(adapters, limits, &self.inner.clock)));
    }

    /// How much is asked of what is connected from now on.
    pub(super) fn set_limits(&self, limits: Limits) {
        *self.inner.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// What is connected now, and whenever that changes.
    pub fn connections(&self) -> watch::Receiver<Arc<Connections>> {
        self.inner.connections.subscribe()
    }

    /// What is connected now.
    pub(super) fn connected(&self) -> Arc<Connections> {
        self.inner.connections.borrow().clone()
    }

    /// The policies that there are now, by name.
    pub fn policies(&self) -> Arc<BTreeMap<String, Arc<Policy>>> {
        self.inner.catalogue.borrow().policies().clone()
    }

    /// The targets that there are now, by name.
    pub fn targets(&self) -> Arc<BTreeMap<String, Arc<TargetSpec>>> {
        self.inner.catalogue.borrow().targets().clone()
    }

    /// Takes in what a source declares; those who watch the catalogue hear of it if it changes anything. Gives
    /// what differs from before.
    pub fn declare(&self, source: Source, declared: Declared) -> Changes {
        let before = self.declared();
        self.publish(&before, before.apply(source, declared))
    }

    /// Makes a catalogue the current one; those who watch it hear of it if it differs.
    pub(super) fn publish(&self, before: &Catalogue, next: Catalogue) -> Changes {
        let changes = Changes::between(before, &next);
        self.inner.catalogue.send_if_modified(|catalogue| {
            let modified = next.version() != catalogue.version();
            *catalogue = Arc::new(next);
            modified
        });
        changes
    }

    /// True when the stored state is loaded and the store can be written to.
    pub fn is_ready(&self) -> bool {
        self.inner.loaded.load(Ordering::Acquire) && self.inner.storing.load(Ordering::Acquire)
    }

    /// Set by the engine: the stored state is loaded.
    pub fn set_loaded(&self) {
        self.inner.loaded.store(true, Ordering::Release);
        self.set_storing(true);
    }

    /// Set by the engine: whether the store takes writes.
    pub fn set_storing(&self, storing: bool) {
        telemetry::store_writable(storing);
        self.inner.storing.store(storing, Ordering::Release);
        let now = self.inner.clock.wall();
        self.inner.failing.send_modify(|failing| *failing = (!storing).then(|| failing.unwrap_or(now)));
    }

    /// Since when the store takes no writes, if it does not.
    pub fn failing_since(&self) -> Option<Timestamp> {
        *self.inner.failing.borrow()
    }

    /// Set by the engine: something new is stored of a rollout. Never waits, and cannot fail: a listener
    /// that is behind is told so.
    pub fn changed(&self, rollout: &RolloutId) {
        let _ = self.inner.changes.send(rollout.clone());
    }

    /// Names the rollouts of which something new was stored, from now on.
    pub fn changes(&self) -> broadcast::Receiver<RolloutId> {
        self.inner.changes.subscribe()
    }

    /// Sets the freezes that stand in the configuration. They are not stored.
    pub fn plan_freezes(&self, planned: Vec<Freeze>) {
        self.change_freezes(|freezes| freezes.planned = planned);
    }

    /// The freezes that stand in the configuration.
    pub fn planned_freezes(&self) -> Vec<Freeze> {
        self.inner.freezes.borrow().planned.clone()
    }

    /// Reads which freezes hold. A store that cannot be read leaves those that were known.
    pub async fn load_freezes(&self) {
        if let Ok(ordered) = self.inner.store.freezes(true, MOST_FREEZES).await {
            self.change_freezes(|freezes| {
                freezes.ordered = ordered;
                freezes.is_known = true;
            });
        }
    }

    /// The freezes that may hold.
    pub fn freezes(&self) -> Arc<Freezes> {
        self.inner.freezes.borrow().clone()
    }

    /// The freezes that may hold, and whenever they change.
    pub fn watch_freezes(&self) -> watch::Receiver<Arc<Freezes>> {
        self.inner.freezes.subscribe()
    }

    fn change_freezes(&self, change: impl FnOnce(&mut Freezes)) {
        self.inner.freezes.send_if_modified(|freezes| {
            let mut next = Freezes::clone(freezes);
            change(&mut next);
            let is_new = next != **freezes;
            *freezes = Arc::new(next);
            is_new
        });
    }

    /// Why a target is frozen, if it is.
    pub fn frozen(&self, target: &str, now: Timestamp) -> Option<String> {
        self.inner.freezes.borrow().frozen(target, now)
    }

    /// What is handed over to the targets in memory comes out here: to whoever takes it first, and to nobody else.
    pub fn handed_over(&self) -> Option<Received> {
        self.inner.mailbox.receiver()
    }

    /// The way to the targets.
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.inner.mailbox
    }

    /// How the targets stand.
    pub(super) fn standings(&self) -> &Standings {
        &self.inner.standings
    }

    /// A target as the engine knows it, without the store; `None` if it is not this process's. What others have
    /// just stored may be missing.
    pub fn standing(&self, target: &str) -> Option<Arc<Standing>> {
        self.standings().get(target)
    }

    /// A rollout that has not ended, as the engine knows it, without the store.
    pub fn known(&self, rollout: &RolloutId) -> Option<Rollout> {
        self.standings().find(rollout)
    }

    /// Stores a freeze, new or ended; it holds from this moment.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was stored then.
    pub async fn put_freeze(&self, freeze: &Freeze) -> Result<(), StoreError> {
        self.inner.store.put_freeze(freeze).await?;
        self.load_freezes().await;
        Ok(())
    }

    /// Decides about what was found at a target's router; the engine carries it out at once. `None` if there
    /// is nothing to decide.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was stored then.
    pub async fn decide(
        &self,
        target: &str,
        decision: Decision,
        by: &str,
    ) -> Result<Option<Target>, StoreError> {
        let mut last = None;
        // The engine may store something of the target at the same time.
        for _ in 0..3 {
            let mut target = self.inner.store.target(target).await?;
            let Some(found) = &mut target.found else { return Ok(None) };
            found.decided = Some(Decided { decision, by: by.to_owned() });
            let commit = Commit { target: Some(target.clone()), ..Commit::default() };
            match self.inner.store.commit(&commit).await {
                Ok(()) => {
                    self.inner.mailbox.put(Inbound::To(target.name.clone(), Message::News)).await;
                    return Ok(Some(target));
                }
                Err(StoreError::Conflict(what)) => last = Some(StoreError::Conflict(what)),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| StoreError::Conflict(format!("target {target}"))))
    }

    /// Starts a rollout.
    ///
    /// # Errors
    /// [`StartError`]; nothing was stored then.
    pub async fn start(&self, request: StartRequest) -> Result<Rollout, StartError> {
        let names =
            |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let declared = self.declared();
        let Some(spec) = declared.targets().get(&request.target) else {
            let known = names(declared.targets().keys().collect());
            return Err(StartError::UnknownTarget(request.target, known));
        };
        let Some(policy) = declared.policies().get(&request.policy) else {
            let known = names(declared.policies().keys().collect());
            return Err(StartError::UnknownPolicy(request.policy, known));
        };
        let length = request.version.chars().count();
        if length == 0 || length > 200 || request.version.chars().any(char::is_control) {
            return Err(StartError::Version(request.version));
        }
        let mut target = self.inner.store.target(&spec.name).await?;
        // Before the first commit the store does not have it yet.
        if target.stable_version.is_none() {
            target.stable_version.clone_from(&spec.stable_version);
        }
        if let Some(found) = &target.found {
            return Err(StartError::Undecided(target.name.clone(), found.split.canary));
        }
        crate::core::arms::arms(spec, &target, &request.version).map_err(StartError::Arms)?;
        let now = self.inner.clock.wall();
        let later = request.not_before.filter(|not_before| *not_before > now);
        if later.is_some() && request.supersede {
            return Err(StartError::Arms(
                "a rollout that begins later cannot supersede another one now".to_owned(),
            ));
        }
        let mut rollout = Rollout::new(Plan {
            id: RolloutId(uuid::Uuid::now_v7().simple().to_string()),
            target: request.target,
            version: request.version,
            kind: request.kind,
            policy: Policy::clone(policy),
            method: METHOD,
            created_at: now,
            created_by: request.by.clone(),
            supersedes: None,
            not_before: later,
            history: None,
            spec: Some(TargetSpec::clone(spec)),
        });
        rollout.alerts = Alerts::remembered(self.inner.store.alerts(&spec.name).await?, now);
        let first = EventRecord {
            seq: 1,
            at: now,
            kind: EventKind::Created,
            by: Some(request.by),
            sentence: format!(
                "Release of {} on {} was asked for, under policy {} ({}).",
                rollout.version, rollout.target, rollout.policy.name, rollout.policy.version
            ),
        };
        let key = request.idempotency_key.as_deref();
        let rollout = self.inner.store.create_rollout(rollout, first, key, request.supersede).await?;
        self.changed(&rollout.id);
        Ok(rollout)
    }

    /// Hands a command to the rollout's target, and puts it into the inbox. What a person or an alert says to
    /// bring the canary down, or to keep it where it is, waits for no store: it is handed over in memory.
    ///
    /// # Errors
    /// [`StoreError`] if the inbox did not take it in time; what was handed over in memory is carried out all
    /// the same ([`Handle::answers`] says so).
    pub async fn command(&self, rollout: &RolloutId, command: Command) -> Result<InboxEntry, StoreError> {
        let is_urgent = command.kind.is_urgent();
        let at = self.inner.clock.wall();
        let entry = InboxEntry { rollout: rollout.clone(), at, command: command.clone(), result: None };
        let is_same =
            |known: &InboxEntry| known.rollout == entry.rollout && known.command.kind == entry.command.kind;
        let mut stored = self.inner.store.enqueue(rollout, command, at);
        let clock = self.inner.clock.as_ref();
        let known = if is_urgent { within(clock, AT_ONCE, &mut stored).await } else { None };
        let known = match known {
            // A key that was used before is not carried out again.
            Some(Ok(known)) if known.result.is_some() || !is_same(&known) => return Ok(known),
            known => known,
        };
        if is_urgent {
            self.inner.mailbox.send_first(Inbound::Command(Box::new(entry)));
        }
        // The store tells the target that it has it.
        match known {
            Some(stored) => stored,
            None => stored.await,
        }
    }

    /// What becomes of a command, from now on: that it is in force, and that it is stored.
    pub fn answers(&self, key: &str) -> mpsc::UnboundedReceiver<Answer> {
        self.inner.mailbox.answers(key)
    }
}

impl Sources for Handle {
    fn source(&self, name: &str) -> Option<Arc<dyn MetricsProvider>> {
        Some(self.connected().sources.get(name)?.provider().clone())
    }
}
