//! An observation, without what can be known from the plan: names are places in the policy, times are
//! distances, and the bounds of a histogram stand once for both arms.

use std::collections::BTreeMap;

use super::wire::{Malformed, Reader, Writer};
use crate::core::metric::{
    Counts, MetricObservation, NoData, Reading, RouteCounts, TickObservation, Usage, ValueObservation, Window,
};
use crate::core::rollout::Plan;
use crate::core::split::Weight;

const VERSION: u8 = 1;

/// What a byte says of a metric.
const HAS_WINDOW: u8 = 1;
const CANARY: u8 = 1 << 1;
const BASELINE: u8 = 1 << 2;
const ROUTES: u8 = 1 << 3;
const USAGE: u8 = 4;

/// The number of a usage. They are stored: a new one takes the next number.
fn usage_number(usage: Usage) -> u8 {
    match usage {
        Usage::Used => 0,
        Usage::Pending => 1,
        Usage::Outside => 2,
        Usage::Settling => 3,
        Usage::Straddling => 4,
        Usage::WarmUp => 5,
        Usage::Baking => 6,
        Usage::Carried => 7,
        Usage::Ahead => 8,
        Usage::Renewed => 9,
    }
}

const USAGES: [Usage; 10] = [
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

/// The observation as a row; its number stands beside it.
pub(in crate::store) fn encode(tick: &TickObservation, plan: &Plan) -> Vec<u8> {
    let TickObservation { seq: _, at, step, weight, baseline_weight, metrics, values } = tick;
    let mut row = Writer::new(VERSION);
    row.time(*at, plan.created_at);
    row.count(*step);
    row.unsigned(weight.0.into());
    row.unsigned(baseline_weight.0.into());
    row.count(metrics.len());
    for (place, metric) in metrics.iter().enumerate() {
        write_metric(&mut row, metric, place, tick, plan);
    }
    row.count(values.len());
    for value in values {
        let ValueObservation { guardrail, canary, baseline } = value;
        let known = plan.policy.guardrails.iter().position(|known| known.name == *guardrail);
        write_name(&mut row, guardrail, known);
        for reading in [canary, baseline] {
            match reading {
                Ok(value) => {
                    row.byte(0);
                    row.number(*value);
                }
                Err(why) => write_no_data(&mut row, why),
            }
        }
    }
    row.done()
}

/// The observation of that number.
pub(in crate::store) fn decode(bytes: &[u8], seq: u64, plan: &Plan) -> Result<TickObservation, Malformed> {
    let mut row = Reader::new(bytes, VERSION)?;
    let at = row.time(plan.created_at)?;
    let step = usize::try_from(row.unsigned()?).map_err(|_| Malformed::new("a step is too large"))?;
    let (weight, baseline_weight) = (weight(&mut row)?, weight(&mut row)?);
    let mut tick =
        TickObservation { seq, at, step, weight, baseline_weight, metrics: Vec::new(), values: Vec::new() };
    for place in 0..row.count()? {
        let metric = read_metric(&mut row, place, &tick, plan)?;
        tick.metrics.push(metric);
    }
    for _ in 0..row.count()? {
        let known = |place: usize| plan.policy.guardrails.get(place).map(|guardrail| &guardrail.name);
        let guardrail = read_name(&mut row, known)?;
        let (canary, baseline) = (value(&mut row)?, value(&mut row)?);
        tick.values.push(ValueObservation { guardrail, canary, baseline });
    }
    row.end()?;
    Ok(tick)
}

fn weight(row: &mut Reader<'_>) -> Result<Weight, Malformed> {
    let weight = u16::try_from(row.unsigned()?).map_err(|_| Malformed::new("a weight is too large"))?;
    Ok(Weight(weight))
}

fn value(row: &mut Reader<'_>) -> Result<Reading<f64>, Malformed> {
    match row.byte()? {
        0 => row.number().map(Ok),
        kind => read_no_data(row, kind).map(Err),
    }
}

/// A name of the policy is its place there, from 1; another one stands itself after 0.
fn write_name(row: &mut Writer, name: &str, known: Option<usize>) {
    row.count(known.map_or(0, |place| place + 1));
    if known.is_none() {
        row.text(name);
    }
}

fn read_name<'p>(
    row: &mut Reader<'_>,
    known: impl FnOnce(usize) -> Option<&'p String>,
) -> Result<String, Malformed> {
    let place = usize::try_from(row.unsigned()?).unwrap_or(usize::MAX);
    match place.checked_sub(1) {
        None => row.text(),
        Some(place) => known(place).cloned().ok_or_else(|| Malformed::new("a name is not in the policy")),
    }
}

