//! Where counting has come to, in two rows: the names of series and instances, which hardly ever change, and
//! the numbers in the order of the names, which change at every look.

use std::collections::BTreeMap;

use super::wire::{Malformed, Reader, Writer};
use crate::core::metric::{Cursor, InstanceCursor, MetricCursor, SeriesCursor};
use crate::core::time::Timestamp;

const VERSION: u8 = 1;

/// The names, and the numbers.
pub(in crate::store) fn encode(cursor: &MetricCursor) -> (Vec<u8>, Vec<u8>) {
    let (mut names, mut numbers) = (Writer::new(VERSION), Writer::new(VERSION));
    let mut from = Timestamp(0);
    for arm in [&cursor.canary, &cursor.baseline] {
        let Cursor { until, series, instances, forgotten, spacing } = arm;
        numbers.time(*until, from);
        numbers.time(*forgotten, Timestamp(0));
        numbers.byte(spacing.is_some().into());
        if let Some(spacing) = spacing {
            numbers.duration(*spacing);
        }
        // Mostly all of them were seen in the same scrape, with which the window ends.
        let is_one = series.values().all(|series| series.at == *until)
            && instances.values().all(|instance| instance.at == *until);
        numbers.byte(is_one.into());
        names.count(series.len());
        for (name, SeriesCursor { at, value }) in series {
            names.text(name);
            if !is_one {
                numbers.time(*at, *until);
            }
            numbers.number(*value);
        }
        names.count(instances.len());
        for (name, InstanceCursor { at, started }) in instances {
            names.text(name);
            // A process begins seldom: that stands with the names.
            names.optional(*started);
            if !is_one {
                numbers.time(*at, *until);
            }
        }
        from = *until;
    }
    (names.done(), numbers.done())
}

/// The cursor of both rows.
pub(in crate::store) fn decode(names: &[u8], numbers: &[u8]) -> Result<MetricCursor, Malformed> {
    let (mut names, mut numbers) = (Reader::new(names, VERSION)?, Reader::new(numbers, VERSION)?);
    let canary = arm(&mut names, &mut numbers, Timestamp(0))?;
    let baseline = arm(&mut names, &mut numbers, canary.until)?;
    names.end()?;
    numbers.end()?;
    Ok(MetricCursor { canary, baseline })
}

fn arm(names: &mut Reader<'_>, numbers: &mut Reader<'_>, from: Timestamp) -> Result<Cursor, Malformed> {
    let until = numbers.time(from)?;
    let forgotten = numbers.time(Timestamp(0))?;
    let spacing = match numbers.byte()? {
        0 => None,
        _ => Some(numbers.duration()?),
    };
    let is_one = numbers.byte()? != 0;
    let at = |numbers: &mut Reader<'_>| if is_one { Ok(until) } else { numbers.time(until) };
    let (mut series, mut instances) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..names.count()? {
        let (name, at) = (names.text()?, at(numbers)?);
        series.insert(name, SeriesCursor { at, value: numbers.number()? });
    }
    for _ in 0..names.count()? {
        let (name, started) = (names.text()?, names.optional()?);
        instances.insert(name, InstanceCursor { at: at(numbers)?, started });
    }
    Ok(Cursor { until, series, instances, forgotten, spacing })
}
