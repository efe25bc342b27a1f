//! Builders of the core's types with sensible defaults. A test changes what it is about and leaves the
//! rest; every value here is one that `config` would accept too.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::ids::RolloutId;
use serin::core::judge::METHOD;
use serin::core::limit::{Breach, GuardrailLimit, Severity};
use serin::core::metric::{
    Counts, MetricObservation, NoData, Reading, TickObservation, Usage, ValueObservation, Window,
};
use serin::core::notice::{Notice, NoticeKind};
use serin::core::policy::{
    Analysis, AtMax, Bake, Direction, Guardrail, GuardrailAction, Limit, LimitOutcome, Metric, Mode, Policy,
    Signal, Step,
};
use serin::core::rollout::{
    Command, CommandKind, EventKind, EventRecord, Force, Giver, Plan, Rollout, RolloutKind,
};
use serin::core::source::{MatchOp, Matcher, MetricSource, Selector};
use serin::core::spec::{Pool, TargetSpec};
use serin::core::split::Weight;
use serin::core::target::Target;
use serin::core::time::Timestamp;

/// When the tests' time begins.
pub const T0: Timestamp = Timestamp(1_900_000_000_000);

/// `seconds` after the tests' time began.
pub fn at(seconds: f64) -> Timestamp {
    Timestamp(T0.0 + (seconds * 1000.0).round() as i64)
}

/// A duration in seconds.
pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A weight in percent.
pub fn percent(percent: f64) -> Weight {
    Weight((percent * 100.0).round() as u16)
}

// ---------------------------------------------------------------------------------------------- policies

/// Changes a policy that begins as: act, 5 → 25 → 100 with a minute each, looked at every ten seconds,
/// errors compared, no guardrails, a minute of bake.
#[derive(Clone, Debug)]
pub struct PolicyBuilder {
    policy: Policy,
}

/// A policy to change.
pub fn policy() -> PolicyBuilder {
    PolicyBuilder {
        policy: Policy {
            name: "test".to_owned(),
            version: "0123456789ab".to_owned(),
            description: "For tests.".to_owned(),
            mode: Mode::Act,
            steps: vec![step(5.0, 60), step(25.0, 60), Step { max: None, ..step(100.0, 0) }],
            analysis: Analysis {
                interval: secs(10),
                lag: secs(0),
                warm_up: secs(0),
                false_rollback_rate: 0.01,
                no_harm_alpha: 0.05,
                dispersion: 3.0,
                burst: None,
                min_bad: 10,
                history: std::time::Duration::ZERO,
                active_requests: None,
                traffic_share: None,
                blind: Limit { after: secs(300), then: LimitOutcome::Hold },
                silent: Limit { after: secs(60), then: LimitOutcome::RollBack },
                confirm_within: secs(60),
            },
            metrics: vec![errors()],
            guardrails: Vec::new(),
            bake: Bake { duration: secs(60), limits: vec![] },
            gates: Vec::new(),
            hooks: Vec::new(),
            preflight: Default::default(),
            verify: None,
            announce: Vec::new(),
            messages: Default::default(),
            runbook: None,
            firing_alerts: Default::default(),
            small_pool: Default::default(),
        },
    }
}

/// A step of `weight` percent with a minimum in seconds, ten times that as its maximum, then hold.
pub fn step(weight: f64, min_seconds: u64) -> Step {
    Step {
        weight: percent(weight),
        min: secs(min_seconds),
        max: Some(secs(min_seconds * 10)),
        at_max: AtMax::Hold,
        min_requests: 50,
    }
}

impl PolicyBuilder {
    /// Another name.
    pub fn named(mut self, name: &str) -> Self {
        self.policy.name = name.to_owned();
        self
    }

    /// Judge and report only.
    pub fn observe_only(mut self) -> Self {
        self.policy.mode = Mode::Observe;
        self
    }

    /// These steps.
    pub fn steps(mut self, steps: Vec<Step>) -> Self {
        self.policy.steps = steps;
        self
    }

    /// What every step does at its maximum.
    pub fn at_max(mut self, at_max: AtMax) -> Self {
        self.policy.steps.iter_mut().for_each(|step| step.at_max = at_max);
        self
    }

