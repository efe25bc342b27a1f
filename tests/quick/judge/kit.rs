//! Policies, ticks and seeded traffic for the judge's tests.

use std::time::Duration;

use serin::core::judge::{Assessment, JudgeState, NEXT_METHOD};
use serin::core::limit::{Breach, GuardrailLimit, Severity};
use serin::core::metric::{
    Counts, MetricObservation, NoData, Reading, TickObservation, Usage, ValueObservation, Window,
};
pub use serin::core::policy::Metric;
use serin::core::policy::{
    Analysis, AtMax, Bake, Direction, Guardrail, GuardrailAction, Limit, LimitOutcome, Mode, Policy, Signal,
    Step,
};
use serin::core::source::{MetricSource, Selector};
use serin::core::split::Weight;
use serin::core::time::Timestamp;

pub const SECOND: Duration = Duration::from_secs(1);

pub fn errors() -> Metric {
    let selector = |metric: &str| Selector { metric: metric.to_string(), matchers: vec![] };
    Metric {
        by_route: None,
        absent_is_zero: false,
        name: "errors".to_string(),
        source: MetricSource::Proportion {
            total: vec![selector("requests_total")],
            bad: vec![selector("errors_total")],
            process_start: None,
        },
        bad_means: "server errors".to_string(),
        tolerance: 0.1,
        harm_floor: 0.0005,
        no_harm_floor: 0.001,
        direction: Direction::LowerIsBetter,
    }
}

pub fn latency() -> Metric {
    let histogram = Selector { metric: "duration_seconds".to_string(), matchers: vec![] };
    Metric {
        name: "latency".to_string(),
        source: MetricSource::Latency { histogram, unit_seconds: "1".to_string(), process_start: None },
        bad_means: "slow".to_string(),
        ..errors()
    }
}

