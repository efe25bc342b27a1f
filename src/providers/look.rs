//! What one look at a backend brought of one arm of one metric, and its counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::counter::{Counted, Part, Sample, Scrapes, Series, SeriesId};
use crate::core::metric::{BadSeries, Counts, NoData, Processes, Unread};
use crate::core::source::{Exposure, MetricSource, Selector};
use crate::core::time::Timestamp;

/// Exposures are counted in millionths.
const MILLION: u64 = 1_000_000;

/// For what a series is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// All requests.
    Total,
    /// Bad requests.
    Bad,
    /// Buckets of a histogram.
    Bucket,
    /// The sum of a histogram.
    Sum,
    /// What a rate is measured against.
    Exposure,
}

/// Where a series was read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    /// A database of many instances.
    Database,
    /// The metrics page at this URL.
    Page(&'a str),
}

/// The raw samples of one arm of one metric.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// The label whose values are counted one by one too.
    by_route: Option<String>,
    series: BTreeMap<String, Read>,
    /// When instances were scraped, besides what the samples say, and when their processes began.
    pub scrapes: Scrapes,
    /// Pages that could not be read.
    pub unread: Option<Unread>,
}

#[derive(Clone, Debug)]
struct Read {
    series: Series,
    total: bool,
    bad: bool,
    exposure: bool,
    /// The value of the label by which is counted; empty where the series has none.
    route: String,
}

/// The selectors that a source needs, with what they are for.
pub(super) fn selectors(source: &MetricSource) -> Vec<(Use, Selector)> {
    match source {
        MetricSource::Proportion { total, bad, .. } => {
            let total = total.iter().map(|selector| (Use::Total, selector.clone()));
            total.chain(bad.iter().map(|selector| (Use::Bad, selector.clone()))).collect()
        }
        MetricSource::Latency { histogram, .. } => {
            let part = |suffix: &str| Selector {
                metric: format!("{}{suffix}", histogram.metric),
                matchers: histogram.matchers.clone(),
            };
            vec![(Use::Bucket, part("_bucket")), (Use::Sum, part("_sum"))]
        }
        MetricSource::Rate { events, per, .. } => {
            let exposure = match per {
                Exposure::Counter { selectors } => &selectors[..],
                Exposure::Share | Exposure::Instance => &[],
            };
            let events = events.iter().map(|selector| (Use::Total, selector.clone()));
            events.chain(exposure.iter().map(|selector| (Use::Exposure, selector.clone()))).collect()
        }
        // Gauges are asked for as values, not as counters.
        MetricSource::Mean { .. } | MetricSource::Saturation { .. } => Vec::new(),
    }
}

/// The gauge that says when a process began.
pub(super) fn process_start(source: &MetricSource) -> Option<&str> {
    match source {
        MetricSource::Proportion { process_start, .. }
        | MetricSource::Latency { process_start, .. }
        | MetricSource::Rate { process_start, .. } => process_start.as_deref(),
        MetricSource::Mean { .. } | MetricSource::Saturation { .. } => None,
    }
}

impl Look {
    /// Nothing yet; `by_route` is the request's.
    pub fn new(by_route: Option<&str>) -> Look {
        Look { by_route: by_route.map(str::to_owned), ..Look::default() }
    }

    /// Takes in a series. The same series may come again for another use, or from another selector of
    /// the same use: it is counted once.
    ///
    /// # Errors
    /// [`NoData::Malformed`] if a bucket has no bound; [`NoData::TooLarge`] above `max_series`.
    pub fn add(
        &mut self,
        used: Use,
        origin: Origin,
        name: &str,
        labels: &BTreeMap<String, String>,
        samples: Vec<Sample>,
        max_series: usize,
    ) -> Result<(), NoData> {
        let id = |name: &str, labels: &BTreeMap<String, String>| match origin {
            Origin::Database => SeriesId::of_labels(name, labels),
            Origin::Page(url) => SeriesId::of_page(name, labels, url),
        };
        let one = id(name, labels);
        let (group, part) = match used {
            Use::Total | Use::Bad | Use::Exposure => (one.key.clone(), Part::Counter),
            Use::Bucket => {
                let mut others = labels.clone();
                let bound = parse_bound(&one.key, others.remove("le").as_deref())?;
                (id(name.trim_end_matches("_bucket"), &others).key, Part::Bucket(bound))
            }
            Use::Sum => (id(name.trim_end_matches("_sum"), labels).key, Part::Sum),
        };
        let key = one.key.clone();
        let read = self.series.entry(key).or_insert_with(|| Read {
            series: Series { id: one, group, part, samples: Vec::new() },
            total: false,
            bad: false,
            exposure: false,
            route: self.by_route.as_ref().and_then(|label| labels.get(label)).cloned().unwrap_or_default(),
        });
        read.exposure |= used == Use::Exposure;
        read.total |= used == Use::Total;
        read.bad |= used == Use::Bad;
        read.series.samples.extend(samples);
        if self.series.len() > max_series {
            return Err(NoData::TooLarge(format!(
                "more than {max_series} series match; give the selector more matchers, or raise the provider's \
                 `max_series`"
            )));
        }
        Ok(())
    }

