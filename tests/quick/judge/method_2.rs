//! Rollouts that began under method 2 are judged to their end by method 2, bit for bit: the figures here were
//! written down before there was another method.

use std::fmt::Write;

use serin::core::judge::{Assessment, JudgeState};
use serin::core::limit::GuardrailLimit;
use serin::core::metric::{Counts, NoData, RouteCounts, TickObservation, Usage};
use serin::core::policy::{Direction, Policy, Signal};
use serin::core::source::{Exposure, MetricSource};

use super::kit::*;

/// Every so many ticks are written down figure by figure, the others as a digest.
const EVERY: u64 = 10;

fn figures(assessment: &Assessment) -> Vec<u64> {
    let mut all = vec![assessment.seq, assessment.advice as u64];
    let mut float = |value: f64| all.push(value.to_bits());
    float(assessment.ln_e_harm);
    float(assessment.ln_e_catastrophe);
    float(assessment.analysed.as_secs_f64());
    float(assessment.remaining.map_or(-1.0, |time| time.as_secs_f64()));
    for metric in &assessment.metrics {
        float(f64::from(metric.verdict as u8));
        let known = [metric.ln_e_harm, metric.ln_e_no_harm, metric.ln_e_gate, metric.dispersion];
        let told = metric.ratio.into_iter().flatten();
        let shares = metric.canary_share.into_iter().chain(metric.baseline_share);
        let values = metric.canary_value.into_iter().chain(metric.baseline_value);
        let quantiles = metric.canary_quantiles.into_iter().chain(metric.baseline_quantiles);
        let quantiles = quantiles.flatten().flatten();
        known.into_iter().chain(told).chain(shares).chain(values).chain(quantiles).for_each(&mut float);
    }
    for rail in &assessment.guardrails {
        float(f64::from(rail.status as u8));
        float(rail.breaching_for.as_secs_f64());
        rail.canary.into_iter().chain(rail.baseline).for_each(&mut float);
    }
    all
}

