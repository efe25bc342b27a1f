//! Looks at the metrics: the split is looked at first, then the source is asked, and what it says is judged.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::actor::{Actor, Arrived};
use super::message::{Decision, Job, JobKind, Looked, Now};
use super::requests;
use super::store::With;
use crate::core::ids::RolloutId;
use crate::core::judge::{History, MetricHistory, Recorded};
use crate::core::metric::{MetricCursor, NoData, Reading};
use crate::core::policy::Metric;
use crate::core::rollout::{Event, Tick, history_is_due};
use crate::core::time::Timestamp;
use crate::telemetry;

/// Slots of an interval.
const SLOTS: u64 = 10;
/// So much of the time that a policy wants to look back on must be recorded.
const ENOUGH_OF_PAST: f64 = 0.9;

/// Where the looks of a target are.
pub(super) struct Looks {
    /// When the next one is due.
    next: Duration,
    /// When the last one was begun whose tick was stored, by this process.
    pub last_tick: Option<Duration>,
    stage: Stage,
    /// Whose past is asked for, and of which metrics.
    past: Option<(RolloutId, Vec<String>)>,
}

enum Stage {
    Idle,
    /// The split is looked at first: what is decided at a look is decided about the split that is there.
    Observing,
    /// The metrics' pasts are asked for.
    Recalling,
    Ready,
    /// Whose look it is, when it began, and by which wall time.
    Looking(RolloutId, Duration, Timestamp),
}

impl Looks {
    pub fn new(now: Duration) -> Looks {
        Looks { next: now, last_tick: None, stage: Stage::Idle, past: None }
    }

    /// A look that has begun is of a state that is not there any more.
    pub fn forget(&mut self) {
        self.stage = Stage::Idle;
        self.past = None;
    }

    /// The split has been looked at, or need not be.
    pub fn observed(&mut self) {
        if matches!(self.stage, Stage::Observing) {
            self.stage = Stage::Recalling;
        }
    }
}

impl Actor {
    pub(super) fn due_look(&self) -> Duration {
        match (&self.active, &self.looks.stage) {
            (Some(_), Stage::Idle) => self.looks.next,
            _ => Duration::MAX,
        }
    }

    /// A rollout has begun: its cadence begins.
    pub(super) fn begin_looks(&mut self, now: Duration) {
        self.looks.last_tick = None;
        self.looks.stage = Stage::Idle;
        self.looks.next = self.plan_tick(now);
    }

    /// Keeps the cadence: the next look is a whole number of intervals after the last one was due, in a slot that
    /// differs from target to target. Targets of one slot are due at the same moment, so that their source is asked
    /// for many of them at once.
    fn plan_tick(&self, now: Duration) -> Duration {
        let Some(active) = &self.active else { return now };
        let interval = active.rollout.policy.analysis.interval.max(Duration::from_millis(10));
        let mut hasher = DefaultHasher::new();
        self.target.name.hash(&mut hasher);
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let phase = hasher.finish() % SLOTS * interval_ms / SLOTS;
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let ticks = now_ms.saturating_sub(phase) / interval_ms + 1;
        Duration::from_millis(ticks * interval_ms + phase)
    }

    /// Begins a look that is due, or goes on with the one that has begun.
    pub(super) fn ask_metrics(&mut self, now: Now, out: &mut Decision) {
        let Some(active) = &self.active else {
            self.looks.stage = Stage::Idle;
            return;
        };
        if matches!(self.looks.stage, Stage::Idle) && now.monotonic >= self.looks.next {
            self.looks.next = self.plan_tick(now.monotonic);
            self.looks.stage = Stage::Observing;
            self.looks.past = None;
            if self.steers() {
                return self.observe_for_look(now, out);
            }
            self.looks.observed();
        }
        if matches!(self.looks.stage, Stage::Recalling) {
            let of_this = self.looks.past.as_ref().is_some_and(|(id, _)| *id == active.rollout.id);
            if !of_this
                && !active.rollout.policy.analysis.history.is_zero()
                && history_is_due(&active.rollout)
            {
                return self.ask_past(now, out);
            }
            if !self.is_asked(&JobKind::Past) {
                self.looks.stage = Stage::Ready;
            }
        }
        if matches!(self.looks.stage, Stage::Ready) {
            self.ask_source(now, out);
        }
    }

    fn ask_past(&mut self, now: Now, out: &mut Decision) {
        let Some(active) = &self.active else { return };
        let requests = requests::history(&self.spec, &self.target, active, now.wall);
        let metrics = requests.iter().map(|request| request.metric.clone()).collect();
        self.looks.past = Some((active.rollout.id.clone(), metrics));
        let source = self.spec.provider.clone();
        self.send(JobKind::Past, Job::Past { source, requests }, now, out);
    }

