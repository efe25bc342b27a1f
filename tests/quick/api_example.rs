//! A rollout of the service `checkout` in the middle of its second step.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serin::core::ids::RolloutId;
use serin::core::judge::{
    Advice, Assessment, GuardrailAssessment, GuardrailStatus, METHOD, MetricAssessment, Verdict,
};
use serin::core::limit::{Breach, GuardrailLimit, Severity};
use serin::core::policy::*;
use serin::core::pools::NodeRecord;
use serin::core::rollout::{Phase, Plan, Rollout, RolloutKind, Stage, Timers};
use serin::core::source::{MetricSource, Selector};
use serin::core::spec::{Pool, TargetSpec};
use serin::core::split::{Split, Weight};
use serin::core::target::{SeenSplit, Target};
use serin::core::time::Timestamp;
use serin::ports::Clock;

/// 2026-03-01T10:00:04.000Z
pub const NOW: Timestamp = Timestamp(1_772_359_204_000);

/// A clock that stands.
pub struct Standing;

#[async_trait]
impl Clock for Standing {
    fn wall(&self) -> Timestamp {
        NOW
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep_until(&self, _until: Duration) {
        std::future::pending::<()>().await;
    }
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn policy() -> Policy {
    let step = |weight, min, max: Option<u64>| Step {
        weight: Weight(weight),
        min: seconds(min),
        max: max.map(seconds),
        at_max: AtMax::Hold,
        min_requests: 50,
    };
    let selector = |metric: &str| Selector { metric: metric.to_owned(), matchers: Vec::new() };
    let metric = |name: &str, source, bad_means: &str| Metric {
        by_route: None,
        absent_is_zero: false,
        name: name.to_owned(),
        source,
        bad_means: bad_means.to_owned(),
        tolerance: 0.1,
        harm_floor: 0.0005,
        no_harm_floor: 0.001,
        direction: Direction::LowerIsBetter,
    };
    Policy {
        name: "standard".into(),
        version: "8f31c2d4e5f6".into(),
        description: "For the ordinary release.".into(),
        mode: Mode::Act,
        steps: vec![step(500, 600, Some(3600)), step(2_500, 600, Some(3600)), step(10_000, 0, None)],
        analysis: Analysis {
            interval: seconds(10),
            lag: seconds(5),
            warm_up: seconds(60),
            false_rollback_rate: 0.01,
            no_harm_alpha: 0.05,
            dispersion: 3.0,
            burst: None,
            min_bad: 10,
            history: std::time::Duration::ZERO,
            active_requests: None,
            traffic_share: None,
            blind: Limit { after: seconds(600), then: LimitOutcome::Hold },
            silent: Limit { after: seconds(60), then: LimitOutcome::RollBack },
            confirm_within: seconds(30),
        },
        metrics: vec![
            metric(
                "errors",
                MetricSource::Proportion {
                    total: vec![selector("requests_total")],
                    bad: vec![selector("errors_total")],
                    process_start: None,
                },
                "server-side 5xx",
            ),
            metric(
                "latency",
                MetricSource::Latency {
                    histogram: selector("request_duration_seconds"),
                    unit_seconds: "1".into(),
                    process_start: None,
                },
                "slower requests",
            ),
        ],
        guardrails: vec![Guardrail {
            name: "error-limit".into(),
            signal: Signal::Rate { metric: "errors".into() },
            limit: GuardrailLimit::Absolute(0.05),
            breach: Breach::Above,
            hold_for: seconds(120),
            over: seconds(60),
            min_requests: 100,
            severity: Severity::Critical,
            action: GuardrailAction::RollBack,
            regardless_of_baseline: false,
            warn_after: None,
        }],
        bake: Bake { duration: seconds(1800), limits: vec![] },
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

pub fn spec() -> TargetSpec {
    let pool = |backend: &str, version: &str| Pool {
        backend: backend.to_owned(),
        labels: BTreeMap::from([("version".to_owned(), version.to_owned())]),
        endpoints: Vec::new(),
    };
    TargetSpec {
        name: "checkout".into(),
        router: "edge".into(),
        provider: "prometheus".into(),
        route: "checkout".into(),
        labels: BTreeMap::from([("job".to_owned(), "checkout".to_owned())]),
        stable: pool("checkout-a", "{version}"),
        canary: pool("checkout-b", "{version}"),
        baseline: None,
        stable_version: Some("v1.4.1".into()),
        environment: None,
        split_by: Default::default(),
    }
}

pub fn target() -> Target {
    let mut target = Target::new("checkout");
    target.stable_version = Some("v1.4.1".into());
    target
}

pub fn rollout() -> Rollout {
    let rollout = Rollout::new(Plan {
        id: RolloutId("0195c1a8".into()),
        target: "checkout".into(),
        version: "v1.5.0".into(),
        kind: RolloutKind::Release,
        policy: policy(),
        method: METHOD,
        created_at: NOW,
        created_by: "ci-deploy".into(),
        supersedes: None,
        not_before: None,
        history: None,
        spec: None,
    });
    Rollout {
        revision: 17,
        phase: Phase::Progressing { step: 1, stage: Stage::Analysing { since: NOW } },
        timers: Timers { analysed: seconds(210), in_phase: seconds(270), ..Timers::default() },
        tick_seq: 90,
        event_seq: 6,
        last: Some(assessment()),
        ..rollout
    }
}

/// The same of another target.
pub fn rollout_of(id: &str, target: &str) -> Rollout {
    let mut rollout = rollout();
    let plan = rollout.plan_mut();
    plan.id = RolloutId(id.into());
    plan.target = target.into();
    rollout
}

/// The target while that rollout has it: 25% is seen, and one of three proxies is cut off.
pub fn steered() -> Target {
    let mut target = target();
    target.active = Some(RolloutId("0195c1a8".into()));
    target.want(Split::canary(Weight(500), false));
    target.want(Split::canary(Weight(2_500), false));
    target.seen = Some(SeenSplit { split: target.wanted, generation: target.generation, at: NOW });
    target.certain = true;
    for (name, generation, connected) in [("edge-1", 3, true), ("edge-2", 3, true), ("edge-3", 2, false)] {
        let node = NodeRecord { generation, last_seen: NOW, connected, refused: None };
        target.nodes.insert(name.to_owned(), node);
    }
    target
}

pub fn assessment() -> Assessment {
    Assessment {
        seq: 90,
        advice: Advice::Hold,
        reasons: Vec::new(),
        ln_e_harm: 3.1_f64.ln(),
        ln_e_catastrophe: -2.0,
        ln_bound_harm: 100_f64.ln(),
        ln_bound_no_harm: 20_f64.ln(),
        metrics: vec![
            MetricAssessment {
                name: "errors".into(),
                verdict: Verdict::Undecided,
                ln_e_harm: 6.2_f64.ln(),
                ln_e_no_harm: 4.7_f64.ln(),
                ln_e_gate: 0.5,
                ratio: Some([0.82, 1.14, 1.58]),
                canary_share: Some(0.0048),
                baseline_share: Some(0.0042),
                canary_requests: 36_140,
                baseline_requests: 108_420,
                dispersion: 3.0,
                ..MetricAssessment::default()
            },
            MetricAssessment {
                name: "latency".into(),
                verdict: Verdict::NotWorse,
                ln_e_harm: 0.4_f64.ln(),
                ln_e_no_harm: 31_f64.ln(),
                ln_e_gate: 0.1,
                ratio: Some([0.97, 1.02, 1.08]),
                canary_share: Some(0.0512),
                baseline_share: Some(0.0502),
                canary_requests: 36_140,
                baseline_requests: 108_420,
                bound_seconds: Some(0.25),
                canary_value: None,
                baseline_value: None,
                canary_quantiles: Some([0.072, 0.201, 0.253, 0.530].map(|q| [0.97 * q, q, 1.04 * q])),
                baseline_quantiles: Some([0.071, 0.198, 0.248, 1.512].map(|q| [0.99 * q, q, 1.01 * q])),
                dispersion_source: Default::default(),
                block: None,
                dispersion: 3.0,
            },
        ],
        guardrails: vec![GuardrailAssessment {
            name: "error-limit".into(),
            status: GuardrailStatus::Clear,
            canary: Some(0.0048),
            baseline: Some(0.0042),
            breaching_for: Duration::ZERO,
            baseline_healthy: Some(true),
            action: GuardrailAction::RollBack,
            severity: Severity::Critical,
            sentence: "errors of the canary are at 0.48%, under the limit of 5%.".into(),
        }],
        analysed: seconds(10),
        remaining: Some(seconds(500)),
    }
}