/// Judges the ticks, and writes down what they came to.
fn written(state: &mut JudgeState, policy: &Policy, ticks: &[TickObservation]) -> String {
    let (mut text, mut digest) = (String::new(), 0xcbf2_9ce4_8422_2325_u64);
    for tick in ticks {
        let figures = figures(&state.observe(policy, tick));
        for figure in &figures {
            digest = (digest ^ figure).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        if tick.seq.is_multiple_of(EVERY) {
            for figure in figures {
                write!(text, "{figure:x} ").unwrap();
            }
        }
        writeln!(text, "{digest:x}").unwrap();
    }
    text
}

/// Where the canary is so many times as bad, from this tick on.
#[derive(Clone, Copy)]
struct Worse(f64, u64);

impl Worse {
    fn at(self, tick: u64) -> f64 {
        if tick >= self.1 { self.0 } else { 1.0 }
    }
}

/// Errors and a latency with guardrails, from step to step.
fn common() -> Policy {
    let errors_rail = guardrail(Signal::Rate { metric: "errors".into() }, GuardrailLimit::Absolute(0.02));
    let signal = Signal::Quantile { metric: "latency".into(), quantile: 0.95 };
    let slow_rail = guardrail(signal, GuardrailLimit::RatioToBaseline(1.3));
    let mut policy = policy(vec![errors(), latency()]);
    policy.guardrails = vec![errors_rail, slow_rail];
    policy.analysis.dispersion = 1.5;
    policy
}

fn common_ticks(policy: &Policy, seed: u64, worse: Worse) -> Vec<TickObservation> {
    let mut random = Random(seed);
    let mut bench = Bench::new(policy.clone());
    let one = |tick: u64| {
        bench.step = usize::from(tick >= 60);
        bench.usage = match tick % 60 {
            0 => Usage::Settling,
            1..6 => Usage::WarmUp,
            30 => Usage::Carried,
            40 => Usage::Renewed,
            _ => Usage::Used,
        };
        let canary = if bench.step == 0 { 100 } else { 500 };
        let times = worse.at(tick);
        let (bad, base) = (random.binomial(canary, 0.005 * times), random.binomial(2_000 - canary, 0.005));
        let slow = log_normal(1.0 + (times - 1.0) / 10.0, 0.0);
        let slow = random.histogram(canary, &LE, &slow);
        let usual = random.histogram(2_000 - canary, &LE, &log_normal(1.0, 0.0));
        let errors = (proportion(bad, canary), proportion(base, 2_000 - canary));
        if tick == 50 {
            return bench.observation(vec![errors, (Err(NoData::Timeout), Err(NoData::Timeout))], vec![]);
        }
        bench.observation(vec![errors, (slow, usual)], vec![])
    };
    (0..120).map(one).collect()
}

/// All other kinds of metrics.
fn rare() -> Policy {
    let named = |name: &str, metric: Metric| Metric { name: name.into(), ..metric };
    let MetricSource::Proportion { bad, .. } = errors().source else { unreachable!() };
    let rate = MetricSource::Rate { events: bad, per: Exposure::Instance, process_start: None };
    let gauge = MetricSource::Saturation { query: "pool".into() };
    let floors = Metric { harm_floor: 0.01, no_harm_floor: 0.02, ..errors() };
    policy(vec![
        named("orders", Metric { direction: Direction::HigherIsBetter, ..errors() }),
        named("routes", Metric { by_route: Some("route".into()), ..errors() }),
        named("restarts", Metric { source: rate, ..floors.clone() }),
        named("pool", Metric { source: gauge, ..floors }),
    ])
}

fn rare_ticks(policy: &Policy, seed: u64, worse: Worse) -> Vec<TickObservation> {
    let mut random = Random(seed);
    let mut bench = Bench::new(policy.clone());
    let one = |tick: u64| {
        bench.usage = if tick < 6 { Usage::WarmUp } else { Usage::Used };
        let times = worse.at(tick);
        let orders = (random.binomial(200, 0.3 / times), random.binomial(3_800, 0.3));
        let cart = (random.binomial(150, 0.01 * times), random.binomial(2_850, 0.01));
        let home = (random.binomial(50, 0.002), random.binomial(950, 0.002));
        let rate = |events| Ok(Counts::Rate { events, exposure_millionths: 30_000_000 });
        let restarts = (rate(random.binomial(20, 0.1 * times)), rate(random.binomial(20, 0.1)));
        let value = |value| Ok(Counts::Value { value });
        let pool = (value(0.5 * times + 0.01 * random.unit()), value(0.5 + 0.01 * random.unit()));
        let both = |one: u64, other: u64, total: u64, all: u64| {
            let counts = |bad, total| Some(Counts::Proportion { total, bad });
            RouteCounts { canary: counts(one, total), baseline: counts(other, all) }
        };
        let readings = vec![
            (proportion(orders.0, 200), proportion(orders.1, 3_800)),
            (proportion(cart.0 + home.0, 200), proportion(cart.1 + home.1, 3_800)),
            restarts,
            pool,
        ];
        let mut tick = bench.observation(readings, vec![]);
        tick.metrics[1].routes.insert("/cart".into(), both(cart.0, cart.1, 150, 2_850));
        tick.metrics[1].routes.insert("/home".into(), both(home.0, home.1, 50, 950));
        tick
    };
    (0..80).map(one).collect()
}

fn begun(policy: &Policy) -> JudgeState {
    JudgeState::of_method(2, policy, None)
}

#[test]
fn every_figure_is_as_it_was() {
    let (common, rare) = (common(), rare());
    for (policy, ticks, expected) in [
        (&common, common_ticks(&common, 1, Worse(1.0, 0)), include_str!("../expected/method-2/alike.txt")),
        (&common, common_ticks(&common, 2, Worse(3.0, 80)), include_str!("../expected/method-2/worse.txt")),
        (&rare, rare_ticks(&rare, 3, Worse(1.0, 0)), include_str!("../expected/method-2/rare-alike.txt")),
        (&rare, rare_ticks(&rare, 4, Worse(2.0, 30)), include_str!("../expected/method-2/rare-worse.txt")),
    ] {
        let now = written(&mut begun(policy), policy, &ticks);
        for (now, expected) in now.lines().zip(expected.lines()) {
            assert_eq!(now, expected);
        }
        assert_eq!(now.lines().count(), expected.lines().count());
    }
}

/// A state that was stored before there was another method says nothing of one.
#[test]
fn a_stored_state_goes_on_as_it_would_have() {
    for (policy, ticks, stored, expected) in [
        (
            common(),
            common_ticks(&common(), 2, Worse(3.0, 80)),
            &include_bytes!("../expected/method-2/worse-after-60.cbor")[..],
            include_str!("../expected/method-2/worse-from-60.txt"),
        ),
        (
            rare(),
            rare_ticks(&rare(), 4, Worse(2.0, 30)),
            &include_bytes!("../expected/method-2/rare-worse-after-60.cbor")[..],
            include_str!("../expected/method-2/rare-worse-from-60.txt"),
        ),
    ] {
        let mut state: JudgeState = ciborium::from_reader(stored).unwrap();
        let mut again = begun(&policy);
        ticks[..60].iter().for_each(|tick| drop(again.observe(&policy, tick)));
        assert_eq!(state, again);
        assert_eq!(written(&mut state, &policy, &ticks[60..]), expected);
    }
}
