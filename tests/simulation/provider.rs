//! A source of metrics over the true world: exact counts with cursors, as architecture.md's "Counts, not
//! rates" asks for, and faults.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serin::core::arms::ArmSelector;
use serin::core::metric::{
    ArmNotes, Counts, Cursor, InstanceCursor, MetricCursor, MetricObservation, NoData, Notes, Processes,
    Reading, SeriesCursor, Usage, ValueObservation, Window,
};
use serin::core::source::MetricSource;
use serin::core::time::Timestamp;
use serin::ports::{CountsAnswer, CountsRequest, MetricsProvider, Required, ValueRequest};

use crate::faults::FaultKind;
use crate::invariants;
use crate::life::Life;
use crate::world::{BOUNDS, COUNTERS, PoolTruth, Sample, Shared, World};

/// The source's own deadline, in milliseconds.
const DEADLINE: i64 = 10_000;

pub struct FakeProvider {
    pub world: Shared,
    pub life: Life,
}

#[async_trait]
impl MetricsProvider for FakeProvider {
    async fn counts(&self, requests: &[CountsRequest]) -> Vec<CountsAnswer> {
        self.life.step("provider.counts").await;
        let targets: BTreeSet<&str> = requests.iter().map(|request| target_of(&request.canary)).collect();
        let late = self.wait(&targets).await;
        let mut world = self.world.lock();
        for request in requests {
            invariants::asked_of_source(&mut world, &request.canary);
        }
        let one = |request: &CountsRequest| match late.contains(target_of(&request.canary)) {
            true => pending(request, None, Err(NoData::Timeout), Err(NoData::Timeout)),
            false => answer(&world, request),
        };
        requests.iter().map(one).collect()
    }

    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation> {
        self.life.step("provider.values").await;
        let targets: BTreeSet<&str> = requests.iter().map(|request| target_of(&request.canary)).collect();
        let late = self.wait(&targets).await;
        let world = self.world.lock();
        let value = |arm: &ArmSelector| -> Reading<f64> {
            if late.contains(target_of(arm)) {
                return Err(NoData::Timeout);
            }
            if let Some(fault) = fault_of_all(&world, target_of(arm)) {
                return Err(fault);
            }
            let pool = pool(&world, arm).ok_or(NoData::Empty)?;
            Ok(pool.behaviour.errors)
        };
        requests
            .iter()
            .map(|request| ValueObservation {
                guardrail: request.guardrail.clone(),
                canary: value(&request.canary),
                baseline: value(&request.baseline),
            })
            .collect()
    }
}

impl FakeProvider {
    /// A call takes as long as its slowest query. Gives the targets whose queries have met the source's deadline.
    async fn wait<'t>(&self, targets: &BTreeSet<&'t str>) -> BTreeSet<&'t str> {
        self.world.take_time().await;
        let has = |kind| targets.iter().filter(move |target| self.world.lock().has(kind, target));
        for target in has(FaultKind::ProviderHangs).collect::<Vec<_>>() {
            self.world.sit_out(FaultKind::ProviderHangs, target, None).await;
        }
        let slow: BTreeSet<&str> = has(FaultKind::ProviderSlow).copied().collect();
        if let Some(target) = slow.first() {
            self.world.sit_out(FaultKind::ProviderSlow, target, Some(DEADLINE)).await;
        }
        slow
    }
}

/// The target that an arm is of.
fn target_of(arm: &ArmSelector) -> &str {
    arm.labels.get("service").map_or("", String::as_str)
}

/// The backend that an arm's labels mean.
pub fn backend(arm: &ArmSelector) -> Option<(String, String)> {
    let service = arm.labels.get("service")?;
    Some((service.clone(), format!("{service}-{}", arm.labels.get("pool")?)))
}

fn pool<'w>(world: &'w World, arm: &ArmSelector) -> Option<&'w PoolTruth> {
    let (service, backend) = backend(arm)?;
    world.services.get(&service)?.pools.get(&backend)
}

