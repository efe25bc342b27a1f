//! Walks the samples of one arm from the cursor on.

use std::collections::{BTreeMap, BTreeSet};

use super::{Counted, Part, Sample, Scrapes, Series, has_series_of, keys};
use crate::core::metric::{Cursor, NoData, SeriesCursor};
use crate::core::time::Timestamp;

/// Start times that differ by no more than this may be the same process: some exporters work them out
/// anew at each scrape from the time that the process has run.
const START_TOLERANCE_SECONDS: f64 = 1.0;

/// From where a series that was not there before is counted.
enum Origin {
    /// From zero, which it was at that time.
    Zero(Timestamp),
    /// Its first sample is the base.
    Base,
}

/// A series with its new samples in order.
struct Member<'a> {
    series: &'a Series,
    fresh: Vec<Sample>,
    last: Option<SeriesCursor>,
}

pub(super) struct Walk<'a> {
    scrapes: &'a Scrapes,
    cursor: &'a Cursor,
    /// Processes that began after this, in seconds, count from zero.
    threshold: f64,
    newest: Option<Timestamp>,
    groups: BTreeMap<&'a str, Vec<Member<'a>>>,
    /// By instance and name, for finding out that labels were changed.
    families: BTreeMap<(&'a str, &'a str), Vec<&'a Series>>,
}

impl<'a> Walk<'a> {
    pub fn new(
        series: &'a [Series],
        scrapes: &'a Scrapes,
        cursor: &'a Cursor,
        rollout_started: Timestamp,
    ) -> Result<Walk<'a>, NoData> {
        let mut groups: BTreeMap<&str, Vec<Member>> = BTreeMap::new();
        let mut families: BTreeMap<(&str, &str), Vec<&Series>> = BTreeMap::new();
        for one in series {
            if let Some(instance) = &one.id.instance {
                families.entry((instance, &one.id.name)).or_default().push(one);
            }
            let last = cursor.series.get(&one.id.key).copied();
            let fresh = fresh_samples(one, last, cursor)?;
            groups.entry(&one.group).or_default().push(Member { series: one, fresh, last });
        }
        for members in groups.values_mut() {
            members.sort_by(|a, b| bound(a).total_cmp(&bound(b)));
        }
        let newest = series.iter().flat_map(|one| &one.samples).map(|sample| sample.at).max();
        let threshold = rollout_started.max(cursor.forgotten).seconds();
        Ok(Walk { scrapes, cursor, threshold, newest, groups, families })
    }

    /// Nothing is counted; the newest sample of each series is its base.
    pub fn base(self) -> Counted {
        let mut counted = self.empty();
        for member in self.groups.into_values().flatten() {
            if let Some(sample) = member.fresh.last() {
                counted.increments.insert(member.series.id.key.clone(), 0.0);
                settle(&mut counted, member.series, *sample);
            }
        }
        counted
    }

    pub fn count(mut self) -> Counted {
        let mut counted = self.empty();
        for mut members in std::mem::take(&mut self.groups).into_values() {
            self.count_group(&mut members, &mut counted);
        }
        counted
    }

    fn empty(&self) -> Counted {
        Counted {
            increments: BTreeMap::new(),
            cursor: Cursor::default(),
            newest: self.newest,
            since: None,
            renewed: BTreeSet::new(),
            added: BTreeSet::new(),
        }
    }

    fn count_group(&self, members: &mut [Member], counted: &mut Counted) {
        let times: BTreeSet<Timestamp> =
            members.iter().flat_map(|member| &member.fresh).map(|sample| sample.at).collect();
        for member in members.iter().filter(|member| !member.fresh.is_empty()) {
            counted.increments.insert(member.series.id.key.clone(), 0.0);
        }
        for at in times {
            let reset = self.is_reset(members, at);
            self.note_renewed(members, reset, counted);
            for member in members.iter_mut() {
                let Some(sample) = sample_at(&member.fresh, at) else { continue };
                let (rise, since) = match member.last {
                    Some(last) if reset => (sample.value, Some(last.at)),
                    Some(last) => (sample.value - last.value, Some(last.at)),
                    None => match self.origin(member.series, sample) {
                        Origin::Zero(since) => (sample.value, Some(since)),
                        Origin::Base => (0.0, None),
                    },
                };
                if let Some(increment) = counted.increments.get_mut(&member.series.id.key) {
                    *increment += rise;
                }
                if let Some(since) = since {
                    counted.since = Some(counted.since.map_or(since, |known| known.min(since)));
                }
                member.last = Some(SeriesCursor { at, value: sample.value });
                settle(counted, member.series, sample);
            }
        }
    }

    /// Instances that have begun anew, or that were never counted though their arm was.
    fn note_renewed(&self, members: &[Member], reset: bool, counted: &mut Counted) {
        let Some(instance) = members.first().and_then(|member| member.series.id.instance.as_ref()) else {
            return;
        };
        let was_counted = self.cursor.until > Timestamp::default();
        let is_new = || !has_series_of(self.cursor, instance);
        if was_counted && !counted.renewed.contains(instance) && (reset || is_new()) {
            counted.renewed.insert(instance.clone());
            if !reset {
                counted.added.insert(instance.clone());
            }
        }
    }

    /// Whether the group's process has begun anew between its last samples and those at `at`.
    fn is_reset(&self, members: &[Member], at: Timestamp) -> bool {
        let mut lower_bucket_rise = 0.0;
        for member in members {
            let (Some(last), Some(sample)) = (member.last, sample_at(&member.fresh, at)) else { continue };
            if self.is_new_process(member.series, last.at, at) {
                return true;
            }
            let rise = sample.value - last.value;
            match member.series.part {
                Part::Sum => {}
                Part::Counter if rise < 0.0 => return true,
                Part::Counter => {}
                // Buckets hold everything up to their bound, so each has risen at least as much as
                // the one below it; otherwise the requests of one of them have become fewer.
                Part::Bucket(_) if rise < lower_bucket_rise => return true,
                Part::Bucket(_) => lower_bucket_rise = rise,
            }
        }
        false
    }

    /// Whether the process has been replaced between two samples of a series.
    fn is_new_process(&self, series: &Series, then: Timestamp, now: Timestamp) -> bool {
        let Some(instance) = &series.id.instance else { return false };
        let Some(started) = self.scrapes.start(instance, now) else { return false };
        let began_since = started > then.seconds();
        let stored = self.cursor.instances.get(instance).filter(|last| last.at == then);
        match self.scrapes.start(instance, then).or(stored.and_then(|last| last.started)) {
            Some(before) => {
                (started - before).abs() > START_TOLERANCE_SECONDS || (began_since && started > before)
            }
            None => began_since,
        }
    }

    fn origin(&self, series: &Series, sample: Sample) -> Origin {
        let Some(instance) = &series.id.instance else { return Origin::Base };
        let started = self.scrapes.start(instance, sample.at);
        let stored = self.cursor.instances.get(instance).map(|last| last.at).filter(|at| *at < sample.at);
        match (self.scrapes.before(instance, sample.at).max(stored), started) {
            (Some(scraped), Some(started)) if started > scraped.seconds() => Origin::Zero(scraped),
            (Some(scraped), _) if self.is_renamed(series, scraped, sample.at) => Origin::Base,
            (Some(scraped), _) => Origin::Zero(scraped),
            (None, Some(started)) if started > self.threshold => {
                Origin::Zero(Timestamp((started * 1000.0) as i64).min(sample.at))
            }
            (None, _) => Origin::Base,
        }
    }

    /// Whether series of the same metric and instance have vanished in the scrape in which this one
    /// appears, and those that appear carry on at least their total.
    fn is_renamed(&self, series: &Series, then: Timestamp, now: Timestamp) -> bool {
        let Some(instance) = &series.id.instance else { return false };
        let Some(family) = self.families.get(&(instance.as_str(), series.id.name.as_str())) else {
            return false;
        };
        let mut vanished = 0.0;
        let mut appeared = 0.0;
        for one in family {
            let at = |at| one.samples.iter().find(|sample| sample.at == at).map(|sample| sample.value);
            let stored = self.cursor.series.get(&one.id.key);
            let before = at(then).or(stored.filter(|last| last.at == then).map(|last| last.value));
            match (before, at(now)) {
                (Some(value), None) => vanished += value,
                (None, Some(value)) if stored.is_none() => appeared += value,
                _ => {}
            }
        }
        let prefix = format!("{}{}{{", keys::prefix(Some(instance)), series.id.name);
        let here: BTreeSet<&str> = family.iter().map(|one| one.id.key.as_str()).collect();
        let stored = self.cursor.series.range(prefix.clone()..);
        for (key, last) in stored.take_while(|(key, _)| key.starts_with(&prefix)) {
            if last.at == then && !here.contains(key.as_str()) {
                vanished += last.value;
            }
        }
        vanished > 0.0 && appeared >= vanished
    }
}

