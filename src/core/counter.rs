//! Exact counts from cumulative counters: each request once, over ticks, resets and restarts.
//!
//! PromQL's `increase()` extrapolates to the edges of its window, so its results are not integers and
//! overlapping windows count requests twice. Here the raw samples are walked instead, starting from the
//! last sample that was counted (the [`Cursor`]):
//!
//! - A series that goes on counts the difference to its previous sample.
//! - It has been **reset** when its value falls or when the start of its process has changed; then it
//!   counts its whole value. The buckets of a histogram are reset together.
//! - A series that was not there before counts **from zero** if its instance was scraped before without
//!   it (client libraries create children at first use) or if its process began after the rollout
//!   started. Otherwise its first sample is only the **base**, because what it counted before is unknown.
//! - If an instance's series vanish in the same scrape in which others of the same metric appear with
//!   at least their total, labels were changed by somebody; the new series only set their base. (Without
//!   this, renaming a label would count the life's work of every process as new requests.)
//! - Samples that are not newer than the cursor, and second samples of the same time, are ignored.
//!
//! What cannot be known without the start of the process: a process that ends and is replaced between
//! two scrapes by one that has already passed the old value. It is counted as if it had gone on.
//!
//! An instance that was not seen for [`KEEP`] is dropped from the cursor with its series. If it comes
//! back, only a process that began after everything that was dropped counts from zero; any other sets
//! its base. So requests may go uncounted after so long a silence, but none is counted twice.

mod keys;
pub mod past;
mod scrapes;
mod spacing;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use keys::{SeriesId, labels_text, quote};
pub use scrapes::Scrapes;
pub use spacing::spacing;

use super::metric::{Cursor, InstanceCursor, NoData, SeriesCursor};
use super::time::Timestamp;
use walk::Walk;

/// Instances that have not been seen for so long, measured back from the arm's newest sample, are
/// dropped from the cursor. It is longer than any range of samples that is read at once, so nothing
/// that was dropped can be read again.
pub const KEEP: Duration = Duration::from_secs(6 * 3600);

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was scraped.
    pub at: Timestamp,
    /// The counter's value since its process began.
    pub value: f64,
}

/// What a series is within its group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// A counter of its own.
    Counter,
    /// A cumulative bucket of a histogram, with its upper bound (`+Inf` for the last one).
    Bucket(f64),
    /// The sum of a histogram's values. It follows its buckets' resets and never shows one itself.
    Sum,
}

/// Raw samples of one series, in any order.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name, labels and instance.
    pub id: SeriesId,
    /// Series of the same group are reset together: the series of one histogram. A counter is its own
    /// group.
    pub group: String,
    /// What it is in its group.
    pub part: Part,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// What was counted of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// By series key, of the series that have samples newer than the cursor: how much it has risen.
    /// Integers where the counters are; sums are to be rounded once, at the end.
    pub increments: BTreeMap<String, f64>,
    /// Where counting has come to now.
    pub cursor: Cursor,
    /// The newest sample of all series, counted or not.
    pub newest: Option<Timestamp>,
    /// The earliest time from which anything was counted.
    pub since: Option<Timestamp>,
    /// Instances whose process was replaced since the cursor, or that were not there before.
    pub renewed: BTreeSet<String>,
    /// Of them, those that were not there before: they may have replaced others, or be more.
    pub added: BTreeSet<String>,
}

impl Counted {
    /// The sum of increments, rounded to an integer. Counters of requests are integers and so are their
    /// increments; the rounding is for exporters that scale or smooth their counters, and can then be
    /// off by one half in each window.
    pub fn total<'a>(&self, keys: impl Iterator<Item = &'a str>) -> u64 {
        let sum: f64 = keys.filter_map(|key| self.increments.get(key)).sum();
        // A float-to-integer cast saturates; increments are finite and not negative.
        sum.round() as u64
    }
}

/// Counts one arm of one metric.
///
/// `series` holds each key once. `scrapes` says when the instances of both arms were scraped and when
/// their processes began. Without a `cursor` nothing is counted and only the base is set. Processes that
/// began after `rollout_started` count from zero.
///
/// # Errors
/// [`NoData::NotFinite`] or [`NoData::Malformed`] if a sample that is to be counted is not a finite
/// number, or is negative.
pub fn count(
    series: &[Series],
    scrapes: &Scrapes,
    cursor: Option<&Cursor>,
    rollout_started: Timestamp,
) -> Result<Counted, NoData> {
    let nothing = Cursor::default();
    let before = cursor.unwrap_or(&nothing);
    let walk = Walk::new(series, scrapes, before, rollout_started)?;
    let mut counted = match cursor {
        Some(_) => walk.count(),
        None => walk.base(),
    };
    advance(&mut counted, before, scrapes);
    Ok(counted)
}

/// Completes the new cursor: what was there before and was not seen now, the instances, and what is
/// dropped.
fn advance(counted: &mut Counted, before: &Cursor, scrapes: &Scrapes) {
    let cursor = &mut counted.cursor;
    cursor.until = before.until.max(counted.newest.unwrap_or_default());
    cursor.forgotten = before.forgotten;
    for (key, last) in &before.series {
        cursor.series.entry(key.clone()).or_insert(*last);
    }
    cursor.instances = before.instances.clone();
    note_instances(cursor, scrapes);
    forget(cursor);
}

/// Takes the newest scrapes into a cursor, for arms of which no series was seen.
pub fn note_instances(cursor: &mut Cursor, scrapes: &Scrapes) {
    for (instance, at, started) in scrapes.newest() {
        let known = cursor.instances.get(instance);
        if known.is_none_or(|known| known.at <= at) {
            cursor.instances.insert(instance.to_owned(), InstanceCursor { at, started });
        }
    }
}

/// Whether a cursor has counted series of the instance.
pub fn has_series_of(cursor: &Cursor, instance: &str) -> bool {
    let prefix = keys::prefix(Some(instance));
    let first = cursor.series.range(prefix.clone()..).next();
    first.is_some_and(|(key, _)| key.starts_with(&prefix))
}

fn forget(cursor: &mut Cursor) {
    let horizon = cursor.until.minus(KEEP);
    let gone: Vec<(String, InstanceCursor)> = cursor
        .instances
        .iter()
        .filter(|(_, last)| last.at < horizon)
        .map(|(instance, last)| (instance.clone(), *last))
        .collect();
    for (instance, last) in gone {
        cursor.instances.remove(&instance);
        let prefix = keys::prefix(Some(&instance));
        cursor.series.retain(|key, _| !key.starts_with(&prefix));
        cursor.forgotten = cursor.forgotten.max(last.at);
    }
    // Series without an instance never count from zero, so they need no trace.
    let nameless = keys::prefix(None);
    cursor.series.retain(|key, last: &mut SeriesCursor| !key.starts_with(&nameless) || last.at >= horizon);
}
