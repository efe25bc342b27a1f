//! Values to store, with something in every field that could be lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serin::core::ids::RolloutId;
use serin::core::judge::{
    Advice, Assessment, GuardrailAssessment, GuardrailStatus, JudgeState, METHOD, MetricAssessment, Verdict,
};
use serin::core::limit::{Breach, GuardrailLimit, Severity};
use serin::core::metric::{
    Counts, Cursor, InstanceCursor, MetricCursor, MetricObservation, NoData, SeriesCursor, TickObservation,
    Usage, ValueObservation, Window,
};
use serin::core::notice::{Notice, NoticeKind};
use serin::core::policy::{
    Analysis, AtMax, Bake, Direction, Guardrail, GuardrailAction, Limit, LimitOutcome, Metric, Mode, Policy,
    Signal, Step,
};
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{
    Command, CommandKind, Compared, EventKind, EventRecord, Force, Giver, Hold, Phase, Plan, Rollout,
    RolloutKind, Stage, Timers,
};
use serin::core::source::{MatchOp, Matcher, MetricSource, Selector};
use serin::core::split::Weight;
use serin::core::time::Timestamp;

/// A moment `seconds` after the samples' time began.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp(1_900_000_000_000 + seconds * 1000)
}

fn selector(metric: &str) -> Selector {
    let matcher = Matcher { label: "code".into(), op: MatchOp::Matches, value: "5..|\"'\\".into() };
    Selector { metric: metric.into(), matchers: vec![matcher] }
}

fn metric(name: &str, source: MetricSource) -> Metric {
    Metric {
        by_route: None,
        absent_is_zero: false,
        name: name.into(),
        source,
        bad_means: "answered with 5xx".into(),
        tolerance: 0.1,
        harm_floor: 0.000_5,
        no_harm_floor: 1.0 / 300.0,
        direction: Direction::LowerIsBetter,
    }
}

/// A policy of three steps with two metrics and two guardrails.
pub fn policy() -> Policy {
    let minute = Duration::from_secs(60);
    let errors = MetricSource::Proportion {
        total: vec![selector("requests_total")],
        bad: vec![selector("requests_total")],
        process_start: Some("process_start_time_seconds".into()),
    };
    let latency = MetricSource::Latency {
        histogram: selector("request_duration_seconds"),
        unit_seconds: "0.001".into(),
        process_start: None,
    };
    let guardrail = |name: &str, signal, limit| Guardrail {
        name: name.into(),
        signal,
        limit,
        breach: Breach::Above,
        hold_for: Duration::from_millis(1_500),
        over: minute,
        min_requests: 100,
        severity: Severity::Critical,
        action: GuardrailAction::RollBack,
        regardless_of_baseline: false,
        warn_after: None,
    };
    Policy {
        name: "standard".into(),
        version: "0123456789ab".into(),
        description: "for samples".into(),
        mode: Mode::Act,
        steps: [500, 2_500, 10_000]
            .map(|weight| Step {
                weight: Weight(weight),
                min: minute,
                max: Some(minute * 30),
                at_max: AtMax::Hold,
                min_requests: 50,
            })
            .to_vec(),
        analysis: Analysis {
            interval: Duration::from_secs(10),
            lag: Duration::from_secs(5),
            warm_up: Duration::ZERO,
            false_rollback_rate: 0.01,
            no_harm_alpha: 0.05,
            dispersion: 3.0,
            burst: None,
            min_bad: 10,
            history: std::time::Duration::ZERO,
            active_requests: None,
            traffic_share: None,
            blind: Limit { after: minute * 10, then: LimitOutcome::Hold },
            silent: Limit { after: minute, then: LimitOutcome::RollBack },
            confirm_within: minute,
        },
        metrics: vec![metric("errors", errors), metric("latency", latency)],
        guardrails: vec![
            guardrail("error-rate", Signal::Rate { metric: "errors".into() }, GuardrailLimit::Absolute(0.05)),
            guardrail(
                "memory",
                Signal::Query { query: "max(memory{$arm})".into() },
                GuardrailLimit::RatioToBaseline(1.5),
            ),
        ],
        bake: Bake { duration: minute * 5, limits: vec![] },
        gates: Vec::new(),
        hooks: Vec::new(),
        preflight: Default::default(),
        verify: None,
        announce: Vec::new(),
        messages: Default::default(),
        runbook: None,
        firing_alerts: Default::default(),
        small_pool: Default::default(),
    }
}

/// A rollout that was just asked for.
pub fn rollout(id: &str, target: &str) -> Rollout {
    Rollout::new(Plan {
        id: RolloutId(id.into()),
        target: target.into(),
        version: "v2".into(),
        kind: RolloutKind::Release,
        policy: policy(),
        method: METHOD,
        created_at: at(0),
        created_by: "ana".into(),
        supersedes: None,
        not_before: None,
        history: None,
        spec: None,
    })
}

/// The same rollout in the middle of a step, with every field filled.
pub fn in_step(rollout: &Rollout, seq: u64) -> Rollout {
    Rollout {
        phase: Phase::Progressing { step: 1, stage: Stage::Analysing { since: at(30) } },
        holds: BTreeSet::from([Hold::User, Hold::Blind]),
        timers: Timers { analysed: Duration::from_millis(12_345), ..Timers::default() },
        tick_seq: seq,
        event_seq: seq + 1,
        baseline_was_healthy: BTreeMap::from([("error-rate".into(), true)]),
        last: Some(assessment(seq)),
        last_compared: Some(Compared { weight: Weight(500), assessment: awkward(seq) }),
        ..rollout.clone()
    }
}

