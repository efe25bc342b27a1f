//! One target with its active rollout, and one piece of work on it.

use std::collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Engine;
use super::commit::Unsaved;
use super::gates::Asking;
use crate::core::found::{Idle, idle};
use crate::core::judge::JudgeState;
use crate::core::metric::{MetricCursor, NoData};
use crate::core::policy::Mode;
use crate::core::rollout::{Event, Phase, Rollout, RolloutId, Tick};
use crate::core::target::{Finding, ObservedSplit, Proxies, Role, Target, TargetSpec, Weight};
use crate::ports::{Died, Route, RouterError, StoreError, TrafficRouter};
use crate::telemetry;

/// One target with its active rollout, as stored.
pub(super) struct Slot {
    pub spec: TargetSpec,
    pub target: Target,
    pub active: Option<Active>,
    /// When the next look at the metrics is due, by the monotonic clock.
    pub next_tick: Duration,
    /// When the next look at the router is due.
    pub next_observe: Duration,
    /// The last look at the metrics that was stored, by this process.
    pub last_tick: Option<Duration>,
    /// The last look at the router, by this process.
    pub last_observe: Option<Duration>,
    /// The newest generation that was applied by this process.
    pub last_drive: Option<u64>,
    /// The router was last found to give the canary more than is wanted.
    pub was_raised: bool,
    /// When the generation that is not seen yet was wanted.
    pub wanted_at: Option<Duration>,
    /// A way back that the store has not taken yet.
    pub unsaved: Option<Unsaved>,
    /// What the store holds is newer.
    pub outdated: bool,
    /// There may be commands, or a scheduled rollout.
    pub asked: bool,
    /// The rollout whose counters are there.
    pub shown: Option<RolloutId>,
    /// The gates that are being asked.
    pub asking: Asking,
    /// This process has heard from the router.
    pub looked: bool,
}

/// A rollout at work.
pub(super) struct Active {
    pub rollout: Rollout,
    pub judge: JudgeState,
    pub cursors: BTreeMap<String, MetricCursor>,
}

impl Slot {
    pub fn new(spec: TargetSpec, target: Target, active: Option<Active>, now: Duration) -> Slot {
        Slot {
            spec,
            target,
            active,
            next_tick: now,
            next_observe: now,
            last_tick: None,
            last_observe: None,
            last_drive: None,
            was_raised: false,
            wanted_at: None,
            unsaved: None,
            outdated: false,
            asked: true,
            shown: None,
            asking: Asking::default(),
            looked: false,
        }
    }

    /// The target as its router sees it.
    pub fn route(&self) -> Route {
        let pools = [Role::Stable, Role::Canary, Role::Baseline]
            .into_iter()
            .filter_map(|role| Some((role, self.spec.pool(role, self.target.swapped)?.clone())))
            .collect();
        Route {
            target: self.target.name.clone(),
            route: self.spec.route.clone(),
            pools,
            split: self.target.wanted,
            generation: self.target.generation,
            nodes: self.target.nodes.clone(),
        }
    }

    /// Whether Serin moves this target's traffic: not in observe mode, and not before the first rollout
    /// that does.
    pub fn steers(&self) -> bool {
        match &self.active {
            Some(active) => active.rollout.policy.mode == Mode::Act,
            None => self.target.generation > 1,
        }
    }

    /// Whether the router may be told anything: a target that no rollout has is looked at first, and what
    /// the store knows nothing of waits for a person.
    pub fn may_drive(&self) -> bool {
        self.steers() && (self.active.is_some() || (self.looked && self.target.found.is_none()))
    }

    pub fn next_due(&self) -> Duration {
        let tick = if self.active.is_some() { self.next_tick } else { Duration::MAX };
        tick.min(self.next_observe).min(self.asking.due())
    }

    /// Keeps the cadence: the next tick is a whole number of intervals after the last one was due, at a
    /// phase that differs from target to target.
    pub fn plan_tick(&mut self, now: Duration) {
        let Some(active) = &self.active else { return };
        let interval = active.rollout.policy.analysis.interval.max(Duration::from_millis(10));
        let mut hasher = DefaultHasher::new();
        self.target.name.hash(&mut hasher);
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let phase = hasher.finish() % interval_ms;
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let ticks = now_ms.saturating_sub(phase) / interval_ms + 1;
        self.next_tick = Duration::from_millis(ticks * interval_ms + phase);
    }
}

impl Engine {
    /// One piece of work on a target: everything that is due.
    pub(super) async fn step(&self, slot: &mut Slot) -> Result<(), Died> {
        if slot.unsaved.is_some() && !self.save_unsaved(slot).await? {
            // Nothing is decided before the way back is stored, but it is driven.
            return self.drive_later(slot).await;
        }
        if slot.outdated && !self.reload(slot).await {
            return self.drive_later(slot).await;
        }
        // Before commands, so that none passes a freeze that has begun since the last step.
        self.freeze(slot).await?;
        if std::mem::take(&mut slot.asked) {
            self.take_commands(slot).await?;
            self.begin_scheduled(slot).await?;
        }
        if slot.active.is_some() && self.clock().monotonic() >= slot.next_tick {
            // What is decided at a tick is decided about the split that is there.
            slot.next_observe = self.clock().monotonic();
        }
        self.observe(slot).await?;
        self.freeze(slot).await?;
        self.tick(slot).await?;
        self.gates(slot).await?;
        self.workload(slot).await?;
        self.drive(slot).await
    }

