//! Carries out what targets ask of the world, each call within its deadline and its instance's places.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::collector::Collector;
use super::committer::Committer;
use super::connections::{Connected, Connections};
use super::deadline::within;
use super::fleet::{Fleet, HandOver};
use super::pools::GatePools;
use super::target::{ApplyError, Job, LookRequest, Looked, Outcome};
use super::{Options, loading};
use crate::core::gate::GateAnswer;
use crate::core::judge::Recorded;
use crate::core::metric::Reading;
use crate::core::rollout::EventKind;
use crate::core::split::Weight;
use crate::ports::{
    Clock, Commit, Died, Failpoints, GateRequest, Gatekeeper, HistoryRequest, Route, RouterError, Store,
    StoreError, Workload,
};
use crate::telemetry;

/// Longest time that a check may take, whatever it says itself.
const LONGEST: Duration = Duration::from_secs(7 * 3600);

/// Everything that jobs are carried out with.
pub struct World {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) committer: Committer,
    pub(super) connections: watch::Receiver<Arc<Connections>>,
    pub(super) workload: Arc<dyn Workload>,
    pub(super) gatekeeper: Arc<dyn Gatekeeper>,
    pub(super) failpoints: Arc<dyn Failpoints>,
    pub(super) options: Options,
    pub(super) gates: GatePools,
}

impl World {
    fn now(&self) -> Arc<Connections> {
        self.connections.borrow().clone()
    }

    /// A router by its name.
    pub(super) fn router(&self, name: &str) -> Option<Connected> {
        self.now().routers.get(name).cloned()
    }

    /// Every router gets the stored splits of its targets before anything else.
    pub(super) async fn hand_over_all(&self, fleet: &mut Fleet) {
        for name in self.now().routers.keys() {
            self.hand_over(&fleet.hand_over(name)).await;
        }
    }

    /// A router gets the stored splits of all its targets, unless it has got newer ones meanwhile.
    pub async fn hand_over(&self, splits: &HandOver) {
        let name = &splits.router;
        let Some(router) = self.router(name) else { return };
        let mut newest = router.handed.lock().await;
        if *newest > splits.number {
            return;
        }
        *newest = splits.number;
        if let Err(error) = router.adapter.load(&splits.routes).await {
            tracing::error!(router = %name, %error, "the router did not take the stored splits");
        }
    }