/// The same rollout at its end.
pub fn ended(rollout: &Rollout, when: Timestamp) -> Rollout {
    let reason = Reason::new(ReasonCode::Harm, "errors 3.1 times those of the baseline");
    Rollout { phase: Phase::RolledBack { reason }, ended_at: Some(when), ..rollout.clone() }
}

/// A log line.
pub fn event(seq: u64) -> EventRecord {
    EventRecord {
        seq,
        at: at(seq.cast_signed()),
        kind: EventKind::StepEntered,
        by: Some("ana".into()),
        sentence: format!("Line {seq}: 5% → 25%."),
    }
}

/// A tick with counts of both kinds and reasons for their absence.
pub fn tick(seq: u64) -> TickObservation {
    let window = Some(Window { start: at(seq.cast_signed()), end: at(seq.cast_signed() + 10) });
    TickObservation {
        seq,
        at: at(seq.cast_signed() + 15),
        step: 1,
        weight: Weight(2_500),
        baseline_weight: Weight(2_500),
        metrics: vec![
            MetricObservation {
                routes: Default::default(),
                metric: "errors".into(),
                window,
                canary: Ok(Counts::Proportion { total: 1_000 + seq, bad: 3 }),
                baseline: Ok(Counts::Proportion { total: u64::MAX, bad: (1 << 53) + 1 }),
                usage: Usage::Used,
            },
            MetricObservation {
                routes: Default::default(),
                metric: "latency".into(),
                window: None,
                canary: Ok(Counts::Latency {
                    le: vec![0.005, 0.1, 1.0 / 3.0, 2.5],
                    counts: vec![1, 2, 3, 4, seq],
                    sum: Some(0.1 + 0.2),
                }),
                baseline: Err(NoData::Stale { age_seconds: 90 }),
                usage: Usage::WarmUp,
            },
        ],
        values: vec![ValueObservation {
            guardrail: "memory".into(),
            canary: Ok(std::f64::consts::PI * 1e9),
            baseline: Err(NoData::Refused("no query language".into())),
        }],
    }
}

/// The evidence after the ticks until `seq`, and what the last of them is judged as.
pub fn judged(seq: u64) -> (JudgeState, Assessment) {
    let policy = policy();
    let mut judge = JudgeState::new(&policy);
    let all = (1..=seq).map(|seq| judge.observe(&policy, &tick(seq))).last();
    (judge, all.unwrap_or_default())
}

/// What a tick is judged as that follows those before it.
pub fn assessment(seq: u64) -> Assessment {
    judged(seq).1
}

/// An assessment with figures that text easily loses: thirds, subnormal and infinite ones.
pub fn awkward(seq: u64) -> Assessment {
    Assessment {
        seq,
        advice: Advice::Hold,
        reasons: vec![Reason::new(ReasonCode::Undecided, "not proven")],
        ln_e_harm: -1.0 / 3.0,
        ln_e_catastrophe: 5e-324,
        ln_bound_harm: 100f64.ln(),
        metrics: vec![MetricAssessment {
            name: "errors".into(),
            verdict: Verdict::Undecided,
            ln_e_no_harm: f64::NEG_INFINITY,
            ratio: Some([0.2, 1.1, f64::INFINITY]),
            canary_share: Some(0.1 + 0.2),
            ..MetricAssessment::default()
        }],
        guardrails: vec![GuardrailAssessment {
            name: "error-rate".into(),
            status: GuardrailStatus::Breaching,
            canary: Some(0.07),
            baseline: None,
            breaching_for: Duration::from_nanos(1_500_000_001),
            baseline_healthy: Some(true),
            action: GuardrailAction::RollBack,
            severity: Severity::High,
            sentence: "7% errors, above 5%".into(),
        }],
        analysed: Duration::from_secs(10),
        ..Assessment::default()
    }
}

/// A cursor of both arms.
pub fn cursor(value: f64) -> MetricCursor {
    let series = SeriesCursor { at: at(9), value };
    let instance = InstanceCursor { at: at(9), started: Some(1.9e9 + 1.0 / 3.0) };
    let arm = Cursor {
        until: at(9),
        series: BTreeMap::from([("requests_total{code=\"200\",path=\"/ä\"}".into(), series)]),
        instances: BTreeMap::from([("10.0.0.1:80".into(), instance)]),
        ..Cursor::default()
    };
    MetricCursor { canary: arm.clone(), baseline: arm }
}

/// A notice of a rollout.
pub fn notice(rollout: &str, seq: u64) -> Notice {
    let (key, sentence) = (format!("{rollout}/{seq}"), format!("Notice {seq}."));
    Notice {
        rollout: rollout.into(),
        target: "checkout".into(),
        version: "v2".into(),
        ..Notice::new(key, NoticeKind::Step, Severity::Low, at(seq.cast_signed()), sentence)
    }
}

/// A command.
pub fn command(key: &str) -> Command {
    Command {
        key: key.into(),
        by: "ana".into(),
        reason: Some("it's fine".into()),
        expected_revision: Some(3),
        kind: CommandKind::Pause,
        giver: Giver::Person,
        force: Force { overrides: true, even_if_worse: false },
    }
}