/// The samples that are not counted yet, in order, each time once.
fn fresh_samples(
    series: &Series,
    last: Option<SeriesCursor>,
    cursor: &Cursor,
) -> Result<Vec<Sample>, NoData> {
    let known = last.is_some()
        || series.id.instance.as_ref().is_some_and(|instance| cursor.instances.contains_key(instance));
    // What was dropped from the cursor has been counted up to that time.
    let after = last.map(|last| last.at).or((!known).then_some(cursor.forgotten));
    let mut fresh: Vec<Sample> =
        series.samples.iter().filter(|sample| after.is_none_or(|after| sample.at > after)).copied().collect();
    fresh.sort_by_key(|sample| sample.at);
    fresh.dedup_by_key(|sample| sample.at);
    if series.part == Part::Sum {
        fresh.retain(|sample| sample.value.is_finite());
        return Ok(fresh);
    }
    for sample in &fresh {
        if !sample.value.is_finite() {
            return Err(NoData::NotFinite);
        }
        if sample.value < 0.0 {
            return Err(NoData::Malformed(format!(
                "the counter {} has the negative value {}",
                series.id.key, sample.value
            )));
        }
    }
    Ok(fresh)
}

fn sample_at(samples: &[Sample], at: Timestamp) -> Option<Sample> {
    samples.binary_search_by_key(&at, |sample| sample.at).ok().map(|index| samples[index])
}

fn bound(member: &Member) -> f64 {
    match member.series.part {
        Part::Bucket(bound) => bound,
        Part::Counter | Part::Sum => f64::INFINITY,
    }
}

fn settle(counted: &mut Counted, series: &Series, sample: Sample) {
    let last = SeriesCursor { at: sample.at, value: sample.value };
    counted.cursor.series.insert(series.id.key.clone(), last);
}
