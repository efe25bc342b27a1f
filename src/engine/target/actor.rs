//! The actor: one target with its rollout. Synchronous: it takes a message and says what is to be done. It
//! has no lock, awaits nothing and reads no clock, so production and simulation run the same one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::commands::Pending;
use super::looks::Looks;
use super::message::{Active, Decision, Job, JobKind, Loaded, Message, Now, Outcome, Ticket};
use super::router::Steering;
use super::store::{Flight, Owed};
use crate::core::gate::GateAnswer;
use crate::core::ids::RolloutId;
use crate::core::metric::MetricCursor;
use crate::core::policy::Mode;
use crate::core::pools::ObservedSplit;
use crate::core::rollout::{Event, Gap, Rollout};
use crate::core::spec::TargetSpec;
use crate::core::split::Role;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::engine::Options;
use crate::engine::freezes::Freezes;
use crate::engine::telling::Telling;
use crate::ports::{InboxEntry, Route};

/// A job that brings no result is given up after so many times the deadline of a call: the target must
/// never wait for ever for what was lost.
const PATIENCE: u32 = 3;
/// The same for a gate's check, which may take hours by its own word.
const GATE_PATIENCE: Duration = Duration::from_secs(7 * 3600 + 60);

/// One target with its rollout.
pub struct Actor {
    pub(super) spec: Arc<TargetSpec>,
    pub(super) target: Target,
    pub(super) active: Option<Active>,
    /// Rollouts that wait for the target, oldest first.
    pub(super) waiting: Vec<Rollout>,
    /// Rollouts that have ended lately.
    pub(super) ended: Vec<Rollout>,
    pub(super) telling: Arc<Telling>,
    pub(super) freezes: Arc<Freezes>,
    pub(super) options: Options,
    pub(super) steering: Steering,
    pub(super) looks: Looks,
    /// The commit that is under way.
    pub(super) flight: Option<Flight>,
    /// A way back that is in force, and that the store has not taken yet.
    pub(super) owed: Option<Owed>,
    /// What the store holds is newer, or not known.
    pub(super) is_outdated: bool,
    /// Another process owns the target: nothing is decided, stored or set here any more.
    pub(super) is_lost: bool,
    /// A commit has brought no answer: the store may hold it. Nothing is decided before that is known, or the
    /// store cannot be read either.
    pub(super) in_doubt: bool,
    /// The store may hold something new.
    pub(super) has_news: bool,
    /// Since when the store has taken nothing, while it fails.
    pub(super) unstored_since: Option<Timestamp>,
    /// The store is not asked again before, after it has failed.
    pub(super) retry_at: Duration,
    pub(super) commands: VecDeque<Pending>,
    /// Keys of commands that were taken from memory, with what became of them.
    pub(super) taken: VecDeque<(String, Result<(), String>)>,
    /// Commands from memory that are not stored yet: their commits bring them into the inbox.
    pub(super) unasked: BTreeMap<String, InboxEntry>,
    /// What came while a commit was under way.
    pub(super) arrived: VecDeque<Arrived>,
    /// When a gate is asked next, by name.
    pub(super) gates: BTreeMap<String, Duration>,
    /// Whose gates they are.
    pub(super) gates_of: Option<RolloutId>,
    pub(super) next_workload: Duration,
    asked: BTreeMap<JobKind, Asked>,
    tickets: u64,
}

/// A job that is out.
struct Asked {
    number: u64,
    /// It is given up then.
    until: Duration,
}

/// Something that has come and is to be put through the transition.
#[derive(Debug)]
pub(super) enum Arrived {
    History(crate::core::judge::History),
    Tick { tick: Box<crate::core::rollout::Tick>, cursors: BTreeMap<String, MetricCursor>, begun: Duration },
    Observed { split: ObservedSplit, elapsed: Duration },
    Gate { gate: String, answer: GateAnswer },
    WorkloadReady,
    Happened(RolloutId, Box<Event>),
}