    /// Drives the router while the store is away; everything else is put off a little.
    async fn drive_later(&self, slot: &mut Slot) -> Result<(), Died> {
        let soon = self.clock().monotonic() + self.parts.options.confirm_interval;
        self.drive(slot).await?;
        slot.next_tick = slot.next_tick.max(soon);
        slot.next_observe = slot.next_observe.max(soon);
        Ok(())
    }

    /// Looks at the metrics, if that is due.
    async fn tick(&self, slot: &mut Slot) -> Result<(), Died> {
        let now = self.clock().monotonic();
        if now < slot.next_tick || slot.active.is_none() || slot.unsaved.is_some() {
            return Ok(());
        }
        slot.plan_tick(now);
        self.history(slot).await?;
        let elapsed = slot.last_tick.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        let begun = self.clock().monotonic();
        let Some((tick, cursors)) = self.collect(slot, elapsed).await else { return Ok(()) };
        let took = self.clock().monotonic().saturating_sub(begun).as_secs_f64();
        telemetry::provider_answered(&slot.spec.provider, took, &reasons(&tick));
        let policy = slot.active.as_ref().map(|a| a.rollout.policy.name.clone()).unwrap_or_default();
        for metric in &tick.metrics {
            for fault in [&metric.canary, &metric.baseline].into_iter().filter_map(|r| r.as_ref().err()) {
                if *fault != NoData::Waiting {
                    telemetry::collect_fault(&slot.target.name, &policy, fault.name());
                }
            }
        }
        if self.take(slot, Event::Tick(tick), cursors, None).await? {
            slot.last_tick = Some(now);
            let seconds = self.clock().monotonic().saturating_sub(now).as_secs_f64();
            telemetry::tick(&slot.target.name, &policy, seconds);
        }
        Ok(())
    }

    /// Looks at the router, if that is due.
    async fn observe(&self, slot: &mut Slot) -> Result<(), Died> {
        let now = self.clock().monotonic();
        if now < slot.next_observe {
            return Ok(());
        }
        if !slot.steers() && slot.looked && slot.target.found.is_none() {
            slot.next_observe = now + self.parts.options.reconcile_interval;
            return Ok(());
        }
        // Not `in_force`: a router that does not answer is not asked more often for it.
        let settled = slot.target.is_seen() && slot.target.unconfirmed_nodes().is_empty();
        let options = &self.parts.options;
        slot.next_observe = now + if settled { options.reconcile_interval } else { options.confirm_interval };
        if let Some(active) = &slot.active {
            slot.next_observe = slot.next_observe.min(now + active.rollout.policy.analysis.interval);
        }
        let elapsed = slot.last_observe.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        slot.last_observe = Some(now);
        let answer = self.ask_router(slot).await;
        let is_first = answer.is_some() && !slot.looked;
        let unknown = || ObservedSplit { nodes: slot.target.nodes.clone(), ..ObservedSplit::of(None) };
        let observed = answer.unwrap_or_else(unknown);
        slot.was_raised = observed
            .split
            .is_some_and(|found| found != slot.target.wanted && found.canary >= slot.target.wanted.canary);
        if slot.unsaved.is_some() {
            slot.target.observe(&observed, self.clock().wall());
            return Ok(());
        }
        if slot.active.is_some() {
            slot.looked |= is_first;
            self.take(slot, Event::Observed { split: observed, elapsed }, BTreeMap::new(), None).await?;
            return Ok(());
        }
        self.reconcile_idle(slot, &observed, is_first).await
    }

    /// `None` if it does not answer.
    async fn ask_router(&self, slot: &Slot) -> Option<ObservedSplit> {
        let router = self.parts.routers.get(&slot.spec.router)?;
        let route = slot.route();
        match self.call(&slot.spec.router, "observe", router.observe(&route)).await {
            Ok(observed) => Some(observed),
            Err(error) => {
                tracing::warn!(target_name = %slot.target.name, %error, "the split cannot be observed");
                None
            }
        }
    }

    /// What becomes of a target without a rollout is the core's to say.
    async fn reconcile_idle(
        &self,
        slot: &mut Slot,
        observed: &ObservedSplit,
        is_first: bool,
    ) -> Result<(), Died> {
        let Idle { target, finding, notices } = idle(&slot.target, observed, is_first, self.clock().wall());
        if let Some(Finding::Lowered { found } | Finding::Raised { found }) = &finding {
            tracing::warn!(target_name = %target.name, %found, wanted = %slot.target.wanted,
                "the split of an idle target was changed by somebody");
        }
        if self.take_target(slot, target, notices).await? {
            slot.looked |= is_first;
        }
        Ok(())
    }