fn write_metric(
    row: &mut Writer,
    observed: &MetricObservation,
    place: usize,
    tick: &TickObservation,
    plan: &Plan,
) {
    let MetricObservation { metric, window, canary, baseline, usage, routes } = observed;
    let known = plan.policy.metrics.get(place).filter(|known| known.name == *metric);
    write_name(row, metric, known.map(|_| place));
    let mut flags = usage_number(*usage) << USAGE;
    for (flag, is_set) in [
        (HAS_WINDOW, window.is_some()),
        (CANARY, canary.is_ok()),
        (BASELINE, baseline.is_ok()),
        (ROUTES, !routes.is_empty()),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    row.byte(flags);
    if let Some(Window { start, end }) = window {
        row.time(*end, tick.at);
        row.time(*start, *end);
    }
    let mut bounds = None;
    for reading in [canary, baseline] {
        match reading {
            Ok(counts) => write_counts(row, counts, &mut bounds),
            Err(why) => write_no_data(row, why),
        }
    }
    if !routes.is_empty() {
        row.count(routes.len());
        for (route, RouteCounts { canary, baseline }) in routes {
            row.text(route);
            for counts in [canary, baseline] {
                row.byte(counts.is_some().into());
                if let Some(counts) = counts {
                    write_counts(row, counts, &mut bounds);
                }
            }
        }
    }
}

fn read_metric(
    row: &mut Reader<'_>,
    place: usize,
    tick: &TickObservation,
    plan: &Plan,
) -> Result<MetricObservation, Malformed> {
    // Only its own place is ever written.
    let known = |found: usize| plan.policy.metrics.get(found).filter(|_| found == place).map(|m| &m.name);
    let metric = read_name(row, known)?;
    let flags = row.byte()?;
    let usage = *USAGES.get(usize::from(flags >> USAGE)).ok_or_else(|| Malformed::new("no known usage"))?;
    let window = if flags & HAS_WINDOW == 0 {
        None
    } else {
        let end = row.time(tick.at)?;
        Some(Window { start: row.time(end)?, end })
    };
    let mut bounds = None;
    let mut reading = |flag: u8| -> Result<Reading<Counts>, Malformed> {
        if flags & flag != 0 {
            return read_counts(row, &mut bounds).map(Ok);
        }
        let kind = row.byte()?;
        read_no_data(row, kind).map(Err)
    };
    let (canary, baseline) = (reading(CANARY)?, reading(BASELINE)?);
    let mut routes = BTreeMap::new();
    if flags & ROUTES != 0 {
        for _ in 0..row.count()? {
            let route = row.text()?;
            let mut counts = || match row.byte()? {
                0 => Ok(None),
                _ => read_counts(row, &mut bounds).map(Some),
            };
            let (canary, baseline) = (counts()?, counts()?);
            routes.insert(route, RouteCounts { canary, baseline });
        }
    }
    Ok(MetricObservation { metric, window, canary, baseline, usage, routes })
}

/// Kinds of counts; a histogram has the bounds of the one before it, or its own.
const PROPORTION: u8 = 0;
const RATE: u8 = 1;
const VALUE: u8 = 2;
const OWN_BOUNDS: u8 = 3;
const SAME_BOUNDS: u8 = 4;
/// A histogram's sum is there too.
const WITH_SUM: u8 = 8;

fn write_counts<'c>(row: &mut Writer, counts: &'c Counts, bounds: &mut Option<&'c [f64]>) {
    match counts {
        Counts::Proportion { total, bad } => {
            row.byte(PROPORTION);
            row.unsigned(*total);
            row.unsigned(*bad);
        }
        Counts::Rate { events, exposure_millionths } => {
            row.byte(RATE);
            row.unsigned(*events);
            row.unsigned(*exposure_millionths);
        }
        Counts::Value { value } => {
            row.byte(VALUE);
            row.number(*value);
        }
        Counts::Latency { le, counts, sum } => {
            let bits = |le: &[f64]| le.iter().map(|bound| bound.to_bits()).collect::<Vec<_>>();
            let same = bounds.is_some_and(|bounds| bits(bounds) == bits(le));
            let kind = if same { SAME_BOUNDS } else { OWN_BOUNDS };
            row.byte(if sum.is_some() { kind | WITH_SUM } else { kind });
            if !same {
                row.count(le.len());
                le.iter().for_each(|bound| row.number(*bound));
                *bounds = Some(le);
            }
            row.count(counts.len());
            counts.iter().for_each(|count| row.unsigned(*count));
            if let Some(sum) = sum {
                row.number(*sum);
            }
        }
    }
}