impl Actor {
    /// A target as it was loaded.
    pub fn new(
        spec: Arc<TargetSpec>,
        loaded: Loaded,
        telling: Arc<Telling>,
        freezes: Arc<Freezes>,
        options: Options,
        now: Now,
    ) -> Actor {
        let mut actor = Actor {
            target: loaded.target.clone(),
            spec,
            active: None,
            waiting: Vec::new(),
            ended: Vec::new(),
            telling,
            freezes,
            options,
            steering: Steering::new(now.monotonic),
            looks: Looks::new(now.monotonic),
            flight: None,
            owed: None,
            is_outdated: false,
            is_lost: false,
            in_doubt: false,
            has_news: false,
            unstored_since: None,
            retry_at: now.monotonic,
            commands: VecDeque::new(),
            taken: VecDeque::new(),
            unasked: BTreeMap::new(),
            arrived: VecDeque::new(),
            gates: BTreeMap::new(),
            gates_of: None,
            next_workload: now.monotonic,
            asked: BTreeMap::new(),
            tickets: 0,
        };
        let last_work = loaded.last_work;
        actor.adopt(loaded);
        if let Some((active, since)) = actor.active.as_ref().zip(last_work)
            && active.rollout.was_left_alone(since, now.wall)
        {
            let away = Arrived::Happened(
                active.rollout.id.clone(),
                Box::new(Event::Away { since, gap: Gap::BeforeStart }),
            );
            actor.arrived.push_back(away);
        }
        actor.steering.driven = actor.target.generation;
        actor
    }

    /// Tickets are numbered from here on.
    pub fn numbered(mut self, from: u64) -> Actor {
        self.tickets = from;
        self
    }

    /// Takes a message; everything that follows from it is done, or asked of the world.
    pub fn take(&mut self, message: Message, now: Now) -> Decision {
        let mut out = Decision::default();
        if self.is_lost {
            return out;
        }
        match message {
            Message::Command(entry) => self.hand_over(*entry, now, &mut out),
            Message::News => self.has_news = true,
            Message::Happened(rollout, event) => self.arrived.push_back(Arrived::Happened(rollout, event)),
            Message::Changed => self.steering.changed(now.monotonic),
            Message::Due => {}
            Message::Result(ticket, outcome) => {
                if self.is_current(&ticket) {
                    self.asked.remove(&ticket.kind);
                    self.bring(ticket.kind, outcome, now, &mut out);
                }
            }
        }
        self.give_up(now, &mut out);
        if self.is_lost {
            let kinds: Vec<JobKind> = self.asked.keys().cloned().collect();
            kinds.iter().for_each(|kind| self.cut_off(kind, &mut out));
            return out;
        }
        self.work(now, &mut out);
        self.ask(now, &mut out);
        out
    }

    /// When something is to be done without a message, by the monotonic clock.
    pub fn due(&self) -> Duration {
        if self.is_lost {
            return Duration::MAX;
        }
        let lost = self.asked.values().map(|asked| asked.until).min().unwrap_or(Duration::MAX);
        if self.flight.is_some() {
            return lost.min(self.due_hurried());
        }
        let stored = self.owed.is_some()
            || self.is_outdated
            || self.in_doubt
            || self.has_news
            || !self.commands.is_empty()
            || !self.arrived.is_empty();
        let retry = if stored && !self.is_asked(&JobKind::Load) { self.retry_at } else { Duration::MAX };
        let due = lost.min(retry).min(self.due_router());
        if self.is_settled() {
            due.min(self.due_look()).min(self.due_gates()).min(self.due_waiting())
        } else {
            due
        }
    }

    /// Whether nothing is lost if nobody works on it any more: no rollout has it or waits for it, and nothing is on
    /// its way to the store.
    pub fn may_go(&self) -> bool {
        let is_free = self.active.is_none() && self.waiting.is_empty();
        self.is_lost || (is_free && self.flight.is_none() && self.owed.is_none())
    }

    /// Whether what is held here is what the store holds.
    fn is_settled(&self) -> bool {
        self.owed.is_none() && !self.is_outdated && !self.in_doubt
    }

    /// The target's name.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// How it is declared.
    pub fn spec(&self) -> &TargetSpec {
        &self.spec
    }

    /// The target, as stored.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The rollout that has it.
    pub fn active(&self) -> Option<&Rollout> {
        self.active.as_ref().map(|active| &active.rollout)
    }

    /// Rollouts that wait for it, as far as is known here, oldest first.
    pub fn waiting(&self) -> &[Rollout] {
        &self.waiting
    }