    /// Takes ownership of a target, and reads what the store holds of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn own(&self, name: &str) -> Result<super::target::Loaded, StoreError> {
        self.store.own_targets(&[name.to_owned()]).await?;
        loading::load(self.store.as_ref(), name, None, &[]).await
    }

    /// Carries out a job of a target. A fault is an outcome.
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so.
    pub async fn perform(&self, target: &str, job: Job) -> Result<Outcome, Died> {
        Ok(match job {
            Job::Load { known, keys } => Outcome::Loaded(self.load(target, known, &keys).await),
            Job::Commit(commit) => Outcome::Stored(self.commit(*commit).await?),
            Job::Look(request) => Outcome::Looked(self.look(*request).await),
            Job::Past { source, requests } => Outcome::Past(self.past(&source, &requests).await),
            Job::Observe { router, route } => Outcome::Observed(self.observe(&router, &route).await),
            Job::Apply { router, route, raises } => {
                Outcome::Applied(self.apply(&router, &route, raises).await?)
            }
            Job::Ask(request) => Outcome::Asked(self.ask_gate(&request).await?),
            Job::Prepare(split) => {
                let call = self.workload.prepare(target, split);
                Outcome::Drove(self.late(call).await)
            }
            Job::Finalize => Outcome::Drove(self.late(self.workload.finalize(target)).await),
        })
    }

    /// What a call brings by its deadline.
    async fn in_time<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        within(self.clock.as_ref(), self.options.call_deadline, call).await
    }

    /// The same for calls that keep deadlines of their own; this one is for those that do not.
    async fn in_long<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        within(self.clock.as_ref(), self.options.call_deadline * 2, call).await
    }

    async fn late(&self, call: impl Future<Output = Result<bool, String>>) -> Result<bool, String> {
        let answer = self.in_time(call).await;
        answer.unwrap_or_else(|| Err("no answer in time".to_owned()))
    }

    async fn load(
        &self,
        target: &str,
        known: Option<u64>,
        keys: &[String],
    ) -> Result<Box<super::target::Loaded>, StoreError> {
        let loaded = self.in_time(loading::load(self.store.as_ref(), target, known, keys)).await;
        loaded.unwrap_or_else(|| Err(too_late())).map(Box::new)
    }

    async fn commit(&self, commit: Commit) -> Result<Result<(), StoreError>, Died> {
        self.failpoints.pass("before_commit")?;
        let name = name_of(&commit);
        let stored = self.in_time(self.committer.commit(commit)).await;
        let stored = stored.unwrap_or_else(|| Err(too_late()));
        if stored.is_ok() {
            self.failpoints.pass(name)?;
        }
        Ok(stored)
    }

    async fn look(&self, request: LookRequest) -> Option<Looked> {
        let looked = self.ask_source(&request.source, |source| {
            let request = request.clone();
            async move { source.look(request).await }
        });
        self.in_long(looked).await.flatten().flatten()
    }

    async fn past(&self, source: &str, requests: &[HistoryRequest]) -> Vec<Reading<Recorded>> {
        let asked = self.ask_source(source, |source| async move { source.past(requests).await });
        self.in_long(asked).await.flatten().unwrap_or_default()
    }

    /// Asks a source; if another one is connected in its place meanwhile, that one: what hangs at an address that has
    /// been corrected is waited for no longer.
    async fn ask_source<T, F: Future<Output = T>>(
        &self,
        name: &str,
        ask: impl Fn(Arc<Collector>) -> F,
    ) -> Option<T> {
        loop {
            let source = self.now().sources.get(name)?.clone();
            tokio::select! {
                biased;
                () = self.replaced(name, &source) => {}
                answer = ask(source.clone()) => return Some(answer),
            }
        }
    }

    /// Resolves when a source is not the one of that name any more.
    async fn replaced(&self, name: &str, source: &Arc<Collector>) {
        let mut connections = self.connections.clone();
        let is =
            |now: &Arc<Connections>| now.sources.get(name).is_some_and(|known| Arc::ptr_eq(known, source));
        if connections.wait_for(|now| !is(now)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn observe(
        &self,
        name: &str,
        route: &Route,
    ) -> Result<crate::core::pools::ObservedSplit, RouterError> {
        let is_back = route.split.canary == Weight::ZERO;
        let Some(router) = self.router(name) else { return Err(unknown(name)) };
        self.call(name, &router, is_back, ("observe", router.adapter.observe(route))).await
    }

    async fn apply(&self, name: &str, route: &Route, raises: bool) -> Result<Result<(), ApplyError>, Died> {
        let Some(router) = self.router(name) else {
            return Ok(Err(ApplyError::Router(unknown(name))));
        };
        if raises {
            // Invariant 14: what was stored before the store went away does not rise now.
            // Nor what somebody else has replaced: a process may have been taken over from, and not know it yet.
            let stored = self.in_time(self.store.target(&route.target)).await;
            match stored.unwrap_or_else(|| Err(too_late())) {
                Ok(stored) if stored.generation > route.generation => {
                    let newer = StoreError::Conflict(format!("target {}", route.target));
                    return Ok(Err(ApplyError::Store(newer)));
                }
                Ok(_) => {}
                Err(error) => return Ok(Err(ApplyError::Store(error))),
            }
        }
        self.failpoints.pass("before_apply")?;
        let is_back = route.split.canary == Weight::ZERO;
        let applied = self.call(name, &router, is_back, ("apply", router.adapter.apply(route))).await;
        self.failpoints.pass("applied")?;
        Ok(applied.map_err(ApplyError::Router))
    }

    async fn call<T>(
        &self,
        name: &str,
        router: &Connected,
        is_back: bool,
        (what, call): (&'static str, impl Future<Output = Result<T, RouterError>>),
    ) -> Result<T, RouterError> {
        let begun = self.clock.monotonic();
        let answer = self.in_time(async {
            let _place = router.place(is_back).await;
            call.await
        });
        let answer = answer.await.unwrap_or(Err(RouterError::Timeout));
        let took = self.clock.monotonic().saturating_sub(begun).as_secs_f64();
        telemetry::router_answered(name, what, took, answer.is_err());
        answer
    }

    async fn ask_gate(&self, request: &GateRequest) -> Result<GateAnswer, Died> {
        self.failpoints.pass("gate_begun")?;
        let answer = within(self.clock.as_ref(), LONGEST, async {
            let _place = self.gates.place(&request.policy, &request.gate.name).await;
            self.gatekeeper.ask(request).await
        })
        .await;
        Ok(answer.unwrap_or_else(|| match request.gate.check.is_once() {
            true => GateAnswer::Lost("it gave no answer in time, and what it did is not known.".to_owned()),
            false => GateAnswer::Fault("no answer in time".to_owned()),
        }))
    }
}

fn too_late() -> StoreError {
    StoreError::Unavailable("no answer in time".to_owned())
}

fn unknown(router: &str) -> RouterError {
    RouterError::Refused(format!("the configuration has no router {router}"))
}

/// The failpoint after a commit, by what it decided.
fn name_of(commit: &Commit) -> &'static str {
    let has = |kind| commit.events.iter().any(|event| event.kind == kind);
    let is_terminal = commit.rollout.as_ref().is_some_and(|r| r.phase.is_terminal());
    if has(EventKind::RollbackStarted) {
        "rollback_committed"
    } else if is_terminal {
        "end_committed"
    } else if has(EventKind::StepEntered) {
        "step_committed"
    } else if commit.observation.is_some() {
        "tick_committed"
    } else {
        "other_committed"
    }
}