fn read_counts(row: &mut Reader<'_>, bounds: &mut Option<Vec<f64>>) -> Result<Counts, Malformed> {
    let kind = row.byte()?;
    match kind & !WITH_SUM {
        PROPORTION => Ok(Counts::Proportion { total: row.unsigned()?, bad: row.unsigned()? }),
        RATE => Ok(Counts::Rate { events: row.unsigned()?, exposure_millionths: row.unsigned()? }),
        VALUE => Ok(Counts::Value { value: row.number()? }),
        histogram @ (OWN_BOUNDS | SAME_BOUNDS) => {
            if histogram == OWN_BOUNDS {
                let own = (0..row.count()?).map(|_| row.number()).collect::<Result<_, _>>()?;
                *bounds = Some(own);
            }
            let le = bounds.clone().ok_or_else(|| Malformed::new("a histogram has no bounds"))?;
            let counts = (0..row.count()?).map(|_| row.unsigned()).collect::<Result<_, _>>()?;
            let sum = if kind & WITH_SUM == 0 { None } else { Some(row.number()?) };
            Ok(Counts::Latency { le, counts, sum })
        }
        _ => Err(Malformed::new("counts of no known kind")),
    }
}

/// Why there is no reading: its number, from 1, and its detail.
fn write_no_data(row: &mut Writer, why: &NoData) {
    let (kind, text) = match why {
        NoData::Waiting => (1, None),
        NoData::Unreachable(detail) => (2, Some(detail)),
        NoData::Timeout => (3, None),
        NoData::Status(_) => (4, None),
        NoData::Refused(detail) => (5, Some(detail)),
        NoData::Malformed(detail) => (6, Some(detail)),
        NoData::WrongType(detail) => (7, Some(detail)),
        NoData::Partial(detail) => (8, Some(detail)),
        NoData::Empty => (9, None),
        NoData::Stale { .. } => (10, None),
        NoData::NotFinite => (11, None),
        NoData::ManySeries(_) => (12, None),
        NoData::TooLarge(detail) => (13, Some(detail)),
        NoData::BothArms(detail) => (14, Some(detail)),
        NoData::BoundsDiffer(detail) => (15, Some(detail)),
    };
    row.byte(kind);
    match why {
        NoData::Status(code) => row.unsigned((*code).into()),
        NoData::Stale { age_seconds } => row.unsigned(*age_seconds),
        NoData::ManySeries(count) => row.count(*count),
        _ => {}
    }
    if let Some(text) = text {
        row.text(text);
    }
}

fn read_no_data(row: &mut Reader<'_>, kind: u8) -> Result<NoData, Malformed> {
    let too_large = |_| Malformed::new("a number is too large");
    Ok(match kind {
        1 => NoData::Waiting,
        2 => NoData::Unreachable(row.text()?),
        3 => NoData::Timeout,
        4 => NoData::Status(u16::try_from(row.unsigned()?).map_err(too_large)?),
        5 => NoData::Refused(row.text()?),
        6 => NoData::Malformed(row.text()?),
        7 => NoData::WrongType(row.text()?),
        8 => NoData::Partial(row.text()?),
        9 => NoData::Empty,
        10 => NoData::Stale { age_seconds: row.unsigned()? },
        11 => NoData::NotFinite,
        12 => NoData::ManySeries(usize::try_from(row.unsigned()?).map_err(too_large)?),
        13 => NoData::TooLarge(row.text()?),
        14 => NoData::BothArms(row.text()?),
        15 => NoData::BoundsDiffer(row.text()?),
        _ => return Err(Malformed::new("no reading for no known reason")),
    })
}