    /// What is known of the metrics from before. What the source cannot tell is left to what the target knows
    /// from earlier rollouts, and then to the policy.
    pub(super) fn past(&mut self, answers: Vec<Reading<Recorded>>) {
        let Some((id, metrics)) = &self.looks.past else { return };
        let Some(active) = self.active.as_ref().filter(|active| active.rollout.id == *id) else { return };
        let policy = &active.rollout.policy;
        let mut found = History::default();
        for (name, answer) in metrics.iter().zip(answers) {
            let Some(metric) = policy.metric(name) else { continue };
            match answer.map(|recorded| past(metric, &recorded, policy.analysis.history)) {
                Ok(Some(past)) => {
                    found.metrics.insert(name.clone(), past);
                }
                Ok(None) => {}
                Err(why) => tracing::info!(metric = %name, %why, "no history of the metric"),
            }
        }
        self.arrived.push_back(Arrived::History(found));
    }

    fn ask_source(&mut self, now: Now, out: &mut Decision) {
        let Some(active) = &self.active else { return };
        self.looks.stage = Stage::Looking(active.rollout.id.clone(), now.monotonic, now.wall);
        match requests::look(&self.spec, &self.target, active, now.wall) {
            Ok(request) => self.send(JobKind::Look, Job::Look(Box::new(request)), now, out),
            Err(sentence) => self.see_nothing(&NoData::Refused(sentence)),
        }
    }

    /// What the source says.
    pub(super) fn looked(&mut self, looked: Option<Looked>) {
        let Stage::Looking(id, begun, wall) = &self.looks.stage else { return };
        let (begun, wall) = (*begun, *wall);
        let Some(active) = self.active.as_ref().filter(|active| active.rollout.id == *id) else {
            self.looks.stage = Stage::Idle;
            return;
        };
        let Some(looked) = looked else { return self.see_nothing(&NoData::Timeout) };
        match requests::read(active, looked, wall) {
            Ok(read) => {
                let elapsed = self.elapsed(begun);
                let tick = Tick { elapsed, metrics: read.metrics, values: read.rails, notes: read.notes };
                self.arrived.push_back(Arrived::Tick { tick: Box::new(tick), cursors: read.cursors, begun });
                self.looks.stage = Stage::Idle;
            }
            Err(odd) => self.see_nothing(&odd),
        }
    }

    fn elapsed(&self, begun: Duration) -> Duration {
        self.looks.last_tick.map_or(Duration::ZERO, |last| begun.saturating_sub(last))
    }

    /// A look that shows nothing, with the reason.
    fn see_nothing(&mut self, why: &NoData) {
        let Stage::Looking(_, begun, _) = self.looks.stage else { return };
        self.looks.stage = Stage::Idle;
        let Some(active) = &self.active else { return };
        let (metrics, values) = requests::nothing(active, why);
        let notes = BTreeMap::new();
        let tick = Box::new(Tick { elapsed: self.elapsed(begun), metrics, values, notes });
        self.arrived.push_back(Arrived::Tick { tick, cursors: BTreeMap::new(), begun });
    }

    /// Puts a look through the transition.
    pub(super) fn take_tick(
        &mut self,
        tick: Tick,
        cursors: BTreeMap<String, MetricCursor>,
        begun: Duration,
        now: Now,
        out: &mut Decision,
    ) {
        let Some(active) = &self.active else { return };
        let took = now.monotonic.saturating_sub(begun).as_secs_f64();
        telemetry::provider_answered(&self.spec.provider, took, &reasons(&tick));
        let policy = active.rollout.policy.name.clone();
        for metric in &tick.metrics {
            for fault in [&metric.canary, &metric.baseline].into_iter().filter_map(|r| r.as_ref().err()) {
                if *fault != NoData::Waiting {
                    telemetry::collect_fault(&self.target.name, &policy, fault.name());
                }
            }
        }
        for (metric, noticed) in &tick.notes {
            for (arm, noticed) in [("canary", &noticed.canary), ("baseline", &noticed.baseline)] {
                if let Some(unread) = &noticed.unread {
                    telemetry::collect_fault(&self.target.name, &policy, "partial");
                    tracing::warn!(target_name = %self.target.name, metric, arm, unread = unread.pages,
                        of = unread.of, why = %unread.why, "metrics pages cannot be read");
                }
            }
        }
        let with = With { cursors, ticked: Some(begun), ..With::default() };
        self.put_with(Event::Tick(tick), with, now, out);
    }
}

/// The past of a metric, if nearly all of the wanted time was recorded.
fn past(metric: &Metric, recorded: &Recorded, over: Duration) -> Option<MetricHistory> {
    let past = MetricHistory::measure(metric, recorded)?;
    (past.until.since(past.from) >= over.mul_f64(ENOUGH_OF_PAST)).then_some(past)
}

/// Why readings of a look are missing, each reason once.
fn reasons(tick: &Tick) -> BTreeSet<&'static str> {
    let metrics = tick.metrics.iter().flat_map(|m| [m.canary.as_ref().err(), m.baseline.as_ref().err()]);
    let values = tick.values.iter().flat_map(|v| [v.canary.as_ref().err(), v.baseline.as_ref().err()]);
    metrics.chain(values).flatten().map(NoData::name).collect()
}
