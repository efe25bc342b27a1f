use super::*;
use crate::api::series::trace::MOST;
use crate::core::judge::{Assessment, MetricAssessment};
use crate::core::metric::{Counts, MetricObservation, NoData, TickObservation, Usage};
use crate::core::rollout::{EventKind, EventRecord};

const YAML: &str = "name: x
steps: [{weight: 5%, min: 1m, max: 1h, at_max: hold}, {weight: 100%}]
metrics:
  - {name: errors, template: http_errors}
  - {name: latency, template: http_latency}
";

fn policy() -> Policy {
    crate::config::parse_policy("x.yaml", YAML.as_bytes()).unwrap()
}

fn metric(name: &str, canary: Counts, baseline: Counts) -> MetricObservation {
    MetricObservation {
        routes: Default::default(),
        metric: name.to_owned(),
        window: None,
        canary: Ok(canary),
        baseline: Ok(baseline),
        usage: Usage::Used,
    }
}

fn latency(counts: [u64; 3]) -> Counts {
    Counts::Latency { le: vec![0.1, 0.2], counts: counts.to_vec(), sum: None }
}

/// Tick `seq` at `seq` · 10 s: 100 requests of the canary with `seq` bad ones among them, 900 of the baseline.
fn tick(seq: u64) -> (TickObservation, Assessment) {
    let errors = metric(
        "errors",
        Counts::Proportion { total: 100, bad: seq },
        Counts::Proportion { total: 900, bad: 9 },
    );
    let tick = TickObservation {
        seq,
        at: Timestamp(seq as i64 * 10_000),
        step: 0,
        weight: Weight(500),
        baseline_weight: Weight(9_500),
        metrics: vec![errors, metric("latency", latency([90, 9, 1]), latency([800, 90, 10]))],
        values: Vec::new(),
    };
    let assessed = |name: &str, bound_seconds| MetricAssessment {
        name: name.to_owned(),
        ln_e_harm: seq as f64,
        ln_e_no_harm: -(seq as f64),
        ratio: Some([0.5, 1.0 + seq as f64, f64::INFINITY]),
        dispersion: 1.0,
        bound_seconds,
        ..MetricAssessment::default()
    };
    let assessment = Assessment {
        seq,
        ln_bound_harm: 4.6,
        ln_bound_no_harm: 3.0,
        ln_e_harm: seq as f64 / 2.0,
        metrics: vec![assessed("errors", None), assessed("latency", Some(0.1))],
        ..Assessment::default()
    };
    (tick, assessment)
}

fn event(seq: u64, kind: EventKind, at: i64) -> EventRecord {
    EventRecord { seq, at: Timestamp(at), kind, by: None, sentence: String::new() }
}

fn trace(ticks: impl IntoIterator<Item = u64>) -> Trace {
    let mut trace = Trace::default();
    let ticks: Vec<_> = ticks.into_iter().map(tick).collect();
    trace.take(&ticks, &policy());
    trace.take_events(&[event(1, EventKind::StepEntered, 15_000)]);
    trace
}

fn part(points: usize) -> Part {
    Part { from: None, to: None, points, metric: None }
}

fn view(trace: &Trace, part: &Part) -> SeriesView {
    series(&RolloutId("r".into()), &policy(), trace, part, Timestamp(0))
}