/// A fault of the provider as a whole.
fn fault_of_all(world: &World, target: &str) -> Option<NoData> {
    world.fault(target, |kind| match kind {
        FaultKind::ProviderUnreachable => Some(NoData::Unreachable("connection refused".to_owned())),
        FaultKind::ProviderTimeout => Some(NoData::Timeout),
        FaultKind::ProviderStatus => Some(NoData::Status(503)),
        FaultKind::ProviderMalformed => Some(NoData::Malformed("the body broke off".to_owned())),
        FaultKind::ProviderNotFinite => Some(NoData::NotFinite),
        FaultKind::ProviderBoundsDiffer => Some(NoData::BoundsDiffer("0.1 against 0.2".to_owned())),
        _ => None,
    })
}

fn answer(world: &World, request: &CountsRequest) -> CountsAnswer {
    let target = target_of(&request.canary);
    let fault = |silent: FaultKind| match fault_of_all(world, target) {
        Some(fault) => Some(fault),
        None => world.has(silent, target).then_some(NoData::Empty),
    };
    let canary = fresh(world, request, &request.canary, fault(FaultKind::CanarySilent));
    let baseline = fresh(world, request, &request.baseline, fault(FaultKind::BaselineSilent));
    let newest = |arm: &Result<&[Sample], NoData>| {
        arm.as_ref().ok().and_then(|samples| samples.last()).map(|sample| sample.at)
    };
    let end = match request.required {
        Required::Both => {
            newest(&canary).zip(newest(&baseline)).map(|(canary, baseline)| canary.min(baseline))
        }
        Required::Canary => newest(&canary),
        Required::Baseline => newest(&baseline),
    };
    let Some(end) = end else { return seen_only(request, canary, baseline) };
    let before = request.cursor.clone().unwrap_or_default();
    let start = match before.canary.until.max(before.baseline.until) {
        Timestamp(0) => end,
        until => until,
    };
    if request.cursor.is_some() && end <= start {
        return pending(request, None, Err(NoData::Waiting), Err(NoData::Waiting));
    }
    let read = |arm: Result<&[Sample], NoData>, before: Cursor| match arm
        .and_then(|samples| count(samples, &before, end, &request.source).ok_or(NoData::Waiting))
    {
        Ok((counts, cursor)) => (Ok(counts), cursor),
        Err(why) => (Err(why), before),
    };
    let notes = Notes {
        canary: noticed(&canary, &before.canary, end),
        baseline: noticed(&baseline, &before.baseline, end),
    };
    let (canary, canary_cursor) = read(canary, before.canary);
    let (baseline, baseline_cursor) = read(baseline, before.baseline);
    let metric = request.metric.clone();
    let window = Some(Window { start, end });
    CountsAnswer {
        observation: MetricObservation {
            routes: Default::default(),
            metric,
            window,
            canary,
            baseline,
            usage: Usage::Outside,
        },
        cursor: Some(MetricCursor { canary: canary_cursor, baseline: baseline_cursor }),
        notes,
    }
}

/// How far apart the samples are, and whether the arm's only process has begun anew since the cursor.
fn noticed(samples: &Result<&[Sample], NoData>, before: &Cursor, end: Timestamp) -> ArmNotes {
    let Ok(samples) = samples else { return ArmNotes::default() };
    let samples = &samples[..samples.partition_point(|sample| sample.at <= end)];
    let last_two = samples.last_chunk::<2>();
    let known = before.instances.get("process");
    let renewed = known.is_some_and(|known| {
        let new = &samples[samples.partition_point(|sample| sample.at <= known.at)..];
        new.iter().any(|sample| Some(sample.started as f64) != known.started)
    });
    let process = || "process".to_owned();
    ArmNotes {
        spacing: last_two.map(|[one, other]| other.at.since(one.at)),
        processes: known.map(|_| Processes {
            instances: [process()].into(),
            renewed: renewed.then(process).into_iter().collect(),
            ..Processes::default()
        }),
        ..ArmNotes::default()
    }
}

/// The visible samples of an arm, if the newest is young enough.
fn fresh<'w>(
    world: &'w World,
    request: &CountsRequest,
    arm: &ArmSelector,
    fault: Option<NoData>,
) -> Result<&'w [Sample], NoData> {
    if let Some(fault) = fault {
        return Err(fault);
    }
    let samples = &pool(world, arm).ok_or(NoData::Empty)?.samples;
    let late = world.fault(target_of(arm), |kind| match kind {
        FaultKind::SamplesLate(late) => Some(late),
        _ => None,
    });
    let visible = Timestamp(world.true_wall().0 - late.unwrap_or(0)).min(request.now.minus(request.lag));
    let samples = &samples[..samples.partition_point(|sample| sample.at <= visible)];
    let newest = samples.last().ok_or(NoData::Empty)?.at;
    let age = request.now.since(newest);
    if age > request.stale_after + request.lag {
        return Err(NoData::Stale { age_seconds: age.as_secs() });
    }
    Ok(samples)
}

