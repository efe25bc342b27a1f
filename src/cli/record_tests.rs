use proptest::prelude::*;

use super::*;

fn there_and_back(tick: &TickObservation) -> TickObservation {
    let text = serde_json::to_string(&Line::new("r1", tick)).unwrap();
    assert!(!text.contains('\n'));
    serde_json::from_str::<Line>(&text).unwrap().tick(0).unwrap()
}

fn example() -> TickObservation {
    TickObservation {
        seq: 7,
        at: Timestamp(1_700_000_010_250),
        step: 1,
        weight: Weight(2_500),
        baseline_weight: Weight(7_500),
        metrics: vec![
            MetricObservation {
                routes: Default::default(),
                metric: "latency".into(),
                window: Some(Window {
                    start: Timestamp(1_700_000_000_000),
                    end: Timestamp(1_700_000_010_000),
                }),
                canary: Ok(Counts::Latency {
                    le: vec![0.1, 0.25, 1.0],
                    counts: vec![400, 80, 15, 5],
                    sum: Some(41.300_000_000_000_004),
                }),
                baseline: Err(NoData::Stale { age_seconds: 31 }),
                usage: Usage::Used,
            },
            MetricObservation {
                routes: Default::default(),
                metric: "errors".into(),
                window: None,
                canary: Ok(Counts::Proportion { total: u64::MAX, bad: 3 }),
                baseline: Ok(Counts::Proportion { total: 9500, bad: 48 }),
                usage: Usage::WarmUp,
            },
        ],
        values: vec![ValueObservation {
            guardrail: "queue".into(),
            canary: Ok(0.1 + 0.2),
            baseline: Err(NoData::Status(502)),
        }],
    }
}

#[test]
fn a_line_has_the_form_of_recorded_data() {
    let text = serde_json::to_string(&Line::new("r1", &example())).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"stream":"r1","t":1700000010.25,"weight":25.0,"baseline_weight":75.0,"seq":7,"step":1,"metrics":{"#,
            r#""latency":{"canary":{"le":[0.1,0.25,1.0,"+Inf"],"counts":[400,80,15,5],"#,
            r#""sum":41.300000000000004},"usage":"used","window":[1700000000000,1700000010000],"#,
            r#""no_data":{"baseline":{"reason":"stale","detail":{"age_seconds":31}}}},"#,
            r#""errors":{"canary":{"total":18446744073709551615,"bad":3},"#,
            r#""baseline":{"total":9500,"bad":48},"usage":"warm_up"}},"#,
            r#""values":{"queue":{"canary":0.30000000000000004,"#,
            r#""no_data":{"baseline":{"reason":"status","detail":502}}}}}"#
        )
    );
}

#[test]
fn nothing_is_lost() {
    assert_eq!(there_and_back(&example()), example());
}

#[test]
fn recorded_data_without_our_own_fields_is_read() {
    let text = r#"{"stream":"a","t":10.0,"weight":5,"metrics":{
        "errors":{"canary":{"total":500,"bad":3},"baseline":{"total":9500,"bad":48}},
        "latency":{"canary":{"le":[0.1,0.25,1,"+Inf"],"counts":[400,80,15,5]}}}}"#;
    let tick = serde_json::from_str::<Line>(text).unwrap().tick(3).unwrap();
    assert_eq!((tick.seq, tick.at, tick.weight), (3, Timestamp(10_000), Weight(500)));
    assert_eq!(tick.metrics[0].canary, Ok(Counts::Proportion { total: 500, bad: 3 }));
    assert_eq!(tick.metrics[1].baseline, Err(NoData::Empty));
    assert_eq!(tick.metrics[1].usage, Usage::Used);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let cases = [
        (r#""weight":5,"metrics":{"e":{"canary":{"total":3,"bad":5}}}"#, "metrics.e.canary.bad"),
        (r#""weight":5,"metrics":{"l":{"canary":{"le":[0.1],"counts":[1]}}}"#, "metrics.l.canary.le"),
        (
            r#""weight":5,"metrics":{"l":{"baseline":{"le":[0.2,0.1,"+Inf"],"counts":[1,2,3]}}}"#,
            "metrics.l.baseline.le",
        ),
        (
            r#""weight":5,"metrics":{"l":{"canary":{"le":[0.1,"+Inf"],"counts":[1]}}}"#,
            "metrics.l.canary.counts",
        ),
        (r#""weight":101,"metrics":{}"#, "weight"),
    ];
    for (rest, field) in cases {
        let text = format!(r#"{{"stream":"a","t":1,{rest}}}"#);
        let line: Line = serde_json::from_str(&text).unwrap();
        assert_eq!(line.tick(1).unwrap_err().field, field, "{text}");
    }
    for text in [
        r#"{"stream":"a","t":1,"weight":5,"metrics":{"e":{"canary":{"total":-1,"bad":0}}}}"#,
        r#"{"stream":"a","t":1,"weight":5,"metrics":{"e":{},"e":{}}}"#,
        r#"{"stream":"a","t":1,"weight":5,"metrics":{},"colour":"red"}"#,
    ] {
        assert!(serde_json::from_str::<Line>(text).is_err(), "{text}");
    }
}

fn reading() -> impl Strategy<Value = Reading<Counts>> {
    prop_oneof![
        (any::<u64>(), any::<u64>())
            .prop_map(|(a, b)| Ok(Counts::Proportion { total: a.max(b), bad: a.min(b) })),
        (
            proptest::collection::btree_set(1_u32..1_000_000, 0..12),
            any::<u32>(),
            proptest::option::of(0.0_f64..1e9)
        )
            .prop_map(|(le, count, sum)| {
                let le: Vec<f64> = le.into_iter().map(|us| f64::from(us) / 1e6).collect();
                let counts = vec![u64::from(count); le.len() + 1];
                Ok(Counts::Latency { le, counts, sum })
            }),
        Just(Err(NoData::Timeout)),
        ".*".prop_map(|detail| Err(NoData::Malformed(detail))),
    ]
}

proptest! {
    #[test]
    fn any_tick_comes_back_bit_for_bit(
        at in 0_i64..4_102_444_800_000,
        weight in 0_u16..=10_000,
        arms in proptest::collection::vec((reading(), reading()), 0..4),
        value in -1e12_f64..1e12,
    ) {
        let metrics = arms.into_iter().enumerate().map(|(index, (canary, baseline))| MetricObservation { routes: Default::default(),
            metric: format!("metric {index} \"{}\"", 9 - index),
            window: None,
            canary,
            baseline,
            usage: Usage::Straddling,
        });
        let tick = TickObservation {
            seq: 1,
            at: Timestamp(at),
            step: 0,
            weight: Weight(weight),
            baseline_weight: Weight(10_000 - weight),
            metrics: metrics.collect(),
            values: vec![ValueObservation {
                guardrail: "g".into(),
                canary: Ok(value),
                baseline: Err(NoData::Waiting),
            }],
        };
        prop_assert_eq!(there_and_back(&tick), tick);
    }
}
