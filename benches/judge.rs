//! How many metric-ticks a second the judge takes in: `judge` with everything that people are told
//! (intervals, quantiles, sentences), `advice` the tests and what they ask for alone. And how many bytes the
//! evidence of a rollout has.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The tests' policies and seeded traffic.
#[allow(dead_code)]
#[path = "../tests/quick/judge/kit.rs"]
mod kit;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use kit::{Bench, LE, Metric, Random, errors, latency, log_normal, policy, proportion};
use serin::core::judge::JudgeState;
use serin::core::limit::GuardrailLimit;
use serin::core::metric::{NoData, TickObservation, Usage};
use serin::core::policy::{Policy, Signal};

const TICKS: u64 = 360;

fn ticks(policy: &Policy) -> Vec<TickObservation> {
    let mut random = Random(1);
    let mut bench = Bench::new(policy.clone());
    let shares = log_normal(1.0, 0.0);
    (0..TICKS)
        .map(|tick| {
            bench.usage = if tick < 6 { Usage::WarmUp } else { Usage::Used };
            let readings = policy.metrics.iter().map(|metric| {
                if metric.name == "latency" {
                    (random.histogram(1_000, &LE, &shares), random.histogram(19_000, &LE, &shares))
                } else {
                    let (canary, baseline) = (random.binomial(1_000, 0.004), random.binomial(19_000, 0.004));
                    (proportion(canary, 1_000), proportion(baseline, 19_000))
                }
            });
            let readings = readings.collect();
            bench.observation(readings, vec![(Err(NoData::Waiting), Err(NoData::Waiting))])
        })
        .collect()
}

fn observe(criterion: &mut Criterion) {
    let rail = kit::guardrail(Signal::Rate { metric: "errors".into() }, GuardrailLimit::Absolute(0.05));
    let more = (0..8).map(|i| Metric { name: format!("errors-{i}"), ..errors() });
    let ten: Vec<Metric> = [errors(), latency()].into_iter().chain(more).collect();
    for (name, policy) in [
        ("errors", policy(vec![errors()])),
        ("latency", policy(vec![latency()])),
        (
            "errors, latency, a guardrail",
            Policy { guardrails: vec![rail], ..policy(vec![errors(), latency()]) },
        ),
        ("ten metrics", policy(ten)),
    ] {
        let ticks = ticks(&policy);
        let mut group = criterion.benchmark_group("judge");
        group.throughput(Throughput::Elements(TICKS * policy.metrics.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || JudgeState::new(&policy),
                |mut state| {
                    for tick in &ticks {
                        std::hint::black_box(state.observe(&policy, tick));
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
        let mut group = criterion.benchmark_group("advice");
        group.throughput(Throughput::Elements(TICKS * policy.metrics.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || JudgeState::new(&policy),
                |mut state| {
                    for tick in &ticks {
                        std::hint::black_box(state.advise(&policy, tick));
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// Three metrics after an hour, in the form that is stored and as it lies in memory (nearly all of it are
/// 64-bit floats, which the stored form writes with one byte more).
fn evidence(_: &mut Criterion) {
    let policy = policy(vec![errors(), latency(), Metric { name: "payments".into(), ..errors() }]);
    let mut state = JudgeState::new(&policy);
    for tick in &ticks(&policy) {
        state.observe(&policy, tick);
    }
    let mut stored = Vec::new();
    ciborium::into_writer(&state, &mut stored).expect("the state can be written");
    println!("evidence of three metrics: {} bytes stored", stored.len());
}

criterion_group!(benches, observe, evidence);
criterion_main!(benches);