    /// Tells a phase that waits for the workload that it is ready.
    async fn workload(&self, slot: &mut Slot) -> Result<(), Died> {
        if slot.unsaved.is_some() {
            return Ok(());
        }
        let Some(active) = &slot.active else { return Ok(()) };
        let (policy, name) = (&active.rollout.policy, slot.target.name.as_str());
        let ready = match active.rollout.phase {
            Phase::Preparing { step } if active.rollout.holds.is_empty() => {
                let weight = policy.steps.get(step).map_or(Weight::ZERO, |step| step.weight);
                let has_baseline = slot.target.has_baseline;
                let split = crate::core::target::Split::canary(weight, has_baseline);
                timeout(self.parts.options.call_deadline, self.parts.workload.prepare(name, split)).await
            }
            Phase::Finalizing
                if slot.target.in_force(Proxies::Reachable) && slot.target.wanted.canary == Weight::FULL =>
            {
                timeout(self.parts.options.call_deadline, self.parts.workload.finalize(name)).await
            }
            _ => return Ok(()),
        };
        match ready {
            Ok(Ok(true)) => {
                self.take(slot, Event::WorkloadReady, BTreeMap::new(), None).await?;
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(target_name = %name, %error, "the workload is not ready"),
            Err(_) => tracing::warn!(target_name = %name, "the workload did not answer in time"),
        }
        Ok(())
    }

    /// Drives the router to the wanted split until that is seen everywhere, and looks at once.
    async fn drive(&self, slot: &mut Slot) -> Result<(), Died> {
        // A proxy that is cut off matters on the way back; on the way up it merely lags. Not `in_force`: what
        // was seen once is driven again when something else is found, not while nothing is.
        let lags = slot.target.wanted.canary == Weight::ZERO && !slot.target.unconfirmed_nodes().is_empty();
        if !slot.may_drive() || (slot.target.is_seen() && !lags && !slot.was_raised) {
            return Ok(());
        }
        let Some(router) = self.parts.routers.get(&slot.spec.router) else { return Ok(()) };
        let in_force = slot.target.seen.map_or(Weight::ZERO, |seen| seen.split.canary);
        if slot.outdated && slot.target.wanted.canary > Weight::ZERO {
            // Somebody has stored something newer: that is driven, once it is loaded.
            return Ok(());
        }
        if slot.target.wanted.canary > in_force
            && let Err(error) = self.store().ping().await
        {
            // Invariant 14: what was stored before the store went away does not rise now.
            self.store_failed(&slot.target.name, &error);
            return Ok(());
        }
        self.pass("before_apply")?;
        if let Err(error) = self.apply(router, slot).await {
            telemetry::split_apply_fault(&slot.target.name);
            tracing::warn!(target_name = %slot.target.name, split = %slot.target.wanted, %error,
                "the split cannot be applied; it is tried again");
        }
        self.pass("applied")?;
        let now = self.clock().monotonic();
        let soon = now + self.parts.options.confirm_interval;
        slot.next_observe = slot.next_observe.min(soon);
        if !slot.target.is_seen() && slot.last_drive != Some(slot.target.generation) {
            // The first time for this generation: many routers can show it at once.
            slot.last_drive = Some(slot.target.generation);
            slot.next_observe = now;
            self.observe(slot).await?;
        }
        Ok(())
    }

    async fn apply(&self, router: &Arc<dyn TrafficRouter>, slot: &Slot) -> Result<(), RouterError> {
        let route = slot.route();
        self.call(&slot.spec.router, "apply", router.apply(&route)).await
    }

    async fn call<T>(
        &self,
        router: &str,
        name: &'static str,
        call: impl Future<Output = Result<T, RouterError>>,
    ) -> Result<T, RouterError> {
        let begun = self.clock().monotonic();
        let answer = timeout(self.parts.options.call_deadline, call).await;
        let answer = answer.unwrap_or(Err(RouterError::Timeout));
        let took = self.clock().monotonic().saturating_sub(begun).as_secs_f64();
        telemetry::router_answered(router, name, took, answer.is_err());
        answer
    }

    /// Loads the active rollout of a target, with its evidence: the newest snapshot and the observations
    /// after it, judged again.
    pub(super) async fn load_active(&self, target: &Target) -> Result<Option<Active>, StoreError> {
        let Some(id) = &target.active else { return Ok(None) };
        let stored = self.store().load(id).await?;
        let policy = &stored.rollout.policy;
        let mut judge = match stored.snapshot {
            Some((_, judge)) => judge,
            None => JudgeState::with_history(policy, stored.rollout.history.as_ref()),
        };
        for tick in &stored.observations {
            judge.observe(policy, tick);
        }
        Ok(Some(Active { rollout: stored.rollout, judge, cursors: stored.cursors }))
    }
}

/// Why readings of a look are missing, each reason once.
fn reasons(tick: &Tick) -> BTreeSet<&'static str> {
    let metrics = tick.metrics.iter().flat_map(|m| [m.canary.as_ref().err(), m.baseline.as_ref().err()]);
    let values = tick.values.iter().flat_map(|v| [v.canary.as_ref().err(), v.baseline.as_ref().err()]);
    metrics.chain(values).flatten().map(NoData::name).collect()
}
