//! When processes began: asked once for everything that a call is about. The gauge is read after the counters: a
//! scrape that is stored between the two would otherwise give counters whose process's start is not known, and a new
//! process's first requests would be taken for its base.
//!
//! First the gauge is asked for by the arms' labels, which also finds instances that have no counters yet. Where it
//! does not carry them (they are the service's own, not the scrape configuration's), it is found by its instances.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::RawSeries;
use super::{Prometheus, Span, query};
use crate::core::counter::SeriesId;
use crate::core::metric::NoData;
use crate::core::time::Timestamp;
use crate::providers::look::Look;

/// Instances that are named in one query.
const MOST_INSTANCES: usize = 100;

/// The counters of one arm of one metric.
pub(super) struct Counters<'r> {
    pub look: Look,
    /// The gauge that says when its processes began.
    pub gauge: Option<&'r str>,
    /// The arm's labels.
    pub labels: &'r BTreeMap<String, String>,
    pub span: Span,
    /// Address and job of each instance, by the instance's key.
    targets: BTreeMap<String, (String, Option<String>)>,
    /// Why the gauge could not be read.
    pub fault: Option<NoData>,
}

/// What one query of a gauge is to find: values by label.
type Wanted = BTreeMap<String, BTreeSet<String>>;

impl<'r> Counters<'r> {
    pub fn new(
        look: Look,
        gauge: Option<&'r str>,
        labels: &'r BTreeMap<String, String>,
        span: Span,
    ) -> Counters<'r> {
        Counters { look, gauge, labels, span, targets: BTreeMap::new(), fault: None }
    }

    /// Remembers by which address and job the series' instance is found.
    pub fn note(&mut self, series: &RawSeries) {
        if let (Some(instance), Some(address)) =
            (SeriesId::instance_of(&series.labels), series.labels.get("instance"))
        {
            self.targets.insert(instance, (address.clone(), series.labels.get("job").cloned()));
        }
    }

    /// Whether there are counters of the instance.
    pub fn has_instance(&self, instance: &str) -> bool {
        self.targets.contains_key(instance)
    }

    /// The jobs that the counters come from.
    pub fn jobs(&self) -> impl Iterator<Item = &str> {
        self.targets.values().filter_map(|(_, job)| job.as_deref())
    }

    /// Takes in a sample series of the gauge, as far as it is of the time that was looked at.
    fn take(&mut self, series: &RawSeries) {
        let Some(instance) = SeriesId::instance_of(&series.labels) else { return };
        let from = self.span.at.minus(self.span.range);
        for sample in series.samples.iter().filter(|sample| sample.at > from && sample.at <= self.span.at) {
            self.look.scrapes.note_start(&instance, sample.at, sample.value);
        }
    }

    /// Address and job of the instances whose starts are not known.
    fn missing(&self) -> Vec<(String, String, Option<String>)> {
        let known = self.look.instances_without_start();
        let missing = self.targets.iter().filter(|(instance, _)| known.contains(instance.as_str()));
        missing.map(|(instance, (address, job))| (instance.clone(), address.clone(), job.clone())).collect()
    }
}

impl Prometheus {
    /// Finds when the processes behind all these counters began.
    pub(super) async fn find_starts(&self, counters: &mut [&mut Counters<'_>]) {
        counters.sort_by_key(|one| one.gauge);
        for group in counters.chunk_by_mut(|one, other| one.gauge == other.gauge) {
            let Some(gauge) = group[0].gauge else { continue };
            if let Err(why) = self.find_by_labels(gauge, group).await {
                group.iter_mut().for_each(|one| one.fault = Some(why.clone()));
            } else if let Err(why) = self.find_by_instance(gauge, group).await {
                for one in group.iter_mut().filter(|one| !one.missing().is_empty()) {
                    one.fault = Some(why.clone());
                }
            }
        }
    }

    async fn find_by_labels(&self, gauge: &str, counters: &mut [&mut Counters<'_>]) -> Result<(), NoData> {
        let mut queries: BTreeMap<Vec<String>, Wanted> = BTreeMap::new();
        for one in counters.iter() {
            let wanted = queries.entry(one.labels.keys().cloned().collect()).or_default();
            for (label, value) in one.labels {
                wanted.entry(label.clone()).or_default().insert(value.clone());
            }
        }
        let span = whole(counters);
        for wanted in queries.values() {
            let query = query::gauge_where(gauge, wanted, &self.pin, span.range)?;
            for series in self.matrix(&query, span.at).await? {
                for one in counters.iter_mut().filter(|one| has(&series.labels, one.labels)) {
                    one.take(&series);
                }
            }
        }
        Ok(())
    }

    async fn find_by_instance(&self, gauge: &str, counters: &mut [&mut Counters<'_>]) -> Result<(), NoData> {
        let missing: BTreeSet<_> = counters.iter().flat_map(|one| one.missing()).collect();
        let span = whole(counters);
        for some in missing.into_iter().collect::<Vec<_>>().chunks(MOST_INSTANCES) {
            let mut wanted = Wanted::new();
            for (_, address, job) in some {
                wanted.entry("instance".to_owned()).or_default().insert(address.clone());
                if let Some(job) = job {
                    wanted.entry("job".to_owned()).or_default().insert(job.clone());
                }
            }
            let query = query::gauge_where(gauge, &wanted, &self.pin, span.range)?;
            for series in self.matrix(&query, span.at).await? {
                let Some(instance) = SeriesId::instance_of(&series.labels) else { continue };
                for one in counters.iter_mut() {
                    if one.look.instances_without_start().contains(instance.as_str()) {
                        one.take(&series);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The time that all of them have looked at.
fn whole(counters: &[&mut Counters<'_>]) -> Span {
    let at = counters.iter().map(|one| one.span.at).max().unwrap_or(Timestamp::default());
    let from = counters.iter().map(|one| one.span.at.minus(one.span.range)).min().unwrap_or(at);
    Span { at, range: at.since(from) }
}

/// Whether a series has these labels; one that it has not is as if it were empty.
pub(super) fn has(series: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    let value = |label: &String| series.get(label).map_or("", String::as_str);
    labels.iter().all(|(label, wanted)| value(label) == wanted)
}