/// A required arm has no data: nothing is consumed, and the other arm only shows that it is seen.
fn seen_only(
    request: &CountsRequest,
    canary: Result<&[Sample], NoData>,
    baseline: Result<&[Sample], NoData>,
) -> CountsAnswer {
    let cursor = request.cursor.clone().unwrap_or_default();
    let mut window = None;
    let mut read = |samples: Result<&[Sample], NoData>, before: &Cursor| -> Reading<Counts> {
        let samples = samples?;
        let end = samples.last().ok_or(NoData::Empty)?.at;
        let start = if before.until == Timestamp(0) { end } else { before.until };
        if end < start {
            return Err(NoData::Waiting);
        }
        let (counts, _) = count(samples, before, end, &request.source).ok_or(NoData::Waiting)?;
        window = Some(Window { start, end });
        Ok(counts)
    };
    let canary = read(canary, &cursor.canary);
    let baseline = read(baseline, &cursor.baseline);
    pending(request, window, canary, baseline)
}

fn pending(
    request: &CountsRequest,
    window: Option<Window>,
    canary: Reading<Counts>,
    baseline: Reading<Counts>,
) -> CountsAnswer {
    let metric = request.metric.clone();
    let observation = MetricObservation {
        routes: Default::default(),
        metric,
        window,
        canary,
        baseline,
        usage: Usage::Pending,
    };
    CountsAnswer { observation, cursor: None, notes: Default::default() }
}

/// Increments since the cursor up to the last sample that is not after `end`, and the new cursor. It
/// reads raw counters only, and takes a process that began anew for what it is.
fn count(
    samples: &[Sample],
    before: &Cursor,
    end: Timestamp,
    source: &MetricSource,
) -> Option<(Counts, Cursor)> {
    let samples = &samples[..samples.partition_point(|sample| sample.at <= end)];
    let last = samples.last()?;
    let mut increments = [0_u64; COUNTERS];
    if let Some(process) = before.instances.get("process") {
        let name = |index: usize| format!("counter_{index}");
        let mut previous = [0; COUNTERS];
        for (index, value) in previous.iter_mut().enumerate() {
            *value = before.series.get(&name(index))?.value as u64;
        }
        let mut started = process.started?;
        for sample in &samples[samples.partition_point(|sample| sample.at <= process.at)..] {
            let again = sample.started as f64 == started;
            for (index, value) in sample.values.iter().enumerate() {
                increments[index] += if again { value - previous[index] } else { *value };
            }
            previous = sample.values;
            started = sample.started as f64;
        }
    }
    Some((counts_of(&increments, source), cursor_at(last, end)))
}

/// The counters of a metric's kind.
pub fn counts_of(counters: &[u64; COUNTERS], source: &MetricSource) -> Counts {
    match source {
        MetricSource::Proportion { .. } => Counts::Proportion { total: counters[0], bad: counters[1] },
        MetricSource::Latency { .. } => {
            Counts::Latency { le: BOUNDS.to_vec(), counts: counters[2..].to_vec(), sum: None }
        }
        MetricSource::Rate { .. } => {
            Counts::Rate { events: counters[1], exposure_millionths: counters[0].saturating_mul(1_000_000) }
        }
        MetricSource::Mean { .. } | MetricSource::Saturation { .. } => {
            panic!("the scenarios have no gauges")
        }
    }
}

fn cursor_at(sample: &Sample, until: Timestamp) -> Cursor {
    let series = sample
        .values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            (format!("counter_{index}"), SeriesCursor { at: sample.at, value: *value as f64 })
        })
        .collect();
    let process = InstanceCursor { at: sample.at, started: Some(sample.started as f64) };
    let instances = BTreeMap::from([("process".to_owned(), process)]);
    Cursor { until, series, instances, ..Cursor::default() }
}