    /// Time between two looks.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.policy.analysis.interval = interval;
        self
    }

    /// Windows end that long before now.
    pub fn lag(mut self, lag: Duration) -> Self {
        self.policy.analysis.lag = lag;
        self
    }

    /// The first part of each step.
    pub fn warm_up(mut self, warm_up: Duration) -> Self {
        self.policy.analysis.warm_up = warm_up;
        self
    }

    /// φ.
    pub fn dispersion(mut self, dispersion: f64) -> Self {
        self.policy.analysis.dispersion = dispersion;
        self
    }

    /// α of the harm tests.
    pub fn false_rollback_rate(mut self, alpha: f64) -> Self {
        self.policy.analysis.false_rollback_rate = alpha;
        self
    }

    /// No data of both arms.
    pub fn blind(mut self, after: Duration, then: LimitOutcome) -> Self {
        self.policy.analysis.blind = Limit { after, then };
        self
    }

    /// No data of the canary.
    pub fn silent(mut self, after: Duration, then: LimitOutcome) -> Self {
        self.policy.analysis.silent = Limit { after, then };
        self
    }

    /// A rollback not seen within this time pages.
    pub fn confirm_within(mut self, limit: Duration) -> Self {
        self.policy.analysis.confirm_within = limit;
        self
    }

    /// These metrics.
    pub fn metrics(mut self, metrics: Vec<Metric>) -> Self {
        self.policy.metrics = metrics;
        self
    }

    /// One more guardrail.
    pub fn guardrail(mut self, guardrail: Guardrail) -> Self {
        self.policy.guardrails.push(guardrail);
        self
    }

    /// How long 100% is watched.
    pub fn bake(mut self, duration: Duration) -> Self {
        self.policy.bake.duration = duration;
        self
    }

    /// The policy.
    pub fn build(self) -> Policy {
        self.policy
    }
}

/// A proportion metric named `errors`.
pub fn errors() -> Metric {
    Metric {
        by_route: None,
        absent_is_zero: true,
        name: "errors".to_owned(),
        source: MetricSource::Proportion {
            total: vec![selector("http_requests_total")],
            bad: vec![Selector {
                matchers: vec![Matcher {
                    label: "code".to_owned(),
                    op: MatchOp::Matches,
                    value: "5..".to_owned(),
                }],
                ..selector("http_requests_total")
            }],
            process_start: Some("process_start_time_seconds".to_owned()),
        },
        bad_means: "answered with a 5xx status".to_owned(),
        tolerance: 0.1,
        harm_floor: 0.0005,
        no_harm_floor: 0.001,
        direction: Direction::LowerIsBetter,
    }
}

/// A latency metric named `latency`.
pub fn latency() -> Metric {
    Metric {
        name: "latency".to_owned(),
        source: MetricSource::Latency {
            histogram: selector("http_request_duration_seconds"),
            unit_seconds: "1".to_owned(),
            process_start: Some("process_start_time_seconds".to_owned()),
        },
        bad_means: "slower".to_owned(),
        ..errors()
    }
}

/// A selector without matchers.
pub fn selector(metric: &str) -> Selector {
    Selector { metric: metric.to_owned(), matchers: Vec::new() }
}

/// A guardrail that rolls back when more than `limit` of the requests are bad for ten seconds.
pub fn error_guardrail(limit: f64) -> Guardrail {
    Guardrail {
        name: "error_limit".to_owned(),
        signal: Signal::Rate { metric: "errors".to_owned() },
        limit: GuardrailLimit::Absolute(limit),
        breach: Breach::Above,
        hold_for: secs(10),
        over: secs(30),
        min_requests: 20,
        severity: Severity::Critical,
        action: GuardrailAction::RollBack,
        regardless_of_baseline: false,
        warn_after: None,
    }
}

// ----------------------------------------------------------------------------------- targets and rollouts

/// A target on router `router`, measured by provider `provider`, with pools `NAME-a` (stable at first)
/// and `NAME-b`, told apart by the label `pool`.
pub fn target_spec(name: &str) -> TargetSpec {
    let pool = |letter: &str| Pool {
        backend: format!("{name}-{letter}"),
        labels: BTreeMap::from([("pool".to_owned(), letter.to_owned())]),
        endpoints: Vec::new(),
    };
    TargetSpec {
        name: name.to_owned(),
        router: "router".to_owned(),
        provider: "provider".to_owned(),
        route: name.to_owned(),
        labels: BTreeMap::from([("service".to_owned(), name.to_owned())]),
        stable: pool("a"),
        canary: pool("b"),
        baseline: None,
        stable_version: Some("v1".to_owned()),
        environment: None,
        split_by: Default::default(),
    }
}

/// A target that no rollout has touched.
pub fn target(name: &str) -> Target {
    Target { stable_version: Some("v1".to_owned()), ..Target::new(name) }
}