/// Steps 5 → 25 → 100, at most 30 minutes each; 10 s ticks, φ = 1, α = 1% and 5%.
pub fn policy(metrics: Vec<Metric>) -> Policy {
    let step = |weight: u16| Step {
        weight: Weight(weight),
        min: Duration::from_secs(60),
        max: Some(Duration::from_secs(1800)),
        at_max: AtMax::Hold,
        min_requests: 50,
    };
    let limit = Limit { after: Duration::from_secs(60), then: LimitOutcome::Hold };
    Policy {
        name: "test".to_string(),
        version: "000000000000".to_string(),
        description: String::new(),
        mode: Mode::Act,
        steps: vec![step(500), step(2500), step(10_000)],
        analysis: Analysis {
            interval: 10 * SECOND,
            lag: SECOND,
            warm_up: 60 * SECOND,
            false_rollback_rate: 0.01,
            no_harm_alpha: 0.05,
            dispersion: 1.0,
            burst: None,
            min_bad: 10,
            history: std::time::Duration::ZERO,
            active_requests: None,
            traffic_share: None,
            blind: limit,
            silent: limit,
            confirm_within: 30 * SECOND,
        },
        metrics,
        guardrails: vec![],
        bake: Bake { duration: Duration::from_secs(600), limits: vec![] },
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

pub fn guardrail(signal: Signal, limit: GuardrailLimit) -> Guardrail {
    Guardrail {
        name: "rail".to_string(),
        signal,
        limit,
        breach: Breach::Above,
        hold_for: 30 * SECOND,
        over: 60 * SECOND,
        min_requests: 20,
        severity: Severity::High,
        action: GuardrailAction::RollBack,
        regardless_of_baseline: false,
        warn_after: None,
    }
}

pub fn proportion(bad: u64, total: u64) -> Reading<Counts> {
    Ok(Counts::Proportion { total, bad })
}

/// The judge with the time that has passed.
pub struct Bench {
    pub policy: Policy,
    pub state: JudgeState,
    pub seq: u64,
    pub at: i64,
    pub step: usize,
    pub usage: Usage,
    /// Length of the windows in seconds.
    pub window: i64,
}

impl Bench {
    pub fn new(policy: Policy) -> Bench {
        let state = JudgeState::of_method(NEXT_METHOD, &policy, None);
        Bench { policy, state, seq: 0, at: 1_700_000_000_000, step: 0, usage: Usage::Used, window: 10 }
    }

    /// The next tick: (canary, baseline) of every metric.
    pub fn tick(&mut self, readings: Vec<(Reading<Counts>, Reading<Counts>)>) -> Assessment {
        self.tick_with(readings, vec![])
    }

    pub fn tick_with(
        &mut self,
        readings: Vec<(Reading<Counts>, Reading<Counts>)>,
        values: Vec<(Reading<f64>, Reading<f64>)>,
    ) -> Assessment {
        let observation = self.observation(readings, values);
        self.state.observe(&self.policy, &observation)
    }

    pub fn observation(
        &mut self,
        readings: Vec<(Reading<Counts>, Reading<Counts>)>,
        values: Vec<(Reading<f64>, Reading<f64>)>,
    ) -> TickObservation {
        let start = Timestamp(self.at);
        self.at += self.window * 1000;
        self.seq += 1;
        let window = Window { start, end: Timestamp(self.at) };
        let metrics = self.policy.metrics.iter().zip(readings).map(|(metric, (canary, baseline))| {
            let window = (canary.is_ok() || baseline.is_ok()).then_some(window);
            MetricObservation {
                routes: Default::default(),
                metric: metric.name.clone(),
                window,
                canary,
                baseline,
                usage: self.usage,
            }
        });
        let rails = self.policy.guardrails.iter().zip(values);
        TickObservation {
            seq: self.seq,
            at: Timestamp(self.at),
            step: self.step,
            weight: self.policy.steps[self.step].weight,
            baseline_weight: Weight(10_000 - self.policy.steps[self.step].weight.0),
            metrics: metrics.collect(),
            values: rails
                .map(|(rail, (canary, baseline))| ValueObservation {
                    guardrail: rail.name.clone(),
                    canary,
                    baseline,
                })
                .collect(),
        }
    }

    /// One tick of the only metric, a proportion: (bad, total) of canary and baseline.
    pub fn errors(&mut self, canary: (u64, u64), baseline: (u64, u64)) -> Assessment {
        self.tick(vec![(proportion(canary.0, canary.1), proportion(baseline.0, baseline.1))])
    }

    /// A tick in which the only metric has nothing.
    pub fn nothing(&mut self, why: NoData) -> Assessment {
        self.tick(vec![(Err(why.clone()), Err(why))])
    }
}

/// SplitMix64: the same numbers for a seed on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Successes among `n` of probability `p`: exact where they are few, else by the normal law.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        let (mean, variance) = (n as f64 * p, n as f64 * p * (1.0 - p));
        if p >= 1.0 {
            n
        } else if p <= 0.0 {
            0
        } else if variance > 100.0 {
            let normal = libm::sqrt(-2.0 * libm::log(self.unit()))
                * libm::cos(2.0 * std::f64::consts::PI * self.unit());
            ((mean + normal * libm::sqrt(variance)).round().max(0.0) as u64).min(n)
        } else if p > 0.5 {
            n - self.binomial(n, 1.0 - p)
        } else {
            // Gaps between successes are geometric.
            let (mut successes, mut position) = (0, 0.0);
            loop {
                position += (libm::log(self.unit()) / libm::log1p(-p)).floor() + 1.0;
                if position > n as f64 {
                    return successes;
                }
                successes += 1;
            }
        }
    }

    /// Requests per bucket, for `shares` above each bound.
    pub fn histogram(&mut self, n: u64, le: &[f64], shares: &[f64]) -> Reading<Counts> {
        let mut counts = vec![];
        let (mut left, mut share_left) = (n, 1.0);
        for above in shares {
            let in_bucket = self.binomial(left, ((share_left - above) / share_left).clamp(0.0, 1.0));
            counts.push(in_bucket);
            left -= in_bucket;
            share_left = *above;
        }
        counts.push(left);
        Ok(Counts::Latency { le: le.to_vec(), counts, sum: None })
    }
}

/// The default buckets of the Prometheus clients.
pub const LE: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Shares above each bound of [`LE`]: log-normal with median 80 ms and σ = 0.8, slower by a factor, and
/// a share of the requests longer by 1 s.
pub fn log_normal(slower: f64, tail: f64) -> Vec<f64> {
    let above = |t: f64| match t {
        _ if t <= 0.0 => 1.0,
        _ => 0.5 * libm::erfc(libm::log(t / (0.08 * slower)) / 0.8 / std::f64::consts::SQRT_2),
    };
    LE.iter().map(|le| (1.0 - tail) * above(*le) + tail * above(*le - 1.0)).collect()
}
