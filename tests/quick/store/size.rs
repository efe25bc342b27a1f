//! What a look costs in the database.

use std::path::Path;
use std::sync::Arc;

use serin::core::judge::JudgeState;
use serin::core::metric::{
    Counts, Cursor, InstanceCursor, MetricCursor, MetricObservation, SeriesCursor, TickObservation, Usage,
    Window,
};
use serin::core::rollout::{Phase, Rollout, Stage};
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::engine::Options;
use serin::ports::{Commit, Commits, Queries};
use serin::store::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use super::samples::at;
use crate::testkit::builders::{errors, latency, policy, rollout, step};

/// A look of three metrics, one of them a histogram of 12 buckets, may cost so many bytes in all.
const MOST: f64 = 400.0;
const LOOKS: u64 = 2_000;
const LE: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// One instance an arm, 1,000 requests a second, 5% of them at the canary.
struct Service {
    seed: u64,
    /// Counted since the processes began, by arm and series.
    sums: [[f64; 18]; 2],
}

impl Service {
    fn below(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % bound.max(1)
    }

    fn arm(&mut self, arm: usize, requests: u64) -> [Counts; 3] {
        let (bad, slow) = (self.below(requests / 100), self.below(requests / 200));
        let mut left = requests;
        let mut counts: Vec<u64> = (0..12)
            .map(|_| {
                let some = self.below(left / 2 + 1);
                left -= some;
                some
            })
            .collect();
        counts.push(left);
        let sum = requests as f64 * 0.05 + self.below(1_000_000) as f64 / 1e6;
        let grown = &mut self.sums[arm];
        let mut cumulative = 0;
        for (series, count) in counts.iter().enumerate() {
            cumulative += count;
            grown[series] += cumulative as f64;
        }
        for (series, more) in [(13, requests as f64), (14, bad as f64), (15, slow as f64), (16, sum)] {
            grown[series] += more;
        }
        [
            Counts::Proportion { total: requests, bad },
            Counts::Latency { le: LE.to_vec(), counts, sum: Some(sum) },
            Counts::Proportion { total: requests, bad: slow },
        ]
    }

    fn look(&mut self, seq: u64) -> TickObservation {
        let end = Timestamp(at(seq.cast_signed() * 10).0 + 137);
        let (canary, baseline) = (450 + self.below(100), 9_000 + self.below(1_000));
        let (canary, baseline) = (self.arm(0, canary), self.arm(1, baseline));
        let metrics = ["errors", "latency", "timeouts"].into_iter().zip(canary.into_iter().zip(baseline));
        let metric = |(name, (canary, baseline)): (&str, (Counts, Counts))| MetricObservation {
            metric: name.into(),
            window: Some(Window { start: end.minus(std::time::Duration::from_secs(10)), end }),
            canary: Ok(canary),
            baseline: Ok(baseline),
            usage: Usage::Used,
            routes: Default::default(),
        };
        TickObservation {
            seq,
            at: Timestamp(end.0 + 4_213),
            step: 0,
            weight: Weight(500),
            baseline_weight: Weight(9_500),
            metrics: metrics.map(metric).collect(),
            values: Vec::new(),
        }
    }

    /// Of the series of a metric.
    fn cursor(&self, until: Timestamp, series: &[usize]) -> MetricCursor {
        let arm = |arm: usize| {
            let name = |series: usize| {
                format!(
                    "http_request_duration_seconds_bucket{{instance=\"10.0.{arm}.7:9090\",job=\"shop\",le=\"{series}\"}}"
                )
            };
            let value = |series: usize| SeriesCursor { at: until, value: self.sums[arm][series] };
            Cursor {
                until,
                series: series.iter().map(|series| (name(*series), value(*series))).collect(),
                instances: [(
                    format!("10.0.{arm}.7:9090"),
                    InstanceCursor { at: until, started: Some(1_899_999_000.42) },
                )]
                .into(),
                ..Cursor::default()
            }
        };
        MetricCursor { canary: arm(0), baseline: arm(1) }
    }
}