#[test]
fn with_room_every_tick_is_a_point() {
    let view = view(&trace(1..=3), &part(10));
    assert_eq!(view.times, [10.0, 20.0, 30.0]);
    assert_eq!(view.step, [None, Some(1), Some(1)]);
    assert_eq!(view.wanted_percent, [Some(0.0), Some(5.0), Some(5.0)]);
    assert_eq!(view.seen_percent, [Some(5.0); 3]);
    assert_eq!(view.ln_harm_combined, [Some(0.5), Some(1.0), Some(1.5)]);
    let errors = &view.metrics[0];
    assert_eq!((errors.name.as_str(), errors.unit.as_str()), ("errors", "percent"));
    assert_eq!(errors.canary.requests, [Some(100); 3]);
    assert_eq!(errors.canary.value, [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(errors.baseline.value, [Some(1.0); 3]);
    assert_eq!(errors.ratio.estimate, [Some(2.0), Some(3.0), Some(4.0)]);
    assert_eq!(errors.ratio.high, [None; 3], "not bounded");
    assert_eq!((errors.ln_bound_harm, errors.ln_bound_no_harm), (Some(4.6), Some(3.0)));
    // Wilson for 1 of 100 without dispersion: 0.18% to 5.45%.
    assert!((errors.canary.low[0].unwrap() - 0.177).abs() < 0.001, "{:?}", errors.canary.low);
    assert!((errors.canary.high[0].unwrap() - 5.449).abs() < 0.001, "{:?}", errors.canary.high);
}

#[test]
fn counts_are_summed_in_each_bucket_and_evidence_is_the_last() {
    // 20 ticks in 10 buckets of 19.0001 s: ticks 1 and 2, 3 and 4, and so on.
    let view = view(&trace(1..=20), &part(10));
    let errors = &view.metrics[0];
    assert_eq!(view.times.len(), 10);
    assert_eq!(*view.times.last().unwrap(), 200.0);
    assert!(view.times.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(errors.canary.requests, [Some(200); 10]);
    // (1 + 2)/200, (3 + 4)/200, …, (19 + 20)/200
    let expected: Vec<_> = (0..10).map(|i| Some(f64::from(4 * i + 3) / 2.0)).collect();
    assert_eq!(errors.canary.value, expected);
    assert_eq!(errors.ln_harm.last().unwrap(), &Some(20.0));
    assert_eq!(errors.ln_harm[0], Some(2.0));
    let latency = &view.metrics[1];
    assert_eq!(latency.canary.value, [Some(10.0); 10], "10 of 100 above 0.1 s");
    assert_eq!(latency.canary.requests, [Some(200); 10]);
    let shape = latency.latency.as_ref().unwrap();
    assert_eq!(shape.le, [Some(0.1), Some(0.2), None]);
    assert_eq!(shape.canary, [1800, 180, 20]);
    assert_eq!(shape.baseline, [16_000, 1800, 200]);
    assert_eq!(shape.canary_quantiles.len(), 4);
    // Rank 1,000 of the 1,800 below 0.1 s, linear in the bucket.
    assert!((shape.canary_quantiles[0].seconds - 0.1 * 1000.0 / 1800.0).abs() < 1e-9);
}

#[test]
fn a_part_is_as_fine_as_there_is_room_for() {
    let trace = trace(1..=1000);
    let part = Part { from: Some(Timestamp(2_000_000)), to: Some(Timestamp(2_090_000)), ..part(10) };
    let view = view(&trace, &part);
    assert_eq!(view.times.first().unwrap(), &2000.0);
    assert_eq!((view.times.len(), view.times.last().unwrap()), (10, &2090.0));
    let nothing = Part { from: Some(Timestamp(1)), to: Some(Timestamp(2)), ..part.clone() };
    assert!(super::tests::view(&trace, &nothing).times.is_empty());
    let one = Part { metric: Some("latency".to_owned()), ..part };
    let names: Vec<_> = super::tests::view(&trace, &one).metrics.into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["latency"]);
}

#[test]
fn a_gap_stays_a_gap_and_pending_counts_are_left_out() {
    let view = view(&trace((1..=10).chain(91..=100)), &part(10));
    let requests = &view.metrics[0].canary.requests;
    assert_eq!(requests[4..6], [None, None], "{requests:?}");
    let all: u64 = requests.iter().flatten().sum();
    assert_eq!(all, 2000, "nothing is lost or counted twice");

    let (mut pending, assessment) = tick(1);
    pending.metrics[0].usage = Usage::Pending;
    pending.metrics[1].baseline = Err(NoData::Timeout);
    let mut trace = Trace::default();
    trace.take(&[(pending, assessment)], &policy());
    let view = super::tests::view(&trace, &part(10));
    assert_eq!(view.metrics[0].canary.requests, [None]);
    assert_eq!(view.metrics[0].canary.value, [None]);
    assert_eq!(view.metrics[1].baseline.value, [None]);
    assert_eq!(view.metrics[1].latency, None);
}

#[test]
fn after_the_way_back_began_nothing_is_wanted() {
    let mut trace = trace(1..=4);
    trace.take_events(&[event(2, EventKind::RollbackStarted, 25_000)]);
    let view = view(&trace, &part(10));
    assert_eq!(view.wanted_percent, [Some(0.0), Some(5.0), Some(0.0), Some(0.0)]);
    assert_eq!(view.step, [None, Some(1), None, None]);
}

#[test]
fn a_trace_is_bounded_and_loses_no_request() {
    let ticks = 3 * MOST as u64;
    let trace = trace(1..=ticks);
    assert!(trace.points.len() <= MOST, "{}", trace.points.len());
    let view = view(&trace, &part(2000));
    let all: u64 = view.metrics[0].canary.requests.iter().flatten().sum();
    assert_eq!(all, 100 * ticks);
    assert_eq!(trace.after, ticks);
}

#[test]
fn rows_say_the_same() {
    let view = view(&trace(1..=2), &part(10));
    let rows = rows(&view);
    assert_eq!(rows.len(), 8);
    assert_eq!(rows[0].time, "1970-01-01T00:00:10.000Z");
    assert_eq!((rows[0].arm.as_str(), rows[0].value, rows[0].requests), ("canary", Some(1.0), Some(100)));
    assert_eq!((rows[7].metric.as_str(), rows[7].arm.as_str()), ("latency", "baseline"));
}

#[test]
fn numbers_have_six_digits() {
    let cases =
        [(1.0 / 3.0, 0.333333), (123_456_789.0, 123_457_000.0), (-1e-9 / 3.0, -3.33333e-10), (0.0, 0.0)];
    for (value, short) in cases {
        let found = number(value).unwrap();
        assert!((found - short).abs() <= 1e-12 * short.abs(), "{found} {short}");
    }
    assert_eq!((number(f64::NAN), number(f64::INFINITY)), (None, None));
}