    /// All series.
    pub fn series(&self) -> Vec<Series> {
        self.series.values().map(|read| read.series.clone()).collect()
    }

    /// A series that is in both looks.
    pub fn shared<'a>(&'a self, other: &Look) -> Option<&'a str> {
        self.series.keys().find(|key| other.series.contains_key(*key)).map(String::as_str)
    }

    /// Whether the selectors of bad requests match any series; `None` for what has no bad requests.
    pub fn bad(&self, source: &MetricSource) -> Option<BadSeries> {
        if !matches!(source, MetricSource::Proportion { .. }) {
            return None;
        }
        let matched = self.series.values().any(|read| read.bad);
        Some(if matched { BadSeries::Present } else { BadSeries::Absent })
    }

    /// The instances that have samples since then, and those of them that have begun anew. Instances are scraped at
    /// moments of their own: those that a window has samples of may be few of all.
    pub fn processes(&self, counted: &Counted, since: Timestamp) -> Processes {
        let has_fresh = |read: &&Read| read.series.samples.iter().any(|sample| sample.at >= since);
        let fresh = self.series.values().filter(has_fresh);
        let instances: BTreeSet<String> = fresh.filter_map(|read| read.series.id.instance.clone()).collect();
        let among = |some: &BTreeSet<String>| some.intersection(&instances).cloned().collect();
        Processes { renewed: among(&counted.renewed), added: among(&counted.added), instances }
    }

    /// The instances whose process start is not known.
    pub fn instances_without_start(&self) -> BTreeSet<&str> {
        let instances = self.series.values().filter_map(|read| read.series.id.instance.as_deref());
        instances.filter(|instance| !self.scrapes.has_start(instance)).collect()
    }

    /// The counts in the form that the source has.
    ///
    /// # Errors
    /// [`NoData::Malformed`] or [`NoData::BoundsDiffer`] for histograms that cannot be read.
    pub fn counts(&self, source: &MetricSource, counted: &Counted) -> Result<Counts, NoData> {
        self.counts_of(source, counted, &|_| true)
    }

    /// The same for each value of the label by which is counted; empty where there is no such label.
    ///
    /// # Errors
    /// As [`Look::counts`].
    pub fn routes(
        &self,
        source: &MetricSource,
        counted: &Counted,
    ) -> Result<BTreeMap<String, Counts>, NoData> {
        if self.by_route.is_none() {
            return Ok(BTreeMap::new());
        }
        let routes: BTreeSet<&String> = self.series.values().map(|read| &read.route).collect();
        let of = |route: &String| {
            Ok((route.clone(), self.counts_of(source, counted, &|read| read.route == *route)?))
        };
        routes.into_iter().map(of).collect()
    }

    fn counts_of(
        &self,
        source: &MetricSource,
        counted: &Counted,
        wanted: &dyn Fn(&Read) -> bool,
    ) -> Result<Counts, NoData> {
        match source {
            MetricSource::Proportion { .. } => {
                let total = self.series.iter().filter(|(_, read)| read.total && wanted(read));
                let bad = self.series.iter().filter(|(_, read)| read.bad && wanted(read));
                Ok(Counts::Proportion {
                    total: counted.total(total.map(|(key, _)| key.as_str())),
                    bad: counted.total(bad.map(|(key, _)| key.as_str())),
                })
            }
            MetricSource::Latency { unit_seconds, .. } => self.latency(unit_seconds, counted, wanted),
            MetricSource::Rate { per, .. } => Ok(self.rate(per, counted)),
            MetricSource::Mean { .. } | MetricSource::Saturation { .. } => {
                Err(NoData::Refused("a gauge has no counters".to_owned()))
            }
        }
    }

    /// Events and exposure. Of [`Exposure::Share`] the exposure is the whole traffic's: only the engine
    /// knows the arms' shares.
    fn rate(&self, per: &Exposure, counted: &Counted) -> Counts {
        let keys = |wanted: fn(&Read) -> bool| {
            self.series.iter().filter(move |(_, read)| wanted(read)).map(|(key, _)| key.as_str())
        };
        let span =
            counted.since.zip(counted.newest).map_or(0, |(since, newest)| newest.since(since).as_micros());
        let span = u64::try_from(span).unwrap_or(u64::MAX);
        let exposure_millionths = match per {
            Exposure::Share => span,
            Exposure::Instance => {
                let seen = keys(|read| read.total).filter(|key| counted.increments.contains_key(*key));
                let instances: BTreeSet<Option<&str>> =
                    seen.map(|key| self.series[key].series.id.instance.as_deref()).collect();
                span.saturating_mul(instances.len() as u64)
            }
            Exposure::Counter { .. } => counted.total(keys(|read| read.exposure)).saturating_mul(MILLION),
        };
        Counts::Rate { events: counted.total(keys(|read| read.total)), exposure_millionths }
    }

    fn latency(
        &self,
        unit_seconds: &str,
        counted: &Counted,
        wanted: &dyn Fn(&Read) -> bool,
    ) -> Result<Counts, NoData> {
        let mut groups: BTreeMap<&str, Histogram> = BTreeMap::new();
        for (key, read) in self.series.iter().filter(|(_, read)| wanted(read)) {
            // Series without new samples are left out: what vanished may have had other bounds.
            let Some(rise) = counted.increments.get(key) else { continue };
            let histogram = groups.entry(&read.series.group).or_default();
            match read.series.part {
                Part::Bucket(bound) => histogram.buckets.push((bound, *rise)),
                Part::Sum => histogram.sum = Some(*rise),
                Part::Counter => {}
            }
        }
        groups.retain(|_, histogram| !histogram.buckets.is_empty());
        let mut bounds: Option<(&str, Vec<f64>)> = None;
        let mut cumulative: Vec<f64> = Vec::new();
        let mut sum = Some(0.0);
        for (group, mut histogram) in groups {
            let of_group = histogram.sort(group)?;
            match &bounds {
                None => {
                    cumulative = vec![0.0; of_group.len()];
                    bounds = Some((group, of_group));
                }
                Some((_, known)) if *known == of_group => {}
                Some((first, _)) => {
                    return Err(NoData::BoundsDiffer(format!("{first} and {group} have different buckets")));
                }
            }
            for (total, (_, rise)) in cumulative.iter_mut().zip(&histogram.buckets) {
                *total += rise;
            }
            sum = sum.zip(histogram.sum).map(|(a, b)| a + b).filter(|sum| sum.is_finite() && *sum >= 0.0);
        }
        let unit = Unit::parse(unit_seconds)?;
        let (_, mut le) = bounds.unwrap_or_default();
        le.pop();
        let mut below = 0;
        let counts = cumulative.iter().map(|total| {
            // Rounding keeps the order, so this does not go below zero.
            let upto = total.round() as u64;
            let own = upto.saturating_sub(below);
            below = upto;
            own
        });
        Ok(Counts::Latency {
            counts: counts.collect(),
            le: le.into_iter().map(|bound| unit.to_seconds(bound)).collect(),
            sum: sum.map(|sum| unit.to_seconds(sum)),
        })
    }
}