async fn number(file: &mut SqliteConnection, query: &'static str) -> f64 {
    sqlx::query_scalar::<_, f64>(query).fetch_one(file).await.unwrap()
}

async fn filled(path: &Path) -> u64 {
    let store = SqliteStore::open(path).await.unwrap();
    store.own_targets(&["shop".into()]).await.unwrap();
    let mut timeouts = errors();
    timeouts.name = "timeouts".into();
    let long = vec![step(5.0, 86_400), step(100.0, 0)];
    let policy = policy().metrics(vec![errors(), latency(), timeouts]).steps(long).build();
    let made = rollout("0195c1a8f00d7000800000000000beef", "shop", policy);
    let first = crate::testkit::builders::created(&made);
    let mut now = store.create_rollout(made, first, None, false).await.unwrap();
    now.phase = Phase::Progressing { step: 0, stage: Stage::Analysing { since: at(0) } };
    let mut judge = JudgeState::new(&now.policy);
    let mut service = Service { seed: 7, sums: Default::default() };
    let every = Options::default().snapshot_every;
    for seq in 1..=LOOKS {
        let tick = service.look(seq);
        let assessment = judge.observe(&now.policy, &tick);
        now.tick_seq = seq;
        now.timers.analysed += assessment.analysed;
        now.timers.in_phase += std::time::Duration::from_nanos(10_000_123_456);
        now.last = Some(assessment.clone());
        let until = tick.metrics[0].window.unwrap().end;
        let histogram: Vec<usize> = (0..13).chain([13, 16]).collect();
        let cursors = [
            ("errors".to_owned(), service.cursor(until, &[13, 14])),
            ("latency".to_owned(), service.cursor(until, &histogram)),
            ("timeouts".to_owned(), service.cursor(until, &[13, 15])),
        ];
        let commit = Commit {
            target: Some(store.target("shop").await.unwrap()),
            rollout: Some(now.clone()),
            cursors: cursors.into(),
            snapshot: (seq % every == 0).then(|| (seq, Arc::new(judge.clone()))),
            observation: Some((tick, assessment)),
            ..Commit::default()
        };
        store.commit(&commit).await.unwrap();
        now = Rollout { revision: now.revision + 1, ..now };
    }
    let stored = store.observations(&now.id, LOOKS - 2, 9).await.unwrap();
    assert_eq!(
        stored.last().map(|(_, assessment)| assessment),
        now.last.as_ref(),
        "judged again, bit for bit"
    );
    store.close().await;
    every
}

/// Bytes of a look.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// What stays of it.
    pub observation: f64,
    /// Written in the place of what was there.
    pub cursors: f64,
    /// Written in the place of what was there.
    pub progress: f64,
    /// Its share of a snapshot of the evidence.
    pub snapshot: f64,
    /// By so much the file grows.
    pub grown: f64,
}

impl Bytes {
    /// All that a look writes into rows of its own.
    pub fn written(&self) -> f64 {
        self.observation + self.cursors + self.progress + self.snapshot
    }
}

/// Measured over many looks in a new file.
pub async fn measured(path: &Path) -> Bytes {
    SqliteStore::open(path).await.unwrap().close().await;
    let empty = std::fs::metadata(path).unwrap().len();
    let every = filled(path).await as f64;
    let grown = (std::fs::metadata(path).unwrap().len() - empty) as f64 / LOOKS as f64;
    let mut file = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let snapshot = "SELECT avg(length(body) + length(assessment)) FROM evidence";
    Bytes {
        observation: number(&mut file, "SELECT avg(length(body)) FROM looks").await,
        cursors: number(&mut file, "SELECT total(length(body)) FROM cursor_numbers").await,
        progress: number(&mut file, "SELECT avg(length(body)) FROM progress").await,
        snapshot: number(&mut file, snapshot).await / every,
        grown,
    }
}

#[tokio::test]
async fn a_look_of_three_metrics_costs_at_most_400_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = measured(&folder.path().join("serin.db")).await;
    assert!(bytes.written() <= MOST, "{} bytes are written a look: {bytes:?}", bytes.written());
    assert!(bytes.grown <= MOST, "the file grows too much with each look: {bytes:?}");
}
