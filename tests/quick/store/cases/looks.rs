//! Observations and cursors come back as they were, bit for bit.

use std::collections::BTreeMap;

use serin::core::judge::Assessment;
use serin::core::metric::{
    Counts, Cursor, InstanceCursor, MetricCursor, MetricObservation, NoData, Reading, RouteCounts,
    SeriesCursor, TickObservation, Usage, ValueObservation, Window,
};
use serin::core::rollout::Rollout;
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::ports::Commit;

use super::super::samples::*;
use super::*;

fn reasons() -> Vec<NoData> {
    let text = || "it's \"said\" ä".to_owned();
    vec![
        NoData::Waiting,
        NoData::Unreachable(text()),
        NoData::Timeout,
        NoData::Status(u16::MAX),
        NoData::Refused(text()),
        NoData::Malformed(String::new()),
        NoData::WrongType(text()),
        NoData::Partial(text()),
        NoData::Empty,
        NoData::Stale { age_seconds: u64::MAX },
        NoData::NotFinite,
        NoData::ManySeries(usize::MAX),
        NoData::TooLarge(text()),
        NoData::BothArms(text()),
        NoData::BoundsDiffer(text()),
    ]
}

fn counts() -> Vec<Counts> {
    let le = vec![0.005, 1.0 / 3.0, 2.5];
    vec![
        Counts::Proportion { total: 0, bad: u64::MAX },
        Counts::Latency { le: le.clone(), counts: vec![1, 0, u64::MAX, 300], sum: Some(0.1 + 0.2) },
        Counts::Latency { le: le.clone(), counts: vec![1, 2, 3, 4], sum: None },
        Counts::Latency { le: vec![0.005, 0.3, 2.5], counts: vec![1, 2, 3, 4], sum: Some(-0.0) },
        Counts::Latency { le: Vec::new(), counts: Vec::new(), sum: Some(1e300) },
        Counts::Rate { events: 7, exposure_millionths: 1 << 60 },
        Counts::Value { value: -273.15 },
    ]
}

/// Looks with every reason, every kind of counts and every usage, of metrics that the policy has and of others.
fn looks() -> Vec<TickObservation> {
    let usages = [
        Usage::Used,
        Usage::Pending,
        Usage::Outside,
        Usage::Settling,
        Usage::Straddling,
        Usage::WarmUp,
        Usage::Baking,
        Usage::Carried,
        Usage::Ahead,
        Usage::Renewed,
    ];
    let good = counts().into_iter().map(Ok);
    let readings: Vec<Reading<Counts>> = good.chain(reasons().into_iter().map(Err)).collect();
    let mut looks = Vec::new();
    for (index, canary) in readings.iter().enumerate() {
        let baseline = &readings[(index * 5 + 1) % readings.len()];
        let usage = usages[index % usages.len()];
        let end = Timestamp(at(0).0 - 12_345 * index as i64);
        let metric = |metric: &str| MetricObservation {
            metric: metric.to_owned(),
            window: (index % 3 > 0)
                .then_some(Window { start: end.minus(std::time::Duration::from_millis(1)), end }),
            canary: canary.clone(),
            baseline: baseline.clone(),
            usage,
            routes: BTreeMap::new(),
        };
        let routes = counts().into_iter().enumerate().map(|(route, counts)| {
            let baseline = (route % 2 > 0).then(|| counts.clone());
            (format!("/ä{route}"), RouteCounts { canary: Some(counts), baseline })
        });
        let value = |name: &str, canary: Reading<f64>| ValueObservation {
            guardrail: name.to_owned(),
            canary,
            baseline: Err(reasons()[index % 15].clone()),
        };
        looks.push(TickObservation {
            seq: index as u64 + 1,
            at: at(index as i64),
            step: index % 3,
            weight: Weight(u16::MAX),
            baseline_weight: Weight(index as u16),
            metrics: vec![
                metric("errors"),
                MetricObservation { routes: routes.collect(), ..metric("latency") },
                metric("errors"),
                metric("of nobody's policy"),
            ],
            values: vec![value("memory", Ok(f64::MIN_POSITIVE)), value("unknown", Ok(1e17))],
        });
    }
    looks
}

pub async fn observations_come_back_exactly(store: AnyStore) {
    let mut now = begun(&store, "r1", "checkout").await;
    for tick in looks() {
        now.tick_seq = tick.seq;
        // Not judged again: some of them no provider would give.
        now.last = Some(Assessment { seq: tick.seq, ..Assessment::default() });
        let commit = Commit {
            rollout: Some(now.clone()),
            observation: Some((tick, Default::default())),
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
        now = Rollout { revision: now.revision + 1, ..now };
    }
    // Debug tells a negative zero from the other one.
    let stored = store.load(&now.id).await.unwrap().observations;
    assert_eq!(format!("{stored:?}"), format!("{:?}", looks()));
}

pub async fn cursors_come_back_exactly(store: AnyStore) {
    let made = begun(&store, "r1", "checkout").await;
    let numbers = [0.0, -0.0, 1.0, 9_007_199_254_740_993.0, 0.1, 1.0 / 3.0, 5e-324, f64::MAX, f64::INFINITY];
    let series = |value: f64, index: usize| SeriesCursor { at: at(index as i64), value };
    let canary = Cursor {
        until: at(5),
        series: numbers.iter().enumerate().map(|(i, value)| (format!("s{i}"), series(*value, i))).collect(),
        instances: [
            ("a".to_owned(), InstanceCursor { at: at(1), started: None }),
            ("ä".to_owned(), InstanceCursor { at: Timestamp(i64::MIN), started: Some(1.9e9 + 1.0 / 3.0) }),
        ]
        .into(),
        forgotten: Timestamp(i64::MAX),
        spacing: Some(std::time::Duration::from_nanos(60_000_000_001)),
    };
    let cursor = MetricCursor { canary, baseline: Cursor::default() };
    let mut now = made;
    // First more series than later: what is gone must not stay.
    for cursor in [MetricCursor { baseline: cursor.canary.clone(), ..cursor.clone() }, cursor] {
        let cursors = BTreeMap::from([("errors".to_owned(), cursor)]);
        let commit = Commit { rollout: Some(now.clone()), cursors: cursors.clone(), ..Commit::default() };
        store.commit(&commit).await.unwrap();
        let stored = store.load(&now.id).await.unwrap().cursors;
        assert_eq!(format!("{stored:?}"), format!("{cursors:?}"));
        now = Rollout { revision: now.revision + 1, ..now };
    }
}