#[derive(Default)]
struct Histogram {
    /// Upper bounds with the rise of what is at or below them.
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
}

impl Histogram {
    /// Brings the buckets in order, and gives their bounds; the last one is infinite.
    fn sort(&mut self, group: &str) -> Result<Vec<f64>, NoData> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let bounds: Vec<f64> = self.buckets.iter().map(|(bound, _)| *bound).collect();
        if bounds.last() != Some(&f64::INFINITY) {
            return Err(NoData::Malformed(format!("the histogram {group} has no bucket le=\"+Inf\"")));
        }
        if let Some(pair) = bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(NoData::Malformed(format!(
                "the histogram {group} has two buckets le=\"{}\"",
                pair[0]
            )));
        }
        if self.buckets.windows(2).any(|pair| pair[0].1 > pair[1].1) {
            return Err(NoData::Malformed(format!(
                "the histogram {group} is not cumulative: a bucket holds more than the one above it"
            )));
        }
        Ok(bounds)
    }
}

fn parse_bound(key: &str, le: Option<&str>) -> Result<f64, NoData> {
    let Some(le) = le else {
        return Err(NoData::Malformed(format!("the bucket {key} has no label `le`")));
    };
    let bound = le.parse::<f64>().ok().filter(|bound| !bound.is_nan() && *bound > f64::NEG_INFINITY);
    bound.ok_or_else(|| {
        NoData::Malformed(format!("the bucket {key} has the bound {le:?}, which is no number"))
    })
}

/// What bounds are measured in.
struct Unit {
    seconds: f64,
    per_second: Option<f64>,
}

impl Unit {
    fn parse(text: &str) -> Result<Unit, NoData> {
        let seconds = text.parse::<f64>().ok().filter(|unit| unit.is_finite() && *unit > 0.0);
        let seconds = seconds
            .ok_or_else(|| NoData::Refused(format!("unit_seconds is {text:?}; `1` or `0.001` would do")))?;
        let per_second = (1.0 / seconds).round();
        let is_whole = per_second >= 1.0 && (seconds * per_second - 1.0).abs() < 1e-12;
        Ok(Unit { seconds, per_second: is_whole.then_some(per_second) })
    }

    /// Division by a whole number of units gives the nearest double (300 ms are 0.3 s, as it is written);
    /// multiplication with 0.001 does not.
    fn to_seconds(&self, value: f64) -> f64 {
        match self.per_second {
            Some(per_second) => value / per_second,
            None => value * self.seconds,
        }
    }
}