    /// When the metrics were last read and that was stored, by this process.
    pub fn last_tick(&self) -> Option<Duration> {
        self.looks.last_tick
    }

    /// Whether a rollout is one of this target's, as far as is known here.
    pub fn knows_of(&self, rollout: &RolloutId) -> bool {
        let active = self.active.iter().map(|active| &active.rollout);
        active.chain(&self.waiting).chain(&self.ended).any(|known| known.id == *rollout)
    }

    /// It is declared otherwise from now on. What its rollout needs stays as it began: the catalogue sees to that.
    pub fn set_spec(&mut self, spec: Arc<TargetSpec>) {
        self.target.has_baseline = spec.baseline.is_some();
        self.target.split_by = spec.split_by;
        self.spec = spec;
    }

    /// Others are told, or in other words, from now on.
    pub fn set_telling(&mut self, telling: Arc<Telling>) {
        self.telling = telling;
    }

    /// Other freezes hold from now on.
    pub fn set_freezes(&mut self, freezes: Arc<Freezes>) {
        self.freezes = freezes;
    }

    /// The target as its router sees it.
    pub fn route(&self) -> Route {
        self.route_of(&self.target)
    }

    pub(super) fn route_of(&self, target: &Target) -> Route {
        let pools = [Role::Stable, Role::Canary, Role::Baseline]
            .into_iter()
            .filter_map(|role| Some((role, self.spec.pool(role, target.swapped)?.clone())))
            .collect();
        Route {
            target: target.name.clone(),
            route: self.spec.route.clone(),
            pools,
            split: target.wanted,
            generation: target.generation,
            nodes: target.nodes.clone(),
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

    // ------------------------------------------------------------------------------------------- jobs

    /// Sends a job on its way; one of the same kind that is out is cut off.
    pub(super) fn send(&mut self, kind: JobKind, job: Job, now: Now, out: &mut Decision) {
        self.cut_off(&kind, out);
        self.tickets += 1;
        let patience = match (&kind, &job) {
            (JobKind::Gate(_), _) => GATE_PATIENCE,
            // One call to the router, which ends by its deadline: a way back is tried again soon.
            (_, Job::Apply { raises: false, .. }) => {
                self.options.call_deadline + self.options.confirm_interval
            }
            _ => self.options.call_deadline * PATIENCE,
        };
        let asked = Asked { number: self.tickets, until: now.monotonic + patience };
        self.asked.insert(kind.clone(), asked);
        out.jobs.push((Ticket { kind, number: self.tickets }, job));
    }

    /// What it brings is not wanted any more.
    pub(super) fn cut_off(&mut self, kind: &JobKind, out: &mut Decision) {
        if let Some(asked) = self.asked.remove(kind) {
            out.cancel.push(Ticket { kind: kind.clone(), number: asked.number });
        }
    }

    pub(super) fn is_asked(&self, kind: &JobKind) -> bool {
        self.asked.contains_key(kind)
    }

    pub(super) fn asked_gates(&self) -> Vec<String> {
        let gate = |kind: &JobKind| match kind {
            JobKind::Gate(name) => Some(name.clone()),
            _ => None,
        };
        self.asked.keys().filter_map(gate).collect()
    }

    fn is_current(&self, ticket: &Ticket) -> bool {
        self.asked.get(&ticket.kind).is_some_and(|asked| asked.number == ticket.number)
    }

    /// Jobs that have brought nothing for too long are taken for lost.
    fn give_up(&mut self, now: Now, out: &mut Decision) {
        let late = |(kind, asked): (&JobKind, &Asked)| (asked.until <= now.monotonic).then(|| kind.clone());
        let late: Vec<JobKind> = self.asked.iter().filter_map(late).collect();
        for kind in late {
            tracing::warn!(target_name = %self.target.name, job = ?kind, "a job has brought nothing");
            self.cut_off(&kind, out);
            let nothing = self.nothing(&kind);
            self.bring(kind, nothing, now, out);
        }
    }

    /// What is taken for the result of a job that has brought none.
    fn nothing(&self, kind: &JobKind) -> Outcome {
        use super::message::ApplyError;
        use crate::ports::{RouterError, StoreError};
        let store = || StoreError::Unavailable("no answer in time".to_owned());
        match kind {
            JobKind::Load => Outcome::Loaded(Err(store())),
            JobKind::Commit => Outcome::Stored(Err(store())),
            JobKind::Look => Outcome::Looked(None),
            JobKind::Past => Outcome::Past(Vec::new()),
            JobKind::Observe => Outcome::Observed(Err(RouterError::Timeout)),
            JobKind::Apply => Outcome::Applied(Err(ApplyError::Router(RouterError::Timeout))),
            JobKind::Workload => Outcome::Drove(Err("no answer in time".to_owned())),
            JobKind::Gate(name) => Outcome::Asked(self.no_answer(name)),
        }
    }

    fn bring(&mut self, kind: JobKind, outcome: Outcome, now: Now, out: &mut Decision) {
        match (kind, outcome) {
            (_, Outcome::Loaded(loaded)) => self.loaded(loaded, now, out),
            (_, Outcome::Stored(result)) => self.stored(result, now, out),
            (_, Outcome::Looked(looked)) => self.looked(looked),
            (_, Outcome::Past(answers)) => self.past(answers),
            (_, Outcome::Observed(observed)) => self.observed(observed, now),
            (_, Outcome::Applied(result)) => self.applied(result, now, out),
            (_, Outcome::Drove(ready)) => self.drove(ready, now),
            (JobKind::Gate(gate), Outcome::Asked(answer)) => {
                self.arrived.push_back(Arrived::Gate { gate, answer });
            }
            (_, Outcome::Asked(_)) => {}
        }
    }

    // ------------------------------------------------------------------------------------------- work

    /// Puts through the transition what is there, one at a time: each is stored before the next.
    fn work(&mut self, now: Now, out: &mut Decision) {
        while self.flight.is_none() {
            let may_store = now.monotonic >= self.retry_at;
            if self.owed.is_some() {
                if may_store {
                    self.save_owed(now, out);
                    continue;
                }
                self.keep_watch(now);
                return;
            }
            if (self.is_outdated || self.in_doubt || self.has_news)
                && may_store
                && (!self.is_asked(&JobKind::Load) || self.steering.must_read_again())
            {
                self.load(now, out);
            }
            if self.is_outdated {
                self.keep_watch(now);
                return;
            }
            if self.in_doubt {
                return;
            }
            // Freezes before commands, so that none passes one that has begun; but a rollback passes every freeze.
            let goes_on = self.next_rollback(may_store, now, out)
                || self.freeze(now, out)
                || self.next_command(may_store, now, out)
                || self.next_arrived(may_store, now, out)
                || (may_store && self.next_waiting(now, out));
            if !goes_on {
                return;
            }
        }
    }

    /// Takes in the next thing that has come. False if there is none that can be taken now.
    fn next_arrived(&mut self, may_store: bool, now: Now, out: &mut Decision) -> bool {
        // A look and what the router says are worth nothing later; answers wait for the store.
        let ready = |arrived: &Arrived| {
            may_store
                || matches!(arrived, Arrived::Tick { .. } | Arrived::Observed { .. } | Arrived::History(_))
        };
        let Some(place) = self.arrived.iter().position(ready) else { return false };
        let Some(arrived) = self.arrived.remove(place) else { return false };
        match arrived {
            Arrived::History(found) => self.put(Event::History(found), now, out),
            Arrived::Tick { tick, cursors, begun } => self.take_tick(*tick, cursors, begun, now, out),
            Arrived::Observed { split, elapsed } => self.take_observed(split, elapsed, now, out),
            Arrived::Gate { gate, answer } => self.take_answer(gate, answer, now, out),
            Arrived::WorkloadReady => self.put(Event::WorkloadReady, now, out),
            Arrived::Happened(rollout, event) => self.take_happened(&rollout, *event, now, out),
        }
        true
    }

    /// Asks the world for what is due. While a commit is under way nothing is begun: what is asked depends
    /// on what is stored.
    fn ask(&mut self, now: Now, out: &mut Decision) {
        self.drive_hurried(now, out);
        if self.flight.is_some() {
            return;
        }
        let is_settled = self.is_settled();
        if is_settled {
            self.ask_gates(now, out);
        }
        if self.flight.is_some() {
            return;
        }
        self.ask_router(now, out);
        if is_settled {
            self.ask_metrics(now, out);
            self.ask_workload(now, out);
        }
        self.drive(now, out);
    }
}