/// A rollout in preflight, asked for at `T0`.
pub fn rollout(id: &str, target: &str, policy: Policy) -> Rollout {
    Rollout::new(Plan {
        id: RolloutId(id.to_owned()),
        target: target.to_owned(),
        version: "v2".to_owned(),
        kind: RolloutKind::Release,
        policy,
        method: METHOD,
        created_at: T0,
        created_by: "erin".to_owned(),
        supersedes: None,
        not_before: None,
        history: None,
        spec: None,
    })
}

/// The first log line of a rollout.
pub fn created(rollout: &Rollout) -> EventRecord {
    EventRecord {
        seq: 1,
        at: rollout.created_at,
        kind: EventKind::Created,
        by: Some(rollout.created_by.clone()),
        sentence: format!("Release of {} on {} was asked for.", rollout.version, rollout.target),
    }
}

/// A command by `erin`.
pub fn command(key: &str, kind: CommandKind) -> Command {
    Command {
        key: key.to_owned(),
        by: "erin".to_owned(),
        reason: None,
        expected_revision: None,
        kind,
        giver: Giver::Person,
        force: Force::default(),
    }
}

/// A notice about event `seq` of a rollout.
pub fn notice(rollout: &Rollout, seq: u64, kind: NoticeKind) -> Notice {
    let sentence = format!("{} on {}: something happened.", rollout.version, rollout.target);
    let key = format!("{}/{seq}", rollout.id);
    Notice {
        rollout: rollout.id.to_string(),
        target: rollout.target.clone(),
        version: rollout.version.clone(),
        ..Notice::new(key, kind, Severity::Medium, rollout.created_at, sentence)
    }
}

// ------------------------------------------------------------------------------------------- observations

/// Changes an observation of one tick: at `T0` plus ten seconds a tick, step 0 at 5%, no metrics yet.
#[derive(Clone, Debug)]
pub struct TickBuilder {
    tick: TickObservation,
    window: Window,
    usage: Usage,
}

/// The observation of tick `seq`, whose window is the ten seconds before it.
pub fn tick(seq: u64) -> TickBuilder {
    let end = at(10.0 * seq as f64);
    TickBuilder {
        tick: TickObservation {
            seq,
            at: end,
            step: 0,
            weight: percent(5.0),
            baseline_weight: percent(95.0),
            metrics: Vec::new(),
            values: Vec::new(),
        },
        window: Window { start: end.minus(secs(10)), end },
        usage: Usage::Used,
    }
}

impl TickBuilder {
    /// In another step.
    pub fn step(mut self, step: usize, weight: f64) -> Self {
        self.tick.step = step;
        self.tick.weight = percent(weight);
        self
    }

    /// Looked at then, over the `seconds` before.
    pub fn window(mut self, end: Timestamp, seconds: u64) -> Self {
        self.tick.at = end;
        self.window = Window { start: end.minus(secs(seconds)), end };
        self
    }

    /// How the metrics that follow are used.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// A metric with these readings.
    pub fn metric(mut self, name: &str, canary: Reading<Counts>, baseline: Reading<Counts>) -> Self {
        let window = (canary.is_ok() || baseline.is_ok()).then_some(self.window);
        self.tick.metrics.push(MetricObservation {
            routes: Default::default(),
            metric: name.to_owned(),
            window,
            canary,
            baseline,
            usage: self.usage,
        });
        self
    }

    /// The metric `errors`: (all, bad) of both arms.
    pub fn errors(self, canary: (u64, u64), baseline: (u64, u64)) -> Self {
        self.metric("errors", proportion(canary.0, canary.1), proportion(baseline.0, baseline.1))
    }

    /// No data of the metric in either arm.
    pub fn no_data(self, name: &str, why: NoData) -> Self {
        self.metric(name, Err(why.clone()), Err(why))
    }

    /// A guardrail query's values.
    pub fn value(mut self, guardrail: &str, canary: Reading<f64>, baseline: Reading<f64>) -> Self {
        self.tick.values.push(ValueObservation { guardrail: guardrail.to_owned(), canary, baseline });
        self
    }

    /// The observation.
    pub fn build(self) -> TickObservation {
        self.tick
    }
}

/// Counts of a proportion.
pub fn proportion(total: u64, bad: u64) -> Reading<Counts> {
    Ok(Counts::Proportion { total, bad })
}

/// Counts of a histogram: one more count than bounds.
pub fn buckets(le: &[f64], counts: &[u64]) -> Reading<Counts> {
    assert_eq!(counts.len(), le.len() + 1, "one count for each bound and one above them all");
    Ok(Counts::Latency { le: le.to_vec(), counts: counts.to_vec(), sum: None })
}
